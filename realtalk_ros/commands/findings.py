# SPDX-License-Identifier: Apache-2.0
"""What `realtalk doctor` and `realtalk avatars check` report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the report. `level` is "ok", "warn" (a part is missing) or "fail" (nothing works
    without it); `advice` says what to do. `package`: the one that cannot be imported."""

    level: str
    what: str
    advice: str = ""
    package: str = ""

    def __str__(self) -> str:
        return f"{self.level:4}  {self.what}" + (f"\n      -> {self.advice}" if self.advice else "")


def ok(what: str) -> Finding:
    return Finding("ok", what)


def warn(what: str, advice: str) -> Finding:
    return Finding("warn", what, advice)


def fail(what: str, advice: str) -> Finding:
    return Finding("fail", what, advice)
