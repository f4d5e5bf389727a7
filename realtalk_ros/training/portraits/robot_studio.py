# SPDX-License-Identifier: Apache-2.0
"""A robot in Blender: materials of its parts, and the scene. Needs bpy; lengths are cm."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from realtalk_ros.enroll.srgb import to_linear
from realtalk_ros.face_model.rotations import rotation_matrix
from realtalk_ros.training.portraits import anatomy, robot
from realtalk_ros.training.portraits.anatomy import Surface
from realtalk_ros.training.portraits.blender import Nodes, Value, add_mesh, subdivide

WHITE = to_linear(np.array([228, 228, 226]) / 255)
GRAPHITE = to_linear(np.array([46, 50, 58]) / 255)
VISOR = to_linear(np.array([22, 25, 30]) / 255)
BLACK = to_linear(np.array([14, 15, 18]) / 255)  # of eyeballs and the mouth's inside
LIP = to_linear(np.array([204, 197, 193]) / 255)
SHELL = to_linear(np.array([212, 214, 216]) / 255)  # of the skull behind the plate
INSIDE = to_linear(np.array([46, 52, 62]) / 255)  # of the mouth
# cm, the middles of the spheres of which plate and visor seem to be parts. The visor's mirrors the
# key light at its upper border: on a lid that shuts, a highlight would be a patch.
PLATE_DOME, VISOR_DOME = (0.0, 3.5, -4.0), (0.0, 5.0, -4.0)
GLOW = (0.10, 0.78, 1.0)
LIT = 9.0  # radiance of lamps
BROW, THROAT = 0.12, 0.02  # of it: of the bars that are its brows, of the mouth's inside


def build(person: Any, head: np.ndarray, weights: np.ndarray, distance: float) -> None:
    """All of the robot whose head (V, 3) has ARKit `weights` (52,)."""
    kit = person.kit
    shell = add_mesh("shell", robot.shell(kit, head), [
        shell_material(person.maps), shell_material({}),
        coated(Nodes("socket"), INSIDE, 0.55, coat=0.0, glow=LIT * THROAT),
    ])  # fmt: skip
    subdivide(shell, 2)
    add_mesh("gums", anatomy.part(kit, head, "gums_tongue"), [tongue()])
    white, iris = coated(Nodes("ball"), BLACK, 0.12), iris_material()
    for side in ("left", "right"):
        turn = rotation_matrix(*anatomy.gaze(kit, head, side, weights, distance))
        ball = anatomy.eye(kit, head, side, turn)
        add_mesh(f"ball_{side}", ball["cornea"], [iris])
        add_mesh(f"white_{side}", ball["white"], [white])
    pod = pod_material()
    for number, surface in enumerate(robot.pods(person.head, kit)):
        thing = add_mesh(f"pod{number}", surface, [pod])
        edges(thing)
    add_mesh("neck", robot.neck(person.head, kit), [
        coated(Nodes("neck"), GRAPHITE * 0.8, 0.55, coat=0.0)  # rubber
    ])  # fmt: skip
    bust(person)


def edges(thing: Any) -> None:
    """Edges sharper than 30 degrees stay edges."""
    bpy.context.view_layer.objects.active = thing
    thing.select_set(True)
    bpy.ops.object.shade_smooth_by_angle(angle=np.radians(30))
    thing.select_set(False)


def bust(person: Any) -> None:
    from realtalk_ros.training.synthetic.clothing import COLUMNS, ROWS

    surface = Surface(person.body.points, anatomy.around(ROWS, COLUMNS))
    surface.attributes["along"] = np.repeat(
        np.linspace(0, len(robot.BUST_RINGS) - 1, ROWS), COLUMNS
    )
    surface.attributes["aside"] = surface.points[:, 0]
    thing = add_mesh("bust", surface, [bust_material()])
    subdivide(thing, 1)


def coated(n: Nodes, colour: Any, rough: Any, normal: Any = None, coat: Any = 0.8,
           glow: Any = 0.0) -> Any:  # fmt: skip
    """Plastic under clear lacquer, lit from inside by `glow`."""
    inputs = {
        "Base Color": colour, "Roughness": rough, "IOR": 1.46, "Coat Weight": coat,
        "Coat Roughness": 0.13, "Emission Color": GLOW, "Emission Strength": glow,
        "Subsurface Weight": 0.25, "Subsurface Radius": (1.0, 0.9, 0.8), "Subsurface Scale": 0.15,
    }  # fmt: skip
    if normal is not None:
        inputs["Normal"] = inputs["Coat Normal"] = normal
    return n.finish(n.add("BsdfPrincipled", inputs))


def line(n: Nodes, depth: Value, at: float, half: float) -> Value:
    """0..1: a line where `depth` is about `at`, `half` as wide."""
    return n.ramp(abs(depth - at), half * 1.25, half * 0.75)


def shell_material(maps: dict[str, str]) -> Any:
    """Of the front with `maps` (robot.depth_maps' files), of the back without."""
    n = Nodes("shell")
    if maps:
        plate, visor, brow, lip = (
            n.image(maps[name], False).scaled(2.0, -1.0)
            for name in ("plate", "visor", "brow", "lip")
        )
    else:
        plate = visor = brow = lip = n.number(-1.0)
    skull = n.mix(n.ramp(n.attribute("height"), -5.0, -4.9), GRAPHITE, SHELL)
    colour = n.mix(n.ramp(plate, -0.015, 0.015), skull, WHITE)
    rough = n.ramp(plate, -0.01, 0.01, 0.38, 0.30)
    dark = n.ramp(visor, -0.012, 0.012)
    colour = n.mix(dark, colour, VISOR)
    rough = dark.scaled(0.1, rough)
    soft = n.ramp(lip, -0.06, 0.05)
    colour = n.mix(soft, colour, LIP)
    coat = n.ramp(plate, -0.1, 0.0, 0.3, 0.8) * dark.scaled(-0.8, 1.0) * soft.scaled(-0.6, 1.0)
    # Joints: fine dark gaps around the plate and the visor.
    gap = line(n, plate, -0.04, 0.045).maximum(line(n, visor, 0.0, 0.03))
    colour = n.mix(gap, colour, (0.004, 0.004, 0.005))
    step = n.ramp(visor, -0.10, 0.02, 1.0, 0.0) - gap * 0.5
    # A visor mirrors as if it were a dome; a plate less, and not at its border and the lips.
    even = n.ramp(plate, 0.0, 0.5) * n.ramp(lip, 0.0, -0.9) * n.ramp(visor, -1.2, 0.0, 0.4, 0.9)
    normal = n.mix(even, n.output("NewGeometry", name="Normal"), dome(n, PLATE_DOME))
    normal = n.mix(dark, normal, dome(n, VISOR_DOME))
    normal = n.bump(step, 0.10, 1.0, normal)
    glow = n.ramp(brow, -0.03, 0.03) * (LIT * BROW)
    return coated(n, colour, rough, normal=normal, coat=coat, glow=glow)


def dome(n: Nodes, middle: tuple[float, float, float]) -> Value:
    """The normal of a sphere about `middle`: what it mirrors shows no lids and no sockets."""
    away = n.vector("SUBTRACT", n.output("NewGeometry", name="Position"), middle)
    return n.vector("NORMALIZE", away)


def iris_material() -> Any:
    """A dark lens with a lit ring, brighter towards its inside."""
    n = Nodes("iris")
    rho = n.attribute("rho")
    outer = n.ramp(rho, 1.08, 0.96)
    inner = n.ramp(rho, 0.42, 0.58)
    bright = n.ramp(rho, 1.05, 0.55, 0.6, 1.0)
    return coated(n, BLACK, 0.08, coat=1.0, glow=outer * inner * bright * LIT)


def pod_material() -> Any:
    n = Nodes("pod")
    along = n.attribute("along")
    colour = n.mix(n.ramp(along, 3.9, 4.1), WHITE, GRAPHITE)
    colour = n.mix(n.ramp(along, 2.6, 2.9), colour, GRAPHITE)
    colour = n.mix(n.ramp(along, 4.4, 4.6), colour, WHITE)
    colour = n.mix(n.ramp(along, 8.9, 9.1), colour, GRAPHITE)
    lit = line(n, along, 3.5, 0.45) * (LIT * 0.5)
    return coated(n, colour, 0.3, glow=lit)


def bust_material() -> Any:
    n = Nodes("bust")
    along = n.attribute("along")
    colour = n.mix(n.ramp(along, 2.98, 3.02), GRAPHITE, WHITE)
    gap = line(n, along, 3.05, 0.05).maximum(line(n, along, 5.9, 0.012))
    colour = n.mix(gap, colour, (0.004, 0.004, 0.005))
    normal = n.bump(1.0 - gap, 0.06, 0.9)
    lit = line(n, along, 2.6, 0.06) * (LIT * 0.5)
    return coated(n, colour, 0.45, normal=normal, coat=0.15, glow=lit)


def tongue() -> Any:
    n = Nodes("tongue")
    colour = n.mix(n.attribute("tongue"), BLACK, to_linear(np.array([84, 94, 108]) / 255))
    return coated(n, colour, 0.35, coat=0.4)
