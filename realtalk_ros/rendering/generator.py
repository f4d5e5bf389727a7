# SPDX-License-Identifier: Apache-2.0
"""The renderer's networks at run time (ONNX Runtime).

An avatar's features are encoded once, when it is loaded (avatar_encoding.py). Each frame takes the
aligner, which turns moved landmarks into a sampling grid of the template, and the generator, which
of the warped template, the features and the map of the mouth draws the mouth and what else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from realtalk_ros import cpu_provider, onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import (
    ALIGNER_FILE,
    CROP_SIZE,
    GENERATOR_BASES,
    GENERATOR_FILE,
    GENERATOR_HALF_FILE,
    GENERATOR_OUTPUTS,
    MOUTH_CROP,
    RENDERER_FORMATS,
    mouth_crop,
)
from realtalk_ros.errors import ModelError
from realtalk_ros.rendering.avatar_encoding import EncodedAvatars, encode_avatars, reference_images
from realtalk_ros.rendering.binding import Binding
from realtalk_ros.rendering.cheeks import Cheeks
from realtalk_ros.rendering.common.channels import depth_to_space, space_to_depth
from realtalk_ros.rendering.common.generated_face import (
    GeneratedFace,
    Lids,
    MovedCheek,
    SeenEyeball,
)
from realtalk_ros.rendering.common.template_landmarks import template_landmarks
from realtalk_ros.rendering.eyes.eyes import draw_visibility, warp_eyes
from realtalk_ros.rendering.geometry import FrameEyes, Geometry
from realtalk_ros.rendering.helper import HELPER, beside, take_up_deferred
from realtalk_ros.rendering.mouth.chin_skin import spread_stretch
from realtalk_ros.rendering.mouth.lip_shadow import MouthOpening
from realtalk_ros.rendering.mouth.mouth_model import LookName
from realtalk_ros.rendering.mouth.mouth_tables import MouthTables
from realtalk_ros.rendering.mouth.oral_cavity import SMILE, MouthLight, OralCavity, look_of
from realtalk_ros.rendering.mouth.softness import softness
from realtalk_ros.rendering.mouth.tooth_relief import tooth_relief
from realtalk_ros.rendering.own_teeth import TeethPicture, above_edge
from realtalk_ros.rendering.retouching import Retouching
from realtalk_ros.rendering.sampling_grid import sampling_grid, warp

HOW_TO_RENEW = "run `realtalk train renderer --avatar` again, or remove it"
MOUTH = mouth_crop()
ShownEyes = tuple[Lids | None, list[SeenEyeball]]
WARPED = ("warped_quarter", "warped_mouth")  # inputs of the generator, see training's export.py


@dataclass(frozen=True)
class FaceInputs:
    """What a face is drawn on: the indices of an avatar, of its template and of its reference."""

    avatar: int
    template: int
    reference: int


class Generator:
    """The network that runs for each frame, and the encoded features of some avatars.

    The features are on the device (the CPU's memory or the GPU's) once, and so are the inputs and
    outputs of every batch size that was used: no run allocates or copies what it need not.
    An avatar that was fine-tuned brings a generator of its own, so it cannot share one with others.
    `threads`: one of them is the helper's (helper.py), the others are the network's.
    `encoder_threads` are those of the encoder, which runs here once for each template.
    Raises ModelError for broken network files and for avatars that cannot share a generator.
    """

    def __init__(
        self,
        avatars: Sequence[Avatar],
        providers: Sequence[str] | None = None,
        threads: int = 2,
        model_dir: Path | None = None,
        encoder_threads: int | None = None,
    ):
        folder = model_dir or onnx_session.MODEL_DIR
        own_folder = common_generator_folder(avatars)
        self._on_gpu = bool(providers and providers[0] != "CPUExecutionProvider")
        # The helper's thread begins the image while the network runs.
        self._open_generator(own_folder or folder, folder, providers, max(threads - 1, 1))
        self._aligner = onnx_session.session(folder / ALIGNER_FILE)
        self._count_rows(avatars)
        teeth = [TeethPicture.of(avatar) for avatar in avatars]
        encoded = encode_avatars(avatars, folder, providers, encoder_threads or threads, teeth)
        looks = [look_of(a, enamel) for a, enamel in zip(avatars, encoded.enamel, strict=True)]
        self.geometry = [
            Geometry(
                avatar.identity,
                template_landmarks(avatar),
                resting_weights=avatar.resting_weights,
                look=look,
                longer=shown.longer if shown else 0.0,
                as_people=look == "lifelike",
            )
            for avatar, look, shown in zip(avatars, looks, teeth, strict=True)
        ]
        self._retouching = [
            Retouching(avatar, geometry, shown)
            for avatar, geometry, shown in zip(avatars, self.geometry, teeth, strict=True)
        ]
        # Of drawings and machines nobody knows how their cheeks move.
        self._cheeks = [
            Cheeks.of(avatar, geometry) if look == "lifelike" else None
            for avatar, geometry, look in zip(avatars, self.geometry, looks, strict=True)
        ]
        # Whether each avatar wears glasses; None where that is not known.
        self.glasses = [cheeks.glasses if cheeks else None for cheeks in self._cheeks]
        self._templates = [cv2.cvtColor(t, cv2.COLOR_BGR2BGRA) for t in encoded.templates]
        self._landmarks = encoded.landmarks
        self._move_to_device(encoded.features)
        self._bindings = {count: self._bind(count) for count in {1, len(avatars)}}
        for k, look in enumerate(looks):
            self._retouching[k].cavity = self._cavity(k, look, encoded)
        # By batch size: what was asked for the last time, and what came of it.
        self._last: dict[int, tuple[np.ndarray, list[FaceInputs], list[GeneratedFace]]] = {}

    def _cavity(self, k: int, look: LookName, encoded: EncodedAvatars) -> OralCavity | None:
        """The light in the k-th avatar's mouth. Its own generator has learned that, the bundled one
        has not."""
        templates = range(len(self.geometry[k].template_landmarks))
        if look == "plain":
            return None
        if look == "shaded":
            return OralCavity(MouthTables.of_machine(len(templates)))
        face = self._run(SMILE[None], [FaceInputs(k, 0, 0)])[0]
        mouth = self.geometry[k].mouth
        across = np.stack([mouth.across_teeth(t) for t in templates])
        relief = np.stack([tooth_relief(*mouth.upper_teeth(t)) for t in templates])
        smile = face.mouth_interior[MOUTH], face.mouth
        rows = slice(*self._first_pair[k : k + 2])
        soft = softness(self._templates[rows], self._landmarks[rows])
        tables = MouthTables.of_person(encoded.flesh[k], encoded.enamel[k], smile, across)
        above = np.stack([above_edge(self.geometry[k], t)[MOUTH] for t in templates])
        return OralCavity(tables, relief, soft, above)

    def _open_generator(
        self, own_folder: Path, folder: Path, providers: Sequence[str] | None, threads: int
    ) -> None:
        """Opens the generator of `own_folder`; the other networks are those of `folder`."""
        self._half = self._on_gpu and (own_folder / GENERATOR_HALF_FILE).is_file()
        path = own_folder / (GENERATOR_HALF_FILE if self._half else GENERATOR_FILE)
        if not self._on_gpu:
            providers = cpu_provider.fastest(path, threads, faces=1)
        self._open = partial(onnx_session.session, path, providers, threads)
        self._single = self._open(faces=1)
        check_generator(self._single, path, folder)

    @property
    def provider(self) -> str:
        """What of ONNX Runtime runs the generator."""
        return str(self._single.get_providers()[0])

    def _count_rows(self, avatars: Sequence[Avatar]) -> None:
        """Finds each avatar's first row in the features. An avatar has a row for each pair of
        reference and template, reference by reference, and one for each reference alone."""
        references = [len(reference_images(avatar)) for avatar in avatars]
        pairs = [n * len(avatar.templates) for n, avatar in zip(references, avatars, strict=True)]
        self._first_pair = np.cumsum([0, *pairs])
        self._first_reference = np.cumsum([0, *references])

    def _move_to_device(self, features: Mapping[str, np.ndarray]) -> None:
        dtype, device = np.float16 if self._half else np.float32, "cuda" if self._on_gpu else "cpu"
        self._features = {
            name: ort.OrtValue.ortvalue_from_numpy(values.astype(dtype, copy=False), device)
            for name, values in features.items()
        }

    def _bind(self, count: int) -> _Batch:
        aligner = Binding(self._aligner, count)
        session = self._single if count == 1 else self._open()
        shared = {"alignment_features": aligner.outputs["alignment_features"]}
        return _Batch(aligner, Binding(session, count, self._on_gpu, self._features, shared))

    def run(
        self,
        weights: np.ndarray,
        faces: Sequence[FaceInputs],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> list[GeneratedFace]:
        """Renders B faces at weights (B, 52). No network runs for what was rendered last, as for
        faces at rest. `meanwhile` is called just before the generator: earlier, where most is
        Python, the helper would be in the way."""
        count = len(weights)
        last = self._last.pop(count, None)  # nothing is kept of a run that fails
        if last is None or last[1] != list(faces) or not np.array_equal(last[0], weights):
            last = weights.copy(), list(faces), self._run(weights, faces, meanwhile)
        else:
            meanwhile()
        self._last[count] = last
        return last[2]

    def _run(
        self,
        weights: np.ndarray,
        faces: Sequence[FaceInputs],
        meanwhile: Callable[[], object] = lambda: None,
    ) -> list[GeneratedFace]:
        count = len(weights)
        if count not in self._bindings:
            self._bindings[count] = self._bind(count)
        batch = self._bindings[count]
        geometries = [self.geometry[face.avatar] for face in faces]
        rows = [self._pair_row(face) for face in faces]
        moved = [
            geometry.target_landmarks(w, face.template)
            for geometry, w, face in zip(geometries, weights, faces, strict=True)
        ]
        templates = [self._templates[row] for row in rows]
        for geometry, face, picture in zip(geometries, faces, templates, strict=True):
            geometry.look_at(face.template, picture)
        batch.aligner.set_inputs(template_landmarks=self._landmarks[rows], target_landmarks=moved)
        aligned = HELPER.submit(batch.aligner.run)
        take_up_deferred()  # the helper has little to do until `meanwhile`
        for k, interior in enumerate(batch.interiors):
            geometries[k].draw_mouth(weights[k], faces[k].template, interior)
        moving = [
            geometry.eyes(w, face.template, CROP_SIZE)
            for geometry, w, face in zip(geometries, weights, faces, strict=True)
        ]
        for (_, known), interior in zip(moving, batch.interiors, strict=True):
            draw_visibility(known, interior)
        aligned.result()
        # In this thread: beside the map's many short calls each would wait for Python's lock.
        batch.fill_inputs(templates, moved)
        eyes = [eyes for eyes, _ in moving]
        lids = beside(partial(show_eyes, eyes, batch.sampling_grids))
        shown = zip(geometries, moved, faces, strict=True)
        openings = [
            geometry.mouth_opening(points, face.template) for geometry, points, face in shown
        ]
        lights = beside(partial(self._light_mouths, weights, faces, batch.interiors, openings))
        references = [self._first_reference[face.avatar] + face.reference for face in faces]
        meanwhile()
        # The network knows no weights below 0; only the warp follows them.
        batch.generator.set_inputs(
            weights=np.maximum(weights, 0), template_index=rows, reference_index=references
        )
        batch.generator.run()
        cheeks = [self._moved_cheeks(*one) for one in zip(weights, moved, faces, strict=True)]
        made = batch.faces(lids(), cheeks)
        drawn_faces = zip(weights, faces, made, lights(), openings, strict=True)
        for w, face, drawn, light, opening in drawn_faces:
            self._retouching[face.avatar].apply(drawn, w, face.template, light, opening)
        return made

    def _light_mouths(
        self,
        weights: np.ndarray,
        faces: Sequence[FaceInputs],
        interiors: np.ndarray,
        openings: Sequence[MouthOpening],
    ) -> list[MouthLight | None]:
        """The light in each mouth, by the maps of their interiors; None: as it is drawn."""
        return [
            self._retouching[face.avatar].light_in_mouth(w, interior[MOUTH], face.template, opening)
            for w, face, interior, opening in zip(weights, faces, interiors, openings, strict=True)
        ]

    def _moved_cheeks(
        self, weights: np.ndarray, points: np.ndarray, face: FaceInputs
    ) -> list[MovedCheek]:
        cheeks = self._cheeks[face.avatar]
        return cheeks.moved(weights, points, face.template) if cheeks is not None else []

    def _pair_row(self, face: FaceInputs) -> int:
        templates = len(self.geometry[face.avatar].template_landmarks)
        return int(self._first_pair[face.avatar]) + face.reference * templates + face.template


class _Batch:
    """What B faces are made in; every run overwrites it, but not what `faces` returned."""

    def __init__(self, aligner: Binding, generator: Binding):
        self.aligner, self.generator = aligner, generator
        count = len(aligner.outputs["movement"])
        self.sampling_grids: list[np.ndarray] = []  # new ones in each run
        self.interiors = np.zeros((count, CROP_SIZE, CROP_SIZE, 3), np.uint8)
        self._warped = np.zeros((count, CROP_SIZE, CROP_SIZE, 4), np.uint8)

    def fill_inputs(self, templates: Sequence[np.ndarray], moved: Sequence[np.ndarray]) -> None:
        """Those of the generator, by what the aligner has found, and maps: templates (256, 256, 4)
        uint8 are warped to where their landmarks, (68, 2) each, are `moved`. Around the eyes that
        is not quite what is shown: the network knows them by the map."""
        movements = self.aligner.outputs["movement"]
        spread_stretch(movements, moved)
        self.sampling_grids = [sampling_grid(movement) for movement in movements]
        for k, (template, grid) in enumerate(zip(templates, self.sampling_grids, strict=True)):
            images = warp(template, grid, self._warped[k]), self.interiors[k]
            fill_inputs(*images, *(self.generator.inputs[name][k] for name in WARPED))

    def faces(
        self, eyes: Sequence[ShownEyes], cheeks: Sequence[list[MovedCheek]]
    ) -> list[GeneratedFace]:
        """What came of the run, with the eyes and cheeks of each face."""
        change, mask, mouths = (self.generator.outputs[name] for name in GENERATOR_OUTPUTS)
        side = MOUTH_CROP[2]
        return [
            GeneratedFace(
                change=cv2.merge(list(change[k])),
                mask=mask[k].copy(),
                mouth=depth_to_space(mouths[k], np.empty((side, side, 3), np.uint8)),
                warped_mouth=cv2.cvtColor(self._warped[k][MOUTH], cv2.COLOR_BGRA2BGR),
                mouth_interior=self.interiors[k].copy(),
                sampling_grid=self.sampling_grids[k],
                lids=eyes[k][0],
                eyeballs=eyes[k][1],
                cheeks=cheeks[k],
            )
            for k in range(len(eyes))
        ]


def show_eyes(eyes: Sequence[FrameEyes], sampling_grids: list[np.ndarray]) -> list[ShownEyes]:
    """Moves each face's eyes in its sampling grid. Returns the lids and eyeballs over it."""
    return [
        (warp_eyes(one.patches, grid), [p.eyeball for p in one.patches if p.eyeball])
        for one, grid in zip(eyes, sampling_grids, strict=True)
    ]


