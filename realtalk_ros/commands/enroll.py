# SPDX-License-Identifier: Apache-2.0
"""`realtalk enroll`: makes an avatar folder from a photo or a short video of a consenting person.

The folder is built beside its place under another name and takes its place when it is whole and
loads. What is in it and what the keys of avatar.yaml mean: docs/enroll.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import yaml

from realtalk_ros.avatar import provenance
from realtalk_ros.avatar.avatar import MAX_NAME, can_be_folder
from realtalk_ros.commands.track import follow, open_video, require_scipy
from realtalk_ros.enroll import fit, photo_to_avatar
from realtalk_ros.enroll.avatar_writer import Enrolment, write_folder
from realtalk_ros.enroll.face_detector import FaceDetector
from realtalk_ros.enroll.face_reader import FaceReader, refine_identity
from realtalk_ros.enroll.layout import Layout
from realtalk_ros.enroll.photo_checks import (
    MAX_ROLL,
    MIN_FACE,
    check_pose,
    no_upright_face,
    one_face,
    read_picture,
    too_small,
)
from realtalk_ros.enroll.photo_to_avatar import Portrait
from realtalk_ros.enroll.rest_expression import Rest, bring_to_rest
from realtalk_ros.enroll.video_to_avatar import TrackedVideo
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit

MAX_SOURCE = 8 * 2**30  # bytes of a video
MAX_SECONDS = 60.0  # of a video that are looked at
MAX_CHANGE = 0.03  # of the crop's side, between two looks at one face
OTHER_MOUTH = 1 / 64  # of the crop's side: landmarks that move farther show another mouth
ENLARGED = 1.1  # times, beyond which a face is called too small for its frame


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--image", metavar="FACE", type=Path, help="a photo or drawing, PNG or JPEG")
    what.add_argument(
        "--video",
        metavar="CLIP",
        type=Path,
        help=f"somebody's face, of which {MAX_SECONDS:.0f} s are used",
    )
    parser.add_argument("--name", required=True, help="of the avatar and of its folder")
    parser.add_argument(
        "--consent",
        metavar="WHO",
        default="",
        help="who agreed to this use of the face, one line; kept in the avatar and "
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
        help="eight points of a face that no tracker finds, as YAML: " + ", ".join(fit.EIGHT),
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=photo_to_avatar.SIZES,
        default=photo_to_avatar.SIZE,
        help="height of the avatar's frames in pixels; its face takes half of it (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--silent",
        action="store_true",
        help="take a --video without sound: how its lips move is not checked "
        "against speech, and training on it is not possible",
    )
    parser.add_argument(
        "--landmarker",
        metavar="FILE",
        type=Path,
        help="face_landmarker.task, for MediaPipe without a model",
    )


def run(args: argparse.Namespace) -> None:
    target = check(args)
    require_scipy()
    source = args.image or args.video
    if args.video:
        made = from_video(args.video, args.landmarker, args.silent, args.size)
    else:
        picture = read_picture(args.image)
        if args.landmarks:
            points = read_landmarks(args.landmarks, picture.shape[1::-1])
            made = from_points(picture, points, args.size)
        else:
            made = from_picture(picture, args.image, args.landmarker, args.size)
    write_folder(target, made, args.name, args.consent.strip(), source)
    for note in made.notes:
        print(f"note: {note}")
    print(
        f"{target}: {len(made.templates)} templates, {len(made.references)} references; "
        f"try: realtalk speak --avatar {target} --text Hello --out hello.mp4"
    )


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
    source = args.image or args.video
    if not source.is_file():
        raise RealTalkError(f"there is no file {source}")
    if not args.out.is_dir() or not os.access(args.out, os.W_OK):
        raise RealTalkError(f"--out {args.out} is no folder that can be written to: make it first")
    target = args.out / name
    if target.exists() or target.is_symlink():
        raise RealTalkError(f"{target} exists: remove it, or give another --name or --out")
    return target


def from_picture(
    picture: np.ndarray,
    where: Path | str,
    landmarker: Path | None,
    size: int = photo_to_avatar.SIZE,
) -> Enrolment:
    """Of a photo, by the tracker, in frames of that height. Raises RealTalkError."""
    model = fit.mesh_model()
    with FaceDetector(landmarker) as detector:
        face = one_face(detector.find(picture), str(where))
        mesh = model.choose(face.points[None])
        who = fit.fit(model, mesh)
        check_pose(who.poses[0], float(who.error[0]), str(where))
        shown, at_rest = portraits(picture, face.points, who, 0, size)
        rest = at_rest.portrait
        # Seen again, larger and upright: what is there only at first sight is no face, or lies on
        # its head.
        again = detector.find(shown.image)
    off = model.choose(again[0].points) - shown.points if again else np.inf
    if not np.median(np.abs(off)) < MAX_CHANGE * shown.layout.crop[2]:
        raise no_upright_face(str(where))
    identity = refine_identity(who, [FaceReader().read(picture, mesh[0])])
    references, weights, crop = [shown.crop], [who.weights[0] - at_rest.weights], shown.layout.crop
    moved = np.linalg.norm(shown.points - rest.points, axis=1).max()
    if moved > OTHER_MOUTH * crop[2]:
        references.append(rest.crop)
        weights.append(np.zeros(arkit.COUNT, np.float32))
    templates, landmarks = photo_to_avatar.templates(
        rest, resting_landmarks(who.identity, at_rest.weights)
    )
    return Enrolment(
        identity=identity,
        templates=templates,
        landmarks=landmarks,
        crop=crop,
        references=references,
        reference_weights=np.stack(weights),
        reference_landmarks=project_landmarks(
            shown.pose, who.identity, np.stack(weights) + at_rest.weights, crop
        ),
        expressions=None,
        region=region_of(rest, who.identity),
        resting_weights=at_rest.weights,
        parted_weights=at_rest.parted_weights,
        notes=too_coarse(shown.layout, size),
    )


def too_coarse(layout: Layout, size: int) -> list[str]:
    """A line for the user where the picture has fewer pixels than a frame of that height shows."""
    if layout.scale < ENLARGED:
        return []
    smaller = ", or a smaller --size" if size > photo_to_avatar.SIZES[0] else ""
    side = layout.crop[2]
    return [
        f"the face is {side / layout.scale:.0f} pixels wide in the picture and {side} in the "
        f"avatar, which will be soft: give a larger picture{smaller}"
    ]


def project_landmarks(
    pose: fit.Pose, identity: np.ndarray, weights: np.ndarray, crop: tuple[int, int, int]
) -> np.ndarray:
    """(K, 68, 2): the landmarks that weights (K, 52) show, in pixels of a crop of a frame."""
    shapes = fit.landmarks.load().points(weights, identity).astype(np.float64)
    x, y, side = crop
    return (np.stack([pose.project(shape) for shape in shapes]) - (x, y)) * (
        photo_to_avatar.CROP / side
    )


def resting_landmarks(identity: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(68, 3) cm, at resting weights (52,)."""
    weights = np.zeros(arkit.COUNT) if weights is None else weights
    return fit.landmarks.load().points(weights, identity).astype(np.float64)


