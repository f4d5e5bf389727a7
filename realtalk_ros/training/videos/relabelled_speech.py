# SPDX-License-Identifier: Apache-2.0
"""Recordings of speech in which nobody was filmed, for `realtalk data mouths`.

They get the movement that a regression on the filmed people predicts, and each a random person's
identity and window of expressions, or none, as the network is given one or none in its use. They
keep it from forgetting what it knows of other voices, languages and people. Where their words are
known, the times of their phones say where lips meet (lip_contacts.py). Silence, noise and music are
among them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from realtalk_ros.contracts import EXPRESSION_RATE, SAMPLE_RATE
from realtalk_ros.errors import AudioError, RealTalkError
from realtalk_ros.face_model.lips import WIDTH, gap_of
from realtalk_ros.training.expression import coarticulation, speaking_style
from realtalk_ros.training.expression.video_dataset import STILL
from realtalk_ros.training.speech_data.corpora import read_recording
from realtalk_ros.training.videos import mouth_targets
from realtalk_ros.training.videos.filmed_people import Stretch
from realtalk_ros.training.videos.known_words import Aligner, words_of_recording
from realtalk_ros.training.videos.lip_contacts import LipContacts
from realtalk_ros.training.videos.teacher import UNKNOWN, Condition, Teacher, write_stretches

SPEECH = "speech_"  # how its files begin
RECORDINGS = 12  # of one random person
UNKNOWN_SHARE = 0.5  # of the random people whose conditioning the network lacks
GAIN_PEOPLE, GAIN_SENTENCES = 24, 4  # of which `usual_gain` is the mean
# cm: of an unfilmed person's lips, which the network has this near, it is believed that they meet;
# up to twice that, in part. Lips that surely do not meet are APART_GAP apart.
SHUT_GAP, APART_GAP = 0.04, 0.18
STILL_SECONDS = 1500.0  # with 240 a noise in a hundred moved the lips by 7 % of their range
MUSIC_SECONDS = 900.0  # without any, seven recordings of music in ten moved the lips


class Relabeller:
    """Writes files into the folder `out`, and figures into `report`."""

    def __init__(self, out: Path, teacher: Teacher, report: dict) -> None:
        self.out, self.teacher, self.report = out, teacher, report
        self.rng = np.random.default_rng(0)
        self._aligners: dict[str, Aligner] = {}

    def write_speech(
        self, paths: list[Path], minutes: float, regression: mouth_targets.MouthRegression
    ) -> None:
        """Recordings of random people, `minutes` of them."""
        usual = self.usual_gain()
        self.report["usual_gain"] = round(usual, 3)
        order, number, steps = self.rng.permutation(len(paths)).tolist(), 0, 0
        bar = tqdm(total=round(minutes), desc="minutes of speech", disable=None)
        while order and steps < 60 * EXPRESSION_RATE * minutes:
            chosen, order = order[:RECORDINGS], order[RECORDINGS:]
            person = self.draw_person()
            gain = usual if person.mask[1] else 1.0
            found = (self._relabel(paths[k], person, regression, gain) for k in chosen)
            if not (pairs := [pair for pair in found if pair]):
                continue
            stretches, made = map(list, zip(*pairs, strict=True))
            self._write(f"{SPEECH}{number:04d}", stretches, made, person)
            number += 1
            steps += sum(map(len, made))
            bar.n = round(steps / EXPRESSION_RATE / 60)
            bar.refresh()
        bar.close()
        self.report["speech_minutes"] = round(steps / EXPRESSION_RATE / 60, 1)

    def _relabel(
        self,
        path: Path,
        person: Condition,
        regression: mouth_targets.MouthRegression,
        gain: float,
    ) -> tuple[Stretch, np.ndarray] | None:
        """A recording as the network follows it for `person`, and weights (n, 52) to be learned;
        None where it cannot be read or is no longer than a second."""
        try:
            pcm = read_recording(path)
        except AudioError:
            return None
        if len(pcm) <= SAMPLE_RATE:
            return None
        stretch = self.teacher.follow(pcm, person)
        neutral = self.teacher.follow(pcm, UNKNOWN) if person.mask.any() else stretch
        contacts = self._contacts(path, len(stretch.weights))
        made = relabelled(
            neutral.weights, stretch.weights, stretch.speech, regression, gain, contacts=contacts
        )
        if contacts:
            stretch = replace(stretch, weights=contacts.corrected(stretch.weights))
        return stretch, made

    def _contacts(self, path: Path, steps: int) -> LipContacts | None:
        """What phones say of the lips, in a recording whose words are known and can be aligned."""
        if (spoken := words_of_recording(path)) is None:
            return None
        aligner = self._aligners.setdefault(spoken[0], Aligner(spoken[0]))
        try:
            segments = aligner.align(path, spoken[1])
        except RealTalkError as error:  # espeak-ng has no such voice
            segments, self.report["not_aligned"] = None, str(error)
        if segments is None:
            return None
        self.report["aligned"] += steps / EXPRESSION_RATE / 60
        return LipContacts.of(segments, steps)

    def write_stillness(self) -> None:
        """Silence, noise, music and hum, in which the face rests and nobody speaks, whatever the
        network took it for."""
        from realtalk_ros.training.speech_data import music
        from realtalk_ros.training.speech_data.synthetic_speech import stillness

        for name, sounds in {
            STILL: stillness(STILL_SECONDS, 11),
            f"{STILL}_music": music.recordings(MUSIC_SECONDS, 12),
        }.items():
            stretches = [
                replace(stretch, speech=np.zeros_like(stretch.speech))
                for stretch in (self.teacher.follow(sound.pcm, UNKNOWN) for sound in sounds)
            ]
            self._write(name, stretches, [np.zeros_like(s.weights) for s in stretches])

    def draw_person(self) -> Condition:
        """A random person, of whom the network knows nothing, something or all."""
        identity, style = speaking_style.random_speaker(self.rng)
        speech = self._sentences[int(self.rng.integers(len(self._sentences)))]
        frames = max(coarticulation.WINDOW_STEPS, int(speech.segments[-1][2] * EXPRESSION_RATE))
        moved = coarticulation.animate(speech.segments, frames, style).weights
        start = int(self.rng.integers(max(1, frames - coarticulation.WINDOW_STEPS)))
        known = np.zeros(2, np.float32)
        if self.rng.random() > UNKNOWN_SHARE:
            known[:] = ((1, 1), (0, 1), (1, 0))[int(self.rng.integers(3))]
        window = coarticulation.reference_window(mouth_targets.as_filmed(moved), start)
        return Condition(identity, window.astype(np.float32), known)

    def usual_gain(self) -> float:
        """How many times as far the network moves the lips of random people whose window it knows
        as an unknown person's: more than once, it has learned windows of smaller movement."""
        pcm = np.concatenate([speech.pcm for speech in self._sentences[:GAIN_SENTENCES]])
        neutral = self.teacher.follow(pcm, UNKNOWN)
        active = mouth_targets.activity(neutral.speech) > 0.5
        gains = []
        for _ in range(GAIN_PEOPLE):
            person = self.draw_person()._replace(mask=np.array([0, 1], np.float32))
            own = self.teacher.follow(pcm, person).weights
            gains.append(gap_gain(neutral.weights, own, active))
        return float(np.exp(np.mean(np.log(gains))))

    @cached_property
    def _sentences(self) -> list:
        """Sentences with phone times, for windows of expressions."""
        from realtalk_ros.training.speech_data.prompts import SENTENCES
        from realtalk_ros.training.speech_data.tts_engines import espeak

        engine = espeak()
        return [engine.speak(text, "en-us") for text in SENTENCES[:40]]

    def _write(
        self,
        name: str,
        stretches: list[Stretch],
        made: list[np.ndarray],
        person: Condition = UNKNOWN,
    ) -> None:
        write_stretches(self.out / "speech" / f"{name}.npz", stretches, made, person)


