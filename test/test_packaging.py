# SPDX-License-Identifier: Apache-2.0
"""What is packed, declared, checked before a build, and advised where something is missing."""

import ast
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from realtalk_ros import install_hints

ROOT = Path(__file__).parents[1]
if not (ROOT / "pyproject.toml").is_file():
    pytest.skip("the sources are not here", allow_module_level=True)
EVERYTHING = ("CMakeLists.txt", "package.xml", "setup.py", "pyproject.toml", "README.md",
              "Makefile", "LICENSE", "NOTICE", "CHANGELOG.rst", "msg", "action", "cmake", "launch",
              "config", "realtalk_ros", "test", "docs")  # fmt: skip
# ROS packages whose Python module has another name, and what is used without being imported.
MODULE_OF = {"tf2_ros_py": "tf2_ros"}
NOT_IMPORTED = {"rosidl_default_runtime", "rviz2", "lifecycle_msgs", "libespeak-ng1"}
OF_SOME_ROBOTS = {"hri_msgs", "audio_common_msgs", "foxglove_msgs"}  # used where they are
KEYS = {"numpy": "python3-numpy", "yaml": "python3-yaml", "cv2": "python3-opencv",
        "tqdm": "python3-tqdm", "aiohttp": "python3-aiohttp",
        "onnxruntime": "python3-onnxruntime-pip"}  # fmt: skip
BASE = {"numpy", "yaml", "onnxruntime", "cv2", "av", "tqdm"}


def table(name: str) -> dict:
    """A table of pyproject.toml. (tomllib came with Python 3.11; pip has always had one.)"""
    try:
        import tomllib
    except ImportError:
        tomllib = pytest.importorskip("tomli")
    return tomllib.loads((ROOT / "pyproject.toml").read_text())[name]


def requirement(line: str) -> str:
    """ "aiohttp>=3.8; python_version..." -> "aiohttp>=3.8"."""
    return line.partition(";")[0].strip()


def imported(*folders: Path) -> dict[str, set[str]]:
    """Foreign module -> files that import it, at their top or when they need it."""
    found: dict[str, set[str]] = {}
    for path in (p for folder in folders for p in sorted(folder.rglob("*.py"))):
        for root in imported_anywhere(path):
            found.setdefault(root, set()).add(str(path.relative_to(ROOT)))
    return found


@cache
def imported_anywhere(path: Path) -> set[str]:
    return imported_by(ast.walk(ast.parse(path.read_text())))


