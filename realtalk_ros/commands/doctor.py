# SPDX-License-Identifier: Apache-2.0
"""`realtalk doctor`: what is installed, what works, and what to do about what does not."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from realtalk_ros import __version__, install_hints
from realtalk_ros.commands.findings import Finding, fail, ok, warn
from realtalk_ros.contracts import PROVIDERS
from realtalk_ros.enroll import landmarker_file
from realtalk_ros.errors import NO_MEMORY, RealTalkError, lacks_memory, one_line
from realtalk_ros.paths import is_file, is_folder

OLDEST_PYTHON = (3, 10)
FREE_DISK_MB = 200  # an hour of video takes about as much
# Import name, and the name in the report; without one of these nothing runs.
PACKAGES = {
    "numpy": "numpy",
    "yaml": "PyYAML",
    "onnxruntime": "onnxruntime",
    "cv2": "opencv",
    "av": "av",
    "tqdm": "tqdm",
}
# Import name, extra of this package that brings it, what it is for.
OPTIONAL = (
    ("aiohttp", "display", "the web page"),
    ("sounddevice", "microphone", "a microphone"),
    ("mediapipe", "enroll", "avatars from photos and videos"),
)
ROS_PACKAGES = (
    "rclpy",
    "std_msgs",
    "std_srvs",
    "sensor_msgs",
    "diagnostic_msgs",
    "visualization_msgs",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "What is installed, what works and what to do about the rest. Exit code 0 if speech can be "
        "made into a face here (a warning is about a part that can be missed), 2 if not."
    )


def run(_: argparse.Namespace) -> int:
    failed = warned = 0
    print(f"realtalk_ros {__version__} in {Path(__file__).parents[1]}")
    for finding in examine():
        print(finding, flush=True)
        failed += finding.level == "fail"
        warned += finding.level == "warn"
    if failed:
        print(f"realtalk doctor: {failed} of the above must be put right first", file=sys.stderr)
        return 2
    print(
        "Speech can be made into a face here"
        + (f"; {warned} warning{'s' * (warned > 1)} above." if warned else ".")
    )
    return 0


def examine() -> Iterator[Finding]:
    """Every check, in the order in which things depend on each other."""
    failed, broken = False, set()
    checks = (python, packages, providers, model_files, avatar, speech_to_video, speed, free_memory,
              shared_memory, ros, espeak, optional, disk)  # fmt: skip
    for check in checks:
        if check in (speech_to_video, speed) and failed:
            continue  # it would only say the same again
        try:
            for finding in check():
                failed = failed or finding.level == "fail"
                broken.add(finding.package)
                yield finding
        except RealTalkError as error:
            failed = True
            yield fail(check.__name__.replace("_", " "), str(error))
        except Exception as error:  # a broken installation may raise anything; go on with the rest
            if isinstance(error, ImportError) and packages_of(error) & broken:
                continue  # reported before
            failed = True
            reason = one_line(error)
            yield fail(
                f"{check.__name__.replace('_', ' ')}: {type(error).__name__}: {reason}",
                NO_MEMORY if lacks_memory(error) else "reinstall realtalk_ros and its dependencies",
            )


def packages_of(error: ImportError) -> set[str]:
    """Those that the error names, and those whose modules raised it or passed it on."""
    frames = traceback.walk_tb(error.__traceback__)
    names = (error.name, *(frame.f_globals.get("__name__") for frame, _ in frames))
    return {name.partition(".")[0] for name in names if name}


def python() -> Iterator[Finding]:
    line = f"Python {platform.python_version()} on {platform.platform()}"
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield fail(line, f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed")
    else:
        yield ok(line)


def packages() -> Iterator[Finding]:
    for name, title in PACKAGES.items():
        try:
            module = importlib.import_module(name)
        except Exception as error:  # what is broken may raise anything
            command = install_hints.how_to_repair(name)
            if "libGL" in str(error):  # opencv-python draws windows; nothing here does
                command = install_hints.how_to_get_headless_opencv()
            reason = one_line(error)
            yield Finding("fail", f"{title} cannot be imported: {reason}", command, name)
        else:
            yield ok(f"{title} {getattr(module, '__version__', '')}".rstrip())


def providers() -> Iterator[Finding]:
    """Opens a small network with each provider: being listed does not mean that it works."""
    import onnxruntime

    from realtalk_ros import onnx_session

    works = {}
    for name in onnxruntime.get_available_providers():
        if not any(name in wanted for wanted in PROVIDERS.values()):
            continue
        try:
            session = onnx_session.session(onnx_session.REFERENCE_NETWORK, [name])
            works[name] = name in session.get_providers()
        except RealTalkError:
            works[name] = False
    for device, wanted in PROVIDERS.items():
        name = wanted[0]
        if works.get(name):
            yield ok(f"device {device}: {name} works{beside(device)}")
        elif device == "cpu":
            yield fail(f"device {device}: {name} does not work", "reinstall onnxruntime")
        elif name in works:
            yield warn(
                f"device {device}: {name} is installed but does not start",
                "only needed for a GPU: check the NVIDIA driver, CUDA and cuDNN "
                "(TensorRT for tensorrt)",
            )
        elif shutil.which("nvidia-smi"):
            yield warn(
                f"device {device}: {name} is not in this onnxruntime",
                f"this machine has a GPU; to use it: {install_hints.how_to_get_gpu()}",
            )


def beside(device: str) -> str:
    """What the CPU's device has besides ONNX Runtime, or could have."""
    from realtalk_ros import cpu_provider, onnx_session
    from realtalk_ros.contracts import GENERATOR_FILE

    if device != "cpu":
        return ""
    if cpu_provider.is_installed():
        path, threads = onnx_session.MODEL_DIR / GENERATOR_FILE, 1
        chosen = cpu_provider.fastest(path, threads, faces=1)[0]
        return f"; OpenVINO is installed, the renderer takes {chosen}"
    if onnx_session.has_bfloat16():
        how = install_hints.how_to_get_openvino()
        return f"; this processor has bfloat16, with OpenVINO it may render faster: {how}"
    return ""


