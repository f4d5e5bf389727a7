# SPDX-License-Identifier: Apache-2.0
"""What commands say on the console beside their results."""

from __future__ import annotations

import sys


def warn(command: str, message: str) -> None:
    """Says on stderr what the user should know though the command goes on. `command`: its words,
    such as speak or evaluate avatars."""
    print(f"realtalk {command}: warning: {message}", file=sys.stderr)
