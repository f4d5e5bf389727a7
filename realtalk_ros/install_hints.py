# SPDX-License-Identifier: Apache-2.0
"""The command that installs a missing part. It depends on where this Python comes from.

A virtual environment  its own pip. The missing packages are named themselves, not as an extra of
                       realtalk_ros: that is on no package index, and need not be built again.
The system's Python    (a ROS 2 from apt, a colcon workspace) apt where Debian and Ubuntu have it;
                       else pip --user, with --break-system-packages where pip requires it.
"""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """What installs an importable module.

    pip: the requirement, as in pyproject.toml. apt: the package to use instead of it, if Debian
    from 12 and Ubuntu from 24.04 on have it. library: an apt package that it needs besides, and the
    library's name. besides: requirements of it that pip would only find by downloading one version
    after the other.
    """

    pip: str
    apt: str = ""
    library: tuple[str, str] = ("", "")
    besides: tuple[str, ...] = ()


def mediapipe_for(python: tuple[int, int]) -> Package:
    """Which MediaPipe suits a Python: up to 3.12 the last one that carries a model, with NumPy, jax
    and OpenCV of its time; from then on one without (enroll/landmarker_file.py)."""
    if python >= (3, 13):
        return Package("mediapipe>=0.10.30,<=0.10.31")
    return Package(
        "mediapipe>=0.10.18,<=0.10.21",
        besides=(
            "numpy<2",
            "jax<=0.7.1",
            "jaxlib<=0.7.1",
            "opencv-contrib-python<4.12",
            "opencv-python-headless<4.12",
        ),
    )


PACKAGES = {
    # required
    "numpy": Package("numpy>=1.23", "python3-numpy"),
    "yaml": Package("pyyaml>=6", "python3-yaml"),
    "onnxruntime": Package("onnxruntime>=1.17"),
    "cv2": Package("opencv-python-headless>=4.6", "python3-opencv"),
    "av": Package("av>=10", "python3-av"),
    "tqdm": Package("tqdm>=4.60", "python3-tqdm"),
    # optional
    "espeakng_loader": Package("espeakng-loader", "libespeak-ng1"),
    "aiohttp": Package("aiohttp>=3.8", "python3-aiohttp"),
    "sounddevice": Package("sounddevice>=0.4", library=("libportaudio2", "portaudio")),
    "mediapipe": mediapipe_for(sys.version_info[:2]),
    "scipy": Package("scipy", "python3-scipy"),
    "PIL": Package("Pillow", "python3-pil"),
    "torch": Package("torch"),
    "onnx": Package("onnx"),
    "onnxscript": Package("onnxscript"),
    "skimage": Package("scikit-image", "python3-skimage"),
    "matplotlib": Package("matplotlib", "python3-matplotlib"),
    "moderngl": Package("moderngl", "python3-moderngl"),
    "pocketsphinx": Package("pocketsphinx"),
    "soundfile": Package("soundfile", "python3-soundfile"),
    "soxr": Package("soxr"),
    "dlib": Package("dlib-bin"),
    "face_recognition_models": Package("face_recognition_models"),
    "bpy": Package("bpy==5.0.1"),
    "meshoptimizer": Package("meshoptimizer"),
}
# The extras of pyproject.toml that commands and nodes need, and the modules that they install.
EXTRAS = {
    "tts": ("espeakng_loader",),
    "display": ("aiohttp",),
    "microphone": ("sounddevice",),
    "enroll": ("mediapipe", "scipy", "PIL"),
    "evaluate": ("dlib", "face_recognition_models"),
    "train": ("torch", "onnx", "onnxscript", "scipy", "skimage", "matplotlib", "moderngl",
              "pocketsphinx", "soundfile", "soxr", "espeakng_loader"),
    "portraits": ("bpy", "meshoptimizer"),
}  # fmt: skip
# Modules that come with ROS 2 only, and that this package imports.
ROS = (
    "rclpy", "rcl_interfaces", "rosidl_parser", "rpyutils", "ament_index_python",
    "builtin_interfaces", "std_msgs", "std_srvs", "sensor_msgs", "geometry_msgs", "diagnostic_msgs",
    "visualization_msgs", "lifecycle_msgs", "action_msgs", "rosgraph_msgs", "tf2_msgs", "tf2_ros",
    "launch", "launch_ros",
)  # fmt: skip
# By PyPI's wheels for ARM: Pythons that have no MediaPipe that is taken, and that have a GPU's
# ONNX Runtime.
ARM_LACKS_MEDIAPIPE, ARM_HAS_GPU = (3, 13), (3, 12)
APT_FROM = (3, 11)  # the Python of Debian 12; packages beside an older one are too old


