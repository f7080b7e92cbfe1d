"""The five wings, and which way imports go between them; docs/architecture.md draws what is tested here."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "harness"

SEES: dict[str, set[str]] = {
    "core": set(),
    "data": {"core"},
    "evaluate": {"core", "data"},
    "read": {"core"},
    "show": {"core", "data", "evaluate", "read"},
    "commands": {"core", "data", "evaluate", "read", "show"},
}
"""The wings, and from which other wings each imports. `evaluate` writes typed files (of `core`), `read` reads them.
`show` sees results of all wings as values, and nothing but `commands` sees `show`."""

FACE = {"harness", "harness.__main__", "harness.api"}
"""What stands beside the wings: the package's own face, which may import any of them."""


def wing(module: str) -> str:
    return module.split(".")[1]


@cache
def modules() -> dict[str, Path]:
    names = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


@cache
def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, wherever in the file it does; `from wing import module` names the module."""
    known, found = modules(), set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
    return {name for name in found if name.startswith("harness.")}


def test_every_module_is_in_a_wing() -> None:
    assert {wing(name) for name in modules() if name not in FACE} == set(SEES)


def test_imports_between_wings_go_one_way() -> None:
    wrong = [
        f"{name} imports {other}, but {wing(name)} may import only from {', '.join(sorted(SEES[wing(name)])) or 'itself'}"
        for name, path in modules().items()
        if name not in FACE
        for other in sorted(imported(path))
        if wing(other) != wing(name) and wing(other) not in SEES[wing(name)]
    ]
    assert wrong == []


def test_modules_do_not_import_each_other_in_circles() -> None:
    edges = {name: imported(path) & modules().keys() for name, path in modules().items() if name not in FACE}
    while leaves := [name for name, targets in edges.items() if not targets & edges.keys()]:
        for name in leaves:
            del edges[name]
    assert edges == {}


@pytest.mark.parametrize(
    "module", ["harness", "harness.read.leaderboard", "harness.commands", "harness.core.benchmarks", "harness.show.summaries"]
)
def test_a_table_needs_neither_torch_nor_mteb(module: str) -> None:
    code = f"import sys, {module}; print(sorted({{'torch', 'mteb', 'C_MTEB', 'transformers', 'datasets'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_of_the_command_line_needs_no_heavy_package() -> None:
    heavy = "{'torch', 'mteb', 'C_MTEB', 'transformers', 'datasets', 'hydra', 'omegaconf', 'pandas', 'numpy', 'yaml'}"
    code = (
        "import sys; from harness.commands import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit: print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "reproduce" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("override", "answer"), [("dtyp=fp16", "did you mean dtype"), ("tasks=[STBS]", "did you mean STS")])
def test_a_typo_is_answered_before_torch_is_imported(override: str, answer: str) -> None:
    code = f"import sys; from harness.commands import main; print(main(['run', '{override}']), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert answer in done.stderr


def test_no_private_module_of_hydra_is_used() -> None:
    assert not [path for path in sorted(PACKAGE.rglob("*.py")) if "hydra._internal" in path.read_text(encoding="utf-8")]
