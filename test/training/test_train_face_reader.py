# SPDX-License-Identifier: Apache-2.0
"""Training the face reader, on tiny images of people made up here."""

import argparse
from itertools import count
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from training_shards import write_shards

torch = pytest.importorskip("torch", reason="training needs torch")

from realtalk_ros import checksums, onnx_session  # noqa: E402
from realtalk_ros.enroll.face_reader import FILE  # noqa: E402
from realtalk_ros.face_model import landmarks  # noqa: E402
from realtalk_ros.training.common.onnx_weights import read_weights  # noqa: E402
from realtalk_ros.training.face_reader import train  # noqa: E402
from realtalk_ros.training.face_reader.export import export  # noqa: E402
from realtalk_ros.training.face_reader.model import FaceReader  # noqa: E402
from realtalk_ros.training.face_reader.samples import align_crops, mirror_matrix  # noqa: E402
from realtalk_ros.training.renderer import augment  # noqa: E402
from realtalk_ros.training.renderer.dataset import FaceDataset, to_float  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write_shards(folder)
    return folder


def test_landmarks_stay_on_their_pixels_in_aligned_crops():
    rng = np.random.default_rng(2)
    face = landmarks.load().points(np.zeros(52, np.float32))[:, :2] * (1, -1)
    turn = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    marks = (face - face.mean(0)) @ turn.T * 11 + (120, 140)
    shown = [8, 36, 45, 48, 54]  # far apart from each other
    picture = np.zeros((256, 256), np.uint8)
    for x, y in marks[shown]:
        centre = round(16 * (x - 0.5)), round(16 * (y - 0.5))
        cv2.circle(picture, centre, 48, 255, thickness=-1, lineType=cv2.LINE_AA, shift=4)
    seen = torch.from_numpy(picture).float().expand(1, 3, -1, -1)
    places = torch.from_numpy(np.float32(marks))[None]
    for noise in (rng, None):
        aligned, found = align_crops(seen, places, noise)
        for x, y in found[0, shown].numpy() * 128 - 0.5:
            part = aligned[0, 0, int(y) - 4 : int(y) + 6, int(x) - 4 : int(x) + 6].numpy()
            rows, columns = np.mgrid[int(y) - 4 : int(y) + 6, int(x) - 4 : int(x) + 6]
            middle = (columns * part).sum() / part.sum(), (rows * part).sum() / part.sum()
            assert np.hypot(middle[0] - x, middle[1] - y) < 0.15
    right, left = found[0, 36:48].reshape(2, 6, 2).mean(1)
    assert abs(right[1] - left[1]) < 0.005  # the eyes are level


def test_a_mirrored_identity_is_a_mirrored_face():
    model, identity = landmarks.load(), np.random.default_rng(3).normal(0, 1, 100)
    turned = identity @ mirror_matrix().numpy()
    face, mirrored = (model.points(np.zeros(52), who) for who in (identity, turned))
    wanted = face[augment.MIRRORED_LANDMARKS] * (-1, 1, 1)
    np.testing.assert_allclose(mirrored, wanted, atol=0.02)  # cm
    assert np.abs(face - wanted).max() > 0.1


def arguments(**options):
    parser = argparse.ArgumentParser()
    train.add_arguments(parser)
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return parser.parse_args([*words, "--device", "cpu"])


def test_the_face_reader_learns_and_is_exported(data, tmp_path, monkeypatch):
    """By a clock of its own, a hundred steps: as many as an idle machine takes in that time."""
    clock = count(step=0.06)
    monkeypatch.setattr(train, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    train.run(arguments(
        data=data, out=tmp_path / "shape.pt", export=tmp_path, minutes=0.1, people=2
    ))  # fmt: skip
    saved = torch.load(tmp_path / "shape.pt", weights_only=True)
    dataset, new = FaceDataset(data / "val"), FaceReader()
    assert saved["figures"]["all"] < 0.7 * train.measure(new, dataset)["all"]
    new.load_state_dict(saved["model"])
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    assert FILE in checksums.read(tmp_path)
    found, identity = onnx_session.session(tmp_path / FILE).run(None, {"image": image})
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    with torch.no_grad():
        points, wanted = (x[0].numpy() for x in new(to_float(torch.from_numpy(small)[None])))
    np.testing.assert_allclose(found, points * 256, atol=1.0)  # small is rounded
    np.testing.assert_allclose(identity, wanted, atol=0.05)


def test_exported_weights_have_their_parameters_names(tmp_path):
    torch.manual_seed(0)
    net = FaceReader()
    with torch.no_grad():  # as if trained: no two parts of it are the same
        for value in net.parameters():
            value += 0.02 * torch.randn_like(value)
    export(net, tmp_path)
    stored, installed = (read_weights(f / FILE) for f in (tmp_path, onnx_session.MODEL_DIR))
    assert installed.keys() == stored.keys()
    for name, value in net.state_dict().items():
        found = torch.tensor(stored[name]).reshape(value.shape)
        torch.testing.assert_close(found, value, atol=1e-3, rtol=1e-3)
