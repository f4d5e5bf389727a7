# SPDX-License-Identifier: Apache-2.0
"""Where a picture comes from, said in the picture: IPTC metadata as an XMP packet.

`Iptc4xmpExt:DigitalSourceType` takes a term of IPTC's vocabulary
(http://cv.iptc.org/newscodes/digitalsourcetype/). Those used here, with IPTC's definitions of
2024-09-17:

compositeWithTrainedAlgorithmicMedia  "Augmentation, correction or enhancement using a Generative AI
    model, such as with inpainting": a real person's photo whose face a network has drawn anew. What
    `realtalk enroll` writes.
compositeSynthetic  "Mix or composite of several elements, at least one of which is Generative AI":
    a face drawn by a network in a picture that never was a photo. The default avatar.

Who consented goes to `Iptc4xmpExt:AddlModelInfo` (about the model of a model-released image), and
both, in words, to `dc:description`, which every viewer shows. JPEG and PNG placement follow the XMP
specification, part 3; so does the `uuid` box of MP4. Nothing is signed: this informs people, it
is no protection against removal.
"""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from realtalk_ros import __version__
from realtalk_ros.errors import AvatarError, RealTalkError
from realtalk_ros.whole_files import errors_of_writing, written_whole

VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"
LIKENESS = "compositeWithTrainedAlgorithmicMedia"  # of a real person
SYNTHETIC = "compositeSynthetic"  # of no real person
# Terms under which a picture made here can be published at all: a network drew part of it.
SOURCE_TYPES = (LIKENESS, SYNTHETIC, "trainedAlgorithmicMedia")
SUFFIXES = (".png", ".jpg", ".jpeg")  # of pictures that are written
MAX_CONSENT = 500  # characters
MAX_XMP = 60_000  # bytes; a JPEG segment has room for 65,502

