"""The expression network: log-mel in, face out, a causal transformer with a fixed memory (torch).

Convolutions hear the phones; the transformer on top turns them into one person's movement.
The same weights run in two forms. In training a whole sequence goes through at once under a banded
mask; in the stream one 20 ms step goes through at a time and every layer remembers the keys and
values of its last `memory` steps. Both start from a memory of zeros, so both give the same numbers.
Cross-modal attention in every layer lets the audio ask the prior: tokens of the identity and of a
2 s window of this person's own expressions, each replaced by a learned null token where unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from realtalk_ros.audio.log_mel import HOP, WINDOW
from realtalk_ros.contracts import (
    LIP_POINTS,
    MEL_RATE,
    MEL_STEP,
    N_MELS,
    REFERENCE_FRAMES,
    SAMPLE_RATE,
)
from realtalk_ros.face_model import arkit
from realtalk_ros.face_model.landmarks import IDENTITY_SIZE
from realtalk_ros.training.common.checkpoint import load_weights
from realtalk_ros.training.expression.coarticulation import STYLE_SIZE
from realtalk_ros.training.speech_data.phones import PHONES


@dataclass
class Dims:
    width: int = 160
    layers: int = 4
    heads: int = 4
    memory: int = 48  # steps a layer can look back, itself excluded: 0.96 s
    context: int = 14  # mel frames before a step that its first layer also sees
    front: int = 384  # hidden units of the first layer
    trunk: int = 256  # channels of the convolutions
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2, 4, 8, 1, 2)  # steps between the taps of each
    delay: int = 7  # steps from hearing a sound to showing its frame
    identity_tokens: int = 4
    reference_tokens: int = 10
    # How the prior enters: "attention", or for the ablation "concatenation" to the audio features.
    prior: str = "attention"

    @property
    def trail(self) -> int:
        """Steps that the convolutions remember, all together."""
        return sum(2 * d for d in self.dilations)

    @property
    def tokens(self) -> int:
        return 1 + self.identity_tokens + self.reference_tokens

    @property
    def look_ahead(self) -> float:
        """Seconds of audio after a frame's time that the frame waits for."""
        # The last mel frame of the step is 10 ms after the first; half its window reaches beyond.
        return self.delay * MEL_STEP / MEL_RATE + HOP / SAMPLE_RATE + WINDOW / 2 / SAMPLE_RATE


