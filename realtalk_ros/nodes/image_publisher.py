# SPDX-License-Identifier: Apache-2.0
"""Publishes the images of a face: raw, as JPEG, and whose face they show."""

from __future__ import annotations

import array
from collections.abc import Callable

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from realtalk_ros.avatar.provenance import Provenance, into_jpeg
from realtalk_ros.nodes import lifecycle, qos
from realtalk_ros.rendering.background import opaque

ENCODINGS = {3: "bgr8", 4: "bgra8"}  # by the channels of an image


class ImagePublisher:
    """`face/image_raw`, `face/image_raw/compressed` and `face/provenance`. Call `prepare` first."""

    def __init__(
        self, node: lifecycle.RealTalkNode, frame_id: str, jpeg_quality: Callable[[], int]
    ) -> None:
        """`jpeg_quality` gives the JPEG quality of now, 1 to 100."""
        self._node, self._frame_id, self._jpeg_quality = node, frame_id, jpeg_quality
        self._raw = node.publisher(Image, "face/image_raw", qos.IMAGE)
        self._jpeg = node.publisher(CompressedImage, "face/image_raw/compressed", qos.IMAGE)
        # Raw images have no room for it. A program that records them finds it here.
        self._provenance_publisher = node.publisher(String, "face/provenance", qos.LATCHED)
        self._image = Image(encoding="bgr8", is_bigendian=0)
        self._provenance: Provenance | None = None  # of the images; and as part of a JPEG
        self._jpeg_segment = b""

    @property
    def height(self) -> int:
        """Of the images, pixels."""
        return self._image.height

    def prepare(self, size: tuple[int, int], provenance: Provenance) -> None:
        """The next images have this size (width, height) and show this face."""
        self._fit((*size[::-1], 3))
        if provenance != self._provenance:
            self._provenance, self._jpeg_segment = provenance, provenance.jpeg_segment()
            self._provenance_publisher.publish(String(data=provenance.xmp()))

    def _fit(self, shape: tuple[int, ...]) -> None:
        """Makes the message of images of this shape, which is kept: a new buffer for each of them
        costs a copy more."""
        height, width, channels = shape
        self._image = Image(
            encoding=ENCODINGS[channels], is_bigendian=0, width=width, height=height,
            step=channels * width,
        )  # fmt: skip
        self._image.data = array.array("B", bytes(channels * width * height))

    def publish(self, image: np.ndarray, media_time: float) -> None:
        """(height, width, 3) uint8 BGR, or with straight alpha (height, width, 4), shown at
        media_time, s. JPEG, which has no alpha, only while subscribed to: before black."""
        if self._image.encoding != ENCODINGS[image.shape[2]]:
            self._fit(image.shape)
        self._node.set_stamp(self._image.header.stamp, media_time)
        self._image.header.frame_id = self._frame_id
        if self._raw.get_subscription_count():
            np.frombuffer(self._image.data, np.uint8)[:] = image.reshape(-1)
            self._raw.publish(self._image)
        if self._jpeg.get_subscription_count():
            quality = [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality()]
            shown = image if image.shape[2] == 3 else opaque(image)
            done, data = cv2.imencode(".jpg", shown, quality)
            if done:
                message = CompressedImage(header=self._image.header, format="jpeg")
                message.data = array.array("B", into_jpeg(data, self._jpeg_segment))
                self._jpeg.publish(message)
                self._node.counts["jpegs"] += 1
