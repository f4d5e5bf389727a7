"""Expressions on `expression` become a face on `face/image_raw`, at a steady rate; the sound that
belongs to it goes out on `audio_out` when it is seen."""

from __future__ import annotations

import array
import importlib
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from geometry_msgs.msg import PointStamped
from rclpy.parameter import Parameter
from rclpy.time import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool, String

from realtalk_ros import contracts, onnx_session
from realtalk_ros.audio.pcm import check_rate, decode_pcm
from realtalk_ros.avatar.avatar import Avatar
from realtalk_ros.avatar.provenance import Provenance, into_jpeg
from realtalk_ros.behaviour.emotion import emotion_from_valence_arousal, parse_emotion
from realtalk_ros.behaviour.face import Appearance, Face
from realtalk_ros.behaviour.gaze import direction_angles
from realtalk_ros.errors import NetworkError, RealTalkError
from realtalk_ros.msg import AudioChunk, FaceExpression
from realtalk_ros.nodes import lifecycle, parameters, qos, spin
from realtalk_ros.nodes.background_loader import BackgroundLoader
from realtalk_ros.nodes.face_settings import SharedSettings
from realtalk_ros.nodes.face_settings import check as check_setting
from realtalk_ros.nodes.subscriptions import BatchedSubscription, Received
from realtalk_ros.playout.adaptive_quality import ProcessorIdleness, QualityController
from realtalk_ros.playout.audio_playout import SLICE, AudioPlayout
from realtalk_ros.playout.jitter_buffer import MARGIN, DueFrame, JitterBuffer
from realtalk_ros.playout.speaking import SpeakingState
from realtalk_ros.rendering.batching import BatchedFace, BatchingRenderer
from realtalk_ros.rendering.face_renderer import FaceRenderer
from realtalk_ros.rendering.watermark import Watermark
from realtalk_ros.stream_types import Chunk, TimedExpression

POLL = 0.02  # s, longest sleep of the display: how soon it sees a change of delay or clock
LISTEN = 0.004  # s between looks at whether sound is due, while there is any
READY_EARLY = 0.003  # s of room that rendering a frame gets beyond what it took of late
FAILURES = 3  # frames in a row for which a network fails before it is loaded anew, on the CPU
BROKEN = 25  # the same for any other error
STOOD = 0.25  # s that a message has waited, from which on this process must have stood still
OVERTAKES = 1.0  # s by which a reset of the sound may be ahead of that of the expressions
AGAIN = 5.0  # s between two attempts to load a network anew
LOADED = ("avatar", "size", "device", "model_dir")  # parameters whose change takes long


@dataclass(frozen=True)
class RendererSettings:
    """What pictures are made of: values of LOADED parameters, the size as the quality has it."""

    avatar: str
    size: int
    device: str
    model_dir: str


class ResetPairs:
    """Every interrupt comes twice: with the sound, and with the expressions. Times are monotonic
    seconds."""

    def __init__(self) -> None:
        self._heard: deque[float] = deque(maxlen=64)  # with the sound, and not yet with expressions
        self._seen: deque[float] = deque(maxlen=64)  # the other way

    def heard(self, now: float) -> None:
        self._pair(self._heard, self._seen, now)

    def seen(self, now: float) -> None:
        self._pair(self._seen, self._heard, now)

    def missing(self, now: float) -> bool:
        """Whether the expressions that come are of before an interrupt that was heard."""
        return any(now - when < OVERTAKES for when in self._heard)

    @staticmethod
    def _pair(these: deque[float], others: deque[float], now: float) -> None:
        while others and now - others[0] >= OVERTAKES:
            others.popleft()
        if others:
            others.popleft()
        else:
            these.append(now)


