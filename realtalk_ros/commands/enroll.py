# SPDX-License-Identifier: Apache-2.0
"""`realtalk enroll`: makes an avatar folder from a photo or a short video of a consenting person.

The folder is built beside its place under another name and takes its place when it is whole and
loads. What is in it and what the keys of avatar.yaml mean: docs/avatars.md.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.avatar import provenance
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.avatar_names import as_argument
from realtalk_ros.avatar.avatar_yaml import MAX_NAME, StrictLoader, can_be_folder
from realtalk_ros.enroll import (
    face_detector,
    fit,
    framing,
    missing_pictures,
    mouth_motion,
    native_output,
)
from realtalk_ros.enroll.avatar_writer import Enrolment, exists, write_folder
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.fit import require_scipy
from realtalk_ros.enroll.mesh_tracker import follow
from realtalk_ros.enroll.one_person import check_one_person
from realtalk_ros.enroll.photo_checks import (
    MIN_FACE,
    check_pose,
    one_face,
    read_picture,
    too_small,
)
from realtalk_ros.enroll.photo_to_avatar import (
    examine_face,
    from_picture,
    from_points,
    portraits,
    region_of,
    resting_landmarks,
    too_coarse,
)
from realtalk_ros.enroll.rest_expression import Rest
from realtalk_ros.enroll.same_person import from_two_pictures
from realtalk_ros.enroll.video_reader import open_video
from realtalk_ros.enroll.video_to_avatar import TrackedVideo
from realtalk_ros.errors import AudioError, RealTalkError, one_line
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.predicted_expression import PredictedExpression
from realtalk_ros.face_model import arkit
from realtalk_ros.output import contact_sheet
from realtalk_ros.paths import check_file, is_folder
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.whole_files import check_is_no_input

MAX_SOURCE = 8 * 2**30  # bytes of a video
MAX_SECONDS = 60.0  # of a video that are looked at


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", metavar="FACE", type=Path, help="a photo or drawing, PNG or JPEG")
    what.add_argument(
        "--video",
        metavar="CLIP",
        type=Path,
        help=f"somebody's face, of which {MAX_SECONDS:.0f} s are used",
    )
    parser.add_argument(
        "--smile",
        metavar="SMILING",
        type=Path,
        help="with a photo by --image: another one of the same person that shows the teeth",
    )
    parser.add_argument("--name", required=True, help="of the avatar and of its folder")
    parser.add_argument(
        "--consent",
        metavar="WHO",
        default="",
        help="required: who agreed to this use of the face, one line; kept in the avatar and "
        "carried by its pictures",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path(),
        help="where the avatar's folder is made (default: here)",
    )
    parser.add_argument(
        "--landmarks",
        metavar="FILE",
        type=Path,
        help="eight points of a face that no tracker finds, as YAML, `name: [x, y]` in pixels: "
        + ", ".join(fit.EIGHT),
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=framing.SIZES,
        default=framing.SIZE,
        help="height of the avatar's frames in pixels; its face takes half of it",
    )
    parser.add_argument(
        "--silent",
        action="store_true",
        help="take a --video without sound: how its lips move is not checked "
        "against speech, and training on it is not possible",
    )
    face_detector.add_arguments(parser)
    native_output.add_arguments(parser)


def run(args: argparse.Namespace) -> None:
    target = check(args)
    require_scipy()
    source = args.image or args.video
    with native_output.hidden(args.verbose):
        made = enrolled(args)
        write_folder(target, made, args.name, args.consent.strip(), source, smile=args.smile)
    for note in made.notes:
        print(f"note: {note}")
    named = as_argument(target)
    height, width = made.templates[0].shape[:2]
    print(
        f"{target}: an avatar of {width}x{height} pixels; "
        f"try: realtalk speak --avatar {shlex.quote(named)} --text Hello --out hello.mp4"
    )
    if named != str(target) and not named.startswith("./-"):
        print(f"note: {target} alone names a bundled avatar, not this one: call it {named}")
    print(f"{write_contact_sheet(target)}: look whether it is like the person")


def enrolled(args: argparse.Namespace) -> Enrolment:
    """What the command line asks for. Raises RealTalkError."""
    if args.video:
        return from_video(args.video, args.landmarker, args.silent, args.size)
    picture = read_picture(args.image)
    if args.landmarks:
        points = read_landmarks(args.landmarks, picture.shape[1::-1])
        return from_points(picture, points, args.size)
    if args.smile:
        where, smile = (args.image, args.smile), read_picture(args.smile)
        return from_two_pictures(picture, smile, where, args.landmarker, args.size)
    return from_picture(picture, args.image, args.landmarker, args.size)


def write_contact_sheet(target: Path) -> Path:
    """Pictures of the avatar in the folder `target`, beside it. Returns where they are."""
    avatar = Avatar.load(target)
    cells = contact_sheet.faces(FaceRenderer(avatar, avatar.size[1]), contact_sheet.ENROLMENT)
    picture = contact_sheet.labelled(cells, contact_sheet.ENROLMENT, len(cells))
    path = sheet_of(target)
    provenance.write_picture(path, picture, avatar.provenance)
    return path


def sheet_of(target: Path) -> Path:
    """Where the picture of the avatar that is made at `target` is written."""
    return target.with_name(f"{target.name}-faces.jpg")


def check(args: argparse.Namespace) -> Path:
    """The avatar's folder to be. Raises RealTalkError for arguments that cannot be."""
    consent = args.consent.strip()
    if not consent:
        raise RealTalkError(
            'a face needs the consent of who it belongs to: --consent "who agreed, when, to what"'
        )
    if len(consent) > provenance.MAX_CONSENT or not consent.isprintable():
        raise RealTalkError(
            f"--consent must be one line of at most {provenance.MAX_CONSENT} characters"
        )
    name = args.name
    if not can_be_folder(name):
        raise RealTalkError(f"--name {name[:MAX_NAME]!r} cannot be a folder's: letters and digits")
    if args.landmarks and args.video:
        raise RealTalkError("--landmarks are of a picture: give it by --image")
    if args.smile and (args.video or args.landmarks):
        raise RealTalkError(
            "--smile goes with a photo by --image, without --landmarks: leave it out"
        )
    sources = [s for s in (args.image or args.video, args.smile, args.landmarks) if s]
    for source in sources:
        check_file(source)
    if not is_folder(args.out) or not os.access(args.out, os.W_OK):
        raise RealTalkError(f"--out {args.out} is no folder that can be written to: make it first")
    target = args.out / name
    if os.path.lexists(target):
        raise exists(target)
    check_is_no_input(sheet_of(target), "the sheet", sources)
    return target


