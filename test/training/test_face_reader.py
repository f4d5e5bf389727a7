# SPDX-License-Identifier: Apache-2.0
"""Who a face is: by the tracker's mesh and our reader together. People of the face model, so that
the truth is known; the bundled avatars' pictures for the reader."""

from contextlib import ExitStack

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy")

from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.enroll import face_detector, face_reader, fit, mediapipe_points
from realtalk_ros.enroll import mesh_tracker as films
from realtalk_ros.face_model import arkit, landmarks


@pytest.fixture(scope="module")
def person():
    """Identity, what the tracker's mesh says of 6 pictures (wrong of this face, always in the same
    way) and what is fitted to it, and what is read: where the 68 landmarks lie, and half of what
    makes him differ from the mean face."""
    rng = np.random.default_rng(4)
    identity, model = rng.normal(0, 0.8, 100), fit.mesh_model()
    speaks = np.zeros((6, arkit.COUNT))
    speaks[:, arkit.INDEX["jawOpen"]] = np.linspace(0, 0.5, 6)
    wrong = rng.normal(0, 3.0, (154, 2))
    mesh, places = [], []
    for k, weights in enumerate(speaks):
        pose = fit.Pose(0.05, 0.2 - 0.08 * k, 0.02 * k, 300, 240, 12)
        mesh.append(pose.project(model.shape(identity, weights)) + wrong)
        shown = landmarks.load().points(weights, identity)
        places.append(pose.project(shown) + rng.normal(0, 0.5, (68, 2)))
    read = [face_reader.Reading(place, 0.5 * identity) for place in places]
    return identity, fit.fit(model, np.stack(mesh)), read


def off(identity, truth):
    """Mean distance of two rested faces' landmarks, cm, one laid on the other: nothing tells a
    large head from one that is near."""
    model = landmarks.load()
    faces = model.points(np.zeros(arkit.COUNT), np.stack([identity, truth]))
    faces = faces - faces.mean(1, keepdims=True)
    a, b = (face / np.linalg.norm(face) * np.linalg.norm(faces[1]) for face in faces)
    left, _, right = np.linalg.svd(a.T @ b)
    return np.linalg.norm(a @ (left @ right) - b, axis=1).mean()


def test_the_reader_tells_a_face_from_the_one_the_mesh_expects(person):
    truth, who, read = person
    assert off(face_reader.refine_identity(who, read), truth) < 0.6 * off(who.identity, truth)


@pytest.mark.parametrize("distance", [48.0, 125.0])
def test_how_far_the_camera_was_is_told_with_the_shape(distance):
    rng = np.random.default_rng(7)
    truth, speaks, model = rng.normal(0, 0.8, 100), np.zeros(arkit.COUNT), landmarks.load()
    speaks[arkit.INDEX["jawOpen"]] = 0.3
    pose = fit.Pose(0.05, 0.2, 0.02, 300, 240, 12, distance)
    seen = pose.project(model.points(speaks, truth)) + rng.normal(0, 0.5, (68, 2))
    sure = fit.marks_model(range(landmarks.COUNT), np.full(landmarks.COUNT, 0.02))
    found = fit.fit(sure, seen[None], distance=None)
    assert found.poses[0].distance == pytest.approx(distance, rel=0.25)
    assert off(found.identity, truth) < 0.95 * off(fit.fit(sure, seen[None]).identity, truth)


def test_pictures_in_which_it_sees_another_face_are_left_out(person):
    _, who, read = person
    side = 19.85 * 12  # of the crop, pixels
    beside = [face_reader.Reading(one.points + 0.1 * side, -one.identity) for one in read]
    rest = [0, 2, 3, 4, 5]
    without = fit.Fit(who.identity, who.weights[rest], [who.poses[k] for k in rest], who.error)
    np.testing.assert_array_equal(
        face_reader.refine_identity(who, [read[0], beside[1], *read[2:]]),
        face_reader.refine_identity(without, [read[k] for k in rest]),
    )
    np.testing.assert_array_equal(face_reader.refine_identity(who, beside), who.identity)


@pytest.mark.parametrize("name", ["default", "kenji", "ines"])
def test_it_reads_turned_pictures_of_any_size(name):
    avatar = Avatar.load(name)
    picture, marks = avatar.templates[0], avatar.landmarks[0]
    (height, width), turn = picture.shape[:2], np.radians(12)
    matrix = 1.7 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.column_stack([matrix, [80, -40]])
    turned = cv2.warpAffine(picture, matrix, (2 * width, 2 * height), borderValue=(90, 90, 90))
    marks = marks @ matrix[:, :2].T + matrix[:, 2]
    mesh = np.zeros((154, 2))  # eyes and lips are enough to find the crop
    mesh[mediapipe_points.EYES] = marks[36:48][np.arange(len(mediapipe_points.EYES)) % 12]
    mesh[mediapipe_points.LIPS] = marks[48:68][np.arange(len(mediapipe_points.LIPS)) % 20]
    found = face_reader.FaceReader().read(turned, mesh)
    assert found.points.shape == (68, 2) and found.identity.shape == (100,)
    apart = np.linalg.norm(found.points - marks, axis=1) / (1.7 * avatar.crop[2])
    assert np.median(apart) < 0.012 and np.median(apart[36:]) < 0.008, apart


def test_a_film_has_the_shape_that_was_read_spread_over_it(monkeypatch):
    """130 frames, the face hidden in some: 24 to 47 are read, as many at its start as at its end;
    weights follow the tracker's mesh."""
    rng, model = np.random.default_rng(5), fit.mesh_model()
    identity, pose = rng.normal(0, 0.8, 100), fit.Pose(0.05, 0.1, 0.0, 256, 200, 14)
    opened = np.zeros((130, arkit.COUNT))
    opened[:, arkit.INDEX["jawOpen"]] = 0.4 * np.abs(np.sin(np.arange(130) / 9))
    hidden, read = {7, 64, 65}, []

    class Seen(ExitStack):
        def __init__(self, *_, **__):
            super().__init__()

        def find(self, image):
            number = int(image[0, 0, 0])
            found = np.full((478, 2), 256, np.float32)
            found[model.index] = pose.project(model.shape(np.zeros(100), opened[number]))
            return [] if number in hidden else [face_detector.DetectedFace(found)]

    class Reader:
        def read(self, image, mesh):
            read.append(int(image[0, 0, 0]))
            shown = landmarks.load().points(opened[read[-1]], identity)
            return face_reader.Reading(pose.project(shown), 0.5 * identity)

    monkeypatch.setattr(films, "FaceDetector", Seen)
    monkeypatch.setattr(face_reader, "FaceReader", Reader)
    used = []
    refine_identity = face_reader.refine_identity
    monkeypatch.setattr(
        face_reader,
        "refine_identity",
        lambda who, marks: used.append(marks) or refine_identity(who, marks),
    )
    frames = ((k / 25, np.full((4, 4, 3), k, np.uint8)) for k in range(130))
    track = films.MeshTracker().track(frames)
    assert 24 <= len(used[0]) < 48 and hidden.isdisjoint(read)
    assert (track.faces == 1).sum() == 127
    assert off(track.identity, identity) < 0.5 * off(np.zeros(100), identity)
    jaw = track.weights[:, arkit.INDEX["jawOpen"]]
    assert np.corrcoef(jaw, opened[:, arkit.INDEX["jawOpen"]])[0, 1] > 0.9
