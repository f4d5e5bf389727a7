# SPDX-License-Identifier: Apache-2.0
"""Cycles materials of a portrait. Needs bpy; lengths are cm."""

from __future__ import annotations

from typing import Any

import numpy as np

from realtalk_ros.enroll.srgb import to_linear
from realtalk_ros.training.portraits.blender import Nodes, Value
from realtalk_ros.training.portraits.people import Hair, Sitter

WHITE_HAIR = (0.58, 0.575, 0.565)  # of grey hair, what is white
LID_SHADE = (0.30, 0.22, 0.19)  # what is left of an eyeball's colour at the upper lid
EAR_CLOSED = 0.8  # share of the light below the skin that ears lack
LIMBUS = (0.52, 0.48, 0.47)  # what the iris's border leaves of the white's colour,
LIMBUS_RING = (0.24, 0.21, 0.20)  # and of the iris's
SHEEN = 0.25  # roughness of the eye's surface: a catchlight's edge is soft, and few paths find it
FOLDS = 0.22  # cm between the lowest and the highest of wrinkles


def skin(sitter: Sitter, maps: dict[str, str] | None) -> Any:
    """Of the face with `maps` (name to file of skin_maps.SkinMaps), of the back of the head
    without."""
    n = Nodes("skin")
    tone = to_linear(np.array(sitter.skin) / 255)
    if maps:
        colour, lips = n.image(maps["albedo"]), n.image(maps["lips"], False)
        gloss, height = n.image(maps["gloss"], False), n.image(maps["height"], False)
    else:
        colour, lips, gloss, height = tone, n.number(0.0), n.number(0.0), 0.5
    if maps:  # the photograph's lobes are orange
        colour = n.mix(n.attribute("lobe") * 0.85, colour, 0.9 * tone)
    light = 0.75 * sitter.hair.grey  # of the shade that hair throws
    hair = np.array([0.05, 0.032, 0.022]) * (1 - light) + 0.7 * np.array(WHITE_HAIR) * light
    colour = n.mix(n.attribute("scalp") * 0.75, colour, hair)
    wet = n.attribute("wet")
    roughness = n.ramp(n.noise(1.1), 0.3, 0.7, 0.44, 0.53) - gloss * 0.09
    roughness = roughness - lips * 0.10 - wet * 0.25
    coat = (lips * 0.28).maximum(wet * 0.8)
    pores = n.output("TexVoronoi", {"Vector": n.place("Object"), "Scale": 15.0},
                     feature="SMOOTH_F1")  # fmt: skip
    normal = n.bump(n.ramp(pores, 0.0, 0.55), 0.006, 0.55)
    normal = n.bump(n.noise(26.0, 6.0), 0.008, 0.5, normal)
    if maps:
        normal = n.bump(height, 0.035, 0.8, normal)
        if sitter.age:
            normal = n.bump(n.image(maps["folds"], False), FOLDS, 1.0, normal)
    # As deep light as that of the cheeks would shine through the ears' thin shell, orange.
    inside = n.attribute("ear").scaled(-EAR_CLOSED, 1.0)
    shader = n.add("BsdfPrincipled", {
        "Base Color": colour, "Roughness": roughness, "IOR": 1.4, "Normal": normal,
        "Subsurface Weight": inside, "Subsurface Radius": (1.0, 0.36, 0.19),
        "Subsurface Scale": 0.16, "Subsurface Anisotropy": 0.6,
        "Specular IOR Level": 0.5 * (1 - 0.25 * sitter.even),
        "Coat Weight": coat, "Coat Roughness": 0.22, "Sheen Weight": 0.06, "Sheen Roughness": 0.35,
    }, subsurface_method="RANDOM_WALK_SKIN")  # fmt: skip
    return n.finish(shader)


def wet_flesh(name: str, colour: Any, nodes: Nodes | None = None) -> Any:
    """Gums, tongue, the mouth's inside, the corner of the eye."""
    n = nodes or Nodes(name)
    shader = n.add("BsdfPrincipled", {
        "Base Color": colour, "Roughness": 0.3, "Subsurface Weight": 1.0,
        "Subsurface Radius": (1.0, 0.3, 0.2), "Subsurface Scale": 0.12,
        "Coat Weight": 0.6, "Coat Roughness": 0.12, "Normal": n.bump(n.noise(5.0), 0.03, 0.5),
    })  # fmt: skip
    return n.finish(shader)