def imported_by(nodes: Iterable[ast.AST]) -> set[str]:
    """The foreign modules that these statements and expressions import."""
    names: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
        elif isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            names += [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
    roots = {name.partition(".")[0] for name in names}
    return roots - sys.stdlib_module_names - {"realtalk_ros"}


# The sdist


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Files of the sdist that setup.py makes of a copy of the sources."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 61:
        pytest.skip("setuptools is too old for pyproject.toml")
    copy = tmp_path_factory.mktemp("sources") / "realtalk_ros"
    ignore = shutil.ignore_patterns("*.pyc", "__pycache__", "*.so")
    for name in (*EVERYTHING, "MANIFEST.in"):
        copy_one = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        copy_one(ROOT / name, copy / name, **({"ignore": ignore} if (ROOT / name).is_dir() else {}))
    ran = subprocess.run([sys.executable, "setup.py", "-q", "sdist", "--formats=tar"], cwd=copy,
                         capture_output=True, text=True)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (archive,) = (copy / "dist").glob("*.tar")
    with tarfile.open(archive) as tar:
        names = {member.name.partition("/")[2] for member in tar if member.isfile()}
    whole = {str(p.relative_to(copy)) for name in EVERYTHING
             for p in ([copy / name] if (copy / name).is_file() else (copy / name).rglob("*"))
             if p.is_file()}  # fmt: skip
    return names, whole


def test_the_sdist_holds_all_that_a_build_takes(packed):
    names, whole = packed
    assert not sorted(whole - names)
    for needed in ("msg/AudioChunk.msg", "action/Say.action", "cmake/executable.py.in",
                   "cmake/check.sh", "config/realtalk.yaml", "launch/realtalk.launch.py",
                   "realtalk_ros/models/SHA256SUMS", "realtalk_ros/avatars/default/avatar.yaml",
                   "realtalk_ros/web/page.html", "realtalk_ros/nodes/realtalk_fastdds.xml",
                   "realtalk_ros/data/speech_sample.wav"):  # fmt: skip
        assert needed in names


def test_the_sdist_holds_what_cmake_names(packed):
    text = (ROOT / "CMakeLists.txt").read_text()
    named = set(re.findall(r'"((?:msg|action)/\w+\.\w+)"', text))
    named |= set(re.findall(r"configure_file\((\S+)", text))
    for line in re.findall(r"install\((?:DIRECTORY|FILES) ([\w ]+) DESTINATION", text):
        named |= set(line.split())
    assert len(named) >= 8
    for name in named:
        assert any(n == name or n.startswith(f"{name}/") for n in packed[0]), name


@pytest.mark.parametrize("name, temporary", [
    ("Gesicht für Jörg", "tmp"), ("顔", "tmp"), ("a;b$c (1)", "tmp"), ("顔", "für Jörg"),
])  # fmt: skip
def test_the_messages_are_built_where_paths_are_plain(tmp_path, name, temporary):
    """ROS's generators cut the paths of their files at letters beyond ASCII."""
    pytest.importorskip("ament_package", reason="ROS 2 is not installed")
    sources = tmp_path / name
    (tmp_path / temporary).mkdir()
    for part in ("setup.py", "pyproject.toml", "CMakeLists.txt", "README.md", "cmake/check.sh",
                 "realtalk_ros/__init__.py"):  # fmt: skip
        (sources / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / part, sources / part)
    cmake = tmp_path / "bin/cmake"
    cmake.parent.mkdir()
    cmake.write_text(
        '#!/bin/sh\ntest "$1" = --version && exit 0\n'
        'test -f "$2/CMakeLists.txt" && printf "cmake %s\\n" "$@"\nexit 1\n'
    )
    cmake.chmod(0o755)
    env = {**os.environ, "PATH": f"{cmake.parent}:{os.environ['PATH']}"}
    env["TMPDIR"] = str(tmp_path / temporary)
    ran = subprocess.run([sys.executable, "setup.py", "-q", "build_py"], cwd=sources, env=env,
                         capture_output=True, text=True)  # fmt: skip
    if "cannot be built yet" in ran.stderr:
        pytest.skip(ran.stderr)
    given = [line for line in ran.stdout.splitlines() if line.startswith("cmake ")]
    given = [line for line in given if "Python3_EXECUTABLE" not in line]
    assert any("CMAKE_INSTALL_PREFIX" in line for line in given), ran.stderr
    assert not [line for line in given if re.search(r"[^\w ./=+-]", line, re.ASCII)]
    (built_from,) = (line.split()[1] for line in given if line.endswith("/sources"))
    assert not Path(built_from).parent.exists()


@pytest.mark.parametrize("script, works", [
    ("/bin/sh\nexit 0", True), ("/bin/sh\nexit 1", False), ("/removed/bin/python", False),
])  # fmt: skip
def test_a_cmake_that_does_not_work_is_not_built_with(tmp_path, script, works):
    """As an environment's does not where pip builds, which hides the environment's modules."""
    cmake = tmp_path / "cmake"
    cmake.write_text(f"#!{script}\n")
    cmake.chmod(0o755)
    code = ("import runpy, setuptools, sys\nsys.modules['ament_package'] = None\n"
            "setuptools.setup = lambda setup_requires, **_: print(*setup_requires)\n"
            "sys.argv = ['setup.py', 'egg_info']\nrunpy.run_path('setup.py')")  # fmt: skip
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True,
                         text=True)  # fmt: skip
    if "cannot be built" in ran.stderr:
        pytest.skip(ran.stderr)
    assert "catkin_pkg" in ran.stdout.split(), ran.stderr
    assert ("cmake" in ran.stdout.split()) != works