class RendererNode(lifecycle.RealTalkNode):
    rated = ("images", "expressions")

    def __init__(
        self,
        name: str = "renderer_node",
        troupe: tuple[BatchingRenderer, int] | None = None,
        **options,
    ):
        """`troupe`: the faces of this process that are rendered together, and which one this is."""
        super().__init__(name, **options)
        self._troupe = troupe
        p, live = self.parameter, parameters.LIVE
        self.avatar = p("avatar", *parameters.AVATAR)
        self.fps = p("fps", *parameters.FPS)
        self.size = p("size", 512, "Height of the images [px]", contracts.SIZE_RANGE, live)
        self.device = p("device", *parameters.DEVICE)
        self.threads = p(
            "threads", 2, "CPU threads of the network", (1, 64), parameters.UNCONFIGURED
        )
        self.model_dir = p("model_dir", *parameters.MODEL_DIR)
        self.frame_id = p(
            "frame_id",
            "face",
            "frame_id of the images: the face's frame, after the namespace (realtalk/face)",
        )
        self.jpeg_quality = p(
            "jpeg_quality", 90, "JPEG quality of the compressed images", (1, 100), live
        )
        self.seed = p(
            "seed", 0, "Seed of the random idle motion", (0, 2**31), parameters.UNCONFIGURED
        )
        self.playback_latency = p(
            "playback_latency", 0.0, "How much earlier audio_out is sent, to make up for the "
            "delay of player and loudspeaker [s]", (0.0, 1.0), live,
        )  # fmt: skip
        self.emotion = p(
            "emotion", "neutral", "Emotion: a name as on the topic emotion, and its intensity "
            "from 0 to 1 if wanted: happy 0.5",
            None, live,
        )  # fmt: skip
        self.expression_gain = p(
            "expression_gain", 1.0, "How far speech moves the face", (0.0, 2.0), live
        )
        self.emotion_gain = p(
            "emotion_gain", 1.0, "How far emotions move the face", (0.0, 2.0), live
        )
        self.idle_gain = p("idle_gain", 1.0, "How far idle motion moves the face", (0.0, 2.0), live)
        self.mark = p(
            "mark", "", "Visible text in the corner of every image, such as AI-generated; empty: "
            "none", None, live,
        )  # fmt: skip
        self.ladder_on = p(
            "adapt_quality", True, "Lower fps, then size, while the machine cannot keep up"
        )

        self.face: Face | None = None
        self.presenter = JitterBuffer(self.fps)
        self.sound = AudioPlayout()
        self.speaking = SpeakingState()
        self.ladder = QualityController()
        self._processor = ProcessorIdleness()
        self.counts = {"expressions": 0, "images": 0, "jpegs": 0, "skipped_frames": 0,
                       "resets": 0, "audio_out": 0, "fallbacks": 0}  # fmt: skip
        self._cuts = 0  # how often what was not yet seen was dropped
        self._resets = ResetPairs()
        self._lock = threading.Lock()  # presenter, sound: filled by the executor, read by threads
        self._look: RendererSettings | None = None  # that is shown
        self._loader: BackgroundLoader[RendererSettings, tuple[RendererSettings, Appearance]] = (
            BackgroundLoader(self._load, self.problems)
        )
        self._emergency = ""  # the device that is used after a network failed on the wanted one
        self._tried = -math.inf  # when a network was loaded anew
        self._stop = threading.Event()
        self._sounds = threading.Event()  # something is to be played
        self._threads: list[threading.Thread] = []
        self._files: dict[str, str] = {}
        self._render_ms: deque[float] = deque(maxlen=250)
        self._publish_ms: deque[float] = deque(maxlen=250)
        self._late_ms: deque[float] = deque(maxlen=250)  # published after it should be seen
        self._busy = self._shown = self._missed = 0.0  # since the ladder was looked after
        self._image = Image(encoding="bgr8", is_bigendian=0)
        self._provenance: Provenance | None = None  # of the pictures; and as part of a JPEG
        self._segment = b""
        self._failed = 0  # frames in a row
        self._transforms = None  # of tf2, where that is installed

        overridable = qos.overridable()
        self._raw = self.create_publisher(
            Image, "face/image_raw", qos.IMAGE, qos_overriding_options=overridable
        )
        self._jpeg = self.create_publisher(
            CompressedImage, "face/image_raw/compressed", qos.IMAGE,
            qos_overriding_options=overridable,
        )  # fmt: skip
        self._audio_out = self.create_publisher(
            AudioChunk, "audio_out", qos.EXPRESSION, qos_overriding_options=overridable
        )
        self._speaking = self.create_publisher(
            Bool, "speaking", qos.LATCHED, qos_overriding_options=overridable
        )
        self._speaking.publish(Bool(data=False))
        # Raw images have no room for it. Who records them finds it here.
        self._told = self.create_publisher(
            String, "face/provenance", qos.LATCHED, qos_overriding_options=overridable
        )
        for kind, topic, take in (
            (FaceExpression, "expression", self.on_expressions),
            (AudioChunk, "speech", self.on_sound),
        ):
            BatchedSubscription(self, kind, topic, take, qos.EXPRESSION, overridable)
        for kind, topic, callback, profile in (
            (String, "emotion", self.on_emotion, qos.COMMAND),
            (PointStamped, "look_at", self.on_look_at, qos.COMMAND),
            (Bool, "listening", self.on_listening, qos.COMMAND),
        ):
            self.create_subscription(
                kind, topic, callback, profile, qos_overriding_options=overridable
            )
        self._settings = SharedSettings(self, leads=True)
        self._optional()

    def _optional(self) -> None:
        """What other packages bring: hri_msgs for emotions, tf2_ros for points in other frames."""
        try:
            hri = importlib.import_module("hri_msgs.msg")
        except ImportError:
            pass
        else:
            self.create_subscription(
                hri.Expression, "robot_expression", self.on_hri_expression, qos.COMMAND
            )
        try:
            tf2 = importlib.import_module("tf2_ros")
        except ImportError:
            pass
        else:
            self._transforms = tf2.Buffer()
            self._listener = tf2.TransformListener(self._transforms, self)

    # Life

    def setup(self) -> None:
        began = time.perf_counter()
        name, intensity = parse_emotion(self.emotion)
        mark = Watermark(self.mark) if self.mark else None
        self.ladder, self._emergency = QualityController(), ""
        look = self._wanted()
        self.face = Face(self._open(look), self.seed)
        self.face.set_emotion(name, intensity)
        self.face.watermark = mark
        for gain in ("expression_gain", "emotion_gain", "idle_gain"):
            setattr(self.face, gain, getattr(self, gain))
        self.presenter.set_fps(self.fps)
        self._use(look, self.face.appearance)
        width, height = self.face.renderer.size
        self.get_logger().info(
            f"ready in {time.perf_counter() - began:.1f} s: avatar {self.avatar}, "
            f"{width}x{height} at {self.fps:g} fps, {self.device}"
        )

    def _wanted(self) -> RendererSettings:
        size = max(contracts.SIZE_RANGE[0], self.size // self.ladder.divisors[1])
        return RendererSettings(self.avatar, size, self._emergency or self.device, self.model_dir)

    def _open(
        self, look: RendererSettings, encoder_threads: int | None = None
    ) -> FaceRenderer | BatchedFace:
        """Loads a renderer. Raises RealTalkError."""
        providers = onnx_session.providers_for(look.device)
        model_dir = Path(look.model_dir) if look.model_dir else None
        troupe, number = self._troupe or (None, 0)
        renderer: FaceRenderer | BatchedFace
        if troupe is not None and look.avatar == troupe.avatars[number]:
            renderer = troupe.face(number, look.size, providers, self.threads, model_dir)
        else:
            avatar = Avatar.load(look.avatar)
            renderer = FaceRenderer(
                avatar,
                look.size,
                providers,
                threads=self.threads,
                model_dir=model_dir,
                encoder_threads=encoder_threads,
            )
        neutral = np.zeros(52, np.float32)
        renderer.render(neutral, 0)  # the first run is slower than the others
        began = time.perf_counter()
        renderer.render(neutral, 0)
        if self._look is None:
            self.presenter.lead = self._lead(time.perf_counter() - began)
        return renderer

    def _load(self, look: RendererSettings) -> tuple[RendererSettings, Appearance]:
        """Beside the face that is shown, in the loader's thread."""
        shown, face = self._look, self.face
        if shown is None or face is None:
            raise RealTalkError("the node was cleaned up")
        if replace(shown, size=look.size) == look:
            renderer = face.renderer.resized(look.size)
        else:
            # Encoding on one thread leaves the other core to what is shown and heard meanwhile. (A
            # lower priority does harm: who waits for a core while holding Python's lock stops all.)
            renderer = self._open(look, encoder_threads=1)
        return look, Appearance.of(renderer)

    def _as_shown(self) -> None:
        """Parameters say what is shown again."""
        look = self._look
        if look is not None and not self._emergency:
            self.set_parameters(
                [Parameter(n, value=getattr(look, n)) for n in LOADED if n != "size"]
            )

    def _reload(self, name: str) -> None:
        look = self._wanted()
        if self._look is not None and (self._loader.name or look != self._look):
            self._loader.ask(look, name)

    def _lead(self, seconds: float) -> float:
        """How long before it is seen rendering of a frame begins, if it takes that long."""
        return min(1.3 * seconds + READY_EARLY, 0.9 / self.presenter.fps)

    def _use(self, look: RendererSettings, appearance: Appearance) -> None:
        """Shows another look, from the next frame on."""
        assert self.face is not None
        self.face.appearance = appearance
        self._look = look
        self._files = onnx_session.fingerprints(look.model_dir, "renderer")
        width, height = self.face.renderer.size
        self._image = Image(
            encoding="bgr8", is_bigendian=0, width=width, height=height, step=3 * width
        )
        self._image.data = array.array("B", bytes(3 * width * height))
        provenance = self.face.renderer.avatar.provenance
        if provenance != self._provenance:
            self._provenance, self._segment = provenance, provenance.jpeg_segment()
            self._told.publish(String(data=provenance.xmp()))

    def start(self) -> None:
        self._stop.clear()
        self._threads = [
            threading.Thread(target=target, name=target.__name__, daemon=True)
            for target in (self.display, self.play)
        ]
        for thread in self._threads:
            thread.start()

    def halt(self) -> None:
        self._stop.set()
        self._sounds.set()
        for thread in self._threads:
            thread.join(timeout=5)
        with self._lock:
            self.presenter.reset()
            self.sound.clear()
        if self.speaking.state:
            self.speaking.state = False
            self._speaking.publish(Bool(data=False))

    def close(self) -> None:
        super().close()
        self._loader.forget()  # a thread that still computes would end the process with an error

    def free(self) -> None:
        self._loader.forget()
        self.face = self._look = None

    def check_parameter(self, name: str, value) -> None:
        check_setting(name, value)
        if name == "emotion":
            parse_emotion(value)
        elif name == "mark" and value:
            Watermark(value)
        elif name == "device":
            onnx_session.providers_for(value)
        elif name == "model_dir":
            onnx_session.check_folder(value)

    def change_parameter(self, name: str, value) -> None:
        face = self.face
        if name in ("avatar", "fps"):
            self._settings.changed()
        if face is None:
            return
        if name == "emotion":
            face.set_emotion(*parse_emotion(value))
        elif name == "mark":
            face.watermark = Watermark(value) if value else None
        elif name.endswith("_gain"):
            setattr(face, name, value)
        elif name == "fps":
            with self._lock:
                self.presenter.set_fps(value / self.ladder.divisors[0])
        elif name in LOADED:
            if name in ("device", "model_dir"):
                self._emergency = ""
            self._reload(f"{name} {value}")

    def loading(self) -> str:
        return self._loader.name

    def _present(self) -> float:
        """Now, in seconds, everything that waits moved with the clock; ask under the lock. What
        comes after a jump is stamped by the new time: it must not be moved with what came before.
        """
        if jump := self.clock_jump():
            for part in (self.presenter, self.sound, self.speaking):
                part.shift(jump)
        return self.now()

    # What comes in

    def on_expression(self, message: FaceExpression) -> None:
        """Takes one expression, from whoever has it at hand, now."""
        self.on_expressions([Received(message)])

    def on_expressions(self, letters: list[Received]) -> None:
        self.counts["expressions"] += len(letters)
        if not self.ready:
            return
        for letter in letters:
            self._take_in(letter.message, stood(letter.waited))
        self._sounds.set()

    def _take_in(self, message: FaceExpression, waited: float) -> None:
        if message.reset:
            self.counts["resets"] += 1
            self._resets.seen(time.monotonic())
            self._cut()
            return
        if self._resets.missing(time.monotonic()):
            return  # of before the interrupt
        weights = np.array(message.weights, np.float32)
        rotation = np.array(message.head_rotation, np.float32)
        when = self.media_time(message.header.stamp)
        if not np.isfinite(weights).all():
            self.problems.add("an expression has weights that are NaN or infinite: left out")
            return
        if not np.isfinite(rotation).all():
            rotation = np.zeros(3, np.float32)
        with self._lock:
            now = self._present()
            expression = TimedExpression(
                now if when is None else when,
                message.utterance_id,
                message.sequence,
                np.clip(weights, 0, 1),
                rotation,
                message.speech_probability,
            )
            self.presenter.push(expression, now, now - waited)
            self.sound.confirm(expression.time)

    def _cut(self) -> None:
        """Drops what is not yet seen; a frame that is being rendered is not shown."""
        self._cuts += 1
        with self._lock:
            self.presenter.reset()
            self.speaking.cut(self._present() - self.presenter.delay)

    def on_speech(self, message: AudioChunk) -> None:
        """As `on_expression`, one chunk of the sound."""
        self.on_sound([Received(message)])

    def on_sound(self, letters: list[Received]) -> None:
        if not self.ready:
            return
        for letter in letters:
            if letter.message.reset:
                self._forget(letter.message)
            else:
                self._take_in_sound(letter.message, stood(letter.waited))
        self._sounds.set()

    def _forget(self, message: AudioChunk) -> None:
        """An interrupt, which came with the sound."""
        # The same reset may wait on `expression` behind what was sent before it, which can be
        # seconds of speech: that is left out.
        self._resets.heard(time.monotonic())
        self._cut()
        with self._lock:  # or a piece of the old sound could follow it
            self.sound.clear()
            if self._audio_out.get_subscription_count():
                self._audio_out.publish(message)  # players forget what they hold, too

    def _take_in_sound(self, message: AudioChunk, waited: float) -> None:
        with self._lock:
            start, now = self.media_time(message.header.stamp), self._present()
        try:
            pcm = decode_pcm(memoryview(message.data), message.encoding, message.channels)
            check_rate(message.sample_rate)
        except RealTalkError as error:
            self.problems.add(f"on speech: {error}")
            return
        start = now if start is None else start
        if abs(start - now) > 600 or (not len(pcm) and not message.last):
            self.problems.add("a chunk on speech that is empty, or not of now: left out")
            return
        chunk = Chunk(pcm, message.sample_rate, start, message.utterance_id, message.last)
        with self._lock:
            if self.sound.push(chunk):
                needed = now - waited - start + SLICE + MARGIN + self.playback_latency
                self.presenter.sound_delay = max(0.0, needed)

    def on_emotion(self, message: String) -> None:
        self._feel(message.data)

    def on_hri_expression(self, message) -> None:
        """An hri_msgs/Expression: a name, or valence and arousal."""
        if message.expression:
            self._feel(message.expression)
        elif self.face is not None:
            self.face.set_emotion(*emotion_from_valence_arousal(message.valence, message.arousal))

    def _feel(self, text: str) -> None:
        try:
            name, intensity = parse_emotion(text)
        except RealTalkError as error:
            self.problems.add(str(error))
            return
        if self.face is not None:
            self.face.set_emotion(name, intensity)

    def on_look_at(self, message: PointStamped) -> None:
        point = (message.point.x, message.point.y, message.point.z)
        frame = message.header.frame_id
        try:
            direction_angles(point)
            if frame not in ("", self.frame_id, self.in_namespace(self.frame_id)):
                point = self._transformed(message, point)
            if self.face is not None:
                self.face.gaze.look_at(point, self.now() - self.presenter.delay)
        except (ValueError, RealTalkError) as error:
            self.problems.add(str(error))

    def _transformed(self, message: PointStamped, point) -> tuple[float, float, float]:
        """A point in another frame, in the face's. Raises RealTalkError."""
        frame = message.header.frame_id
        if self._transforms is None:
            raise RealTalkError(
                f"look_at is in frame {frame!r}: without tf2_ros give it in "
                f"{self.in_namespace(self.frame_id)!r}"
            )
        try:
            found = self._transforms.lookup_transform(
                self.in_namespace(self.frame_id), frame, Time.from_msg(message.header.stamp)
            ).transform
        except Exception as error:  # tf2's own exceptions
            raise RealTalkError(f"look_at: {error}") from error
        return rotate(found.rotation, point, found.translation)

    def on_listening(self, message: Bool) -> None:
        if self.face is not None:
            self.face.listening = message.data

    # What goes out

    def display(self) -> None:
        """Shows frame after frame until the node is deactivated (in a thread of its own)."""
        while not self._stop.is_set():
            with self._lock:
                now = self._present()
                shown, due = self.presenter.tick(now), self.presenter.next_due(now)
            if shown is None:
                self._stop.wait(min(POLL, max(0.0005, due - now)))
                continue
            try:
                if (loaded := self._loader.take()) is not None:
                    self._use(*loaded)
                self.show(shown)
                self._failed = 0
            except Exception as error:  # a picture that fails must not end the display
                if self._stop.is_set() or not self.context.ok():
                    return
                self._show_failed(error)

    def show(self, shown: DueFrame) -> None:
        media_time = shown.frame / self.presenter.fps
        began, cuts = time.perf_counter(), self._cuts
        _, picture = self.face.render(media_time, shown.weights, shown.rotation, shown.speech)
        rendered = time.perf_counter()
        self._wait_until(shown.due)
        if shown.utterance and self._cuts != cuts:
            self.counts["skipped_frames"] += 1  # what it shows was ended while it was rendered
            return
        self._late_ms.append((self.now() - shown.due) * 1e3)
        ready = time.perf_counter()

        self.set_stamp(self._image.header.stamp, media_time)
        self._image.header.frame_id = self.in_namespace(self.frame_id)
        if self._raw.get_subscription_count():
            # The message keeps its buffer: a new array each time costs a copy more.
            np.frombuffer(self._image.data, np.uint8)[:] = picture.reshape(-1)
            self._raw.publish(self._image)
        if self._jpeg.get_subscription_count():
            quality = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
            done, data = cv2.imencode(".jpg", picture, quality)
            if done:
                message = CompressedImage(header=self._image.header, format="jpeg")
                message.data = array.array("B", into_jpeg(data, self._segment))
                self._jpeg.publish(message)
                self.counts["jpegs"] += 1
        if self.speaking.update(media_time, shown.speech):
            self._speaking.publish(Bool(data=self.speaking.state))
        self.counts["images"] += 1
        self.counts["skipped_frames"] += shown.skipped
        published = time.perf_counter() - ready
        self._render_ms.append((rendered - began) * 1e3)
        self._publish_ms.append(published * 1e3)
        self._busy += rendered - began + published
        self._shown += 1
        self._missed += shown.skipped

    def _wait_until(self, due: float) -> None:
        """Sleeps until the ROS clock is at `due`, which is at most `lead` away."""
        wait = min(due - self.now(), self.presenter.lead)
        if wait > 0:
            time.sleep(wait)

    def _show_failed(self, error: Exception) -> None:
        if isinstance(error, NetworkError):
            self.problems.add(f"a frame could not be shown, the network failed: {error}")
        else:
            self.problems.exception(error)
        self._failed += 1
        enough = FAILURES if isinstance(error, NetworkError) else BROKEN
        if self._failed < enough or time.monotonic() - self._tried < AGAIN:
            return
        self._failed, self._tried = 0, time.monotonic()
        self.counts["fallbacks"] += 1
        onnx_session.forget_sessions()  # they are broken: new ones are opened
        self._emergency = "cpu"
        self._look = replace(self._look, device="") if self._look else None
        self._loader.ask(self._wanted(), "the networks anew, on the CPU")

    def play(self) -> None:
        """Sends sound when its frame is seen, or `playback_latency` before (in its own thread)."""
        while not self._stop.is_set():
            try:
                self._send_due()
            except Exception as error:  # no sound may be the last one
                if self._stop.is_set() or not self.context.ok():
                    return
                self.problems.exception(error)
            if not self._sounds.wait(0.2):
                continue
            time.sleep(LISTEN)

    def _send_due(self) -> None:
        heard = self._audio_out.get_subscription_count() > 0
        with self._lock:  # until it is sent: what is cleared meanwhile must not follow
            time_heard = self._present() - self.presenter.delay + self.playback_latency
            due = self.sound.take(time_heard)
            if not len(self.sound):
                self._sounds.clear()
            for chunk in due if heard else ():
                self._audio_out.publish(
                    self.audio_message(
                        chunk.pcm, chunk.sample_rate, chunk.start, chunk.utterance, chunk.last
                    )
                )
                self.counts["audio_out"] += 1

    # Health

    def publish_diagnostics(self) -> None:
        if self.ready:
            self._look_after()
        super().publish_diagnostics()

    def _look_after(self) -> None:
        """Once a second: how long rendering takes of late, and whether the machine keeps up."""
        if self._loader.take_failure():
            self._as_shown()
        busy, shown, missed = self._busy, self._shown, self._missed
        self._busy = self._shown = self._missed = 0.0
        idle = self._processor.idle()
        if not shown:
            return
        if self._render_ms:
            recent = sorted(list(self._render_ms)[-50:])
            lead = self._lead(recent[int(0.9 * len(recent))] / 1.3e3)
            with self._lock:
                # Not while it speaks live: what is on its way must not come too late for it.
                if abs(lead - self.presenter.lead) > 0.003 and not len(self.presenter):
                    self.presenter.lead = lead
        load = busy / shown * self.presenter.fps
        steady = not self._loader.name  # what loads has the processor, too
        if self.ladder_on and steady and self.ladder.update(load, missed / (shown + missed), idle):
            self._climb()

    def _climb(self) -> None:
        by_fps = self.ladder.divisors[0]
        look = self._wanted()
        self.get_logger().info(f"quality is now {self.fps / by_fps:g} fps, {look.size} pixels")
        with self._lock:
            self.presenter.set_fps(self.fps / by_fps)
        self._reload(f"size {look.size}")

    def concern(self) -> str:
        if self.ladder.level:
            return (f"this machine cannot keep up: now {self.presenter.fps:g} fps, "
                    f"{self._image.height} pixels")  # fmt: skip
        return super().concern()

    def status(self) -> dict:
        presenter, look = self.presenter, self._look
        device = look.device if look else self.device
        values: dict = {
            "avatar": look.avatar if look else self.avatar, "device": device,
            "provider": onnx_session.PROVIDERS.get(device, ("",))[0],
            "loading": self.loading(), "fps": presenter.fps, "size": self._image.height,
            **self.counts,
        }  # fmt: skip
        values["late_expressions"] = presenter.late
        values["queued_expressions"] = len(presenter)
        values["refused_expressions"] = presenter.overflow
        values["queued_sound"] = len(self.sound)
        values["late_sound_ms"] = self.sound.late * 1e3
        values["delay_ms"] = presenter.delay * 1e3
        values["lead_ms"] = presenter.lead * 1e3
        if self._troupe is not None:
            values["faces_per_batch"] = self._troupe[0].frames / max(1, self._troupe[0].batches)
        values["quality_level"] = self.ladder.level
        values["speaking"] = self.speaking.state
        for name, times in (("render_ms", self._render_ms), ("publish_ms", self._publish_ms),
                            ("behind_ms", self._late_ms)):  # fmt: skip
            if times:
                values[f"{name}_p50"], values[f"{name}_p95"] = (
                    float(value) for value in np.percentile(list(times), (50, 95))
                )
        values.update(self._files)
        return values


def stood(waited: float) -> float:
    """How much of a message's wait, s, is no reason to show what comes later. A node that is always
    a little late must show it all later; one that once stood still must not."""
    return waited if waited > STOOD else 0.0


def rotate(quaternion, point, translation) -> tuple[float, float, float]:
    """A point turned by a geometry_msgs/Quaternion and moved by a Vector3."""
    axis = np.array([quaternion.x, quaternion.y, quaternion.z])
    v = np.array(point)
    v = v + 2 * np.cross(axis, np.cross(axis, v) + quaternion.w * v)
    x, y, z = v + [translation.x, translation.y, translation.z]
    return float(x), float(y), float(z)


def main(args: list[str] | None = None) -> int:
    return spin.run(lambda: [RendererNode()], args, images=True)


if __name__ == "__main__":
    raise SystemExit(main())