class Convolution(nn.Module):
    """Residual causal convolution of three taps, as one matrix product."""

    DROPPED = 0.05  # share of hidden units that are out for a whole sequence, in training

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(channels)
        self.taps = nn.Linear(3 * channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        d, t = self.dilation, x.shape[1]
        y = F.pad(self.norm(x), (0, 0, 2 * d, 0))
        y = torch.cat([y[:, i * d : i * d + t] for i in range(3)], -1)
        y = F.gelu(self.taps(y))
        if self.training:
            kept = torch.rand(y.shape[0], 1, y.shape[2], device=y.device) >= self.DROPPED
            y = y * (kept / (1 - self.DROPPED)).to(y.dtype)
        return x + self.out(y)

    def step(self, x: Tensor, trail: Tensor) -> tuple[Tensor, Tensor]:
        """X (1, channels), trail (2 * dilation, channels) -> y, the next trail."""
        d = self.dilation
        full = torch.cat([trail, self.norm(x)])
        y = torch.cat([full[0:1], full[d : d + 1], full[2 * d :]], -1)
        return x + self.out(F.gelu(self.taps(y))), full[1:]


class Trunk(nn.Module):
    """Hears what phones sound like: dilated convolutions over the steps so far."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.inward = nn.Linear(MEL_STEP * N_MELS, dims.trunk)
        self.blocks = nn.ModuleList(Convolution(dims.trunk, d) for d in dims.dilations)
        self.norm = nn.LayerNorm(dims.trunk)
        self.outward = nn.Linear(dims.trunk, dims.width)
        self.phones = nn.Linear(dims.trunk, len(PHONES))  # training only

    def features(self, mel: Tensor) -> Tensor:
        """(B, 2 T, 80) -> (B, T, channels): what each step sounds like."""
        b, m, _ = mel.shape
        x = self.inward(mel.reshape(b, m // MEL_STEP, MEL_STEP * N_MELS))
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 2 T, 80) -> (B, T, width), phone logits (B, T, phones)."""
        x = self.features(mel)
        return self.outward(x), self.phones(x)

    def step(self, mel: Tensor, trail: Tensor) -> tuple[Tensor, Tensor]:
        """Mel (2, 80), trail (dims.trail, channels) -> (1, width), the next trail."""
        x, at, trails = self.inward(mel.reshape(1, MEL_STEP * N_MELS)), 0, []
        for block in self.blocks:
            x, kept = block.step(x, trail[at : at + 2 * block.dilation])
            at += 2 * block.dilation
            trails.append(kept)
        return self.outward(self.norm(x)), torch.cat(trails)


class SelfAttention(nn.Module):
    """Attention to the last `memory` steps and this one, with a learned bias per distance."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.heads, self.memory = dims.heads, dims.memory
        self.norm = nn.LayerNorm(dims.width)
        self.qkv = nn.Linear(dims.width, 3 * dims.width, bias=False)
        self.out = nn.Linear(dims.width, dims.width)
        distance = torch.arange(dims.memory, -1, -1)  # oldest first, as the memory is kept
        slopes = 2.0 ** -torch.arange(2, 2 + dims.heads)
        self.bias = nn.Parameter(-slopes[:, None] * distance * 0.25)  # (heads, memory + 1)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, t, width = x.shape
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        shape = (b, t, self.heads, width // self.heads)
        return tuple(z.reshape(shape).transpose(1, 2) for z in (q, k, v))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, width) -> the same, all steps at once."""
        b, t, width = x.shape
        m = self.memory
        chunks = -(-t // m)  # of `memory` steps: each sees itself and the one before
        q, k, v = self._split(F.pad(x, (0, 0, 0, chunks * m - t)))
        k, v = (F.pad(z, (0, 0, m, 0)).unfold(2, 2 * m, m) for z in (k, v))  # a memory of zeros
        q = q.unflatten(2, (chunks, m))
        # Row i of a chunk sees columns i .. i + memory of its 2 * memory keys.
        offset = torch.arange(2 * m, device=x.device) - torch.arange(m, device=x.device).unsqueeze(
            1
        )
        inside = (offset >= 0) & (offset <= m)
        bias = self.bias[:, offset.clamp(0, m)].masked_fill(~inside, float("-inf"))
        scores = q @ k * q.shape[-1] ** -0.5 + bias[:, None]
        y = scores.softmax(-1).to(v.dtype) @ v.transpose(-1, -2)
        return self.out(y.flatten(2, 3)[:, :, :t].transpose(1, 2).reshape(b, t, width))

    def step(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """X (1, 1, width), memory (2, heads, memory, width / heads) -> y, the next memory."""
        q, k, v = self._split(x)
        full = torch.cat([memory, torch.cat([k, v])], 2)  # (2, heads, memory + 1, dim)
        scores = q[0] @ full[0].transpose(1, 2) * q.shape[-1] ** -0.5 + self.bias[:, None]
        y = scores.softmax(-1) @ full[1]
        return self.out(y.transpose(0, 1).reshape(1, 1, -1)), full[:, :, 1:]


class CrossAttention(nn.Module):
    """Audio asks, the prior's tokens answer."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.heads = dims.heads
        self.norm = nn.LayerNorm(dims.width)
        self.q = nn.Linear(dims.width, dims.width, bias=False)
        self.kv = nn.Linear(dims.width, 2 * dims.width, bias=False)
        self.out = nn.Linear(dims.width, dims.width)
        nn.init.zeros_(self.out.weight)  # begins as if there were no prior

    def prior(self, tokens: Tensor) -> Tensor:
        """Tokens (B, P, width) -> (B, 2, heads, P, width / heads): what the stream keeps."""
        b, p, width = tokens.shape
        return (
            self.kv(tokens).reshape(b, p, 2, self.heads, width // self.heads).permute(0, 2, 3, 1, 4)
        )

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:
        b, t, width = x.shape
        q = self.q(self.norm(x)).reshape(b, t, self.heads, width // self.heads).transpose(1, 2)
        scores = q @ prior[:, 0].transpose(2, 3) * q.shape[-1] ** -0.5
        y = scores.softmax(-1) @ prior[:, 1]
        return self.out(y.transpose(1, 2).reshape(b, t, width))


class Block(nn.Module):
    def __init__(self, dims: Dims):
        super().__init__()
        self.attention = SelfAttention(dims)
        self.cross = CrossAttention(dims) if dims.prior == "attention" else None
        self.feed = nn.Sequential(
            nn.LayerNorm(dims.width),
            nn.Linear(dims.width, 4 * dims.width),
            nn.GELU(),
            nn.Linear(4 * dims.width, dims.width),
        )

    def forward(self, x: Tensor, prior: Tensor) -> Tensor:
        x = x + self.attention(x)
        if self.cross is not None:
            x = x + self.cross(x, prior)
        return x + self.feed(x)

    def step(self, x: Tensor, prior: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        y, memory = self.attention.step(x, memory)
        x = x + y
        x = x + self.cross(x, prior)
        return x + self.feed(x), memory


class PriorEncoder(nn.Module):
    """Identity (B, 100) and reference window (B, 50, 52) -> tokens (B, P, width)."""

    def __init__(self, dims: Dims):
        super().__init__()
        self.dims = dims
        width = dims.width
        self.identity = nn.Linear(IDENTITY_SIZE, dims.identity_tokens * width)
        stride = REFERENCE_FRAMES // dims.reference_tokens
        self.reference = nn.Sequential(
            nn.Linear(stride * arkit.COUNT, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.position = nn.Parameter(0.02 * torch.randn(dims.tokens, width))
        self.null = nn.Parameter(0.02 * torch.randn(dims.tokens, width))
        layer = nn.TransformerEncoderLayer(
            width, dims.heads, 2 * width, 0.0, F.gelu, batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)

    def forward(self, identity: Tensor, reference: Tensor, known: Tensor) -> Tensor:
        """Known (B, 2): 1 where the identity, the reference window is given, else 0."""
        b = identity.shape[0]
        dims = self.dims
        tokens = self.identity(identity).reshape(b, dims.identity_tokens, dims.width)
        windows = self.reference(5 * reference.reshape(b, dims.reference_tokens, -1))
        tokens = torch.cat([self.null[:1].expand(b, 1, -1), tokens, windows], 1)
        use = torch.cat(
            [
                torch.ones_like(known[:, :1]),
                known[:, :1].expand(b, dims.identity_tokens),
                known[:, 1:].expand(b, dims.reference_tokens),
            ],
            1,
        ).unsqueeze(-1)
        tokens = use * tokens + (1 - use) * self.null
        return self.norm(self.mix(tokens + self.position))


class ExpressionNet(nn.Module):
    def __init__(self, dims: Dims | None = None):
        super().__init__()
        self.dims = dims = dims or Dims()
        width = dims.width
        self.front = nn.Sequential(
            nn.Linear((dims.context + MEL_STEP) * N_MELS, dims.front),
            nn.GELU(),
            nn.Linear(dims.front, width),
        )
        self.trunk = Trunk(dims)
        if dims.prior == "attention":
            self.prior_encoder = PriorEncoder(dims)
        else:
            self.plain_prior = nn.Linear(2 + IDENTITY_SIZE + REFERENCE_FRAMES * arkit.COUNT, width)
            self.join = nn.Linear(2 * width, width)
            with torch.no_grad():  # begins as if there were no prior
                self.join.weight[:, :width] = torch.eye(width)
                self.join.weight[:, width:] = 0
        self.blocks = nn.ModuleList(Block(dims) for _ in range(dims.layers))
        self.norm = nn.LayerNorm(width)
        self.face = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, arkit.COUNT + 4)
        )
        self.lips = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, 3 * LIP_POINTS)
        )
        self.phones = nn.Linear(width, len(PHONES))  # training only
        self.style = nn.Linear(width, STYLE_SIZE)  # training only
        with torch.no_grad():  # start near rest
            self.face[-1].bias.fill_(-3.0)
            self.face[-1].bias[arkit.COUNT :] = 0.0
            self.face[-1].weight[: arkit.COUNT] *= 0.3

    def prior(self, identity: Tensor, reference: Tensor, known: Tensor) -> Tensor:
        """-> (B, layers, 2, heads, P, width / heads), once per person; see PriorEncoder.

        By concatenation (the ablation) it is (B, 1, width).
        """
        return self.asked(self.tokens(identity, reference, known))

    def tokens(self, identity: Tensor, reference: Tensor, known: Tensor) -> Tensor:
        """-> (B, P, width); by concatenation P is 1. Each is asked for the style."""
        if self.dims.prior == "concatenation":
            parts = [known, known[:, :1] * identity, known[:, 1:] * reference.flatten(1)]
            return self.plain_prior(torch.cat(parts, 1)).unsqueeze(1)
        return self.prior_encoder(identity, reference, known)

    def asked(self, tokens: Tensor) -> Tensor:
        """Tokens as `prior` gives them."""
        if self.dims.prior == "concatenation":
            return tokens
        return torch.stack([block.cross.prior(tokens) for block in self.blocks], 1)

    def _heads(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = self.face(h)
        weights, rotation, speech = out.split([arkit.COUNT, 3, 1], -1)
        return weights.sigmoid(), 0.1 * rotation, speech.squeeze(-1)

    def forward(self, mel: Tensor, prior: Tensor) -> dict[str, Tensor]:
        """Mel (B, 2 T, 80) -> per step (B, T, ...); step k shows the frame of step k - delay.

        weights (.., 52), rotation (.., 3) rad, speech (..) logits, lips (.., 60) cm from rest,
        phone and heard_phone (.., phones) logits.
        """
        b, m, _ = mel.shape
        padded = F.pad(mel, (0, 0, self.dims.context, 0))
        x = padded.unfold(1, self.dims.context + MEL_STEP, MEL_STEP)  # (B, T, 80, context + 2)
        heard, heard_phone = self.trunk(mel)
        x = self.front(x.transpose(2, 3).reshape(b, m // MEL_STEP, -1)) + heard
        if self.dims.prior == "concatenation":
            x = self.join(torch.cat([x, prior.expand(b, x.shape[1], -1)], -1))
        for i, block in enumerate(self.blocks):
            x = block(x, None if block.cross is None else prior[:, i])
        h = self.norm(x)
        weights, rotation, speech = self._heads(h)
        return {
            "weights": weights, "rotation": rotation, "speech": speech, "lips": self.lips(h),
            "phone": self.phones(h), "heard_phone": heard_phone,
        }  # fmt: skip

    def step(
        self, mel: Tensor, prior: Tensor, context: Tensor, trail: Tensor, memory: Tensor
    ) -> tuple[Tensor, ...]:
        """One 20 ms step.

        mel (2, 80); prior (layers, 2, heads, P, d); context (context, 80), the frames before;
        trail (dims.trail, trunk); memory (layers, 2, heads, memory, d). Returns weights (52,),
        rotation (3,), speech probability (), lips (20, 3), the next context, trail and memory.
        """
        frames = torch.cat([context, mel])
        heard, next_trail = self.trunk.step(mel, trail)
        x = self.front(frames.reshape(1, 1, -1)) + heard
        memories = []
        for i, block in enumerate(self.blocks):
            x, kept = block.step(x, prior[i : i + 1], memory[i])
            memories.append(kept)
        h = self.norm(x)
        weights, rotation, speech = self._heads(h)
        return (
            weights[0, 0], rotation[0, 0], speech[0, 0].sigmoid(),
            self.lips(h)[0, 0].reshape(LIP_POINTS, 3), frames[MEL_STEP:], next_trail,
            torch.stack(memories),
        )  # fmt: skip


def dims_of(saved: dict) -> Dims:
    return Dims(**{**saved, "dilations": tuple(saved["dilations"])})


def load(path) -> tuple[ExpressionNet, dict]:
    """The network of a checkpoint, and all that it holds. Raises RealTalkError."""
    data = torch.load(path, map_location="cpu", weights_only=True)
    net = ExpressionNet(dims_of(data["dims"]))
    load_weights(net, data["net"], path)
    return net, data