def model_files() -> Iterator[Finding]:
    from realtalk_ros import checksums, onnx_session

    problems = onnx_session.verify()
    listed = checksums.read(onnx_session.MODEL_DIR)
    for problem in problems:
        what, _, advice = problem.partition(": ")
        yield fail(what, advice)
    for name in onnx_session.FILES:
        if name not in listed:
            file = onnx_session.MODEL_DIR / checksums.FILE
            yield warn(f"{file} has no checksum for {name}", onnx_session.how_to_restore(file))
    if not problems:
        yield ok(
            f"{len(onnx_session.networks())} model files in {onnx_session.MODEL_DIR} match their "
            "checksums"
        )


def avatar() -> Iterator[Finding]:
    from realtalk_ros.avatar.avatar import Avatar

    face = Avatar.load("default")
    yield ok(f"avatar {face.name!r} loads: {face.size[0]}x{face.size[1]} pixels")


def speech_to_video() -> Iterator[Finding]:
    """Half a second of real speech through everything."""
    from realtalk_ros.audio.media_files import SAMPLE_CLIP, read_audio
    from realtalk_ros.avatar.avatar import Avatar
    from realtalk_ros.behaviour.face_pipeline import FacePipeline
    from realtalk_ros.expression.onnx_model import ExpressionModel
    from realtalk_ros.output.mp4_writer import VideoWriter
    from realtalk_ros.rendering.face_renderer import FaceRenderer
    from realtalk_ros.stream_types import Chunk

    pcm, rate = read_audio(SAMPLE_CLIP)
    renderer = FaceRenderer(Avatar.load("default"))
    pipeline = FacePipeline(ExpressionModel(), renderer, fps=25)
    frames = [*pipeline.push(Chunk(pcm[: rate // 2], rate)), *pipeline.flush()]
    with (
        tempfile.TemporaryDirectory() as folder,
        VideoWriter(Path(folder) / "a.mp4", 25, renderer.size, rate) as video,
    ):
        video.write_audio(pcm[: rate // 2])
        for _, _, image in frames:
            video.write(image)
    yield ok(f"speech in, video out: {len(frames)} frames of {renderer.size[0]}x{renderer.size[1]}")


def ros_hint() -> str:
    return f"`realtalk speak` works without it; for the nodes: {install_hints.how_to_get_ros()}"


def what_ends_ros() -> str:
    """Why ROS 2 does not start; empty: it starts, or is not installed. In a process of its own:
    importing it ends the process where the RMW that is set is missing or shared memory is full."""
    from realtalk_ros.nodes import ros_arguments

    code = "try: import rclpy\nexcept ImportError: raise SystemExit(0)\nrclpy.init()"
    command = [sys.executable, "-c", code]
    with tempfile.TemporaryDirectory() as logs:  # doctor leaves nothing behind
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False,
            env={**os.environ, "ROS_LOG_DIR": logs},
        )  # fmt: skip
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return signal.strsignal(-done.returncode) or f"signal {-done.returncode}"
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    return ros_arguments.in_plain_words(lines[-1].rpartition("Error: ")[2])


def can_log() -> bool:
    """Whether ROS 2's folder of logs is there to be written to, or can be made."""
    home = os.environ.get("ROS_HOME") or "~/.ros"
    folder = Path(os.path.expanduser(os.environ.get("ROS_LOG_DIR") or f"{home}/log"))  # noqa: PTH111
    above = (folder, *folder.absolute().parents)
    there = next(path for path in above if is_folder(path) or is_file(path))
    return is_folder(there) and os.access(there, os.W_OK | os.X_OK)


def speed() -> Iterator[Finding]:
    from realtalk_ros.commands import machine_findings  # imports NumPy, which may be broken

    yield from machine_findings.speed()


def free_memory() -> Iterator[Finding]:
    from realtalk_ros.commands import machine_findings

    yield from machine_findings.free_memory()


def shared_memory() -> Iterator[Finding]:
    """What Fast DDS needs of it."""
    from realtalk_ros.nodes import fastdds_profile

    free = fastdds_profile.room()
    line = f"{free / 2**20:.0f} MiB free (shared memory: {fastdds_profile.SHARED_MEMORY})"
    if free < fastdds_profile.NEEDED_FOR_IMAGES:
        yield warn(line, f"for the nodes: {fastdds_profile.HOW_TO_MAKE_ROOM}")
    else:
        yield ok(line)


def ros() -> Iterator[Finding]:
    from realtalk_ros.nodes import fastdds_profile, ros_arguments

    if reason := what_ends_ros():
        if chosen := os.environ.get("RMW_IMPLEMENTATION"):
            yield warn(
                f"ROS 2 does not start with RMW_IMPLEMENTATION={chosen}",
                "unset RMW_IMPLEMENTATION; ROS 2 from PyPI has rmw_fastrtps_cpp alone",
            )
        else:
            yield warn(
                f"ROS 2 does not start: {reason}",
                fastdds_profile.HOW_TO_MAKE_ROOM
                if reason == signal.strsignal(signal.SIGBUS)
                else "`realtalk speak` works without it; for the nodes, put that right",
            )
        return
    if not can_log():
        yield warn(
            "ROS 2 does not start: its folder of logs cannot be written to",
            ros_arguments.HOW_TO_LOG,
        )
        return
    try:
        ros_arguments.require_domain()
    except RealTalkError as error:
        yield warn(f"ROS 2 does not start: {error}", "set it to another, or unset it")
        return
    for name in ROS_PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield warn(f"ROS 2: {one_line(error)}", ros_hint())
            return
    try:
        messages = importlib.import_module("realtalk_ros.msg")
        # Creating the type support loads the compiled libraries; an import alone does not.
        for message in (messages.AudioChunk, messages.FaceExpression):
            message.__class__.__import_type_support__()
            if message.__class__._TYPE_SUPPORT is None:
                raise ImportError(f"{message.__name__} has no type support")
    except (ImportError, AttributeError) as error:
        yield warn(
            f"ROS 2: the messages of realtalk_ros are not built ({one_line(error)})",
            ros_hint(),
        )
        return
    distro = os.environ.get("ROS_DISTRO", "")
    yield ok(f"ROS 2 {distro}".rstrip() + ": rclpy and the messages of realtalk_ros")


def espeak() -> Iterator[Finding]:
    from realtalk_ros.audio.espeak import speak

    try:
        speak("ready")
    except RealTalkError as error:
        yield warn("espeak-ng (only for --text) is not there", str(error))
    else:
        yield ok("espeak-ng speaks")


def optional() -> Iterator[Finding]:
    for name, extra, purpose in OPTIONAL:
        if importlib.util.find_spec(name) is None:
            yield warn(
                f"optional: {name} is not installed (for {purpose})",
                f"if you want that: {install_hints.how_to_install_extra(extra)}",
            )
            continue
        try:
            if name == "mediapipe":  # to import it takes seconds, and it talks
                landmarker_file.check(landmarker_file.installed_version(), landmarker_file.find())
            else:
                importlib.import_module(name)
        except RealTalkError as error:  # MediaPipe's model
            what, _, advice = str(error).partition(": ")
            yield warn(f"optional: {what}", f"if you want {purpose}: {advice}")
        except Exception as error:  # what is broken may raise anything
            command = install_hints.how_to_repair(name)
            if name == "sounddevice" and isinstance(error, OSError):  # it lacks PortAudio
                command = "sudo apt install libportaudio2"
            yield warn(
                f"optional: {name} does not work ({one_line(error)})",
                f"if you want {purpose}: {command}",
            )
        else:
            yield ok(f"{name}, for {purpose}")


def disk() -> Iterator[Finding]:
    for purpose, folder in (("here", Path.cwd()), ("temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 2**20
        line = f"{free / 1024:.1f} GB free ({purpose}: {folder})"
        yield ok(line) if free > FREE_DISK_MB else warn(line, "make room for videos and logs")
