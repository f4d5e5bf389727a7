# SPDX-License-Identifier: Apache-2.0
"""The layout of the package: no import runs upward or in a circle, and training stays apart."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import realtalk_ros
from realtalk_ros import contracts

PACKAGE = Path(realtalk_ros.__file__).parent
# A module may import from its own room and from those before it. "" is the package's own folder.
ROOMS = (
    "",
    "audio",
    "face_model",
    "avatar",
    "expression",
    "playout",
    "rendering.common",
    "rendering.eyes",
    "rendering.mouth",
    "rendering.head",
    "rendering",
    "enroll",
    "behaviour",
    "output",
    "nodes",
    "commands",
    "cli",
    "training",
    "training.common",
    "training.speech_data.games",
    "training.speech_data",
    "training.expression",
    "training.synthetic",
    "training.portraits",
    "training.valid_heads",
    "training.renderer",
    "training.face_reader",
    "training.videos",
)
# Speech data are aligned by what the installed expression network hears, if there is one.
ALLOWED = {("training.speech_data.build", "training.expression.pretrained_recogniser")}
DATA = ("action", "avatars", "data", "models", "msg", "web")  # folders without modules of ours


def modules() -> dict[str, Path]:
    """Module -> file; names are without the package's."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in DATA:
            found[".".join(parts).removesuffix("__init__").removesuffix(".")] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def room_of(module: str) -> str:
    return max((r for r in ROOMS if f"{module}.".startswith(f"{r}." if r else "")), key=len)


def imports(module: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that `module` imports, wherever in the file. What only a type checker
    reads does not count."""
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    found: set[str] = set()
    package = ["realtalk_ros", *module.split(".")]
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "realtalk_ros" and rest in known and rest != module:
                found.add(rest)
    return found - {""}  # the package itself is loaded before all else


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {module: imports(module, path, known) for module, path in known.items()}


def test_every_folder_of_modules_is_a_room():
    folders = {path.parent.relative_to(PACKAGE) for path in modules().values()}
    assert {".".join(folder.parts) for folder in folders} == set(ROOMS) - {"cli"}


def test_no_import_runs_upward(graph):
    upward = {
        (module, other)
        for module, others in graph.items()
        for other in others
        if ROOMS.index(room_of(module)) < ROOMS.index(room_of(other))
    }
    assert upward == ALLOWED


def test_no_modules_import_each_other_in_a_circle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_only_the_command_table_names_training(graph):
    """By name, as strings are imported, too; and the table is read when a command is called."""
    named = {
        module
        for module, path in modules().items()
        if not module.startswith("training") and "realtalk_ros.training" in path.read_text("utf-8")
    }
    assert named == {"cli"}
    assert not [m for m in graph["cli"] if m.startswith("training")]


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after `code`."""
    code = f"{code}\nimport sys; print('loaded:', *sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.partition("loaded:")[2].split())


def under(loaded: set[str], *packages: str) -> list[str]:
    return sorted(m for m in loaded if any(f"{m}.".startswith(f"{p}.") for p in packages))


def test_what_runs_on_a_robot_loads_no_training():
    names = [f"realtalk_ros.{m}" for m in modules() if m and room_of(m).split(".")[0] != "training"]
    loaded = loaded_by(
        "import importlib\n"
        f"for name in {names}:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:  # ROS 2, or an extra, is not installed\n"
        "        if error.name.startswith('realtalk_ros.') and error.name.split('.')[1]"
        " not in ('msg', 'action'):\n"
        "            raise\n"
    )
    assert "realtalk_ros.commands.speak" in loaded
    assert not under(loaded, "realtalk_ros.training")


def test_the_expression_node_loads_no_renderer():
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    loaded = loaded_by("import realtalk_ros.nodes.expression_node")
    rooms = (f"realtalk_ros.{room}" for room in ("rendering", "behaviour", "training"))
    assert not under(loaded, *rooms, "cv2")


def test_what_ros2_launch_imports_is_light():
    modules = ("launch_arguments", "params_file", "respawn")
    loaded = loaded_by("import " + ", ".join(f"realtalk_ros.nodes.{name}" for name in modules))
    assert not under(loaded, "numpy", "onnxruntime", "rclpy")


@pytest.mark.parametrize("values", [contracts.DEVICES, contracts.POLICIES])
def test_devices_and_policies_are_listed_once(values):
    def lists(path: Path) -> int:
        return sum(
            isinstance(node, (ast.Tuple, ast.List, ast.Set))
            and all(isinstance(element, ast.Constant) for element in node.elts)
            and [element.value for element in node.elts] == list(values)
            for node in ast.walk(parsed(path))
        )

    listed = {module for module, path in modules().items() if lists(path)}
    assert listed <= {"contracts"}
