# SPDX-License-Identifier: Apache-2.0
"""Recordings of real people with their texts, and sound effects, out of public packages.

Every corpus is a folder `root/<package>` with what `dpkg-deb -x` unpacked or `git clone` fetched.
A corpus that is not there yields nothing. docs/data.md lists the packages, their licences and what
each is used for; training/expression/sampler.py says how often each is drawn.
"""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soxr

from realtalk_ros.audio.media_files import read_audio
from realtalk_ros.contracts import SAMPLE_RATE
from realtalk_ros.training.speech_data.games import amazon_queen, drascula, steel_sky

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a")  # of recordings
# Speakers that no training gets: English readers, a Spanish and a French speaker, and everybody who
# speaks Greek or German.
HELD_OUT_REAL = frozenset(
    ("librivox/en", "cards/en", "tuxpaint/en", "tuxpaint/es", "armelle/fr", "tuxpaint/el",
     "speechocean/en/held_out", "kerstin/de", "ljspeech/en", "librispeech/en/held_out")
)  # fmt: skip
HELD_OUT_SPEECHOCEAN = 20  # adults: the last of that corpus's own test split
HELD_OUT_LIBRISPEECH = ("669", "6848", "7859", "8629")  # two women and two men
# Languages of Common Voice that espeak-ng reads well; German and Greek are held out.
COMMON_VOICE = (
    "ca cs cy en eo es et eu fi fr hi hu id it ka lt lv nl pl pt ro ru sl sv-SE tr tt".split()
)

ASTERISK = "en es fr it ru".split()
PACKAGES = (
    *(f"asterisk-core-sounds-{code}" for code in ASTERISK),
    *(f"asterisk-core-sounds-{code}-g722" for code in ASTERISK),
    "asterisk-prompt-it-menardi-wav", "asterisk-prompt-fr-armelle",
    "tuxpaint-stamps-default", "fillets-ng-data", "fillets-ng-data-cs", "pocketsphinx-testdata",
    "sound-theme-freedesktop", "beneath-a-steel-sky", "flight-of-the-amazon-queen",
    "drascula", "drascula-spanish",
)  # fmt: skip
# Cloned, not unpacked: folder -> address, with @ the commit if it is not the last one.
REPOSITORIES = {
    "speechocean762": "https://github.com/jimbozhang/speechocean762",
    "kerstin": "https://github.com/rhasspy/dataset-voice-kerstin",
    "picovoice-orders": "https://github.com/Picovoice/speech-to-intent-benchmark",
    "picovoice-words": "https://github.com/Picovoice/wake-word-benchmark",
    "ljspeech-part": "https://github.com/PrernaSocity/lj_speech_dataset_part_1",
    "kathleen": "https://github.com/rhasspy/dataset-voice-kathleen",
    "nathalie": "https://github.com/rhasspy/dataset-voice-nathalie",
    "flemishguy": "https://github.com/rhasspy/dataset-voice-flemishguy",
    "librispeech-part": "https://github.com/zhangrui0712/Voice-Age",
    "commonvoice-languages": "https://github.com/omnilingo/rsample-100-cv-corpus-6.1-2020-12-11",
    "commonvoice-en": "https://github.com/leeyide96/transcription-generator",
    "commonvoice-fr": "https://github.com/shubhra-cv/17@9d214b6",
}


@dataclass(frozen=True)
class Recording:
    """A recording of a known text. Held-out sets are split by `source`."""

    source: str  # corpus/language[/speaker]
    voice: str  # espeak-ng's voice of its language
    text: str  # "{a|an} egg": alignment chooses where the words are not known
    path: Path


def recordings(root: Path) -> Iterator[Recording]:
    """Every recording with a text under `root`, in a fixed order."""
    yield from _asterisk(root)
    yield from _tuxpaint(root)
    yield from _fillets(root)
    yield from _pocketsphinx(root)
    yield from _games(root)
    yield from _speechocean(root / "speechocean762")
    yield from _listed(root / "kerstin", "kerstin/de", "de", "verified/{}.flac")
    yield from _orders(root / "picovoice-orders")
    yield from _wake_words(root / "picovoice-words")
    ljspeech = root / "ljspeech-part/LJSpeech-1.1"
    yield from _listed(ljspeech, "ljspeech/en", "en-us", "wavs/{}.wav")
    yield from _kathleen(root / "kathleen")
    yield from _listed(root / "nathalie", "nathalie/nl", "nl", "verified/{}.flac")
    yield from _listed(root / "flemishguy", "flemishguy/nl", "nl", "wavs/{}.wav")
    yield from _librispeech(root / "librispeech-part")
    yield from _common_voice(root)


