# SPDX-License-Identifier: Apache-2.0
"""A node's time: the ROS clock as media time, message stamps, and what becomes of a clock that is
set or stands still.

Media time is seconds of the ROS clock, which may be simulated, since a whole second shortly before
the node began: a float of seconds since 1970 cannot tell the frames of a grid apart exactly.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ROSClock
from rclpy.clock_type import ClockType
from rclpy.timer import Timer

from realtalk_ros.nodes.parameters import ParameterNode
from realtalk_ros.playout.clock import ClockJumpDetector

STOPPED = 2.5  # s for which simulated time must not move before that is reported
LAST_STAMP = (2**31 - 1) * 10**9  # ns, builtin_interfaces/Time holds no more


class MediaTimeNode(ParameterNode):
    """A node with media time, s."""

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name, **options)
        self._base = int(self.get_clock().now().nanoseconds // 10**9) * 10**9  # ns: media time 0
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._clock_jumps = ClockJumpDetector()
        self._clock_moved = (0.0, 0.0)  # the ROS clock, and when it last moved (monotonic)

    def now(self) -> float:
        """The ROS clock."""
        return self.media_time_of(self.get_clock().now().nanoseconds)

    def media_time_of(self, nanoseconds: int) -> float:
        """Of a time since 1970."""
        return (nanoseconds - self._base) * 1e-9

    def media_time(self, stamp: Any) -> float | None:
        """Of a builtin_interfaces/Time; None for a zero stamp."""
        nanoseconds = stamp.sec * 10**9 + stamp.nanosec
        return self.media_time_of(nanoseconds) if nanoseconds else None

    def set_stamp(self, stamp: Any, media_time: float) -> None:
        """Writes media time into a builtin_interfaces/Time."""
        nanoseconds = min(max(0, round(media_time * 1e9) + self._base), LAST_STAMP)
        stamp.sec, stamp.nanosec = divmod(nanoseconds, 10**9)

    @property
    def time_is_simulated(self) -> bool:
        """Whether it comes on /clock."""
        clock = self.get_clock()
        return isinstance(clock, ROSClock) and clock.ros_time_is_active

    def clock_jump(self) -> float:
        """Seconds by which the ROS clock was set since the last call; 0 if it was not. Call it
        often, from one thread at a time."""
        jump = self._clock_jumps.update(self.now(), time.monotonic(), self.time_is_simulated)
        if jump:
            self.problems.add(f"the clock jumped by {jump:.1f} s: continuing at its new time")
        return jump

    def watch_clock(self) -> None:
        """From now on: what the clock did before, while nobody called `clock_jump`, is no jump."""
        self._clock_jumps = ClockJumpDetector()
        self.clock_jump()

    def stopped_clock(self) -> str:
        """What to say where simulated time does not come, or does not move; else empty. Call it
        often."""
        now, before = self.now(), self._clock_moved
        if now != before[0] or not self.time_is_simulated:
            self._clock_moved = (now, time.monotonic())
            return ""
        if time.monotonic() - before[1] <= STOPPED:
            return ""
        where = "stands still" if self.get_clock().now().nanoseconds else "does not come"
        return f"use_sim_time is set, and the time on /clock {where}: nothing is shown or said"

    def steady_timer(self, period: float, callback: Callable[[], None]) -> Timer:
        """A timer that runs on when the ROS clock is set back, or stops. `period`: s."""
        return self.create_timer(period, callback, clock=self._steady_clock)
