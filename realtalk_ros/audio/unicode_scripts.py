# SPDX-License-Identifier: Apache-2.0
"""What is written: which characters of a text a voice is given, and which script they are in."""

from __future__ import annotations

import itertools
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

MAX_WORD = 150  # bytes in UTF-8; espeak-ng keeps a word in a buffer of 160
MAX_MARKS = 4  # on one letter; more is ornament

_LATIN = "LATIN"
_ZERO_WIDTH = "\u200c\u200d"  # (non-)joiners, which change letters of some scripts
# Blocks whose symbols are pictures: arrows, technical ones, dingbats, emoji.
_PICTURES = (
    (0x2190, 0x21FF),
    (0x2300, 0x23FF),
    (0x25A0, 0x27BF),
    (0x2B00, 0x2BFF),
    (0x1F000, 0x1FAFF),
)
_KEYCAP = "\u20e3"


@dataclass(frozen=True)
class Script:
    """`languages` whose voices of espeak-ng read it, the one to take first."""

    name: str  # in English
    languages: tuple[str, ...]


def _scripts(**languages: str) -> dict[str, Script]:
    return {name: Script(name.title(), tuple(codes.split())) for name, codes in languages.items()}


# By the first word of their letters' names in Unicode; tried with espeak-ng 1.51 and 1.52.
SCRIPTS = _scripts(
    ARABIC="ar fa ur sd ug", ARMENIAN="hy hyw", BENGALI="bn as bpy", CHEROKEE="chr",
    CYRILLIC="ru uk be bg sr mk bs hr sl ba cv kk ky nog tt uz", DEVANAGARI="hi mr ne kok",
    ETHIOPIC="am ti", GEORGIAN="ka", GREEK="el grc", GUJARATI="gu", GURMUKHI="pa", HANGUL="ko",
    HEBREW="he", KANNADA="kn", MALAYALAM="ml", MYANMAR="my", ORIYA="or", SINHALA="si", TAMIL="ta",
    TELUGU="te", THAI="th",
)  # fmt: skip
SCRIPTS["CJK"] = Script("Chinese characters", ("cmn", "yue"))
SCRIPTS["HIRAGANA"] = SCRIPTS["KATAKANA"] = SCRIPTS["KATAKANA-HIRAGANA"] = Script(
    "Japanese kana", ("ja",)
)
# Voices of other scripts read Latin letters as English; these spell them.
_SPELL_LATIN = {"ja", "my"}


def reads(language: str, script: str) -> bool:
    """Whether espeak-ng's voice of a language, such as en, can read a script."""
    if script == _LATIN:
        return language not in _SPELL_LATIN
    return not script or (script in SCRIPTS and language in SCRIPTS[script].languages)


def readers(script: str) -> tuple[str, tuple[str, ...]]:
    """A script's name in English, and the languages whose voices may read it."""
    if script == _LATIN:
        return "Latin letters", ("en-us", "en")
    known = SCRIPTS.get(script)
    return (known.name, known.languages) if known else (script.title(), ())


@lru_cache(maxsize=4096)
def script_of(character: str) -> str:
    """The key of SCRIPTS, "LATIN", or a script that is not among them; "" for what belongs to
    none, such as digits, punctuation and marks."""
    if not character.isalpha() and character != "〇":
        return ""
    word = unicodedata.name(character, "").partition(" ")[0]
    if word == "IDEOGRAPHIC":  # 々 and 〇
        return "CJK"
    if word in SCRIPTS or word == _LATIN:
        return word
    # Below: letters for sounds (IPA); between: superscripts, units and other signs.
    sign = ord(character) < 0x370 or 0x1D00 <= ord(character) < 0x2C00 or word == "MODIFIER"
    return "" if sign else word