def region_of(shown: Portrait, identity: np.ndarray) -> np.ndarray:
    return photo_to_avatar.region(
        shown.pose.project(resting_landmarks(identity)), shown.layout.crop
    )


def portraits(
    picture: np.ndarray, points: np.ndarray, who: fit.Fit, number: int, size: int
) -> tuple[Portrait, Rest]:
    """The face in its frame as it is, and at rest, of picture `number` of a fit; the frame's height
    is `size`."""
    model, pose = fit.mesh_model(), who.poses[number]
    layout = photo_to_avatar.lay_out(
        picture.shape[1::-1], photo_to_avatar.square(pose, who.identity), pose.roll, size
    )
    shape = model.shape(who.identity, who.weights[number])
    shown = Portrait.of(
        picture,
        layout,
        layout.points(model.choose(points)),
        shape,
        photo_to_avatar.in_frame(pose, layout),
    )
    return shown, bring_to_rest(shown, model, who.identity, who.weights[number])


def read_landmarks(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(8, 2) pixels of a YAML file `name: [x, y]`, in fit.EIGHT's order. Raises RealTalkError."""
    try:
        if path.stat().st_size > 10_000:
            raise ValueError("it is too long")
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
        points = np.array([[float(v) for v in given[name]] for name in fit.EIGHT])
        if points.shape != (8, 2) or not ((points >= 0) & (points < size)).all():
            raise ValueError("a point is not in the picture")
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise RealTalkError(
            f"--landmarks {path} cannot be used ({' '.join(str(error).split())[:80]}): give "
            f"`name: [x, y]` in pixels for {', '.join(fit.EIGHT)}"
        ) from error
    right, left = points[:2, 0].mean(), points[2:4, 0].mean()
    if not right < left:
        raise RealTalkError(
            f"--landmarks {path}: right and left are the face's own; its right eye is on the left"
        )
    return points


def from_points(
    picture: np.ndarray, points: np.ndarray, size: int = photo_to_avatar.SIZE
) -> Enrolment:
    """Of a drawing, by eight points (8, 2), in frames of that height. Raises RealTalkError."""
    model = fit.eight_model()
    who = fit.fit(model, points[None])
    pose, where = who.poses[0], "the picture"
    square = photo_to_avatar.square(pose, who.identity)
    if square[2] < 1.2 * MIN_FACE:
        raise too_small(where, square[2] / 1.2)
    if abs(pose.roll) > MAX_ROLL:
        raise RealTalkError("the face is not upright: turn the picture")
    layout = photo_to_avatar.lay_out(picture.shape[1::-1], square, pose.roll, size)
    # The fitted head's 68 landmarks stand for those that were not given.
    shape = resting_landmarks(who.identity)
    pose = photo_to_avatar.in_frame(pose, layout)
    shown = Portrait.of(picture, layout, pose.project(shape), shape, pose)
    templates, landmarks = photo_to_avatar.templates(shown, shape)
    weights = np.zeros((1, arkit.COUNT))
    return Enrolment(
        identity=who.identity,
        templates=templates,
        landmarks=landmarks,
        crop=layout.crop,
        references=[shown.crop],
        reference_weights=weights.astype(np.float32),
        reference_landmarks=project_landmarks(pose, who.identity, weights, layout.crop),
        expressions=None,
        region=region_of(shown, who.identity),
        notes=[
            "eight points give no expression: the picture is taken for a face at rest",
            *too_coarse(layout, size),
        ],
    )


def from_video(
    path: Path,
    landmarker: Path | None,
    silent: bool = False,
    size: int = photo_to_avatar.SIZE,
) -> Enrolment:
    """Of a video of one person, who is heard unless it is `silent`, in frames of a height of `size`
    pixels. Raises RealTalkError."""
    if path.stat().st_size > MAX_SOURCE:
        raise RealTalkError(f"{path} is larger than {MAX_SOURCE >> 30} GB: cut it to a minute")
    if not open_video(path).has_sound and not silent:
        raise RealTalkError(
            f"{path} has no sound, so its lips cannot be checked against speech: give the original "
            "with its sound, or --silent to take it as it is"
        )
    video = TrackedVideo(path, follow(path, landmarker, MAX_SECONDS))
    if video.face_height() < MIN_FACE:
        raise too_small(str(path), video.face_height())
    video.check_pose(check_pose)
    notes = video.notes()
    references, weights, reference_landmarks = video.references()
    resting = None
    if (quiet := video.quiet()) is not None:
        templates, layout = video.templates(quiet, size)
        landmarks = layout.points(video.track.rest[quiet])
        rest = layout.points(np.median(video.track.rest[quiet], axis=0))
        region = photo_to_avatar.region(rest, layout.crop)
    else:
        notes.append("the head or the mouth never rests for a second: templates are of one frame")
        at_rest, identity = calmest_rest(video, landmarker, size), video.track.identity
        portrait, resting = at_rest.portrait, at_rest.weights
        weights = weights - resting
        templates, landmarks = photo_to_avatar.templates(
            portrait, resting_landmarks(identity, resting)
        )
        layout, region = portrait.layout, region_of(portrait, identity)
    return Enrolment(
        identity=video.track.identity,
        templates=templates,
        landmarks=landmarks,
        crop=layout.crop,
        references=references,
        reference_weights=weights,
        reference_landmarks=reference_landmarks,
        expressions=video.own_expressions(),
        region=region,
        notes=notes + too_coarse(layout, size),
        resting_weights=resting,
    )


def calmest_rest(video: TrackedVideo, landmarker: Path | None, size: int) -> Rest:
    """The face at rest, of the frame in which it does the least."""
    picture = video.picture(video.calmest())
    with FaceDetector(landmarker) as detector:
        face = one_face(detector.find(picture), str(video.path))
    model = fit.mesh_model()
    weights, pose, error = fit.Fitter(model, video.track.identity).fit(model.choose(face.points))
    who = fit.Fit(video.track.identity, weights[None], [pose], np.array([error]))
    return portraits(picture, face.points, who, 0, size)[1]
