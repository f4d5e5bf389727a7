# SPDX-License-Identifier: Apache-2.0
"""A robot in Blender: materials of its parts, and the scene. Needs bpy; lengths are cm."""

from __future__ import annotations

from typing import Any

import numpy as np

from realtalk_ros.face_model.facekit import gaze_angles
from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.training.portraits import anatomy, robot
from realtalk_ros.training.portraits.anatomy import Surface
from realtalk_ros.training.portraits.materials import Nodes
from realtalk_ros.training.portraits.skin_maps import to_linear

WHITE = to_linear(np.array([228, 228, 226]) / 255)
GRAPHITE = to_linear(np.array([46, 50, 58]) / 255)
PANEL = to_linear(np.array([40, 44, 50]) / 255)
BLACK = to_linear(np.array([14, 15, 18]) / 255)  # of eyeballs and the mouth's inside
LIP = to_linear(np.array([172, 144, 146]) / 255)
GLOW = (0.10, 0.78, 1.0)
LIT = 9.0  # radiance of lamps
RING = 0.05  # of it: of the rings around the eyes


def build(person: Any, head: np.ndarray, weights: np.ndarray, distance: float, add: Any) -> None:
    """All of the robot whose head (V, 3) has ARKit `weights` (52,); `add` is studio.add_mesh."""
    kit = person.kit
    shell = add(
        "shell",
        robot.shell(kit, head),
        [
            shell_material(person.maps),
            shell_material({}),
            rubber("socket", BLACK),
        ],
    )
    smooth = shell.modifiers.new("smooth", "SUBSURF")
    smooth.render_levels = smooth.levels = 2
    add("gums", anatomy.part(kit, head, "gums_tongue"), [tongue()])
    white, iris = plastic("ball", BLACK, 0.12), iris_material()
    for side in ("left", "right"):
        middle = head[kit.parts[f"eyeball_{side}"]].mean(0)
        pitch, yaw = gaze_angles(weights, side.capitalize())
        yaw -= np.arctan2(middle[0], distance - middle[2])
        ball = anatomy.eye(kit, head, side, rotation_matrix(pitch, yaw))
        add(f"ball_{side}", ball["cornea"], [iris])
        add(f"white_{side}", ball["white"], [white])
    pod = pod_material()
    for number, surface in enumerate(robot.pods(person.head, kit)):
        thing = add(f"pod{number}", surface, [pod])
        edges(thing)
    add("neck", robot.neck(person.head, kit), [rubber("neck", GRAPHITE * 0.8)])
    bust(person, add)


def edges(thing: Any) -> None:
    """Edges sharper than 30 degrees stay edges."""
    import bpy

    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    bpy.ops.object.shade_smooth_by_angle(angle=np.radians(30))
    thing.select_set(False)


def bust(person: Any, add: Any) -> None:
    from realtalk_ros.training.synthetic.clothing import COLUMNS, ROWS

    surface = Surface(person.body.points, anatomy.around(ROWS, COLUMNS))
    surface.attributes["along"] = np.repeat(
        np.linspace(0, len(robot.BUST_RINGS) - 1, ROWS), COLUMNS
    )
    surface.attributes["aside"] = surface.points[:, 0]
    thing = add("bust", surface, [bust_material()])
    smooth = thing.modifiers.new("smooth", "SUBSURF")
    smooth.render_levels = smooth.levels = 1


def coated(n: Nodes, colour: Any, rough: Any, normal: Any = None, coat: Any = 0.8,
           glow: Any = 0.0) -> Any:  # fmt: skip
    """Plastic under clear lacquer, lit from inside by `glow`."""
    inputs = {
        "Base Color": colour, "Roughness": rough, "IOR": 1.46, "Coat Weight": coat,
        "Coat Roughness": 0.13, "Emission Color": GLOW, "Emission Strength": glow,
        "Subsurface Weight": 0.25, "Subsurface Radius": (1.0, 0.9, 0.8), "Subsurface Scale": 0.15,
    }  # fmt: skip
    if normal is not None:
        inputs["Normal"] = normal
    return n.finish(n.add("BsdfPrincipled", inputs))


def plastic(name: str, colour: np.ndarray, rough: float) -> Any:
    return coated(Nodes(name), colour, rough)


def rubber(name: str, colour: np.ndarray) -> Any:
    return coated(Nodes(name), colour, 0.55, coat=0.0)


def line(n: Nodes, depth: Any, at: float, half: float) -> Any:
    """0..1: a line where `depth` is about `at`, `half` as wide."""
    away = n.math("ABSOLUTE", n.math("SUBTRACT", depth, at))
    return n.ramp(away, half * 1.25, half * 0.75)


