"""Training groups (training/synthetic/face_dataset.py) out of a tracked video.

In the studio template and target share one pose. In a video no two frames do, and a network that
is told so learns to move, and to blur, what it must leave alone. So a target is a frame whose head
is turned nearly as in the template's; it is laid on it by the resting landmarks, then by what of
the face does not move with the expression (ECC, Evangelidis and Psarakis 2008); and where nothing
moves, or no more than the picture's noise does, it gets the template's own picture. The template is
the calmest frame near them.

A group holds 3 references (cropped by their own squares; the first shows teeth) and 2 poses of a
template and 4 targets. Its arrays are those of training/synthetic/face_dataset.py, without `head`
and `camera`, with

    rotation    (G, 13, 3) float32 rad, yaw, pitch, roll
    frame       (G, 13) int32, the frame's number in the video
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from realtalk_ros.enroll.face_tracks import Track
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import EYES, LIPS
from realtalk_ros.training.synthetic.face_dataset import (
    LABELS,
    PER_POSE,
    PICTURES,
    POSES,
    REFERENCES,
    SIZE,
)

NEAR = np.radians([0.8, 1.6, 2.5])  # yaw and pitch by which template and targets may differ
SHIFT, STRETCH = 0.02, 0.04  # of the square at random, as of a detection that is a little off
TARGETS = PER_POSE - 1
GROUPS = 32  # in a shard
TEETH = [i for i, n in enumerate(arkit.NAMES) if n.startswith(("mouthUpperUp", "mouthLowerDown"))]
BLINK = [arkit.INDEX["eyeBlinkLeft"], arkit.INDEX["eyeBlinkRight"]]
MOUTH = list(arkit.MOUTH)
SOFT = 0.03  # of the square, over which target and template blend
MAX_SHIFT = 5.0  # pixels of the crop by which the picture may correct the landmarks
INNER = slice(17, 68)  # landmarks without the jaw's outline


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
            turned = np.abs(track.rotation[frames, :2] - track.rotation[first, :2]).max(1)
            reach = next((r for r in NEAR if (turned < r).sum() > 2 * TARGETS), NEAR[-1])
            near = frames[turned < reach]
            fresh = [k for k in waiting if k in set(near.tolist())][:TARGETS]
            waiting = [k for k in waiting if k not in fresh]
            middle = track.rotation[fresh, :2].mean(0)
            off = np.abs(track.rotation[near, :2] - middle).max(1) / reach
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
                laid = similarity(track.rest[k][INNER], track.rest[template][INNER])
                maps.append(joined(base, laid))
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


def patch(image: np.ndarray, by: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture that a crop may need, made smaller if the crop will be, and its map."""
    shrink = min(1.0, float(np.hypot(by[0, 0], by[1, 0])) / 0.8)
    back = np.linalg.inv(np.vstack([by, [0, 0, 1]]))[:2]
    corners = moved(np.array([[0, 0], [SIZE, 0], [SIZE, SIZE], [0, SIZE]]), back)
    margin = 0.1 * SIZE * np.hypot(back[0, 0], back[1, 0])
    low = np.maximum(np.floor(corners.min(0) - margin), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(0) + margin), image.shape[1::-1]).astype(int)
    part = image[low[1] : max(high[1], low[1] + 1), low[0] : max(high[0], low[0] + 1)]
    scale = np.ones(2)
    if shrink < 0.95:
        size = np.maximum(1, np.rint(np.array(part.shape[1::-1]) * shrink)).astype(int)
        scale = np.array(part.shape[1::-1]) / size
        part = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA)
    return part.copy(), joined(by, np.column_stack([np.diag(scale), low]))


def cut_out(image: np.ndarray, by: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE, 3): the picture under an affine map."""
    # Landmarks count from a pixel's corner, OpenCV from its middle.
    by = np.column_stack([by[:, :2], by[:, 2] + 0.5 * by[:, :2].sum(1) - 0.5])
    return cv2.warpAffine(
        image, by, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def still_parts(points: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE) uint8, 255 where a face of 68 landmarks moves little with its expression: nose,
    upper cheeks, the skin around the eyes."""
    middle, mask = points[27:36].mean(0), np.zeros((SIZE, SIZE), np.uint8)
    sides = middle + 0.85 * (points[[0, 1, 2, 14, 15, 16]] - middle)
    up = 0.25 * (points[EYES].mean(0) - points[LIPS].mean(0))
    filled(cv2.convexHull(np.concatenate([sides, points[31:36], points[17:27] + up])
                          .astype(np.float32))[:, 0], mask, 255)  # fmt: skip
    moving = np.zeros_like(mask)
    for part in (points[17:22], points[22:27], points[36:42], points[42:48], points[48:60]):
        filled(cv2.convexHull(part.astype(np.float32))[:, 0], moving, 255)
    moving = cv2.dilate(moving, np.ones((9, 9), np.uint8))
    return cv2.bitwise_and(mask, cv2.bitwise_not(moving))