_JPEG_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_XMP = b"XML:com.adobe.xmp\0\0\0\0\0"  # keyword, not compressed, no language
_MP4_XMP = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_NAMESPACES = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
}
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {spaces}><rdf:Description rdf:about="">
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
<Iptc4xmpExt:AISystemUsed>realtalk_ros</Iptc4xmpExt:AISystemUsed>
<Iptc4xmpExt:AISystemVersionUsed>{version}</Iptc4xmpExt:AISystemVersionUsed>
{consent}<xmp:CreatorTool>realtalk_ros {version}</xmp:CreatorTool>
<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{avatar}</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{words}</rdf:li></rdf:Alt></dc:description>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True)
class Provenance:
    """What a picture says of its origin."""

    avatar: str  # its name
    source_type: str = SYNTHETIC  # one of SOURCE_TYPES
    consent: str = ""  # who agreed to this use of the face; empty if it is of no real person

    @classmethod
    def of(cls, name: str, metadata: dict[str, Any]) -> Provenance:
        """What an avatar.yaml says: `consent`, `source`, `digital_source_type`.

        Raises AvatarError for bad values, and for an avatar that was made from a person's pictures
        (it has a `source`) without a line about their consent.
        """
        consent = metadata.get("consent", "")
        enrolled = "source" in metadata
        if not isinstance(consent, str) or len(consent) > MAX_CONSENT or not consent.isprintable():
            raise AvatarError(
                f"avatar {name}: consent must be one line of at most {MAX_CONSENT} characters"
            )
        if enrolled and not consent.strip():
            raise AvatarError(
                f"avatar {name} was made from somebody's picture and does not say who consented: "
                "enrol it again with --consent"
            )
        source_type = metadata.get("digital_source_type", LIKENESS if enrolled else SYNTHETIC)
        if source_type not in SOURCE_TYPES:
            raise AvatarError(
                f"avatar {name}: digital_source_type must be one of {', '.join(SOURCE_TYPES)}"
            )
        return cls(name, source_type, consent.strip())

    @classmethod
    def together(cls, several: Iterable[Provenance]) -> Provenance:
        """Of a video that shows several avatars."""
        several = list(dict.fromkeys(several))
        types = {one.source_type for one in several}
        return cls(
            "; ".join(dict.fromkeys(one.avatar for one in several)),
            types.pop() if len(types) == 1 else SYNTHETIC,
            "; ".join(dict.fromkeys(one.consent for one in several if one.consent)),
        )

    @property
    def words(self) -> str:
        """One line that says the same to people."""
        consent = f" Consent: {self.consent}" if self.consent else ""
        return (
            f"Not a recording: the face of the avatar {self.avatar} was drawn by a neural network "
            f"({VOCABULARY}{self.source_type}).{consent}"
        )

    def xmp(self) -> str:
        consent = escape(self.consent)
        return _PACKET.format(
            spaces=" ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in _NAMESPACES.items()),
            source_type=VOCABULARY + self.source_type,
            version=__version__,
            consent=f"<Iptc4xmpExt:AddlModelInfo>Consent: {consent}</Iptc4xmpExt:AddlModelInfo>\n"
            if consent
            else "",
            avatar=escape(self.avatar),
            words=escape(self.words),
        )

    @classmethod
    def read(cls, xmp: str) -> Provenance:
        """From a packet as `xmp` writes it. Raises RealTalkError for anything else."""
        wrong = RealTalkError("this is not the provenance of a face, as XMP with a source type")
        # No XMP has a document type, which is where XML bombs begin.
        if len(xmp) > MAX_XMP or "<!" in xmp:
            raise wrong
        try:
            root = ET.fromstring(xmp)
        except ET.ParseError as error:
            raise wrong from error

        def text(path: str) -> str:
            return (root.findtext(f".//{path}", "", _NAMESPACES) or "").strip()

        source_type = text("Iptc4xmpExt:DigitalSourceType").removeprefix(VOCABULARY)
        if source_type not in SOURCE_TYPES:
            raise wrong
        consent = text("Iptc4xmpExt:AddlModelInfo").removeprefix("Consent: ")
        return cls(text("dc:title/rdf:Alt/rdf:li"), source_type, consent)

    def jpeg_segment(self) -> bytes:
        """An APP1 segment for `into_jpeg`: made once, it serves every picture."""
        body = _JPEG_XMP + self.xmp().encode()
        return b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body

    def png_chunk(self) -> bytes:
        body = b"iTXt" + _PNG_XMP + self.xmp().encode()
        return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))

    def mp4_box(self) -> bytes:
        """A box of its own, for the end of the file."""
        body = b"uuid" + _MP4_XMP + self.xmp().encode()
        return struct.pack(">I", 4 + len(body)) + body


def into_jpeg(data: np.ndarray, segment: bytes) -> bytes:
    """A JPEG (n,) uint8 as cv2.imencode gives it, with `segment` put in; one copy, as `tobytes`."""
    data = data.reshape(-1)  # (n, 1) in old OpenCV
    # JFIF wants its own segment, APP0, to be the first one.
    at = 4 + (int(data[4]) << 8 | int(data[5])) if data[3] == 0xE0 else 2
    return b"".join((data[:at].data, segment, data[at:].data))


def write_picture(path: Path, image: np.ndarray, provenance: Provenance) -> None:
    """A picture of an avatar, (height, width, 3) uint8 BGR, to a .png or .jpg file, whole or not at
    all. Raises RealTalkError."""
    import cv2  # late, as in image_decoding.py

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise RealTalkError(f"cannot write {path}: give a name that ends in .png or .jpg")
    data = cv2.imencode(suffix, image)[1]
    if suffix == ".png":
        data = data.reshape(-1)
        head = 8 + 25  # signature and IHDR, which comes first
        packed = b"".join((data[:head].data, provenance.png_chunk(), data[head:].data))
    else:
        packed = into_jpeg(data, provenance.jpeg_segment())
    with errors_of_writing(path), written_whole(path) as part:
        part.write_bytes(packed)
