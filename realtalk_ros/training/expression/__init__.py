"""Trains and evaluates the speech-to-expression network."""
