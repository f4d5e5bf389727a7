# SPDX-License-Identifier: Apache-2.0
"""When a message was published, for callbacks: rclpy reports it from Iron on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.subscription import Subscription

KNOWN = hasattr(Subscription, "CallbackType")  # Humble's callbacks take the message alone


def with_info(callback: Callable[[Any, dict[str, Any]], None]) -> Callable[..., None]:
    """`callback(message, info)` as create_subscription takes it. info holds source_timestamp and
    received_timestamp, ns since 1970; on Humble both are the time at which the callback is called.
    """
    if KNOWN:
        return callback

    def called(message: Any) -> None:
        now = time.time_ns()
        callback(message, {
            "source_timestamp": now, "received_timestamp": now,
            "publication_sequence_number": None, "reception_sequence_number": None,
        })  # fmt: skip

    return called