def gums() -> Any:
    n = Nodes("gums")
    colour = n.mix(n.attribute("tongue"), (0.50, 0.17, 0.16), (0.52, 0.20, 0.18))
    return wet_flesh("gums", colour, n)


def teeth() -> Any:
    n = Nodes("teeth")
    shade = n.ramp(n.attribute("edge"), 0.0, 1.0)
    colour = n.mix(shade, (0.78, 0.68, 0.54), (0.88, 0.85, 0.78))
    own = n.attribute("tooth") * 0.10 + 1.0
    colour = n.mix(1.0, colour, n.output("CombineColor", {0: own, 1: own, 2: own}), "MULTIPLY")
    return n.finish(n.add("BsdfPrincipled", {
        "Base Color": colour, "Roughness": 0.22, "IOR": 1.5, "Subsurface Weight": 0.7,
        "Subsurface Radius": (1.0, 0.8, 0.6), "Subsurface Scale": 0.06,
        "Coat Weight": 0.5, "Coat Roughness": 0.06,
        "Normal": n.bump(n.noise(4.0), 0.01, 0.3),
    }))  # fmt: skip


def behind_teeth() -> Any:
    n = Nodes("behind_teeth")
    return n.finish(n.add("BsdfPrincipled", {"Base Color": (0.66, 0.56, 0.44), "Roughness": 0.4}))


def below_lids(n: Nodes, colour: Any, sitter: Sitter) -> Any:
    """An eyeball's colour, darker where the attribute `lid` says that a lid is near."""
    dark = n.mix(1.0, colour, LID_SHADE, "MULTIPLY")
    return n.mix(n.attribute("lid") * sitter.lid_shade, colour, dark)


def white(texture: str, sitter: Sitter) -> Any:
    """The eye's white, with the veins of `texture`, and fading where the iris begins."""
    n = Nodes("white")
    uv = n.place("UV")
    # The texture's rows from the limbus (0.877 from its lower edge) to behind the equator.
    place = n.output("Mapping", {"Vector": uv, "Location": (0.0, 0.872, 0.0),
                                 "Scale": (1.0, -0.42, 1.0)})  # fmt: skip
    rho = n.attribute("rho")
    veins = n.mix(0.55, (0.80, 0.755, 0.715), n.image(texture, True, place))
    veins = below_lids(n, n.mix(1.0, veins, sitter.eye_white, "MULTIPLY"), sitter)
    colour = n.mix(n.ramp(rho, 0.86, 1.14), n.mix(1.0, veins, LIMBUS, "MULTIPLY"), veins)
    paint = n.add("BsdfPrincipled", {
        "Base Color": colour, "Roughness": 0.28, "Subsurface Weight": 1.0,
        "Subsurface Radius": (1.0, 0.6, 0.45), "Subsurface Scale": 0.08,
        "Coat Weight": 1.0, "Coat Roughness": 0.03,
        "Normal": n.bump(n.noise(3.0), 0.012, 0.3),
    })  # fmt: skip
    clear = n.add("BsdfTransparent")
    edge = n.ramp(rho, 0.90, 1.04)
    return n.finish(n.add("MixShader", {0: edge, 1: clear.outputs[0], 2: paint.outputs[0]}))


def iris(texture: str, sitter: Sitter) -> Any:
    n = Nodes("iris")
    rho = n.attribute("rho")
    turn = n.coordinates(n.place("UV"))[0] * (2 * np.pi)
    # The photograph's pupil has 0.228 of its iris's radius.
    ring = n.output("MapRange", {0: rho, 1: sitter.pupil, 2: 1.0, 3: 0.232, 4: 0.985})
    x = (n.math("COSINE", turn) * ring).scaled(0.497, 0.5)
    y = (n.math("SINE", turn) * ring).scaled(0.497, 0.5)
    place = n.output("CombineXYZ", {0: x, 1: y})
    colour = n.mix(1.0, n.image(texture, True, place), sitter.iris, "MULTIPLY")
    ring = n.mix(1.0, colour, LIMBUS_RING, "MULTIPLY")
    colour = n.mix(n.ramp(rho, 0.70, 0.98), colour, ring)
    pupil = n.ramp(rho, sitter.pupil - 0.02, sitter.pupil + 0.03)
    colour = below_lids(n, n.mix(pupil, (0.001, 0.001, 0.001), colour), sitter)
    return n.finish(n.add("BsdfPrincipled", {"Base Color": colour, "Roughness": 0.6,
                                             "Specular IOR Level": 0.0}))  # fmt: skip


