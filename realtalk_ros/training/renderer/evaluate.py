"""`realtalk evaluate renderer`: the face renderer on people it never saw (val shards).

It runs as it is shipped (ONNX), or with `--checkpoint` a checkpoint of `realtalk train renderer`
(an ablation, say) in torch. With `--avatar` on pictures of that one person (`--data`): from the
avatar's (first) reference picture, by the installed generator and by its own, and how much less the
distances are. Means over all pictures, at 256x256:

    psnr, ssim          dB; SSIM of Wang et al. 2004, Gaussian windows (scikit-image)
    mouth_psnr, mouth_ssim      in the box of the lips
    inside_psnr         where the true picture shows teeth, gums or tongue, if it does (of shards
                        with masks): what no template with its mouth shut can tell
    eyes_psnr           in the box of both eyes
    template_mouth_psnr         the template as it is there, for scale
    nlpd, gmsd          distances as people see them, in the face's box; see image_metrics.py
    mouth_nlpd, mouth_gmsd      in the box of the lips
    perceptual          distance of the judge's features, each place's of unit length: LPIPS (arXiv
                        1801.03924) without its learned weights, as nothing is downloaded; the judge
                        was trained to know lips, lids and teeth
    mouth_perceptual    the same in the box of the lips
    lips_px             lips as the judge finds them in the picture, from where the weights say
    lips_px_of_truth    the same in the true picture: the judge's own error
    found_lips_px       the lips as MediaPipe finds them (--mediapipe) in the picture, from where it
                        finds them in the true one; its own noise is in it
    found_lips_px_of_template   in the template as it is and in the true picture, for scale
    found_opening       correlation of the mouth's opening by the same
    found               share of the pictures in which it found the face
    identity            cosine of the judge's identity of the picture and of the reference
    identity_of_truth, identity_of_others     of the true picture, of other people: the scale's ends
    jitter              grey levels (RMS, mouth) by which the picture does not move along when the
                        template drifts a third of a pixel, the expression still
    still               the most that two runs with the same input differ, grey levels
    seam                gradient across the mask's border, as a share of the truth's there
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from realtalk_ros import onnx_session
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import ALIGNER_FILE, ENCODER_FILE, GENERATOR_FILE
from realtalk_ros.errors import RealTalkError
from realtalk_ros.face_model.landmarks import EYES, LIPS
from realtalk_ros.rendering.generator import (
    depth_to_space,
    reference_inputs,
    space_to_depth,
    warp,
)
from realtalk_ros.training.renderer import landmark_net
from realtalk_ros.training.renderer.dataset import (
    EXPRESSIONS,
    REFERENCES,
    Group,
    Groups,
    Told,
    add_data,
    bare,
    draw,
    pictures,
    tell,
)
from realtalk_ros.training.renderer.image_metrics import Box, coarser, gmsd, nlpd
from realtalk_ros.training.renderer.lip_detector import LipFinder
from realtalk_ros.training.renderer.model import Dimensions, Renderer
from realtalk_ros.training.renderer.train import mouth_box

DRIFT = 0.33  # pixels that a template moves from frame to frame, see make_avatar.MAX_STEP
INNER_MOUTH = 3  # of face_dataset.LABELS
ENOUGH = 20  # pixels
JUDGE = Path("runs/reader/judge.pt")
DISTANCES = ("nlpd", "mouth_nlpd", "gmsd", "mouth_gmsd", "perceptual", "mouth_perceptual")
# Reference (S, S, 6) and template (S, S, 3) uint8, what is told of the template and the pictures to
# be, weights (K, 52) -> composed (K, S, S, 3), masks (K, S, S).
Render = Callable[[np.ndarray, np.ndarray, Told, np.ndarray], tuple[np.ndarray, np.ndarray]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser, "the val/ shards of `realtalk data faces`")
    parser.add_argument(
        "--judge",
        type=Path,
        default=JUDGE,
        help="of `realtalk train reader`; without one, what it measures is left out",
    )
    parser.add_argument(
        "--mediapipe",
        action="store_true",
        help="also where MediaPipe finds the lips (extra enroll)",
    )
    parser.add_argument("--avatar", help="a folder with a generator of its own, on --data of it")
    parser.add_argument("--models", type=Path, help="folder of the ONNX files")
    parser.add_argument("--checkpoint", type=Path, help="measure this one instead")
    parser.add_argument("--people", type=int, default=32, help="so many, 4 expressions each")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.add_argument("--sheet", type=Path, help="write a PNG of 12 people in 10 expressions")


def onnx_renderer(folder: Path, threads: int, own: Path | None = None) -> Render:
    """Of the networks in a folder; the generator of the folder `own`, if it is given."""
    encoder = onnx_session.session(folder / ENCODER_FILE, threads=threads)
    aligner = onnx_session.session(folder / ALIGNER_FILE, threads=threads)
    generator = onnx_session.session((own or folder) / GENERATOR_FILE, threads=threads)
    names = [output.name for output in encoder.get_outputs()]

    def render(reference, template, told, weights):
        found = encoder.run(None, {"reference": reference, "template": template})
        rows = np.zeros(len(weights), np.int64)
        given = dict(zip(names, found, strict=True))
        rest = np.repeat(told.rest, len(weights), 0)
        places, moved = aligner.run(None, {"rest": rest, "points": told.points})
        half = len(template) // 2
        planes = np.empty((2, len(weights), 12, half, half), np.uint8)
        for k, (at, eyes) in enumerate(zip(places, told.eyes, strict=True)):
            at += eyes[..., 2:] * (eyes[..., :2] - at)
            space_to_depth(warp(template, at), planes[0, k])
            space_to_depth(told.inside[k], planes[1, k])
        given |= {"weights": weights, "aligned": planes[0], "inside": planes[1], "told": moved}
        made, mask = generator.run(None, {**given, "template": rows, "person": rows})
        rgb = np.stack([depth_to_space(p, np.empty_like(template)) for p in made])
        return compose(rgb, mask, template), mask

    return render


def torch_renderer(path: Path) -> Render:
    if not path.is_file():
        raise RealTalkError(f"no checkpoint {path}: run `realtalk train renderer` first")
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Renderer(Dimensions(**saved["dimensions"])).eval()
    model.load_state_dict(saved["average"])

    def render(reference, template, told, weights):
        with torch.no_grad():
            both = [pictures(torch.from_numpy(p)[None]) for p in (reference, template)]
            features = model.encoder(*both)
            features = [f.expand(len(weights), *f.shape[1:]) for f in features]
            frame = both[1].expand(len(weights), -1, -1, -1)
            parts = told.rest, told.points, weights, told.inside, told.eyes
            rest, points, wanted, inside, eyes = map(torch.from_numpy, parts)
            known = rest.expand(len(weights), -1, -1), points, wanted, pictures(inside), eyes
            rgb, mask = model.generator(features, frame, *known)
        rgb = (rgb * 255).permute(0, 2, 3, 1).numpy()
        return compose(rgb, mask[:, 0].numpy(), template), mask[:, 0].numpy()

    return render


def compose(rgb: np.ndarray, mask: np.ndarray, template: np.ndarray) -> np.ndarray:
    mask = mask[..., None]
    return np.rint(template * (1 - mask) + rgb * mask).clip(0, 255).astype(np.uint8)


def reference_of(group: Group, number: int) -> np.ndarray:
    """(S, S, 6): a picture of a group and the map of its mouth's inside."""
    return np.concatenate([group.images[number].numpy(), bare(group, number)], -1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a.astype(np.float32) - b).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-3)))


