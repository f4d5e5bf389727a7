# SPDX-License-Identifier: Apache-2.0
"""The renderer's networks at run time (ONNX Runtime).

An avatar's features are encoded once, when it is loaded (avatar_encoding.py). Each frame then takes
the aligner, which turns moved landmarks into a sampling grid of the template, and the generator,
which makes the face crop of the warped template, the features and the map of the mouth's interior.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

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
    RENDERER_FORMATS,
)
from realtalk_ros.errors import ModelError, NetworkError
from realtalk_ros.rendering.avatar_encoding import encode_avatars, reference_images
from realtalk_ros.rendering.geometry import Geometry, template_landmarks
from realtalk_ros.rendering.old_generators import OLD_FORMAT, belongs_to, present_name
from realtalk_ros.rendering.own_teeth import OwnTeeth

HOW_TO_RENEW = "run `realtalk train renderer --avatar` again, or remove it"
NO_MAP: Any = None  # for the y of maps in two arrays; OpenCV's type stubs do not allow None


@dataclass(frozen=True)
class FaceInputs:
    """What a face is drawn on: the indices of an avatar, of its template and of its reference."""

    avatar: int
    template: int
    reference: int


@dataclass(frozen=True)
class GeneratedFace:
    """What the networks make of one frame. The arrays are overwritten by the next run."""

    image: np.ndarray  # (256, 256, 3) uint8 BGR, the face crop
    mask: np.ndarray  # (256, 256) float32 0..1: how far the template is replaced
    warped_template: np.ndarray  # (256, 256, 3) uint8, what it was drawn on
    mouth_interior: np.ndarray  # (256, 256, 3) uint8, see mouth.py and eyes.py
    # To show the template's own pixels: where in its crop a pixel lies, (256, 256, 2) float32; that
    # crop, (256, 256, 3) uint8; closing lids over it, (256, 256, 2) uint8 (`ClosingLid.layers`).
    sampling_grid: np.ndarray
    template: np.ndarray
    lids: np.ndarray | None

    def own_pixels(self, box: tuple[slice, slice]) -> np.ndarray:
        """The template's own pixels in a part of the crop."""
        return warp(self.template, self.sampling_grid[box])


