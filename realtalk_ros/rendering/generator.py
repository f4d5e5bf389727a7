"""The renderer's networks at run time (ONNX Runtime): an avatar's features once, a crop a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import onnxruntime as ort

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import (
    ALIGNER_FILE,
    CROP_SIZE,
    ENCODER_FILE,
    GENERATOR_FILE,
    GENERATOR_HALF_FILE,
    OF_PERSON,
    RENDERER_FORMATS,
)
from realtalk_ros.errors import ModelError, NetworkError
from realtalk_ros.rendering.geometry import Geometry, resting

HOW_TO_RENEW = "run `realtalk train renderer --avatar` again, or remove it"


class Generator:
    """The network that runs for each frame, and the features of some avatars' templates.

    The features lie on the device (the CPU's memory or the GPU's) once, and so do the inputs and
    outputs of every batch size that was asked for: no run allocates or copies what it need not.
    An avatar that was fine-tuned brings its own generator, so it cannot share one with others.
    `encoder_threads` are those of the encoder, which runs here once for each template.
    Raises ModelError for broken network files and for avatars that cannot be together.
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
        own = {avatar.generator for avatar in avatars}
        if len(own) != 1:
            raise ModelError(
                "avatars with generators of their own cannot share one: load them one by one"
            )
        place = own.pop() or folder
        on_gpu = bool(providers) and providers[0] != "CPUExecutionProvider"
        half = on_gpu and (place / GENERATOR_HALF_FILE).is_file()
        name = GENERATOR_HALF_FILE if half else GENERATOR_FILE
        self._open = partial(onnx_session.session, place / name, providers, threads)
        self._alone = self._open(faces=1)
        about = onnx_session.metadata(self._alone)
        mend = onnx_session.HOW_TO_RESTORE if place == folder else HOW_TO_RENEW
        if about.get("realtalk.format") != RENDERER_FORMATS[GENERATOR_FILE]:
            raise ModelError(
                f"model file {place / name} has format {about.get('realtalk.format')}, this reads "
                f"{RENDERER_FORMATS[GENERATOR_FILE]}: {mend}"
            )
        for part, file in (("encode", ENCODER_FILE), ("align", ALIGNER_FILE)):
            if about.get(f"realtalk.{part}") != onnx_session.sha256(folder / file):
                raise ModelError(f"{place / name} does not belong to {folder / file}: {mend}")
        # Rows of the banks: an avatar's templates with its first reference, with the next ...
        counts = [len(textures(avatar)) for avatar in avatars]
        rows = [n * len(avatar.templates) for n, avatar in zip(counts, avatars, strict=True)]
        self._first, self._first_reference = np.cumsum([0, *rows]), np.cumsum([0, *counts])
        self._on_gpu, device = on_gpu, "cuda" if on_gpu else "cpu"
        self.geometry = [
            # A generator of one's own has learned how dark his mouth is; the installed one has not.
            Geometry(
                avatar.identity,
                resting(avatar),
                base=avatar.resting_weights,
                shaded=place == folder,
            )
            for avatar in avatars
        ]
        self._aligner = onnx_session.session(folder / ALIGNER_FILE, threads=threads)
        self._frames, self._rest, bank = encode(
            avatars, folder, providers, encoder_threads or threads
        )
        number = np.float16 if name == GENERATOR_HALF_FILE else np.float32
        self._bank = {
            key: ort.OrtValue.ortvalue_from_numpy(values.astype(number, copy=False), device)
            for key, values in bank.items()
        }
        self._drawn = np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8)
        self._bound = {count: self._bind(count) for count in {1, len(avatars)}}

    def run(
        self, weights: np.ndarray, shown: Sequence[FaceInputs]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weights (B, 52) and what they shall be shown on -> face crops (B, 256, 256, 3) uint8 BGR
        and masks (B, 256, 256) in 0..1. Both are overwritten by the next run of B faces."""
        count = len(weights)
        if count not in self._bound:
            self._bound[count] = self._bind(count)
        aligner, generator, pictures = self._bound[count]
        faces = [self.geometry[s.person] for s in shown]
        rows = [
            self._first[s.person] + s.reference * len(face.rest) + s.template
            for s, face in zip(shown, faces, strict=True)
        ]
        points = [f.points(w, s.template) for f, w, s in zip(faces, weights, shown, strict=True)]
        aligner.run(rest=self._rest[rows], points=points)
        for k, places in enumerate(aligner.outputs["places"]):
            drawn, of_face = self._drawn, (weights[k], shown[k].template)
            faces[k].inside(*of_face, drawn)
            faces[k].lay_eyes(*of_face, places, drawn)
            space_to_depth(drawn, generator.inputs["inside"][k])
            warp(self._frames[rows[k]], places, drawn)
            space_to_depth(drawn, generator.inputs["aligned"][k])
        people = [self._first_reference[s.person] + s.reference for s in shown]
        generator.run(weights=weights, template=rows, person=people)
        for planes, picture in zip(generator.outputs["picture"], pictures, strict=True):
            depth_to_space(planes, picture)
        return pictures, generator.outputs["mask"]

    def _bind(self, count: int) -> tuple[Binding, Binding, np.ndarray]:
        aligner = Binding(self._aligner, count)
        session = self._alone if count == 1 else self._open()
        shared = {"told": aligner.outputs["told"]}
        pictures = np.zeros((count, CROP_SIZE, CROP_SIZE, 3), np.uint8)
        return aligner, Binding(session, count, self._on_gpu, self._bank, shared), pictures


@dataclass(frozen=True)
class FaceInputs:
    """What a face is drawn on: numbers of the avatar, and of its template and reference."""

    person: int
    template: int
    reference: int


def warp(template: np.ndarray, places: np.ndarray, to: np.ndarray | None = None) -> np.ndarray:
    """A template's crop (S, S, 3) uint8 with its pixels from `places` (S, S, 2), written to `to`
    if that is given."""
    return cv2.remap(template, places, None, cv2.INTER_LINEAR, to, cv2.BORDER_REPLICATE)


def most_visible(tones: np.ndarray) -> np.ndarray:
    """(1, 8), of (K, 8) that references tell of one person's mouth (training/renderer/model.py's
    `bared`): enamel's and flesh's colours as the one tells them that shows the most. A mouth that
    shuts does not change its teeth."""
    enamel, flesh = tones[:, 6:].argmax(0)
    parts = tones[enamel, :3], tones[flesh, 3:6], tones[[enamel, flesh], [6, 7]]
    return np.concatenate(parts)[None]


def space_to_depth(picture: np.ndarray, to: np.ndarray) -> np.ndarray:
    """A picture (S, S, 3) as the generator takes it, (12, S/2, S/2): the pixels of each square of
    four beside each other. Written to `to`, which is returned. (In its graph, ONNX Runtime takes
    ten times as long for it.)"""
    half = to.shape[-1]
    squares = picture.reshape(half, 2, half, 2, 3).transpose(4, 1, 3, 0, 2)
    to.reshape(squares.shape)[:] = squares
    return to


def depth_to_space(planes: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The other way: (12, S/2, S/2) -> `to` (S, S, 3), which is returned."""
    half = planes.shape[-1]
    squares = planes.reshape(3, 2, 2, half, half).transpose(3, 1, 4, 2, 0)
    to.reshape(squares.shape)[:] = squares
    return to


