# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate talking` and `realtalk data mouths`, with a detector whose face is made up."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("scipy", reason="the training side needs it")

from realtalk_ros import cli
from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.enroll import mediapipe_points
from realtalk_ros.enroll.face_detector import DetectedFace
from realtalk_ros.enroll.face_embedding import FaceEmbedding
from realtalk_ros.enroll.mediapipe_points import POINTS
from realtalk_ros.errors import RealTalkError
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import arkit, lips
from realtalk_ros.output.mp4_writer import VideoWriter
from realtalk_ros.training.expression import video_dataset
from realtalk_ros.training.expression.metrics import is_labiodental
from realtalk_ros.training.expression.sampler import Sampler
from realtalk_ros.training.expression.sampler_settings import SamplerSettings
from realtalk_ros.training.expression.video_dataset import VideoDataset
from realtalk_ros.training.videos import (
    evaluate_talking,
    filmed_people,
    known_words,
    lip_contacts,
    mouth_targets,
    mouth_track,
    relabelled_speech,
    talking_metrics,
    tracked_videos,
)

FPS, SIZE, EYES = 25, 64, 100.0  # frames/s, pixels of a video, of the made-up face's eyes
SECONDS = 6


@pytest.fixture(scope="module")
def speech():
    pcm, rate = read_audio(SAMPLE_CLIP)
    pcm = pcm[: SECONDS * rate]
    return pcm, rate, PredictedExpression.of(pcm, rate)


def mouth_of(predicted, late=0.0):
    """(2, N) aperture and width of the network's own mouth, `late` seconds after the sound."""
    time = np.arange(SECONDS * FPS) / FPS - late
    steps = np.arange(len(predicted.weights)) / 50
    curves = (
        lips.aperture_of(predicted.weights),
        talking_metrics.width_of(predicted.weights),
    )
    return np.stack([np.interp(time, steps, curve) for curve in curves])


def face(aperture, width, eyes=EYES, turn=0.0):
    points = np.zeros((POINTS, 2), np.float32)
    points[33], points[263] = (-eyes / 2, 0), (eyes / 2, 0)
    points[mediapipe_points.NOSE_TIP] = turn * eyes, 40
    points[13], points[14] = (0, 80), (0, 80 + eyes * aperture)
    points[61], points[291] = (-eyes * width / 2, 85), (eyes * width / 2, 85)
    points[10], points[152] = (0, -60), (0, 140)
    points[234], points[454] = (-90, 0), (90, 0)
    return DetectedFace(points)


