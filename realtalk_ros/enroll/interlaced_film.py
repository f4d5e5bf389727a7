# SPDX-License-Identifier: Apache-2.0
"""Frames of interlaced films, each made of two pictures that were filmed one after the other: the
lines of one lie between those of the other, and edges that move look like combs."""

from __future__ import annotations

import av
import av.error
import av.filter


class Deinterlacer:
    """Makes each frame that its film calls interlaced a picture of its first moment, by FFmpeg's
    bwdif; other frames pass as they are. From the first of them on it is a frame behind."""

    def __init__(self, stream: av.video.stream.VideoStream) -> None:
        self._stream = stream
        self._graph: av.filter.Graph | None = None
        self._kind: tuple[int, int, str] | None = None  # of the frames that the graph takes

    def push(self, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        """Frames that are ready after this one; None: it was the last. May raise FFmpegError."""
        kind = (frame.width, frame.height, frame.format.name) if frame else None
        ready = []
        if self._graph and kind != self._kind:
            ready, self._graph = self._run(self._graph, None), None
        if frame is None:
            return ready
        if self._graph is None and frame.interlaced_frame:
            self._graph, self._kind = self._made(frame), kind
        return ready + (self._run(self._graph, frame) if self._graph else [frame])

    def _made(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format,
            time_base=frame.time_base or self._stream.time_base,
        )  # fmt: skip
        fields = graph.add("bwdif", "mode=send_frame:deint=interlaced")
        source.link_to(fields)
        fields.link_to(graph.add("buffersink"))
        graph.configure()
        return graph

    @staticmethod
    def _run(graph: av.filter.Graph, frame: av.VideoFrame | None) -> list[av.VideoFrame]:
        graph.vpush(frame)
        ready = []
        try:
            while True:
                ready.append(graph.vpull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return ready
