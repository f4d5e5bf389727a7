# SPDX-License-Identifier: Apache-2.0
"""What `realtalk doctor` says of a machine that is too slow, or has too little memory."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest

from realtalk_ros import memory
from realtalk_ros.commands import doctor, machine_findings


@pytest.mark.parametrize(
    "seconds, advice",
    [
        (0.01, ""),
        (0.05, "set fps:=15, or size:=256 and fps:=20."),
        (0.3, "set size:=256 and fps:=5."),
    ],
)
def test_doctor_says_how_fast_frames_are_and_what_to_set(monkeypatch, seconds, advice):
    ticks = itertools.count()  # two a frame, of which the machine needs `seconds` each
    clock = SimpleNamespace(perf_counter=lambda: next(ticks) * seconds)
    monkeypatch.setattr(machine_findings, "time", clock)
    (finding,) = doctor.speed()
    assert f"a frame takes {1e3 * seconds:.0f} ms" in finding.what and "core" in finding.what
    assert finding.level == ("warn" if advice else "ok") and advice in finding.advice


@pytest.mark.parametrize("free, level", [(2**30, "ok"), (2**28, "warn")])
def test_doctor_says_where_memory_is_short(monkeypatch, free, level):
    monkeypatch.setattr(memory, "available", lambda: free)
    (finding,) = doctor.free_memory()
    assert finding.level == level and f"{free >> 20} MB free (memory)" in finding.what