def read_recording(path: Path) -> np.ndarray:
    """(n,) float32 mono at 16 kHz of a recording in any format and rate. Raises AudioError."""
    pcm, rate = read_audio(path)
    return pcm if rate == SAMPLE_RATE else soxr.resample(pcm, rate, SAMPLE_RATE, quality="HQ")


def noises(root: Path) -> Iterator[Path]:
    """Sound effects, music and animals: sounds that are not speech."""
    for path in _sounds(root / "tuxpaint-stamps-default"):
        # "7_fr" is a digit in French and "7" one in English; descriptions are spoken.
        if "_desc" not in path.stem and path.parent.name != "math":
            yield path
    yield from _sounds(root / "sound-theme-freedesktop")
    for path in _sounds(root / "fillets-ng-data"):
        # All but one level's lines are effects; small creatures babble in some.
        if path.parent.name == "en" and path.parent.parent.name in ("elk", "viking2", "warcraft"):
            continue
        yield path


def espeak_voice(language: str) -> str:
    """espeak-ng's voice of a language code as the corpora write it (de, pt_BR, en_GB)."""
    special = {"en": "en-us", "es": "es-419", "pt": "pt-br", "zh_cn": "cmn", "no": "nb",
               "sv-se": "sv"}  # fmt: skip
    language = language.lower()
    return special.get(language, language.replace("_", "-"))


def sentences(root: Path) -> dict[str, list[str]]:
    """Language code -> every text of the corpora in it, spoken or not."""
    found: dict[str, dict[str, None]] = {}  # dicts as ordered sets

    def add(language: str, text: str) -> None:
        if re.search(r"\w{2}", text):
            found.setdefault(language, {})[text] = None

    for code in ASTERISK:
        for text in _asterisk_texts(root, code).values():
            add(code, text)
    for path in sorted((root / "tuxpaint-stamps-default").rglob("*.txt")):
        for language, text in _stamp_texts(path).items():
            add(language, text)
    for path in sorted((root / "fillets-ng-data").rglob("dialogs_*.lua")):
        for _, text in dialogue(path.read_text("utf-8", "ignore")).values():
            add(path.stem.removeprefix("dialogs_"), text)
    return {language: list(texts) for language, texts in found.items()}


def _sounds(folder: Path) -> list[Path]:
    endings = (".ogg", ".oga", ".wav", ".g722", ".gsm")
    return sorted(p for p in folder.rglob("*") if p.suffix in endings)


def _asterisk_texts(root: Path, code: str) -> dict[str, str]:
    """Name of a prompt -> its text, of lines `name: text`; ";" begins a comment."""
    package = f"asterisk-core-sounds-{code}"
    listing = root / package / f"usr/share/doc/{package}/core-sounds-{code}.txt.gz"
    texts = {}
    if listing.is_file():
        for line in gzip.decompress(listing.read_bytes()).decode("utf-8", "ignore").splitlines():
            name, colon, text = line.partition(":")
            text = text.strip()
            # "[this is a simple beep tone]" describes a sound.
            if colon and not line.startswith(";") and text and not text.startswith(("[", "(")):
                texts[name.strip()] = text
    return texts


def _asterisk(root: Path) -> Iterator[Recording]:
    packages = [(f"asterisk/{code}", code, f"asterisk-core-sounds-{code}-g722")
                for code in ASTERISK]  # fmt: skip
    # Other speakers of the same prompts. Their words differ here and there from the listing;
    # alignment finds where.
    packages += [
        ("menardi/it", "it", "asterisk-prompt-it-menardi-wav"),
        ("armelle/fr", "fr", "asterisk-prompt-fr-armelle"),
    ]
    for source, code, package in packages:
        texts = _asterisk_texts(root, code)
        for path in _sounds(root / package):
            after = path.with_suffix("").parts[path.parts.index("sounds") + 1 :]
            # sounds/<voice>/digits/1, but also sounds/digits/<language>/1.
            names = ("/".join(after[1:]), "/".join(p for p in after if p != code), path.stem)
            text = next((texts[name] for name in names if name in texts), None)
            if text:
                yield Recording(source, espeak_voice(code), text, path)


def _stamp_texts(path: Path) -> dict[str, str]:
    """Language -> description of a Tux Paint stamp: English first, then lines `de.utf8=...`."""
    first, _, rest = path.read_text("utf-8", "ignore").partition("\n")
    texts = {"en": first.strip()}
    for line in rest.splitlines():
        language, equals, text = line.partition(".utf8=")
        if equals and text.strip():
            texts[language] = text.strip()
    return texts


