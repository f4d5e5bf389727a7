# SPDX-License-Identifier: Apache-2.0
"""Speech markup, as much of it as a voice can do: speak, s, p, break, emphasis, prosody (its rate
and pitch), say-as, sub, lang. Other tags are left out, and what is no tag is text: nothing is an
error."""

from __future__ import annotations

import html
import math
import re
from dataclasses import dataclass, replace
from html.parser import HTMLParser

SENTENCE, PARAGRAPH = 0.32, 0.57  # s that espeak-ng pauses after them
MAX_BREAK = 10.0  # s
MAX_DEPTH = 64  # of tags in tags; what is deeper is said like what is around it
# How a part is said letter by letter.
CHARACTERS, DIGITS = "characters", "digits"  # with and without names for punctuation

_NAME = r"[A-Za-z][\w:.-]*"
# A tag's attributes; `expression(happy)` is how robots' skills write them.
_ITEM = r"""\s+(?:[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'|[^\s"'<>=`]+)|[\w/:.-]+\([^()<>]*\))"""
_MARKUP = re.compile(
    rf"""<sub\s+alias\s*=\s*(?P<alias>"[^"<]*"|'[^'<]*')\s*>[^<]*</sub\s*>
    |(?P<tag></{_NAME}\s*>|<{_NAME}(?:{_ITEM})*\s*/?>)
    |(?P<nothing><\?[^<>]*>|<!DOCTYPE[^<>\[]*(?:\[[^\]]*\]\s*)?>)
    |(?P<less><)
    |(?P<and>&)(?!(?:\#\d{{1,7}}|\#[xX][0-9a-fA-F]{{1,6}}|[A-Za-z][A-Za-z0-9]{{1,31}});)""",
    re.VERBOSE | re.IGNORECASE,
)
# Comments and CDATA, of any length, and how each ends.
_VERBATIM = re.compile(r"<!--|<!\[CDATA\[", re.IGNORECASE)
_ENDS = {"<!--": "-->", "<![CDATA[": "]]>"}
_DOCUMENT = re.compile(r"\s*<(?:\?xml|!DOCTYPE|speak)\b", re.IGNORECASE)
_BREAKS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.35, "strong": 0.6, "x-strong": 1.0}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.3, "x-fast": 1.7}
_PITCHES = {"x-low": -30, "low": -15, "medium": 0, "default": 0, "high": 15, "x-high": 30}
OCTAVE = 58  # of espeak-ng's pitch, measured
_EMPHASIS = {"strong": (0.85, 14), "moderate": (0.9, 8), "none": (1.0, 0), "reduced": (1.1, -6)}
_SPELLED = {"characters": CHARACTERS, "character": CHARACTERS, "spell-out": CHARACTERS,
            "verbatim": CHARACTERS, "letters": CHARACTERS, "digits": DIGITS, "digit": DIGITS,
            "telephone": DIGITS}  # fmt: skip
_PAUSES = {"s": SENTENCE, "p": PARAGRAPH}
_STYLES = ("speak", "s", "p", "emphasis", "prosody", "say-as", "lang", "voice", "w", "token")
# Tags that may stand in a word; any other stands between two.
_INSIDE = ("emphasis", "prosody", "lang", "voice", "b", "i", "u", "em", "strong", "span", "a")


@dataclass(frozen=True)
class SpeechStyle:
    """How a part is spoken."""

    rate: float = 1.0  # times the voice's speed
    pitch: int = 0  # added to the voice's
    language: str = ""  # a language tag; empty: the voice's own
    spelled: str = ""  # CHARACTERS or DIGITS; empty: read


@dataclass(frozen=True)
class Part:
    """Text without markup, after at least `pause` s of silence."""

    text: str
    style: SpeechStyle = SpeechStyle()
    pause: float = 0.0


def parse(text: str) -> list[Part]:
    """The parts of a text, with or without markup. Joined, their texts are the plain text."""
    if _DOCUMENT.match(text):  # where lines end means nothing
        text = re.sub(r"\s+", " ", text)
    reader = _Reader()
    # Only what this has found to be a tag or an entity is parsed as one.
    reader.feed(_MARKUP.sub(_mark, _without_verbatim(text)))
    reader.close()
    return reader.parts


def _without_verbatim(text: str) -> str:
    """Leaves comments out, and makes CDATA plain text."""
    kept, at = [], 0
    endless = set()  # kinds that are not closed any more: looked for once, whatever follows
    for found in _VERBATIM.finditer(text):
        kind = found[0].upper()
        if found.start() < at or kind in endless:
            continue
        end = text.find(_ENDS[kind], found.end())
        if end < 0:
            endless.add(kind)
            continue
        kept.append(text[at : found.start()])
        if kind != "<!--":
            kept.append(html.escape(text[found.end() : end]))
        at = end + len(_ENDS[kind])
    return "".join([*kept, text[at:]])


