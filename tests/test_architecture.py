"""Data flows one way and imports follow it; nothing of one machine is in the repository."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "harness"

ORDER = [
    ["harness.errors", "harness.resources"],
    ["harness.files", "harness.benchmark", "harness.schema", "harness.spec"],
    ["harness.listing", "harness.lengths", "harness.examples"],
    ["harness.data"],
    ["harness.encoding"],
    ["harness.scoring"],
    ["harness.records"],
    ["harness.environment", "harness.config", "harness.progress"],
    ["harness.canary", "harness.evaluation", "harness.reuse"],
    ["harness.runner"],
    ["harness.sweep"],
    ["harness.card"],
    ["harness.imports"],
    ["harness.leaderboard", "harness.tables", "harness.noise", "harness.differences"],
    ["harness.calibrate", "harness.plan"],
    ["harness.rendering"],
    ["harness.claims", "harness.drift", "harness.explain"],
    ["harness.index", "harness.export", "harness.report"],
    ["harness.console", "harness.locking", "harness.selfcheck"],
    ["harness.doctor"],
    ["harness.reproduce"],
    ["harness.cli"],
    ["harness.__main__"],
]
"""Rooms from left to right; a room imports from rooms to its left, and within a package freely."""

READ_SIDE = [
    *("harness.card", "harness.imports", "harness.leaderboard", "harness.tables", "harness.noise", "harness.differences"),
    *("harness.rendering", "harness.claims", "harness.drift", "harness.explain", "harness.index", "harness.export", "harness.report"),
]
READ_SIDE_SEES = {
    *("harness.errors", "harness.resources", "harness.files", "harness.benchmark", "harness.records", "harness.examples"),
    *READ_SIDE,
}


def room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def modules() -> dict[str, Path]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} if node.module == "harness" else {node.module}
    return {name for name in found if name is not None and name.startswith("harness.")}


def test_every_room_has_its_place() -> None:
    known = {name for level in ORDER for name in level}
    assert {room(name) for name in modules()} - {"harness"} == known


def test_imports_point_left() -> None:
    place = {name: position for position, level in enumerate(ORDER) for name in level}
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        for other in imported(path)
        if room(other) != room(name) and room(other) in place and place[room(other)] >= place.get(room(name), -1) and name != "harness"
    ]
    assert wrong == []


def test_the_read_side_reads_only_records() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in modules().items()
        if room(name) in READ_SIDE
        for other in imported(path)
        if room(other) not in READ_SIDE_SEES
    ]
    assert wrong == []


@pytest.mark.parametrize("module", ["harness.leaderboard", "harness.cli", "harness.benchmark"])
def test_a_table_needs_neither_torch_nor_mteb(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'mteb', 'C_MTEB', 'transformers', 'datasets'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
