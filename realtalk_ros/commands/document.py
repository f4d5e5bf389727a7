# SPDX-License-Identifier: Apache-2.0
"""`realtalk document`: writes the tables of topics and parameters into README.md and docs/*.md.

The tables say what the nodes declare (node_interfaces.py).

A page marks a region, which this command fills:

    <!-- generated: topics -->
    <!-- end generated -->

Regions: `topics` (the interface of a face, one row a topic), `parameters NODE...` (of these nodes,
in one table), `node NODE` (the endpoints and parameters of one node) and `temperament` (that
section of an avatar.yaml).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from realtalk_ros.avatar.temperament import Temperament
from realtalk_ros.commands.node_interfaces import (
    CALLS,
    MEANINGS,
    PUBLISHES,
    SUBSCRIBES,
    NodeInterface,
    ParameterRow,
    describe_nodes,
)
from realtalk_ros.errors import RealTalkError

# Tables


def topics_table(interfaces: dict[str, NodeInterface]) -> list[str]:
    """What a face offers to others: one row a topic, service or action, as the first of NODES
    that has it sees it."""
    rows: dict[tuple[str, str], list[str]] = {}
    owners: dict[tuple[str, str], int] = {}
    for node in interfaces.values():
        for e in node.endpoints:
            if e.direction != CALLS and not e.name.startswith("/tf"):
                kind = "topic" if e.direction in (PUBLISHES, SUBSCRIBES) else e.direction
                row = [f"`{e.name}`", e.direction, node.name, e.type, e.qos, e.meaning]
                rows.setdefault((e.name, kind), row)
                owners[e.name, kind] = owners.get((e.name, kind), 0) + 1
    for key, row in rows.items():
        row[2] = "all" if owners[key] == len(interfaces) else row[2]
    order = [name[1] if isinstance(name, tuple) else name for name in MEANINGS]
    named = sorted(rows, key=lambda key: order.index(key[0]))
    return _table(["name", "", "node", "type", "QoS", "meaning"], [rows[key] for key in named])


def parameters_table(interfaces: dict[str, NodeInterface], names: Sequence[str]) -> list[str]:
    """Parameters of several nodes; those that are the same in each are one row."""
    rows: dict[ParameterRow, list[str]] = {}
    for name in names:
        for parameter in interfaces[name].parameters:
            rows.setdefault(parameter, []).append(name.removesuffix("_node"))
    return _parameter_rows(rows, with_node=len(names) > 1)


def node_tables(node: NodeInterface) -> list[str]:
    """All of one node."""
    endpoints = [
        [f"`{e.name}`", e.direction, e.type, e.qos, e.meaning]
        for e in node.endpoints if e.name != "/diagnostics"
    ]  # fmt: skip
    parameters = _parameter_rows({p: [] for p in node.parameters}, with_node=False)
    return [*_table(["name", "", "type", "QoS", "meaning"], endpoints), "", *parameters]


def temperament_table() -> list[str]:
    """The numbers of the section `temperament` of an avatar.yaml."""
    rows = []
    for one in fields(Temperament):
        low, high = one.metadata["range"]
        limits = f"{low:g} to {high:g}"
        rows.append([f"`{one.name}`", f"{one.default:g}", limits, one.metadata["meaning"]])
    return _table(["key", "default", "range", "meaning"], rows)


def _parameter_rows(rows: dict[ParameterRow, list[str]], with_node: bool) -> list[str]:
    heads = ["parameter", *["node"] * with_node, "default", "range", "set it", "meaning"]
    return _table(heads, [
        [f"`{p.name}`", *[", ".join(owners)] * with_node, p.default, p.range, p.change, p.meaning]
        for p, owners in rows.items()
    ])  # fmt: skip


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


# Pages

REGION = re.compile(r"(<!-- generated: ([^>]*?) -->\n)(.*?)(<!-- end generated -->)", re.DOTALL)


def filled(page: str, interfaces: dict[str, NodeInterface]) -> str:
    """A page with the tables that its regions ask for. Raises RealTalkError for a region that is
    not known, or not closed."""
    if page.count("<!-- generated:") != len(REGION.findall(page)):
        raise RealTalkError("a region is not closed: write <!-- end generated --> after it")

    def table(match: re.Match[str]) -> str:
        what, *names = match[2].split()
        if unknown := set(names) - set(interfaces):
            raise RealTalkError(f"region {match[2]!r}: no node is called {', '.join(unknown)}")
        if what == "topics" and not names:
            lines = topics_table(interfaces)
        elif what == "parameters" and names:
            lines = parameters_table(interfaces, names)
        elif what == "node" and len(names) == 1:
            lines = node_tables(interfaces[names[0]])
        elif what == "temperament" and not names:
            lines = temperament_table()
        else:
            raise RealTalkError(
                f"region {match[2]!r}: use topics, parameters NODE..., node NODE or temperament"
            )
        return f"{match[1]}\n" + "\n".join(lines) + f"\n\n{match[4]}"

    return REGION.sub(table, page)


def pages(root: Path) -> list[Path]:
    """README.md and docs/*.md of the sources at `root`. Raises RealTalkError if it holds none."""
    if not (root / "README.md").is_file() or not (root / "docs").is_dir():
        raise RealTalkError(f"{root.absolute()} does not hold the sources: give --root")
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def outdated(root: Path, interfaces: dict[str, NodeInterface]) -> dict[Path, str]:
    """{page: what it should be} of the pages whose tables are not what the nodes say."""
    found = {}
    for page in pages(root):
        text = page.read_text(encoding="utf-8")
        if (wanted := filled(text, interfaces)) != text:
            found[page] = wanted
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, default=Path(), metavar="DIR",
                        help="of the sources (default: where this is called)")  # fmt: skip
    parser.add_argument("--check", action="store_true",
                        help="write nothing; exit code 1 if a page is out of date")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """`realtalk document`. Raises RealTalkError as the functions above do."""
    pages(args.root)
    found = outdated(args.root, describe_nodes())
    for page, text in found.items():
        print(f"{page} is out of date" if args.check else f"wrote {page}")
        if not args.check:
            page.write_text(text, encoding="utf-8")
    return 1 if found and args.check else 0
