"""Text as speech, sentence by sentence, so that long texts begin at once; knows how far it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from realtalk_ros.errors import RealTalkError
from realtalk_ros.speech import Espeak

MAX_TEXT = 20000  # characters of one text: some 20 minutes of speech
# Ends of sentences, and of pieces so long that synthesis would keep the listener waiting.
_SENTENCE = re.compile(
    r".{1,400}?(?:[.!?:;…。！？]+[\"')\]]*(?=\s|$)|\n|$)|.{1,400}(?:\s|$)|.{1,400}", re.S
)


def sentences(text: str) -> list[str]:
    """Cuts a text into pieces of at most some 400 characters; joined they are the text."""
    return _SENTENCE.findall(text)


class Saying:
    """One text being said. Iterate over it for the sound; `spoken` tells how far that was heard.

    Raises RealTalkError where there is nothing to say, for an unknown voice, or without espeak-ng.
    """

    def __init__(self, text: str, voice: str, words_per_minute: int = 165, pitch: int = 50):
        if not re.search(r"\w", text):
            raise RealTalkError("there is no text to speak: give at least one word")
        if len(text) > MAX_TEXT:
            raise RealTalkError(f"{len(text)} characters are too long: give at most {MAX_TEXT}")
        self.text = text
        self.seconds = 0.0  # of sound so far
        self._made = 0  # characters of the text that are sound by now
        self._words: list[tuple[float, int]] = []  # when a word begins, and where
        self._arguments = (voice, words_per_minute, pitch)
        self._espeak = Espeak()
        self.sample_rate = self._espeak.sample_rate
        self._pieces = self._speak()
        self._first = next(self._pieces)  # says now what is wrong with it

    def _speak(self) -> Iterator[np.ndarray]:
        for piece in sentences(self.text):
            if re.search(r"\w", piece):
                pcm, rate, words = self._espeak.speak_words(piece, *self._arguments)
                at = self._made + len(piece) - len(piece.lstrip())  # speak_words strips the text
                self._words += [(self.seconds + s, at + place) for place, s in words]
                self.seconds += len(pcm) / rate
                self._made += len(piece)
                yield pcm
            else:
                self._made += len(piece)

    def chunks(self, seconds: float) -> Iterator[tuple[np.ndarray, bool]]:
        """(float32 mono, whether it is the last), each at most `seconds` long."""
        step = max(1, round(seconds * self.sample_rate))
        piece: np.ndarray | None = self._first
        while piece is not None:
            for i in range(0, len(piece) - step, step):
                yield piece[i : i + step], False
            held = piece[(len(piece) - 1) // step * step :]
            piece = next(self._pieces, None)
            yield held, piece is None

    def spoken(self, heard: float) -> str:
        """The text up to and with the word that is being said `heard` seconds from the start."""
        if not any(when <= heard for when, _ in self._words):
            return ""
        later = [place for when, place in self._words if when > heard]
        return self.text[: min(later, default=self._made)].rstrip()
