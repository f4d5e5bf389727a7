# SPDX-License-Identifier: Apache-2.0
"""What the expression network minimises: a weighted sum of named terms."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.lips import GAP, REST_GAP, WIDTH
from realtalk_ros.training.expression.articulation import VISEME
from realtalk_ros.training.expression.metrics import CLOSED_GAP, LIP_MOVEMENTS
from realtalk_ros.training.expression.samples import Batch
from realtalk_ros.training.speech_data.phones import PHONES


@dataclass(frozen=True)
class LossFactors:
    """Factor of each term of `expression_loss`.

    Where no other source is given, a factor was set by hand when its term was added, so that the
    term is neither lost nor rules the sum, and has not been varied since.
    """

    # Errors in standard deviations of the blendshape weights: the scale of all other terms.
    position: float = 1.0
    velocity: float = 1.0
    jerk: float = 1.0
    # Lip geometry repeats `position` in cm, which is what an eye sees: less than half of it.
    vertices: float = 0.4
    opening: float = 0.4
    # With 1, a higher `missed_closure` and other data, closures of unseen voices had a precision of
    # 0.70 instead of 0.80, and a recall of 0.94 instead of 0.90.
    closure: float = 2.0
    # With 0.5 and 1,600 steps fewer, f and v had a recall of 0.72 instead of 0.80 on German, and a
    # precision of 0.80 instead of 0.82 on readers.
    labiodental: float = 1.0
    rotation: float = 0.1
    speech: float = 0.1
    # Auxiliary heads. That of the style brought unseen people 3 to 7 % nearer at equal time.
    phone: float = 0.25
    acoustic_phone: float = 0.5  # of the convolutions' own head, below the transformer
    style: float = 0.5


@dataclass(frozen=True)
class LossSettings:
    """Everything in the loss that is a choice. Saved with the training's other settings."""

    factors: LossFactors = LossFactors()
    upper_face_importance: float = 0.3  # of blendshapes that do not move the mouth (others: 1.3)
    closure_emphasis: float = 0.5  # extra weight of a frame whose lips are together
    labiodental_emphasis: float = 1.0  # extra weight of a frame of f or v
    rest_emphasis: float = 1.0  # extra weight of a frame whose mouth is at rest
    huber_beta: float = 0.5  # standard deviations; below, errors are squared, which is smooth
    vertex_unit: float = 0.15  # cm of lip vertex error that count 1
    lip_head_share: float = 0.3  # of the error of the landmark head, beside the weights' own
    opening_unit: float = 0.2  # cm of error in lip opening or mouth width that count 1
    rotation_unit: float = 0.03  # rad that count 1
    # A closure that is missed costs this, one that is wrong costs 1. It trades recall for precision
    # and was set on held-out speech: 1.5, 0.75, then 0.85 (docs/experiments.md).
    missed_closure: float = 0.85
    closed_gap: float = CLOSED_GAP  # cm: lips that look closed
    closure_softness: float = 0.03  # cm: width of the decision's sigmoid
    # cm of the target from which a closure is wrong; between `closed_gap` and this, either will do
    open_gap: float = 0.16
    labiodental_roll: float = 0.25  # mouthRollLower of a contact; coarticulation.py gives it 0.42
    labiodental_softness: float = 0.05


# Rough standard deviation of each blendshape weight over speech: errors count in these units.
_DEVIATION = np.full(arkit.COUNT, 0.1, np.float32)
_DEVIATION[arkit.indices("mouthPucker", "mouthFunnel")] = 0.14
_DEVIATION[arkit.indices("mouthClose", "mouthRollLower")] = 0.07
_MOUTH = np.zeros(arkit.COUNT, np.float32)
_MOUTH[list(arkit.MOUTH)] = 1.0

_REST = 1e-4  # largest mouth weight of a frame at rest
_CONTACT, _NO_CONTACT = 0.95, 0.05  # of the model's contacts: surely there, surely not
_EPSILON = 1e-6  # keeps gradients finite at 0

VISEME_SHARE = 1.0  # of the visemes in `phone_loss`, beside the phones
_VISEME = np.unique([VISEME[phone] for phone in PHONES], return_inverse=True)[1]  # (phones,)
_LABEL_SMOOTHING = 0.05


