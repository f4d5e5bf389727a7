# SPDX-License-Identifier: Apache-2.0
"""Reading the pictures of a video file, whatever it is: upright, with square pixels, in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.enroll.film_colours import FilmColours
from realtalk_ros.errors import RealTalkError
from realtalk_ros.paths import check_file

MAX_PIXELS = 4096 * 2304
UNSAID = 2  # by ITU-T H.273, of how brightness and colours are made of red, green and blue
SD = 1024, 576  # pixels; a larger picture that does not say it is of BT.709, as players take it
TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


class Clip:
    """A video file; `frames` reads it from the start, as often as it is asked.

    Raises RealTalkError with what is wrong with the file.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.stat().st_size:
            raise RealTalkError("the file is empty: get it again")
        with self._open() as container:
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_PIXELS:
                raise RealTalkError(
                    f"pictures of {stream.width}x{stream.height} are too large: scale it down"
                )
            self.has_sound = bool(container.streams.audio)
            #: Of its colours, None for sRGB's. `frames` are as they were filmed.
            self.colours = FilmColours.of(  # PyAV before 11 does not tell
                getattr(stream.codec_context, "color_primaries", 0),
                getattr(stream.codec_context, "color_trc", 0),
            )
            stated = container.duration
            self.duration = stated / av.time_base if stated and stated > 0 else None
            # When pictures and sound begin, s; without sound, frames count from the first picture.
            starts = [
                float(s.start_time * s.time_base) if s.start_time and s.time_base else 0.0
                for s in (stream, *container.streams.audio[:1])
            ]
            self._sound_start = starts[-1]

    def _open(self) -> av.container.InputContainer:
        try:
            # Opened here, and no protocol allowed: see media_files._open.
            file = open(self.path, "rb")  # noqa: SIM115  # lives as long as the container
            container = av.open(file, "r", options={"protocol_whitelist": "none"})
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise RealTalkError(
                f"cannot be read as a video ({reason(error)}): give an MP4, MOV, MKV or WebM file "
                "that is whole"
            ) from error
        if not container.streams.video:
            container.close()
            raise RealTalkError("no pictures in it: give a video")
        return container

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """(s from the first sample of its sound on, uint8 BGR (h, w, 3)). A damaged packet is left
        out, and so is what repeats or goes back in time."""
        with self._open() as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1
            last, shape = -np.inf, None
            try:
                for packet in container.demux(stream):
                    try:
                        decoded = packet.decode()
                    except av.error.InvalidDataError:
                        continue
                    for frame in decoded:
                        if frame.time is None or frame.time <= last:
                            continue
                        last = frame.time
                        image = upright(frame, stream)
                        if shape is not None and image.shape != shape:
                            raise RealTalkError(
                                "its pictures change their size on the way: re-encode it"
                            )
                        shape = image.shape
                        yield frame.time - self._sound_start, image
            except (av.error.FFmpegError, OSError) as error:
                raise RealTalkError(
                    f"cannot be decoded ({reason(error)}): get it again, or re-encode it"
                ) from error


def open_video(path: Path) -> Clip:
    """Raises RealTalkError for what is no video, with its name."""
    check_file(path)
    try:
        return Clip(path)
    except RealTalkError as error:
        raise RealTalkError(f"{path}: {error}") from error


def upright(frame: av.VideoFrame, stream: av.video.stream.VideoStream) -> np.ndarray:
    """uint8 BGR, turned as the file says a player should, pixels made square."""
    image: np.ndarray = frame.to_ndarray(format="bgr24", src_colorspace=colour_space(frame))
    aspect = float(stream.sample_aspect_ratio or 1)
    if abs(aspect - 1) > 0.01 and 0.2 < aspect < 5:
        size = max(1, round(image.shape[1] * aspect)), image.shape[0]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if not hasattr(frame, "rotation"):
        raise RealTalkError(
            f"PyAV {av.__version__} does not tell how a video is to be turned: "
            + install_hints.pip("install", "av>=14.2")
        )
    turn = round(frame.rotation) % 360  # counter-clockwise, by which it is shown
    if turn in TURNS:
        return cv2.rotate(image, TURNS[turn])
    if turn:
        raise RealTalkError(f"it is to be shown turned by {turn} degrees: re-encode it upright")
    return image


def colour_space(frame: av.VideoFrame) -> str | None:
    """PyAV's name for that of a frame; None for what the frame says, or else BT.601."""
    large = frame.width > SD[0] or frame.height > SD[1]
    return "ITU709" if large and getattr(frame, "colorspace", UNSAID) == UNSAID else None


def reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
