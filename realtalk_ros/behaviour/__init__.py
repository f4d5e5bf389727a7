# SPDX-License-Identifier: Apache-2.0
"""How a face behaves: speech, emotion, gaze and idle motion in one.

face            mixes emotion, gaze and idle with speech
face_pipeline   from speech to images of it, without ROS
"""
