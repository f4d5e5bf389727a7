"""Renders pictures of synthetic people."""