def _mark(found: re.Match[str]) -> str:
    if found["alias"] is not None:
        return found["alias"][1:-1]
    if found["tag"]:
        return found["tag"]
    return "&lt;" if found["less"] else "&amp;" if found["and"] else ""


class _Reader(HTMLParser):
    """Collects the parts of a text in which only `_MARKUP` is left as markup."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[Part] = []
        self._text, self._pause, self._style = "", 0.0, SpeechStyle()  # of the part in the making
        self._open: list[tuple[str, SpeechStyle]] = []  # tags, and the style around them
        self._breaks = self._gap = 0.0  # s of silence before the next text: ordered, and fitting
        self._last = ""  # character
        self._tagged = self._apart = False  # whether a tag was since; whether one between words

    def set_cdata_mode(self, *args: object, **options: object) -> None:
        """Not even in HTML's script is a tag text."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: (value or "").strip(" \t\r\n/\"'“”„") for name, value in attrs}
        self._pass(tag)
        if tag == "break":
            self._end_part()
            self._breaks = min(MAX_BREAK, self._breaks + _break(given))
        elif tag in _STYLES and len(self._open) < MAX_DEPTH:
            self._open.append((tag, self._style))
            self._change(_styled(self._style, tag, given))

    def handle_endtag(self, tag: str) -> None:
        self._pass(tag)
        for depth in range(len(self._open) - 1, -1, -1):
            if self._open[depth][0] == tag:
                self._change(self._open[depth][1])
                del self._open[depth:]
                return

    def handle_data(self, data: str) -> None:
        if self._tagged:
            if not self._last or self._last.isspace():
                data = data.lstrip()  # a tag that is left out leaves one space
            elif self._apart and self._last.isalnum() and data[:1].isalnum():
                data = " " + data
        if not data:
            return
        if data.isspace() and not self._text:  # between two tags: no reason to pause
            if self.parts:
                self.parts[-1] = replace(self.parts[-1], text=self.parts[-1].text + data)
        else:
            if not self._text:
                self._pause = max(self._breaks, self._gap)
                self._breaks = self._gap = 0.0
            self._text += data
        self._last, self._tagged, self._apart = data[-1], False, False

    def close(self) -> None:
        super().close()
        self._end_part()
        if self._breaks:
            self.parts.append(Part("", self._style, self._breaks))

    def _pass(self, tag: str) -> None:
        self._tagged = True
        self._apart |= tag not in _INSIDE
        if tag in _PAUSES and self._last:
            self._end_part()
            self._gap = max(self._gap, _PAUSES[tag])

    def _change(self, style: SpeechStyle) -> None:
        if style != self._style:
            self._end_part()
            self._style = style

    def _end_part(self) -> None:
        if self._text:
            self.parts.append(Part(self._text, self._style, self._pause))
        self._text = ""


def _styled(style: SpeechStyle, tag: str, given: dict[str, str]) -> SpeechStyle:
    """What a tag makes of the style around it."""
    if tag == "emphasis":
        rate, pitch = _EMPHASIS.get(given.get("level", "").lower(), _EMPHASIS["moderate"])
        style = replace(style, rate=_bounded(style.rate * rate), pitch=style.pitch + pitch)
    elif tag == "prosody":
        style = replace(
            style,
            rate=_bounded(style.rate * _rate(given.get("rate", ""))),
            pitch=style.pitch + _pitch(given.get("pitch", "")),
        )
    elif tag == "say-as":
        style = replace(style, spelled=_SPELLED.get(given.get("interpret-as", "").lower(), ""))
    language = given.get("xml:lang") or given.get("lang")
    return replace(style, language=language) if language else style


def _break(given: dict[str, str]) -> float:
    """Seconds; where they cannot be read, a medium one."""
    if found := re.fullmatch(r"\+?(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)", given.get("time", "").lower()):
        return min(MAX_BREAK, float(found[1]) * (0.001 if found[2] == "ms" else 1.0))
    return _BREAKS.get(given.get("strength", "").lower(), _BREAKS["medium"])


def _rate(given: str) -> float:
    """Times the speed: of "slow", "80%", "-20%" or "0.8"; 1 where it cannot be read."""
    if found := re.fullmatch(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)\s*(%?)", given):
        number = float(found[2]) / (100 if found[3] else 1)
        if found[1]:
            number = 1 + number if found[1] == "+" else 1 - number
        return _bounded(number)
    return _RATES.get(given.lower(), 1.0)


def _pitch(given: str) -> int:
    """What is added to the pitch: of "high", "+20%" or "-2st" (semitones); else 0."""
    if found := re.fullmatch(r"([+-])(\d{1,3}(?:\.\d*)?|\.\d+)\s*(%|st)", given.lower()):
        number = float(found[1] + found[2])
        if found[3] == "st":
            return round(OCTAVE * number / 12)
        return round(OCTAVE * math.log2(max(0.1, 1 + number / 100)))
    return _PITCHES.get(given.lower(), 0)


def _bounded(rate: float) -> float:
    return min(max(rate, 0.2), 5.0)
