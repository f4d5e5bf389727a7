"""What is shown and played when: turn-taking, jitter buffer, audio playout, adaptive quality."""
