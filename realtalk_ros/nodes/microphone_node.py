# SPDX-License-Identifier: Apache-2.0
"""A microphone as AudioChunks on `audio`: the face says what is spoken into it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from realtalk_ros.audio.microphone import Gate, Microphone, Piece
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes import lifecycle, parameters, qos, spin

REOPEN_AFTER = 2.0  # s without any audio, not even noise, after which the device is opened again


class MicrophoneNode(lifecycle.RealTalkNode):
    """Records, and sends what is louder than a threshold as utterances."""

    rated = ("blocks",)

    def __init__(self, **options: Any) -> None:
        super().__init__("microphone_node", **options)
        p, later, live = self.parameter, parameters.UNCONFIGURED, parameters.LIVE
        self.device = p("device", "", "Microphone: PortAudio's number, or a part of its name; "
                        "empty: the default one", None, later)  # fmt: skip
        self.rate = p("rate", 16000, "Sample rate [Hz]", (4000, 384000), later)
        self.channels = p("channels", 1, "Channels to record; their mean is sent", (1, 64), later)
        self.gain = p("gain", 0.0, "Amplification [dB]", (-60.0, 60.0), live)
        self.threshold = p("threshold", -45.0, "Level that counts as speech [dB]; -120: always",
                           (-120.0, 0.0), live)  # fmt: skip

        self.counts = {"blocks": 0, "chunks": 0, "utterances": 0, "reopened": 0}
        self.microphone: Microphone | None = None
        self.gate: Gate | None = None
        self._opened_at = 0.0  # monotonic, when it was last tried
        self._audio = self.publisher(AudioChunk, "audio", qos.STREAM)
        self.steady_timer(0.01, self.work)

    def setup(self) -> None:
        self.microphone = Microphone(self.device, self.rate, self.channels)
        self.gate = Gate(self.rate, lambda: self.threshold)
        self.get_logger().info(f"listening to {self.device or 'the default microphone'}")

    def free(self) -> None:
        if self.microphone is not None:
            self.microphone.close()
            self.microphone = None

    def close(self) -> None:
        super().close()
        self.free()

    def work(self) -> None:
        if not self.ready or self.gate is None:
            if self.microphone is not None:
                self.microphone.read()  # or it would be sent later
            return
        if self.microphone is None or time.monotonic() - self.microphone.received_at > REOPEN_AFTER:
            self._reopen()
            return
        if self.microphone.cancelled:
            self.microphone.cancelled = False
            self.problems.add(
                "the microphone's channels cancel each other out (one is inverted): only one of "
                "them is used. Set the parameter channels to 1"
            )
        ahead = self.now() - time.monotonic()
        for block, recorded_at in self.microphone.read():
            self.counts["blocks"] += 1
            pcm = np.clip(block * 10 ** (self.gain / 20), -1, 1).astype(np.float32)
            for piece in self.gate.push(pcm, recorded_at + ahead):
                self._send(piece)

    def _reopen(self) -> None:
        if time.monotonic() - self._opened_at < REOPEN_AFTER:
            return
        self._opened_at = time.monotonic()
        self.problems.add("no audio comes from the microphone any more: opening it again")
        self.free()
        try:
            self.microphone = Microphone(self.device, self.rate, self.channels)
            self.counts["reopened"] += 1
        except RealTalkError as error:
            self.problems.add(str(error))

    def _send(self, piece: Piece) -> None:
        utterance = self.unique_id(self.get_name(), piece.utterance)
        message = self.audio_message(
            piece.pcm,
            self.rate,
            piece.start,
            utterance,
            last=piece.last,
            encoding=AudioChunk.PCM_F32LE,
        )
        self._audio.publish(message)
        self.counts["chunks"] += 1
        self.counts["utterances"] = piece.utterance

    def warning(self) -> str:
        return "the microphone is away" if self.microphone is None else super().warning()

    def status(self) -> dict[str, Any]:
        values: dict[str, Any] = {"device": self.device or "default", **self.counts}
        if self.gate is not None and self.microphone is not None:
            values |= {"level_db": self.gate.level, "overflows": self.microphone.overflows}
        return values


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [MicrophoneNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
