# SPDX-License-Identifier: Apache-2.0
"""A drawn character on the face model: flat colours, two tones, lines that swell. NumPy and OpenCV.

Eyes, brows, mouth and jaw are the face model's, so weights and landmarks are exact; hair, ears,
neck and clothes are drawn around them by hand, in cm on the mean head's front.
"""

from __future__ import annotations

import numpy as np

from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.eye_rotation import gaze_angles
from realtalk_ros.face_model.landmarks import EYE_LEFT, EYE_RIGHT, OUTER_LIPS
from realtalk_ros.rendering.eyes.eyes import IRIS_DEPTH
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits.canvas import Canvas, curve, mirrored
from realtalk_ros.training.portraits.people import Sitter
from realtalk_ros.training.synthetic import mesh_rings
from realtalk_ros.training.synthetic.facekit_eyes import EDGE, HALF
from realtalk_ros.training.synthetic.view import View

LINE = (74, 42, 58)
SKIN, SHADE, BLUSH = (250, 208, 178), (235, 172, 148), (245, 172, 152)
HAIR, HAIR_LIGHT, HAIR_DARK = (196, 92, 58), (224, 128, 82), (150, 62, 48)
LIPS, LIP_SHADE = (228, 122, 114), (208, 98, 98)
MOUTH, TONGUE, TEETH = (104, 32, 48), (206, 96, 100), (255, 250, 244)
FLAT_MOUTH = {"hollow": list(MOUTH), "tongue": list(TONGUE), "teeth": list(TEETH)}  # of avatar.yaml
WHITE, WHITE_SHADE = (255, 253, 250), (216, 222, 234)
IRIS, IRIS_DARK, PUPIL = (72, 158, 150), (34, 104, 110), (26, 40, 52)
CLOTH, CLOTH_LIGHT = (56, 88, 140), (240, 224, 200)
IRIS_RADIUS = 0.78  # cm
LOWER_TEETH = 0.25  # cm by which a drawing's teeth are longer
# Widths of the lashes' line from the nose to the tip of its wing, cm.
LID_LINE = [0.10, 0.20, 0.26, 0.28, 0.24, 0.04]
BLINK = {side: arkit.INDEX[f"eyeBlink{side.capitalize()}"] for side in ("left", "right")}
SHUT = 0.9  # weight of a blink from which a large eye is drawn shut
OUTLINE = 0.24  # cm, of the widest lines


def picture(kit: FaceKit, sitter: Sitter, weights: np.ndarray, view: View, size: int) -> np.ndarray:
    """(size, size, 4) float32 premultiplied sRGB with alpha: the character with ARKit `weights`
    (52,) beyond rest."""
    head = kit.deform(kit.deform(kit.neutral(sitter.identity), sitter.resting), weights)
    page = Canvas(view, size)
    back_hair(page)
    body(page)
    face(page, kit, head)
    nose(page, kit, head)
    mouth(page, kit, head)
    for marks, side in ((EYE_RIGHT, "right"), (EYE_LEFT, "left")):
        eye(page, kit, head, weights, marks=marks, side=side)
    front_hair(page)
    brows(page, kit, head)
    return page.picture()


def back_hair(page: Canvas) -> None:
    """A bob, behind neck and face."""
    half = [(0.0, 15.3), (4.6, 14.3), (8.2, 10.6), (9.7, 5.0), (10.3, 0.0), (10.9, -4.6),
            (10.2, -8.2), (7.4, -9.6), (4.6, -8.8), (0.0, -8.0)]  # fmt: skip
    whole = np.vstack([half, mirrored(half)[-2:0:-1]])
    outline = page.places(curve(whole, closed=True), 0.0)
    page.fill(outline, HAIR_DARK)
    page.stroke(np.vstack([outline, outline[:1]]), OUTLINE, LINE)
    for sign in (-1, 1):
        for line in (
            [(8.6, 0.5), (9.2, -4.0), (8.2, -8.2)],
            [(7.4, -2.0), (7.9, -5.0), (7.0, -8.0)],
        ):
            page.stroke(page.places(curve(np.array(line) * [sign, 1])), [0.0, 0.16, 0.0], LINE)