class Generator:
    """The network that runs for each frame, and the encoded features of some avatars.

    The features are on the device (the CPU's memory or the GPU's) once, and so are the inputs and
    outputs of every batch size that was used: no run allocates or copies what it need not.
    An avatar that was fine-tuned brings a generator of its own, so it cannot share one with others.
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
        self._open_generator(own_folder or folder, folder, providers, threads)
        self._aligner = onnx_session.session(folder / ALIGNER_FILE, threads=threads)
        self._count_rows(avatars)
        # A generator of an avatar's own has learned how dark its mouth is, the bundled one has not.
        self.geometry = [
            Geometry(
                avatar.identity,
                template_landmarks(avatar),
                resting_weights=avatar.resting_weights,
                shaded=own_folder is None,
            )
            for avatar in avatars
        ]
        self._own_teeth = [OwnTeeth.of(avatar) for avatar in avatars]
        encoded = encode_avatars(avatars, folder, providers, encoder_threads or threads)
        self._templates, self._landmarks = encoded.templates, encoded.landmarks
        self._move_to_device(encoded.features)
        self._bindings = {count: self._bind(count) for count in {1, len(avatars)}}
        # By batch size: what was asked for the last time, and what came of it.
        self._last: dict[int, tuple[np.ndarray, list[FaceInputs], list[GeneratedFace]]] = {}

    def _open_generator(
        self, own_folder: Path, folder: Path, providers: Sequence[str] | None, threads: int
    ) -> None:
        """Opens the generator of `own_folder`; the other networks are those of `folder`."""
        self._half = self._on_gpu and (own_folder / GENERATOR_HALF_FILE).is_file()
        path = own_folder / (GENERATOR_HALF_FILE if self._half else GENERATOR_FILE)
        self._open = partial(onnx_session.session, path, providers, threads)
        self._single = self._open(faces=1)
        check_generator(self._single, path, folder)

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

    def _bind(self, count: int) -> tuple[Binding, Binding, list[np.ndarray]]:
        """Aligner, generator and (count, 256, 256, 3) uint8 for image, warped template and map of
        the mouth of a batch of `count` faces."""
        aligner = Binding(self._aligner, count)
        session = self._single if count == 1 else self._open()
        shared = {"alignment_features": aligner.outputs["alignment_features"]}
        images = [np.zeros((count, CROP_SIZE, CROP_SIZE, 3), np.uint8) for _ in range(3)]
        return aligner, Binding(session, count, self._on_gpu, self._features, shared), images

    def run(self, weights: np.ndarray, faces: Sequence[FaceInputs]) -> list[GeneratedFace]:
        """Renders B faces at weights (B, 52). The next run of B faces overwrites the result. Asked
        for the same again, as of faces at rest, no network runs."""
        count = len(weights)
        last = self._last.pop(count, None)  # nothing is kept of a run that fails
        if last is None or last[1] != list(faces) or not np.array_equal(last[0], weights):
            last = weights.copy(), list(faces), self._run(weights, faces)
        self._last[count] = last
        return last[2]

    def _run(self, weights: np.ndarray, faces: Sequence[FaceInputs]) -> list[GeneratedFace]:
        count = len(weights)
        if count not in self._bindings:
            self._bindings[count] = self._bind(count)
        aligner, generator, (images, warped, interiors) = self._bindings[count]
        geometries = [self.geometry[face.avatar] for face in faces]
        rows = [self._pair_row(face) for face in faces]
        moved = [
            geometry.target_landmarks(w, face.template)
            for geometry, w, face in zip(geometries, weights, faces, strict=True)
        ]
        aligner.run(template_landmarks=self._landmarks[rows], target_landmarks=moved)
        grids, masks = aligner.outputs["sampling_grid"], generator.outputs["mask"]
        shown = []
        for k, sampling_grid in enumerate(grids):
            expression = weights[k], faces[k].template
            geometries[k].draw_mouth(*expression, interiors[k])
            shown.append(geometries[k].warp_eyes(*expression, sampling_grid, interiors[k]))
            space_to_depth(interiors[k], generator.inputs["mouth_interior"][k])
            warp(self._templates[rows[k]], sampling_grid, warped[k])
            space_to_depth(warped[k], generator.inputs["warped_template"][k])
        references = [self._first_reference[face.avatar] + face.reference for face in faces]
        # The network knows no weights below 0; only the warp follows them.
        generator.run(
            weights=np.maximum(weights, 0), template_index=rows, reference_index=references
        )
        for planes, image in zip(generator.outputs["image"], images, strict=True):
            depth_to_space(planes, image)
        for k, face in enumerate(faces):
            if (teeth := self._own_teeth[face.avatar]) is not None:
                teeth.draw(weights[k], face.template, interiors[k], images[k])
        return [
            GeneratedFace(
                images[k],
                masks[k],
                warped[k],
                interiors[k],
                sampling_grid=grid,
                template=self._templates[rows[k]],
                lids=lids,
            )
            for k, (grid, lids) in enumerate(shown)
        ]

    def _pair_row(self, face: FaceInputs) -> int:
        templates = len(self.geometry[face.avatar].template_landmarks)
        return int(self._first_pair[face.avatar]) + face.reference * templates + face.template


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
    mend = onnx_session.HOW_TO_RESTORE if path.parent == folder else HOW_TO_RENEW
    if metadata.get("realtalk.format") not in (RENDERER_FORMATS[GENERATOR_FILE], OLD_FORMAT):
        raise ModelError(
            f"model file {path} has format {metadata.get('realtalk.format')}, this reads "
            f"{RENDERER_FORMATS[GENERATOR_FILE]}: {mend}"
        )
    for part, file in (("encode", ENCODER_FILE), ("align", ALIGNER_FILE)):
        if not belongs_to(metadata.get(f"realtalk.{part}"), folder / file):
            raise ModelError(f"{path} does not belong to {folder / file}: {mend}")


class Binding:
    """Memory for the inputs and outputs of a session at one batch size, bound to it once.

    `on_device` are inputs that lie on the device; `shared` are inputs that another binding writes.
    Tensors go by their present names, also in a generator with old ones.
    """

    TYPES: ClassVar = {
        "tensor(float)": np.float32,
        "tensor(uint8)": np.uint8,
        "tensor(int64)": np.int64,
    }

    def __init__(
        self,
        session: ort.InferenceSession,
        count: int,
        on_gpu: bool = False,
        on_device: Mapping[str, ort.OrtValue] = MappingProxyType({}),
        shared: Mapping[str, np.ndarray] = MappingProxyType({}),
    ):
        self._session, self._on_gpu, self._binding = session, on_gpu, session.io_binding()
        inputs = {present_name(i.name): i for i in session.get_inputs()}
        outputs = {present_name(o.name): o for o in session.get_outputs()}
        self._graph_names = {name: value.name for name, value in (inputs | outputs).items()}
        for name, value in on_device.items():
            self._binding.bind_ortvalue_input(self._graph_names[name], value)
        self.inputs = {
            name: shared[name] if name in shared else self._zeros(value, count)
            for name, value in inputs.items()
            if name not in on_device
        }
        self.outputs = {name: self._zeros(value, count) for name, value in outputs.items()}
        self._bind_inputs()
        # On the CPU an OrtValue of an array is that array's memory: outputs arrive where they are
        # read. From a GPU, ONNX Runtime copies them there.
        for name, array in self.outputs.items():
            output = ort.OrtValue.ortvalue_from_numpy(array)
            self._binding.bind_ortvalue_output(self._graph_names[name], output)

    def _zeros(self, value: ort.NodeArg, count: int) -> np.ndarray:
        return np.zeros((count, *value.shape[1:]), self.TYPES[value.type])

    def _bind_inputs(self) -> None:
        for name, array in self.inputs.items():
            self._binding.bind_cpu_input(self._graph_names[name], array)

    def run(self, **inputs: np.ndarray | Sequence[np.ndarray] | Sequence[int]) -> None:
        """Takes the inputs that are not written in place. Overwrites `outputs`. Raises
        NetworkError."""
        for name, values in inputs.items():
            self.inputs[name][:] = values
        if self._on_gpu:
            self._bind_inputs()  # copies them there
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime's own share no base class but this
            raise NetworkError(str(error).splitlines()[0]) from error


def warp(
    template: np.ndarray, sampling_grid: np.ndarray, out: np.ndarray | None = None
) -> np.ndarray:
    """A template's crop (S, S, 3) uint8 sampled at `sampling_grid` (S, S, 2) float32 pixels.
    Written to `out` if that is given."""
    # Of bytes, OpenCV samples three channels faster by positions of 1/32 pixel.
    return cv2.remap(
        template,
        *cv2.convertMaps(sampling_grid, NO_MAP, cv2.CV_16SC2),
        cv2.INTER_LINEAR,
        dst=out,
        borderMode=cv2.BORDER_REPLICATE,
    )


def space_to_depth(image: np.ndarray, out: np.ndarray) -> np.ndarray:
    """An image (S, S, 3) as the generator takes it, (12, S/2, S/2): each plane is one pixel of
    every square of four, in one colour. Written to `out`, which is returned.

    (In the network's graph, ONNX Runtime takes ten times as long for it.)
    """
    half = out.shape[-1]
    squares = image.reshape(half, 2, half, 2, 3).transpose(4, 1, 3, 0, 2)
    out.reshape(squares.shape)[:] = squares
    return out


def depth_to_space(planes: np.ndarray, out: np.ndarray) -> np.ndarray:
    """The inverse of `space_to_depth`: (12, S/2, S/2) -> `out` (S, S, 3), which is returned."""
    half = planes.shape[-1]
    squares = planes.reshape(3, 2, 2, half, half)
    for row in (0, 1):  # merged, two pixels side by side are six channels
        pairs = cv2.merge([squares[k, row, column] for column in (0, 1) for k in range(3)])
        out[row::2] = pairs.reshape(half, 2 * half, 3)
    return out
