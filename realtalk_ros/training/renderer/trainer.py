# SPDX-License-Identifier: Apache-2.0
"""Renderer, discriminator, their optimizers and the moving average: one step, and a checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor

from realtalk_ros import onnx_session
from realtalk_ros.training.common import checkpoint
from realtalk_ros.training.common.learning_rate import set_rate
from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.common.moving_average import WeightAverage
from realtalk_ros.training.renderer import landmark_net, losses, real_people
from realtalk_ros.training.renderer.checkpoint import load_average, load_renderer
from realtalk_ros.training.renderer.config import TrainingConfig
from realtalk_ros.training.renderer.discriminator import (
    FEATURE_MATCHING,
    GRADIENT_SHARE,
    Discriminator,
    MouthDiscriminator,
    limit_gradient,
)
from realtalk_ros.training.renderer.landmark_warp import sample
from realtalk_ros.training.renderer.lpips import Lpips
from realtalk_ros.training.renderer.model import Dimensions, Renderer, crop_mouth
from realtalk_ros.training.renderer.narrow import narrowed
from realtalk_ros.training.renderer.run_time_light import lit, whiter
from realtalk_ros.training.renderer.samples import Batch

# The losses by name, in the order of the log.
LOSSES = ("image", "temporal", "texture", "lpips", "lpips_of_people", "perceptual", "landmarks",
          "discriminator", "adversarial", "feature_matching")  # fmt: skip


def encode(model: Renderer, batch: Batch) -> list[Tensor]:
    """The encoder's features of each target; each template is encoded once for all of them."""
    with mixed_precision(batch.target.device):
        features = model.encoder(batch.reference, batch.template)
        if batch.mouth_colours is not None:
            features = *features[:-1], batch.mouth_colours
        elif batch.real is not None:
            colours = real_people.with_expected_enamel(features[-1], batch.enamel, batch.real)
            features = *features[:-1], colours
        return [batch.per_target(f) for f in features]


