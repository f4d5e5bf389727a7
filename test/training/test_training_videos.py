# SPDX-License-Identifier: Apache-2.0
"""`realtalk data videos`, on small made-up videos and a tracker that reads their corner."""

import json
import struct
from dataclasses import replace

import av
import numpy as np
import pytest

pytest.importorskip("scipy", reason="the training side needs it")

from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.enroll import face_tracks, video_reader
from realtalk_ros.enroll.film_colours import FilmColours
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import landmarks
from realtalk_ros.face_model.landmarks import face_square
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.training.common import affine_maps
from realtalk_ros.training.videos import build, lip_sync_check, track_spans, training_groups

FPS, SIZE, SCALE = 25, 256, 8.5  # frames/s, pixels, pixels per cm
REST = landmarks.load().points(np.zeros(52, np.float32))
IDENTITY = np.zeros(100, np.float32)


@pytest.fixture(scope="module")
def speech():
    pcm, rate = read_audio(SAMPLE_CLIP)
    pcm = pcm[: 7 * rate]
    return pcm, rate, PredictedExpression.of(pcm, rate)


def network_movement(predicted: PredictedExpression, count: int, late: float = 0.0) -> np.ndarray:
    """(count, 52): the network's own movement, `late` seconds after the audio."""
    time = np.arange(count) / FPS - late
    steps = np.arange(len(predicted.weights)) / 50
    return np.stack([np.interp(time, steps, w) for w in predicted.weights.T], 1).astype(np.float32)


def to_pixels(points: np.ndarray, x: float) -> np.ndarray:
    """cm to pixels, the head's middle at (x, 128)."""
    return (points[..., :2] * (SCALE, -SCALE) + (x, SIZE / 2 - 20)).astype(np.float32)


def head_x(k: int) -> float:
    """Pixels of the head's middle in frame k."""
    return SIZE / 2 + 6 * np.sin(k / 15)


def ground_truth(weights: np.ndarray) -> face_tracks.Track:
    n, face = len(weights), landmarks.load()
    x = [head_x(k) for k in range(n)]
    return face_tracks.Track(
        np.arange(n) / FPS, np.ones(n, np.int16),
        np.stack([to_pixels(face.points(weights[k]), x[k]) for k in range(n)]),
        np.stack([to_pixels(REST, at) for at in x]), weights, np.zeros((n, 3), np.float32),
        IDENTITY,
    )  # fmt: skip