def inside_psnr(a: np.ndarray, b: np.ndarray, shown: np.ndarray) -> float:
    """Where `shown` (S, S) bool says so; NaN of fewer than ENOUGH pixels."""
    return psnr(a[shown], b[shown]) if shown.sum() >= ENOUGH else float("nan")


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    from skimage.metrics import structural_similarity

    return structural_similarity(
        a, b, channel_axis=2, data_range=255, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, full=True,
    )[1]  # fmt: skip


def perceptual(a: list[Tensor], b: list[Tensor], boxes: list[Box] | None = None) -> Tensor:
    """Mean squared distance (B,) of features of unit length, summed over the scales; in each
    picture's box if they are given."""
    total = 0
    for scale, (x, y) in enumerate(zip(a, b, strict=True)):
        error = (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square().sum(1)
        if boxes is None:
            total = total + error.mean((1, 2))
        else:
            rows = [e[coarser(k, 2 ** (scale + 1))] for e, k in zip(error, boxes, strict=True)]
            total = total + torch.stack([row.mean() for row in rows])
    return total


def face_box(marks: np.ndarray, size: int) -> Box:
    """Rows and columns of these landmarks, and a margin of 8 of 256 pixels."""
    low, high = marks.min(0) - size / 32, marks.max(0) + size / 32
    (x0, y0), (x1, y1) = (np.clip(p, 0, size).astype(int) for p in (low, high))
    return slice(y0, y1), slice(x0, x1)


def across(picture: np.ndarray, mask: np.ndarray) -> float:
    """Mean gradient of a picture in the direction in which the mask changes, weighted by that."""
    grey = picture.astype(np.float32).mean(-1)
    (my, mx), (gy, gx) = np.gradient(mask), np.gradient(grey)
    return float(np.abs(gy * my + gx * mx).sum() / max(np.hypot(my, mx).sum(), 1e-6))


def shifted(picture: np.ndarray, pixels: float) -> np.ndarray:
    move = np.float32([[1, 0, pixels], [0, 1, 0]])
    size = picture.shape[1], picture.shape[0]
    return cv2.warpAffine(
        picture, move, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def jitter(drifted: np.ndarray, still: np.ndarray, box: tuple[slice, slice]) -> float:
    """Squared grey levels, see the module's docstring."""
    error = drifted[box].astype(np.float32) - shifted(still, DRIFT)[box]
    return float(np.square(error).mean())


@torch.no_grad()
def measure(
    render: Render,
    groups: Groups,
    judge: landmark_net.Reader | None,
    people: int,
    reference: np.ndarray | None = None,
    lips: LipFinder | None = None,
) -> dict[str, float]:
    """The figures of the module's docstring, over the first `people` of `groups`, from their own
    reference pictures or from that one. Without a judge or `lips` all but what they find."""
    rng = np.random.default_rng(1)
    rows: list[dict[str, float]] = []
    identities: list[Tensor] = []
    for number in tqdm(range(min(people, len(groups))), desc="people", leave=False):
        group = groups[number]
        chosen = draw(group, rng, 4)
        images, weights = group.images[chosen].numpy(), group.weights[chosen[2:]].numpy()
        template, truth = images[1], images[2:]
        seen_from = reference
        if reference is None:
            seen_from = reference_of(group, chosen[0])
        marks = group.marks[chosen[2:]]
        shown = np.zeros(truth.shape[:3], bool)
        if group.masks is not None:
            shown = group.masks[chosen[2:]].numpy() == INNER_MOUTH
        told = tell(group, chosen[1], chosen[2:])
        out, masks = render(seen_from, template, told, weights)
        again, _ = render(seen_from, template, told, weights)
        told = tell(group, chosen[1], chosen[2:], drift=DRIFT / len(template))
        drifted, _ = render(seen_from, shifted(template, DRIFT), told, weights)
        boxes = [mouth_box(m.numpy(), out.shape[1]) for m in marks]
        judged = judgement(judge, out, truth, seen_from[..., :3], marks, boxes) if judge else {}
        if judge:
            identities.append(judged.pop("reference"))
        for k in range(len(out)):
            box, face = boxes[k], face_box(marks[k].numpy(), out.shape[1])
            eyes = face_box(marks[k, EYES].numpy(), out.shape[1])
            likeness = ssim_map(out[k], truth[k])
            seen_as = nlpd(out[k], truth[k], face, box), gmsd(out[k], truth[k], face, box)
            rows.append({
                "psnr": psnr(out[k], truth[k]),
                "ssim": float(likeness.mean()),
                "mouth_psnr": psnr(out[k][box], truth[k][box]),
                "mouth_ssim": float(likeness[box].mean()),
                "inside_psnr": inside_psnr(out[k], truth[k], shown[k]),
                "eyes_psnr": psnr(out[k][eyes], truth[k][eyes]),
                "template_mouth_psnr": psnr(template[box], truth[k][box]),
                "nlpd": seen_as[0][0],
                "mouth_nlpd": seen_as[0][1],
                "gmsd": seen_as[1][0],
                "mouth_gmsd": seen_as[1][1],
                **{name: float(values[k]) for name, values in judged.items()},
                **(lips.compare(out[k], truth[k], template) if lips else {}),
                "jitter": jitter(drifted[k], out[k], box),
                "still": float(np.abs(out[k].astype(int) - again[k]).max()),
                "seam": across(out[k], masks[k]) / max(across(truth[k], masks[k]), 1e-6),
            })  # fmt: skip
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    finite = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    figures = {name: float(np.nanmean(column)) for name, column in finite.items()}
    if lips:
        of_truth = columns["found_opening_of_truth"]
        seen = np.isfinite(columns["found_opening"]) & np.isfinite(of_truth)
        figures["found"] = float(seen.mean())
        both = np.corrcoef(columns["found_opening"][seen], of_truth[seen])
        figures["found_opening"] = float(both[0, 1])
        figures.pop("found_opening_of_truth", None)
    figures["jitter"] **= 0.5
    figures["still"] = max(row["still"] for row in rows)
    if judge:
        faces = torch.stack(identities)
        others = (faces @ faces.T)[~torch.eye(len(faces), dtype=torch.bool)]
        figures["identity_of_others"] = float(others.mean()) if len(faces) > 1 else 0.0
    return {**figures, "people": min(people, len(groups)), "pictures": len(rows)}


def judgement(
    judge: landmark_net.Reader,
    out: np.ndarray,
    truth: np.ndarray,
    reference: np.ndarray,
    marks: Tensor,
    boxes: list[Box],
) -> dict[str, Tensor]:
    """What the judge says of each picture, and its identity vector of the reference."""
    seen, true, of_reference = (
        judge(pictures(torch.from_numpy(x))) for x in (out, truth, reference[None])
    )
    lips = [(r.landmarks - marks).norm(dim=-1)[:, LIPS].mean(1) for r in (seen, true)]
    alike = [r.identity @ of_reference.identity[0] for r in (seen, true)]
    return {
        "perceptual": perceptual(seen.features, true.features),
        "mouth_perceptual": perceptual(seen.features, true.features, boxes),
        "lips_px": lips[0],
        "lips_px_of_truth": lips[1],
        "identity": alike[0],
        "identity_of_truth": alike[1],
        "reference": of_reference.identity[0],
    }


def compared(
    avatar: Avatar, groups: Groups, judge: landmark_net.Reader | None, people: int, threads: int
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
        found = measure(render, groups, judge, people, reference)
        figures |= {f"{name}_{when}": value for name, value in found.items()
                    if name not in ("people", "pictures")}  # fmt: skip
    for name in DISTANCES:
        if f"{name}_before" in figures:
            figures[f"{name}_less"] = 1 - figures[f"{name}_after"] / figures[f"{name}_before"]
    return {**figures, "pictures": found["pictures"]}


def sheet(render: Render, groups: Groups, path: Path, people: int = 12) -> None:
    """Two rows for each person: the reference and the true pictures of both poses' expressions; the
    first pose's template and what was rendered of it and of the second's."""
    lines = []
    for number in range(min(people, len(groups))):
        group = groups[number]
        images, weights = group.images.numpy(), group.weights.numpy()
        reference, rendered = reference_of(group, 0), []
        for template in range(REFERENCES, len(images), EXPRESSIONS):
            pose = list(range(template, template + EXPRESSIONS))
            told = tell(group, template, pose)
            rendered += list(render(reference, images[template], told, weights[pose])[0])
        lines.append(np.concatenate([images[0], *images[REFERENCES:]], 1))
        lines.append(np.concatenate([images[REFERENCES], *rendered], 1))
    if not cv2.imwrite(str(path), np.concatenate(lines)):
        raise RealTalkError(f"cannot write {path}: give a .png in a folder that exists")


def run(args: argparse.Namespace) -> None:
    """`realtalk evaluate renderer`."""
    torch.set_num_threads(args.threads)
    groups = Groups(args.data / "val")
    if not len(groups):
        raise RealTalkError(f"no val shards in {args.data}: run `realtalk data faces` first")
    judge = None if args.judge == JUDGE and not JUDGE.exists() else landmark_net.load(args.judge)
    if args.avatar:
        avatar = Avatar.load(args.avatar)
        show(compared(avatar, groups, judge, args.people, args.threads), args.json)
        return
    if args.checkpoint:
        render = torch_renderer(args.checkpoint)
    else:
        render = onnx_renderer(args.models or onnx_session.MODEL_DIR, args.threads)
    lips = LipFinder() if args.mediapipe else None
    figures = measure(render, groups, judge, args.people, lips=lips)
    show(figures, args.json)
    if args.sheet:
        sheet(render, groups, args.sheet)


def show(figures: dict[str, float], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:26}{value:10.3f}" if isinstance(value, float) else f"{name:26}{value:6d}")
