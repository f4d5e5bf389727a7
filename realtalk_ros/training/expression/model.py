# SPDX-License-Identifier: Apache-2.0
"""The expression network in torch: a causal transformer over log-mel with a bounded cache.

Dilated causal convolutions recognise phones; the transformer turns them into one person's movement.
The same weights run in two forms. In training a whole sequence goes through at once under a banded
mask. At run time one or a few steps of 20 ms go through at a time, and every layer caches the keys
and values of its last `attention_window` steps. Both start from a cache of zeros, so both give the
same numbers.

The prior is what is known of the person: identity coefficients and a reference window, two seconds
of the person's own expressions. It is encoded into tokens once, and every layer cross-attends to
their keys and values (`condition_kv`). Where the identity or the reference is unknown, learned null
tokens take the place of its tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtalk_ros.contracts import LIP_POINTS, MEL_STEP, N_MELS, REFERENCE_FRAMES
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.training.expression.dims import MAX_STEPS, Dims
from realtalk_ros.training.expression.sound_predictor import SoundPredictor
from realtalk_ros.training.expression.speaking_style import STYLE_SIZE
from realtalk_ros.training.speech_data.phones import PHONES

REFERENCE_GAIN = 5.0  # blendshape weights are small: this brings a reference window to about 1
ROTATION_GAIN = 0.1  # rad per unit of the face head's output
DROPOUT = 0.05  # share of hidden units that a convolution drops for a whole sequence


class CausalConv(nn.Module):
    """Residual dilated causal convolution of three taps, as one matrix product."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Linear(3 * channels, channels)
        self.out_proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        d, t = self.dilation, x.shape[1]
        y = F.pad(self.norm(x), (0, 0, 2 * d, 0))
        y = torch.cat([y[:, i * d : i * d + t] for i in range(3)], -1)
        y = F.gelu(self.conv(y))
        if self.training:
            kept = torch.rand(y.shape[0], 1, y.shape[2], device=y.device) >= DROPOUT
            y = y * (kept / (1 - DROPOUT)).to(y.dtype)
        return x + self.out_proj(y)

    def step(
        self, x: Tensor, cache: Tensor, rows: Tensor, guessed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """X (n, channels), cache (2 * dilation, channels), rows (n, 1): 0 .. n - 1 -> y (n,
        channels), the next cache; it does not keep the last `guessed` steps."""
        d = self.dilation
        inputs = torch.cat([cache, self.norm(x)])
        taps = inputs[rows + torch.arange(0, 2 * d + 1, d)].reshape(-1, self.conv.in_features)
        return x + self.out_proj(F.gelu(self.conv(taps))), inputs[_last(2 * d, guessed)]


class AcousticEncoder(nn.Module):
    """Recognises phones: dilated causal convolutions over the steps so far."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.in_proj = nn.Linear(MEL_STEP * N_MELS, dims.conv_width)
        self.blocks = nn.ModuleList(CausalConv(dims.conv_width, d) for d in dims.dilations)
        self.norm = nn.LayerNorm(dims.conv_width)
        self.out_proj = nn.Linear(dims.conv_width, dims.width)
        self.phone_head = nn.Linear(dims.conv_width, len(PHONES))  # training only

    def features(self, mel: Tensor) -> Tensor:
        """(B, 2 T, 80) -> (B, T, conv_width)."""
        b, m, _ = mel.shape
        x = self.in_proj(mel.reshape(b, m // MEL_STEP, MEL_STEP * N_MELS))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2 T, 80) -> (B, T, width), phone logits (B, T, phones)."""
        x = self.features(mel)
        return self.out_proj(x), self.phone_head(x)

    def step(
        self, mel: Tensor, conv_cache: Tensor, rows: Tensor, guessed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Mel (n, 160), conv_cache (steps, conv_width), rows and guessed of CausalConv.step -> (n,
        width), the next cache."""
        x, caches = self.in_proj(mel), []
        before = conv_cache.split([2 * block.dilation for block in self.blocks])
        for block, cache in zip(self.blocks, before, strict=True):
            x, cache = block.step(x, cache, rows, guessed)
            caches.append(cache)
        return self.out_proj(self.norm(x)), torch.cat(caches)


def _last(count: int, guessed: int) -> slice:
    """The last `count` steps before the last `guessed`, which a cache does not keep."""
    return slice(-count - guessed, -guessed or None)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """Attention of queries (heads, n, d) to keys and values (heads, m, d) -> (n, heads, d)."""
    return ((q @ k.transpose(1, 2) + bias).softmax(-1) @ v).transpose(0, 1)


class SelfAttention(nn.Module):
    """Attention to the last `window` steps and this one, with a learned bias per distance."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.heads, self.window = dims.heads, dims.attention_window
        self.norm = nn.LayerNorm(dims.width)
        self.qkv_proj = nn.Linear(dims.width, 3 * dims.width, bias=False)
        self.out_proj = nn.Linear(dims.width, dims.width)
        distance = torch.arange(self.window, -1, -1)  # oldest first, as in the cache
        slopes = 2.0 ** -torch.arange(2, 2 + dims.heads)
        # (heads, window + 1); starts as ALiBi (Press et al. 2022) with a quarter of its slopes.
        self.distance_bias = nn.Parameter(-slopes[:, None] * distance * 0.25)

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, t, width = x.shape
        q, k, v = self.qkv_proj(self.norm(x)).chunk(3, -1)
        shape = (b, t, self.heads, width // self.heads)
        return tuple(z.reshape(shape).transpose(1, 2) for z in (q, k, v))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> the same, all steps at once."""
        b, t, width = x.shape
        w = self.window
        chunks = -(-t // w)  # of `window` steps: each sees itself and the one before
        q, k, v = self._qkv(F.pad(x, (0, 0, 0, chunks * w - t)))
        k, v = (F.pad(z, (0, 0, w, 0)).unfold(2, 2 * w, w) for z in (k, v))  # a cache of zeros
        q = q.unflatten(2, (chunks, w))
        bias = self.band(w)
        scores = q @ k * q.shape[-1] ** -0.5 + bias[:, None]
        y = scores.softmax(-1).to(v.dtype) @ v.transpose(-1, -2)
        return self.out_proj(y.flatten(2, 3)[:, :, :t].transpose(1, 2).reshape(b, t, width))

    def band(self, rows: int) -> Tensor:
        """(heads, rows, window + rows): biases of the distances. Row i sees columns i .. i + window
        of its keys, of which the first `window` are of the steps before."""
        columns = torch.arange(self.window + rows, device=self.distance_bias.device)
        offset = columns - columns[:rows, None]
        hidden = (offset < 0) | (offset > self.window)
        bias = self.distance_bias[:, offset.clamp(0, self.window)]
        return bias.masked_fill(hidden, float("-inf"))

    def step(
        self, x: Tensor, kv_cache: Tensor, bias: Tensor, guessed: int = 0
    ) -> tuple[Tensor, Tensor]:
        """X (n, width), kv_cache (2 * heads, window, d), bias (heads, n, window + n) of `band` -> y
        (n, width), the next cache, without the last `guessed` steps."""
        width, depth = self.out_proj.in_features, self.out_proj.in_features // self.heads
        qkv = self.qkv_proj(self.norm(x)).reshape(-1, 3 * self.heads, depth).transpose(0, 1)
        q, kv = qkv.split([self.heads, 2 * self.heads])
        kv = torch.cat([kv_cache, kv], 1)
        y = _attend(q * depth**-0.5, *kv.split(self.heads), bias).reshape(-1, width)
        return self.out_proj(y), kv[:, _last(self.window, guessed)]


class CrossAttention(nn.Module):
    """Attention of the audio features to the tokens of the prior."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.heads = dims.heads
        self.norm = nn.LayerNorm(dims.width)
        self.q_proj = nn.Linear(dims.width, dims.width, bias=False)
        self.kv_proj = nn.Linear(dims.width, 2 * dims.width, bias=False)
        self.out_proj = nn.Linear(dims.width, dims.width)
        nn.init.zeros_(self.out_proj.weight)  # begins as if there were no prior

    def kv(self, tokens: Tensor) -> Tensor:
        """Tokens (B, P, width) -> keys and values (B, 2, heads, P, width / heads)."""
        b, p, width = tokens.shape
        kv = self.kv_proj(tokens).reshape(b, p, 2, self.heads, width // self.heads)
        return kv.permute(0, 2, 3, 1, 4)

    def forward(self, x: Tensor, kv: Tensor) -> Tensor:
        b, t, width = x.shape
        q = self.q_proj(self.norm(x)).reshape(b, t, self.heads, width // self.heads).transpose(1, 2)
        scores = q @ kv[:, 0].transpose(2, 3) * q.shape[-1] ** -0.5
        y = scores.softmax(-1) @ kv[:, 1]
        return self.out_proj(y.transpose(1, 2).reshape(b, t, width))

    def step(self, x: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """X (n, width), k and v (heads, P, d) -> (n, width)."""
        width, depth = self.out_proj.in_features, self.out_proj.in_features // self.heads
        q = self.q_proj(self.norm(x)).reshape(-1, self.heads, depth).transpose(0, 1)
        return self.out_proj(_attend(q * depth**-0.5, k, v).reshape(-1, width))


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the prior, feed-forward; all residual, norms first."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.self_attention = SelfAttention(dims)
        attends = dims.conditioning == "attention"
        self.cross_attention = CrossAttention(dims) if attends else None
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dims.width),
            nn.Linear(dims.width, 4 * dims.width),
            nn.GELU(),
            nn.Linear(4 * dims.width, dims.width),
        )

    def forward(self, x: Tensor, condition_kv: Tensor | None) -> Tensor:
        x = x + self.self_attention(x)
        if self.cross_attention is not None:
            x = x + self.cross_attention(x, condition_kv)
        return x + self.feed_forward(x)

    def step(
        self, x: Tensor, condition: tuple[Tensor, Tensor], kv_cache: Tensor, bias: Tensor,
        guessed: int = 0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        y, kv_cache = self.self_attention.step(x, kv_cache, bias, guessed)
        x = x + y
        x = x + self.cross_attention.step(x, *condition)
        return x + self.feed_forward(x), kv_cache


class PriorEncoder(nn.Module):
    """Identity (B, 100) and reference window (B, 50, 52) -> tokens (B, P, width)."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.dims = dims
        width = dims.width
        self.identity_proj = nn.Linear(IDENTITY_SIZE, dims.identity_tokens * width)
        frames = REFERENCE_FRAMES // dims.reference_tokens  # in each token of the reference
        self.reference_proj = nn.Sequential(
            nn.Linear(frames * arkit.COUNT, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.position_embedding = nn.Parameter(0.02 * torch.randn(dims.prior_tokens, width))
        self.null_tokens = nn.Parameter(0.02 * torch.randn(dims.prior_tokens, width))
        layer = nn.TransformerEncoderLayer(
            width, dims.heads, 2 * width, dropout=0.0, activation=F.gelu, batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.transformer = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, identity: Tensor, reference: Tensor, condition_mask: Tensor) -> Tensor:
        """condition_mask (B, 2): 1 where the identity, the reference window is given, else 0."""
        b = identity.shape[0]
        dims = self.dims
        identities = self.identity_proj(identity).reshape(b, dims.identity_tokens, dims.width)
        windows = (REFERENCE_GAIN * reference).reshape(b, dims.reference_tokens, -1)
        null = self.null_tokens[:1].expand(b, 1, -1)
        tokens = torch.cat([null, identities, self.reference_proj(windows)], 1)
        given = torch.cat(
            [
                torch.ones_like(condition_mask[:, :1]),
                condition_mask[:, :1].expand(b, dims.identity_tokens),
                condition_mask[:, 1:].expand(b, dims.reference_tokens),
            ],
            1,
        ).unsqueeze(-1)
        tokens = given * tokens + (1 - given) * self.null_tokens
        return self.norm(self.transformer(tokens + self.position_embedding))


class ExpressionNet(nn.Module):
    """The whole network. `forward` is its form in training, `step` its form at run time."""

    def __init__(self, dims: Dims | None = None):
        super().__init__()
        self.dims = dims = dims or Dims()
        width = dims.width
        self.stem = nn.Sequential(
            nn.Linear((dims.mel_context + MEL_STEP) * N_MELS, dims.stem_width),
            nn.GELU(),
            nn.Linear(dims.stem_width, width),
        )
        self.acoustic_encoder = AcousticEncoder(dims)
        if dims.conditioning == "attention":
            self.prior_encoder = PriorEncoder(dims)
        else:
            self.prior_proj = nn.Linear(2 + IDENTITY_SIZE + REFERENCE_FRAMES * arkit.COUNT, width)
            self.fusion_proj = nn.Linear(2 * width, width)
            with torch.no_grad():  # begins as if there were no prior
                self.fusion_proj.weight[:, :width] = torch.eye(width)
                self.fusion_proj.weight[:, width:] = 0
        self.blocks = nn.ModuleList(TransformerBlock(dims) for _ in range(dims.layers))
        self.norm = nn.LayerNorm(width)
        self.face_head = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, arkit.COUNT + 4)
        )
        self.lip_head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3 * LIP_POINTS)
        )
        self.phone_head = nn.Linear(width, len(PHONES))  # training only
        self.style_head = nn.Linear(width, STYLE_SIZE)  # training only
        with torch.no_grad():  # start near rest
            self.face_head[-1].bias.fill_(-3.0)
            self.face_head[-1].bias[arkit.COUNT :] = 0.0
            self.face_head[-1].weight[: arkit.COUNT] *= 0.3

    def encode_prior(self, identity: Tensor, reference: Tensor, condition_mask: Tensor) -> Tensor:
        """-> condition_kv (B, layers, 2, heads, P, width / heads), once per person.

        See PriorEncoder for the inputs. By concatenation (the ablation) it is (B, 1, width).
        """
        return self.condition_kv(self.prior_tokens(identity, reference, condition_mask))

    def prior_tokens(self, identity: Tensor, reference: Tensor, condition_mask: Tensor) -> Tensor:
        """-> (B, P, width); by concatenation P is 1. `style_head` reads each of them."""
        if self.dims.conditioning == "concatenation":
            given = condition_mask[:, :1] * identity, condition_mask[:, 1:] * reference.flatten(1)
            return self.prior_proj(torch.cat([condition_mask, *given], 1)).unsqueeze(1)
        return self.prior_encoder(identity, reference, condition_mask)

    def condition_kv(self, tokens: Tensor) -> Tensor:
        """Keys and values of the prior's tokens in every layer, as `encode_prior` returns them."""
        if self.dims.conditioning == "concatenation":
            return tokens
        return torch.stack([block.cross_attention.kv(tokens) for block in self.blocks], 1)

    def _face(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, rotation, speech = self.face_head(h).split([arkit.COUNT, 3, 1], -1)
        return weights.sigmoid(), ROTATION_GAIN * rotation, speech.squeeze(-1)

    def forward(self, mel: Tensor, condition_kv: Tensor) -> dict[str, Tensor]:
        """Mel (B, 2 T, 80) -> per step (B, T, ...); step k shows frame k - look-ahead.

        weights (.., 52), rotation (.., 3) rad, speech (..) logits, lips (.., 60) cm from rest,
        phone and acoustic_phone (.., phones) logits.
        """
        b, m, _ = mel.shape
        padded = F.pad(mel, (0, 0, self.dims.mel_context, 0))
        # (B, T, 80, context + 2)
        frames = padded.unfold(1, self.dims.mel_context + MEL_STEP, MEL_STEP)
        acoustic, acoustic_phone = self.acoustic_encoder(mel)
        x = self.stem(frames.transpose(2, 3).reshape(b, m // MEL_STEP, -1)) + acoustic
        if self.dims.conditioning == "concatenation":
            x = self.fusion_proj(torch.cat([x, condition_kv.expand(b, x.shape[1], -1)], -1))
        for i, block in enumerate(self.blocks):
            x = block(x, None if block.cross_attention is None else condition_kv[:, i])
        h = self.norm(x)
        weights, rotation, speech = self._face(h)
        return {
            "weights": weights, "rotation": rotation, "speech": speech, "lips": self.lip_head(h),
            "phone": self.phone_head(h), "acoustic_phone": acoustic_phone,
        }  # fmt: skip

    def step(
        self, mel: Tensor, condition_kv: Tensor, mel_context: Tensor, conv_cache: Tensor,
        kv_cache: Tensor, predictor: SoundPredictor | None = None,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """N steps of 20 ms, 1 <= n <= MAX_STEPS.

        With a `predictor`, n is 1: steps that it guesses follow, what is returned is shown after
        the last of them, and the next caches know nothing of them.

        mel (2 n, 80); condition_kv (layers, 2, heads, P, d); mel_context (context, 80), the frames
        before; conv_cache (dims.conv_cache_steps, conv_width); kv_cache (layers, 2, heads, window,
        d). Returns weights (n, 52), rotation (n, 3), speech probability (n,), lips (n, 20, 3), the
        next mel_context, conv_cache and kv_cache.
        """
        row, context = MEL_STEP * N_MELS, self.dims.mel_context // MEL_STEP
        mel = mel.reshape(-1, row)
        frames, guessed = torch.cat([mel_context.reshape(context, row), mel]), 0
        if predictor is not None:
            coming, guessed = predictor(frames[None])[0], predictor.steps
            mel, frames = torch.cat([mel, coming]), torch.cat([frames, coming])
        n, w, heads = mel.shape[0], self.dims.attention_window, self.dims.heads
        rows = torch.arange(n)[:, None]
        acoustic, next_conv_cache = self.acoustic_encoder.step(mel, conv_cache, rows, guessed)
        windows = frames[rows + torch.arange(context + 1)].reshape(-1, (context + 1) * row)
        x = self.stem(windows) + acoustic
        conditions = condition_kv.flatten(0, 2).split(heads)
        # What does not depend on n is computed when the exported network is loaded.
        bands = torch.cat([block.self_attention.band(MAX_STEPS) for block in self.blocks])
        biases = bands[:, :n, : w + n].split(heads)
        kv_caches = list(kv_cache.flatten(0, 2).split(2 * heads))
        for i, block in enumerate(self.blocks):
            condition = conditions[2 * i], conditions[2 * i + 1]
            x, kv_caches[i] = block.step(x, condition, kv_caches[i], biases[i], guessed)
        h = self.norm(x[guessed:] if guessed else x)
        weights, rotation, speech = self._face(h)
        return (
            weights, rotation, speech.sigmoid(), self.lip_head(h).reshape(-1, LIP_POINTS, 3),
            frames[_last(context, guessed)].reshape(mel_context.shape), next_conv_cache,
            torch.cat(kv_caches).reshape(kv_cache.shape),
        )  # fmt: skip


def is_training_only(name: str) -> bool:
    """Whether a parameter belongs to a head that only the training needs, so no ONNX file has."""
    return "phone_head" in name or name.startswith("style_head.")
