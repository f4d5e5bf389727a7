# SPDX-License-Identifier: Apache-2.0
"""Speech markup, as much of it as a voice can do: speak, s, p, break, emphasis, prosody (its rate,
pitch, range and volume), say-as, sub, lang, voice. Other tags are left out, and what is no tag is
text: nothing is an error."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable
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
_ALIAS = r"\s+alias\s*=\s*"
_OTHER = rf"""(?:(?!{_ALIAS})\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*"""  # attributes of <sub>
_MARKUP = re.compile(
    rf"""<sub{_OTHER}{_ALIAS}(?P<alias>"[^"<]*"|'[^'<]*'){_OTHER}\s*>[^<]*</sub\s*>
    |(?P<tag></{_NAME}\s*>|<{_NAME}(?:{_ITEM})*\s*/?>)
    |(?P<nothing><\?[^<>]*>|<!DOCTYPE[^<>\[]*(?:\[[^\]]*\]\s*)?>)
    |(?P<less><)
    |(?P<and>&)(?!(?:\#\d{{1,7}}|\#[xX][0-9a-fA-F]{{1,6}}|[A-Za-z][A-Za-z0-9]{{1,31}});)""",
    re.VERBOSE | re.IGNORECASE,
)
# Comments, CDATA and elements that are not to be spoken, of any length, and how each ends.
_VERBATIM = re.compile(r"<!--|<!\[CDATA\[|<(metadata|desc)(?:\s[^<>]*)?(?<!/)>", re.IGNORECASE)
_ENDS = {
    kind: re.compile(end, re.IGNORECASE)
    for kind, end in (("<!--", "-->"), ("<![CDATA[", r"\]\]>"), ("metadata", r"</metadata\s*>"),
                      ("desc", r"</desc\s*>"))
}  # fmt: skip
_DOCUMENT = re.compile(r"\s*<(?:\?xml|!DOCTYPE|speak)\b", re.IGNORECASE)
_BREAKS = {"none": 0.0, "x-weak": 0.1, "weak": 0.2, "medium": 0.35, "strong": 0.6, "x-strong": 1.0}
_RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.3, "x-fast": 1.7}
# As espeak-ng has them: of the pitch's range, of the amplitude.
_RANGES = {"x-low": 0.2, "low": 0.5, "medium": 1.0, "default": 1.0, "high": 1.4, "x-high": 1.8}
_VOLUMES = {"silent": 0.0, "x-soft": 0.3, "soft": 0.65, "medium": 1.0, "default": 1.0, "loud": 1.5,
            "x-loud": 2.3}  # fmt: skip
MAX_VOLUME = 4.0
_PITCHES = {"x-low": -30, "low": -15, "medium": 0, "default": 0, "high": 15, "x-high": 30}
OCTAVE = 58  # of espeak-ng's pitch, measured
_EMPHASIS = {"strong": (0.85, 14), "moderate": (0.9, 8), "none": (1.0, 0), "reduced": (1.1, -6)}
_SPELLED = {"characters": CHARACTERS, "character": CHARACTERS, "spell-out": CHARACTERS,
            "verbatim": CHARACTERS, "letters": CHARACTERS, "digits": DIGITS, "digit": DIGITS,
            "telephone": DIGITS}  # fmt: skip
# Other kinds of say-as that are read as they are written all the same.
_READ = ("", "cardinal", "number", "name", "address", "text", "net")
_GENDERS = {"female": "f", "male": "m"}
# What a user of SSML expects to be obeyed.
_NOT_DONE = ("audio", "phoneme", "mark", "lexicon", "lookup")
_PROSODY_NOT_DONE = ("contour", "duration")
_PAUSES = {"s": SENTENCE, "p": PARAGRAPH}
_STYLES = ("speak", "s", "p", "emphasis", "prosody", "say-as", "lang", "voice", "w", "token")
# Tags that may stand in a word; any other stands between two.
_INSIDE = ("emphasis", "prosody", "lang", "voice", "b", "i", "u", "em", "strong", "span", "a")


@dataclass(frozen=True)
class SpeechStyle:
    """How a part is spoken."""

    rate: float = 1.0  # times the voice's speed
    pitch: int = 0  # added to the voice's
    range: float = 1.0  # times as far as the voice's pitch moves
    volume: float = 1.0  # times the voice's amplitude
    language: str = ""  # a language tag; empty: the voice's own
    voice: str = ""  # a name, or several in order of preference, which goes before the language
    gender: str = ""  # "f" or "m", with a number if one of several voices is wanted
    spelled: str = ""  # CHARACTERS or DIGITS; empty: read


@dataclass(frozen=True)
class Part:
    """Text without markup, after at least `pause` s of silence."""

    text: str
    style: SpeechStyle = SpeechStyle()
    pause: float = 0.0


def parse(text: str, warn: Callable[[str], object] = lambda _: None) -> list[Part]:
    """The parts of a text, with or without markup. Joined, their texts are the plain text. `warn`
    is called for what is left out though it is SSML, perhaps more than once for the same."""
    if _DOCUMENT.match(text):  # where lines end means nothing
        text = re.sub(r"\s+", " ", text)
    reader = _Reader(warn)
    # Only what this has found to be a tag or an entity is parsed as one.
    reader.feed(_MARKUP.sub(_mark, _without_verbatim(text)))
    reader.close()
    return reader.parts


def _without_verbatim(text: str) -> str:
    """Leaves comments out, and what is about the text; makes CDATA plain text."""
    kept, at = [], 0
    endless = set()  # kinds that are not closed any more: looked for once, whatever follows
    for found in _VERBATIM.finditer(text):
        kind = found[1].lower() if found[1] else found[0].upper()
        if found.start() < at or kind in endless:
            continue
        end = _ENDS[kind].search(text, found.end())
        if end is None:
            endless.add(kind)
            continue
        kept.append(text[at : found.start()])
        if kind == "<![CDATA[":
            kept.append(html.escape(text[found.end() : end.start()]))
        at = end.end()
    return "".join([*kept, text[at:]])


def _mark(found: re.Match[str]) -> str:
    if found["alias"] is not None:
        return found["alias"][1:-1]
    if found["tag"]:
        return found["tag"]
    return "&lt;" if found["less"] else "&amp;" if found["and"] else ""


class _Reader(HTMLParser):
    """Collects the parts of a text in which only `_MARKUP` is left as markup."""

    def __init__(self, warn: Callable[[str], object]) -> None:
        super().__init__(convert_charrefs=True)
        self._warn = warn
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
            self._change(_styled(self._style, tag, given, self._leave_out))
        elif tag in _NOT_DONE:
            self._leave_out(f"<{tag}>")

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

    def _leave_out(self, what: str) -> None:
        self._warn(f"SSML's {what} is left out: the text in it is spoken as it is written")

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


def _styled(
    style: SpeechStyle, tag: str, given: dict[str, str], leave_out: Callable[[str], object]
) -> SpeechStyle:
    """What a tag makes of the style around it. `leave_out` is called with what it cannot."""
    if tag == "emphasis":
        rate, pitch = _EMPHASIS.get(given.get("level", "").lower(), _EMPHASIS["moderate"])
        style = replace(style, rate=_bounded(style.rate * rate), pitch=style.pitch + pitch)
    elif tag == "prosody":
        style = _prosody(style, given, leave_out)
    elif tag == "say-as":
        kind = given.get("interpret-as", "").lower()
        style = replace(style, spelled=_SPELLED.get(kind, ""))
        if kind not in _SPELLED and kind not in _READ:
            leave_out(f"say-as {kind[:20]!r}")
    elif tag == "voice":
        number = given.get("variant", "")
        gender = _GENDERS.get(given.get("gender", "").lower(), "")
        style = replace(
            style,
            voice=given.get("name", "") or style.voice,
            gender=gender + (number if number.isdecimal() else "") if gender else style.gender,
        )
    languages = (given.get("languages") if tag == "voice" else "") or ""
    language = given.get("xml:lang") or given.get("lang") or languages.partition(" ")[0]
    if not language:
        return style
    return replace(style, language=language, voice=given.get("name", "") if tag == "voice" else "")


def _prosody(
    style: SpeechStyle, given: dict[str, str], leave_out: Callable[[str], object]
) -> SpeechStyle:
    found = {}
    readers = {"rate": _rate, "pitch": _pitch, "range": _range, "volume": _volume}
    for name, read in readers.items():
        found[name] = read(given[name].lower()) if given.get(name) else None
        if given.get(name) and found[name] is None:
            leave_out(f"prosody {name} {given[name][:20]!r}")
    for name in _PROSODY_NOT_DONE:
        if name in given:
            leave_out(f"prosody {name}")
    rate, pitch, moves, volume = found.values()
    return replace(
        style,
        rate=style.rate if rate is None else _bounded(style.rate * rate),
        pitch=style.pitch + round(pitch or 0),
        range=style.range if moves is None else _bounded(style.range * moves),
        volume=style.volume if volume is None else min(style.volume * volume, MAX_VOLUME),
    )


def _break(given: dict[str, str]) -> float:
    """Seconds; where they cannot be read, a medium one."""
    if found := re.fullmatch(r"\+?(\d+(?:\.\d*)?|\.\d+)\s*(ms|s)", given.get("time", "").lower()):
        return min(MAX_BREAK, float(found[1]) * (0.001 if found[2] == "ms" else 1.0))
    return _BREAKS.get(given.get("strength", "").lower(), _BREAKS["medium"])


def _rate(given: str) -> float | None:
    """Times the speed: of "slow", "80%", "-20%" or "0.8"; None where it cannot be read."""
    if found := re.fullmatch(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)\s*(%?)", given):
        number = float(found[2]) / (100 if found[3] else 1)
        if found[1]:
            number = 1 + number if found[1] == "+" else 1 - number
        return _bounded(number)
    return _RATES.get(given)


def _pitch(given: str) -> float | None:
    """What is added to the pitch: of "high", "+20%" or "-2st" (semitones); else None."""
    if found := re.fullmatch(r"([+-])(\d{1,3}(?:\.\d*)?|\.\d+)\s*(%|st)", given):
        number = float(found[1] + found[2])
        if found[3] == "st":
            return OCTAVE * number / 12
        return OCTAVE * math.log2(max(0.1, 1 + number / 100))
    return _PITCHES.get(given)


def _range(given: str) -> float | None:
    """Times as far as the pitch moves: of "low", "+20%" or "50%"; else None."""
    return _RANGES.get(given, _rate(given) if given.endswith("%") else None)


def _volume(given: str) -> float | None:
    """Times the amplitude: of "soft", "+6dB", "-20%", or "80" of 100; else None."""
    if found := re.fullmatch(r"([+-]?)(\d{1,3}(?:\.\d*)?|\.\d+)\s*(db|%?)", given):
        number = float(found[1] + found[2])
        if found[3] == "db":
            return float(min(MAX_VOLUME, 10 ** (number / 20)))
        return min(max(number / 100 + (1 if found[1] else 0), 0.0), MAX_VOLUME)
    return _VOLUMES.get(given)


def _bounded(rate: float) -> float:
    return min(max(rate, 0.2), 5.0)
