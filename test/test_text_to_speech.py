# SPDX-License-Identifier: Apache-2.0
"""Texts, plain or in SSML, as espeak-ng is given them: markup, scripts, pauses; how far one is."""

import time

import numpy as np
import pytest

from realtalk_ros.audio.espeak import Espeak
from realtalk_ros.audio.text_to_speech import Saying, sentences
from realtalk_ros.errors import RealTalkError

try:
    Espeak()
except RealTalkError as error:
    pytest.skip(str(error), allow_module_level=True)


def test_how_far_a_text_is_follows_its_words():
    text = 'Hello there. "How are you?" she said.'
    saying = Saying(text, "en-us")
    pcm = np.concatenate([part for part, _ in saying.chunks(0.02)])
    assert len(pcm) / saying.sample_rate == pytest.approx(saying.seconds)
    assert saying.spoken(-0.1) == "" and saying.spoken(saying.seconds) == text
    steps = [saying.spoken(t) for t in np.arange(0, saying.seconds, 0.05)]
    assert all(text.startswith(step) for step in steps)
    assert sorted(steps, key=len) == steps and len(set(steps)) == len(text.split())


def test_sentences_are_the_text_and_never_long():
    text = "One. Two? Three!\n" + "word " * 300 + "x" * 900
    pieces = sentences(text)
    assert "".join(pieces) == text and max(map(len, pieces)) <= 401 and len(pieces) > 6
    assert [len(part) for part, _ in Saying("Yes.", "en-us").chunks(0.02)][-1] > 0


pitches: list[int] = []  # at which it is to be said


@pytest.fixture
def told(monkeypatch):
    """What espeak-ng is given to say: text, language, words a minute."""
    told = []
    pitches.clear()
    speak = Espeak.speak_words

    def listening(self, text, voice, speed, pitch):
        told.append((text.strip(), voice.language, speed))
        pitches.append(pitch)
        return speak(self, text, voice, speed, pitch)

    monkeypatch.setattr(Espeak, "speak_words", listening)
    return told


def said(text, voice="en-us", **options):
    """The text as heard, its length in s, and the warnings."""
    warnings = []
    saying = Saying(text, voice, warn=warnings.append, **options)
    pcm = [part for part, _ in saying.chunks(0.1)]
    assert sum(map(len, pcm)) / saying.sample_rate == pytest.approx(saying.seconds, abs=1e-3)
    assert saying.spoken(saying.seconds) == saying.text.rstrip()
    return saying.text, saying.seconds, warnings


@pytest.mark.parametrize("text, plain", [
    ("a < b and c > d", "a < b and c > d"), ("I <3 you &copy me", "I <3 you &copy me"),
    ("a <b and c> d", "a <b and c> d"), ("One <break time='1s' two", "One <break time='1s' two"),
    ("<speak>Tom &amp; J&#233;r&#xF4;me</speak>", "Tom & Jérôme"),
    ("Hi <set expression(happy)> there<do wave(left)/>!", "Hi there!"),
    ("<speak><b>un</b>closed <x:y z='1'>and</q> <br/>crossed</speak></p>", "unclosed and crossed"),
    ("One<br>two<!-- three --> <![CDATA[a<b]]>", "One two a<b"),
    ('The <sub alias="O\'H &amp; I">O</sub> <sub>x</sub> <sub alias="y">z', "The O'H & I x z"),
    ("One <!-- " + "three <p> <![CDATA[ " * 500 + "-->two", "One two"),
    ("<![CDATA[" + "a<b " * 600 + "<!-- ]]>", "a<b " * 600 + "<!-- "),
    ('<?xml version="1.0"?><!DOCTYPE s [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n'
     "<speak>\n  One &e; two.\n</speak>", "One &e; two. "),
])  # fmt: skip
def test_tags_are_not_said_and_words_are_not_lost(told, text, plain):
    assert said(text) == (plain, pytest.approx(said(plain)[1], rel=0.05), [])
    assert not any("break" in words for words, *_ in told) or "<break" in plain


