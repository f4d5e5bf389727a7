# SPDX-License-Identifier: Apache-2.0
"""Speech to facial expressions, on the robot."""
