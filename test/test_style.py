# SPDX-License-Identifier: Apache-2.0
"""House rules that the linters don't know: sizes, calls, licence headers, width of prose."""

import ast
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "pyproject.toml").is_file():
    pytest.skip("the sources are not here", allow_module_level=True)

FUNCTION_LINES = 60
FILE_LINES = 400
POSITIONAL = 5
PROSE_COLUMNS = 120
# Calls that take no keywords: of C libraries through ctypes, struct's, and of any number of things.
WITHOUT_KEYWORDS = {"espeak_Synth", "indices", "pack", "pack_into", "print", "max", "min", "zip"}
LICENCE = "SPDX-License-Identifier: Apache-2.0"
LICENSED = (".py", ".sh", ".js", ".css", ".html")
LICENSED_NAMES = ("CMakeLists.txt", "Makefile", ".ci/run", "cmake/executable.py.in")
MADE = {"build", "install", "log", "runs", "node_modules"}  # folders of what was built or trained


def files(*suffixes: str) -> Iterator[Path]:
    """Files of the sources with these suffixes; none of hidden folders or of what was built."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f[0] != "." and f not in MADE)
        yield from (Path(folder, n) for n in sorted(names) if Path(n).suffix in suffixes)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def modules() -> list[tuple[str, str, ast.Module]]:
    """(name, source, syntax tree) of each module that is not a test."""
    sources = {name(path): path.read_text(encoding="utf-8") for path in files(".py")}
    return [
        (file, source, ast.parse(source))
        for file, source in sources.items()
        if file.partition("/")[0] != "test"
    ]


def test_functions_are_short():
    too_long = [
        f"{file}:{node.lineno} {node.name}: {lines} lines"
        for file, _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := node.end_lineno - node.lineno + 1) > FUNCTION_LINES
    ]
    assert not too_long, "\n".join(too_long)


def test_files_are_short():
    too_long = [
        f"{file}: {lines} lines"
        for file, source, _ in modules()
        if (lines := len(source.splitlines())) > FILE_LINES
    ]
    assert not too_long, "\n".join(too_long)


def test_ros_domains_are_given_out_by_one_function():
    numbered = [
        name(path)
        for path in sorted((ROOT / "test").glob("test_*.py"))
        if re.search(r"^DOMAIN\b[^=]*= *\d", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert not numbered, f"take domain_of(__file__) of ros_domains.py: {numbered}"


def test_long_calls_name_their_arguments():
    nameless = [
        f"{file}:{node.lineno} {function}: {len(node.args)} positional arguments"
        for file, _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and len(node.args) > POSITIONAL
        and (function := ast.unparse(node.func)).rpartition(".")[2] not in WITHOUT_KEYWORDS
    ]
    assert not nameless, "\n".join(nameless)


def test_sources_name_their_licence():
    sources = [*files(*LICENSED), *(ROOT / file for file in LICENSED_NAMES)]
    without = [
        name(path)
        for path in sources
        if path.is_file() and LICENCE not in path.read_text(encoding="utf-8")[:200]
    ]
    assert not without, "\n".join(without)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of each line that can be broken: no table, code block or lone link."""
    fenced = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        if fenced or line.startswith(("|", "    ")) or re.fullmatch(r"\s*\S+", line):
            continue
        yield number, line


def test_prose_is_not_wide():
    wide = [
        f"{name(path)}:{number}: {len(line)} characters"
        for path in files(".md", ".rst")
        for number, line in prose(path)
        if len(line) > PROSE_COLUMNS
    ]
    assert not wide, "\n".join(wide)
