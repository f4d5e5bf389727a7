# SPDX-License-Identifier: Apache-2.0
"""Text as speech by espeak-ng, sentence by sentence, so that long texts begin at once; knows how
far it is. How fast it is sent: nodes/say_node.py (RESERVE). Other engines publish their own audio
(docs/wiring.md)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from realtalk_ros.audio import espeak, ssml, unicode_scripts
from realtalk_ros.audio.espeak import (
    DEFAULT_INTONATION,
    DEFAULT_PITCH,
    DEFAULT_SPEED,
    DEFAULT_VOICE,
    INTONATION_RANGE,
    PITCH_RANGE,
    SPEED_RANGE,
    NothingToSay,
    check_numbers,
    check_voice,
    check_words,
)
from realtalk_ros.audio.espeak_library import voices
from realtalk_ros.audio.espeak_voices import Voice
from realtalk_ros.errors import RealTalkError

MAX_TEXT = 20000  # characters of one text: some 20 minutes of speech
# Ends of sentences, and of pieces so long that synthesis would keep the listener waiting. No
# abbreviation that ends in a full stop has five letters.
_SENTENCE = re.compile(
    r".{1,400}?(?:(?:[!?:;…]|[^\W\d_]{5}[\"')\]’”»]{0,3}\.|\.\.)[!?.]{0,9}[\"')\]’”»]{0,9}(?=\s|$)"
    r"|[。！？；]{1,9}[」』”）]{0,9}|\n\s{0,99}|$)"
    r"|.{1,400}[.!?,](?=\s)|.{1,400}(?:\s|$)|.{1,400}",
    re.DOTALL,
)
# s that espeak-ng pauses after them at DEFAULT_SPEED, which it leaves out at the end of a text.
_PAUSES = {".": 0.32, "。": 0.32, "!": 0.37, "?": 0.32, "！": 0.37, "？": 0.32, ":": 0.24,
           ";": 0.24, "；": 0.24, "…": 0.24, ",": 0.16}  # fmt: skip
_LINE = 0.24  # s after a line, as of a list
MAX_WARNINGS = 20  # about one text
MAX_VOICES = 8  # names of one <voice> that are tried
_SPELLED, _SPELLED_APART = 0.06, 0.25  # s between characters, and where a space was


def sentences(text: str) -> list[str]:
    """Cuts a text into pieces of at most some 400 characters; joined they are the text."""
    return _SENTENCE.findall(text)


class Saying:
    """One text being spoken: `chunks` gives the sound, `spoken` says how much of it was played.

    `text` becomes the plain text, without markup. A stretch whose script the voice cannot read is
    said by one that can. `warn` is called for that, and for what had to be left out.

    Raises NothingToSay where there is nothing to say, RealTalkError for an unknown voice, or
    without espeak-ng.
    """

    def __init__(
        self,
        text: str,
        voice: str = DEFAULT_VOICE,
        words_per_minute: int = DEFAULT_SPEED,
        pitch: int = DEFAULT_PITCH,
        warn: Callable[[str], object] = lambda _: None,
        longest: int | None = MAX_TEXT,
    ):
        """longest: characters that are taken, markup included; None: any number."""
        if longest is not None and len(text) > longest:
            raise RealTalkError(f"{len(text)} characters are too long: give at most {longest}")
        check_numbers(words_per_minute, pitch)
        self._report, self._warned = warn, set[str]()
        self._parts = ssml.parse(text, self._warn)
        self.text = "".join(part.text for part in self._parts)
        self.seconds = 0.0  # of sound so far
        self._made = 0  # characters of the text that are sound by now
        self._words: list[tuple[float, int]] = []  # when a word begins, and where
        self._speed, self._pitch = words_per_minute, pitch
        # Of what is spoken next: times the amplitude, and how far the pitch moves.
        self._volume, self._intonation = 1.0, DEFAULT_INTONATION
        self.sample_rate = espeak.sample_rate()
        self._voice = voices().find(voice)
        self._refused: NothingToSay | None = None
        pieces, head = self._synthesize(), []
        while not self._words:  # says now what is wrong with it
            if (piece := next(pieces, None)) is None:
                check_words(self.text)
                check_voice(self._voice)
                raise self._refused or NothingToSay("espeak-ng finds nothing to say: give words")
            head.append(piece)
        self._pieces = itertools.chain(head, pieces)

    def _synthesize(self) -> Iterator[np.ndarray]:
        """Sound and silence, as long as each is."""
        pause, lines = 0.0, 0  # s after what was said; ends of lines since
        for part in self._parts:
            pause = max(pause, part.pause)
            speed = min(max(self._speed * part.style.rate, SPEED_RANGE[0]), SPEED_RANGE[1])
            pitch = min(max(self._pitch + part.style.pitch, PITCH_RANGE[0]), PITCH_RANGE[1])
            voice, how = self._voice_of(part.style), part.style.spelled
            self._volume = part.style.volume
            self._intonation = min(
                round(DEFAULT_INTONATION * part.style.range), INTONATION_RANGE[1]
            )
            for piece in [part.text] if how else sentences(part.text):
                ended = piece.rstrip()
                if unicode_scripts.has_words(piece):
                    lines += piece[: len(piece) - len(piece.lstrip())].count("\n")
                    gap = ssml.PARAGRAPH if lines > 1 else _LINE if lines else 0.0
                    if (self._words or part.pause) and (pause := max(pause, gap)):
                        yield self._silence(pause)
                    if how:
                        yield from self._spell(piece, voice, speed, pitch, how)
                    else:
                        yield from self._read(piece, voice, speed, pitch)
                    pause, lines = 0.0, piece[len(ended) :].count("\n")
                else:
                    lines += piece.count("\n")
                self._made += len(piece)
                end = ended.rstrip("\"')]’”»」』）")[-1:]
                pause = max(pause, _PAUSES.get(end, 0.0) * DEFAULT_SPEED / speed)
        if self._parts and not self._parts[-1].text and pause:  # a break at the end
            yield self._silence(pause)

    def _read(self, piece: str, voice: Voice, speed: float, pitch: int) -> Iterator[np.ndarray]:
        """The sound of a piece of text as it is."""
        said, places = unicode_scripts.speakable(piece)
        at = 0
        for text, reader in self._stretches(said, voice):
            if reader is not None and unicode_scripts.has_words(text):
                try:
                    pcm, words = espeak.speak(text, reader, int(speed), pitch, self._intonation)
                except NothingToSay as nothing:
                    self._leave_out(nothing)
                else:
                    for place, when in words or [(0, 0.0)]:
                        self._words.append((self.seconds + when, self._made + places[at + place]))
                    yield self._add(pcm)
            at += len(text)

    def _spell(
        self, piece: str, voice: Voice, speed: float, pitch: int, how: str
    ) -> Iterator[np.ndarray]:
        """The sound of a piece of text letter by letter; `how`: ssml.CHARACTERS or DIGITS."""
        said, places = unicode_scripts.speakable(piece)
        at = 0
        for text, reader in self._stretches(said, voice):
            for character in unicode_scripts.characters(text):
                named = reader is not None and (
                    character[0].isalnum()
                    or character == "+"  # of a telephone number
                    or (how == ssml.CHARACTERS and not character.isspace())
                )
                pcm = self._named(character, reader, int(speed), pitch) if named else None
                if pcm is not None:
                    self._words.append((self.seconds, self._made + places[at]))
                    yield self._add(pcm)
                yield self._silence((_SPELLED if named else _SPELLED_APART) * DEFAULT_SPEED / speed)
                at += len(character)

    def _named(self, character: str, *arguments: Any) -> np.ndarray | None:
        try:
            return espeak.spell(character, *arguments)
        except NothingToSay as nothing:
            self._leave_out(nothing)
            return None

    def _silence(self, seconds: float) -> np.ndarray:
        return self._add(np.zeros(round(seconds * self.sample_rate), np.float32))

    def _add(self, pcm: np.ndarray) -> np.ndarray:
        if self._volume != 1.0:
            pcm = pcm * np.float32(self._volume)
            pcm = np.tanh(pcm) if self._volume > 1 else pcm  # louder, without clipping
        self.seconds += len(pcm) / self.sample_rate
        return pcm

    def _warn(self, message: str) -> None:
        if message not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(message)
            self._report(message)

    def _leave_out(self, nothing: NothingToSay) -> None:
        self._refused = self._refused or nothing
        self._warn(f"a part of the text is left out: {nothing}")

    def _voice_of(self, style: ssml.SpeechStyle) -> Voice:
        """That of a part of the text."""
        names = style.voice, *style.voice.split()[:MAX_VOICES]
        voice = self._listed(*names) if style.voice else None
        voice = voice or self._voice_for_language(style.language)
        if not style.gender or style.gender == (voice.variant[1:2] or "m"):
            return voice  # one without a variant is a man's, or taken for it
        variant = style.gender + ("" if style.gender[1:] else "1")
        return self._listed(f"{voice.name.partition('+')[0]}+{variant}") or voice

    def _listed(self, *names: str) -> Voice | None:
        """The first of these voices that espeak-ng has."""
        for name in names:
            try:
                return voices().find(name)
            except RealTalkError as error:
                reason = error
        self._warn(f"SSML's <voice> is left out: {reason}")
        return None

    def _voice_for_language(self, language: str) -> Voice:
        """That of what is marked with a language."""
        if not language:
            return self._voice
        if (voice := voices().for_language(language, self._voice)) is None:
            self._warn(
                f"espeak-ng has no voice for the language {language[:20]!r}, so the voice that is "
                "set speaks it: use a language tag such as de or fr-FR"
            )
        return voice or self._voice

    def _stretches(self, text: str, voice: Voice) -> list[tuple[str, Voice | None]]:
        """Cuts a text by the voice that reads it; None: no voice does."""
        found: list[tuple[str, Voice | None]] = []
        for piece, script in unicode_scripts.runs(text):
            reader = self._voice_for_script(script, voice)
            if found and found[-1][1] == reader:
                piece = found.pop()[0] + piece
            found.append((piece, reader))
        return found

    def _voice_for_script(self, script: str, voice: Voice) -> Voice | None:
        """`voice`, or one that can read a script where it cannot; None: none can."""
        if unicode_scripts.reads(voice.base_language, script):
            return voice
        name, languages = unicode_scripts.readers(script)
        for language in languages:
            if (other := voices().for_language(language, voice)) is not None:
                self._warn(
                    f"the voice that is set cannot read {name}, so voice {other.language} does: "
                    f'set a voice that can, or mark the text as <lang xml:lang="{other.language}">'
                )
                return other
        self._leave_out(NothingToSay(f"no voice of espeak-ng reads {name}: use another script"))
        return None

    def chunks(self, seconds: float) -> Iterator[tuple[np.ndarray, bool]]:
        """(float32 mono, whether it is the last), each at most `seconds` long."""
        step = max(1, round(seconds * self.sample_rate))
        piece = next(self._pieces, None)
        while piece is not None:
            for i in range(0, len(piece) - step, step):
                yield piece[i : i + step], False
            held = piece[(len(piece) - 1) // step * step :]
            piece = next(self._pieces, None)
            yield held, piece is None

    def spoken(self, played: float) -> str:
        """The text up to and including the word that is spoken `played` seconds after the start."""
        if not any(when <= played for when, _ in self._words):
            return ""
        later = [place for when, place in self._words if when > played]
        return self.text[: min(later, default=self._made)].rstrip()


def synthesize_text(
    text: str, voice: str = DEFAULT_VOICE, warn: Callable[[str], object] = lambda _: None
) -> tuple[np.ndarray, int]:
    """A whole text, of any length: float32 (n,) mono, and its rate in Hz. Raises as Saying."""
    saying = Saying(text, voice, warn=warn, longest=None)
    return np.concatenate([pcm for pcm, _ in saying.chunks(10.0)]), saying.sample_rate