def body(page: Canvas) -> None:
    neck = np.array([(-3.5, -4.0), (-3.5, -9.5), (-4.1, -12.2), (-6.5, -14.0), (0.0, -19.0),
                     (6.5, -14.0), (4.1, -12.2), (3.5, -9.5), (3.5, -4.0)])  # fmt: skip
    neck = page.places(curve(neck), 0.0)
    skin = page.mask(neck)
    page.fill(neck, SKIN)
    shadow = page.places(curve([(-5, -6), (-4.4, -9.6), (-1.0, -11.8), (2.2, -11.2), (5, -8.6),
                                (5, -5)], closed=True), 0.0)  # fmt: skip
    page.fill(shadow, SHADE, skin)
    page.stroke(neck, OUTLINE * 0.8, LINE)
    top = [(-5.9, -12.6), (-9.5, -14.0), (-14.0, -15.8), (-16.8, -18.6), (-18.2, -24.0),
           (-19.6, -46.0), (19.6, -46.0), (18.2, -24.0), (16.8, -18.6), (14.0, -15.8),
           (9.5, -13.9), (5.9, -12.6)]  # fmt: skip
    collar = curve([(5.9, -12.6), (3.6, -15.6), (0.0, -16.8), (-3.6, -15.6), (-5.9, -12.6)])
    shirt = page.places(np.vstack([curve(top), collar]), 1.0)
    cloth = page.mask(shirt)
    page.fill(shirt, CLOTH)
    for number in range(4):  # stripes, which hang
        y = -21.2 - 4.4 * number
        stripe = page.places(curve([(-24, y + 1.6), (-9, y), (0, y - 0.7), (9, y), (24, y + 1.6)]))
        page.stroke(stripe, 1.3, CLOTH_LIGHT, cloth)
    side = page.places(curve([(11.5, -14.0), (14.0, -20.0), (15.0, -30.0), (15.4, -48.0), (24, -48),
                              (24, -12)], closed=True), 1.0)  # fmt: skip
    darken(page, side, cloth)
    for sign in (-1, 1):
        arm = page.places(curve([(sign * 12.4, -21.0), (sign * 12.9, -27), (sign * 12.9, -34)]))
        page.stroke(arm, [0.0, 0.22, 0.22], LINE)
    band = page.places(collar, 1.0)
    page.stroke(band, 1.15, CLOTH_LIGHT, cloth)
    outer = page.places(
        curve([(7.1, -13.0), (4.2, -16.4), (0, -17.7), (-4.2, -16.4), (-7.1, -13.0)])
    )
    page.stroke(outer, OUTLINE * 0.6, LINE, cloth)
    page.stroke(np.vstack([shirt, shirt[:1]]), OUTLINE, LINE)


def darken(page: Canvas, outline: np.ndarray, within: np.ndarray) -> None:
    """What lies in the shape, in the shade."""
    mask = page.mask(outline) & within
    page.pixels[mask] = (page.pixels[mask] * np.array([0.86, 0.78, 0.76])).astype(np.uint8)


