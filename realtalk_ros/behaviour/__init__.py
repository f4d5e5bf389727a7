# SPDX-License-Identifier: Apache-2.0
"""How a face behaves: speech, emotion, gaze and idle motion in one."""