def shell_material(maps: dict[str, str]) -> Any:
    """Of the front with `maps` (robot.depth_maps' files), of the back without."""
    n = Nodes("shell")
    if maps:
        plate, panel, brow, lip = (
            n.math("MULTIPLY_ADD", n.image(maps[name], False), 2.0, -1.0)
            for name in ("plate", "panel", "brow", "lip")
        )
    else:
        plate = panel = brow = lip = -1.0
    colour = n.mix(n.ramp(plate, -0.015, 0.015), GRAPHITE, WHITE)
    rough = n.ramp(plate, -0.01, 0.01, 0.38, 0.30)
    dark = n.ramp(panel, -0.012, 0.012)
    colour = n.mix(dark, colour, PANEL)
    rough = n.math("MULTIPLY_ADD", dark, 0.22, rough)
    bars = n.ramp(brow, -0.012, 0.012)
    colour = n.mix(bars, colour, GRAPHITE * 0.7)
    dark = n.math("MAXIMUM", dark, bars)
    rough = n.math("MULTIPLY_ADD", bars, 0.25, rough)
    soft = n.ramp(lip, -0.06, 0.05)
    colour = n.mix(soft, colour, LIP)
    coat = n.math("MULTIPLY", n.math("SUBTRACT", 1.0, dark), n.ramp(plate, -0.1, 0.0, 0.3, 0.8))
    coat = n.math("MULTIPLY", coat, n.math("MULTIPLY_ADD", soft, -0.6, 1.0))
    # Joints: a dark gap around the plate, fine ones around the inlays, one over the skull.
    gap = line(n, plate, -0.07, 0.075)
    gap = n.math("MAXIMUM", gap, line(n, panel, 0.0, 0.03))
    seam = n.math("MULTIPLY", line(n, n.attribute("aside"), 0.0, 0.03), n.ramp(plate, -0.1, -0.2))
    gap = n.math("MAXIMUM", gap, seam)
    colour = n.mix(gap, colour, (0.004, 0.004, 0.005))
    step = n.math("SUBTRACT", n.ramp(panel, -0.10, 0.02, 1.0, 0.0), n.math("MULTIPLY", gap, 0.5))
    step = n.math("ADD", step, n.ramp(brow, -0.06, 0.06, 0.0, 0.5))
    normal = n.bump(step, 0.10, 1.0)
    ring = n.math("MULTIPLY", line(n, panel, 0.14, 0.03), LIT * RING)
    return coated(n, colour, rough, normal=normal, coat=coat, glow=ring)


def iris_material() -> Any:
    """A dark lens with a lit ring, brighter towards its inside."""
    n = Nodes("iris")
    rho = n.attribute("rho")
    outer = n.ramp(rho, 0.80, 0.72)
    inner = n.ramp(rho, 0.20, 0.42)
    bright = n.ramp(rho, 0.8, 0.45, 0.6, 1.0)
    glow = n.math("MULTIPLY", n.math("MULTIPLY", outer, inner), bright)
    return coated(n, BLACK, 0.08, coat=1.0, glow=n.math("MULTIPLY", glow, LIT))


def pod_material() -> Any:
    n = Nodes("pod")
    along = n.attribute("along")
    colour = n.mix(n.ramp(along, 3.9, 4.1), WHITE, GRAPHITE)
    colour = n.mix(n.ramp(along, 2.6, 2.9), colour, GRAPHITE)
    colour = n.mix(n.ramp(along, 4.4, 4.6), colour, WHITE)
    colour = n.mix(n.ramp(along, 8.9, 9.1), colour, GRAPHITE)
    lit = n.math("MULTIPLY", line(n, along, 3.5, 0.45), LIT * 0.5)
    return coated(n, colour, 0.3, glow=lit)


def bust_material() -> Any:
    n = Nodes("bust")
    along = n.attribute("along")
    colour = n.mix(n.ramp(along, 2.98, 3.02), GRAPHITE, WHITE)
    gap = line(n, along, 3.05, 0.05)
    gap = n.math("MAXIMUM", gap, line(n, along, 5.9, 0.012))
    colour = n.mix(gap, colour, (0.004, 0.004, 0.005))
    normal = n.bump(n.math("SUBTRACT", 1.0, gap), 0.06, 0.9)
    lit = n.math("MULTIPLY", line(n, along, 2.6, 0.06), LIT * 0.5)
    return coated(n, colour, 0.45, normal=normal, coat=0.15, glow=lit)


def tongue() -> Any:
    n = Nodes("tongue")
    colour = n.mix(n.attribute("tongue"), BLACK, to_linear(np.array([84, 94, 108]) / 255))
    return coated(n, colour, 0.35, coat=0.4)
