# SPDX-License-Identifier: Apache-2.0
"""Text to speech through espeak-ng: what it is given, and what it must never be given."""

import numpy as np
import pytest

from realtalk_ros.audio import espeak, espeak_library, unicode_scripts
from realtalk_ros.errors import RealTalkError


@pytest.fixture(scope="module")
def tts():
    try:
        espeak.sample_rate()
    except RealTalkError as error:
        pytest.skip(str(error))
    return espeak


def test_espeak_speaks(tts):
    pcm, _ = tts.speak("Hello, I am a robot.")
    rate = tts.sample_rate()
    assert rate == 22050 and pcm.dtype == np.float32
    assert 0.8 < len(pcm) / rate < 4 and 0.05 < np.abs(pcm).max() <= 1
    longer, _ = tts.speak("Hello, I am a robot.", words_per_minute=100)
    assert len(longer) > 1.2 * len(pcm)


def test_espeak_takes_a_long_text(tts):
    sentence = "My name is Bob and I am home. "
    pcm, _ = tts.speak(sentence * 300)
    assert len(pcm) > 200 * len(tts.speak(sentence)[0]) * 0.5
    assert len(pcm) / tts.sample_rate() > 300


@pytest.mark.parametrize("text", ["", "  \n", "\0", "...", "_", "🙂🇪🇺", "1\ufe0f\u20e3", "\ud800"])
def test_espeak_refuses_a_text_without_words(tts, text):
    with pytest.raises(RealTalkError, match="give"):
        tts.speak(text)


def test_an_unknown_voice_is_named_in_the_error(tts):
    with pytest.raises(RealTalkError, match="no voice 'klingonese'"):
        tts.speak("hello", voice="klingonese")


@pytest.mark.parametrize("voice", [
    "x" * 1000, "../../etc/passwd", "../voices", "en\0us", "en-us\n", "", "\ud800",
    "en-us+../../x", "en-us+" + "y" * 1000,
])  # fmt: skip
def test_espeak_gets_no_voice_name_but_those_it_lists(tts, voice):
    class Library:
        def __init__(self):
            self.names = []

        def espeak_SetVoiceByName(self, name):
            self.names.append(name)
            return 0

    library = Library()
    with pytest.raises(RealTalkError, match="use ") as caught:
        espeak_library.set_voice(library, voice)
    assert not library.names and len(str(caught.value)) < 250 and "\n" not in str(caught.value)


@pytest.mark.parametrize("voice", ["EN-US", "en_US", "English_(America)", "gmw/en-US", "en-gb",
                                   "zh", "fr-fr", "de+F3", "de+female3", "de+13"])  # fmt: skip
def test_every_name_that_espeak_lists_is_accepted(tts, voice):
    assert len(tts.speak("one", voice)[0])
    assert espeak_library.voices().find("de+13") == espeak_library.voices().find("German+f3")


@pytest.mark.parametrize("numbers", [(float("nan"), 50), (20, 50), (165, float("inf")), (165, -1)])
def test_numbers_out_of_range_are_refused(tts, numbers):
    with pytest.raises(RealTalkError, match="give .* to "):
        tts.speak("hello", "en-us", *numbers)


def test_text_is_cleaned_before_espeak_reads_it(tts):
    text = "a\x01\ud800b\u200fc\u00addé e\u0301 𝓐 ３ 🙂\ufe0f z" + "n" * 999
    cleaned, offsets = unicode_scripts.speakable(text)
    assert cleaned.startswith("a bcdé é A 3 z") and "\x01" not in cleaned
    assert max(len(word.encode()) for word in cleaned.split()) <= unicode_scripts.MAX_WORD
    assert offsets == sorted(offsets) and len(offsets) == len(cleaned)


def test_without_espeak_the_error_says_how_to_install(monkeypatch):
    def missing(*_):
        raise OSError("no such library")

    # Past the caches, which stay: espeak-ng must not be loaded twice.
    monkeypatch.setattr(espeak_library, "_library_paths", espeak_library._library_paths.__wrapped__)
    monkeypatch.setattr(espeak_library.ctypes, "CDLL", missing)
    with pytest.raises(RealTalkError, match="pip install"):
        espeak_library.load_espeak.__wrapped__()
