# SPDX-License-Identifier: Apache-2.0
"""The second thread that frames are rendered in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial

import cv2
import numpy as np
import pytest

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.face_model import arkit
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.helper import HELPER, Deferred, beside, share, take_up_deferred

ROTATIONS = np.array([[0.05, -0.1, 0.02], [-0.08, 0.06, 0.05], [0, 0, 0], [0.02, 0.02, 0.0]])


def test_both_threads_work_and_each_item_comes_once():
    together, seen = threading.Barrier(2, timeout=10), []

    def work(item: int) -> None:
        if item < 2:
            together.wait()  # only where two threads are at work
        seen.append((item, threading.get_ident()))

    share(work, range(50))
    assert sorted(item for item, _ in seen) == list(range(50))
    assert len({thread for _, thread in seen}) == 2


def test_a_busy_helper_is_not_waited_for():
    free, seen = threading.Event(), []
    busy = HELPER.submit(free.wait, 10)
    share(seen.append, range(5))
    assert not busy.done() and seen == list(range(5))
    free.set()


def test_work_that_a_busy_helper_has_not_begun_is_done_here():
    free, threads = threading.Event(), []
    busy = HELPER.submit(free.wait, 10)
    result = beside(lambda: threads.append(threading.current_thread()) or 1)
    assert result() == 1 and threads == [threading.current_thread()] and not busy.done()
    free.set()
    busy.result()
    begun = threading.Event()
    result = beside(lambda: begun.set() or threading.current_thread())
    assert begun.wait(10) and result() is not threading.current_thread()


@pytest.mark.parametrize("failing", [threading.main_thread, None], ids=["here", "there"])
def test_what_fails_in_either_thread_is_raised(failing):
    """Here, in the thread that asks; there, in the helper's."""
    together = threading.Barrier(2, timeout=10)

    def work(_: int) -> None:
        together.wait()
        if (threading.current_thread() is threading.main_thread()) == (failing is not None):
            raise ValueError("an image that is too small")

    with pytest.raises(ValueError, match="too small"):
        share(work, range(2))


def test_images_that_are_begun_before_others_are_composed_stay_what_they_are():
    """As the nodes do, which generate a frame while they compose the one before."""
    renderer = FaceRenderer(Avatar.load("default"), 256)
    weights = np.zeros((len(ROTATIONS), arkit.COUNT), np.float32)
    weights[:, arkit.INDEX["jawOpen"]] = 0.1, 0.5, 0.3, 0.0
    frames = list(zip(weights, ROTATIONS, (0.0, 0.5, 0.0, -1.0), strict=True))
    alone = [renderer.render(w, 0, rotation, breath) for w, rotation, breath in frames]
    begun = [renderer.begin(0, rotation, breath) for _, rotation, breath in frames]
    for w, image, one in zip(weights, alone, begun, strict=True):
        shown = renderer.compose(renderer.generate(w, 0), one)
        assert cv2.absdiff(shown, image).max() <= 1  # eyes that hardly move are not drawn anew


@pytest.mark.parametrize("given, wanted", [(None, 1), ("2", 2)], ids=["default", "as set"])
@pytest.mark.skipif(os.cpu_count() == 1, reason="one processor")
def test_numpy_s_own_threads_do_not_wait_busily_beside_those_that_render(given, wanted):
    """Threads of a process that has multiplied matrices, in those of OpenBLAS that is NumPy's."""
    code = (
        "import os, realtalk_ros, numpy as np; one = np.ones((600, 600)); one @ one;"
        "print(len(os.listdir('/proc/self/task')), end='')"
    )
    environment = {name: v for name, v in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    if given:
        environment["OPENBLAS_NUM_THREADS"] = given
    command = [sys.executable, "-c", code]
    threads = subprocess.run(command, env=environment, capture_output=True, check=True, text=True)
    assert int(threads.stdout) == wanted


def taken_up() -> None:
    """Lets the helper's thread do what is deferred."""
    take_up_deferred()
    HELPER.submit(int).result(10)


def test_deferred_work_is_the_helper_s_when_it_is_taken_up_and_else_that_of_who_asks():
    taken, asked = (Deferred(threading.get_ident) for _ in range(2))
    assert asked.result() == threading.get_ident()
    taken_up()
    assert taken.result() != threading.get_ident()
    busy = threading.Event()
    HELPER.submit(busy.wait, 10)
    late = Deferred(threading.get_ident)
    take_up_deferred()
    assert late.result() == threading.get_ident()  # who asks does not wait for the helper's rest
    busy.set()


@pytest.mark.parametrize("there", [True, False], ids=["there", "here"])
def test_what_deferred_work_raises_is_raised_where_it_is_asked_for(there):
    failing = Deferred(partial(int, "no number"))
    if there:
        taken_up()
    with pytest.raises(ValueError, match="no number"):
        failing.result()
    failing.drop()  # nothing is left of it


def test_dropped_work_is_not_done_or_is_over():
    begun, free, done = threading.Event(), threading.Event(), []
    unbegun = Deferred(partial(done.append, "unbegun"))
    assert unbegun.drop()

    def work() -> None:
        begun.set()
        free.wait(10)
        done.append("begun")

    running = Deferred(work)
    take_up_deferred()
    waiting = Deferred(partial(done.append, "waiting"))
    take_up_deferred()
    assert begun.wait(10) and waiting.drop()
    threading.Timer(0.05, free.set).start()
    assert not running.drop() and done == ["begun"]
    HELPER.submit(int).result(10)
    assert done == ["begun"]
