# SPDX-License-Identifier: Apache-2.0
"""What the parts of the prior are worth: networks trained without them, at equal budget (torch)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from realtalk_ros.contracts import MEL_STEP
from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.expression import checkpoint
from realtalk_ros.training.expression.config import ABLATIONS, PRIOR_PARTS
from realtalk_ros.training.expression.inference import infer
from realtalk_ros.training.expression.metrics import lip_error, lip_landmarks
from realtalk_ros.training.expression.model import ExpressionNet
from realtalk_ros.training.expression.unseen_people import unseen_people
from realtalk_ros.training.speech_data.dataset import SpeechDataset

Networks = dict[str, tuple[ExpressionNet, dict]]  # name -> network, contents of its checkpoint


def load_ablations(folder: Path) -> Networks:
    """The networks of folder/<name>/expression.pt: "full", and those of ABLATIONS that are there.

    Raises RealTalkError where there is nothing to compare.
    """
    paths = {name: folder / name / "expression.pt" for name in ("full", *ABLATIONS)}
    missing = [name for name, path in paths.items() if not path.is_file()]
    if "full" in missing or len(missing) == len(ABLATIONS):
        name = missing[0]
        raise RealTalkError(
            f"no {paths[name]}: realtalk train expression --work {paths[name].parent}"
            + (f" --without {name}" if name != "full" else "")
        )
    return {name: checkpoint.load_ema(path) for name, path in paths.items() if name not in missing}


def measure_ablations(networks: Networks, data: SpeechDataset, people: int) -> dict:
    """Lip error of each network on unseen people, each given all that it can take.

    Of an ablation also: how much farther off than the full network it is (mean over people, in
    percent) and the standard error of that. Raises RealTalkError where there is nobody to compare.
    """
    if people < 1:
        raise RealTalkError(f"--people is {people}: at least 1 must be compared")
    torch.set_num_threads(1)  # for one person at a time; more would wait for each other
    errors = {name: np.array(of_one) for name, of_one in _errors(networks, data, people).items()}
    report = {}
    for name, (_, saved) in networks.items():
        report[name] = {
            "lip_error_cm": round(float(errors[name].mean()), 4),
            "steps": saved["step"],
            "minutes": round(saved["spent"] / 60, 1),
        }
        if name != "full":
            farther = 100 * (errors[name] / errors["full"] - 1)
            report[name] |= {
                "farther_off_percent": round(float(farther.mean()), 1),
                "standard_error_percent": round(float(farther.std() / np.sqrt(people)), 1),
            }
    return report


@torch.inference_mode()
def _errors(networks: Networks, data: SpeechDataset, people: int) -> dict[str, list[float]]:
    """Name of a network -> lip error in cm of each person."""
    errors: dict[str, list[float]] = {name: [] for name in networks}
    for person in unseen_people(data, people):
        steps = len(person.weights)
        lips, mel = lip_landmarks(person.weights), person.mel[: steps * MEL_STEP].astype(np.float32)
        prior = person.identity, person.reference
        identity, reference = (torch.from_numpy(part)[None] for part in prior)
        for name, (net, _) in networks.items():
            mask = torch.tensor([[float(part != name) for part in PRIOR_PARTS]])
            out = infer(net, mel, net.encode_prior(identity, reference, mask))
            predicted = lip_landmarks(out["weights"].numpy())
            errors[name].append(lip_error(lips, predicted))
    return errors
