# SPDX-License-Identifier: Apache-2.0
"""`realtalk data portraits`: renders a sitter and writes an avatar of it.

People and the robot are path-traced with Blender; the drawn character needs neither Blender nor
textures. People's skin, iris and eye's white are photographic textures of CharMorph's character
Reom (CC BY), which you fetch once into a folder, --sources:

    git clone --filter=blob:none --sparse https://github.com/Upliner/CharMorph-db SOURCES
    git -C SOURCES sparse-checkout set characters/reom/textures/4K

Pictures are kept in --work as linear light (OpenEXR); one that is there is not rendered again, so
an interrupted call goes on where it was. `pip install '.[train,portraits]'` for Blender's bpy
(Python 3.11).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from realtalk_ros.avatar import image_decoding
from realtalk_ros.enroll.srgb import to_linear, to_srgb
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import face_square
from realtalk_ros.output import picture_file
from realtalk_ros.rendering.geometry import Geometry
from realtalk_ros.training.common.facekit import FaceKit
from realtalk_ros.training.portraits import ageing, drawn, garments, old_age, shut_eyes
from realtalk_ros.training.portraits.people import DRAWING, META, PEOPLE, PERSON, ROBOT, Sitter
from realtalk_ros.training.portraits.skin_maps import (
    IRIS,
    SKINS,
    WHITE,
    SkinPainter,
)
from realtalk_ros.training.synthetic.make_avatar import (
    REFERENCE_WEIGHTS,
    own_expressions,
    write_files,
)
from realtalk_ros.training.synthetic.view import View
from realtalk_ros.whole_files import check_can_write

SIZE = 1024  # pixels of a picture
SIZES = (512, SIZE)  # of a template
SQUARE = (256, 236, 512)  # x, y, side: the face's square in a picture, pixels
# The same as `zoomed` takes it.
SQUARE_PART = tuple((SQUARE[k] + SQUARE[2] / 2) / SIZE for k in range(2)) + (SQUARE[2] / SIZE,)
CROP = 256  # pixels of a reference, the face's square
DISTANCE = 150.0  # cm from the camera: that of a portrait lens, which keeps proportions
EYES = 3.6  # cm, y of the camera on the face model's head: at the height of the eyes
# The first is the template; the others are references, with ARKit weights beyond rest.
EXPRESSIONS = {
    "rest": arkit.weights(),
    "parted": REFERENCE_WEIGHTS,
    "ah": arkit.weights(jawOpen=0.52, mouthUpperUp=0.14, mouthLowerDown=0.22, mouthStretch=0.04),
    "ee": arkit.weights(jawOpen=0.14, mouthSmile=0.34, mouthUpperUp=0.26, mouthLowerDown=0.34,
                        mouthStretch=0.22),
    "oo": arkit.weights(jawOpen=0.20, mouthFunnel=0.42, mouthPucker=0.34),
}  # fmt: skip
# And with shut eyes, of a drawing, whose lids are no skin that rendering/eyes/eyelids.py could
# paint.
WITH_SHUT_EYES = {**EXPRESSIONS, "shut": arkit.weights(eyeBlink=1.0)}
TEXTURES = (*SKINS, IRIS, WHITE)
KNEE = 0.45  # linear light up to which the film is proportional
GRAIN = 0.8  # of 255, of the film: banding and the denoiser's smoothness show less


def frame_view(kit: FaceKit, rest: np.ndarray) -> View:
    """Of the whole frame, in which the face `rest` (V, 3) fills SQUARE."""
    view = View(distance=DISTANCE, shift=(0.0, -EYES, 0.0))
    x, y, side = face_square(view.plane(rest[kit.landmarks]))
    frame, left, top = side * SIZE / SQUARE[2], SQUARE[0] / SIZE, SQUARE[1] / SIZE
    centre = (x - side / 2 + (0.5 - left) * frame, y + side / 2 - (0.5 - top) * frame)
    return replace(view, crop=(*centre, frame, 0.0))


def develop(light: np.ndarray, sitter: Sitter) -> np.ndarray:
    """(H, W, 4) uint8 BGR and alpha of a render (H, W, 4), before the sitter's backdrop."""
    height, width = light.shape[:2]
    colour, alpha = light[..., :3] * 2.0**sitter.exposure, np.clip(light[..., 3:], 0, 1)
    film = exposed(colour) + (1 - alpha) * backdrop(height, width, sitter)
    srgb = to_srgb(film)
    srgb = srgb + sitter.contrast * np.sin(2 * np.pi * (srgb - 0.5)) / (2 * np.pi)
    grain = np.random.default_rng(sitter.seed).normal(0, GRAIN, (height, width, 1))
    grain = cv2.GaussianBlur(grain, (0, 0), 0.6)[..., None]
    return with_alpha(srgb * 255 + grain, alpha)