def _tuxpaint(root: Path) -> Iterator[Recording]:
    for path in _sounds(root / "tuxpaint-stamps-default"):
        stamp, spoken, language = path.name.split(".")[0].partition("_desc")
        listing = path.parent / f"{stamp}.txt"
        if not spoken or not listing.is_file():
            continue
        language = language.lstrip("_") or "en"
        text = _stamp_texts(listing).get(language)
        if text:
            yield Recording(f"tuxpaint/{language}", espeak_voice(language), text, path)


_DIALOGUE = re.compile(
    r'dialogId\(\s*"([^"/]+)",\s*"([^"]*)",\s*"((?:[^"\\]|\\.)*)"\s*\)'
    r'(?:\s*dialogStr\(\s*"((?:[^"\\]|\\.)*)"\s*\))?'
)


def dialogue(script: str) -> dict[str, tuple[str, str]]:
    """Sound's name -> (font, which tells who speaks; text) of a Fish Fillets dialogs_*.lua.

    `dialogId(name, font, English)` is followed by `dialogStr(translation)` in other languages.
    """
    lines = {}
    for name, font, english, translation in _DIALOGUE.findall(script):
        text = re.sub(r"\\n|\\(.)", r" \1", translation or english)
        lines[name] = (font, " ".join(text.split()))
    return lines


def _fillets(root: Path) -> Iterator[Recording]:
    # Fonts of the two heroes; every other character has few lines.
    speakers = {"font_small": "small", "font_big": "big"}
    game = "usr/share/games/fillets-ng"
    for script in sorted(root.glob(f"fillets-ng-data/{game}/script/*/dialogs_cs.lua")):
        sounds = root / "fillets-ng-data-cs" / game / f"sound/{script.parent.name}/cs"
        for name, (font, text) in dialogue(script.read_text("utf-8", "ignore")).items():
            path = sounds / f"{name}.ogg"
            if re.search(r"\w{2}", text) and path.is_file():
                yield Recording(f"fillets/cs/{speakers.get(font, 'others')}", "cs", text, path)


def _pocketsphinx(root: Path) -> Iterator[Recording]:
    for name, listing in (("librivox", "transcription"), ("cards", "cards.transcription")):
        for path in sorted((root / "pocketsphinx-testdata").rglob(f"{name}/{listing}")):
            for line in path.read_text("utf-8").splitlines():
                text, _, clip = line.rpartition("(")
                recording = path.parent / (Path(clip.rstrip(") ")).name + ".wav")
                if recording.is_file():
                    text = re.sub(r"</?s>", "", text).strip()
                    yield Recording(f"{name}/en", "en-us", text, recording)


def _games(root: Path) -> Iterator[Recording]:
    texts = root / "drascula/usr/share/scummvm/drascula/en/drascula.dat"
    steel, queen = "beneath-a-steel-sky", "flight-of-the-amazon-queen"
    for package, game, source, voice, unpack in (
        (steel, steel, "steelsky/en", "en-us", steel_sky.unpack),
        (queen, queen, "amazonqueen/en", "en-us", amazon_queen.unpack),
        ("drascula", "drascula/en", "drascula/en", "en-us", partial(drascula.unpack, texts)),
        ("drascula-spanish", "drascula/es", "drascula/es", "es", partial(drascula.unpack, texts)),
    ):
        folder = root / package / "usr/share/scummvm" / game
        yield from _game(folder, root / package / "spoken", source, voice, unpack)


def _game(
    folder: Path, spoken: Path, source: str, voice: str, unpack: Callable[[Path, Path], int]
) -> Iterator[Recording]:
    """The dialogue of a game, which is unpacked if it is not yet."""
    if folder.is_dir() and not (spoken / "lines.tsv").is_file():
        unpack(folder, spoken)
    paths = {path.stem: path for path in spoken.glob("*")}
    for name, text in _table(spoken / "lines.tsv").items():
        yield Recording(source, voice, text.replace("...", " "), paths[name])


def _table(path: Path) -> dict[str, str]:
    """A table in Kaldi's format: key -> the rest of the line."""
    lines = path.read_text("utf-8").splitlines() if path.is_file() else ()
    pairs = (re.split(r"\s", line, maxsplit=1) for line in lines)
    return {pair[0]: pair[-1].strip() for pair in pairs}


def _speechocean(root: Path) -> Iterator[Recording]:
    """speechocean762: 250 native speakers of Mandarin, aged 5 to 40, read English."""
    tables = {
        split: [_table(root / split / name) for name in ("text", "wav.scp", "utt2spk", "spk2age")]
        for split in ("train", "test")
    }
    ages = tables["test"][3]
    held_out = sorted(s for s, age in ages.items() if int(age) >= 16)[-HELD_OUT_SPEECHOCEAN:]
    for texts, paths, speakers, _ in tables.values():
        for name, text in sorted(texts.items()):
            source = "held_out" if speakers[name] in held_out else "others"
            path = root / paths[name]
            if path.is_file():
                yield Recording(f"speechocean/en/{source}", "en-us", text, path)