def cornea() -> Any:
    """Clear and refracting, with a gloss that lights are sampled for: glass would mirror them in
    one path of fifty. Light passes straight, as caustics would take far too many samples."""
    n = Nodes("cornea")
    lens = n.add("BsdfRefraction", {"IOR": 1.34, "Roughness": 0.0})
    # GGX's far tail would lay a veil of the catchlight over the pupil.
    gloss = n.add("BsdfGlossy", {"Color": (1, 1, 1), "Roughness": SHEEN}, distribution="BECKMANN")
    share = n.output("Fresnel", {"IOR": 1.34})
    glass = n.add("MixShader", {0: share, 1: lens.outputs[0], 2: gloss.outputs[0]})
    clear = n.add("BsdfTransparent")
    path = n.add("LightPath").outputs
    straight = n.math("MAXIMUM", path["Is Shadow Ray"], path["Is Diffuse Ray"])
    return n.finish(n.add("MixShader", {0: straight, 1: glass.outputs[0], 2: clear.outputs[0]}))


def tears() -> Any:
    """The wet line on the lower lid: a gloss over what is below."""
    n = Nodes("tears")
    gloss = n.add("BsdfGlossy", {"Color": (1, 1, 1), "Roughness": SHEEN}, distribution="BECKMANN")
    clear = n.add("BsdfTransparent", {"Color": (0.97, 0.95, 0.94)})
    share = n.output("Fresnel", {"IOR": 1.34}) * 1.3
    return n.finish(n.add("MixShader", {0: share, 1: clear.outputs[0], 2: gloss.outputs[0]}))


def strands(name: str, hair: Hair, darker: float) -> Any:
    n = Nodes(name)
    random = n.output("HairInfo", name="Random")
    if hair.grey or hair.temples:
        white_hair = np.array(WHITE_HAIR) * hair.tint
        dark = white_hair * (1 - min(1.0, hair.melanin + darker))
        white = n.attribute("white") if hair.temples else n.ramp(random, 0.15, 0.9)
        colour = n.mix(white, dark, white_hair)
        return n.finish(n.add("BsdfHairPrincipled", {
            "Color": colour, "Roughness": 0.34, "Radial Roughness": 0.45, "Coat": 0.0,
            "Random Roughness": 0.2, "Random": random,
        }, parametrization="COLOR", model="CHIANG"))  # fmt: skip
    shader = n.add("BsdfHairPrincipled", {
        "Melanin": min(1.0, hair.melanin + darker), "Melanin Redness": hair.redness,
        "Roughness": 0.32, "Radial Roughness": 0.42, "Coat": 0.0,
        "Random Color": 0.35, "Random Roughness": 0.2, "Random": random,
    }, parametrization="MELANIN", model="CHIANG")  # fmt: skip
    return n.finish(shader)


def knit(colour: tuple[int, int, int]) -> Any:
    """A jumper: stitches along the uv, of which a unit is one; ribs where the attribute `border`
    is 1; fuzz against the light."""
    n = Nodes("knit")
    u, v, _ = n.coordinates(n.place("UV"))
    # A stitch is two slanting legs that meet at its middle.
    leg = abs(n.math("SINE", u * np.pi))
    slant = n.math("PINGPONG", u, 0.5) * 1.1
    loop = n.math("SINE", (v + slant) * (2 * np.pi))
    stitches = leg * loop.scaled(0.3, 0.7)
    ribs = ribbing(n)
    height = n.mix(n.attribute("border"), stitches, ribs)
    base = to_linear(np.array(colour) / 255)
    shade = n.mix(n.ramp(height, 0.0, 0.8), base * 0.60, base * 1.12)
    shade = n.mix(n.ramp(n.noise(0.8), 0.35, 0.65, 0, 0.15), shade, base * 1.4)
    normal = n.bump(height, 0.07, 0.8)
    normal = n.bump(n.noise(9.0, 6.0), 0.03, 0.5, normal)
    return n.finish(n.add("BsdfPrincipled", {
        "Base Color": shade, "Roughness": 0.92, "Specular IOR Level": 0.2, "Normal": normal,
        "Sheen Weight": 0.25, "Sheen Roughness": 0.4,
    }))  # fmt: skip


