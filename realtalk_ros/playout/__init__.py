# SPDX-License-Identifier: Apache-2.0
"""What is shown and played when: turn-taking, jitter buffer, audio playout, adaptive quality."""
