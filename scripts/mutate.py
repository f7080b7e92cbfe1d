"""Change one expression of a module at a time and see whether its tests notice: `make mutation ARGS="read/leaderboard.py"`.

Runs mutmut (installed apart from `.venv`) on a copy of the last commit below `build/`; without arguments on all modules
that decide verdicts. Prints a row per module and every mutant that survived, as a difference, but for those that change only a message.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "mutation"

TESTS: dict[str, tuple[str, ...]] = {
    "core/folds.py": ("test_examples", "test_noise"),
    "core/calibration.py": ("test_noise", "test_drift", "test_typed", "test_calibrate", "test_baselines"),
    "evaluate/calibrate/floors.py": ("test_noise",),
    "read/claims/averages.py": ("test_claims", "test_cards_of_others"),
    "read/claims/grading.py": ("test_claims", "test_cards_of_others"),
    "read/differences.py": ("test_differences", "test_environment", "test_drift_outputs", "test_explain"),
    "read/drift/check.py": (
        "test_drift",
        "test_drift_outputs",
        "test_baselines",
        "test_vectors",
        "test_state",
        "test_imports",
        "test_canary",
    ),
    "read/drift/sides.py": ("test_likeness", "test_drift", "test_drift_outputs", "test_imports"),
    "read/explain/effects.py": ("test_explain", "test_noise"),
    "read/leaderboard.py": ("test_leaderboard", "test_imports", "test_index"),
    "read/runs.py": ("test_leaderboard", "test_imports"),
}
"""The modules that decide verdicts, and the test files that are to notice a change of them."""

SLOW = " or ".join(
    (
        *("test_drift_sample", "whole", "sample_run", "subprocess", "damaged_folders", "forward_pass", "is_the_protocol", "measured_scale"),
        *("TestRecords", "TestStore", "TestCode", "states_the_digests"),
    )
)
"""Tests that run the harness whole, by words in their names: a mutant would take minutes."""


def copy_of_the_commit(module: str) -> Path:
    """A fresh copy of the last commit, with mutmut's settings for one module."""
    folder = BUILD / module.replace("/", "-").removesuffix(".py")
    shutil.rmtree(folder, ignore_errors=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    tests = ", ".join(f'"tests/{name}.py"' for name in TESTS[module])
    others = ", ".join(f'"{path.name}"' for path in folder.iterdir() if path.name not in ("harness", "tests", "pyproject.toml"))
    settings = (
        f'\n[tool.mutmut]\nsource_paths = ["harness"]\nonly_mutate = ["harness/{module}"]\nalso_copy = ["tests", {others}]\n'
        f'pytest_add_cli_args_test_selection = [{tests}]\npytest_add_cli_args = ["-x", "-k", "not ({SLOW})"]\n'
        "mutate_only_covered_lines = true\nuse_git_change_detection = false\n"
    )
    path = folder / "pyproject.toml"
    path.write_text(path.read_text(encoding="utf-8") + settings, encoding="utf-8")
    tomllib.loads(path.read_text(encoding="utf-8"))
    return folder


def mutmut(folder: Path, *arguments: str) -> str:
    """What mutmut prints."""
    path = os.pathsep.join(filter(None, (os.environ.get("MUTMUT", ""), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    if done.returncode and arguments[0] != "run":
        raise SystemExit(f"mutmut {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def only_a_message(difference: str) -> bool:
    """Whether a mutant changed nothing but what stands in a string of prose."""
    lines = [line for line in difference.splitlines() if not line.startswith(("---", "+++"))]
    sides = [[line[1:] for line in lines if line.startswith(sign)] for sign in "-+"]
    changed = [
        (before[a:b], after[c:d])
        for before, after in zip(*sides, strict=False)
        for tag, a, b, c, d in difflib.SequenceMatcher(a=before, b=after, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    quoted = all(re.search(r"""f?["'][^"']* [^"']*["']""", line) for side in sides for line in side)
    return bool(changed) and quoted and all(re.fullmatch(r"X*|[A-Za-z ]*", part) for pair in changed for part in pair)


def main() -> None:
    """Run the modules that are named, or all; leave with 1 where under 90 % of a module's mutants were noticed."""
    modules = sys.argv[1:] or list(TESTS)
    if unknown := [module for module in modules if module not in TESTS]:
        raise SystemExit(f"no tests are listed in scripts/mutate.py for {', '.join(unknown)}; listed are {', '.join(TESTS)}")
    weak = []
    for module in modules:
        folder = copy_of_the_commit(module)
        output = mutmut(folder, "run", "--max-children", os.environ.get("MUTMUT_PROCESSES", "2"))
        states = dict(re.findall(r"^\s+(\S+): (.+)$", mutmut(folder, "results", "--all", "true"), flags=re.MULTILINE))
        if not states:
            raise SystemExit(f"mutmut made nothing of {module}:\n{output[-3000:]}")
        counts = Counter(states.values())
        differences = {name: mutmut(folder, "show", name) for name, state in states.items() if state == "survived"}
        messages = [name for name, difference in differences.items() if only_a_message(difference)]
        counted = sum(counts[state] for state in ("killed", "survived", "timeout", "suspicious", "segfault")) - len(messages)
        killed = counted - counts["survived"] + len(messages)
        print(f"| `{module}` | {counted} | {killed} ({killed / max(1, counted):.0%}) | {len(messages)} | {dict(counts)} |", flush=True)
        for name, difference in differences.items():
            if name not in messages:
                print(difference, flush=True)
        if killed < 0.9 * counted:
            weak.append(module)
    if weak:
        raise SystemExit(f"under 90 % of the mutants were noticed: {', '.join(weak)}")


if __name__ == "__main__":
    main()