def test_markup_is_obeyed(told):
    plain = said("One two three four.")[1]
    assert said("One two <break time='1500ms'/> three four.")[1] > plain + 1.3
    assert said("One two <break time='999s'/> three four.")[1] < plain + 11
    assert said("<p>One two</p><p>three four.</p>")[1] > plain + 0.3
    del told[:]
    said("<prosody rate='x-slow'>One</prosody> <prosody rate='150%'>two <emphasis>three</emphasis>"
         "</prosody> <lang xml:lang='de-AT'>vier</lang> five")  # fmt: skip
    words, languages, speeds = zip(*told, strict=True)
    assert words == ("One", "two", "three", "vier", "five")
    assert languages == ("en-us", "en-us", "en-us", "de", "en-us")
    assert speeds[0] < 100 and speeds[1] == 247 > speeds[2] > 165 == speeds[3] == speeds[4]
    del told[:]
    said("<say-as interpret-as='characters'>CD7</say-as> "
         "<say-as interpret-as='telephone'>55-1</say-as>")  # fmt: skip
    assert [words for words, *_ in told] == ["C", "D", "7", "5", "5", "1"]


def test_the_pitch_of_prosody_is_obeyed(told):
    for given, pitch in [("high", 65), ("X-LOW", 20), ("+100%", 99), ("-20%", 31), ("+1st", 55),
                         ("-12st", 0), ("90Hz", 50), ("+9e9%", 50), ("-100%", 0)]:  # fmt: skip
        said(f"<prosody pitch='{given}'>one</prosody>")
        assert pitches[-1] == pitch
    said("<prosody pitch='high'>one <prosody pitch='+1st'>two</prosody></prosody> three")
    assert pitches[-3:] == [65, 70, 50]


@pytest.mark.parametrize("attack", [
    "<", "<a ", "<!--", "<![CDATA[", "<p>", "<prosody rate='slow'>", "<a b='c' ", "</q>", "&lol;",
    "<!DOCTYPE[", ".", "<break time='9999999999s'/>",
])  # fmt: skip
def test_markup_cannot_keep_anyone_waiting(attack):
    text = (attack * 20000)[:19000] + " word"
    began = time.process_time()
    saying = Saying(text, "en-us")
    assert time.process_time() - began < 4 and "word" in saying.text


def test_every_script_is_said_in_a_language_that_has_it(told):
    _plain, _, warnings = said("Hello 你好 and Привет, мир! Then 안녕 and π, 你好.")
    assert [(words, language) for words, language, _ in told] == [
        ("Hello", "en-us"), ("你好", "cmn"), ("and", "en-us"), ("Привет, мир!", "ru"),
        ("Then", "en-us"), ("안녕", "ko"), ("and π,", "en-us"), ("你好.", "cmn"),
    ]  # fmt: skip
    assert len(warnings) == 3 and all("set a voice" in warning for warning in warnings)
    del told[:]
    assert said("Привет", "bg+f3")[2] == [] and told[0][1] == "bg"


def test_what_nobody_can_say_does_not_end_a_text(told):
    text = "Before. ཀཁག ☃ \u0600 ⵣⵣ 🙂. After."
    plain, _, warnings = said(text)
    assert plain == text and warnings and all("left out" in warning for warning in warnings)
    assert [words.strip(" .") for words, *_ in told] == ["Before", "After"]
    spelled = "<say-as interpret-as='characters'>A \u0870 B</say-as>"
    assert len(said(spelled)[2]) == 2 and [words for words, *_ in told][-1] == "B"
    with pytest.raises(RealTalkError, match="reads Tibetan"):
        Saying("ཀཁག")


def test_sentences_have_pauses_between_them():
    one = [said(text)[1] for text in ("Hello there.", "Goodbye there.")]
    assert said("Hello there. Goodbye there.")[1] == pytest.approx(sum(one) + 0.32, abs=0.05)
    assert sentences("I saw Dr. Smith, e.g. today.") == ["I saw Dr. Smith, e.g. today."]
    assert all(piece[-1] == "." for piece in sentences("I am. " * 200 + "End.")[:-1])


@pytest.mark.parametrize("text", ["", " ...\n", "🙂", "<speak>🙂 <p>!</p></speak>", "x" * 20001])
def test_what_cannot_be_said_is_refused_with_a_reason(text):
    with pytest.raises(RealTalkError, match="no text to speak: give|too long: give"):
        Saying(text, "en-us")
