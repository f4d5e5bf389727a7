# SPDX-License-Identifier: Apache-2.0
"""Sound in: PCM, media files, microphones, text to speech; and the network's log-mel."""
