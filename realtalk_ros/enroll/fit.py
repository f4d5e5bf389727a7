# SPDX-License-Identifier: Apache-2.0
"""The 3D face model fitted to landmarks in pictures: who it is, what the face does, where it is.

    model = fit.mesh_model()                    # for the 478 landmarks of a FaceDetector
    who = fit.fit(model, model.choose(points))  # (n, 478, 2) pixels, n pictures of one person
    who.identity, who.weights[k], who.poses[k], who.error[k]

    known = fit.Fitter(model, who.identity)     # a long video: identity from some frames, then
    for face in ...:                            # frame by frame
        weights, pose, error = known.fit(model.choose(face.points))

    landmarks68 = poses[k].project(landmarks.load().points(weights, identity))  # (68, 2) pixels

The model is linear in identity (100, unit variance) and weights (52, 0..1), the camera a pinhole
at `distance` from the face, which precise landmarks determine as well: a near camera makes a nose
large and a jaw narrow. Solved by Gauss-Newton steps of regularised least squares in which
pose and weights of each picture are eliminated (Schur complement), then, with the identity held,
pose and weights by variable projection and non-negative least squares (Lawson and Hanson 1974).
Needs SciPy (extra `enroll`). The identity that an avatar gets is a mean of this one and the face
reader's: `refine_identity` in face_reader.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.enroll import mediapipe_points as table
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit, bundled_arrays, landmarks
from realtalk_ros.face_model.rotations import rotation_matrix

CENTRE = np.array([0.0, 0.0, 9.0])  # cm, the point of the head that a pose turns about
DISTANCE = 80.0  # cm, expected distance from the camera
DISTANCE_SD = 0.3  # standard deviation of its natural logarithm: two of them are 45 to 140 cm
# Landmarks of a tracker err together, not each for itself: what they say is worth this much less.
DEPENDENCE = 2.0
# Prior of a weight: sd of a Gaussian, rate of its fall from 0. Shut lids are made to be a blink,
# not the squint or the look down that shut them as well.
WEIGHT_SD = 0.6
WEIGHT_COST = np.full(arkit.COUNT, 0.6)
WEIGHT_COST[arkit.indices("eyeBlink")] = 0.0
WEIGHT_COST[arkit.indices("eyeSquint", "eyeLookDown")] = 3.0
STEPS, FRAME_STEPS = 8, 4
# Percentile of each weight that is its zero, in at least 5 s: in these the lips of who speaks meet.
SETTLE, SETTLE_FRAMES = 3, 125
# Of 68 Multi-PIE landmarks, those that a person gives by hand, in this order.
EIGHT = {
    "right_eye_outer": 36,
    "right_eye_inner": 39,
    "left_eye_inner": 42,
    "left_eye_outer": 45,
    "nose_tip": 30,
    "mouth_right": 48,
    "mouth_left": 54,
    "chin": 8,
}


@dataclass(frozen=True)
class Pose:
    """Of a head before the camera: pixel = centre + scale * (x, -y) * distance / (distance - z),
    (x, y, z) = R (point - CENTRE) in cm."""

    pitch: float  # rad, as face_model/rotations.py has all three
    yaw: float
    roll: float
    x: float  # pixels
    y: float
    scale: float  # pixels per cm
    distance: float = DISTANCE  # cm

    @property
    def matrix(self) -> np.ndarray:
        return rotation_matrix(self.pitch, self.yaw, self.roll).astype(np.float64)

    def project(self, points: np.ndarray) -> np.ndarray:
        """(..., 3) cm in the head's frame -> (..., 2) pixels, x right, y down."""
        turned = (points - CENTRE) @ self.matrix.T
        nearer = self.scale * self.distance / (self.distance - turned[..., 2:])
        return turned[..., :2] * nearer * (1, -1) + (self.x, self.y)

    def vector(self) -> np.ndarray:
        """(6,): all but the distance, the scale as its logarithm."""
        return np.array(
            [self.pitch, self.yaw, self.roll, self.x, self.y, np.log(self.scale)], np.float64
        )

    def moved(self, vector: np.ndarray) -> Pose:
        """The pose of that `vector`, at the same distance."""
        pitch, yaw, roll, x, y, scale = (float(v) for v in vector)
        turned = replace(self, pitch=pitch, yaw=yaw, roll=roll)
        return replace(turned, x=x, y=y, scale=float(np.exp(scale)))


