# SPDX-License-Identifier: Apache-2.0
"""Expressions to pictures of an avatar, on the robot.

frames      face_renderer: of one avatar; batching: of several in one run of the networks; helper:
            the second thread
networks    generator: runs them; binding: their memory; generated_face: what they make of a frame;
            retouching: what of it is put right; avatar_encoding, reference_selection: an avatar's
            features, and which of them a frame takes
3D          template_landmarks; geometry: what the face model predicts of a picture; camera;
            rasterizer
eyes        eyes: where lids and irises go, by eyes_model, large_eyes, moved_eye and lid_curves;
            eyelids: what shut ones show, by open_eye, lid_skin and glasses; brow_mask
mouth       mouth: the map of its interior, by mouth_model, human_teeth, gum_line and lip_outline;
            puckered_mouth: how far it goes down;
            oral_cavity: the light in it, by mouth_tables, lip_shadow, tooth_relief and softness;
            enamel_colour, own_teeth: of photographs; monochrome: of those without colours;
            flat_mouth: of drawings
cheeks      cheeks: how a smile raises them, and the light on them
head        moving_person: how it moves, by head_depth and person_mask; head_warp: that in an image
images      compositor: template and face in one; fine_templates, sampling_grid, added_layer: what
            it draws of them; still_background: what is behind; cutout, background: what else may
            be; extrapolation, boxes, channels; watermark
"""
