# SPDX-License-Identifier: Apache-2.0
"""Generators of the format before, which avatars of users may have: the same network, whose tensors
have other names."""

from __future__ import annotations

from pathlib import Path

from realtalk_ros import onnx_session

OLD_FORMAT = "7"
PRESENT_NAMES = {
    "aligned": "warped_template",
    "inside": "mouth_interior",
    "told": "alignment_features",
    "template": "template_index",
    "person": "reference_index",
    "f16": "features_16",
    "f8": "features_8",
    "f4": "features_4",
    "f2": "features_2",
    "tones": "mouth_colours",
    "picture": "image",
}
REPLACES = "realtalk.replaces"  # property: checksum of the file with old names and the same weights


def present_name(name: str) -> str:
    """What a tensor of a generator, old or not, is called now."""
    return PRESENT_NAMES.get(name, name)


def belongs_to(checksum: str | None, path: Path) -> bool:
    """Whether a generator that carries this checksum was trained with the network file `path`."""
    if checksum is None or checksum == onnx_session.sha256(path):
        return checksum is not None
    return checksum == onnx_session.metadata(onnx_session.session(path)).get(REPLACES)
