# SPDX-License-Identifier: Apache-2.0
"""How a head moves before a background that stays.

moving_person     how it moves, by head_depth and person_mask
head_warp         that motion in an image
still_background  what is behind
"""
