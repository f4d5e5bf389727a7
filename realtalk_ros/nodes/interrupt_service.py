# SPDX-License-Identifier: Apache-2.0
"""The service `interrupt`, whose calls are carried out before the sound that was sent after them.

rclpy takes messages before calls. A node that stalled finds both, and an interrupt that came last
would drop the answer that was sent after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from std_srvs.srv import Trigger

from realtalk_ros.nodes import qos
from realtalk_ros.nodes.lifecycle import RealTalkNode


class InterruptService:
    """Calls `interrupt` for each call; it returns the utterances that this ended."""

    def __init__(self, node: RealTalkNode, interrupt: Callable[[], list[str]]) -> None:
        self._node, self._interrupt = node, interrupt
        self._service = node.create_service(
            Trigger, "interrupt", self._on_call, qos_profile=qos.REQUEST
        )
        # Calls: when each was sent, ns by the caller's clock, and its header.
        self._taken: list[tuple[int, Any]] = []

    def take(self) -> None:
        """Takes the calls that wait: `answer` carries them out."""
        handle = self._service.handle
        with handle:
            while (header := handle.service_take_request(Trigger.Request)[1]) is not None:
                self._taken.append((getattr(header, "source_timestamp", 0), header))

    def answer(self, sent: float = math.inf) -> None:
        """Carries out those calls that were sent before `sent`, ns."""
        due = [header for when, header in self._taken if when < sent]
        self._taken = [call for call in self._taken if call[0] >= sent]
        answer = self._node.guarded(self._answer_one)
        for header in due:
            answer(header)

    def _answer_one(self, header: Any) -> None:
        response = self._on_call(Trigger.Request(), Trigger.Response())
        self._service.send_response(response, header)

    def _on_call(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        ended = self._interrupt()
        names = ", ".join(repr(name) for name in ended)
        response.success = True
        response.message = f"stopped {names}" if ended else "nothing was being said"
        return response
