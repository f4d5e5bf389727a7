"""Training groups (renderer/face_data.py) out of a tracked video.

In the studio template and target share one pose. In a video no two frames do, so a target is a
frame whose head is turned nearly as in the template's, moved by a similarity that lays its resting
landmarks on the template's; and around the face it gets the template's own picture, since that is
what the network must leave as it is. The template is the calmest frame near them.

A group holds 3 references (cropped by their own squares; the first shows teeth) and 2 poses of a
template and 4 targets. Its arrays are those of face_data.py, without `head` and `camera`, with

    rotation    (G, 13, 3) float32 rad, yaw, pitch, roll
    frame       (G, 13) int32, the frame's number in the video
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros import arkit
from realtalk_ros.renderer.face_data import LABELS, PER_POSE, PICTURES, POSES, REFERENCES, SIZE
from realtalk_ros.videos.track import Track

NEAR = np.radians(2.5)  # yaw and pitch by which template and targets may differ
SHIFT, STRETCH = 0.02, 0.04  # of the square at random, as of a detection that is a little off
TARGETS = PER_POSE - 1
GROUPS = 32  # in a shard
TEETH = [i for i, n in enumerate(arkit.NAMES) if n.startswith(("mouthUpperUp", "mouthLowerDown"))]
BLINK = [arkit.INDEX["eyeBlinkLeft"], arkit.INDEX["eyeBlinkRight"]]
MOUTH = list(arkit.MOUTH)
SURROUND = 0.05  # of the square around the face's outline that still comes from the target


@dataclass(frozen=True)
class Plan:
    """One group: frame numbers, and for each the affine map (2, 3) from the video to its crop."""

    frames: np.ndarray  # (13,)
    maps: np.ndarray  # (13, 2, 3)


def plan(track: Track, stretches: list[range], rate: float, rng: np.random.Generator) -> list[Plan]:
    """Groups in which about `rate` frames a second are targets, in the order of the video.

    A frame that no other is near to in pose is left out.
    """
    squares, plans = track.squares(), []
    teeth = track.weights[:, TEETH].sum(1) - 5 * track.weights[:, BLINK].sum(1)
    effort = 3 * np.abs(track.weights[:, MOUTH]).sum(1) + 5 * track.weights[:, BLINK].max(1)
    halves: list[tuple[int, list[int]]] = []  # template, targets
    for stretch in stretches:
        frames = np.arange(stretch.start, stretch.stop)
        step = max(1, round(1 / (rate * np.median(np.diff(track.time[frames])))))
        waiting = list(rng.permutation(frames[::step]))
        while waiting:
            first = waiting[0]
            turned = np.abs(track.rotation[frames, :2] - track.rotation[first, :2])
            near = frames[(turned < NEAR).all(1)]
            fresh = [k for k in waiting if k in set(near.tolist())][:TARGETS]
            waiting = [k for k in waiting if k not in fresh]
            middle = track.rotation[fresh, :2].mean(0)
            off = np.abs(track.rotation[near, :2] - middle).max(1) / NEAR
            template = int(near[np.argmin(off + effort[near])])
            targets = [k for k in fresh if k != template]
            others = near[~np.isin(near, [template, *targets])]
            missing = TARGETS - len(targets)
            if len(others) < missing:
                continue
            targets += rng.choice(others, missing, replace=False).tolist()
            halves.append((template, [int(k) for k in targets]))
    halves.sort()
    if len(halves) % POSES:
        halves.append(halves[-1])
    for at in range(0, len(halves), POSES):
        # References from nearby in time, so that a shard is made of one stretch of decoding.
        low, high = (max(0, at - GROUPS), min(len(halves), at + GROUPS))
        pool = np.unique(
            [k for template, targets in halves[low:high] for k in (template, *targets)]
        )
        order = pool[np.argsort(-teeth[pool])]
        references = [int(rng.choice(order[: max(1, len(order) // 10)]))]
        references += rng.choice(pool, REFERENCES - 1).tolist()
        chosen, maps = list(references), [crop(squares[k], rng) for k in references]
        for template, targets in halves[at : at + POSES]:
            base = crop(squares[template], rng)
            for k in (template, *targets):
                chosen.append(k)
                maps.append(joined(base, similarity(track.rest[k], track.rest[template])))
        plans.append(Plan(np.array(chosen, np.int32), np.stack(maps)))
    return plans


def crop(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(2, 3): a face's square (middle x, y, side in pixels), a little off, to SIZE pixels."""
    x, y, side = square
    x, y = np.array([x, y]) + rng.uniform(-SHIFT, SHIFT, 2) * side
    scale = SIZE / (side * rng.uniform(1 - STRETCH, 1 + STRETCH))
    return np.array([[scale, 0, SIZE / 2 - scale * x], [0, scale, SIZE / 2 - scale * y]])


