"""The cameras that see an avatar's templates: pinholes fitted to 68 landmarks of each (NumPy).

A face is near enough to a camera for perspective to show: an affine camera puts the lips of an open
mouth a quarter of a pixel of 256 beside the truth, and the teeth behind them 0.7. Places are shares
of the face crop, (0, 0) its upper left corner, (1, 1) its lower right one; lengths are centimetres.
"""

from __future__ import annotations

import numpy as np

NEARNESS = 1 / 65  # of the camera to the face's middle, 1/cm, where the landmarks do not tell ...
# ... which they do with this weight: squares of what landmarks are off by, in shares of the crop
# (0.0015), over the squares of what cameras differ by (a quarter).
PRIOR = (0.0015 / (0.25 * NEARNESS)) ** 2
NEAREST = 1 / 25
STEPS = 5


class Cameras:
    """T pinhole cameras, each with the least squared error (Gauss-Newton) at landmarks `points`
    (T, 68, 2) of shapes (T, 68, 3)."""

    def __init__(self, points: np.ndarray, shapes: np.ndarray):
        points, shapes = np.asarray(points, np.float64), np.asarray(shapes, np.float64)
        self.centre = shapes.mean(-2)
        centred = shapes - self.centre[:, None]
        self.middle = points.mean(-2)
        self._begin(points - self.middle[:, None], centred)
        self.nearness = np.full(len(points), NEARNESS)
        for _ in range(STEPS):
            self._step(points, centred)
        # Frames are projected in single precision.
        for name in ("centre", "middle", "rotation", "scale", "nearness"):
            setattr(self, name, np.float32(getattr(self, name)))

    def _begin(self, flat: np.ndarray, centred: np.ndarray) -> None:
        """Turn and scale of the nearest camera without perspective: the affine one's nearest
        rotation."""
        product = np.swapaxes(centred, -1, -2) @ centred + 1e-6 * np.eye(3)  # of a flat shape, too
        affine = np.linalg.solve(product, np.swapaxes(centred, -1, -2) @ flat)
        affine = np.swapaxes(affine, -1, -2) * np.array([[1.0], [-1.0]])
        left, sizes, right = np.linalg.svd(affine, full_matrices=False)
        rows = left @ right
        self.rotation = np.concatenate([rows, np.cross(rows[:, :1], rows[:, 1:])], -2)
        self.scale = np.maximum(sizes.mean(-1), 1e-6)

    def _step(self, points: np.ndarray, centred: np.ndarray) -> None:
        turned = centred @ np.swapaxes(self.rotation, -1, -2)
        x, y, z = np.moveaxis(turned, -1, 0)
        near = 1 / (1 - self.nearness[:, None] * z)
        by_xy, by_z = self.scale[:, None] * near, self.scale[:, None] * near**2
        by_z_x, by_z_y = by_z * self.nearness[:, None] * x, by_z * self.nearness[:, None] * y
        zero, one = np.zeros_like(x), np.ones_like(x)
        # Of the place across and up, by small turns about x, y and z, scale, middle, nearness.
        across = -by_z_x * -y, by_xy * z - by_z_x * x, -by_xy * y, x * near, one, zero, by_z * x * z
        up = -by_xy * z + by_z_y * y, -by_z_y * x, by_xy * x, y * near, zero, one, by_z * y * z
        slopes = np.concatenate([np.stack(across, -1), np.stack(up, -1)], -2)
        places = np.stack([x, y], -1) * by_xy[..., None]
        off = (points - self.middle[:, None]) * (1, -1) - places
        off = np.concatenate([off[..., 0], off[..., 1]], -1)
        product = np.swapaxes(slopes, -1, -2) @ slopes + 1e-9 * np.eye(7)
        right = (np.swapaxes(slopes, -1, -2) @ off[..., None])[..., 0]
        product[:, 6, 6] += PRIOR
        right[:, 6] += PRIOR * (NEARNESS - self.nearness)
        step = np.linalg.solve(product, right[..., None])[..., 0]
        self.rotation = rotations(np.clip(step[:, :3], -0.5, 0.5)) @ self.rotation
        self.scale = np.maximum(self.scale + step[:, 3], 1e-6)
        self.middle = self.middle + step[:, 4:6] * (1, -1)
        self.nearness = np.clip(self.nearness + step[:, 6], 0, NEAREST)

    def project(self, points: np.ndarray, template: int) -> np.ndarray:
        """(..., P, 3), cm -> (..., P, 3): where one camera sees them, and how far they lie towards
        it, cm."""
        turned = (points - self.centre[template]) @ self.rotation[template].T
        near = self.scale[template] / (1 - self.nearness[template] * turned[..., 2])
        turned[..., 0] = self.middle[template, 0] + near * turned[..., 0]
        turned[..., 1] = self.middle[template, 1] - near * turned[..., 1]
        return turned


def rotations(turns: np.ndarray) -> np.ndarray:
    """(T, 3) rad -> (T, 3, 3), Rodrigues' formula."""
    x, y, z = turns.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    angle = np.linalg.norm(turns, axis=-1)[:, None, None]
    once, twice = np.sinc(angle / np.pi), 0.5 * np.sinc(angle / 2 / np.pi) ** 2
    return np.eye(3) + once * cross + twice * cross @ cross
