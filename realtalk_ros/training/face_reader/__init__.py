"""Trains the network that tells enrolment a face's shape."""