def similarity(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """(2, 3): shift, scale and turn that lay points (n, 2) on others best (Umeyama 1991)."""
    a, b = points - points.mean(0), onto - onto.mean(0)
    size = max(float((a**2).sum()), 1e-9)
    c = (a * b).sum() / size
    s = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    turn = np.array([[c, -s], [s, c]])
    return np.column_stack([turn, onto.mean(0) - turn @ points.mean(0)])


def joined(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(2, 3): first `before`, then `after`."""
    whole = np.vstack([after, [0, 0, 1]]) @ np.vstack([before, [0, 0, 1]])
    return whole[:2]


def moved(points: np.ndarray, by: np.ndarray) -> np.ndarray:
    return points @ by[:, :2].T + by[:, 2]


def cut_out(image: np.ndarray, by: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE, 3): the picture under an affine map; what is made smaller is averaged first."""
    shrink = np.hypot(by[0, 0], by[1, 0])
    if shrink < 0.75:
        height, width = image.shape[:2]
        small = max(1, round(width * shrink)), max(1, round(height * shrink))
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        by = by @ np.diag([width / small[0], height / small[1], 1.0])
    # Landmarks count from a pixel's corner, OpenCV from its middle.
    by = np.column_stack([by[:, :2], by[:, 2] + 0.5 * by[:, :2].sum(1) - 0.5])
    return cv2.warpAffine(
        image, by, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def outline(points: np.ndarray) -> np.ndarray:
    """(n, 2): around the face of 68 landmarks, with some forehead."""
    eyes, mouth = points[36:48].mean(0), points[48:68].mean(0)
    forehead = points[17:27] + 0.45 * (eyes - mouth)
    return cv2.convexHull(np.concatenate([points[:27], forehead]).astype(np.float32))[:, 0]


def filled(points: np.ndarray, image: np.ndarray, value: int) -> None:
    cv2.fillPoly(image, [np.rint(points * 16).astype(np.int32)], value, shift=4)


def parts(points: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE) uint8 of face_data.LABELS, as far as 68 landmarks tell them."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    for name, polygon in (
        ("skin", outline(points)), ("lips", points[48:60]), ("mouth", points[60:68]),
        ("eyes", points[36:42]), ("eyes", points[42:48]),
    ):  # fmt: skip
        filled(polygon, image, LABELS.index(name))
    return image


def within(picture: np.ndarray, surroundings: np.ndarray, *faces: np.ndarray) -> np.ndarray:
    """`picture` where one of the faces (68, 2) is, softly, `surroundings` elsewhere."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for points in faces:
        filled(outline(points), mask, 255)
    reach = 2 * round(SURROUND * SIZE) + 1
    mask = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    soft = cv2.GaussianBlur(mask, (0, 0), SURROUND * SIZE / 4).astype(np.float32)[..., None] / 255
    return np.rint(surroundings + soft * (picture.astype(np.float32) - surroundings)).astype(
        np.uint8
    )


def make(
    plans: list[Plan], track: Track, frames: Iterable[tuple[float, np.ndarray]]
) -> Iterator[list[dict[str, np.ndarray]]]:
    """Shards of at most GROUPS groups, in the order of `plans`. `frames` are the video's."""
    stacks = [plans[at : at + GROUPS] for at in range(0, len(plans), GROUPS)]
    # A shard is ready when its last frame has passed; neighbours overlap in time.
    wanted: dict[int, list[tuple[int, int, int]]] = {}
    for s, stack in enumerate(stacks):
        for g, one in enumerate(stack):
            for n, frame in enumerate(one.frames):
                wanted.setdefault(int(frame), []).append((s, g, n))
    left = [len(stack) * PICTURES for stack in stacks]
    taken: dict[int, np.ndarray] = {}
    done = 0
    for number, (_, image) in enumerate(frames):
        for s, g, n in wanted.get(number, ()):
            if s not in taken:
                taken[s] = np.empty((len(stacks[s]), PICTURES, SIZE, SIZE, 3), np.uint8)
            taken[s][g, n] = cut_out(image, stacks[s][g].maps[n])
            left[s] -= 1
        while done < len(stacks) and left[done] == 0:
            yield [
                finish(one, track, pictures)
                for one, pictures in zip(stacks[done], taken.pop(done), strict=True)
            ]
            done += 1


def finish(one: Plan, track: Track, pictures: np.ndarray) -> dict[str, np.ndarray]:
    landmarks = np.stack(
        [moved(track.landmarks[k], m) for k, m in zip(one.frames, one.maps, strict=True)]
    )
    images = pictures.copy()
    for start in range(REFERENCES, PICTURES, PER_POSE):
        for n in range(start + 1, start + PER_POSE):
            images[n] = within(pictures[n], pictures[start], landmarks[n], landmarks[start])
    return {
        "images": images,
        "weights": track.weights[one.frames],
        "landmarks": landmarks.astype(np.float32),
        "pose": np.repeat([-1, *range(POSES)], [REFERENCES, *[PER_POSE] * POSES]).astype(np.int32),
        "identity": track.identity,
        "masks": np.stack([parts(points) for points in landmarks]),
        "rotation": track.rotation[one.frames],
        "frame": one.frames,
    }
