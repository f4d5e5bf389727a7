# SPDX-License-Identifier: Apache-2.0
"""README and docs: generated tables are current, links lead somewhere, limits of length hold."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from realtalk_ros import __version__
from realtalk_ros.errors import RealTalkError

ROOT = Path(__file__).parents[1]
CARDS = sorted((ROOT / "realtalk_ros/models").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *CARDS]
SOURCES = ROOT / "realtalk_ros"
# cli.py lists the commands, and training/__init__.py says where to begin.
PACKAGES = [
    path.parent
    for path in sorted(SOURCES.glob("*/**/__init__.py"))
    if path.relative_to(SOURCES).parts[0] not in ("commands", "training")
]
MADE_BY_READERS = {"voice.py", "player.py", "realtalk_ros/nodes/NAME_node.py"}
CREATE = {"publisher", "subscription", "create_service", "create_client",
          "ActionServer", "BatchedSubscription", "AudioSubscription"}  # fmt: skip


@pytest.fixture(scope="module")
def document():
    """The command's module."""
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    pytest.importorskip("realtalk_ros.msg", reason="the ROS messages are not built")
    from realtalk_ros.commands import document

    return document


@pytest.fixture(scope="module")
def interfaces(document):
    return document.describe_nodes()


def test_tables_are_current(document, interfaces):
    outdated = document.outdated(ROOT, interfaces)
    assert not outdated, f"run `realtalk document`: {[page.name for page in outdated]}"


def test_a_new_parameter_or_topic_makes_the_tables_outdated(document, interfaces):
    node = interfaces["say_node"]
    parameter = replace(node.parameters[0], name="accent")
    topic = replace(node.endpoints[0], name="speaking")
    for changed in (
        replace(node, parameters=(*node.parameters, parameter)),
        replace(node, endpoints=(*node.endpoints, topic)),
    ):
        outdated = document.outdated(ROOT, {**interfaces, "say_node": changed})
        assert "nodes.md" in [page.name for page in outdated]


def test_a_topic_without_a_meaning_is_refused(document, interfaces):
    node = interfaces["say_node"]
    strange = replace(node.endpoints[0], name="strange")
    changed = {**interfaces, "say_node": replace(node, endpoints=(strange,))}
    with pytest.raises(RealTalkError, match="strange .* no description"):
        document.outdated(ROOT, changed)


def test_every_node_is_on_its_page_with_all_that_it_declares(interfaces):
    page = (ROOT / "docs/nodes.md").read_text()
    for node in interfaces.values():
        section = page.partition(f"<!-- generated: node {node.name} -->")[2]
        section = section.partition("<!-- end generated -->")[0]
        for parameter in node.parameters:
            assert f"| `{parameter.name}` |" in section
            assert parameter.meaning and parameter.change, parameter
        assert len(node.parameters) > 1 and node.endpoints


def test_all_parameters_are_known_to_all_nodes(interfaces):
    from realtalk_ros.nodes import parameters

    assert {p.name for node in interfaces.values() for p in node.parameters} == parameters.NAMES


def test_what_a_node_creates_later_is_described_too(interfaces):
    """Topics that are named in the nodes' sources, also where nobody creates them at the start."""
    named = set()
    for path in (ROOT / "realtalk_ros/nodes").glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                function = getattr(call.func, "attr", getattr(call.func, "id", ""))
                texts = [a.value for a in call.args if isinstance(a, ast.Constant)]
                if function in CREATE:
                    named |= {text for text in texts if isinstance(text, str)}
    described = {e.name for node in interfaces.values() for e in node.endpoints}
    assert {"audio", "audio_in", "face/settings"} <= named
    assert not named - described


@pytest.mark.parametrize("region, problem", [
    ("topics say_node", "use topics"), ("node ear_node", "ear_node"), ("table", "use topics"),
])  # fmt: skip
def test_a_region_that_is_not_known_is_refused(document, interfaces, region, problem):
    page = f"# A page\n<!-- generated: {region} -->\n<!-- end generated -->\n"
    with pytest.raises(RealTalkError, match=problem):
        document.filled(page, interfaces)


def test_a_region_that_is_not_closed_is_refused(document, interfaces):
    with pytest.raises(RealTalkError, match="not closed"):
        document.filled("<!-- generated: topics -->\n| a table |\n", interfaces)


def test_where_to_look_names_files_that_are_there():
    page = (ROOT / "docs/develop.md").read_text()
    section = page.partition("### Where to look")[2].partition("\n## ")[0]
    files = re.findall(r"\? \| `([^`]+)` \|", section)
    assert len(files) >= 20
    assert not [name for name in files if not (ROOT / name).is_file()]


def test_source_files_that_are_named_are_there():
    """In comments, docstrings and documents, but for experiments.md, which tells what was."""
    folders = [ROOT / name for name in ("realtalk_ros", "launch", "test")]
    files = [ROOT / "setup.py", *(path for folder in folders for path in folder.rglob("*.py"))]
    there = [str(path.relative_to(ROOT)) for path in files]
    endings = {name[i:] for name in there for i in range(len(name)) if not i or name[i - 1] == "/"}
    sources = [*SOURCES.rglob("*.py"), *(ROOT / "launch").glob("*.py"), *PAGES, ROOT / "Makefile"]
    named = {
        (path.name, name.lstrip("./"))
        for path in sources
        if path.name != "experiments.md"
        for name in re.findall(r"(?<![\w.*/-])[\w./-]*\w\.py\b", path.read_text())
    }
    assert len(named) > 500
    assert not [(at, name) for at, name in named if name not in endings | MADE_BY_READERS]


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_packages_say_what_each_of_their_modules_is_for(package):
    words = set(re.findall(r"\w+", (package / "__init__.py").read_text()))
    assert {path.stem for path in package.glob("*.py")} - {"__init__"} <= words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]*(?:#[^)\s]*)?)\)", outside_code(page.read_text())):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), (page.name, target)
        if anchor:
            assert anchor in anchors(linked.read_text()), (page.name, target)


def test_readme_and_model_cards_are_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 200
    words = {card.name: len(card.read_text().split()) for card in CARDS}
    assert max(words.values()) < 900, words


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of docutils, in catkin_pkg
def test_the_changelog_is_one_that_ros_reads():
    changelog = pytest.importorskip("catkin_pkg.changelog")
    found = changelog.get_changelog_from_path(str(ROOT), "realtalk_ros")
    versions = {version: date for version, date, _ in found.foreach_version()}
    assert __version__ in versions
    assert all(versions.values()), "a version without its date"


def outside_code(page: str) -> str:
    page = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", page)


def anchors(page: str) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE):
        text = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 1
        while (anchor := text if number == 1 else f"{text}-{number - 1}") in found:
            number += 1
        found.add(anchor)
    return found