def face(page: Canvas, kit: FaceKit, head: np.ndarray) -> None:
    marks = page.places(head[kit.landmarks])
    for sign in (-1, 1):
        ear(page, sign)
    jaw = marks[[0, 1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16]]
    temple = [(7.3, 7.0), (6.2, 11.0), (0.0, 13.2), (-6.2, 11.0), (-7.3, 7.0)]
    temple = page.places(np.array(temple), 3.0)
    outline = curve(np.vstack([jaw, temple]), closed=True)
    skin = page.mask(outline)
    page.fill(outline, SKIN)
    # The light comes from the left: a crescent of shade on the other side.
    right = curve(jaw[7:])
    along = np.linspace(0, 1, len(right))
    inward = np.interp(along, [0, 0.25, 0.6, 1], [0.0, -1.1, -1.5, -0.9])
    inner = right + np.column_stack([inward, np.zeros(len(right))])
    page.fill(np.vstack([right, [(9, 9)], inner[::-1]]), SHADE, skin)
    fringe = [(-8.5, 6.2), (-5.0, 8.6), (-2.0, 9.3), (1.5, 8.6), (4.5, 6.9), (6.6, 3.4), (9.5, 3.0),
              (9, 13), (-9, 13)]  # fmt: skip
    fringe = page.places(curve(fringe, closed=True), 5.0)
    page.fill(fringe, SHADE, skin)
    cheeks(page, marks, skin)
    page.stroke(curve(jaw), [0.10, OUTLINE, OUTLINE * 1.15, OUTLINE, 0.10], LINE)


def ear(page: Canvas, sign: int) -> None:
    shape = curve([(7.0, 4.4), (8.5, 4.9), (9.2, 3.4), (8.7, 1.0), (7.7, -0.9), (6.8, -0.6)])
    shape = page.places(shape * [sign, 1], 0.0)
    page.fill(shape, SKIN if sign < 0 else SHADE)
    page.stroke(shape, OUTLINE * 0.9, LINE)
    fold = page.places(curve([(7.8, 3.9), (8.4, 3.4), (8.1, 1.8), (7.7, 1.2)]) * [sign, 1], 0.0)
    page.stroke(fold, [0.0, 0.16, 0.0], LINE)
    turn = np.linspace(0, 2 * np.pi, 60)
    ring = page.places(
        np.column_stack([sign * 7.85 + 0.62 * np.cos(turn), -1.7 + 0.62 * np.sin(turn)])
    )
    page.fill(ring, (246, 196, 84))
    page.stroke(ring, OUTLINE * 0.6, LINE)


def cheeks(page: Canvas, marks: np.ndarray, skin: np.ndarray) -> None:
    turn = np.linspace(0, 2 * np.pi, 80)
    for corner, lip in ((36, 48), (45, 54)):
        middle = 0.56 * marks[corner] + 0.44 * marks[lip]
        middle = middle + [np.sign(marks[corner, 0]) * 0.55, 0.1]
        spot = middle + np.column_stack([1.35 * np.cos(turn), 0.8 * np.sin(turn)])
        page.fill(spot, BLUSH, skin)
        for dx, dy in ((-0.55, 0.15), (0.05, -0.15), (0.6, 0.2)):
            dot = middle + [dx, dy] + 0.085 * np.column_stack([np.cos(turn), np.sin(turn)])
            page.fill(dot, (214, 128, 104))


def nose(page: Canvas, kit: FaceKit, head: np.ndarray) -> None:
    marks = page.places(head[kit.landmarks])
    tip, left, right, base = marks[30], marks[31], marks[35], marks[33]
    shade = curve([tip + [0.15, 0.5], tip + [0.75, -0.15], right + [0.05, 0.25], base + [0.25, 0.0],
                   tip + [0.1, -0.35]], closed=True)  # fmt: skip
    page.fill(shade, SHADE)
    page.stroke(curve([left + [-0.02, 0.22], base + [0, -0.08], right + [0.02, 0.22]]),
                [0.0, 0.17, 0.2, 0.17, 0.0], LINE)  # fmt: skip
    for wing, out in ((left, -1), (right, 1)):
        side = wing + np.array([(0.10, 0.55), (0.24, 0.25), (0.16, 0.0)]) * [out, 1]
        page.stroke(curve(side), [0.0, 0.13, 0.0], LINE)


