# SPDX-License-Identifier: Apache-2.0
"""`realtalk train look-ahead`: makes the expression network's files for shorter look-aheads. What
is learned is to predict the sound that they lack (sound_predictor.py); the network stays as it is.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from realtalk_ros import onnx_session
from realtalk_ros.contracts import (
    EIGHT_BIT_FILE,
    EXPRESSION_RATE,
    LOOK_AHEAD,
    MEL_STEP,
    STEP_FILES,
)
from realtalk_ros.paths import is_file
from realtalk_ros.training.expression import checkpoint, mel_augment, sound_predictor
from realtalk_ros.training.expression.export import export_look_ahead
from realtalk_ros.training.expression.video_dataset import VideoDataset

# The network hears LOOK_AHEAD; of that, these steps of 20 ms are predicted.
PREDICTED = [round((LOOK_AHEAD - s) * EXPRESSION_RATE) for s in STEP_FILES if s != LOOK_AHEAD]
PIECE = 400  # log-mel frames, 4 s, that are changed alike by noise, rooms and microphones


def augmented(mels: Iterable[np.ndarray], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Each recording (m, 80) as it is, then in pieces with other noise, rooms and microphones."""
    for mel in mels:
        yield mel
        for begin in range(0, len(mel) - PIECE + 1, PIECE):
            yield mel_augment.augment(mel[begin : begin + PIECE], None, rng)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--videos", type=Path, required=True, metavar="DIR",
        help="recordings: what `realtalk data mouths` or `realtalk data videos` made")  # fmt: skip
    add("--rank", type=int, default=sound_predictor.RANK, help="of the prediction")
    add("--seed", type=int, default=0, help="of all that is random")
    add("--out", type=Path, default=Path("runs/look_ahead"), metavar="DIR",
        help="export to this folder, which gets a copy of the installed network")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """`realtalk train look-ahead`. Raises RealTalkError where there is no data."""
    videos = VideoDataset(args.videos).videos
    mels = (video.mel[: MEL_STEP * video.train_steps].astype(np.float32) for video in videos)
    mels = augmented(mels, np.random.default_rng(args.seed))
    predictors = sound_predictor.fit(mels, PREDICTED, args.rank)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / EIGHT_BIT_FILE).unlink(missing_ok=True)  # of what was there before
    eight = [EIGHT_BIT_FILE] if is_file(onnx_session.MODEL_DIR / EIGHT_BIT_FILE) else []
    for name in (*checkpoint.FILES, *eight):
        shutil.copyfile(onnx_session.MODEL_DIR / name, args.out / name)
    for predictor in predictors:
        path = export_look_ahead(predictor, args.out)
        print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
    return 0