def how_to_install(*modules: str) -> str:
    """The command that installs those of `modules` (keys of PACKAGES) that are missing; all of
    them, if none is (and, it seems, one does not work)."""
    wanted = [name for name in modules if not is_installed(name)] or list(modules)
    if "mediapipe" in wanted and is_arm() and sys.version_info >= ARM_LACKS_MEDIAPIPE:
        return (
            "there is no MediaPipe for ARM and this Python: enrol on another computer, and copy "
            "the avatar's folder"
        )
    by_apt, by_pip = [], []
    for name in wanted:
        package = PACKAGES[name]
        library, soname = package.library
        if library and has_apt() and not ctypes.util.find_library(soname):
            by_apt.append(library)
        if is_from_apt(package):
            by_apt.append(package.apt)
        else:
            by_pip += [package.pip, *package.besides]
    if by_pip and not in_environment() and not is_installed("pip") and has_apt():
        by_apt.append("python3-pip")
    commands = [f"sudo apt install {' '.join(by_apt)}"] if by_apt else []
    return " && ".join(commands + ([pip("install", *by_pip)] if by_pip else []))


def how_to_install_extra(name: str) -> str:
    """The command that installs what is missing of an extra (a key of EXTRAS)."""
    return how_to_install(*EXTRAS[name])


def how_to_repair(module: str) -> str:
    """The command that installs a module (a key of PACKAGES) which does not work. One that is
    installed is not installed again unless that is asked for."""
    if not is_installed(module):
        return how_to_install(module)
    package = PACKAGES[module]
    if is_from_apt(package):
        return f"sudo apt install --reinstall {package.apt}"
    return pip("install", "--force-reinstall", "--no-deps", _as_installed(package.pip))


def _as_installed(requirement: str) -> str:
    """A requirement that the version which is there fulfils: others may need that one."""
    name = re.split("[<>=]", requirement)[0]
    try:
        return f"{name}=={importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return requirement


def how_to_get_gpu() -> str:
    """Commands for an ONNX Runtime that uses an NVIDIA GPU, in place of the one for CPUs."""
    if is_arm() and sys.version_info < ARM_HAS_GPU:  # the one for CPUs must not be lost for nothing
        return (
            "put the onnxruntime-gpu of NVIDIA's own index for this JetPack in place of "
            "onnxruntime (PyPI has none for ARM and this Python)"
        )
    return _instead_of_onnxruntime("onnxruntime-gpu>=1.17")


def how_to_get_openvino() -> str:
    """Commands for an ONNX Runtime with OpenVINO for the CPU, in place of the one without."""
    return _instead_of_onnxruntime("onnxruntime-openvino")


def _instead_of_onnxruntime(package: str) -> str:
    return f"{pip('uninstall', '-y', 'onnxruntime')} && {pip('install', package)}"


def how_to_get_headless_opencv() -> str:
    """Commands for an OpenCV that needs no GUI libraries."""
    if has_apt() and not in_environment():
        return how_to_install("cv2")
    reinstall = pip("install", "--force-reinstall", "--no-deps", "opencv-python-headless")
    return f"{pip('uninstall', '-y', 'opencv-python')} && {reinstall}"


