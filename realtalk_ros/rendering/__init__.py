# SPDX-License-Identifier: Apache-2.0
"""Expressions to pictures of an avatar, on the robot.

frames      face_renderer: of one avatar; batching: of several in one run of the networks; helper:
            the second thread
networks    generator: runs them; binding: their memory; retouching: what of their pictures is put
            right; avatar_encoding, reference_selection: an avatar's features, and which of them a
            frame takes
geometry    what the face model predicts of a picture: eyes/ and mouth/
face        own_teeth: of photographs; cheeks: how a smile raises them, and the light on them
images      compositor: template and face in one; fine_templates, sampling_grid, added_layer: what
            it draws of them; head/: how the person moves in them; cutout, background: what else may
            be behind; watermark
common/     cameras, boxes and what else these share
"""
