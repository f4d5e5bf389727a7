"""What is shown and heard when: turns, jitter buffer, audio, adaptive quality."""