def common_generator_folder(avatars: Sequence[Avatar]) -> Path | None:
    """The folder of the avatars' own generator; None where they use the bundled one. Raises
    ModelError where they differ."""
    folders = {avatar.generator for avatar in avatars}
    if len(folders) != 1:
        raise ModelError(
            "avatars with generators of their own cannot share one: load them one by one"
        )
    return folders.pop()


def check_generator(session: ort.InferenceSession, path: Path, folder: Path) -> None:
    """Raises ModelError for a generator of another format, or one that was not trained with the
    encoder and aligner of `folder`."""
    metadata = onnx_session.metadata(session)
    mend = onnx_session.how_to_restore(path) if path.parent == folder else HOW_TO_RENEW
    if metadata.get("realtalk.format") != RENDERER_FORMATS[GENERATOR_FILE]:
        raise ModelError(
            f"model file {path} has format {metadata.get('realtalk.format')}, this reads "
            f"{RENDERER_FORMATS[GENERATOR_FILE]}: {mend}"
        )
    for name, file in GENERATOR_BASES.items():
        onnx_session.check_made_for(session, path, name, folder / file, mend)


def fill_inputs(
    warped: np.ndarray, interior: np.ndarray, quarter: np.ndarray, mouth: np.ndarray
) -> None:
    """Writes a warped template (256, 256, 3 or 4) and its map of the mouth's interior (256, 256, 3)
    uint8 to the generator's inputs `quarter` (64, 64, 6) and `mouth` (24, 64, 64) of one face."""
    for number, image in enumerate((warped, interior)):
        small = image
        for _ in range(2):  # OpenCV halves in a third of the time that a quarter takes
            half = len(small) // 2, len(small) // 2
            small = cv2.resize(small, half, interpolation=cv2.INTER_AREA)
        # OpenCV copies channels in a quarter of NumPy's time.
        cv2.mixChannels([small], [quarter], [k for c in range(3) for k in (c, 3 * number + c)])
        of_mouth = image[mouth_crop(len(image))][..., :3]
        space_to_depth(of_mouth, mouth[12 * number : 12 * number + 12])