def face(k: int, faces: int = 1, hue: int = 0) -> np.ndarray:
    """A noisy disc for a head; the grey of the corner encodes the number of faces."""
    rng = np.random.default_rng(3)
    image = np.full((SIZE, SIZE, 3), (60, 90, 120), np.uint8)
    image[..., hue] += 60
    pattern = rng.integers(60, 250, (SIZE // 4, SIZE // 4)).repeat(4, 0).repeat(4, 1)
    y, x = np.mgrid[:SIZE, :SIZE]
    shift = round(head_x(k)) - SIZE // 2
    inside = (x - SIZE // 2 - shift) ** 2 + (y - SIZE // 2) ** 2 < 90**2
    image[inside] = np.roll(pattern, shift, 1)[inside][:, None]
    image[:16, :16] = 100 * faces
    return image


def write_video(path, count, pcm=None, rate=16000, **how):
    with VideoWriter(path, FPS, (SIZE, SIZE), rate if pcm is not None else None) as video:
        for k in range(count):
            if pcm is not None and k % FPS == 0:
                video.write_audio(pcm[k // FPS * rate : (k // FPS + 1) * rate])
            video.write(face(k, **how))
    return path


class CornerTracker:
    """Counts faces by the grey of the corner; the head's movement is the ground truth."""

    def __init__(self, weights):
        self.weights, self.videos = weights, 0

    def track(self, frames):
        self.videos += 1
        faces = [round(image[4:12, 4:12].mean() / 100) for _, image in frames]
        if len(faces) == 30:
            raise ZeroDivisionError("of the tracker")
        known = ground_truth(self.weights[: len(faces)])
        return replace(known, faces=np.array(faces, np.int16))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, speech):
    """Videos with everything that can be wrong with them."""
    folder, (pcm, rate, predicted) = tmp_path_factory.mktemp("videos"), speech
    long, short = 6 * FPS, 60
    write_video(folder / "good.mp4", long, pcm, rate)
    ground_truth(network_movement(predicted, long)).save(folder / "good.npz")
    write_video(folder / "late.mp4", long, pcm, rate)
    ground_truth(network_movement(predicted, long, late=0.2)).save(folder / "late.npz")
    write_video(folder / "dubbed.mp4", long, pcm, rate)
    ground_truth(network_movement(predicted, long)[::-1].copy()).save(folder / "dubbed.npz")
    (folder / "more").mkdir()
    write_video(folder / "more" / "silent.mp4", short)
    write_video(folder / "nobody.mp4", short, faces=0)
    write_video(folder / "two.mp4", short, faces=2)
    write_video(folder / "crash.mp4", 30, faces=2)
    write_video(folder / "blink.mp4", 20)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    whole = (folder / "good.mp4").read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    write_video(folder / "other.mp4", 3)
    ground_truth(network_movement(predicted, 20)).save(folder / "other.npz")
    write_video(folder / "slow.mp4", short)
    slow = ground_truth(network_movement(predicted, short))
    replace(slow, time=slow.time * 1.2).save(folder / "slow.npz")
    (folder / "sound.mkv").write_bytes(SAMPLE_CLIP.read_bytes())
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(scope="module")
def built(folder, tmp_path_factory, speech):
    out, tracker = tmp_path_factory.mktemp("out"), CornerTracker(np.zeros((200, 52), np.float32))
    report = build.Builder(folder, out, 10, lambda: tracker).build()
    return out, report, tracker


def test_every_video_has_its_line_and_none_stops_the_run(built):
    out, report, _ = built
    why = {row["video"]: row.get("why", "") for row in report["by_video"]}
    assert why["good.mp4"] == "" and why["more/silent.mp4"] == ""
    for name, reason in {
        "late.mp4": "ms after the sound",
        "dubbed.mp4": "lips do not follow the sound",
        "nobody.mp4": "no face 2.4 s",
        "two.mp4": "several faces 2.4 s",
        "crash.mp4": "failed (ZeroDivisionError",
        "blink.mp4": "stretch too short",
        "empty.mp4": "the file is empty",
        "noise.mp4": "cannot be read as a video",
        "cut.mp4": "lips do not follow the sound 2.",  # what is left of it; nobody moves there
        "other.mp4": "3 frames, its track other.npz 20",
        "slow.mp4": "up to 0.5 s before or after its track slow.npz",
        "sound.mkv": "no pictures in it",
    }.items():
        assert reason in why[name], (name, why[name])
    assert len(why) == 14 and report["used"] == 2
    assert report == json.loads((out / "report.json").read_text())
    assert report["left_out_s"]["no face"] == pytest.approx(2.4, abs=0.1)
    good = next(row for row in report["by_video"] if row["video"] == "good.mp4")
    assert abs(good["offset_ms"]) <= 20 and good["correlation"] > 0.9
    late = next(row for row in report["by_video"] if row["video"] == "late.mp4")
    assert late["offset_ms"] == pytest.approx(200, abs=25)


def test_groups_are_what_the_trainer_reads(built):
    out, report, _ = built
    batches = pytest.importorskip("realtalk_ros.training.renderer.dataset", reason="needs torch")
    read = batches.FaceDataset(out / "train")
    assert len(read) == sum(
        row["groups"]["train"] for row in report["by_video"] if "why" not in row
    )
    group = read[0]
    assert group.images.shape == (13, 256, 256, 3) and group.masks.max() <= 6
    assert (group.masks == 2).any() and (group.masks == 4).any()
    # The face's square fills the crop, wherever the head was.
    for points in group.landmarks.numpy():
        assert np.hypot(*(points[27:31].mean(0) - (128, 80))) < 9
    # The pictures of a pose are equal around the face and alike inside of it.
    template, target = group.images[3].numpy().astype(int), group.images[4].numpy().astype(int)
    assert np.abs(template[250:, :40] - target[250:, :40]).max() == 0
    assert np.abs(template[100:160, 100:160] - target[100:160, 100:160]).mean() < 12


def write_film(path, **said):
    """As write_video, without a loss; `said` is what the file says of its colours."""
    path.parent.mkdir()
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv444p"
        stream.options = {"qp": "0", **said}
        for k in range(60):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(face(k), format="bgr24")))
        file.mux(stream.encode(None))
    return hasattr(stream.codec_context, "color_trc")


def test_training_pictures_of_hdr_films_are_srgb(tmp_path):
    """As telephones film. The same numbers are sRGB's in a film that does not say."""
    write_film(tmp_path / "plain" / "a.mp4")
    if not write_film(
        tmp_path / "hlg" / "a.mp4", color_primaries="bt2020", color_trc="arib-std-b67"
    ):
        pytest.skip("this PyAV does not tell")
    shown = []
    for name in ("plain", "hlg"):
        tracker = CornerTracker(np.zeros((60, 52), np.float32))
        build.Builder(tmp_path / name, tmp_path / "out" / name, 10, lambda t=tracker: t).build()
        with np.load(next((tmp_path / "out" / name / "train").glob("*.npz"))) as shard:
            shown.append(shard["images"][0, 0])
    plain, converted = shown
    expected = FilmColours.of(9, 18).convert(np.ascontiguousarray(plain))
    assert np.abs(converted.astype(int) - expected).mean() < 5
    assert np.abs(expected.astype(int) - plain).mean() > 15


def test_speech_and_movement_are_in_step(built, speech):
    out, _, _ = built
    (path,) = (out / "speech").glob("good_*.npz")
    with np.load(path, allow_pickle=False) as found:
        steps = len(found["weights"])
        assert found["mel"].shape == (2 * steps, 80) and found["starts"].tolist() == [0, steps]
        assert steps == pytest.approx(6 * 50, abs=4)
        assert found["rotation"].shape == (steps, 3) and found["speech"].shape == (steps,)
        predicted = speech[2]
        assert np.abs(found["weights"] - predicted.weights[:steps]).mean() < 0.01
        # After AAC: the same audio at the same time.
        near = [
            np.abs(found["mel"][50:400] - predicted.mel[50 + k : 400 + k]).mean()
            for k in (-4, 0, 4)
        ]
        assert near[1] < 0.7 * min(near[0], near[2])


def test_a_second_run_processes_only_new_videos(folder, built):
    out, _, _ = built
    tracker = CornerTracker(np.zeros((200, 52), np.float32))

    def read() -> list[str]:
        found = (out / "videos.jsonl").read_text().splitlines()
        return [line for line in found if line.endswith("}")]

    lines = read()
    (out / "videos.jsonl").write_text("\n".join([*lines[:-1], lines[-1][:20]]))  # interrupted
    write_video(folder / "nobody.mp4", 55, faces=0)  # another file now
    report = build.Builder(folder, out, 10, lambda: tracker).build()
    assert tracker.videos == 1  # the interrupted one has a track
    assert len(read()) == len(lines) - 1 + 2
    assert report["videos"] == 14 and report["used"] == 2


def test_a_video_is_done_again_when_the_track_beside_it_is_another(tmp_path):
    video = write_video(tmp_path / "a.mp4", 60)
    still, report = ground_truth(np.zeros((60, 52), np.float32)), {}

    def used():
        report.update(build.Builder(tmp_path, tmp_path / "out", 10, lambda: tracker).build())
        return report["used"]

    tracker = CornerTracker(still.weights)
    assert used() == 1
    replace(still, faces=0 * still.faces).save(video.with_suffix(".npz"))
    assert used() == 0 and "no face" in report["by_video"][0]["why"]
    video.with_suffix(".npz").unlink()
    assert used() == 1 and tracker.videos == 1


def test_a_folder_without_videos_is_refused(tmp_path):
    with pytest.raises(RealTalkError, match="no videos"):
        build.Builder(tmp_path, tmp_path / "out", 8, lambda: None).build()


def statistics_of(images) -> track_spans.FrameStatistics:
    statistics = track_spans.FrameStatistics()
    assert len(list(statistics.collect(enumerate(images)))) == len(images)
    return statistics


def test_spans_end_at_cuts_and_leave_out_what_is_bad():
    import cv2

    n = 300
    still = ground_truth(np.zeros((n, 52), np.float32))
    images = [face(k, hue=0 if k < 100 else 1) for k in range(n)]
    images[180:200] = [cv2.GaussianBlur(image, (0, 0), 5) for image in images[180:200]]
    rotation = still.rotation.copy()
    rotation[255:, 0] = 0.7
    jump = still.rest.copy()
    jump[60] += 40
    found, left_out = track_spans.spans(
        replace(still, rotation=rotation, rest=jump), statistics_of(images)
    )
    # 60 jumps there, 61 back; a cut at 100 loses nothing but what is too short before it.
    assert found == [range(60), range(100, 180), range(200, 255)]
    assert left_out == {
        "track jumps": 2, "blurred": 20, "turned away": 45, "stretch too short": 38,
    }  # fmt: skip


def test_a_face_may_be_too_small_or_leave_the_picture():
    small = ground_truth(np.zeros((60, 52), np.float32))
    statistics = statistics_of([face(k) for k in range(60)])
    assert track_spans.spans(small, statistics)[0] == [range(60)]
    left_out = track_spans.spans(replace(small, rest=small.rest * 0.5 + 60), statistics)[1]
    assert left_out == {"face too small": 60}
    left_out = track_spans.spans(replace(small, rest=small.rest + 80), statistics)[1]
    assert left_out == {"face leaves the picture": 60}


@pytest.mark.parametrize("turn, upright", [(90, True), (180, True), (37, False)])
def test_pictures_are_rotated_by_the_metadata(tmp_path, turn, upright):
    path = write_video(tmp_path / "a.mp4", 3)
    content = path.read_bytes()
    at = content.index(b"tkhd") + 4 + 40  # its matrix
    c, s = (round(65536 * f(np.radians(turn))) for f in (np.cos, np.sin))
    matrix = struct.pack(">9i", c, s, 0, -s, c, 0, 0, 0, 1 << 30)
    path.write_bytes(content[:at] + matrix + content[at + 36 :])
    if not upright:
        with pytest.raises(RealTalkError, match="turned by"):
            list(video_reader.Clip(path).frames())
        return
    _, image = next(video_reader.Clip(path).frames())
    corner = {90: image[:16, -16:], 180: image[-16:, -16:]}[turn]  # clockwise, where it was 0, 0
    assert np.abs(corner.astype(int) - 100).mean() < 6


def test_targets_are_aligned_to_their_template():
    rng = np.random.default_rng(0)
    points = rng.uniform(50, 200, (68, 2))
    turned = points @ np.array([[0.9, -0.2], [0.2, 0.9]]).T * 1.1 + (5, -7)
    assert np.allclose(
        affine_maps.transform(points, affine_maps.similarity_transform(points, turned)),
        turned,
    )
    # A picture's point stays on its landmark through any scale.
    image = np.zeros((400, 400, 3), np.uint8)
    image[200:204, 300:304] = 255
    for side in (200, 900):
        by = affine_maps.random_crop(np.array([290.0, 210.0, side]), rng)
        y, x = np.nonzero(training_groups.warp(image, by)[..., 0] > 40)
        expected = affine_maps.transform(np.array([302.0, 202.0]), by)
        assert np.allclose(expected, (x.mean() + 0.5, y.mean() + 0.5), atol=0.6)


def test_the_crop_is_the_renderers(speech):
    known = ground_truth(network_movement(speech[2], 75))
    plans = training_groups.plan_groups(known, [range(75)], 25, np.random.default_rng(0))
    covered = {int(k) for one in plans for k in one.frames[3:]}
    assert len(covered) > 70  # every frame is a target or a template
    for one in plans:
        for k, by in zip(one.frames[:4], one.maps[:4], strict=True):
            x, y, side = face_square(affine_maps.transform(known.rest[k], by))
            assert np.hypot(x - 128, y - 128) < 0.03 * 256 and abs(side - 256) < 0.05 * 256


def test_a_synthetic_speaker_moves_with_the_audio_and_blinks(speech):
    from realtalk_ros.training.videos import synthetic_speaker

    pcm, rate, predicted = speech
    weights, turn = synthetic_speaker.movement(pcm, rate, 3)
    assert weights.shape == (7 * FPS, 52) and turn.shape == (7 * FPS, 3)
    time = np.arange(len(weights)) / FPS
    found = lip_sync_check.measure_lip_sync(time, weights, [range(len(weights))], predicted)
    assert abs(found.offset) < 0.02 and found.correlation > 0.95
    assert weights[:, 0].max() > 0.9  # blinks
    assert np.degrees(np.ptp(turn, axis=0)).max() > 2
    assert np.abs(np.diff(turn, axis=0)).max() < np.radians(1.7)  # no jump
