# SPDX-License-Identifier: Apache-2.0
"""The voices that espeak-ng lists, and how they are found by name or language.

espeak-ng must get only names of its list: it opens whatever file it is given, and copies long names
beyond the end of its buffers.
"""

from __future__ import annotations

import ctypes
import difflib
from dataclasses import dataclass

from realtalk_ros.errors import RealTalkError

MAX_NAME = 80  # characters of a voice's name; espeak-ng's own are shorter
MAX_FILE = 28  # characters of a file name; espeak-ng has 60 bytes for voice and variant
# Languages that espeak-ng has under another name, or of which it has a close relative.
_ALIASES = {"zh": "cmn", "zh-hk": "yue", "zh-yue": "yue", "no": "nb", "nn": "nb", "iw": "he",
            "in": "id"}  # fmt: skip


@dataclass(frozen=True)
class Voice:
    """A voice of espeak-ng's list."""

    name: str  # a file of the list, with "+variant" where wanted
    language: str  # that it speaks, such as en-us

    @property
    def base_language(self) -> str:
        """The language without country or dialect."""
        return self.language.partition("-")[0]

    @property
    def variant(self) -> str:
        """Such as +f3, or nothing."""
        return "".join(self.name.partition("+")[1:])


class _EspeakVoice(ctypes.Structure):
    """espeak_VOICE of speak_lib.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),  # (priority, name, 0) ..., 0
        ("identifier", ctypes.c_char_p),  # file, under espeak-ng-data
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class Voices:
    """The voices of `library`, without those of MBROLA, which need another program."""

    def __init__(self, library: ctypes.CDLL):
        self._languages: dict[str, Voice] = {}
        self._variants: dict[str, str] = {}  # files
        by_file: dict[str, Voice] = {}
        by_name: dict[str, Voice] = {}
        by_language: list[tuple[int, str, Voice]] = []
        for name, languages, file in _listed_voices(library, None):
            if languages and len(file) <= MAX_FILE:
                voice = Voice(file, languages[0][1].lower())
                by_file[_key(file)] = by_file[_key(file.rpartition("/")[2])] = voice
                by_name.setdefault(_key(name), voice)
                by_language += [(*language, voice) for language in languages]
        for _, language, voice in sorted(by_language, key=lambda entry: entry[0]):
            self._languages.setdefault(_key(language), voice)
        # A voice whose file has the language's name comes before a dialect that also lists it.
        self._languages |= {key: voice for key, voice in by_file.items() if key in self._languages}
        self._voices = self._languages | by_name | by_file
        for name, _, file in _listed_voices(library, b"variant"):
            file = file.rpartition("/")[2]
            if len(file) <= MAX_FILE:
                self._variants[_key(file)] = file
                self._variants.setdefault(_key(name), file)
        for number in range(1, 10):  # espeak-ng's own short names
            for key, file in ((f"{number}", f"m{number}"), (f"{10 + number}", f"f{number}")):
                if file in self._variants:
                    self._variants[key] = file

    def find(self, name: str) -> Voice:
        """The voice of a name, language or file, with "+variant" where wanted: "en-us", "fr+f3",
        "English (America)". Raises RealTalkError for an unknown one."""
        base, plus, variant = name[: MAX_NAME + 1].partition("+")
        voice = self._voices.get(_key(base)) if len(name) <= MAX_NAME else None
        if voice is None:
            raise RealTalkError(
                f"espeak-ng has no voice {_short(name)}: use a language such as "
                f"{self._suggestions(base)}, or a name that `espeak-ng --voices` lists"
            )
        if not plus:
            return voice
        if _key(variant) not in self._variants:
            raise RealTalkError(
                f"espeak-ng has no variant {_short(variant)} of a voice: use one such as "
                f"{base}+f3 or {base}+m3, or {base} alone"
            )
        return Voice(f"{voice.name}+{self._variants[_key(variant)]}", voice.language)

    def for_language(self, language: str, preferred: Voice) -> Voice | None:
        """A voice for a language tag such as de-AT, or else for its base language; None if there is
        none. It is `preferred` if that speaks the language, else a voice with its variant."""
        key = _key(language[:MAX_NAME])
        while key:
            if key in (_key(preferred.language), _key(preferred.base_language)):
                return preferred
            if voice := self._languages.get(key) or self._languages.get(_ALIASES.get(key, "")):
                return Voice(voice.name + preferred.variant, voice.language)
            key = key.rpartition("-")[0]
        return None

    def _suggestions(self, name: str) -> str:
        """Languages to give instead of an unknown name."""
        similar = difflib.get_close_matches(_key(name), self._languages, n=3)
        common = ("en-us", "de", "fr", "es", "it", "cmn", "hi")
        return ", ".join([*similar, *(one for one in common if one not in similar)])


def _key(name: str) -> str:
    """The same for names that mean the same: `espeak-ng --voices` writes English_(America), locales
    en_US."""
    return name.strip(" ").casefold().replace("_", "-").replace(" ", "-")


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:40] + "...")


def _listed_voices(
    library: ctypes.CDLL, language: bytes | None
) -> list[tuple[str, list[tuple[int, str]], str]]:
    """(name, [(priority, language)], file) of every voice, or of those of one language."""
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_EspeakVoice))
    # espeak-ng reads as many bytes as its longest name has, to compare with that.
    buffer = ctypes.create_string_buffer(language or b"", 80)
    wanted = _EspeakVoice(languages=ctypes.addressof(buffer))
    voices, found, i = library.espeak_ListVoices(ctypes.byref(wanted) if language else None), [], 0
    while voices and voices[i]:
        voice = voices[i].contents
        name, file = (
            (text or b"").decode("utf-8", "replace") for text in (voice.name, voice.identifier)
        )
        found.append((name, _languages(voice), file))
        i += 1
    return found


def _languages(voice: _EspeakVoice) -> list[tuple[int, str]]:
    """(priority, language) of each language that a voice lists."""
    languages, at = [], voice.languages
    while at and (priority := ctypes.string_at(at, 1)[0]):
        tag = ctypes.string_at(at + 1)
        languages.append((priority, tag.decode("utf-8", "replace")))
        at += len(tag) + 2
    return languages
