"""Two distances of pictures as people see them, which know nothing of our training or its data.

- NLPD, the normalised Laplacian pyramid distance (Laparra, Balle, Berardino, Simoncelli 2016,
  "Perceptual image quality assessment using a normalized Laplacian pyramid"): a model of the early
  visual system whose constants were fitted to photographs, not to ratings. Root mean square
  difference in each band, averaged over the bands.
- GMSD, gradient magnitude similarity deviation (Xue, Zhang, Mou, Bovik 2014, arXiv 1308.3052).

Both are computed over the whole picture and pooled in a box of it, so that a small box is seen as
part of the picture that it is in.
"""

from __future__ import annotations

import cv2
import numpy as np

Box = tuple[slice, slice]  # rows, columns

# Of each band: neighbours' shares (left, up, right, down, 2 right) and the constant, for 0..1 grey.
_NEIGHBOURS = (
    (0.1493, 0.1011, 0.1460, 0.1015, 0.0072), (0.1986, 0.0757, 0.1846, 0.0837, 0.0),
    (0.2138, 0.0477, 0.2243, 0.0467, 0.0), (0.2503, 0.0, 0.2616, 0.0, 0.0),
    (0.2598, 0.0, 0.2552, 0.0, 0.0), (0.2215, 0.0, 0.0717, 0.0, 0.0),
)  # fmt: skip
_CONSTANTS = (0.0248, 0.0185, 0.0179, 0.0191, 0.0220, 0.2782)
_BLUR = np.array([0.05, 0.25, 0.4, 0.25, 0.05], np.float32)
_GMSD_CONSTANT = 170.0  # of the paper, for 0..255


def grey(picture: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 BGR to float32 luma, 0..255."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)


def bands(picture: np.ndarray) -> list[np.ndarray]:
    """The normalised Laplacian pyramid of a picture, fine to coarse; the last is the residual."""
    now, found = grey(picture) / 255, []
    for level, shares in enumerate(_NEIGHBOURS):
        if level < len(_NEIGHBOURS) - 1:
            low = cv2.sepFilter2D(now, -1, _BLUR, _BLUR, borderType=cv2.BORDER_REFLECT)[::2, ::2]
            large = np.zeros_like(now)
            large[::2, ::2] = 4 * low
            band = now - cv2.sepFilter2D(large, -1, _BLUR, _BLUR, borderType=cv2.BORDER_REFLECT_101)
        else:
            low, band = now, now
        left, up, right, down, second = shares
        kernel = np.zeros((5, 5), np.float32)
        kernel[2, 1], kernel[1, 2], kernel[2, 3], kernel[3, 2], kernel[2, 4] = (
            left, up, right, down, second,
        )  # fmt: skip
        around = cv2.filter2D(np.abs(band), -1, kernel[::-1, ::-1], borderType=cv2.BORDER_CONSTANT)
        found.append(band / (_CONSTANTS[level] + around))
        now = low
    return found


def nlpd(a: np.ndarray, b: np.ndarray, *boxes: Box) -> list[float]:
    """Distance of two pictures (h, w, 3) uint8 BGR in each box; 0 is the same."""
    found = np.zeros((len(_CONSTANTS), len(boxes)))
    for level, (x, y) in enumerate(zip(bands(a), bands(b), strict=True)):
        error = np.square(x - y)
        for k, box in enumerate(boxes):
            found[level, k] = np.sqrt(error[coarser(box, 2**level)].mean())
    return found.mean(0).tolist()


def coarser(box: Box, by: int) -> Box:
    return tuple(slice(side.start // by, max(-(-side.stop // by), side.start // by + 1))
                 for side in box)  # fmt: skip


def gmsd(a: np.ndarray, b: np.ndarray, *boxes: Box) -> list[float]:
    """Distance of two pictures (h, w, 3) uint8 BGR in each box; 0 is the same."""
    slopes = []
    for picture in (a, b):
        half = cv2.resize(grey(picture), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        across = cv2.sepFilter2D(half, -1, np.float32([1, 0, -1]) / 3, np.ones(3, np.float32))
        down = cv2.sepFilter2D(half, -1, np.ones(3, np.float32), np.float32([1, 0, -1]) / 3)
        slopes.append(np.hypot(across, down))
    x, y = slopes
    alike = (2 * x * y + _GMSD_CONSTANT) / (x**2 + y**2 + _GMSD_CONSTANT)
    return [float(alike[coarser(box, 2)].std()) for box in boxes]