# What is declared


def test_an_executable_that_is_interrupted_while_it_imports_says_nothing(tmp_path):
    (tmp_path / "package").mkdir()
    (tmp_path / "package/module.py").write_text(
        "import signal\nsignal.raise_signal(signal.SIGINT)\ndef main(): ...\n"
    )
    text = (ROOT / "cmake/executable.py.in").read_text()
    (tmp_path / "node").write_text(
        text.replace("@PROJECT_NAME@", "package").replace("@MODULE@", "module")
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "node")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_package_xml_declares_what_is_imported_and_nothing_else():
    declared = {e.text for e in ET.parse(ROOT / "package.xml").iter()
                if e.tag in ("depend", "exec_depend")}  # fmt: skip
    used = set(imported(ROOT / "realtalk_ros", ROOT / "launch"))
    ros = (used & set(install_hints.ROS)) | {
        "action_msgs",
        "std_msgs",
    }  # the latter two by the messages
    modules = {MODULE_OF.get(name, name) for name in declared}
    assert not ros - modules
    assert not {KEYS[name] for name in KEYS} - declared
    assert not modules - ros - set(KEYS.values()) - NOT_IMPORTED


def test_package_xml_declares_what_tests_cannot_do_without():
    """What they import without asking whether it is there."""
    declared = {e.text for e in ET.parse(ROOT / "package.xml").iter() if "depend" in e.tag}
    ours = {path.stem for path in (ROOT / "test").glob("*.py")}
    for path in sorted((ROOT / "test").glob("*.py")):
        tree = ast.parse(path.read_text())
        asked = {
            ast.literal_eval(call.args[0]).partition(".")[0]
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.importorskip"
        }
        for name in imported_by(tree.body) - asked - ours - {"av"}:  # rosdep has no key for it
            key = name if name in install_hints.ROS else KEYS.get(name, f"python3-{name}")
            assert key in declared, (path.name, name)


def test_advice_knows_every_module_and_pyproject_brings_it():
    project = table("project")
    brought = {extra: {requirement(line) for line in lines}
               for extra, lines in project["optional-dependencies"].items()}  # fmt: skip
    base = {requirement(line) for line in project["dependencies"]}
    assert {install_hints.PACKAGES[name].pip for name in BASE} == base
    for extra, modules in install_hints.EXTRAS.items():
        packages = [install_hints.PACKAGES[name] for name in modules]
        named = {line for package in packages for line in (package.pip, *package.besides)}
        assert named <= brought[extra], extra
    for module, files in imported(ROOT / "realtalk_ros").items():
        known = {*install_hints.PACKAGES, *install_hints.ROS, *OF_SOME_ROBOTS}
        assert module in known, (module, files)


@pytest.mark.parametrize("folders, extras", [
    (("enroll",), ("enroll", "train", "evaluate")),
    (("training/renderer", "training/expression"), ("train",)),
    (("training/videos",), ("train", "enroll")),
    (("nodes",), ("display", "microphone", "tts")),
])  # fmt: skip
def test_what_a_command_imports_is_brought_by_its_extra(folders, extras):
    brought = BASE | {name for extra in extras for name in install_hints.EXTRAS[extra]}
    for folder in folders:
        found = imported(ROOT / "realtalk_ros" / folder)
        assert found, f"no such folder: {folder}"
        for module, files in found.items():
            assert module in brought | set(install_hints.ROS) | OF_SOME_ROBOTS, (module, files)


