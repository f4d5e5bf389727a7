# SPDX-License-Identifier: Apache-2.0
"""A node's threads, which are started and stopped again."""

import threading

from realtalk_ros.nodes.worker import Worker


def test_a_thread_that_outlives_its_stop_ends_beside_the_next_one():
    stuck, events, warnings, begun = threading.Event(), [], [], threading.Semaphore(0)

    def run(stop):
        events.append(stop)
        begun.release()
        stuck.wait(20)
        stop.wait(20)

    worker = Worker("render", run, warnings.append)
    worker.start()
    assert begun.acquire(timeout=10)
    worker.stop(0.01)
    assert warnings == ["the render thread did not end within 0.01 s: it is left"]
    worker.start()
    assert begun.acquire(timeout=10)
    assert [event.is_set() for event in events] == [True, False]
    stuck.set()
    worker.stop(20)
    assert len(warnings) == 1 and all(event.is_set() for event in events)
    worker.stop(0.0)  # there is nothing to stop
    assert len(warnings) == 1
