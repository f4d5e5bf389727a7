# SPDX-License-Identifier: Apache-2.0
"""Distances of images (h, w, 3) uint8 BGR. Beside PSNR and SSIM two as people see them, which know
nothing of our training or its data:

- NLPD, the normalised Laplacian pyramid distance (Laparra, Balle, Berardino, Simoncelli 2016,
  "Perceptual image quality assessment using a normalized Laplacian pyramid"): a model of the early
  visual system whose constants were fitted to photographs, not to ratings. Root mean square
  difference in each band, averaged over the bands.
- GMSD, gradient magnitude similarity deviation (Xue, Zhang, Mou, Bovik 2014, arXiv 1308.3052).

Both are computed over the whole image and pooled in a box of it, so that a small box is seen as
part of the image that it is in.
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
MIN_PIXELS = 20  # of the mouth's interior, to be measured


def box_of(landmarks: np.ndarray, size: int) -> Box:
    """Rows and columns of these landmarks (n, 2), and a margin of 8 of 256 pixels."""
    margin, least = size / 32, 16  # pixels; the latter if they lie beside the image
    x0, y0 = np.clip(landmarks.min(0) - margin, 0, size - least).astype(int)
    x1, y1 = np.clip(landmarks.max(0) + margin, least, size).astype(int)
    return slice(y0, y1), slice(x0, x1)


def compare(
    a: np.ndarray, b: np.ndarray, template: np.ndarray, boxes: dict[str, Box], interior: np.ndarray
) -> dict[str, float]:
    """Figures, as evaluate.py names them, of an image `a` and the truth `b` in the boxes `face`,
    `mouth`, `eyes`; `interior` (h, w) bool is where the truth shows the mouth's interior."""
    face, mouth, eyes = (boxes[name] for name in ("face", "mouth", "eyes"))
    similarity = ssim_map(a, b)
    (face_nlpd, mouth_nlpd), (face_gmsd, mouth_gmsd) = (
        nlpd(a, b, face, mouth),
        gmsd(a, b, face, mouth),
    )
    return {
        "psnr": psnr(a, b),
        "ssim": float(similarity.mean()),
        "mouth_psnr": psnr(a[mouth], b[mouth]),
        "mouth_ssim": float(similarity[mouth].mean()),
        "inside_psnr": interior_psnr(a, b, interior),
        "eyes_psnr": psnr(a[eyes], b[eyes]),
        "template_mouth_psnr": psnr(template[mouth], b[mouth]),
        "nlpd": face_nlpd,
        "mouth_nlpd": mouth_nlpd,
        "gmsd": face_gmsd,
        "mouth_gmsd": mouth_gmsd,
    }


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a.astype(np.float32) - b).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def interior_psnr(a: np.ndarray, b: np.ndarray, interior: np.ndarray) -> float:
    """Of the pixels of `interior` (h, w) bool; NaN of fewer than MIN_PIXELS."""
    return psnr(a[interior], b[interior]) if interior.sum() >= MIN_PIXELS else float("nan")


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from skimage.metrics import structural_similarity

    return structural_similarity(
        a, b, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )[1]  # fmt: skip


def squared_error(a: np.ndarray, b: np.ndarray, box: Box) -> float:
    """Mean over the box, squared grey levels."""
    return float(np.square(a[box].astype(np.float32) - b[box]).mean())


def seam(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """Gradient across the border of a mask (h, w) in `a`, as a share of that in `b`."""
    return gradient_across(a, mask) / max(gradient_across(b, mask), 1e-6)


def gradient_across(image: np.ndarray, mask: np.ndarray) -> float:
    """Mean gradient of an image in the direction in which the mask changes, weighted by that."""
    luma = image.astype(np.float32).mean(-1)
    (my, mx), (gy, gx) = np.gradient(mask), np.gradient(luma)
    return float(np.abs(gy * my + gx * mx).sum() / max(np.hypot(my, mx).sum(), 1e-6))


def grey(image: np.ndarray) -> np.ndarray:
    """float32 luma, 0..255."""
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)


def bands(image: np.ndarray) -> list[np.ndarray]:
    """The normalised Laplacian pyramid of an image, fine to coarse; the last is the residual."""
    now, found = grey(image) / 255, []
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
    """Distance of two images in each box; 0 is the same."""
    found = np.zeros((len(_CONSTANTS), len(boxes)))
    for level, (x, y) in enumerate(zip(bands(a), bands(b), strict=True)):
        error = np.square(x - y)
        for k, box in enumerate(boxes):
            found[level, k] = np.sqrt(error[scaled_box(box, 2**level)].mean())
    return found.mean(0).tolist()


def scaled_box(box: Box, by: int) -> Box:
    """The box in an image that is smaller by that factor; at least one pixel."""
    return tuple(slice(side.start // by, max(-(-side.stop // by), side.start // by + 1))
                 for side in box)  # fmt: skip


def gmsd(a: np.ndarray, b: np.ndarray, *boxes: Box) -> list[float]:
    """Distance of two images in each box; 0 is the same."""
    slopes = []
    for image in (a, b):
        half = cv2.resize(grey(image), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        across = cv2.sepFilter2D(half, -1, np.float32([1, 0, -1]) / 3, np.ones(3, np.float32))
        down = cv2.sepFilter2D(half, -1, np.ones(3, np.float32), np.float32([1, 0, -1]) / 3)
        slopes.append(np.hypot(across, down))
    x, y = slopes
    similarity = (2 * x * y + _GMSD_CONSTANT) / (x**2 + y**2 + _GMSD_CONSTANT)
    return [float(similarity[scaled_box(box, 2)].std()) for box in boxes]
