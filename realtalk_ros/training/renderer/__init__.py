"""Trains and evaluates the expression-to-face network."""