def expression_loss(
    out: dict[str, Tensor], target: Batch, look_ahead_steps: int, settings: LossSettings
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss, and its terms before they are weighted.

    out: of ExpressionNet.forward, per step, and `style` (B, P, STYLE_SIZE) of the prior's tokens;
    target: per frame, which is output `look_ahead_steps` steps later.
    """
    aligned = {k: v[:, look_ahead_steps:].float() for k, v in out.items() if k != "style"}
    weights = aligned["weights"]
    terms = {
        **motion_terms(weights, target, settings),
        **lip_terms(weights, aligned["lips"], target, settings),
        "closure": closure_term(weights, target, settings),
        "labiodental": labiodental_term(weights, target, settings),
        "rotation": ((aligned["rotation"] - target.rotation) / settings.rotation_unit).abs().mean(),
        "speech": F.binary_cross_entropy_with_logits(aligned["speech"], target.speech),
        **auxiliary_terms(aligned, out["style"].float(), target),
    }
    factor = {f.name: getattr(settings.factors, f.name) for f in fields(LossFactors)}
    return sum(factor[name] * term for name, term in terms.items()), terms


def motion_terms(weights: Tensor, target: Batch, settings: LossSettings) -> dict[str, Tensor]:
    """Errors of the blendshape weights and of their first and second differences."""
    mouth = torch.from_numpy(_MOUTH)
    importance = settings.upper_face_importance + mouth
    rest = ((target.weights * mouth).amax(-1) < _REST).float()
    emphasis = (
        1
        + settings.closure_emphasis * target.closure
        + settings.labiodental_emphasis * target.labiodental
        + settings.rest_emphasis * rest
    ).unsqueeze(-1)
    error = (weights - target.weights) / torch.from_numpy(_DEVIATION)
    # Between L1, which decides, and L2, which averages.
    huber = F.smooth_l1_loss(
        error, torch.zeros_like(error), beta=settings.huber_beta, reduction="none"
    )
    velocity = error[:, 1:] - error[:, :-1]
    jerk = velocity[:, 1:] - velocity[:, :-1]
    return {
        "position": (huber * importance * emphasis).mean(),
        "velocity": (velocity.abs() * importance).mean(),
        "jerk": (jerk.abs() * importance).mean(),
    }


def lip_terms(
    weights: Tensor, lips: Tensor, target: Batch, settings: LossSettings
) -> dict[str, Tensor]:
    """Errors of the visible lips: landmarks, opening and width in cm."""
    basis = torch.from_numpy(LIP_MOVEMENTS.reshape(arkit.COUNT, -1))
    wanted = target.weights @ basis
    vertices = _distance(weights @ basis, wanted).mean()
    head_vertices = _distance(lips, wanted).mean()
    gap_error = (_lip_gap(weights) - _lip_gap(target.weights)).abs()
    width_error = ((weights - target.weights) @ torch.from_numpy(WIDTH)).abs()
    opening = gap_error * (1 + target.closure) + width_error
    return {
        "vertices": (vertices + settings.lip_head_share * head_vertices) / settings.vertex_unit,
        "opening": (opening / settings.opening_unit).mean(),
    }


def closure_term(weights: Tensor, target: Batch, settings: LossSettings) -> Tensor:
    """Whether the lips meet, as a decision: nearly closed, the mean of yes and no, is wrong."""
    closed = (target.closure > _CONTACT).float()
    clearly_open = (_lip_gap(target.weights) > settings.open_gap).float()
    logits = (settings.closed_gap - _lip_gap(weights)) / settings.closure_softness
    loss = F.binary_cross_entropy_with_logits(logits, closed, reduction="none")
    return (loss * (settings.missed_closure * closed + clearly_open)).mean()


def labiodental_term(weights: Tensor, target: Batch, settings: LossSettings) -> Tensor:
    """Whether the lower lip is under the teeth, as a decision, where the lips do not meet."""
    contact = (target.labiodental > _CONTACT).float()
    decided = contact + (target.labiodental < _NO_CONTACT).float()
    decided = decided * (target.closure < _NO_CONTACT)
    roll = weights[..., arkit.INDEX["mouthRollLower"]]
    logits = (roll - settings.labiodental_roll) / settings.labiodental_softness
    loss = F.binary_cross_entropy_with_logits(logits, contact, reduction="none")
    return (loss * decided).mean()


def auxiliary_terms(aligned: dict[str, Tensor], style: Tensor, target: Batch) -> dict[str, Tensor]:
    """Errors of the heads that exist for the training alone, on labelled sequences."""
    labelled = target.labelled
    if not labelled.any():
        return dict.fromkeys(("phone", "acoustic_phone", "style"), torch.zeros(()))
    phone = target.phone[labelled].flatten()
    style_error = style[labelled] - target.style[labelled].unsqueeze(1)
    return {
        "phone": phone_loss(aligned["phone"][labelled].flatten(0, 1), phone),
        "acoustic_phone": phone_loss(aligned["acoustic_phone"][labelled].flatten(0, 1), phone),
        # What the prior is for: how this person moves, part of which follows from the shape.
        "style": style_error.square().mean(),
    }


def phone_loss(logits: Tensor, phones: Tensor) -> Tensor:
    """Cross-entropy of phones (n,) and of their visemes, by logits (n, phones).

    To take an m for an n counts more than to take it for a b, which has the same lips.
    """
    viseme = torch.from_numpy(_VISEME)
    viseme_probability = logits.softmax(-1) @ F.one_hot(viseme).to(logits.dtype)  # (n, visemes)
    phone_error = F.cross_entropy(logits, phones, label_smoothing=_LABEL_SMOOTHING)
    viseme_error = F.nll_loss((viseme_probability + _EPSILON).log(), viseme[phones])
    return phone_error + VISEME_SHARE * viseme_error


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """(..., 3 n) and (..., 3 n) -> (..., n): distance of each point from its own."""
    return ((a - b).unflatten(-1, (-1, 3)).square().sum(-1) + _EPSILON).sqrt()


def _lip_gap(weights: Tensor) -> Tensor:
    """(..., 52) -> (...,) cm between the inner lips; negative where they press."""
    return weights @ torch.from_numpy(GAP) + REST_GAP