def relabelled(
    neutral: np.ndarray,
    own: np.ndarray,
    speech: np.ndarray,
    regression: mouth_targets.MouthRegression,
    usual_gain: float = 1.0,
    contacts: LipContacts | None = None,
) -> np.ndarray:
    """Targets (n, 52) for speech of which nobody was filmed.

    neutral, own: weights (n, 52) of the network for an unknown person and for this one. The curves
    are what the regression says of an unknown person's. This one's gap is as much larger, and the
    mouth by as much wider, as the network had it; `usual_gain`: by how much it has the mean of
    known people's gaps too large. Where lips meet and where they do not, `contacts` say, if they
    are known; else, and at sounds at which either may be, lips that the network closed stay closed.
    """
    gap, width = regression.predict(mouth_targets.features(neutral, speech)).T
    after, active = gap_of(own), mouth_targets.activity(speech) > 0.5
    if active.any():
        gap = gap * np.clip(gap_gain(neutral, own, active) / usual_gain, 0.4, 2.5)
        width = width + ((own - neutral) @ WIDTH)[active].mean()
    shut = np.clip(2 - after / SHUT_GAP, 0, 1)
    if contacts:
        shut *= 1 - contacts.apart
    gap = np.maximum(gap, 0.02)
    gap = shut * np.minimum(gap, after) + (1 - shut) * gap
    if contacts is None:
        return mouth_targets.targets(own, speech, np.column_stack([gap, width]))
    gap = (1 - contacts.closed) * gap
    least = APART_GAP * contacts.apart
    return mouth_targets.targets(
        contacts.corrected(own), speech, np.column_stack([gap, width]), least
    )


def gap_gain(neutral: np.ndarray, own: np.ndarray, active: np.ndarray) -> float:
    """How many times as far the gap of weights `own` (n, 52) moves as that of `neutral`, in the
    steps that are `active` (n,)."""
    before, after = gap_of(neutral)[active], gap_of(own)[active]
    return float(after.std() / max(before.std(), 1e-3))
