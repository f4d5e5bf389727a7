"""Recordings of real people with their texts, out of Debian packages (training side)."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

# Debian packages with real speech: name -> (language of espeak-ng, transcript package).
ASTERISK = {f"asterisk-core-sounds-{code}-g722": code for code in ("en", "es", "fr", "it", "ru")}
_ESPEAK_NAME = {"en": "en-us", "es": "es-419"}


def asterisk_clips(root: Path) -> Iterator[tuple[str, str, str, Path]]:
    """(source, espeak voice, text, path) of every Asterisk prompt unpacked under `root`."""
    for package, code in ASTERISK.items():
        listing = (
            root
            / package.removesuffix("-g722")
            / (f"usr/share/doc/asterisk-core-sounds-{code}/core-sounds-{code}.txt.gz")
        )
        if not listing.is_file():
            continue
        texts = {}
        for line in gzip.decompress(listing.read_bytes()).decode("utf-8", "ignore").splitlines():
            name, colon, text = line.partition(":")
            if colon and not line.startswith(";") and re.search(r"\w", text):
                texts[name.strip()] = text.strip()
        for path in sorted((root / package).rglob("*.g722")):
            base = next((p for p in path.parents if p.parent.name == "sounds"), path.parent)
            name = str(path.relative_to(base).with_suffix(""))
            text = texts.get(name) or texts.get(path.stem)
            if text and not text.startswith(("[", "(")):
                yield f"asterisk/{code}", _ESPEAK_NAME.get(code, code), text, path


def read_g722(path: Path) -> np.ndarray:
    import av

    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray().ravel() for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) / 32768 if frames else np.zeros(0, np.float32)


def librivox_clips(root: Path) -> Iterator[tuple[str, Path]]:
    """(text, WAV path) of the five held-out clips of Debian's pocketsphinx-testdata."""
    for listing in sorted(root.rglob("librivox/transcription")):
        for line in listing.read_text().splitlines():
            text, _, name = line.rpartition("(")
            path = listing.parent / (name.rstrip(") ") + ".wav")
            if path.is_file():
                yield re.sub(r"</?s>", "", text).strip(), path
