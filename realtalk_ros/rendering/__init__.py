"""Expressions to pictures of an avatar, on the robot."""