class Binding:
    """Memory for the inputs and outputs of a session at one batch size, bound to it once.

    `bank` are inputs that lie on the device, `shared` are inputs that another binding writes.
    """

    TYPES = {"tensor(float)": np.float32, "tensor(uint8)": np.uint8, "tensor(int64)": np.int64}

    def __init__(
        self,
        session: ort.InferenceSession,
        count: int,
        on_gpu: bool = False,
        bank: Mapping[str, ort.OrtValue] = MappingProxyType({}),
        shared: Mapping[str, np.ndarray] = MappingProxyType({}),
    ):
        self._session, self._on_gpu, self._binding = session, on_gpu, session.io_binding()
        for name, value in bank.items():
            self._binding.bind_ortvalue_input(name, value)
        self.inputs = {
            i.name: shared[i.name] if i.name in shared else self._zeros(i, count)
            for i in session.get_inputs()
            if i.name not in bank
        }
        self.outputs = {o.name: self._zeros(o, count) for o in session.get_outputs()}
        self._bind_inputs()
        # On the CPU an OrtValue of an array is that array's memory: outputs arrive where they are
        # read. From a GPU, ONNX Runtime copies them there.
        for name, array in self.outputs.items():
            self._binding.bind_ortvalue_output(name, ort.OrtValue.ortvalue_from_numpy(array))

    def _zeros(self, value: ort.NodeArg, count: int) -> np.ndarray:
        return np.zeros((count, *value.shape[1:]), self.TYPES[value.type])

    def _bind_inputs(self) -> None:
        for name, array in self.inputs.items():
            self._binding.bind_cpu_input(name, array)

    def run(self, **inputs: np.ndarray | Sequence[int]) -> None:
        """Takes those inputs that are not written in place. `outputs` are overwritten."""
        for name, values in inputs.items():
            self.inputs[name][:] = values
        if self._on_gpu:
            self._bind_inputs()  # copies them there
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime's own share no base class but this
            raise NetworkError(str(error).splitlines()[0]) from error


