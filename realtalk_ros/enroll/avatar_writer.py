# SPDX-License-Identifier: Apache-2.0
"""Writes what an enrolment has made as an avatar folder (avatar/avatar.py says what is in one)."""

from __future__ import annotations

import errno
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from realtalk_ros import __version__, checksums
from realtalk_ros.avatar import image_decoding, provenance
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.contracts import AVATAR_FORMAT
from realtalk_ros.errors import RealTalkError
from realtalk_ros.whole_files import cannot_write


@dataclass(frozen=True)
class Enrolment:
    """What an avatar folder is made of. Images are uint8 BGR."""

    identity: np.ndarray  # (100,)
    templates: list[np.ndarray]
    landmarks: np.ndarray  # (N, 68, 2), pixels of the templates
    crop: tuple[int, int, int]
    references: list[np.ndarray]  # (256, 256, 3)
    reference_weights: np.ndarray  # (K, 52)
    reference_landmarks: np.ndarray  # (K, 68, 2), pixels of the references
    expressions: np.ndarray | None  # (50, 52) at 25 Hz, of a video; None of a photo
    region: np.ndarray  # (256, 256) uint8
    notes: list[str]  # one line each, for the user
    resting_weights: np.ndarray  # (52,)
    parted_weights: np.ndarray | None = None  # (52,), None: the lips rest shut
    mouth_motion: float | None = None  # of a video with speech: avatar/temperament.py


def write_folder(
    target: Path,
    made: Enrolment,
    name: str,
    consent: str,
    source: Path,
    *,
    smile: Path | None = None,
) -> None:
    """The avatar folder at `target`, whole or not at all; `smile` is a second picture that it is
    made of. Raises RealTalkError."""
    part = Path(tempfile.mkdtemp(prefix=".enroll.", suffix=".part", dir=target.parent))
    try:
        part.chmod(0o755)
        meta = {
            "format": AVATAR_FORMAT,
            "name": name,
            "description": "Made by `realtalk enroll`.",
            "consent": consent,
            "created": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
            "source": _named(source),
            **({"smile": _named(smile)} if smile else {}),
            "digital_source_type": provenance.LIKENESS,
            "tool": f"realtalk_ros {__version__}",
            **_temperament(made),
            **_write_files(part, made),
        }
        text = yaml.safe_dump(meta, sort_keys=False, width=100, allow_unicode=True)
        (part / "avatar.yaml").write_text(text, encoding="utf-8")
        Avatar.load(part)  # raises
        part.rename(target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY):  # another command was faster
            raise exists(target) from error
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def exists(target: Path) -> RealTalkError:
    return RealTalkError(f"{target} exists: remove it, or give another --name or --out")


def temporary_avatar(made: Enrolment, source: Path) -> Avatar:
    """An avatar that is only measured: as it is once written and read, and nothing is kept."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "avatar")
        write_folder(target, made, "avatar", "only measured", source)
        return Avatar.load(target)


def _named(path: Path) -> dict[str, str]:
    return {"name": path.name, "sha256": checksums.sha256(path)}


def _temperament(made: Enrolment) -> dict[str, dict[str, float]]:
    if made.mouth_motion is None:
        return {}
    return {"temperament": {"mouth_motion": round(made.mouth_motion, 2)}}


def _write_files(folder: Path, made: Enrolment) -> dict[str, Any]:
    """Writes the files; returns what avatar.yaml says of them."""
    (folder / "templates").mkdir()
    (folder / "references").mkdir()

    def save(name: str, image: np.ndarray) -> str:
        suffix = Path(name).suffix
        how = image_decoding.FINE_JPEG if suffix == ".jpg" else []
        (folder / name).write_bytes(cv2.imencode(suffix, image, how)[1].tobytes())
        return name

    templates = [save(f"templates/{k:03d}.jpg", image) for k, image in enumerate(made.templates)]
    references = [save(f"references/{k}.png", image) for k, image in enumerate(made.references)]
    height, width = made.templates[0].shape[:2]
    meta: dict[str, Any] = {
        "size": [width, height],
        "crop": [int(v) for v in made.crop],
        "identity": "identity.npy",
        "landmarks": "landmarks.npy",
        "reference": references[0],
        "references": references,
        "reference_weights": "reference_weights.npy",
        "reference_landmarks": "reference_landmarks.npy",
        "templates": templates,
    }
    meta["region"] = save("region.png", made.region)
    np.save(folder / "identity.npy", made.identity.astype(np.float32))
    np.save(folder / "landmarks.npy", made.landmarks.astype(np.float32))
    np.save(folder / "reference_weights.npy", made.reference_weights.astype(np.float32))
    np.save(folder / "reference_landmarks.npy", made.reference_landmarks.astype(np.float32))
    optional = {
        "resting_weights": made.resting_weights if made.resting_weights.any() else None,
        "parted_weights": made.parted_weights,
        "reference_expressions": made.expressions,
    }
    for key, values in optional.items():
        if values is not None:
            np.save(folder / f"{key}.npy", values.astype(np.float32))
            meta[key] = f"{key}.npy"
    files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    meta["sha256"] = {name: checksums.sha256(folder / name) for name in files}
    return meta