def test_every_extra_that_is_named_exists():
    extras = set(table("project")["optional-dependencies"])
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *(ROOT / "realtalk_ros").rglob("*.py")]
    for page in pages:
        for names in re.findall(r"(?:realtalk_ros|'\.)\[([a-z,]+)\]", page.read_text()):
            assert set(names.split(",")) <= extras, (page, names)


def test_the_commands_for_arm_name_every_requirement():
    page = (ROOT / "docs/troubleshooting.md").read_text().partition("\n## On ARM\n")[2]
    command = next(line for line in page.splitlines() if "pip install " in line and "    " in line)
    needed = [*table("project")["dependencies"]]
    needed += table("project")["optional-dependencies"]["tts"]
    names = {re.split("[<>=;]", line)[0] for line in needed}
    assert set(command.partition("pip install ")[2].split()) == names


# What is advised, where it runs


@pytest.fixture
def place(monkeypatch, tmp_path):
    """Puts advice into a virtual environment, or beside apt."""

    def put(environment: bool, apt: bool = True, managed: bool = True):
        prefix = tmp_path / "venv" if environment else Path("/usr")
        if environment:
            (prefix / "bin").mkdir(parents=True, exist_ok=True)
            (prefix / "bin/pip").touch()
        monkeypatch.setattr(platform, "system", lambda: "Linux")
        monkeypatch.setattr(platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(sys, "prefix", str(prefix))
        monkeypatch.setattr(sys, "executable", str(prefix / "bin/python3"))
        monkeypatch.setattr(install_hints, "APT_FROM", (3, 0) if managed else (4, 0))
        monkeypatch.setattr(install_hints, "is_managed", lambda: managed)
        monkeypatch.setattr(install_hints, "has_apt", lambda: apt)
        monkeypatch.setattr(install_hints, "is_installed", lambda name: name == "pip")
        monkeypatch.setattr(install_hints.ctypes.util, "find_library", lambda name: None)
        return str(prefix / "bin/pip") if environment else "/usr/bin/python3 -m pip"

    return put


def test_in_an_environment_its_own_pip_brings_packages_that_exist(place):
    pip = place(environment=True)
    assert install_hints.how_to_install("aiohttp") == f"{pip} install 'aiohttp>=3.8'"
    assert install_hints.how_to_install("sounddevice") == (
        f"sudo apt install libportaudio2 && {pip} install 'sounddevice>=0.4'"
    )
    assert install_hints.what_is_missing("soxr", "train").endswith("soundfile soxr espeakng-loader")
    assert "realtalk_ros" not in install_hints.what_is_missing("torch", "train")
    assert f"{pip} install" in install_hints.what_is_missing("rclpy")


def test_beside_apt_its_packages_come_first_and_pip_is_told(place):
    pip = place(environment=False)
    assert install_hints.how_to_install("aiohttp") == "sudo apt install python3-aiohttp"
    assert install_hints.how_to_install("scipy", "soxr") == (
        f"sudo apt install python3-scipy && {pip} install --user --break-system-packages soxr"
    )
    assert "colcon" in install_hints.what_is_missing("realtalk_ros.msg")
    place(environment=False, managed=False)
    assert install_hints.how_to_install("aiohttp") == f"{pip} install --user 'aiohttp>=3.8'"
    place(environment=False, apt=False)
    assert install_hints.how_to_install("aiohttp").endswith(
        "--break-system-packages 'aiohttp>=3.8'"
    )


@pytest.mark.parametrize("environment", [True, False])
def test_where_pypi_has_no_ros_only_colcon_is_named(place, monkeypatch, environment):
    pip = place(environment=environment)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    for module in ("rclpy", "realtalk_ros.msg"):
        advice = install_hints.what_is_missing(module)
        assert "colcon" in advice
        assert pip not in advice and "make" not in advice
    assert f"{pip} install" in install_hints.how_to_install("soxr")


def test_on_arm_nothing_is_named_that_pypi_lacks(place, monkeypatch):
    """A command that takes the working ONNX Runtime away, and then finds no other, does harm."""
    pip = place(environment=True)
    for machine, python, gpu, mediapipe in (
        ("x86_64", (3, 10), True, True), ("x86_64", (3, 13), True, True),
        ("aarch64", (3, 10), False, True), ("aarch64", (3, 12), True, True),
        ("aarch64", (3, 13), True, False),
    ):  # fmt: skip
        monkeypatch.setattr(platform, "machine", lambda m=machine: m)
        monkeypatch.setattr(sys, "version_info", (*python, 0, "final", 0))
        assert (f"{pip} uninstall" in install_hints.how_to_get_gpu()) == gpu
        assert (pip in install_hints.how_to_install_extra("enroll")) == mediapipe


def test_what_is_installed_and_broken_is_installed_again(place, monkeypatch):
    pip = place(environment=True)
    assert install_hints.how_to_repair("aiohttp") == f"{pip} install 'aiohttp>=3.8'"
    monkeypatch.setattr(install_hints, "is_installed", lambda name: True)
    again = f"--force-reinstall --no-deps aiohttp=={metadata.version('aiohttp')}"
    assert install_hints.how_to_repair("aiohttp") == f"{pip} install {again}"
    place(environment=False)
    monkeypatch.setattr(install_hints, "is_installed", lambda name: True)
    assert install_hints.how_to_repair("aiohttp") == "sudo apt install --reinstall python3-aiohttp"


def test_enrolling_asks_for_what_enrolling_needs(place):
    pip = place(environment=True)
    missing = install_hints.what_is_missing("scipy", "enroll")
    if sys.version_info < (3, 13):
        assert missing.endswith(
            f"{pip} install 'mediapipe>=0.10.18,<=0.10.21' 'numpy<2' 'jax<=0.7.1' 'jaxlib<=0.7.1' "
            "'opencv-contrib-python<4.12' 'opencv-python-headless<4.12' scipy Pillow"
        )
    else:
        assert missing.endswith(f"{pip} install 'mediapipe>=0.10.30,<=0.10.31' scipy Pillow")
    assert "torch" not in missing


@pytest.mark.parametrize("python", [(3, 10), (3, 12), (3, 13), (3, 14)])
def test_every_python_gets_a_mediapipe_that_works_there(python):
    requirements = pytest.importorskip("packaging.requirements")
    lines = table("project")["optional-dependencies"]["enroll"]
    asked = [requirements.Requirement(line) for line in lines]
    version = {"python_version": ".".join(map(str, python))}
    brought = {str(one).partition(";")[0].strip().replace(" ", "")
               for one in asked if one.marker and one.marker.evaluate(version)}  # fmt: skip
    package = install_hints.mediapipe_for(python)
    wanted = [requirements.Requirement(line) for line in (package.pip, *package.besides)]
    assert brought == {str(one).replace(" ", "") for one in wanted}
    (mediapipe,) = (one for one in wanted if one.name == "mediapipe")
    # 0.10.21 has wheels up to Python 3.12; from 0.10.35 on each use is reported.
    assert mediapipe.specifier.contains("0.10.21") == (python < (3, 13))
    assert mediapipe.specifier.contains("0.10.31") == (python >= (3, 13))
    assert not mediapipe.specifier.contains("0.10.35")


# What is checked before a build


def check(*arguments, path: Path, **changes) -> subprocess.CompletedProcess:
    env = {"PATH": str(path), "HOME": "/nonexistent", **changes}
    return subprocess.run([str(path / "sh"), str(ROOT / "cmake/check.sh"), *map(str, arguments)],
                          env=env, capture_output=True, text=True)  # fmt: skip


@pytest.fixture
def tools(tmp_path):
    """A folder with the programs that every Debian has, and apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "chmod", "df", "dirname", "find", "getconf", "grep", "head", "id",
                 "ls", "mktemp", "rm", "tail", "uname"):  # fmt: skip
        (folder / name).symlink_to(shutil.which(name))
    (folder / "apt-get").write_text("#!/bin/sh\n")
    (folder / "apt-get").chmod(0o755)
    return folder


def test_all_that_is_missing_is_named_at_once_with_its_command(tools, tmp_path):
    ran = check("", tmp_path / "venv", path=tools)
    assert ran.returncode == 2
    for part in ("Python 3.10 to 3.14", "compiler\n", "  make\n"):
        assert part in ran.stderr
    assert "apt install python3-venv python3-dev g++ make\n" in ran.stderr
    assert "Traceback" not in ran.stderr and "not found" not in ran.stderr


def test_header_files_venv_and_a_wrong_python_are_noticed(tools, tmp_path):
    python = tools / "python3"
    real = f'exec "{sys.executable}" -c "$code"\n'
    for name in ("c++", "cc", "make"):
        (tools / name).symlink_to("/bin/true")
    (tools / "env").symlink_to(shutil.which("env"))
    # A Python without header files and ensurepip, as Debian's is without python3-dev and -venv.
    python.write_text('#!/bin/sh\ncode="import sys, sysconfig\n'
                      'sys.modules[\'ensurepip\'] = None\n'
                      'sysconfig.get_config_var = lambda name: \'/nonexistent\'\n$2"\n'
                      + real)  # fmt: skip
    python.chmod(0o755)
    ran = check("python3", tmp_path / "venv", path=tools)
    assert ran.returncode == 2 and "Python.h" in ran.stderr and "ensurepip" in ran.stderr
    assert "compiler" not in ran.stderr
    python.write_text('#!/bin/sh\ncode="import sys, platform\nsys.version_info = (3, 9)\n'
                      'platform.python_version = lambda: \'3.9.2\'\n$2"\n' + real)  # fmt: skip
    ran = check("python3", tmp_path / "venv", path=tools)
    assert ran.returncode == 2 and "Python 3.10 to 3.14 (python3: 3.9.2)" in ran.stderr


def test_on_arm_one_message_names_what_works_there(tools, tmp_path):
    (tools / "uname").unlink()
    (tools / "uname").write_text('#!/bin/sh\necho "Linux aarch64"\n')
    (tools / "uname").chmod(0o755)
    # As `pip install .` runs it, where no ROS 2 is sourced.
    setup = ("import runpy, sys\nsys.modules['ament_package'] = None\n"
             "sys.argv = ['setup.py', 'egg_info']\nrunpy.run_path('setup.py')")  # fmt: skip
    by_pip = subprocess.run([sys.executable, "-c", setup], cwd=ROOT, capture_output=True,
                            env={**os.environ, "PATH": str(tools)}, text=True)  # fmt: skip
    for ran in (by_pip, check("", tmp_path / "venv", path=tools)):
        assert ran.returncode == 2
        for part in ("Linux aarch64", "In a ROS 2 workspace", "On ARM"):
            assert part in ran.stderr, ran.stderr
        assert "compiler" not in ran.stderr and "apt install" not in ran.stderr
    # With a ROS 2 that is there already, the kind of machine does not matter.
    ran = check(sys.executable, path=tools)
    assert ran.returncode == 2 and "compiler" in ran.stderr and "aarch64" not in ran.stderr


def test_a_machine_that_has_everything_passes(tmp_path):
    if not all(map(shutil.which, ("c++", "cc", "make"))):
        pytest.skip("there is no compiler")
    ran = subprocess.run(["sh", ROOT / "cmake/check.sh", sys.executable],
                         capture_output=True, text=True)  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "") or "Python.h" in ran.stderr


@pytest.fixture
def check_copy(tmp_path):
    """Runs check.sh of a folder of sources, as somebody who may not write everywhere."""
    (tmp_path / "cmake").mkdir()
    shutil.copy(ROOT / "cmake/check.sh", tmp_path / "cmake")
    # Root may write everywhere, but for this capability.
    without = ["setpriv", "--bounding-set=-dac_override"] if os.geteuid() == 0 else []
    if without and (not shutil.which("setpriv") or subprocess.run([*without, "true"]).returncode):
        pytest.skip("root may write everywhere")

    def run(*arguments):
        return subprocess.run([*without, "sh", tmp_path / "cmake/check.sh", *arguments],
                              capture_output=True, text=True)  # fmt: skip

    yield run
    for folder in (tmp_path, *tmp_path.rglob("*/")):
        folder.chmod(0o755)


def test_sources_that_cannot_be_written_are_refused_at_once(check_copy, tmp_path):
    tmp_path.chmod(0o555)
    ran = check_copy(sys.executable)
    assert ran.returncode == 2 and f"permission to write in {tmp_path}" in ran.stderr


@pytest.mark.parametrize("name", ["build/temp", ".ruff_cache/1", ".venv", "realtalk_ros.egg-info"])
def test_one_line_says_how_to_get_back_what_root_has_made(check_copy, tmp_path, name):
    (tmp_path / name).mkdir(parents=True)
    assert check_copy("--owner").returncode == 0
    (tmp_path / name).chmod(0o555)
    for arguments in (("--owner",), (sys.executable,), ("", str(tmp_path / ".venv"))):
        ran = check_copy(*arguments)
        (line,) = ran.stderr.splitlines()
        assert ran.returncode == 2 and f"{tmp_path / name}, as after `sudo make`" in line
        assert line.endswith(f"'{tmp_path}'") and "sudo chown -R" in line


def test_what_is_pinned_is_for_every_python_that_is_supported():
    from packaging.specifiers import SpecifierSet

    oldest = table("project")["requires-python"].removeprefix(">=")
    extras = table("project")["optional-dependencies"]
    pinned = [
        line for lines in extras.values() for line in lines if "==" in line and ";" not in line
    ]
    for name, version in (re.sub(r"\[.*\]", "", line).split("==") for line in pinned):
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if found.version == version and (wanted := found.metadata.get("Requires-Python")):
            assert SpecifierSet(wanted).contains(oldest), f"{name} {version} wants Python {wanted}"


def test_the_readme_the_makefile_and_the_check_name_the_same_packages():
    line = "apt install python3-venv python3-dev g++ make"
    for name in ("README.md", "Makefile"):
        assert line in (ROOT / name).read_text(), name


def test_the_pythons_of_the_classifiers_are_those_that_everything_names(tools, tmp_path):
    prefix = "Programming Language :: Python :: "
    versions = [line.removeprefix(prefix) for line in table("project")["classifiers"]
                if line.startswith(prefix)]  # fmt: skip
    oldest, *_, newest = versions
    assert table("project")["requires-python"] == f">={oldest}"
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".ci/run"):
        ranges = re.findall(r"\b3\.\d+(?: to |-)3\.\d+", (ROOT / name).read_text())
        assert any(re.split(" to |-", found) == [oldest, newest] for found in ranges), name
    commands = " ".join(["python3", *(f"python{v}" for v in reversed(versions))])
    assert f"PYTHON ?= $(call find,{newest[2:]},{commands})" in (ROOT / "Makefile").read_text()
    first = int(oldest[2:])
    for minor in range(first - 1, first + len(versions) + 1):
        # Each Python by its own name only, as where the system's python3 is another one.
        python = tools / f"python3.{minor}"
        python.write_text(f'#!/bin/sh\ncode="import sys\nsys.version_info = (3, {minor})\n$2"\n'
                          f'exec "{sys.executable}" -c "$code"\n')  # fmt: skip
        python.chmod(0o755)
        ran = check("", tmp_path / "venv", path=tools)
        python.unlink()
        known = f"3.{minor}" in versions
        assert (f"Python {oldest} to {newest}, with venv" in ran.stderr) != known, (
            minor,
            ran.stderr,
        )