def runs(text: str) -> list[tuple[str, str]]:
    """Cuts a text where the script changes: (piece, script or ""). What belongs to no script stays
    with what is before it. A Greek letter alone is a symbol, which every voice knows."""
    found: list[tuple[str, str]] = []
    begin, current = 0, ""
    for i, character in enumerate(text):
        script = script_of(character)
        if script == "GREEK" and not any(
            script_of(other) == "GREEK" for other in text[max(0, i - 1) : i] + text[i + 1 : i + 2]
        ):
            script = ""
        if script and script != current:
            if current:
                found.append((text[begin:i], current))
                begin = i
            current = script
    return [*found, (text[begin:], current)]


def characters(text: str) -> list[str]:
    """A text's characters, each with the accents and vowel signs that follow it."""
    begins = [i for i, one in enumerate(text) if not i or unicodedata.category(one)[0] != "M"]
    return [text[i:end] for i, end in itertools.pairwise([*begins, len(text)])]


def speakable(text: str) -> tuple[str, list[int]]:
    """What a voice is given of a text, and the place in the text of each of its characters.

    Left out: emoji and other pictures, control and direction marks, what is no character.
    Written otherwise: letters in a fancy style, digits of other scripts, split accents. Words are
    no longer than MAX_WORD.
    """
    said: list[str] = []
    places: list[int] = []
    word = 0  # bytes of it so far
    i = 0
    for character in characters(text):
        plain = _plain(character, text[i - 1] if i else "")
        if plain == " " and said and said[-1] == " ":
            plain = ""  # a picture between words leaves one space
        size = len(plain.encode())
        if word + size > MAX_WORD:
            said.append(" ")
            places.append(i)
            word = 0
        said += plain
        places += [i] * len(plain)
        word = word + size if plain[:1].isalnum() else 0
        i += len(character)
    return "".join(said), places


def has_words(text: str) -> bool:
    """Whether there is anything to say: a letter or a digit that is not part of an emoji."""
    return any(character.isalnum() for character in speakable(text)[0])


def _plain(cluster: str, before: str) -> str:
    """One character with its marks, as a voice is given it."""
    character = cluster[0]
    if character < "\x7f":
        if _KEYCAP in cluster:
            return " "
        if character.isspace():
            return character if character in "\n\t" else " "
        plain = character if character.isprintable() else " "
    else:
        plain = _plain_one(character, before)
    marks = [mark for mark in cluster[1:] if not _selects(mark)]
    if not marks or not plain.strip():
        return plain
    return unicodedata.normalize("NFC", plain + "".join(marks[:MAX_MARKS]))


def _selects(mark: str) -> bool:
    """Whether it only says how something looks: a variation selector, or what encloses it."""
    code = ord(mark)
    return 0xFE00 <= code <= 0xFE0F or code >= 0xE0000 or unicodedata.category(mark) == "Me"


@lru_cache(maxsize=4096)
def _plain_one(character: str, before: str) -> str:
    category = unicodedata.category(character)
    code = ord(character)
    if category == "Nd":
        return str(unicodedata.digit(character))
    if category.startswith("Z"):
        return "\n" if category in ("Zl", "Zp") else " "
    if character == "々":  # the character before, once more
        return before if script_of(before) == "CJK" else " "
    if character in _ZERO_WIDTH:
        joined = before and ord(before) > 0x370 and unicodedata.category(before)[0] in "LM"
        return character if joined and not _selects(before) else ""
    if category == "Cf" or _selects(character):
        return " " if character == "\u200b" else ""
    if category in ("Cc", "Cs", "Co", "Cn"):
        return " "
    if category in ("So", "Sk") and any(low <= code <= high for low, high in _PICTURES):
        return " "
    kind = unicodedata.decomposition(character)
    if kind.startswith(("<font>", "<wide>", "<narrow>", "<initial>", "<medial>", "<final>",
                        "<isolated>", "<circle>")):  # fmt: skip
        return unicodedata.normalize("NFKC", character)
    return unicodedata.normalize("NFC", character)