@pytest.fixture
def film(tmp_path, speech, monkeypatch):
    """Writes videos; what the detector sees in the nth that is opened is the nth given. `images`:
    what they show; `then`: what the detectors see that are opened after the first one."""
    pcm, rate, _ = speech
    seen: list[list[list[DetectedFace]]] = []

    class Detector:
        opened = 0

        def __init__(self, *_, **__):
            pass

        def close(self):
            pass

        def __enter__(self):
            self._frames = iter(seen[Detector.opened])
            Detector.opened += 1
            return self

        def __exit__(self, *_):
            pass

        def find(self, image):
            return next(self._frames)

    for module in (mouth_track, tracked_videos):
        monkeypatch.setattr(module, "FaceDetector", Detector)

    def write(name, faces, images=None, then=()):
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        seen.extend([faces, *then])
        if images is None:
            images = [np.full((SIZE, SIZE, 3), 100 + k % 50, np.uint8) for k in range(len(faces))]
        with VideoWriter(path, FPS, images[0].shape[1::-1], rate) as video:
            for k, image in enumerate(images):
                if k % FPS == 0:
                    video.write_audio(pcm[k // FPS * rate : (k // FPS + 1) * rate])
                video.write(image)
        return tmp_path / "films", Detector

    return write


def faces_of(curves, **how):
    return [[face(aperture, width, **how)] for aperture, width in curves.T]


def evaluated(folder, tmp_path, capsys, *options):
    argv = ["evaluate", "talking", str(folder), "--tracks", str(tmp_path / "tracks"), "--json"]
    assert cli.main([*argv, *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_network_agrees_with_its_own_mouth_and_tracks_are_kept(film, speech, tmp_path, capsys):
    curves = mouth_of(speech[2])
    folder, detector = film("anna/a.mp4", faces_of(curves))
    report = evaluated(folder, tmp_path, capsys)
    row = report["people"]["anna"]
    assert row["aperture_r"] > 0.97 and row["width_r"] > 0.97
    assert abs(row["lag_ms"]) <= 20 and 0.95 < row["range"] < 1.05
    assert row["recall"] > 0.95 and row["precision"] > 0.95
    assert row["loudness_r"] < row["aperture_r"] - 0.1
    assert evaluated(folder, tmp_path, capsys)["people"]["anna"] == row and detector.opened == 1


def test_a_late_large_mouth_is_reported_as_such(film, speech, tmp_path, capsys):
    curves = mouth_of(speech[2], late=0.06)
    curves[0] *= 2
    folder, _ = film("b.mp4", faces_of(curves))
    report = evaluated(folder, tmp_path, capsys)
    row = report["mean"]
    assert row["lag_ms"] == pytest.approx(-60, abs=20)
    assert row["best_aperture_r"] > 0.97 > row["aperture_r"]
    assert row["range"] == pytest.approx(0.5, abs=0.03)


def test_a_film_whose_sound_is_late_agrees_once_it_is_in_step(film, speech, tmp_path, capsys):
    folder, _ = film("anna/a.mp4", faces_of(mouth_of(speech[2], late=-0.2)))
    assert evaluated(folder, tmp_path, capsys, "--live")["mean"]["aperture_r"] < 0.5
    row = evaluated(folder, tmp_path, capsys, "--live", "--in-step")["mean"]
    assert row["aperture_r"] > 0.98 and abs(row["lag_ms"]) <= 10


def test_lips_that_part_before_speech_agree_unless_it_is_live(film, speech, tmp_path, capsys):
    shown = replace(speech[2], weights=speech[2].prepared)
    folder, _ = film("b.mp4", faces_of(mouth_of(shown)))
    known = evaluated(folder, tmp_path, capsys)["mean"]["aperture_r"]
    assert known > evaluated(folder, tmp_path, capsys, "--live")["mean"]["aperture_r"]


def test_what_it_is_worth_to_know_the_person(film, speech, tmp_path, capsys, monkeypatch):
    """Whose lips part twice as far as the network's: only a film of them can say so."""
    pytest.importorskip("torch")
    from realtalk_ros.training.videos import own_motion, talking_picture

    curves = mouth_of(speech[2])
    curves[0] *= 2
    first = [[DetectedFace(np.full((POINTS, 2), 9.0, np.float32))]]
    folder, detector = film("anna/a.mp4", faces_of(curves), then=(faces_of(curves), first))
    monkeypatch.setattr(own_motion, "FaceDetector", detector)
    avatar = Avatar.load("default")
    monkeypatch.setattr(talking_picture, "enrolled", lambda *_: avatar)
    given = []
    prior = ExpressionModel.prior

    def remembered(self, *known):
        given.append(known)
        return prior(self, *known)

    monkeypatch.setattr(ExpressionModel, "prior", remembered)
    report = evaluated(folder, tmp_path, capsys, "--own-motion")
    assert list(report["known"]) == ["nothing", "identity", "window", "both", "mouth motion"]
    ranges = [report["known"][name]["range"] for name in ("nothing", "mouth motion")]
    assert ranges[0] == pytest.approx(0.5, abs=0.05) and 1.1 < ranges[1] / ranges[0] < 2
    assert all(row["people"] == 1 and row["distance"] > 0 for row in report["known"].values())
    (nothing, identity, window, both) = given[-4:]
    assert nothing == (None, None) and identity[0] is avatar.identity is both[0]
    assert identity[1] is None is window[0] and window[1] is both[1]
    assert lips.gap_of(window[1]).max() == pytest.approx(
        2 * lips.gap_of(speech[2].weights[:150]).max(), rel=0.15
    )


def test_words_beside_a_video_give_a_table_by_class_of_sound(film, speech, tmp_path, capsys):
    pytest.importorskip("pocketsphinx")
    folder, _ = film("b.mp4", faces_of(mouth_of(speech[2])))
    (folder / "b.txt").write_text("hello")
    assert "by_class" in evaluated(folder, tmp_path, capsys)


def test_each_phone_has_its_aperture_and_its_width(film, speech, tmp_path, capsys, monkeypatch):
    """A mouth half as far open as the real one, which never shuts, and narrower by a constant."""
    time = np.arange(SECONDS * FPS) / FPS
    curves = mouth_of(speech[2])
    said = (time > 1) & (time < 2), (time > 2) & (time < 3)
    curves[0, said[0]], curves[0, said[1]] = 0, curves[0].max()
    real = [("M", 1.02, 1.98), ("AA", 2.02, 2.98), ("HH", 3.02, 3.98)]
    folder, _ = film("b.mp4", faces_of(curves * [[2], [1]] + [[0.05], [0.1]]))
    (folder / "b.txt").write_text("ma")
    monkeypatch.setattr(evaluate_talking.Aligner, "align", lambda *_: real)
    report = evaluated(folder, tmp_path, capsys)
    phones, classes = report["by_phone"], report["by_class"]
    assert list(phones) == ["M", "AA", "HH"] and list(classes) == ["p b m", "open"]
    assert phones["M"] == classes["p b m"] and phones["AA"] == classes["open"]
    assert phones["M"]["real"] == pytest.approx(0, abs=0.01) and phones["AA"]["real"] >= 1
    for phone in phones.values():
        assert phone["made_width"] == pytest.approx(phone["real_width"], abs=0.06)
    argv = ["evaluate", "talking", str(folder), "--tracks", str(tmp_path / "tracks"), "--phones"]
    assert cli.main(argv) == 0
    table = capsys.readouterr().out.split("PHONE")[1].splitlines()
    assert table[0].split() == ["phones", "aperture", "made", "width", "made"]
    rows = {line.split()[0]: [float(cell) for cell in line.split()[1:]] for line in table[1:]}
    for phone, row in phones.items():
        names = ("count", "real", "made", "real_width", "made_width")
        assert rows[phone] == pytest.approx([row[name] for name in names], abs=0.006)


@pytest.fixture
def moving_head(film, speech, monkeypatch):
    """A video of the default avatar at rest, whose head moves. Where the detector sees its
    landmarks before it was moved, and those of the drawn face, whose mouth is half as open and too
    high: (K, 478, 2), pixels; 1 % of the eyes' distance is a pixel. For its first frame enrolment
    needs a second look."""
    pytest.importorskip("torch")
    from realtalk_ros.training.videos import talking_picture

    count, avatar = 32, Avatar.load("default")
    real = np.tile(np.random.default_rng(0).uniform(-90, 90, (POINTS, 2)), (count, 1, 1))
    for points, (aperture, width) in zip(real, mouth_of(speech[2]).T, strict=False):
        fixed = face(aperture, width).points
        points[fixed.any(1)] = fixed[fixed.any(1)]
    drawn = real.copy()
    drawn[:, 14] = (drawn[:, 13] + drawn[:, 14]) / 2
    drawn[:, talking_picture.LIPS, 1] -= 5
    seen, images, picture = [], [], avatar.templates[len(avatar.templates) // 2]
    for k, points in enumerate(real + 256.0):
        matrix = cv2.getRotationMatrix2D((256, 256), 8 * np.sin(k), 1.1 + 0.1 * np.cos(k))
        matrix[:, 2] += 12 * np.sin(2 * k), 8 * np.cos(3 * k)
        seen.append([DetectedFace(points @ matrix[:, :2].T + matrix[:, 2])])
        images.append(cv2.warpAffine(picture, matrix, (512, 512), flags=cv2.INTER_CUBIC))
    # The second frame is the reference. The first look at it is wrong, as is that at the avatar at
    # rest, before all other drawn faces.
    wrong, looks = [DetectedFace(real[1] * (1.2, 1) + 256)], talking_picture.LOOKS
    looked = [seen[0], wrong, *[seen[1]] * looks, *seen[2:]]
    shown = [[DetectedFace(points + 256)] for points in (*drawn[:1].repeat(looks, 0), *drawn[2:])]
    then = (looked, [wrong, *shown])
    folder, detector = film("anna/a.mp4", seen, images, then=then)
    offered = []

    def enrolled(*_):
        offered.append(None)
        if len(offered) == 1:
            raise RealTalkError("too dark")
        return avatar

    def missing(_embedding):
        raise RealTalkError("needs dlib: pip install it")

    monkeypatch.setattr(talking_picture, "FaceDetector", detector)
    monkeypatch.setattr(talking_picture, "enrolled", enrolled)
    monkeypatch.setattr(talking_picture, "Lpips", lambda: lambda a, b: (a - b).abs().mean())
    monkeypatch.setattr(FaceEmbedding, "__init__", missing)
    return folder, real, drawn


def test_a_drawn_face_is_compared_where_the_real_one_lies(moving_head, tmp_path, capsys):
    folder, real, drawn = moving_head
    row = evaluated(folder, tmp_path, capsys, "--picture")["people"]["anna"]
    of_lips = mediapipe_points.LANDMARK[mediapipe_points.LIPS]
    for name, made in (("", drawn[2:]), ("still_", real[1])):
        apart = np.linalg.norm(made - real[2:], axis=2)
        assert row[f"{name}lmd"] == pytest.approx(apart[:, :468].mean(), rel=0.01)
        assert row[f"{name}m_lmd"] == pytest.approx(apart[:, of_lips].mean(), rel=0.01)
        assert row[f"{name}ssim"] > 0.88 and row[f"{name}lpips"] < 0.02
    assert row["picture_aperture_r"] > 0.99 and row["picture_found"] == 1
    assert row["picture_range"] == pytest.approx(0.5, abs=0.01)
    # His own face opens as far as the mean one, by whose opening the detector goes.
    assert row["picture_of_asked"] == pytest.approx(0.5, abs=0.04)
    assert row["identity"] is None
    assert evaluated(folder, tmp_path, capsys)["people"]["anna"].items() <= row.items()


def test_the_table_says_what_no_avatar_can_be_made_of(moving_head, tmp_path, capsys, monkeypatch):
    from realtalk_ros.training.videos import talking_picture

    def refused(*_):
        raise RealTalkError("its face\nis in the dark")

    monkeypatch.setattr(talking_picture, "enrolled", refused)
    folder, *_ = moving_head
    argv = ["evaluate", "talking", str(folder), "--picture", "--tracks", str(tmp_path / "tracks")]
    assert cli.main(argv) == 0
    said, complaint = capsys.readouterr()
    table = said[said.index("PICTURE") :].splitlines()
    assert table[0].split()[:3] == ["PICTURE", "LMD", "%"]
    assert [line.split()[-9:] for line in table[1:4]] == [["-"] * 9] * 3
    assert table[4].startswith("anna/a.mp4: not drawn:") and "is in the dark" in table[4]
    assert "realtalk evaluate talking: warning: needs dlib: pip install it\n" in complaint


@pytest.mark.parametrize("faces, why", [
    ([], "is not seen"), ([face(0.1, 0.5), face(0.1, 0.5)], "is not seen"),
    ([face(0.1, 0.5, turn=0.4)], "is not seen"),
])  # fmt: skip
def test_what_shows_no_single_face_is_left_out_in_one_line(film, faces, why, tmp_path, capsys):
    folder, _ = film("b.mp4", [faces] * SECONDS * FPS)
    argv = ["evaluate", "talking", str(folder), "--tracks", str(tmp_path / "tracks")]
    assert cli.main(argv) == 2
    error = capsys.readouterr().err
    assert why in error and error.count("\n") == 1


def test_a_damaged_track_is_named(tmp_path):
    path = tmp_path / "x.npz"
    mouth_track.MouthTrack(*np.zeros((4, 5))).save(path)
    assert len(mouth_track.MouthTrack.load(path)) == 5
    path.write_bytes(b"no zip")
    with pytest.raises(RealTalkError, match="remove it"):
        mouth_track.MouthTrack.load(path)


def test_lips_that_part_before_the_sound_are_seen_to():
    time = np.arange(100) / FPS
    aperture = np.where(time > 1.0, 0.2, 0.0)
    assert talking_metrics.opening_time(aperture, time, 35) == pytest.approx(0.36, abs=0.04)
    assert talking_metrics.opening_time(aperture, time, 20) == pytest.approx(-0.24, abs=0.04)
    assert talking_metrics.opening_time(aperture, time, 2) is None


def test_weights_are_changed_until_the_mouth_is_the_real_one(speech):
    rng = np.random.default_rng(0)
    before = speech[2].weights
    gap, width = np.abs(rng.normal(0.4, 0.4, len(before))), rng.normal(0, 0.3, len(before))
    made = mouth_targets.match_mouth(before, gap, width)
    assert made.min() >= 0 and made.max() <= 1
    assert np.abs(lips.gap_of(made) - gap).mean() < 0.01
    assert np.abs(made @ lips.WIDTH - width).mean() < 0.02
    others = [i for i in range(arkit.COUNT) if i not in arkit.MOUTH]
    np.testing.assert_array_equal(made[:, others], before[:, others])


def test_a_narrow_mouth_is_a_round_one_and_stays_so():
    """Of equal gap and width: the lips' own shape tells an "oo" from a lens with teeth in it."""
    before = np.zeros((2, 52), np.float32)
    before[:, arkit.INDEX["mouthPucker"]] = 0.35
    before[:, mouth_targets.OPENING_WEIGHTS] = 0.08
    gap, width = np.array([0.5, 0.5]), np.array([-0.4, 0.1])
    narrow, wide = mouth_targets.match_mouth(before, gap, width)
    funnel = arkit.INDEX["mouthFunnel"]
    assert narrow[funnel] > 0.2 and wide[funnel] == 0
    assert narrow @ lips.GAP + lips.REST_GAP == pytest.approx(0.5, abs=0.01)
    assert narrow @ lips.WIDTH == pytest.approx(-0.4, abs=0.01)
    again = mouth_targets.match_mouth(narrow[None], gap[:1], width[:1])
    np.testing.assert_allclose(again[0], narrow, atol=1e-3)


def test_lips_that_nearly_met_are_to_look_shut():
    gap = np.linspace(0, 1.2, 121)
    made = mouth_targets.nearly_met(gap)
    assert (np.diff(made) >= 0).all() and made[gap <= 0.2].max() <= 0.12
    np.testing.assert_array_equal(made[gap >= 0.6], gap[gap >= 0.6])
    np.testing.assert_array_equal(made[gap <= 0.12], gap[gap <= 0.12])


def test_relabelled_speech_keeps_closures_and_rests_in_silence(speech):
    weights, spoken = speech[2].weights, speech[2].speech
    seen = mouth_targets.features(weights, spoken)
    wide = np.column_stack([1 + 0 * spoken, 0 * spoken])  # people whose lips never meet
    regression = mouth_targets.MouthRegression.fit([seen], [wide], [1 + 0 * spoken])
    made = relabelled_speech.relabelled(weights, weights, spoken, regression)
    gap, before = lips.gap_of(made), lips.gap_of(weights)
    closed = before < 0.05
    assert closed.any() and gap[closed].max() < 0.1
    assert gap[(before > 0.3) & (spoken > 0.9)].min() > 0.6
    still = relabelled_speech.relabelled(weights, weights, 0 * spoken, regression)
    np.testing.assert_allclose(still, weights, atol=1e-6)


def test_known_phones_correct_closures_that_the_network_made_or_missed():
    steps, gaps = 200, np.full(200, 0.8)
    gaps[51:56] = 0  # at an n
    gaps[151:156] = 0  # at a w, at which people's lips do meet
    weights = mouth_targets.match_mouth(np.zeros((steps, 52), np.float32), gaps, 0 * gaps)
    weights[25:30, arkit.INDEX["mouthRollLower"]] = 0.4
    segments = [
        ("AA", 0, 1), ("N", 1, 1.14), ("AA", 1.14, 2), ("B", 2, 2.14), ("AA", 2.14, 3),
        ("W", 3, 3.14), ("AA", 3.14, 3.5), ("F", 3.5, 3.6), ("AA", 3.6, 4),
    ]  # fmt: skip
    contacts = lip_contacts.LipContacts.of(segments, steps)
    spoken = np.ones(steps)
    seen = mouth_targets.features(weights, spoken)
    curves = np.column_stack([0.8 * spoken, 0 * spoken])
    regression = mouth_targets.MouthRegression.fit([seen], [curves], [spoken])
    unknown = relabelled_speech.relabelled(weights, weights, spoken, regression)
    known = relabelled_speech.relabelled(weights, weights, spoken, regression, contacts=contacts)
    before, after = lips.gap_of(unknown), lips.gap_of(known)
    assert before[52:55].max() < 0.1 and after[51:56].min() > 0.6
    assert before[101:105].min() > 0.6 and after[101:105].max() < 0.05
    assert after[152:155].max() < 0.1
    assert not is_labiodental(known)[25:30].any() and is_labiodental(known)[176:179].all()


def test_words_of_a_recording_are_found_as_corpora_write_them(tmp_path):
    book, clips = tmp_path / "103" / "1240", tmp_path / "sv-SE" / "clips"
    book.mkdir(parents=True)
    clips.mkdir(parents=True)
    (book / "103-1240.trans.txt").write_text("103-1240-0000 CHAPTER ONE\n103-1240-0001 TWO\n")
    (clips.parent / "validated.tsv").write_text('path\tsentence\na.mp3\tHan sa "hej.\n')
    (tmp_path / "own.txt").write_text("mine")
    french = tmp_path / "cv-corpus-17.0-delta-2024-03-15-fr/validated_clips"
    french.mkdir(parents=True)
    (french.parent / "validated.tsv").write_text("path\tsentence\na.mp3\tbonjour\n")
    words = known_words.words_of_recording
    assert words(book / "103-1240-0000.flac") == ("en-us", "chapter one")
    assert words(clips / "a.mp3") == ("sv", 'Han sa "hej.')
    assert words(french / "a.mp3") == ("fr", "bonjour")
    assert words(tmp_path / "own.wav") == ("en-us", "mine")
    assert words(book / "103-1240-0002.flac") is None and words(clips / "b.mp3") is None


def test_f_and_v_stay_a_contact_however_wide_the_mouth_was_seen():
    weights = np.zeros((100, 52), np.float32)
    weights[:, arkit.INDEX["mouthRollLower"]] = 0.5
    weights[:, arkit.INDEX["jawOpen"]] = 0.15
    assert is_labiodental(weights).all()
    wide = np.column_stack([np.full(100, 1.2), np.zeros(100)])
    made = mouth_targets.targets(weights, np.ones(100), wide)
    assert (made @ lips.GAP + lips.REST_GAP).max() < 0.5  # cm
    assert not is_labiodental(np.zeros((100, 52), np.float32)).any()


def test_mouths_become_training_data_and_what_is_out_of_step_does_not(
    film, speech, tmp_path, capsys
):
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    curves = mouth_of(speech[2])
    curves[0] = 1.5 * curves[0] + 0.02  # a large mouth, and a tracker that never says 0
    film("anna/a.mp4", faces_of(curves))
    film("anna/b.mp4", faces_of(mouth_of(speech[2], late=0.4)))
    folder, _ = film("anna/c.mp4", faces_of(curves))
    out = tmp_path / "out"
    argv = ["data", "mouths", str(folder), "--out", str(out), "--hold-out", "1"]
    (out / "speech").mkdir(parents=True)
    others = out / "speech" / "of_data_videos.npz"
    for name in ("filmed_held_out_now", "speech_0031", "still_music", others.stem):
        (out / "speech" / f"{name}.npz").touch()
    assert cli.main(argv) == 0
    left = {path.name for path in (out / "speech").iterdir()}
    assert left == {"filmed_anna.npz", others.name}
    others.unlink()
    report = json.loads((out / "report.json").read_text())
    assert report["people"]["anna"]["clips"] == 1 and list(report["left_out"]) == ["anna/b.mp4"]
    assert "left out" in capsys.readouterr().out
    assert set(report["before_speech"]) >= {"40", "200"}
    video = VideoDataset(out).videos[0]
    spoken = mouth_targets.activity(video.speech) > 0.99
    time = np.arange(len(video.weights)) / 50
    wanted = np.interp(time, np.arange(len(curves[0])) / FPS, curves[0] - curves[0].min())
    wanted = mouth_targets.nearly_met(lips.EYES_CM * wanted)
    gap = lips.gap_of(video.weights)
    np.testing.assert_allclose(gap[spoken], wanted[spoken], atol=0.03)
    # A window of her own movement may be given, but not her identity, which nobody knows.
    assert video.has_window and VideoDataset(out, only_window=True).videos
    drawn = [video.draw_condition(0.5, np.random.default_rng(k)) for k in range(20)]
    assert {tuple(known) for _, known in drawn} == {(0, 0), (0, 1)}
    assert max(lips.gap_of(window).max() for window, _ in drawn) > 0.8 * gap.max()


def filmed(name, predicted, clips, late=0.0, gap=1.0, width=0.0):
    """A person who moves like the network, `gap` times as far and `width` wider."""
    apertures, widths = mouth_of(predicted, late)
    time = np.arange(SECONDS * FPS) / FPS
    track = mouth_track.MouthTrack(time, gap * apertures, widths + width, np.ones_like(time))
    mel = predicted.mel[: 2 * len(predicted.weights)]
    clip = filmed_people.Stretch(mel, predicted.weights, predicted.rotation, predicted.speech)
    lag = filmed_people.clip_lag(track, clip)
    return filmed_people.FilmedPerson(name, [(clip, track)] * clips, [lag] * clips)


def test_a_recording_that_is_off_is_put_in_step_if_it_is_sure(speech):
    usual = filmed("anna", speech[2], 3)
    assert filmed_people.usual_lag(
        [usual, filmed("otto", speech[2], 1, late=-0.2)]
    ) == pytest.approx(0, abs=1e-9)
    off = filmed("otto", speech[2], 1, late=-0.2)
    assert off.lags == [pytest.approx(0.2)]
    here, there = (person.curves(0.0)[0][20:-20, 0] for person in (usual, off))
    np.testing.assert_allclose(here, there, atol=0.05)
    clip, track = off.clips[0]
    rng = np.random.default_rng(0)
    noisy = replace(track, aperture=track.aperture + rng.normal(0, 0.12, len(track)))
    with pytest.raises(RealTalkError, match=r"ms off \(r 0\.[34]"):
        filmed_people.clip_lag(noisy, clip)


def test_people_of_seconds_count_by_the_root_and_take_their_width_from_others(speech, tmp_path):
    pytest.importorskip("torch")
    from realtalk_ros.training.videos import mouth_data

    long = filmed("anna", speech[2], 64)  # 384 s
    short = filmed("otto", speech[2], 1, gap=2.0, width=np.linspace(0, 0.3, SECONDS * FPS))
    assert not long.is_short and short.is_short
    builder = mouth_data.Builder(tmp_path)
    regression = builder.write_people([long, short])
    videos = {video.name: video for video in VideoDataset(tmp_path).videos}
    wide = videos["filmed_otto"].weights @ lips.WIDTH
    n = len(wide)
    spoken = mouth_targets.activity(speech[2].speech) > 0.99
    alike = videos["filmed_anna"].weights[:n] @ lips.WIDTH
    assert np.abs(wide - alike)[spoken].mean() < 0.05
    seen = mouth_targets.features(speech[2].weights, speech[2].speech)
    gaps = [person.curves(0.0)[0][spoken, 0].mean() for person in (long, short)]
    mean = regression.predict(seen)[spoken, 0].mean()
    assert (mean - gaps[0]) / (gaps[1] - gaps[0]) == pytest.approx(1 / 9, abs=0.02)  # 1 of 1 + 8
    assert VideoDataset(tmp_path)._probabilities == pytest.approx([8 / 9, 1 / 9], abs=0.01)


def test_in_noise_a_face_rests_until_speech_is_heard(tmp_path):
    n, first = 300, 100  # speech begins at `first`, the person's lips are parted all the time
    weights = np.zeros((n, 52), np.float32)
    weights[:, arkit.INDEX["jawOpen"]] = 0.4
    (tmp_path / "speech").mkdir()
    np.savez(
        tmp_path / "speech" / "filmed_a.npz", mel=np.zeros((2 * n, 80), np.float16),
        weights=weights, rotation=np.zeros((n, 3), np.float32), starts=np.array([0, n]),
        speech=(np.arange(n) >= first).astype(np.float32), identity=np.zeros(100, np.float32),
    )  # fmt: skip
    data, settings, ahead = VideoDataset(tmp_path), SamplerSettings(steps=260), 7
    for noise in (None, np.zeros((300, 80), np.float32)):
        sample = data.draw_sample(settings, ahead, noise, np.random.default_rng(3))
        jaw, begin = sample.weights[:, arkit.INDEX["jawOpen"]], int(np.argmax(sample.speech))
        assert begin > 30  # steps in which nobody speaks yet
        waits = jaw[: begin - ahead - 1]
        assert (waits == (0.4 if noise is None else 0)).all()
        np.testing.assert_allclose(jaw[begin:], 0.4, atol=1e-6)
        assert np.abs(np.diff(jaw)).max() < 0.1  # and leaves rest smoothly
    np.testing.assert_array_equal(video_dataset.onset_ramp(np.zeros(9)), 0)  # nobody ever speaks


def test_a_relabelled_person_is_given_as_it_was_made_with(tmp_path):
    n = 400
    arrays = dict(
        mel=np.zeros((2 * n, 80), np.float16), weights=np.full((n, 52), 0.1, np.float32),
        rotation=np.zeros((n, 3), np.float32), speech=np.ones(n, np.float32),
        starts=np.array([0, n]), identity=np.zeros(100, np.float32),
    )  # fmt: skip
    folder = tmp_path / "speech"
    folder.mkdir()
    np.savez(folder / "filmed_a.npz", **arrays)
    own = dict(reference=np.full((50, 52), 0.7, np.float32), condition_mask=np.array([0.0, 1.0]))
    long = {k: np.concatenate([v] * 3) if k not in ("starts", "identity") else v
            for k, v in arrays.items()}  # fmt: skip
    np.savez(folder / "speech_0.npz", **long | {"starts": np.array([0, 3 * n])}, **own)
    data = VideoDataset(tmp_path)
    assert data._probabilities == pytest.approx([0.35, 0.65])  # though one is three times as long
    rng = np.random.default_rng(0)
    reference, mask = data.videos[1].draw_condition(0.5, rng)
    assert (reference == 0.7).all() and mask.tolist() == [0, 1]
    assert data.draw_noise(rng) is None
    still = {"mel": np.repeat([1, 2], n)[:, None] + np.zeros((1, 80), np.float16)}
    np.savez(folder / "still.npz", **arrays | still | {"starts": np.array([0, n // 2, n])})
    sampler = Sampler({}, 0, VideoDataset(tmp_path))
    noises = [sampler.draw_noise() for _ in range(60)]
    added = [float(noise.mean()) for noise in noises if noise is not None]
    assert set(added) == {1, 2}  # one recording of them, not both
    assert 15 < len(added) < 45
    closed = replace(data.videos[0], weights=np.zeros((n, 52), np.float32))
    closed.weights[:, arkit.INDEX["mouthPressLeft"]] = 0.5  # takes the rest of the gap

    data.videos, data._probabilities = [closed], np.ones(1)
    assert data.draw_sample(SamplerSettings(steps=100), 7, None, rng).closure.min() == 1