def mouth(page: Canvas, kit: FaceKit, head: np.ndarray) -> None:
    marks = page.places(head[kit.landmarks])
    outer = marks[OUTER_LIPS]
    upper_out, lower_out = curve(outer[:7]), curve(np.vstack([outer[6:], outer[:1]]))
    upper_in = curve(marks[[48, 60, 61, 62, 63, 64, 54]])
    lower_in = curve(marks[[48, 60, 67, 66, 65, 64, 54]])
    inside = np.vstack([upper_in, lower_in[::-1]])
    lips = np.vstack([upper_out, lower_out])
    page.fill(lips, LIPS)
    page.fill(np.vstack([upper_out, upper_in[::-1]]), LIP_SHADE)
    opening = page.mask(inside)
    page.fill(inside, MOUTH)
    teeth(page, kit, head, opening)
    gloss = marks[[58, 57, 56]] * 0.55 + marks[[67, 66, 65]] * 0.45
    page.stroke(curve(gloss * [0.6, 1] + [-0.25, 0.02]), [0.0, 0.14, 0.0], (240, 156, 150))
    page.stroke(lower_in, [0.06, 0.06], LINE)
    page.stroke(upper_in, [0.12, 0.10, 0.10, 0.10, 0.12], LINE)
    for corner, out in ((marks[48], -1), (marks[54], 1)):
        dimple = corner + np.array([(-0.05, -0.18), (0.16, 0.05), (0.18, 0.34)]) * [out, 1]
        page.stroke(curve(dimple), [0.0, 0.20, 0.0], LINE)
    page.stroke(curve(marks[[58, 57, 56]] * [0.8, 1] + [0, -0.10]), [0.0, 0.12, 0.0], SHADE)


def teeth(page: Canvas, kit: FaceKit, head: np.ndarray, opening: np.ndarray) -> None:
    """The upper teeth as one band, and the tongue."""
    span = kit.parts["teeth"]
    upper = np.abs(kit.expressions[arkit.INDEX["jawOpen"]].reshape(-1, 3)[span]).max(1) < 0.3
    row = page.places(head[span][upper])
    edge = float(np.percentile(row[:, 1], 6))
    across = np.linspace(-3, 3, 60)
    low = edge - LOWER_TEETH + 0.03 * across**2
    band = np.vstack([np.column_stack([across, low]), [(3, edge + 4), (-3, edge + 4)]])
    marks = page.places(head[kit.landmarks])
    bottom = marks[66]
    turn = np.linspace(0, 2 * np.pi, 80)
    spot = bottom + [0, -0.15] + np.column_stack([1.25 * np.cos(turn), 0.75 * np.sin(turn)])
    page.fill(spot, TONGUE, opening)
    page.fill(band, TEETH, opening)


def eye(
    page: Canvas, kit: FaceKit, head: np.ndarray, weights: np.ndarray, *, marks: slice, side: str
) -> None:
    rings = mesh_rings.around(kit, marks, kit.mean, [EDGE], HALF)[0]
    upper, lower = (page.places(head[ring]) for ring in rings)  # from the person's right
    upper, lower = curve(upper[::2]), curve(lower[::2])
    out = 1 if side == "left" else -1
    if weights[BLINK[side]] > SHUT:
        page.stroke(lid_line(lower if out > 0 else lower[::-1], out), LID_LINE, LINE)
        return
    outline = np.vstack([upper, lower[::-1]])
    opening = page.mask(outline)
    page.fill(outline, WHITE)
    page.stroke(upper + [0, -0.10], 0.34, WHITE_SHADE, opening)
    ball = kit.parts[f"eyeball_{side}"]
    middle = (head[ball].max(0) + head[ball].min(0)) / 2
    pitch, yaw = gaze_angles(weights, side.capitalize())
    front = middle + IRIS_DEPTH * np.array([np.sin(yaw), -np.sin(pitch), np.cos(yaw)])
    centre = page.places(front[None])[0]
    turn = np.linspace(0, 2 * np.pi, 120)
    circle = np.column_stack([np.cos(turn), np.sin(turn)])
    page.fill(centre + IRIS_RADIUS * circle, PUPIL, opening)
    page.fill(centre + (IRIS_RADIUS - 0.07) * circle, IRIS_DARK, opening)
    page.fill(centre + [0, -0.18] + 0.50 * circle * [1.12, 0.9], IRIS, opening)
    page.fill(centre + 0.38 * circle, PUPIL, opening)
    page.fill(centre + [-0.24, 0.27] + 0.19 * circle, (255, 255, 255), opening)
    page.fill(centre + [0.27, -0.28] + 0.09 * circle, (220, 244, 240), opening)
    if out < 0:
        upper, lower = upper[::-1], lower[::-1]  # from the nose outwards
    page.stroke(np.vstack([upper[:1], lower]), [0.07, 0.07, 0.09, 0.12], LINE)
    page.stroke(lid_line(upper, out), LID_LINE, LINE)


