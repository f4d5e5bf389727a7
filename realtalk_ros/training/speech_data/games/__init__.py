"""Corpora that are the dialogue of freely licensed games."""