def ribbing(n: Nodes) -> Value:
    """Heights, 0..1, by the attribute `ribs`."""
    return n.math("COSINE", n.attribute("ribs") * (2 * np.pi)).scaled(0.5, 0.5)


def jersey(colour: tuple[int, int, int]) -> Any:
    """A sweatshirt: a fabric too fine for single stitches; ribs where `border` is 1."""
    n = Nodes("jersey")
    ribs = ribbing(n)
    weave = n.noise(14.0, 4.0)
    height = n.mix(n.attribute("border"), weave, ribs)
    base = to_linear(np.array(colour) / 255)
    shade = n.mix(n.ramp(height, 0.1, 0.8), base * 0.78, base * 1.06)
    shade = n.mix(n.ramp(n.noise(0.6), 0.35, 0.65, 0, 0.15), shade, base * 1.25)
    return n.finish(n.add("BsdfPrincipled", {
        "Base Color": shade, "Roughness": 0.9, "Specular IOR Level": 0.2,
        "Normal": n.bump(height, 0.03, 0.5), "Sheen Weight": 0.2, "Sheen Roughness": 0.4,
    }))  # fmt: skip


def linen(colour: tuple[int, int, int]) -> Any:
    """A shirt: a fine weave, a little light comes through; a row of stitches where the attribute
    `stitched` is 1, an edge and two more rows where `placket` is 1 and above."""
    n = Nodes("linen")
    base = to_linear(np.array(colour) / 255)
    weave = n.noise(22.0, 3.0)
    shade = n.mix(n.ramp(weave, 0.3, 0.7), base * 0.92, base)
    seam = abs(n.attribute("stitched") - 1.0)
    along = n.coordinates(n.place("UV"))[0]
    stitch = n.math("SINE", along * 18.0).scaled(0.2, 0.8)
    seam = n.ramp(seam, 0.16, 0.04) * stitch
    # Its front: an edge, and the strip's stitches to both sides of the buttons.
    across = n.attribute("placket")
    for place, half in ((1.0, 0.09), (1.25, 0.05), (2.45, 0.05)):
        seam = seam.maximum(n.ramp(abs(across - place), half, 0.3 * half))
    shade = n.mix(seam * 0.45, shade, base * 0.55)
    normal = n.bump(n.noise(1.1, 2.0), 0.10, 0.6)
    normal = n.bump(1.0 - seam, 0.04, 0.8, normal)
    return n.finish(n.add("BsdfPrincipled", {
        "Base Color": shade, "Roughness": 0.8, "Specular IOR Level": 0.25,
        "Normal": n.bump(weave, 0.01, 0.4, normal), "Sheen Weight": 0.15,
        "Subsurface Weight": 0.25, "Subsurface Radius": (1.0, 1.0, 1.0), "Subsurface Scale": 0.1,
    }))  # fmt: skip


def button() -> Any:
    n = Nodes("button")
    return n.finish(n.add("BsdfPrincipled", {
        "Base Color": (0.70, 0.68, 0.64), "Roughness": 0.25, "Coat Weight": 0.5,
    }))  # fmt: skip


def pearl() -> Any:
    n = Nodes("pearl")
    return n.finish(n.add("BsdfPrincipled", {
        "Base Color": (0.78, 0.72, 0.66), "Roughness": 0.25, "Subsurface Weight": 0.4,
        "Subsurface Radius": (1.0, 0.8, 0.7), "Subsurface Scale": 0.1,
        "Coat Weight": 0.8, "Coat Roughness": 0.08, "Sheen Weight": 0.3,
    }))  # fmt: skip
