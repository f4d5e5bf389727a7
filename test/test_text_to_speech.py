# SPDX-License-Identifier: Apache-2.0
"""Texts, plain or in SSML, as espeak-ng is given them: markup, scripts, pauses; how far one is."""

import time

import numpy as np
import pytest

from realtalk_ros.audio import espeak
from realtalk_ros.audio.text_to_speech import Saying, sentences
from realtalk_ros.errors import RealTalkError

try:
    espeak.sample_rate()
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
names: list[str] = []  # of the voices
intonations: list[int] = []


@pytest.fixture
def told(monkeypatch):
    """What espeak-ng is given to say: text, language, words a minute."""
    told = []
    pitches.clear()
    names.clear()
    intonations.clear()
    speak = espeak.speak

    def listening(text, voice, speed=165, pitch=50, intonation=50):
        told.append((text.strip(), voice.language, speed))
        names.append(voice.name.rpartition("/")[2])
        pitches.append(pitch)
        intonations.append(intonation)
        return speak(text, voice, speed, pitch, intonation)

    monkeypatch.setattr(espeak, "speak", listening)
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
    ("<sub xml:lang='en' alias='one' role=\"\">1</sub> <sub xml:lang='en'>2</sub>", "one 2"),
    ("<metadata><rdf:RDF>no</rdf:RDF></metadata>yes<audio> <desc xml:lang='en'>no</desc>so</audio>",
     "yes so"), ("<metadata/>One <desc>two <metadata a='b'>three", "One two three"),
    ("<METADATA>no</Metadata\n>yes <desc>no</desc >so", "yes so"),
    ("One <!-- " + "three <p> <![CDATA[ " * 500 + "-->two", "One two"),
    ("<![CDATA[" + "a<b " * 600 + "<!-- ]]>", "a<b " * 600 + "<!-- "),
    ('<?xml version="1.0"?><!DOCTYPE s [<!ENTITY e SYSTEM "file:///etc/passwd">]>\n'
     "<speak>\n  One &e; two.\n</speak>", "One &e; two. "),
])  # fmt: skip
def test_tags_are_not_said_and_words_are_not_lost(told, text, plain):
    assert said(text)[:2] == (plain, pytest.approx(said(plain)[1], rel=0.05))
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
    number = "<say-as interpret-as='telephone'>{}</say-as>".format
    assert said(number("+55"))[1] > said(number("-55"))[1] + 0.2  # "plus" is heard


def test_the_pitch_of_prosody_is_obeyed(told):
    for given, pitch in [("high", 65), ("X-LOW", 20), ("+100%", 99), ("-20%", 31), ("+1st", 55),
                         ("-12st", 0), ("90Hz", 50), ("+9e9%", 50), ("-100%", 0)]:  # fmt: skip
        said(f"<prosody pitch='{given}'>one</prosody>")
        assert pitches[-1] == pitch
    said("<prosody pitch='high'>one <prosody pitch='+1st'>two</prosody></prosody> three")
    assert pitches[-3:] == [65, 70, 50]


def test_the_range_of_prosody_is_heard(told):
    for given, intonation in [("x-low", 10), ("+20%", 60), ("50%", 25), ("+300%", 99)]:
        said(f"<prosody range='{given}'>Are you really sure?</prosody>")
        assert intonations[-1] == intonation
    said("<prosody range='x-high'>Are you really sure?</prosody> Yes.")
    assert intonations[-2:] == [90, 50]


def test_the_voice_moves_as_far_as_it_is_told():
    flat, lively = (espeak.speak("Are you?", "en-us", 165, 50, n)[0] for n in (0, 99))
    shorter = min(len(flat), len(lively))
    assert np.abs(flat[:shorter] - lively[:shorter]).mean() > 0.01


def loudness(volume):
    saying = Saying(f"<prosody volume='{volume}'>Hello you.</prosody>", "en-us")
    return max(float(np.abs(pcm).max()) for pcm, _ in saying.chunks(9.0))


def test_the_volume_of_prosody_is_obeyed():
    plain = loudness("medium")
    for given, share in [("x-soft", 0.3), ("SOFT", 0.65), ("50", 0.5), ("-6dB", 0.501),
                         ("-20%", 0.8), ("100", 1.0), ("silent", 0.0), ("-500%", 0.0)]:  # fmt: skip
        assert loudness(given) == pytest.approx(share * plain, abs=0.06)
    assert plain < loudness("loud") < loudness("x-loud") <= loudness("+99dB") <= 1
    assert not said("<prosody volume='silent'>Hello.</prosody> <p>you</p>")[2]


def test_a_voice_is_found_by_its_name_language_and_gender(told):
    for tag, name in [
        ("name='de'", "de"), ("name='Joanna fr+f3 de'", "fr+f3"), ("languages='de fr'", "de"),
        ("name='English (America)'", "en-US"), ("xml:lang='fr' gender='female'", "fr+f1"),
        ("gender='female' variant='2'", "en-US+f2"), ("gender='male'", "en-US"),
        ("gender='male' variant='3'", "en-US+m3"), ("gender='neutral'", "en-US"),
    ]:  # fmt: skip
        assert said(f"<voice {tag}>one</voice>")[2] == [] and names[-1] == name
    said("<voice name='de'>eins <lang xml:lang='fr'>deux</lang></voice> three")
    assert names[-3:] == ["de", "fr", "en-US"]
    said("<voice gender='male'>one</voice>", "en-us+f2")
    assert names[-1] == "en-US+m1"
    said(f"<voice name='{'Joanna ' * 8} de'>one</voice>")  # as long lists take seconds
    assert names[-1] == "en-US"
    warnings = said("<voice name='Joanna'>one</voice> <voice name='Joanna'>two</voice>")[2]
    assert (
        len(warnings) == 1 and "<voice> is left out: espeak-ng has no voice 'Joanna'" in warnings[0]
    )


@pytest.mark.parametrize("text, what", [
    ("<mark name='a'/>one <mark name='b'/>", "<mark>"), ("<audio src='a'>one</audio>", "<audio>"),
    ("<phoneme ph='x'>one</phoneme>", "<phoneme>"), ("<lexicon uri='x'/>one", "<lexicon>"),
    ("<say-as interpret-as='date'>1/2/24</say-as>", "say-as 'date'"),
    ("<prosody pitch='90Hz'>one</prosody>", "prosody pitch '90Hz'"),
    ("<prosody rate='soon'>one</prosody>", "prosody rate 'soon'"),
    ("<prosody volume='11dBm' rate='slow'>one</prosody>", "prosody volume '11dBm'"),
    ("<prosody contour='(0%,+20Hz)'>one</prosody>", "prosody contour"),
    ("<say-as interpret-as='cardinal'>1</say-as> <b>one</b> <wave left/>", ""),
])  # fmt: skip
def test_what_of_ssml_is_not_obeyed_is_said_once(text, what):
    expected = f"SSML's {what} is left out: the text in it is spoken as it is written"
    assert said(text)[2] == ([expected] if what else [])


@pytest.mark.parametrize("attack", [
    "<", "<a ", "<!--", "<![CDATA[", "<p>", "<prosody rate='slow'>", "<a b='c' ", "</q>", "&lol;",
    "<!DOCTYPE[", ".", "<break time='9999999999s'/>",
    "<metadata>", "<desc a='b' ", "<sub ", "<sub a='b' ", "<sub alias='b' ", "<voice name='x'>",
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
    spelled = "<say-as interpret-as='characters'>A \u08be B</say-as>"
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