def forward(
    model: Renderer, batch: Batch, features: list[Tensor] | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The composed image, the generator's own and the mask, where there are people in the light of
    the run time; `features` are those of `encode`, if they are known."""
    if features is None:
        features = encode(model, batch)
    template = batch.per_target(batch.template)
    weights = batch.weights.clamp_min(0)  # as at run time; only the warp follows those below
    with mixed_precision(batch.target.device):
        rgb, mask = model.generator(features, template, weights, batch.conditioning)
    rgb, mask = rgb.float(), mask.float()
    people = batch.people
    if len(people):
        shown = _lit(rgb[people], batch.select(people), features[-1][people])
        rgb = rgb.index_copy(0, people, shown)
    return template + mask * (rgb - template), rgb, mask


def _lit(rgb: Tensor, people: Batch, colours: Tensor) -> Tensor:
    """See run_time_light.py; `colours` (N, 8) are those of the mouths."""
    assert people.light is not None and people.enamel is not None
    enamel = real_people.shown_enamel(colours.float(), people.enamel)
    return lit(rgb, people.light, people.mouth_interior, enamel, people.white)


def with_white(original: Renderer, batch: Batch, features: list[Tensor] | None) -> Batch:
    """People, with what the enamel that the original network draws is multiplied by."""
    assert batch.enamel is not None
    features = encode(original, batch) if features is None else features
    with torch.no_grad():
        _, rgb, _ = forward(original, replace(batch, real=None), features)
    enamel = real_people.shown_enamel(features[-1].float(), batch.enamel)
    return replace(batch, white=whiter(rgb, batch.mouth_interior, enamel))


def with_white_of(people: Batch, batch: Batch) -> Batch:
    """The batch that `people` are of, with that factor of theirs, and 1 for everybody else."""
    assert people.white is not None
    white = torch.ones_like(batch.target[:, :, 0, 0])
    return replace(batch, white=white.index_copy(0, batch.people, people.white))


def image_losses(
    out: Tensor, rgb: Tensor, mask: Tensor, batch: Batch, video: Tensor | None
) -> dict[str, Tensor]:
    """Those of the images alone: `image`, `temporal`, and `texture` as it is in `video`."""
    weight = losses.loss_weights(batch)
    terms = {
        "image": losses.image_loss(out, rgb, mask, batch.target, weight),
        "temporal": losses.temporal_loss(out, batch.target, weight, batch.targets_each),
    }
    if video is not None:
        terms["texture"] = losses.texture_loss(out, video, weight)
    return terms


class Trainer:
    """What a checkpoint holds. With `config.generator_only` encoder and warp keep their weights."""

    def __init__(self, dims: Dimensions, config: TrainingConfig):
        self.config, device = config, config.device
        self.model = Renderer(dims).to(device, memory_format=torch.channels_last)
        if config.generator_only:
            for part in (self.model.encoder, self.model.generator.warp):
                part.requires_grad_(False)
        kind = MouthDiscriminator if config.real else Discriminator
        self.discriminator = kind().to(device, memory_format=torch.channels_last)
        self.average = WeightAverage(self.model)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        rate = config.learning_rate
        self.optimizer = torch.optim.AdamW(trained, rate, betas=(0.9, 0.99), weight_decay=1e-4)
        self.discriminator_optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), rate, betas=(0.5, 0.99)
        )
        self.lpips = Lpips().to(device) if config.lpips else None
        self.perceptual_loss = None
        if config.perceptual_net:
            net = landmark_net.load(config.perceptual_net, device)
            self.perceptual_loss = losses.PerceptualLoss(net)
        self.forward, self.image_losses = forward, image_losses
        if config.compile:
            self.forward = torch.compile(forward)
            self.image_losses = torch.compile(image_losses)
        # Away from the mouth its images are what to learn, see losses.video_target.
        self.original: Renderer | None = None
        self.state = {"step": 0, "seconds": 0.0, "images": 0}

    def keep_original(self) -> None:
        """From here on a step learns from a video, or from people among its samples, see
        losses.video_target. Raises ModelError."""
        original = load_renderer(onnx_session.MODEL_DIR).requires_grad_(False)
        self.original = original.to(self.config.device, memory_format=torch.channels_last)

    def resume(self, path: Path) -> None:
        """Goes on from a checkpoint of this training."""
        saved = checkpoint.load(path, self.config.device)
        self._load(path, saved, saved["model"], strict=True)
        self.optimizer.load_state_dict(saved["optimizer"])
        self.state = saved["state"]
        self.discriminator.load_state_dict(saved["discriminator"])
        self.discriminator_optimizer.load_state_dict(saved["discriminator_optimizer"])

    def start_from(self, path: Path, batches: Iterable[Batch] = ()) -> None:
        """Takes the trained weights of another training's checkpoint, or of a folder of ONNX files.
        An ablation takes those of the parts that it has. A wider generator is narrowed, by what it
        makes of `batches`."""
        model = load_renderer(path) if path.is_dir() else load_average(path)
        if model.dims.width != self.model.dims.width:
            model = narrowed(model.to(self.config.device), self.model.dims.width, batches)
        weights = model.state_dict()
        self._load(path, {"average": weights}, weights, strict=not self.config.without)

    def _load(self, path: Path, saved: dict, weights: dict[str, Tensor], strict: bool) -> None:
        checkpoint.load_weights(self.model, weights, path, strict)
        checkpoint.load_weights(self.average.model, saved["average"], path, strict)

    def save(self, path: Path) -> None:
        checkpoint.save(
            {
                "model": self.model.state_dict(),
                "average": self.average.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "state": self.state,
                "discriminator": self.discriminator.state_dict(),
                "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
                "dimensions": asdict(self.model.dims),
            },
            path,
        )

    def step(self, batch: Batch, rate: float) -> dict[str, Tensor]:
        """One step of renderer and discriminator at that learning rate. Returns the losses, still
        on the device."""
        set_rate(rate, self.optimizer, self.discriminator_optimizer)
        features = None
        if self.config.generator_only:  # then the original's encoder finds the same
            with torch.no_grad():
                features = encode(self.model, batch)
        people, video = None, None
        if self.original and self.config.real is None:
            # The original's images are softer than video: how strong detail is, the video says
            # everywhere.
            video = batch.target
            batch = replace(batch, target=self._video_target(batch, features))
        elif self.original and len(batch.people):
            people = self._people_of(batch, features)
            batch = with_white_of(people, batch)
        made = self.forward(self.model, batch, features)
        if people:
            people = self._without_misplaced(people, made[0][batch.people].detach())
            target = batch.target.index_copy(0, batch.people, people.target)
            batch = replace(batch, target=target)
            made = *made, self._shown([x[batch.people] for x in made], people)
        terms, gradients = self._judge(made, batch, people, video)
        self._learn(made, gradients)
        self.state["step"] += 1
        self.state["images"] += len(batch.weights)
        self.average.update(self.model, self.state["step"])
        return {name: term.detach() for name, term in terms.items()}

    def _judge(
        self, made: tuple[Tensor, ...], batch: Batch, people: Batch | None, video: Tensor | None
    ) -> tuple[dict[str, Tensor], list[Tensor | None]]:
        """The losses of what was `made`, by `forward` and with `people` by `_shown`, and their
        gradient with respect to each. Trains the discriminator."""
        # The losses see copies, so that the discriminator's gradient can be weighed against the
        # others' before both go on into the network.
        copies = [x.detach().requires_grad_() for x in made]
        out, rgb, mask, *seen = copies
        terms = self._losses(out, rgb, mask, batch, video)
        if people:
            share = len(people.target) / len(batch.target)
            terms |= self._losses_of_people(seen[0], people, share)
        elif self.config.discriminator_from >= 0 and self.config.real is None:
            terms |= self._discriminator_step(out, (out, batch.target, batch.landmarks))
        return terms, [x.grad for x in copies]

    def _learn(self, made: tuple[Tensor, ...], gradients: list[Tensor | None]) -> None:
        """One step of the renderer's optimizer."""
        self.optimizer.zero_grad(set_to_none=True)
        both = zip(made, gradients, strict=True)
        given = [(x, g) for x, g in both if g is not None and x.requires_grad]  # a fixed mask not
        torch.autograd.backward(*map(list, zip(*given, strict=True)))
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def _people_of(self, batch: Batch, features: list[Tensor] | None) -> Batch:
        """The people of a batch, with the factor of their enamel and targets to learn."""
        people = batch.select(batch.people)
        known = features and [f[batch.people] for f in features]
        people = with_white(self.original, people, known)
        return replace(people, target=self._video_target(people, known))

    @torch.no_grad()
    def _video_target(self, batch: Batch, features: list[Tensor] | None) -> Tensor:
        original, _, _ = self.forward(self.original, batch, features)
        return losses.video_target(original, batch)

    @staticmethod
    def _without_misplaced(people: Batch, drawn: Tensor) -> Batch:
        """People with other targets, see real_people.py."""
        assert people.enamel is not None
        maps, enamel = people.mouth_interior, real_people.plausible(people.enamel)
        target = real_people.without_misplaced(people.target, drawn, maps, enamel)
        return replace(people, target=target)

    def _shown(self, made: list[Tensor], people: Batch) -> Tensor:
        """(N, 3, L, L): the lips of N real people as they are shown."""
        _, rgb, mask = made
        points = people.template_landmarks, people.target_landmarks
        warp = self.model.generator.warp
        with torch.no_grad():
            warped, _ = warp(people.template, *points, people.eye_grid)
            # The compositor samples the template at a higher resolution (fine_templates.py).
            sharp = sample(people.template, warp.sampling_grid(*points)[0], "bicubic")
            shift = torch.rand(len(sharp), 2, device=sharp.device) - 0.5
        maps = people.mouth_interior
        shown = real_people.shown_mouth(rgb, mask, (warped, sharp), maps, shift)
        return people.lips_of(shown)

    def _losses_of_people(self, seen: Tensor, people: Batch, share: float) -> dict[str, Tensor]:
        """Of what `_shown` returns; leaves their gradients, times their share of the batch, in
        `seen`."""
        target = people.lips_of(crop_mouth(people.target))
        interior = people.lips_of(crop_mouth(people.mouth_interior[:, :1]))
        weight = 1 + real_people.INSIDE * interior
        terms = {"texture": losses.texture_loss(seen, target, weight)}
        total = losses.TEXTURE * terms["texture"]
        if self.lpips:
            both = map(real_people.enlarged, (seen, target))
            with mixed_precision(seen.device):
                terms["lpips_of_people"] = self.lpips(*both).mean()
            total = total + losses.LPIPS_OF_PEOPLE * terms["lpips_of_people"]
        (total * share).backward()
        if self.config.discriminator_from >= 0:
            terms |= self._discriminator_step(seen, (seen, target))
        return terms

    def _losses(
        self, out: Tensor, rgb: Tensor, mask: Tensor, batch: Batch, video: Tensor | None
    ) -> dict[str, Tensor]:
        """All but the discriminator's; leaves their gradients in `out`, `rgb` and `mask`."""
        terms = self.image_losses(out, rgb, mask, batch, video)
        total = terms["image"] + losses.TEMPORAL * terms["temporal"]
        if video is not None:
            total = total + losses.TEXTURE * terms["texture"]
        rendered = batch.rendered
        if self.lpips and len(rendered):
            both = (crop_mouth(x[rendered]) for x in (out, batch.target))
            with mixed_precision(out.device):
                terms["lpips"] = self.lpips(*both).mean()
            total = total + losses.LPIPS * terms["lpips"] * (len(rendered) / len(out))
        if self.perceptual_loss:
            with mixed_precision(out.device):
                perceptual, landmarks = self.perceptual_loss.losses(out, batch.target)
                total = total + losses.PERCEPTUAL * perceptual + losses.LANDMARKS * landmarks
            terms |= {"perceptual": perceptual, "landmarks": landmarks}
        total.backward()
        return terms

    def _discriminator_step(self, out: Tensor, judged: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Trains the discriminator on what it takes, `out` first; adds what it demands to the
        gradient of `out`, once it counts (`discriminator_from` in config.py)."""
        with mixed_precision(out.device):
            own = self.discriminator.own_loss(*judged)
        self.discriminator_optimizer.zero_grad(set_to_none=True)
        own.backward()
        self.discriminator_optimizer.step()
        terms = {"discriminator": own}
        if self.state["step"] >= self.config.discriminator_from:
            with mixed_precision(out.device):
                adversarial, matching = self.discriminator.losses(*judged)
            demand = adversarial + FEATURE_MATCHING * matching
            (gradient,) = torch.autograd.grad(demand, out)
            out.grad += limit_gradient(gradient, out.grad, GRADIENT_SHARE)
            terms |= {"adversarial": adversarial, "feature_matching": matching}
        return terms