def how_to_get_ros() -> str:
    """What installs rclpy and builds the messages of this package."""
    setup_files = sorted(Path("/opt/ros").glob("*/setup.bash"))
    colcon = "build this package with colcon and source its workspace's install/setup.bash"
    if setup_files:
        colcon = f"source {setup_files[-1]}, {colcon}"
    if not has_ros_wheels():
        return colcon if setup_files else f"install ROS 2 from apt, {colcon}"
    if not in_environment():
        return f"{colcon}; or, without ROS from apt, make install in the sources of realtalk_ros"
    folder = source_folder()
    if folder is None:
        return f"in the sources of realtalk_ros {pip('install', '.[ros]')}; or {colcon}"
    return f"{pip('install', f'{as_typed(folder)}[ros]')}; or {colcon}"


def what_is_missing(module: str, extra: str = "") -> str:
    """One line about a module that could not be imported, by a command that needs `extra`."""
    root, _, rest = module.partition(".")
    if root == "realtalk_ros" and rest.split(".")[0] not in ("msg", "action"):
        return f"{module} is not in this installation: reinstall realtalk_ros"
    if root == "realtalk_ros":
        return f"the ROS messages are not built: {how_to_get_ros()}"
    if root in ROS:
        return f"needs {root}, which is not installed: {how_to_get_ros()}"
    if root not in PACKAGES:
        return f"needs {root}, which is not installed: reinstall what realtalk_ros depends on"
    together = EXTRAS[extra] if root in EXTRAS.get(extra, ()) else (root,)
    return f"needs {root}, which is not installed: {how_to_install(*together)}"


# The Python that runs


def in_environment() -> bool:
    """Whether this Python's packages are its user's own: a virtual or conda environment, or a
    Python that is not the system's."""
    return sys.prefix != "/usr"


def has_ros_wheels() -> bool:
    """Whether PyPI has ROS 2 for this kind of machine."""
    return (platform.system(), platform.machine()) == ("Linux", "x86_64")


def is_arm() -> bool:
    return platform.machine() in ("aarch64", "arm64")


def is_from_apt(package: Package) -> bool:
    """Whether apt, not pip, is to install it for this Python."""
    suits = has_apt() and not in_environment() and sys.version_info >= APT_FROM
    return suits and bool(package.apt)


def is_managed() -> bool:
    """Whether pip refuses to install here without --break-system-packages (PEP 668)."""
    folder = sysconfig.get_path("stdlib")
    return not in_environment() and Path(folder, "EXTERNALLY-MANAGED").is_file()


def has_apt() -> bool:
    return shutil.which("apt-get") is not None


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def pip(action: str, *arguments: str) -> str:
    """The command line of this Python's pip: `action` is install or uninstall."""
    script = Path(sys.prefix, "bin/pip")
    command = [as_typed(sys.executable), "-m", "pip", action]
    if in_environment() and script.is_file():
        command = [as_typed(script), action]
    elif in_environment() and not is_installed("pip") and shutil.which("uv"):
        command = ["uv", "pip", action, "--python", as_typed(sys.executable)]
        arguments = tuple(argument for argument in arguments if argument != "-y")
    if not in_environment():
        command += ["--user"] * (action == "install")
        command += ["--break-system-packages"] * is_managed()
    return shlex.join([*command, *arguments])


def source_folder() -> Path | None:
    """The source tree that runs, or in which this environment lies."""
    for folder in (Path(__file__).parents[1], Path(sys.prefix).parent):
        if (folder / "setup.py").is_file() and (folder / "package.xml").is_file():
            return folder
    return None


def as_typed(path: str | Path) -> str:
    """`path` as a user types it in the current folder."""
    path = Path(path)
    try:
        inside = path.relative_to(Path.cwd())
    except (ValueError, OSError):
        return str(path)
    return str(inside) if len(inside.parts) != 1 else f"./{inside}"
