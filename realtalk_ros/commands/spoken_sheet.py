# SPDX-License-Identifier: Apache-2.0
"""`realtalk avatars show --spoken`: the lips of avatars while sounds are said, from their sound.

The sounds are those of the bundled recording, one reader. It has neither a shout nor a whisper:
these are espeak-ng's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

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

# The middle, s, of the longest of each in the bundled recording, as pocketsphinx aligns its words:
# the silence before them, then "selfish", "do", "woman", "for", "man", "not".
IN_RECORDING = {
    "rest": 0.2, "sh": 14.77, "oo": 6.60, "w": 19.11, "f": 6.74, "m": 10.22, "ah": 8.60,
}  # fmt: skip
# A word, and espeak-ng's voice, pitch (0 to 99) and peak of the samples by which it is shouted and
# whispered. Its breath is noise, another each time, so it is said SAYINGS times: the frame that is
# shown is the one in which the lips are farthest apart, of the saying that is the median in that.
SPOKEN_WORD = "Stop!"
IN_WORD = {"shout": ("en-us", 90, 1.0), "whisper": ("en-us+whisper", 50, 0.05)}
SAYINGS = 9
SOUNDS = (*IN_RECORDING, *IN_WORD)
PAUSE = 0.5  # s of silence before and after a word
FPS = 50.0


@dataclass(frozen=True)
class Recording:
    """Sound, and what of it is shown."""

    pcm: np.ndarray  # (n,) float32
    rate: int  # Hz
    times: tuple[float, ...] = ()  # s, of the frames that are shown
    sayings: tuple[float, ...] = ()  # s, where a word begins, and where its last saying ends


def recordings() -> Iterator[Recording]:
    """Raises RealTalkError without espeak-ng."""
    yield Recording(*read_audio(SAMPLE_CLIP), tuple(IN_RECORDING.values()))
    for voice, pitch, peak in IN_WORD.values():
        pieces, begins = [], [0.0]
        for _ in range(SAYINGS):
            saying = Saying(SPOKEN_WORD, voice, pitch=pitch)
            rate = saying.sample_rate
            silence = np.zeros(round(PAUSE * rate), np.float32)
            spoken = np.concatenate([pcm for pcm, _ in saying.chunks(PAUSE)])
            spoken *= np.float32(peak / np.abs(spoken).max())
            pieces += [silence, spoken, silence]
            begins.append(sum(map(len, pieces)) / rate)
        yield Recording(np.concatenate(pieces), rate, sayings=tuple(begins))


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
        chosen = frames_of(sound, np.array([f.time for f in frames]), shown @ GAP)
        images = (renderer.render(shown[k], renderer.template_count // 2) for k in chosen)
        cells += [contact_sheet.mouth(image, square) for image in images]
    return cells


def frames_of(sound: Recording, times: np.ndarray, gaps: np.ndarray) -> list[int]:
    """Which of some frames, at `times` (n,) and with the lips `gaps` (n,) apart, are shown."""
    if not sound.sayings:
        return [int(np.abs(times - time).argmin()) for time in sound.times]
    bounds = np.searchsorted(times, sound.sayings)
    farthest = [begin + int(gaps[begin:end].argmax()) for begin, end in pairwise(bounds)]
    return [sorted(farthest, key=gaps.__getitem__)[len(farthest) // 2]]