def lid_line(edge: np.ndarray, out: int) -> np.ndarray:
    """The line of the lashes along a lid's edge, from the nose outwards, and its wing."""
    wing = edge[-1] + [[0.20 * out, 0.10], [0.52 * out, 0.36]]
    return np.vstack([edge, curve(np.vstack([edge[-1:], wing]))[1:]]) + [0, 0.04]


def brows(page: Canvas, kit: FaceKit, head: np.ndarray) -> None:
    marks = page.places(head[kit.landmarks])
    for rows in ((21, 20, 19, 18, 17), (22, 23, 24, 25, 26)):
        line = marks[list(rows)]
        page.stroke(curve(line + [0, 0.35]), [0.30, 0.52, 0.50, 0.36, 0.08], HAIR_DARK)


def front_hair(page: Canvas) -> None:
    """A fringe that is swept aside, locks before the ears, and the hair's outline above."""
    cap = [(-8.5, -5.9), (-9.6, -2.0), (-9.3, 4.6), (-8.4, 9.4), (-5.4, 13.6), (0.0, 15.3),
           (5.4, 13.6), (8.4, 9.4), (9.3, 4.6), (9.6, -2.0), (8.5, -5.9)]  # fmt: skip
    under = [(8.5, -5.9), (7.9, -3.0), (7.75, 0.5), (7.5, 4.4), (6.3, 7.9), (4.0, 10.0),
             (2.4, 10.9), (0.6, 10.2), (-2.6, 9.4), (-5.4, 8.0), (-7.0, 5.4), (-7.6, 1.5),
             (-7.9, -3.0), (-8.5, -5.9)]  # fmt: skip
    outline = page.places(np.vstack([curve(cap), curve(under)]), 4.0)
    hair = page.mask(outline)
    page.fill(outline, HAIR)
    shine = [[(-7.4, 9.0), (-5.2, 11.8), (-2.4, 13.2)], [(-6.6, 8.8), (-4.4, 11.0), (-1.8, 12.2)],
             [(4.4, 12.6), (6.5, 10.8), (7.6, 8.6)]]  # fmt: skip
    for line in shine:
        page.stroke(page.places(curve(line), 4.0), [0.0, 0.5, 0.5, 0.0], HAIR_LIGHT, hair)
    for line in ([(2.4, 10.9), (2.9, 12.6), (2.2, 14.6)], [(1.2, 11.0), (-1.8, 10.8), (-5.0, 9.6)],
                 [(3.4, 11.2), (5.2, 10.4), (7.2, 7.4)], [(8.1, 6.0), (8.8, 2.0), (8.6, -3.5)],
                 [(-8.1, 6.0), (-8.8, 2.0), (-8.6, -3.5)]):  # fmt: skip
        page.stroke(page.places(curve(line), 4.0), [0.04, 0.16, 0.0], HAIR_DARK, hair)
    page.stroke(outline, OUTLINE, LINE)
