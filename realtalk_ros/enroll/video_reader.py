# SPDX-License-Identifier: Apache-2.0
"""Reading the pictures of a video file, whatever it is: upright, with square pixels, in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import av
import av.error
import cv2
import numpy as np

from realtalk_ros import install_hints
from realtalk_ros.avatar.transparency import on_white
from realtalk_ros.enroll.film_colours import FilmColours
from realtalk_ros.enroll.interlaced_film import Deinterlacer
from realtalk_ros.errors import RealTalkError, reason
from realtalk_ros.paths import check_file

MAX_PIXELS = 4096 * 2304
UNSAID = 2  # by ITU-T H.273, of how brightness and colours are made of red, green and blue
COVER = 0x400  # FFmpeg's disposition of a stream that is an attached picture
LIBVPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's codecs and decoders
SD = 1024, 576  # pixels; a larger picture that does not say it is of BT.709, as players take it


class Clip:
    """A video file; `frames` reads it from the start, as often as it is asked.

    Raises RealTalkError with what is wrong with the file.
    """

    def __init__(self, path: Path):
        self.path = path
        if not path.stat().st_size:
            raise RealTalkError("the file is empty: get it again")
        container, stream = self._open()
        with container:
            if stream.width * stream.height > MAX_PIXELS:
                raise RealTalkError(
                    f"pictures of {stream.width}x{stream.height} are too large: scale it down"
                )
            self.has_sound = bool(container.streams.audio)
            # Of its colours, None for sRGB's.
            self.colours = FilmColours.of(  # PyAV before 11 does not tell
                getattr(stream.codec_context, "color_primaries", 0),
                getattr(stream.codec_context, "color_trc", 0),
            )
            stated = container.duration
            self.duration = stated / av.time_base if stated and stated > 0 else None
            self.stated = stated_length(container, stream)
            # When pictures and sound begin, s; without sound, frames count from the first picture.
            starts = [
                float(s.start_time * s.time_base) if s.start_time and s.time_base else 0.0
                for s in (stream, *container.streams.audio[:1])
            ]
            self._sound_start = starts[-1]

    def _open(self) -> tuple[av.container.InputContainer, av.video.stream.VideoStream]:
        try:
            # Opened here, and no protocol allowed: see media_files._open.
            file = open(self.path, "rb")  # noqa: SIM115  # lives as long as the container
            container = av.open(file, "r", container_options={"protocol_whitelist": "none"})
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise RealTalkError(
                f"cannot be read as a video ({reason(error)}): give an MP4, MOV, MKV or WebM file "
                "that is whole"
            ) from error
        pictures = [stream for stream in container.streams.video if not is_cover(stream)]
        known = [stream for stream in pictures if stream.codec_context is not None]
        if known:
            return container, known[0]
        container.close()
        raise RealTalkError(
            "its pictures are of a codec that FFmpeg does not know: re-encode it"
            if pictures
            else "no pictures in it that move: give a video"
        )

    def frames(self, as_srgb: bool = False) -> Iterator[tuple[float, np.ndarray]]:
        """(s from the first sample of its sound on, uint8 BGR (h, w, 3)), in the colours of the
        film, or in sRGB's. A damaged packet is left out, and so is what repeats or goes back in
        time."""
        container, stream = self._open()
        with container:
            stream.codec_context.thread_count = 1
            last, shape = -np.inf, None
            try:
                for frame in progressive(container, stream):
                    if frame.time is None or frame.time <= last:
                        continue
                    last = frame.time
                    image = upright(frame, stream)
                    if shape is not None and image.shape != shape:
                        raise RealTalkError(
                            "its pictures change their size on the way: re-encode it"
                        )
                    shape = image.shape
                    if as_srgb and self.colours:
                        image = self.colours.convert(image)
                    yield frame.time - self._sound_start, image
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise RealTalkError(  # (ValueError: PyAV 19's, if the decoder could not be opened)
                    f"cannot be decoded ({reason(error)}): get it again, or re-encode it"
                ) from error


def open_video(path: Path) -> Clip:
    """Raises RealTalkError for what is no video, with its name."""
    check_file(path)
    try:
        return Clip(path)
    except RealTalkError as error:
        raise RealTalkError(f"{path}: {error}") from error


def stated_length(container: Any, stream: Any) -> float | None:
    """S of the pictures of an MP4, MOV, MKV or WebM film, as it says itself. Of others FFmpeg
    guesses it; also of an MKV that does not say it, and then gives it to the stream, too."""
    kinds = set(container.format.name.split(","))
    if "mov" in kinds and stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if "matroska" in kinds and container.duration and stream.duration is None:
        begin = stream.start_time * stream.time_base if stream.start_time else 0
        return float(container.duration / av.time_base - begin)  # pictures may begin late
    return None


def is_cover(stream: Any) -> bool:
    """Whether a stream of pictures is the cover of a recording; PyAV before 12 does not tell."""
    disposition = getattr(stream, "disposition", 0)
    # In PyAV 14 it is no number, but has one.
    return bool(getattr(disposition, "value", disposition) & COVER)


def progressive(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Iterator[av.VideoFrame]:
    """The frames of a stream, deinterlaced; a packet that is damaged is left out."""
    deinterlacer, decoder = Deinterlacer(stream), with_transparency(stream)
    for packet in container.demux(stream):
        try:
            decoded = decoder.decode(packet) if decoder else packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in decoded:
            yield from deinterlacer.push(frame)
    yield from deinterlacer.push(None)


def with_transparency(stream: av.video.stream.VideoStream) -> av.VideoCodecContext | None:
    """The decoder of a WebM film that is transparent in parts, of which FFmpeg's own decoders do
    not tell; None for any other film, or without libvpx."""
    name = LIBVPX.get(stream.codec_context.name)
    if stream.metadata.get("alpha_mode") != "1" or name is None:
        return None
    try:
        decoder = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
    except ValueError:  # PyAV's UnknownCodecError
        return None
    decoder.thread_count = 1
    return decoder


def upright(frame: av.VideoFrame, stream: av.video.stream.VideoStream) -> np.ndarray:
    """uint8 BGR, turned and mirrored as the file says a player should, pixels made square, white
    where it is transparent."""
    if not hasattr(frame, "rotation"):
        raise RealTalkError(
            f"PyAV {av.__version__} does not tell how a video is to be turned: "
            + install_hints.pip("install", "av>=14.2")
        )
    image = to_bgr(frame)
    aspect = float(stream.sample_aspect_ratio or 1)
    if abs(aspect - 1) > 0.01 and 0.2 < aspect < 5:
        size = max(1, round(image.shape[1] * aspect)), image.shape[0]
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    return image if matrix is None else shown(image, np.frombuffer(matrix, np.int32))


def to_bgr(frame: av.VideoFrame) -> np.ndarray:
    space = colour_space(frame)
    if not any(part.is_alpha for part in frame.format.components):
        return frame.to_ndarray(format="bgr24", src_colorspace=space)
    return on_white(frame.to_ndarray(format="bgra", src_colorspace=space))


def shown(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The picture by a display matrix of ISO 14496-12 (9,): its column's and its row's step are
    (a, b) and (c, d) on the screen. Raises RealTalkError for what is neither a quarter turn nor a
    mirror."""
    a, b, _, c, d = (matrix[:5] / 65536).tolist()
    if a == b == c == d == 0:  # as some programs write where there is nothing to say
        return image
    across, down = abs(a) + abs(d), abs(b) + abs(c)
    if min(across, down) > 0.02 * max(across, down):
        turn = np.degrees(np.arctan2(b, a)) % 360
        raise RealTalkError(f"it is to be shown turned by {turn:.0f} degrees: re-encode it upright")
    if down > across:
        image, a, d = cv2.transpose(image), c, b
    if a < 0:
        image = cv2.flip(image, 1)
    return cv2.flip(image, 0) if d < 0 else image


def colour_space(frame: av.VideoFrame) -> str | None:
    """PyAV's name for that of a frame; None for what the frame says, or else BT.601."""
    large = frame.width > SD[0] or frame.height > SD[1]
    return "ITU709" if large and getattr(frame, "colorspace", UNSAID) == UNSAID else None
