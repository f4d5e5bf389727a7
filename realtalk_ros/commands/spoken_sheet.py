# SPDX-License-Identifier: Apache-2.0
"""`realtalk avatars show --spoken`: the lips of avatars while sounds are said, from their sound.

The sounds are those of the bundled recording, one reader. It has neither a shout nor a whisper:
these are espeak-ng's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
from realtalk_ros.audio.text_to_speech import Saying
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.behaviour.face import Face
from realtalk_ros.expression.onnx_model import ExpressionModel
from realtalk_ros.expression.pipeline import ExpressionPipeline
from realtalk_ros.face_model.lips import GAP
from realtalk_ros.output import contact_sheet
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.stream_types import Chunk

#: The middle, s, of the longest of each in the bundled recording, as pocketsphinx aligns its words:
#: the silence before them, then "selfish", "do", "woman", "for", "man", "not".
IN_RECORDING = {
    "rest": 0.2, "sh": 14.77, "oo": 6.60, "w": 19.11, "f": 6.74, "m": 10.22, "ah": 8.60,
}  # fmt: skip
#: A word, and espeak-ng's voice, pitch (0 to 99) and peak of the samples by which it is shouted and
#: whispered. The frame that is shown is the one in which the lips are farthest apart.
SPOKEN_WORD = "Stop!"
IN_WORD = {"shout": ("en-us", 90, 1.0), "whisper": ("en-us+whisper", 50, 0.05)}
SOUNDS = (*IN_RECORDING, *IN_WORD)
PAUSE = 0.5  # s of silence before and after a word
FPS = 50.0


@dataclass(frozen=True)
class Recording:
    """Sound, and what of it is shown."""

    pcm: np.ndarray  # (n,) float32
    rate: int  # Hz
    times: tuple[float, ...] | None  # s; None: where the lips are farthest apart


def recordings() -> Iterator[Recording]:
    """Raises RealTalkError without espeak-ng."""
    yield Recording(*read_audio(SAMPLE_CLIP), tuple(IN_RECORDING.values()))
    for voice, pitch, peak in IN_WORD.values():
        saying = Saying(SPOKEN_WORD, voice, pitch=pitch)
        rate = saying.sample_rate
        silence = np.zeros(round(PAUSE * rate), np.float32)
        spoken = np.concatenate([pcm for pcm, _ in saying.chunks(PAUSE)])
        spoken *= np.float32(peak / np.abs(spoken).max())
        yield Recording(np.concatenate([silence, spoken, silence]), rate, None)


def sheet(avatars: Iterable[Avatar]) -> np.ndarray:
    """A row of SOUNDS for each avatar, uint8 BGR. Raises RealTalkError."""
    sounds, model = list(recordings()), ExpressionModel()
    rows = [(avatar.name, lips(avatar, model, sounds)) for avatar in avatars]
    return contact_sheet.table(rows, SOUNDS)


def lips(avatar: Avatar, model: ExpressionModel, sounds: Iterable[Recording]) -> list[np.ndarray]:
    """The avatar's mouth in each of SOUNDS; it does not blink, and its head is still."""
    renderer = FaceRenderer(avatar, avatar.size[1])
    square, cells = contact_sheet.face_square(renderer), []
    prior = model.prior(avatar.identity, avatar.reference_expressions)
    for sound in sounds:
        pipeline, face = ExpressionPipeline(model, prior, FPS), Face(renderer)
        face.idle_gain = face.head_gain = 0.0
        frames = pipeline.push(Chunk(sound.pcm, sound.rate, 0.0, last=True))
        shown = np.stack([face.pose(f.time, f.weights, None, f.speech)[0] for f in frames])
        times = np.array([f.time for f in frames])
        chosen = (
            [int((shown @ GAP).argmax())]
            if sound.times is None
            else [int(np.abs(times - time).argmin()) for time in sound.times]
        )
        images = (renderer.render(shown[k], renderer.template_count // 2) for k in chosen)
        cells += [contact_sheet.mouth(image, square) for image in images]
    return cells
