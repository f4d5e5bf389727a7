"""Builds the speech dataset with phone times."""
