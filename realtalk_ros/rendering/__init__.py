# SPDX-License-Identifier: Apache-2.0
"""Expressions to pictures of an avatar, on the robot."""