def read_landmarks(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(8, 2) pixels of a YAML file `name: [x, y]`, in fit.EIGHT's order. Raises RealTalkError."""
    try:
        if path.stat().st_size > 10_000:
            raise ValueError("it is too long")
        points = eight_points(yaml.load(path.read_text(encoding="utf-8"), StrictLoader))
        if not ((points >= 0) & (points < size)).all():
            raise ValueError("a point is not in the picture")
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise RealTalkError(
            f"--landmarks {path} cannot be used ({one_line(error)[:80]}): give "
            f"`name: [x, y]` in pixels for {', '.join(fit.EIGHT)}"
        ) from error
    right, left = points[:2, 0].mean(), points[2:4, 0].mean()
    if not right < left:
        raise RealTalkError(
            f"--landmarks {path}: right and left are the face's own; its right eye is on the left"
        )
    return points


def eight_points(given: Any) -> np.ndarray:
    """(8, 2), in fit.EIGHT's order, of what a YAML file holds. Raises ValueError."""
    if not isinstance(given, dict):
        raise ValueError("it holds no lines of that form")
    for name in (*fit.EIGHT, *given):
        if name not in given or name not in fit.EIGHT:
            raise ValueError(f"{name} is {'not known' if name in given else 'missing'}")
    points = np.zeros((8, 2))
    for row, name in zip(points, fit.EIGHT, strict=True):
        try:
            x, y = given[name]
            row[:] = float(x), float(y)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{name} is not [x, y]") from None
    return points


def from_video(path: Path, landmarker: Path | None, silent: bool, size: int) -> Enrolment:
    """Of a video of one person, who is heard unless it is `silent`, in frames of a height of `size`
    pixels. Raises RealTalkError."""
    if path.stat().st_size > MAX_SOURCE:
        raise RealTalkError(f"{path} is larger than {MAX_SOURCE >> 30} GB: cut it to a minute")
    has_sound = open_video(path).has_sound
    if not has_sound and not silent:
        raise RealTalkError(
            f"{path} has no sound, so its lips cannot be checked against speech: give the original "
            "with its sound, or --silent to take it as it is"
        )
    video = TrackedVideo(path, follow(path, landmarker, MAX_SECONDS))
    if video.face_height() < MIN_FACE:
        raise too_small(str(path), video.face_height())
    video.check_pose(check_pose)
    notes = video.notes() + look_at(video, landmarker)
    notes += missing_pictures.notes(path, video.track.time, MAX_SECONDS)
    references, weights, reference_landmarks = video.references()
    resting = arkit.weights()
    if (quiet := video.quiet()) is not None:
        templates, layout = video.templates(quiet, size)
        landmarks = layout.points(video.track.rest[quiet])
        rest = layout.points(np.median(video.track.rest[quiet], axis=0))
        region = framing.region(rest, layout.crop)
    else:
        notes.append("the head or the mouth never rests for a second: templates are of one frame")
        at_rest, identity = calmest_rest(video, landmarker, size), video.track.identity
        portrait, resting = at_rest.portrait, at_rest.weights
        weights = weights - resting
        templates = [portrait.image]
        shape = resting_landmarks(identity, resting)
        landmarks = framing.landmarks_in_frame(portrait, shape)[None]
        layout, region = portrait.layout, region_of(portrait, identity)
    expressions, motion = video.own_expressions(), None
    if has_sound:
        try:
            motion = own_mouth_motion(video, expressions)
        except AudioError as error:  # pictures were enough for all else
            notes.append(f"how far the mouth opens in speech is not measured: {error}")
    return Enrolment(
        identity=video.track.identity,
        templates=templates,
        landmarks=landmarks,
        crop=layout.crop,
        references=references,
        reference_weights=weights,
        reference_landmarks=reference_landmarks,
        expressions=expressions,
        region=region,
        notes=notes + too_coarse(layout, size),
        resting_weights=resting,
        mouth_motion=motion,
    )


def own_mouth_motion(video: TrackedVideo, expressions: np.ndarray | None) -> float | None:
    """How far the person opens the mouth, beside what the network makes of the voice with what an
    avatar tells it of the person; None where that cannot be said. Raises AudioError."""
    # No farther than the pictures were followed: a film may be long.
    pcm, rate = read_audio(video.path, seconds=float(video.track.time[-1]))
    model = ExpressionModel()
    prior = model.prior(video.track.identity, expressions)
    heard = PredictedExpression.of(pcm, rate, model, prior)
    return mouth_motion.of_track(video.track, heard)


def look_at(video: TrackedVideo, landmarker: Path | None) -> list[str]:
    """Notes for the user on the frame in which the face does the least, and on who is seen. Raises
    RealTalkError where no avatar could be made of it as of a photo: the tracker follows masks and
    dogs, too; and for two people."""
    picture = video.picture(video.calmest())
    with FaceDetector(landmarker) as detector:
        faces = detector.find(picture)
        notes = examine_face(detector, picture, faces[0], str(video.path)).notes if faces else []
        return notes + check_one_person(video.path, video.track.apart)


def calmest_rest(video: TrackedVideo, landmarker: Path | None, size: int) -> Rest:
    """The face at rest, of the frame in which it does the least."""
    picture = video.picture(video.calmest())
    with FaceDetector(landmarker) as detector:
        face = one_face(detector.find(picture), str(video.path))
    model = fit.mesh_model()
    weights, pose, error = fit.Fitter(model, video.track.identity).fit(model.choose(face.points))
    who = fit.Fit(video.track.identity, weights[None], [pose], np.array([error]))
    return portraits(picture, face.points, who, size)[1]
