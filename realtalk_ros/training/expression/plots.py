# SPDX-License-Identifier: Apache-2.0
"""Pictures of what the network does, one an utterance (needs matplotlib)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realtalk_ros.contracts import EXPRESSION_RATE, MEL_RATE, N_MELS
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.lips import WIDTH, gap_of
from realtalk_ros.training.expression import coarticulation, speaking_style
from realtalk_ros.training.expression.metrics import predict
from realtalk_ros.training.speech_data import phones as ph
from realtalk_ros.training.speech_data.dataset import SpeechDataset, Utterance

UTTERANCES = 5  # of each test set
SHOWN = (
    "jawOpen", "mouthClose", "mouthPucker", "mouthFunnel", "mouthRollLower", "mouthStretchLeft",
    "browInnerUp",
)  # fmt: skip


def plot(model: ExpressionModel, sets: dict[str, SpeechDataset], folder: Path) -> None:
    """Spectrogram and phones, opening, width and weights; reference and network."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    prior = model.prior()
    for name, data in sets.items():
        for i in range(min(UTTERANCES, len(data))):
            path = folder / f"{name.replace(' ', '_')}_{i}.png"
            _plot_utterance(data[i], predict(model, data[i].mel, prior)[0], f"{name}, {i}", path)


def _plot_utterance(utterance: Utterance, weights: np.ndarray, title: str, path: Path) -> None:
    import matplotlib.pyplot as plt

    mel, segments, _ = utterance
    reference = coarticulation.animate(
        segments, len(weights), speaking_style.average_style(), coarticulation.accents(mel)
    ).weights
    t = np.arange(len(weights)) / EXPRESSION_RATE
    figure, axes = plt.subplots(4, 1, figsize=(18, 11), sharex=True)
    axes[0].imshow(
        mel.T.astype(np.float32), origin="lower", aspect="auto",
        extent=(0, len(mel) / MEL_RATE, 0, N_MELS),
    )  # fmt: skip
    for phone, start, _ in segments:
        for axis in axes[1:]:
            axis.axvline(start, color="0.8", lw=0.5)
        if phone != ph.SIL:
            axes[0].text(start, N_MELS + 2, phone, fontsize=8)
    both = np.stack([reference, weights])
    measures = {"opening, cm": gap_of(both), "wider, cm": both @ WIDTH}
    for axis, (label, (wanted, found)) in zip(axes[1:], measures.items(), strict=False):
        axis.plot(t, wanted, "0.5", label="reference")
        axis.plot(t, found, "r", label="network")
        axis.set_ylabel(label)
        axis.legend(loc="upper right")
    for name in SHOWN:
        axes[3].plot(t, weights[:, arkit.INDEX[name]], label=name)
    axes[3].legend(loc="upper right", ncols=4, fontsize=8)
    figure.suptitle(title)
    figure.tight_layout()
    figure.savefig(path, dpi=60)
    plt.close(figure)
