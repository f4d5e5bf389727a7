# SPDX-License-Identifier: Apache-2.0
"""`realtalk train expression`: trains on the data of `realtalk data speech`, exports
expression_prior.onnx and expression_step.onnx (export.py). The look-ahead is `Dims.look_ahead` of
dims.py."""

from __future__ import annotations

import argparse
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path

import torch

from realtalk_ros.errors import RealTalkError
from realtalk_ros.training.common.checkpoint import load as load_checkpoint
from realtalk_ros.training.common.checkpoint import load_weights
from realtalk_ros.training.common.mixed_precision import mixed_precision
from realtalk_ros.training.common.settings import add_options, given
from realtalk_ros.training.expression import checkpoint
from realtalk_ros.training.expression.config import TrainingConfig
from realtalk_ros.training.expression.dims import Dims
from realtalk_ros.training.expression.export import export
from realtalk_ros.training.expression.losses import expression_loss
from realtalk_ros.training.expression.model import ExpressionNet
from realtalk_ros.training.expression.pretrain_phones import (
    PhonePretraining,
    fit_out_proj,
    fit_phone_head,
    muon_parameters,
    pretrain_phones,
)
from realtalk_ros.training.expression.pretrain_prior import PriorPretraining, pretrain_prior
from realtalk_ros.training.expression.sampler import Sampler, load_datasets
from realtalk_ros.training.expression.trainer import MetricLog, Schedule, Trainer
from realtalk_ros.training.expression.video_dataset import VideoDataset

PHONE_PRETRAINING_MINUTES = 40.0  # of a new network
FINE_TUNING_RATE = 1e-3  # peak learning rate of phone pretraining that goes on
PHONE_HEAD_UTTERANCES = 500  # of each kind of speech, to fit a new phone head


def train(config: TrainingConfig) -> Path:
    """Trains until the config's minutes have been spent, over all resumptions.

    Returns the checkpoint, and writes the config beside it. Raises RealTalkError for files that
    are of another network.
    """
    torch.manual_seed(config.seed)
    videos = VideoDataset(config.videos, config.only_window) if config.videos else None
    sampler = Sampler(load_datasets(config.data), config.seed, videos, config.sampler)
    net, fine_tune = _initial_network(config, sampler)
    has_speech = bool(sampler.speech_kinds)
    net.acoustic_encoder.requires_grad_(has_speech and not config.freeze_acoustic_encoder)
    net.acoustic_encoder.out_proj.requires_grad_(has_speech)
    if config.only_window:
        net.requires_grad_(False)
        net.prior_encoder.reference_proj.requires_grad_(True)
    schedule = Schedule(
        config.minutes, config.learning_rate,
        warm_up_steps=config.warm_up_steps if has_speech else config.video_warm_up_steps,
    )  # fmt: skip
    trainer = Trainer(
        net, config.checkpoint, schedule, muon_parameters=muon_parameters(net),
        dims=asdict(net.dims), fine_tune=fine_tune,
    )  # fmt: skip
    config.save(config.work)  # what was refused until here leaves those of the weights there
    sampler.restart(trainer.step)
    look_ahead_steps, hidden = net.dims.look_ahead_steps, config.hidden_part
    log = MetricLog("step", trainer, config.log_every, config.work / "log.jsonl")
    for batch in trainer.batches(lambda: sampler.draw_batch(config.batch_size, look_ahead_steps)):
        if hidden is not None:
            batch.condition_mask[:, hidden] = 0
        with mixed_precision():
            tokens = net.prior_tokens(batch.identity, batch.reference, batch.condition_mask)
            out = net(batch.mel, net.condition_kv(tokens))
            out["style"] = net.style_head(tokens)
        loss, terms = expression_loss(out, batch, look_ahead_steps, config.loss)
        trainer.learn(loss)
        log.add(loss=loss, **terms)
    return config.checkpoint


def _initial_network(config: TrainingConfig, sampler: Sampler) -> tuple[ExpressionNet, bool]:
    """The network to train, and whether it began as the installed one."""
    if config.checkpoint.is_file():
        net, saved = checkpoint.load(config.checkpoint)
        return net, config.fine_tune or saved["fine_tune"]
    net = checkpoint.load_installed() if config.fine_tune else ExpressionNet(_dims(config))
    if config.start:
        _load_start(net, config.start)
    elif config.phone_pretraining_minutes and sampler.speech_kinds:
        _pretrain_phones(net, config, sampler)
    if config.prior_pretraining_minutes and sampler.speech_kinds:
        pretrain_prior(
            sampler, net, config.work / "pretrain_prior.pt",
            PriorPretraining(config.prior_pretraining_minutes),
            hidden_part=config.hidden_part,
        )  # fmt: skip
    return net, config.fine_tune