@dataclass(frozen=True)
class Model:
    """P points of the face: where they rest, how identity and weights move them, in cm."""

    mean: np.ndarray  # (P, 3)
    identity_modes: np.ndarray  # (100, P, 3)
    expressions: np.ndarray  # (52, P, 3)
    sigma: np.ndarray  # (P,) cm, how far a landmark lies from its point
    index: np.ndarray  # (P,) the landmarks' numbers

    def choose(self, found: np.ndarray) -> np.ndarray:
        """(..., N, 2) all landmarks -> (..., P, 2) those of this model."""
        return np.asarray(found, np.float64)[..., self.index, :2]

    def shape(self, identity: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(P, 3) cm."""
        moved = np.tensordot(identity, self.identity_modes, 1)
        return self.mean + moved + np.tensordot(weights, self.expressions, 1)


@dataclass(frozen=True)
class Fit:
    """n pictures of one person."""

    identity: np.ndarray  # (100,) float32
    weights: np.ndarray  # (n, 52) float32, 0..1
    poses: list[Pose]
    error: np.ndarray  # (n,) what remains, rms, as a share of the face crop's side


@lru_cache(maxsize=1)
def mesh_model() -> Model:
    """For MediaPipe's face mesh with irises, 478 landmarks. Raises RealTalkError."""
    mean, modes, moves = (
        array.astype(np.float64)
        for array in bundled_arrays.read("fit", ("mean", "identity_modes", "expressions"))
    )
    return Model(mean, modes, moves, table.SIGMA.astype(np.float64), table.LANDMARK)


def marks_model(rows: Iterable[int], sigma: np.ndarray) -> Model:
    """For those of the 68 landmarks, in that order, with errors of sigma (P,) cm."""
    full, rows = landmarks.load(), list(rows)
    return Model(
        full.mean[rows].astype(np.float64),
        full.identity_modes[:, rows].astype(np.float64),
        full.expressions[:, rows].astype(np.float64),
        sigma,
        np.arange(len(rows)),
    )


def eight_model() -> Model:
    """For the eight landmarks of EIGHT, in its order: too few to find an expression."""
    model = marks_model(EIGHT.values(), np.full(len(EIGHT), 0.02 * table.SIDE))
    return replace(model, expressions=np.zeros_like(model.expressions))


def fit(model: Model, found: np.ndarray, distance: float | None = DISTANCE) -> Fit:
    """Landmarks (n, P, 2) in pixels of n pictures of one person. Raises RealTalkError for NaN,
    infinite or impossible ones.

    distance: cm from the camera; None: the same in all pictures, found with the identity.
    """
    found = np.asarray(found, np.float64)
    if found.ndim != 3 or found.shape[1:] != (len(model.mean), 2) or not np.isfinite(found).all():
        raise RealTalkError(f"landmarks must be (pictures, {len(model.mean)}, 2) finite numbers")
    fitter = Fitter(model, np.zeros(len(model.identity_modes)), distance or DISTANCE)
    poses = [fitter.begin(one) for one in found]
    weights = np.zeros((len(found), arkit.COUNT))
    for _ in range(STEPS):
        identity, farther = _shared_step(fitter, found, poses, weights, distance is None)
        fitter.identity = fitter.identity + identity
        poses = [replace(pose, distance=pose.distance * farther) for pose in poses]
        for k, one in enumerate(found):
            weights[k], poses[k], _ = fitter.refine(one, weights[k], poses[k], 1)
    done = [fitter.refine(*row, FRAME_STEPS) for row in zip(found, weights, poses, strict=True)]
    return Fit(
        fitter.identity.astype(np.float32),
        np.stack([row[0] for row in done]).astype(np.float32),
        [row[1] for row in done],
        np.array([row[2] for row in done], np.float32),
    )


def settle(weights: np.ndarray) -> np.ndarray:
    """Weights (N, 52) of a whole video without what the face never stops doing in it: that is its
    shape, or the tracker's mistake. Videos of fewer than SETTLE_FRAMES are left as they are."""
    if len(weights) < SETTLE_FRAMES:
        return weights
    return np.clip(weights - np.percentile(weights, SETTLE, axis=0), 0, 1).astype(np.float32)


class Fitter:
    """Weights and pose of one person, picture by picture; a picture starts from the one before.

    freedom: times that the prior of the weights is wider, where the identity is known for sure.
    """

    def __init__(
        self, model: Model, identity: np.ndarray, distance: float = DISTANCE, freedom: float = 1.0
    ):
        self.model, self.distance = model, distance
        self._prior = np.full(arkit.COUNT, 1 / (freedom * WEIGHT_SD))
        self._cost = WEIGHT_COST / freedom**2
        self.identity = np.asarray(identity, np.float64)
        self._weight = np.repeat(1 / (DEPENDENCE * model.sigma), 2)  # of a residual in cm
        self._last: tuple[np.ndarray, Pose] | None = None

    def fit(self, found: np.ndarray) -> tuple[np.ndarray, Pose, float]:
        """Landmarks (P, 2) -> weights (52,) float32, pose, error as in Fit."""
        found = np.asarray(found, np.float64)
        weights, pose = self._last or (np.zeros(arkit.COUNT), self.begin(found))
        start = self.begin(found)  # where the head is now: it may have been cut to
        pose = pose.moved(np.concatenate([pose.vector()[:3], start.vector()[3:]]))
        weights, pose, error = self.refine(found, weights, pose, FRAME_STEPS)
        self._last = weights, pose
        return weights.astype(np.float32), pose, error

    def begin(self, found: np.ndarray) -> Pose:
        """The pose of a mean head that looks at the camera, by similarity (Umeyama 1991)."""
        flat = (self.model.mean - CENTRE)[:, :2] * (1, -1)
        a, b = flat - flat.mean(0), found - found.mean(0)
        dot, cross = (a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
        scale = np.hypot(dot, cross) / (a**2).sum()
        if not scale > 0:
            raise RealTalkError("the landmarks are all in one place")
        angle = np.arctan2(cross, dot)  # clockwise in the picture, as roll is
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        x, y = found.mean(0) - scale * turn @ flat.mean(0)
        return Pose(
            pitch=0.0,
            yaw=0.0,
            roll=float(angle),
            x=float(x),
            y=float(y),
            scale=float(scale),
            distance=self.distance,
        )

    def system(
        self, found: np.ndarray, weights: np.ndarray, pose: Pose
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weighted residual (2P,), its derivatives by pose (2P, 6) and by a point (P, 2, 3)."""
        shape = self.model.shape(self.identity, weights)
        scale = self._weight / pose.scale
        at = pose.project(shape)
        residual = (found - at).ravel() * scale
        vector, by_pose = pose.vector(), np.empty((len(residual), 6))
        for k, step in enumerate((1e-5, 1e-5, 1e-5, 1e-3, 1e-3, 1e-6)):
            other = vector.copy()
            other[k] += step
            by_pose[:, k] = (pose.moved(other).project(shape) - at).ravel() * scale / step
        matrix = pose.matrix
        turned = (shape - CENTRE) @ matrix.T
        depth = 1 / (pose.distance - turned[:, 2])
        # d(x, -y) D / (D - z): along the picture, and by coming nearer.
        by_point = np.zeros((len(shape), 2, 3))
        by_point[:, 0], by_point[:, 1] = matrix[0], -matrix[1]
        flat = turned[:, :2] * (1, -1) * depth[:, None]
        by_point += flat[:, :, None] * matrix[2]
        by_point *= (pose.distance * depth)[:, None, None] * self._weight.reshape(-1, 2)[..., None]
        return residual, by_pose, by_point

    def by_distance(self, weights: np.ndarray, pose: Pose) -> np.ndarray:
        """(2P,) of `system`'s residuals, by the logarithm of the distance."""
        shape, step = self.model.shape(self.identity, weights), 1e-4
        farther = replace(pose, distance=pose.distance * np.exp(step))
        moved = (farther.project(shape) - pose.project(shape)).ravel()
        return np.asarray(moved * self._weight / (pose.scale * step))

    def refine(
        self, found: np.ndarray, weights: np.ndarray, pose: Pose, steps: int
    ) -> tuple[np.ndarray, Pose, float]:
        """Weights (52,) and pose nearer to landmarks (P, 2) after Gauss-Newton steps from those
        given, and their error as in Fit. In each step the weights are found first, from 0 to 1,
        free of what a change of the pose could explain; then the pose by what they leave."""
        from scipy.optimize import nnls

        for _ in range(steps):
            residual, by_pose, by_point = self.system(found, weights, pose)
            by_weight = along(by_point, self.model.expressions)
            basis, _ = np.linalg.qr(by_pose)
            target = residual + by_weight @ weights
            free = by_weight - basis @ (basis.T @ by_weight)
            target_free = target - basis @ (basis.T @ target)
            new, _ = nnls(
                np.vstack([free, np.diag(self._prior)]),
                np.concatenate([target_free, -self._cost / self._prior]),
            )
            new = np.minimum(new, 1)
            left = residual - by_weight @ (new - weights)
            step, *_ = np.linalg.lstsq(by_pose, left, rcond=None)
            step[:3] = np.clip(step[:3], -0.3, 0.3)
            step[5] = np.clip(step[5], -0.3, 0.3)
            weights, pose = new, pose.moved(pose.vector() + step)
        off = (found - pose.project(self.model.shape(self.identity, weights))) / (
            pose.scale * table.SIDE
        )
        return weights, pose, float(np.sqrt((off**2).sum(1).mean()))


def along(by_point: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """(P, 2, 3), (K, P, 3) -> (2P, K): how the picture moves with each mode."""
    return np.einsum("pij,kpj->pik", by_point, modes, optimize=True).reshape(-1, len(modes))


def _shared_step(
    fitter: Fitter, found: np.ndarray, poses: list[Pose], weights: np.ndarray, far: bool
) -> tuple[np.ndarray, float]:
    """One Gauss-Newton step of the identity (100,) and, if `far`, by how much the distance grows,
    pose and weights of each picture eliminated."""
    model, count = fitter.model, len(fitter.identity)
    shrink = np.r_[np.ones(count), DISTANCE_SD**-2]
    beyond = np.log(poses[0].distance / DISTANCE)
    hessian, gradient = np.diag(shrink), -shrink * np.r_[fitter.identity, beyond]
    ridge = np.concatenate([np.full(6, 1e-6), np.full(arkit.COUNT, WEIGHT_SD**-2)])
    for one, weight, pose in zip(found, weights, poses, strict=True):
        residual, by_pose, by_point = fitter.system(one, weight, pose)
        own = np.hstack([by_pose, along(by_point, model.expressions)])
        by_distance = fitter.by_distance(weight, pose) if far else np.zeros_like(residual)
        shared = np.column_stack([along(by_point, model.identity_modes), by_distance])
        # A weight that rests at 0 does not go below it: leave those out.
        moving = np.concatenate([np.ones(6, bool), weight > 0])
        own, back = own[:, moving], ridge[moving]
        inner = own.T @ own + np.diag(back)
        cross = own.T @ shared
        pull = own.T @ residual
        pull[6:] -= weight[weight > 0] * WEIGHT_SD**-2 + WEIGHT_COST[weight > 0]
        solved = np.linalg.solve(inner, np.column_stack([cross, pull]))
        # The tracker makes the same errors in all pictures of a person: many pictures weigh as
        # much as one, but separate expression from shape better.
        hessian += (shared.T @ shared - cross.T @ solved[:, :-1]) / len(found)
        gradient += (shared.T @ residual - cross.T @ solved[:, -1]) / len(found)
    step = np.linalg.solve(hessian, gradient)
    return step[:-1], float(np.exp(np.clip(step[-1], -0.3, 0.3))) if far else 1.0


def require_scipy() -> None:
    if not install_hints.is_installed("scipy"):
        raise RealTalkError(f"fitting a face needs SciPy: {install_hints.how_to_install('scipy')}")
