# SPDX-License-Identifier: Apache-2.0
"""Reads an avatar.yaml, which may be anybody's, and checks what all of them have."""

from __future__ import annotations

from typing import Any

import yaml

from realtalk_ros.contracts import AVATAR_FORMAT
from realtalk_ros.errors import AvatarError, first_line

MAX_YAML = 256 * 2**10  # bytes
MAX_NAME = 64  # characters


class StrictLoader(yaml.SafeLoader):
    """Without aliases: a few lines of them stand for more than any memory when they are shown. And
    without a name that is there twice, of which YAML's last value would win in silence. And
    without tags, which make of a value what no key of ours is."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        tag = getattr(self.peek_event(), "tag", None)
        if tag is not None:
            raise yaml.YAMLError(f"tags such as {short(tag)} are not allowed: leave it out")
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        names: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                raise yaml.YAMLError(f"{short(key.value)} is there twice: remove one of them")
            names.add(str(key.value))
        return node


def parse(data: bytes, where: str) -> dict[str, Any]:
    """The content of an avatar.yaml; `where` is for the messages. Raises AvatarError."""
    try:
        if len(data) > MAX_YAML:
            raise ValueError(f"larger than {MAX_YAML} bytes")
        meta = yaml.load(data.decode("utf-8"), StrictLoader)
    except (ValueError, OverflowError, RecursionError, yaml.YAMLError) as error:
        raise AvatarError(f"avatar file {where} cannot be read: {first_line(error)}") from error
    if not isinstance(meta, dict):
        raise AvatarError(f"avatar file {where} must hold `name: value` lines")
    if meta.get("format") != AVATAR_FORMAT:
        raise AvatarError(
            f"avatar file {where} has format {short(meta.get('format'))}; this reads "
            f"{AVATAR_FORMAT}"
        )
    name = meta.get("name", "")
    if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
        raise AvatarError(
            f"avatar file {where}: name must be one line of at most {MAX_NAME} characters"
        )
    return meta


def can_be_folder(name: str) -> bool:
    """Whether an avatar's folder may be called so, on any system."""
    return (
        0 < len(name) <= MAX_NAME
        and name == name.strip()
        and not name.startswith(".")
        and name.isprintable()
        and not any(sign in name for sign in '/\\:*?"<>|')
    )


def short(value: Any) -> str:
    """As Python writes a value out, at most some 60 characters of it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