def _dims(config: TrainingConfig) -> Dims:
    dims = Dims()
    if config.start:
        dims = checkpoint.dims_of(load_checkpoint(config.start), config.start)
    conditioning = "concatenation" if config.ablation == "attention" else "attention"
    return replace(dims, conditioning=conditioning)


def _load_start(net: ExpressionNet, path: Path) -> None:
    """Loads all of a checkpoint but what handles the prior."""
    weights = {
        name: value
        for name, value in load_checkpoint(path)["ema"].items()
        if not name.startswith("prior_encoder") and ".cross_attention." not in name
    }
    load_weights(net, weights, "what --start names", strict=False)


def _pretrain_phones(net: ExpressionNet, config: TrainingConfig, sampler: Sampler) -> None:
    """Pretrains the convolutions of `net`; those of the installed network go on learning."""
    encoder, path = net.acoustic_encoder, config.work / "pretrain_phones.pt"
    settings = PhonePretraining(config.phone_pretraining_minutes)
    if not config.fine_tune:
        encoder.load_state_dict(pretrain_phones(sampler, net.dims, path, settings).state_dict())
        return
    datasets = {
        kind: (PHONE_HEAD_UTTERANCES, sampler.datasets[kind]) for kind in sampler.speech_kinds
    }
    fit_phone_head(encoder, net.dims.look_ahead_steps, datasets)
    installed = deepcopy(encoder)
    settings = replace(settings, learning_rate=FINE_TUNING_RATE)
    trained = pretrain_phones(sampler, net.dims, path, settings, start=installed)
    checkpoint.average_weights(trained, installed)
    encoder.load_state_dict(trained.state_dict())
    fit_out_proj(encoder, installed, sampler)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_options(parser, TrainingConfig)
    add = parser.add_argument
    add("--threads", type=int, default=1, help="CPU threads")
    begin = parser.add_mutually_exclusive_group()
    begin.add_argument("--start", type=Path, metavar="CHECKPOINT", help="begin with what this one "
                       "has learned of speech, but nothing of the prior")  # fmt: skip
    begin.add_argument("--installed", dest="fine_tune", action="store_true",
                       help="begin with the installed network, train it further, and export the "
                       "mean of both")  # fmt: skip
    add("--no-average", action="store_true",
        help="with --installed: export what was trained, not the mean")  # fmt: skip
    add("--out", type=Path, help="export to this folder (default: WORK/export)")


def config_of(args: argparse.Namespace) -> TrainingConfig:
    """The settings of a command line. Raises RealTalkError where they contradict each other."""
    config = TrainingConfig(**given(args, TrainingConfig))
    pretrained = config.fine_tune or config.start
    if config.only_window and not (config.fine_tune and config.videos):
        raise RealTalkError("--only-window goes with --installed and --videos")
    if not any(config.data.glob("train_*.npz")) and not (config.videos and config.fine_tune):
        raise RealTalkError(
            f"no training data in {config.data}: make it by realtalk data speech, "
            "or train the installed network on --videos"
        )
    if config.fine_tune and config.ablation:
        raise RealTalkError("the installed network is no ablation: --without goes with --start")
    if args.phone_pretraining_minutes is None and not pretrained:
        config = replace(config, phone_pretraining_minutes=PHONE_PRETRAINING_MINUTES)
    if config.freeze_acoustic_encoder and not (config.phone_pretraining_minutes or pretrained):
        raise RealTalkError("nothing has taught the convolutions that --freeze-encoder would keep: "
                            "give --phone-minutes, --installed or --start")  # fmt: skip
    if config.only_window:
        config = replace(config, prior_pretraining_minutes=0.0)
    return replace(config, average=not (args.no_average or config.only_window))


def run(args: argparse.Namespace) -> int:
    """`realtalk train expression`. Raises RealTalkError where there is no data."""
    config = config_of(args)
    torch.set_num_threads(args.threads)
    path = train(config)
    if config.ablation:  # measured by `realtalk evaluate expression --ablations`
        return 0
    net, saved = checkpoint.load_ema(path)
    if saved["fine_tune"] and config.average:  # however it was resumed
        checkpoint.average_weights(net, checkpoint.load_installed())
    out = args.out or config.work / "export"
    for file in export(net, out):
        print(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB)")
    config.save(out)
    return 0
