# SPDX-License-Identifier: Apache-2.0
"""Lids, irises and what shut eyes show.

eyes        where lids and irises go in a frame, by
            eyes_model (the face model's), large_eyes (a drawing's), moved_eye, lid_curves,
            eye_pixels and lid_heights
iris_search where a template shows the irises
eyeballs    what a template's lids hide, shown where eyes turn or open wide
eyelids     what shut ones show, by open_eye (its coordinates), lid_skin and glasses
brow_mask   brows of drawings and machines are drawn whole
"""
