# SPDX-License-Identifier: Apache-2.0
"""Training groups (training/synthetic/face_dataset.py) of a tracked video. What is held out is
decided in build.py.

Rendered templates and targets share one pose. No two frames of a video do, and a network that
learns from such pairs learns to move, and to blur, parts that must not change. So:

- a target is a frame whose head is turned nearly as in its template, the calmest frame near it;
- it is aligned to the template by the landmarks at rest, then by the parts of the picture that do
  not move with the expression (ECC, Evangelidis and Psarakis 2008);
- where nothing moves, or no more than the noise of the picture, it gets the template's pixels.

A group has 3 references (each cropped by its own square; the first shows teeth) and 2 poses, each
of a template and 4 targets. Its arrays are those of training/synthetic/face_dataset.py, without
`head` and `camera`, with

    rotation    (G, 13, 3) float32 rad, yaw, pitch, roll (to the right)
    frame       (G, 13) int32, the frame's number in the video
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.contracts import CROP_SIZE
from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import (
    BROW_LEFT,
    BROW_RIGHT,
    BROWS,
    EYE_LEFT,
    EYE_RIGHT,
    EYES,
    INNER_LIPS,
    LIPS,
    NOSE,
    NOSE_BASE,
    OUTER_LIPS,
)
from realtalk_ros.face_model.rotations import swap_track_order
from realtalk_ros.training.common.affine_maps import (
    compose,
    from_middles,
    random_crop,
    similarity_transform,
    transform,
)
from realtalk_ros.training.common.group_layout import (
    EXPRESSIONS,
    IMAGES,
    POSE,
    POSES,
    REFERENCES,
)
from realtalk_ros.training.synthetic.scene import LABELS

# Pitch and yaw by which template and targets may differ: the smallest that leaves a choice.
MAX_TURNS = np.radians([0.8, 1.6, 2.5])
TARGETS = EXPRESSIONS - 1
GROUPS = 32  # in a shard
TEETH = [i for i, n in enumerate(arkit.NAMES) if n.startswith(("mouthUpperUp", "mouthLowerDown"))]
BLINK = arkit.indices("eyeBlink")
MOUTH = list(arkit.MOUTH)
BLEND_WIDTH = 0.03  # of the square, over which target and template blend
MAX_CORRECTION = 5.0  # pixels of the crop by which the picture may correct the landmarks
INNER = slice(17, 68)  # landmarks without the jaw's outline


@dataclass(frozen=True)
class GroupPlan:
    """One group: frame numbers, and for each the affine map (2, 3) from the video to its crop."""

    frames: np.ndarray  # (13,)
    maps: np.ndarray  # (13, 2, 3)


@dataclass(frozen=True, order=True)
class _Pose:
    """Frame numbers of a template and its targets."""

    template: int
    targets: list[int]

    @property
    def frames(self) -> tuple[int, ...]:
        return (self.template, *self.targets)


def plan_groups(
    track: Track, stretches: list[range], rate: float, rng: np.random.Generator
) -> list[GroupPlan]:
    """Groups in which about `rate` frames a second are targets, in the order of the video.

    A frame with no other near it in pose is left out.
    """
    teeth = track.weights[:, TEETH].sum(1) - 5 * track.weights[:, BLINK].sum(1)
    poses = sorted(p for stretch in stretches for p in _plan_poses(track, stretch, rate, rng))
    if len(poses) % POSES:
        poses.append(poses[-1])
    squares, plans = track.squares(), []
    for i in range(0, len(poses), POSES):
        # References from nearby in time, so that a shard is made of one stretch of decoding.
        nearby = poses[max(0, i - GROUPS) : i + GROUPS]
        pool = np.unique([frame for pose in nearby for frame in pose.frames])
        by_teeth = pool[np.argsort(-teeth[pool])]
        references = [int(rng.choice(by_teeth[: max(1, len(by_teeth) // 10)]))]
        references += rng.choice(pool, REFERENCES - 1).tolist()
        frames, maps = list(references), [random_crop(squares[k], rng) for k in references]
        for pose in poses[i : i + POSES]:
            crop = random_crop(squares[pose.template], rng)
            template_points = track.rest[pose.template][INNER]
            for frame in pose.frames:
                aligned = similarity_transform(track.rest[frame][INNER], template_points)
                frames.append(frame)
                maps.append(compose(crop, aligned))
        plans.append(GroupPlan(np.array(frames, np.int32), np.stack(maps)))
    return plans


def _plan_poses(
    track: Track, stretch: range, rate: float, rng: np.random.Generator
) -> Iterator[_Pose]:
    """Frames of a stretch that are near each other in pose, in random order."""
    effort = 3 * np.abs(track.weights[:, MOUTH]).sum(1) + 5 * track.weights[:, BLINK].max(1)
    frames = np.arange(stretch.start, stretch.stop)
    step = max(1, round(1 / (rate * np.median(np.diff(track.time[frames])))))
    waiting = list(rng.permutation(frames[::step]))
    while waiting:
        first = waiting[0]
        turns = np.abs(track.rotation[frames, :2] - track.rotation[first, :2]).max(1)
        max_turn = next((m for m in MAX_TURNS if (turns < m).sum() > 2 * TARGETS), MAX_TURNS[-1])
        near = frames[turns < max_turn]
        chosen = [k for k in waiting if k in set(near.tolist())][:TARGETS]
        waiting = [k for k in waiting if k not in chosen]
        middle = track.rotation[chosen, :2].mean(0)
        distance = np.abs(track.rotation[near, :2] - middle).max(1) / max_turn
        template = int(near[np.argmin(distance + effort[near])])
        targets = [k for k in chosen if k != template]
        others = near[~np.isin(near, [template, *targets])]
        missing = TARGETS - len(targets)
        if len(others) >= missing:
            targets += rng.choice(others, missing, replace=False).tolist()
            yield _Pose(template, [int(k) for k in targets])


def extract_patch(image: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture that a crop needs, shrunk if the crop is smaller, and its map."""
    shrink = min(1.0, float(np.hypot(affine[0, 0], affine[1, 0])) / 0.8)
    back = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))[:2]
    corners = transform(
        np.array([[0, 0], [CROP_SIZE, 0], [CROP_SIZE, CROP_SIZE], [0, CROP_SIZE]]), back
    )
    margin = 0.1 * CROP_SIZE * np.hypot(back[0, 0], back[1, 0])
    low = np.maximum(np.floor(corners.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0) + margin), image.shape[1::-1]).astype(int)
    part = image[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    scale = np.ones(2)
    if shrink < 0.95:
        size = np.maximum(1, np.rint(np.array(part.shape[1::-1]) * shrink)).astype(int)
        scale = np.array(part.shape[1::-1]) / size
        part = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA)
    return part.copy(), compose(affine, np.column_stack([np.diag(scale), low]))


