"""Builds training data from videos of talking heads."""