def _listed(root: Path, source: str, voice: str, pattern: str) -> Iterator[Recording]:
    """One voice in the format of LJ Speech: lines `name|...|text`.

    pattern: path of a recording, with {} for its name.
    """
    listing = root / "metadata.csv"
    for line in listing.read_text("utf-8").splitlines() if listing.is_file() else ():
        name, *_, text = line.split("|")
        path = root / pattern.format(Path(name).name)
        if path.is_file():
            yield Recording(source, voice, text, path)


def _kathleen(root: Path) -> Iterator[Recording]:
    """A voice of Rhasspy's with each text in a file of its own."""
    for path in sorted((root / "data").glob("*.wav")):
        if (text := path.with_suffix(".txt")).is_file():
            yield Recording("kathleen/en", "en-us", text.read_text("utf-8").strip(), path)


# The beginnings of an order in that repository's grammar (data/rhino/coffee_maker.yaml).
_PLEASE = "brew|can I get|can I have|I want|get me|give me|I'd like|make me|may I have"


def _orders(root: Path) -> Iterator[Recording]:
    """Picovoice's orders of coffee, by more than 50 people.

    What was ordered is listed, but not its order and how the sentence began.
    """
    listing = root / "data/label/label.json"
    labels = json.loads(listing.read_text("utf-8")) if listing.is_file() else {}
    for name, label in sorted(labels.items()):
        path = root / "data/speech/clean" / name
        values = {slot: " ".join(value.split()) for slot, value in label["slots"].items()}
        kind = _in_any_order(values, " ", "size", "roast", "numberOfShots")
        drink = f"{{{kind}}} {values['coffeeDrink']}"
        if extras := _in_any_order(values, " and ", "milkAmount", "sugarAmount"):
            drink += f" with {{{extras}}}"
        if path.is_file():
            yield Recording("picovoice/en/orders", "en-us", f"{{{_PLEASE}}} {{a|an}} {drink}", path)


def _in_any_order(values: dict[str, str], separator: str, *slots: str) -> str:
    """The choice among all orders of the values of `slots`."""
    parts = [values[slot] for slot in slots if slot in values]
    return "|".join(separator.join(order) for order in itertools.permutations(parts))


def _wake_words(root: Path) -> Iterator[Recording]:
    """Picovoice's wake words, by more than 50 people: a folder each, named by the word."""
    for path in sorted((root / "audio").glob("*/*")):
        yield Recording("picovoice/en/words", "en-us", path.parent.name, path)


def _librispeech(root: Path) -> Iterator[Recording]:
    """The five hours of train-clean-5: 28 readers of LibriVox."""
    for listing in sorted((root / "LibriSpeech").glob("*/*/*/*.trans.txt")):
        speaker = listing.name.partition("-")[0]
        source = "held_out" if speaker in HELD_OUT_LIBRISPEECH else "others"
        for name, text in _table(listing).items():
            path = listing.with_name(f"{name}.flac")
            if path.is_file():  # capitals would be spelled out
                yield Recording(f"librispeech/en/{source}", "en-us", text.lower(), path)


def _common_voice(root: Path) -> Iterator[Recording]:
    """Recordings of Mozilla's Common Voice whose text listeners have confirmed."""
    many = root / "commonvoice-languages"
    for code in COMMON_VOICE:
        yield from _validated(code, many / code / "validated.tsv", "clips")
    english = root / "commonvoice-en/asr"
    for row in _rows(english / "cv-valid-dev.csv"):
        path = english / "data/cv-valid-dev/cv-valid-dev" / Path(row["filename"]).name
        if path.is_file():
            yield Recording("commonvoice/en", espeak_voice("en"), row["text"], path)
    french = root / "commonvoice-fr/cv-corpus-17.0-delta-2024-03-15-fr"
    yield from _validated("fr", french / "validated.tsv", "validated_clips")


def _validated(code: str, listing: Path, folder: str) -> Iterator[Recording]:
    """Common Voice's listing of confirmed recordings, beside their folder."""
    for row in _rows(listing, delimiter="\t", quoting=csv.QUOTE_NONE):
        path = listing.parent / folder / Path(row["path"]).name
        if path.is_file():
            yield Recording(f"commonvoice/{code}", espeak_voice(code), row["sentence"], path)


def _rows(path: Path, **dialect: object) -> Iterator[dict[str, str]]:
    """Rows of a table with a heading, in a dialect of csv; none where there is no file."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file, **dialect)