def warp(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(CROP_SIZE, CROP_SIZE, 3): the picture under an affine map (2, 3)."""
    return cv2.warpAffine(
        image,
        from_middles(affine),
        (CROP_SIZE, CROP_SIZE),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def rigid_mask(points: np.ndarray) -> np.ndarray:
    """(256, 256) uint8, 255 where a face of 68 landmarks moves little with its expression.

    That is the nose, the upper cheeks and the skin around the eyes.
    """
    middle, mask = points[NOSE].mean(0), np.zeros((CROP_SIZE, CROP_SIZE), np.uint8)
    sides = middle + 0.85 * (points[[0, 1, 2, 14, 15, 16]] - middle)
    up = 0.25 * (points[EYES].mean(0) - points[LIPS].mean(0))
    rim = np.concatenate([sides, points[NOSE_BASE], points[BROWS] + up]).astype(np.float32)
    fill_polygon(cv2.convexHull(rim)[:, 0], mask, 255)
    moving = np.zeros_like(mask)
    for part in (BROW_RIGHT, BROW_LEFT, EYE_RIGHT, EYE_LEFT, OUTER_LIPS):
        fill_polygon(cv2.convexHull(points[part].astype(np.float32))[:, 0], moving, 255)
    moving = cv2.dilate(moving, np.ones((9, 9), np.uint8))
    return cv2.bitwise_and(mask, cv2.bitwise_not(moving))


def refine_alignment(
    template: np.ndarray, picture: np.ndarray, template_points: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """(2, 3): aligns a crop's rigid parts to the template's; the identity where that fails."""
    greys = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (template, picture)]
    mask = cv2.bitwise_and(rigid_mask(points), rigid_mask(template_points))
    identity = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-4)
    try:
        _, affine = cv2.findTransformECC(
            *greys,
            identity.copy(),
            cv2.MOTION_AFFINE,
            stop,
            inputMask=mask,
            gaussFiltSize=5,
        )
    except cv2.error:  # it does not converge
        return identity
    affine = cv2.invertAffineTransform(affine)
    shift = np.abs(transform(points[INNER], affine) - points[INNER]).max()
    return affine if shift < MAX_CORRECTION else identity


def face_outline(points: np.ndarray) -> np.ndarray:
    """(n, 2): the outline of a face of 68 landmarks, with some forehead."""
    eyes, mouth = points[EYES].mean(0), points[LIPS].mean(0)
    forehead = points[BROWS] + 0.45 * (eyes - mouth)
    return cv2.convexHull(np.concatenate([points[:27], forehead]).astype(np.float32))[:, 0]


def fill_polygon(points: np.ndarray, image: np.ndarray, value: int) -> None:
    """Fills a polygon (n, 2) of `image`, in place."""
    cv2.fillPoly(image, [np.rint(points * 16).astype(np.int32)], value, shift=4)


def segment(points: np.ndarray) -> np.ndarray:
    """(CROP_SIZE, CROP_SIZE) uint8: those of scene.LABELS that 68 landmarks outline."""
    image = np.zeros((CROP_SIZE, CROP_SIZE), np.uint8)
    for name, polygon in (
        ("skin", face_outline(points)), ("lips", points[OUTER_LIPS]), ("mouth", points[INNER_LIPS]),
        ("eyes", points[EYE_RIGHT]), ("eyes", points[EYE_LEFT]),
    ):  # fmt: skip
        fill_polygon(polygon, image, LABELS.index(name))
    return image


def expression_mask(*faces: np.ndarray) -> np.ndarray:
    """(CROP_SIZE, CROP_SIZE, 1) 0..1, soft: where the expression changes any of the faces (68, 2).

    From the brows to below the chin, without the outline of temples and cheeks.
    """
    mask = np.zeros((CROP_SIZE, CROP_SIZE), np.uint8)
    for points in faces:
        middle = points[NOSE].mean(0)
        up = 0.2 * (points[EYES].mean(0) - points[LIPS].mean(0))
        sides = middle + 0.86 * (points[[1, 2, 3, 4, 12, 13, 14, 15]] - middle)
        chin = points[LIPS].mean(0) + 1.12 * (points[6:11] - points[LIPS].mean(0))
        rim = np.concatenate([sides, chin, points[BROWS] + up])
        fill_polygon(cv2.convexHull(rim.astype(np.float32))[:, 0], mask, 255)
    soft = cv2.GaussianBlur(mask, (0, 0), BLEND_WIDTH * CROP_SIZE).astype(np.float32) / 255
    return soft[..., None]


def change_mask(template: np.ndarray, picture: np.ndarray, rigid: np.ndarray) -> np.ndarray:
    """(CROP_SIZE, CROP_SIZE, 1) 0..1, soft: where two pictures differ by more than their noise.

    rigid: of `rigid_mask`, where only noise differs.
    """
    change = np.abs(picture - template).max(2)
    change = cv2.GaussianBlur(change, (0, 0), CROP_SIZE / 64)
    noise = max(1.0, float(np.median(change[rigid > 0]))) if rigid.any() else 1.0
    return cv2.GaussianBlur(np.clip(change / noise - 1.5, 0, 1), (0, 0), CROP_SIZE / 64)[..., None]


def make_shards(
    plans: list[GroupPlan], track: Track, frames: Iterable[tuple[float, np.ndarray]]
) -> Iterator[list[dict[str, np.ndarray]]]:
    """Shards of at most GROUPS groups, in the order of `plans`. `frames` are the video's."""
    shards = [plans[i : i + GROUPS] for i in range(0, len(plans), GROUPS)]
    if not shards:
        return
    # A shard is ready when its last frame has passed; neighbours overlap in time.
    wanted: dict[int, list[tuple[int, int, int]]] = {}  # frame -> shard, group, picture
    for s, shard in enumerate(shards):
        for g, plan in enumerate(shard):
            for n, frame in enumerate(plan.frames):
                wanted.setdefault(int(frame), []).append((s, g, n))
    missing = [len(shard) * IMAGES for shard in shards]
    patches: dict[int, list[list]] = {}  # shard -> group -> patches and their maps
    done = 0
    for number, (_, image) in enumerate(frames):
        for s, g, n in wanted.get(number, ()):
            groups = patches.setdefault(s, [[None] * IMAGES for _ in shards[s]])
            groups[g][n] = extract_patch(image, shards[s][g].maps[n])
            missing[s] -= 1
        while done < len(shards) and missing[done] == 0:
            groups = zip(shards[done], patches.pop(done), strict=True)
            yield [make_group(plan, track, of_group) for plan, of_group in groups]
            done += 1
        if done == len(shards):  # the rest of the video is not needed
            return


def make_group(
    plan: GroupPlan, track: Track, patches: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, np.ndarray]:
    """The arrays of one group."""
    landmarks = np.stack(
        [transform(track.landmarks[k], m) for k, m in zip(plan.frames, plan.maps, strict=True)]
    )
    images = np.stack([warp(*patch) for patch in patches])
    for first in range(REFERENCES, IMAGES, EXPRESSIONS):
        template = images[first].copy()
        for n in range(first + 1, first + EXPRESSIONS):
            refined = refine_alignment(template, images[n], landmarks[first], landmarks[n])
            landmarks[n] = transform(landmarks[n], refined)
            image, affine = patches[n]
            picture = warp(image, compose(refined, affine)).astype(np.float32)
            mask = expression_mask(landmarks[n], landmarks[first])
            mask *= change_mask(template, picture, rigid_mask(landmarks[n]))
            images[n] = np.rint(template + mask * (picture - template)).clip(0, 255)
    return {
        "images": images,
        "weights": track.weights[plan.frames],
        "landmarks": landmarks.astype(np.float32),
        "pose": POSE,
        "identity": track.identity,
        "masks": np.stack([segment(points) for points in landmarks]),
        "rotation": swap_track_order(track.rotation[plan.frames]),
        "frame": plan.frames,
    }