def textures(avatar: Avatar) -> tuple[np.ndarray, ...]:
    """The pictures from which an avatar's texture is taken."""
    return avatar.more_references or (avatar.reference_image,)


def references(avatar: Avatar) -> list[np.ndarray]:
    """Those, each with the map of its mouth's inside (mouth.py), which is 0 where nobody knows its
    landmarks: (256, 256, 6) uint8."""
    pictures = textures(avatar)
    maps = np.zeros((len(pictures), CROP_SIZE, CROP_SIZE, 3), np.uint8)
    if avatar.reference_landmarks is not None:
        weights = avatar.reference_weights
        places = avatar.reference_landmarks / CROP_SIZE
        geometry = Geometry(avatar.identity, places, weights, avatar.resting_weights)
        for k, image in enumerate(maps):
            geometry.inside(weights[k], k, image)
    return [np.concatenate(both, -1) for both in zip(pictures, maps, strict=True)]


def encode(
    avatars: Sequence[Avatar],
    folder: Path,
    providers: Sequence[str] | None,
    threads: int,
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """The templates' face crops (rows, 256, 256, 3) uint8 and landmarks (rows, 68, 2), once for
    every reference, and what the generator takes rows of: what the encoder finds in every template
    with every reference, name -> (rows, ...); and in every reference alone, name in OF_PERSON ->
    (references, ...)."""
    encoder = onnx_session.session(folder / ENCODER_FILE, providers, threads)
    names = [output.name for output in encoder.get_outputs()]
    rows: dict[str, list[np.ndarray]] = {name: [] for name in names}
    frames, places = [], []
    for avatar in avatars:
        x, y, side = avatar.crop
        crops = [np.ascontiguousarray(t[y : y + side, x : x + side]) for t in avatar.templates]
        if side != CROP_SIZE:
            size = (CROP_SIZE, CROP_SIZE)
            crops = [cv2.resize(crop, size, interpolation=cv2.INTER_AREA) for crop in crops]
        rest, seen_from = resting(avatar), references(avatar)
        for reference in seen_from:
            frames.append(np.stack(crops))
            places.append(rest)
            for number, crop in enumerate(crops):
                found = encoder.run(None, {"reference": reference, "template": crop})
                for name, value in zip(names, found, strict=True):
                    if number == 0 or name not in OF_PERSON:
                        rows[name].append(value)
        count = len(seen_from)
        rows["tones"][-count:] = [most_visible(np.concatenate(rows["tones"][-count:]))] * count
    bank = {name: np.concatenate(values) for name, values in rows.items()}
    return np.concatenate(frames), np.concatenate(places), bank
