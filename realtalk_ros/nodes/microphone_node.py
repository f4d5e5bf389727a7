"""A microphone's sound as AudioChunks on `audio`: the face says what somebody says into it."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from realtalk_ros.audio.microphone import Gate, Microphone
from realtalk_ros.errors import RealTalkError
from realtalk_ros.msg import AudioChunk
from realtalk_ros.nodes import lifecycle, parameters, qos, spin

SILENT = 2.0  # s without any sound, not even noise, after which the device is opened anew


class MicrophoneNode(lifecycle.RealTalkNode):
    rated = ("blocks",)

    def __init__(self, name: str = "microphone_node", **options):
        super().__init__(name, **options)
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
        self._tried = 0.0
        self._run = f"{time.time_ns() // 10**6:x}"
        self._audio = self.create_publisher(
            AudioChunk,
            "audio",
            qos.SPEECH,
            qos_overriding_options=qos.overridable(),
        )
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
                self.microphone.read()  # nobody wants it later
            return
        if self.microphone is None or time.monotonic() - self.microphone.heard_at > SILENT:
            self._open_again()
            return
        if self.microphone.cancelled:
            self.microphone.cancelled = False
            self.problems.add(
                "the microphone's channels cancel each other out (one is inverted): one of them is "
                "heard alone. Set the parameter channels to 1"
            )
        ahead = self.now() - time.monotonic()
        for block, heard in self.microphone.read():
            self.counts["blocks"] += 1
            pcm = np.clip(block * 10 ** (self.gain / 20), -1, 1).astype(np.float32)
            for piece in self.gate.push(pcm, heard + ahead):
                self._send(piece)

    def _open_again(self) -> None:
        if time.monotonic() - self._tried < SILENT:
            return
        self._tried = time.monotonic()
        self.problems.add("the microphone gives no sound any more: opening it again")
        self.free()
        try:
            self.microphone = Microphone(self.device, self.rate, self.channels)
            self.counts["reopened"] += 1
        except RealTalkError as error:
            self.problems.add(str(error))

    def _send(self, piece: Any) -> None:
        utterance = f"{self.get_name()}-{self._run}-{piece.utterance}"
        message = self.audio_message(
            piece.pcm, self.rate, piece.start, utterance, piece.last, AudioChunk.PCM_F32LE
        )
        self._audio.publish(message)
        self.counts["chunks"] += 1
        self.counts["utterances"] = piece.utterance

    def warning(self) -> str:
        return "the microphone is away" if self.microphone is None else super().warning()

    def status(self) -> dict:
        values: dict = {"device": self.device or "default", **self.counts}
        if self.gate is not None and self.microphone is not None:
            values |= {"level_db": self.gate.level, "overflows": self.microphone.overflows}
        return values


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [MicrophoneNode()], args)


if __name__ == "__main__":
    raise SystemExit(main())