def inked(drawing: np.ndarray, sitter: Sitter) -> np.ndarray:
    """(H, W, 4) uint8 BGR and alpha of a drawing (H, W, 4), premultiplied sRGB, before the
    sitter's backdrop."""
    wall = to_srgb(backdrop(*drawing.shape[:2], sitter))
    page = drawing[..., :3] + (1 - drawing[..., 3:]) * wall
    return with_alpha(page * 255, drawing[..., 3:])


def with_alpha(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 BGR and alpha of sRGB of 255 and alpha (H, W, 1) of 1."""
    both = np.concatenate([rgb[..., ::-1], alpha * 255], -1)
    return np.clip(both + 0.5, 0, 255).astype(np.uint8)


def cut_out(image: np.ndarray, sitter: Sitter) -> np.ndarray:
    """(H, W, 4) uint8 BGR and straight alpha of a developed picture, without the backdrop that
    shines through its hair and edges."""
    share = image[..., 3:].astype(np.float32) / 255
    wall = to_srgb(backdrop(*image.shape[:2], sitter))[..., ::-1] * 255
    own = (image[..., :3] - (1 - share) * wall) / np.maximum(share, 1 / 255)
    own = np.clip(own + 0.5, 0, 255).astype(np.uint8)
    return np.where(share > 0, np.dstack([own, image[..., 3]]), 0).astype(np.uint8)


def exposed(light: np.ndarray) -> np.ndarray:
    """What film makes of linear light (..., 3): proportional up to KNEE, then an ever flatter
    shoulder. Half of it follows the strongest colour: bright skin would turn yellow, as its red
    reaches the shoulder first."""
    strongest = np.maximum(light.max(-1, keepdims=True), 1e-6)
    kept = light * (shoulder(strongest) / strongest)
    return 0.5 * shoulder(light) + 0.5 * kept


def shoulder(light: np.ndarray) -> np.ndarray:
    over = np.maximum(light - KNEE, 0) / (1 - KNEE)
    return np.minimum(light, KNEE) + (1 - KNEE) * (1 - np.exp(-over))


def backdrop(height: int, width: int, sitter: Sitter) -> np.ndarray:
    """(H, W, 3) linear: a wall, lit behind the head."""
    near, far = (to_linear(np.array(colour) / 255) for colour in sitter.backdrop)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    glow = np.exp(-((x / width - 0.56) ** 2 + 0.8 * (y / height - 0.40) ** 2) / 0.13)[..., None]
    return far + (near - far) * glow


def write_maps(folder: Path, kit: FaceKit, sources: Path, sitter: Sitter) -> dict[str, str]:
    """The skin's textures as files: name to path."""
    made = SkinPainter(kit, sources).paint(sitter)
    return written(folder, {
        "albedo": to_srgb(made.albedo)[..., ::-1], "lips": made.lips, "gloss": made.gloss,
    }) | written(folder, {"height": made.height, "folds": made.folds}, deep=True)  # fmt: skip


def written(folder: Path, arrays: dict[str, np.ndarray], deep: bool = False) -> dict[str, str]:
    """Arrays of 0..1 as PNG of 8 bits, or of 16 if `deep`: name to path."""
    folder.mkdir(parents=True, exist_ok=True)
    full, kind = (65535, np.uint16) if deep else (255, np.uint8)
    paths = {name: str(folder / f"{name}.png") for name in arrays}
    for name, array in arrays.items():
        pixels = np.round(np.clip(array, 0, 1) * full).astype(kind)
        picture_file.save(Path(paths[name]), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return paths


def sit(kit: FaceKit, sources: Path, work: Path, sitter: Sitter):
    """The sitter ready for studio.py: its textures painted, its hair grown."""
    from realtalk_ros.training.portraits import anatomy, robot, short_hair, strands, studio
    from realtalk_ros.training.synthetic import clothing
    from realtalk_ros.training.synthetic.traits import Traits

    rng = np.random.default_rng(sitter.seed)
    head = rest_head(kit, sitter)
    if sitter.kind == ROBOT:
        bust = clothing.shoulders(
            Traits(collar=0.2), sitter.broad, kit, head, rings=robot.BUST_RINGS
        )
        plain = robot.designed(kit, head)
        maps = written(work / "maps", robot.depth_maps(kit, plain - head), deep=True)
        return studio.Person(
            kit=kit, sitter=sitter, head=plain, hair=None, body=bust, maps=maps, sources=sources
        )
    worn = garments.clothes(kit, head, sitter)
    head = ageing.aged(kit, head, sitter.age)
    head = old_age.sunk(kit, head, sitter.old)
    if sitter.hair.style in short_hair.STYLES:
        hair = short_hair.STYLES[sitter.hair.style](kit, head, sitter.hair, rng)
    else:
        slim = anatomy.slimmed(head, sitter.slim_neck)
        around = strands.surroundings(kit, slim, garments.outside(worn))
        hair = strands.grow(kit, head, sitter.hair, around, rng)
    return studio.Person(
        kit=kit,
        sitter=sitter,
        head=head,
        hair=hair,
        body=None,
        clothes=worn,
        maps=write_maps(work / "maps", kit, sources, sitter),
        sources=sources,
    )


def rendered(
    args: argparse.Namespace, kit: FaceKit, sitter: Sitter, names: list[str]
) -> dict[str, np.ndarray]:
    """The expressions' pictures (H, W, 4) of linear light, of SIZE at rest, else of CROP; renders
    those that lack."""
    from realtalk_ros.training.portraits import studio

    args.work.mkdir(parents=True, exist_ok=True)
    person, lights = None, {}
    for name in names:
        if args.preview:
            path = args.work / "preview.exr"
            path.unlink(missing_ok=True)
        else:
            path = args.work / f"{name}.exr"
        if not path.is_file():
            person = person or sit(kit, args.sources, args.work, sitter)
            part, size = part_and_size(args, name, SIZE)
            view = zoomed(frame_view(kit, rest_head(kit, sitter)), part)
            studio.build(person, WITH_SHUT_EYES[name], DISTANCE)
            effort = studio.Effort(args.samples, args.threads, args.minutes)
            studio.render(path, view, size, effort, sitter)
        lights[name] = studio.read(path)
    return lights


def pictures(
    args: argparse.Namespace, kit: FaceKit, sitter: Sitter, names: list[str]
) -> dict[str, np.ndarray]:
    """The expressions' developed pictures, uint8 BGR and alpha: the template of args.size, the
    others of CROP; with args.preview of that size."""
    if sitter.kind != DRAWING:
        lights = rendered(args, kit, sitter, names)
        if "rest" in lights and not args.preview:
            lights["rest"] = reduced(lights["rest"], args.size)
        return {name: develop(light, sitter) for name, light in lights.items()}
    frame = frame_view(kit, rest_head(kit, sitter))
    images = {}
    for name in names:
        part, size = part_and_size(args, name, args.size)
        view = zoomed(frame, part)
        drawing = drawn.picture(kit, sitter, WITH_SHUT_EYES[name], view, size)
        images[name] = inked(drawing, sitter)
    return images


def part_and_size(
    args: argparse.Namespace, name: str, whole: int
) -> tuple[Sequence[float] | None, int]:
    """What of the frame an expression's picture shows, for `zoomed`, and its side in pixels: all of
    it in `whole` at rest, of a reference only the face's square; a preview what is asked for."""
    if args.preview:
        return args.zoom, args.preview
    return (None, whole) if name == "rest" else (SQUARE_PART, CROP)


def rest_head(kit: FaceKit, sitter: Sitter) -> np.ndarray:
    """(V, 3): the face model's head of the sitter at rest."""
    return kit.deform(kit.neutral(sitter.identity), sitter.resting)


def zoomed(view: View, part: Sequence[float] | None) -> View:
    """Of a frame the square at `part`: its middle's x and y from the left and top, its side."""
    if part is None:
        return view
    cx, cy, side, roll = view.crop
    x, y, share = part
    return replace(view, crop=(cx + (x - 0.5) * side, cy - (y - 0.5) * side, side * share, roll))


def reduced(light: np.ndarray, size: int) -> np.ndarray:
    """A picture of linear light at rest (SIZE, SIZE, 4) with a side of `size` pixels."""
    if size == len(light):
        return light
    return cv2.resize(light, (size, size), interpolation=cv2.INTER_AREA)


def write_avatar(out: Path, kit: FaceKit, sitter: Sitter, images: dict[str, np.ndarray]) -> None:
    """The avatar's folder (docs/avatars.md) of developed pictures, uint8 BGR and alpha: "rest" is
    the template, of one of SIZES, the references, and "shut" if it is there, are of CROP."""
    for folder in ("templates", "mattes"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    head = rest_head(kit, sitter)
    size = len(images["rest"])
    rest = frame_view(kit, head).pixels(head[kit.landmarks], size).astype(np.float32)
    x, y, side = (value * size // SIZE for value in SQUARE)
    names = [name for name in EXPRESSIONS if name != "rest"]
    weights = np.stack([EXPRESSIONS[name] for name in names]).astype(np.float32)
    geometry = Geometry(
        sitter.identity, ((rest - (x, y)) / side)[None], resting_weights=sitter.resting
    )
    arrays = {
        "identity": sitter.identity,
        "landmarks": rest[None],
        "resting_weights": sitter.resting,
        "reference_weights": weights,
        "reference_landmarks": np.stack([geometry.target_landmarks(w, 0) for w in weights]) * CROP,
        "reference_expressions": own_expressions(sitter.identity),
    }
    template, matte = "templates/000.jpg", "mattes/000.png"
    references = [f"{name}.png" for name in names]
    picture_file.save(out / template, images["rest"][..., :3], image_decoding.FINE_JPEG)
    for name in names:
        picture_file.save(out / f"{name}.png", images[name][..., :3])
    picture_file.save(out / matte, images["rest"][..., 3], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    shut = shut_eyes.picture(sitter, images, rest, (x, y, side))
    eyes = [] if shut is None else ["shut_eyes/000.jpg"]
    if shut is not None:
        (out / "shut_eyes").mkdir(exist_ok=True)
        picture_file.save(out / eyes[0], shut, image_decoding.FINE_JPEG)
    said, licence, provenance = META[sitter.kind]
    meta = {
        "name": out.name,
        "description": f"{sitter.description} {said}",
        "licence": licence,
        "provenance": provenance,
        "size": [size, size],
        "crop": [x, y, side],
        "reference": references[0],
        "references": references,
        "templates": [template],
        "mattes": [matte],
    }
    meta |= {"shut_eyes": eyes} if eyes else {}
    meta |= {"flat_mouth": drawn.FLAT_MOUTH} if sitter.kind == DRAWING else {}
    meta |= {"teeth": list(sitter.teeth)} if sitter.teeth else {}
    meta["temperament"] = sitter.temperament
    write_files(out, meta, arrays, [template, matte, *eyes, *references])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `realtalk data portraits`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = __doc__
    parser.add_argument("--name", choices=list(PEOPLE), default="mira", help="who")
    parser.add_argument(
        "--out", type=Path, help="avatar folder to write, which names it (default: portraits/NAME)"
    )
    parser.add_argument("--sources", type=Path, help="folder of the textures, for people")
    parser.add_argument("--work", type=Path, help="folder of renders (default: OUT.renders)")
    parser.add_argument("--samples", type=int, default=128, help="light paths a pixel")
    parser.add_argument("--minutes", type=float, default=0.0,
                        help="a picture may take, with fewer paths then (0: any)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--size", type=int, choices=SIZES, default=SIZE,
                        help="pixels of the template")  # fmt: skip
    parser.add_argument("--preview", type=int, metavar="PIXELS",
                        help="only a small picture of that size, OUT.png")  # fmt: skip
    parser.add_argument("--expression", choices=list(WITH_SHUT_EYES), default="rest",
                        help="that --preview shows")  # fmt: skip
    parser.add_argument("--zoom", type=float, nargs=3, metavar=("X", "Y", "SHARE"),
                        help="the part of the frame that --preview shows")  # fmt: skip
    parser.add_argument("--facekit", type=Path, help="ict_facekit.npz (default: $REALTALK_FACEKIT)")


def run(args: argparse.Namespace) -> None:
    """`realtalk data portraits`."""
    sitter, kit = PEOPLE[args.name], FaceKit.load(args.facekit)
    args.out = args.out or Path("portraits") / args.name
    args.work = args.work or args.out.with_name(f"{args.out.name}.renders")
    needed = TEXTURES if sitter.kind == PERSON else ()
    if needed and not args.sources:
        raise RealTalkError("give --sources: realtalk data portraits --help says how to get them")
    for texture in needed:
        if not (args.sources / texture).is_file():
            raise RealTalkError(
                f"{args.sources} lacks {texture}: realtalk data portraits --help says how to get it"
            )
    if args.preview:
        path = args.out.with_name(f"{args.out.name}.png")
        check_can_write(path)
        image = pictures(args, kit, sitter, [args.expression])[args.expression]
        picture_file.save(path, image[..., :3])
        return
    shown = WITH_SHUT_EYES if sitter.kind == DRAWING else EXPRESSIONS
    images = pictures(args, kit, sitter, list(shown))
    write_avatar(args.out, kit, sitter, images)
    path = args.out.with_name(f"{args.out.name}_cutout.png")
    picture_file.save(path, cut_out(images["rest"], sitter))
    print(f"{args.out}: an avatar of {len(EXPRESSIONS) - 1} references at {args.size} pixels")
