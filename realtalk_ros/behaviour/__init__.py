# SPDX-License-Identifier: Apache-2.0
"""How a face behaves: speech, emotion, gaze, idle motion and head motion in one."""