def corrected(
    template: np.ndarray, picture: np.ndarray, template_points: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """(2, 3): lays a crop's still parts on the template's; leaves it where that is not clear."""
    greys = [cv2.cvtColor(x, cv2.COLOR_BGR2GRAY) for x in (template, picture)]
    mask = cv2.bitwise_and(still_parts(points), still_parts(template_points))
    nothing = np.eye(2, 3, dtype=np.float32)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 25, 1e-4)
    try:
        _, by = cv2.findTransformECC(*greys, nothing.copy(), cv2.MOTION_AFFINE, stop, mask, 5)
    except cv2.error:  # it does not converge
        return nothing
    by = cv2.invertAffineTransform(by)
    shift = np.abs(moved(points[INNER], by) - points[INNER]).max()
    return by if shift < MAX_SHIFT else nothing


def outline(points: np.ndarray) -> np.ndarray:
    """(n, 2): around the face of 68 landmarks, with some forehead."""
    eyes, mouth = points[EYES].mean(0), points[LIPS].mean(0)
    forehead = points[17:27] + 0.45 * (eyes - mouth)
    return cv2.convexHull(np.concatenate([points[:27], forehead]).astype(np.float32))[:, 0]


def filled(points: np.ndarray, image: np.ndarray, value: int) -> None:
    cv2.fillPoly(image, [np.rint(points * 16).astype(np.int32)], value, shift=4)


def parts(points: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE) uint8 of face_dataset.LABELS, as far as 68 landmarks tell them."""
    image = np.zeros((SIZE, SIZE), np.uint8)
    for name, polygon in (
        ("skin", outline(points)), ("lips", points[48:60]), ("mouth", points[60:68]),
        ("eyes", points[36:42]), ("eyes", points[42:48]),
    ):  # fmt: skip
        filled(polygon, image, LABELS.index(name))
    return image


def moving_parts(*faces: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE, 1) 0..1, soft: where the expression changes any of the faces (68, 2): from the
    brows to the chin and below it, but not the outline of temples and cheeks."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for points in faces:
        middle = points[27:36].mean(0)
        up = 0.2 * (points[EYES].mean(0) - points[LIPS].mean(0))
        sides = middle + 0.86 * (points[[1, 2, 3, 4, 12, 13, 14, 15]] - middle)
        chin = points[LIPS].mean(0) + 1.12 * (points[6:11] - points[LIPS].mean(0))
        rim = np.concatenate([sides, chin, points[17:27] + up])
        filled(cv2.convexHull(rim.astype(np.float32))[:, 0], mask, 255)
    soft = cv2.GaussianBlur(mask, (0, 0), SOFT * SIZE).astype(np.float32) / 255
    return soft[..., None]


def changes(template: np.ndarray, picture: np.ndarray, still: np.ndarray) -> np.ndarray:
    """(SIZE, SIZE, 1) 0..1, soft: where two pictures differ by more than they do where they are
    the same, but for noise (`still`, uint8, 0 elsewhere)."""
    change = np.abs(picture - template).max(2)
    change = cv2.GaussianBlur(change, (0, 0), SIZE / 64)
    noise = max(1.0, float(np.median(change[still > 0]))) if still.any() else 1.0
    return cv2.GaussianBlur(np.clip(change / noise - 1.5, 0, 1), (0, 0), SIZE / 64)[..., None]


def make(
    plans: list[Plan], track: Track, frames: Iterable[tuple[float, np.ndarray]]
) -> Iterator[list[dict[str, np.ndarray]]]:
    """Shards of at most GROUPS groups, in the order of `plans`. `frames` are the video's."""
    stacks = [plans[at : at + GROUPS] for at in range(0, len(plans), GROUPS)]
    if not stacks:
        return
    # A shard is ready when its last frame has passed; neighbours overlap in time.
    wanted: dict[int, list[tuple[int, int, int]]] = {}
    for s, stack in enumerate(stacks):
        for g, one in enumerate(stack):
            for n, frame in enumerate(one.frames):
                wanted.setdefault(int(frame), []).append((s, g, n))
    left = [len(stack) * PICTURES for stack in stacks]
    taken: dict[int, list[list]] = {}  # of each shard and group: patches and their maps
    done = 0
    for number, (_, image) in enumerate(frames):
        for s, g, n in wanted.get(number, ()):
            rows = taken.setdefault(s, [[None] * PICTURES for _ in stacks[s]])
            rows[g][n] = patch(image, stacks[s][g].maps[n])
            left[s] -= 1
        while done < len(stacks) and left[done] == 0:
            yield [
                finish(one, track, patches)
                for one, patches in zip(stacks[done], taken.pop(done), strict=True)
            ]
            done += 1
        if done == len(stacks):  # what comes after is not needed
            return


def finish(one: Plan, track: Track, patches: list[tuple[np.ndarray, np.ndarray]]) -> dict:
    """The arrays of one group."""
    landmarks = np.stack(
        [moved(track.landmarks[k], m) for k, m in zip(one.frames, one.maps, strict=True)]
    )
    images = np.stack([cut_out(*each) for each in patches])
    for first in range(REFERENCES, PICTURES, PER_POSE):
        template = images[first].copy()
        for n in range(first + 1, first + PER_POSE):
            by = corrected(template, images[n], landmarks[first], landmarks[n])
            landmarks[n] = moved(landmarks[n], by)
            picture = cut_out(patches[n][0], joined(by, patches[n][1])).astype(np.float32)
            soft = moving_parts(landmarks[n], landmarks[first])
            soft *= changes(template, picture, still_parts(landmarks[n]))
            images[n] = np.rint(template + soft * (picture - template)).clip(0, 255)
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
