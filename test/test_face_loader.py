# SPDX-License-Identifier: Apache-2.0
"""What is loaded beside the face that is shown, without networks."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from realtalk_ros.avatar.temperament import Temperament
from realtalk_ros.errors import AvatarError
from realtalk_ros.nodes import face_loader
from realtalk_ros.nodes.background_loader import BackgroundLoader
from realtalk_ros.nodes.expression_engine import ExpressionEngine, LoadedModel, ModelSettings
from realtalk_ros.nodes.face_loader import FaceLoader, RendererSettings
from realtalk_ros.nodes.problems import Problems

DEFAULT = RendererSettings("default", 128, "cpu", "", 1)


class Renderer:
    """Stands for a FaceRenderer; those of one `networks` share them."""

    provider = "CPUExecutionProvider"
    resizing = threading.Event()  # not set: it waits
    opening = threading.Event()
    begun: list[str] = []  # of these
    opened = 0
    closed = False

    def __init__(self, avatar, size, *_, networks=None, **__):
        if networks is None:
            Renderer.begun.append("opening")
            assert Renderer.opening.wait(20)
            Renderer.opened = networks = Renderer.opened + 1
        self.avatar, self.height, self.networks = avatar, size, networks

    def render(self, weights, template):
        return None

    def close(self):
        self.closed = True

    def resized(self, size):
        Renderer.begun.append("resizing")
        assert Renderer.resizing.wait(20)
        return Renderer(self.avatar, size, networks=self.networks)


class Wanted:
    """A loader, and the settings that are wanted of it."""

    def __init__(self, batch=None):
        self.settings, self.log = DEFAULT, []
        problems = Problems(self.log.append)
        self.loader = FaceLoader(lambda: self.settings, problems, batch)
        self.loader.setup(seed=0)

    @staticmethod
    def wait(what, condition):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, what
            time.sleep(0.002)

    def take(self):
        self.wait("nothing was loaded", self.loader.take)
        return self.loader.face.renderer


@pytest.fixture
def wanted(monkeypatch):
    monkeypatch.setattr(face_loader, "FaceRenderer", Renderer)
    avatars = SimpleNamespace(
        load=lambda name: SimpleNamespace(name=name, temperament=Temperament())
    )
    monkeypatch.setattr(face_loader, "Avatar", avatars)
    monkeypatch.setattr(Renderer, "opened", 0)
    monkeypatch.setattr(Renderer, "begun", [])
    for event in (Renderer.resizing, Renderer.opening):
        event.set()
    yield (made := Wanted())
    for event in (Renderer.resizing, Renderer.opening):
        event.set()
    made.loader.clear()


def test_a_face_whose_networks_failed_keeps_its_device_until_others_are_loaded(wanted):
    loader = wanted.loader
    Renderer.opening.clear()
    loader.fall_back()
    assert loader.settings == DEFAULT and loader.broken and loader.fallen_back
    Renderer.opening.set()
    assert wanted.take().networks == 2 and not loader.broken
    assert loader.settings == DEFAULT and loader.fallen_back
    loader.retry_device()
    assert not loader.fallen_back


def test_what_was_made_of_networks_that_failed_is_not_shown(wanted):
    """They fail while a smaller image of the face that uses them is made."""
    loader = wanted.loader
    Renderer.resizing.clear()
    Renderer.opening.clear()
    wanted.settings = RendererSettings("default", 64, "cpu", "", 1)
    loader.request("size 64")
    wanted.wait("nothing is made", lambda: Renderer.begun == ["opening", "resizing"])
    loader.fall_back()
    Renderer.resizing.set()
    wanted.wait("nothing else is loaded", lambda: len(Renderer.begun) == 3)  # so it is ready
    assert not loader.take() and loader.face.renderer.height == 128
    Renderer.opening.set()
    renderer = wanted.take()
    assert (renderer.networks, renderer.height) == (2, 64)
    assert loader.settings == wanted.settings and not loader.broken


def test_the_size_changes_without_new_networks(wanted):
    wanted.settings = RendererSettings("default", 64, "cpu", "", 1)
    wanted.loader.request("size 64")
    before, renderer = wanted.loader.face.renderer, wanted.take()
    assert (renderer.networks, renderer.height) == (1, 64)
    assert before.closed and not renderer.closed
    wanted.settings = RendererSettings("kenji", 64, "cpu", "", 1)
    wanted.loader.request("avatar kenji")
    assert wanted.take().networks == 2 and wanted.loader.settings.avatar == "kenji"
    assert renderer.closed
    renderer = wanted.loader.face.renderer
    wanted.loader.clear()
    assert renderer.closed and wanted.loader.face is None


def test_what_was_set_and_set_back_before_it_was_shown_is_not_shown(wanted):
    """As while the node is inactive, or a simulation is paused."""
    wanted.settings = RendererSettings("kenji", 128, "cpu", "", 1)
    wanted.loader.request("avatar kenji")
    wanted.wait("kenji is not loaded", lambda: not wanted.loader.loading)
    wanted.settings = DEFAULT
    wanted.loader.request("avatar default")
    wanted.wait("default is not loaded", lambda: not wanted.loader.loading)
    wanted.take()
    assert wanted.loader.settings == DEFAULT and not wanted.loader.take()


def test_a_network_that_was_set_and_set_back_before_it_was_used_is_not_used(monkeypatch):
    monkeypatch.setattr(ExpressionEngine, "_load", lambda _, s: LoadedModel(None, None, s))
    before = ModelSettings("default", "cpu", "", 1, 0.16)
    parameters = {}
    engine = ExpressionEngine(lambda: parameters["now"], Problems(pytest.fail))
    engine.pipeline, engine.settings = SimpleNamespace(), before
    for parameters["now"] in (replace(before, look_ahead=0.06), before):
        engine.request("look_ahead")
        end = time.monotonic() + 20
        while engine.loading and time.monotonic() < end:
            time.sleep(0.002)
    engine.take()
    assert engine.settings == before and not engine.loading


@pytest.mark.parametrize("first, second", [("damaged", "kenji"), ("kenji", "damaged")])
def test_only_what_was_set_last_and_did_not_load_is_taken_back(wanted, monkeypatch, first, second):
    def load(name):
        if name == "damaged":
            raise AvatarError("it is damaged")
        return SimpleNamespace(name=name, temperament=Temperament())

    monkeypatch.setattr(face_loader, "Avatar", SimpleNamespace(load=load))
    for name in (first, second):
        wanted.settings = RendererSettings(name, 128, "cpu", "", 1)
        wanted.loader.request(f"avatar {name}")
        wanted.wait(f"{name} is not loaded", lambda: not wanted.loader.loading)
    assert not wanted.loader.take_failure()  # kenji is not shown yet: what runs would be wrong
    wanted.take()
    assert wanted.loader.settings.avatar == "kenji"
    assert wanted.loader.take_failure() == (second == "damaged")


def test_faces_that_share_networks_are_told_which_have_failed(wanted):
    told, avatar = [], wanted.loader.face.renderer.avatar

    def face(index, size, *_, failed=None):
        told.append(failed)
        return Renderer(avatar, size)

    batching = SimpleNamespace(avatars=["default"], face=face)
    shared = Wanted((batching, 0))
    before = shared.loader.face.renderer
    shared.loader.fall_back()
    shared.take()
    assert told == [None, before]
    shared.loader.clear()


def test_what_is_cancelled_before_its_thread_runs_keeps_nothing_else_from_loading(monkeypatch):
    """As by a node that is deactivated at once after a parameter was set."""
    runs = threading.Event()

    class LateThread(threading.Thread):
        def run(self):
            assert runs.wait(20)
            super().run()

    monkeypatch.setattr(
        "realtalk_ros.nodes.background_loader.threading",
        SimpleNamespace(
            Thread=LateThread,
            Condition=threading.Condition,
            current_thread=threading.current_thread,
        ),
    )
    failed = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    loader = BackgroundLoader(str.upper, Problems(failed.append))
    loader.request("a", "a")
    cancel = threading.Thread(target=loader.cancel)
    cancel.start()
    Wanted.wait("it is not cancelled", lambda: not loader._next)
    runs.set()
    cancel.join(20)
    assert not loader.pending and loader.take() is None
    loader.request("b", "b")
    Wanted.wait("it does not load", lambda: not loader.loading)
    assert loader.take() == "B" and not failed


def test_one_thread_loads_all_that_is_requested():
    """A new one for each would leave what it has freed in another arena of the C library."""
    threads = []

    def load(text):
        threads.append(threading.current_thread())
        return text

    loader = BackgroundLoader(load, Problems(print))
    for text in "abcd":
        loader.request(text, text)
        Wanted.wait("it does not load", lambda: not loader.loading)
        assert loader.take() == text
    loader.cancel()
    assert len(threads) == 4 and len(set(threads)) == 1 and not threads[0].is_alive()
    loader.request("e", "e")
    Wanted.wait("it does not load again", lambda: not loader.loading)
    assert loader.take() == "e"
    loader.cancel()
