"""Runs on this machine: making them, and comparing what two of them have written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.here import resolve_here
from harness.evaluate.prepared import Outcome
from harness.evaluate.progress import Progress, Silent
from harness.evaluate.runner import execute


def run_here(request: Sequence[str], *, progress: Progress | None = None, encoders: EncoderPool | None = None) -> Outcome:
    """The outcome of a run of this request on the CPU."""
    return execute(*resolve_here(request, "cpu"), progress or Silent(), encoders=encoders)


def record_bytes(folder: Path) -> dict[str, bytes]:
    """The files of a run's records and examples as they are, without the number of seconds that a task took, which may differ."""
    records = {path.name: re.sub(rb'"evaluation_time": [\d.]+', b"", path.read_bytes()) for path in folder.glob("*.json")}
    examples = {path.relative_to(folder).as_posix(): path.read_bytes() for path in (folder / "per_example").rglob("*") if path.is_file()}
    return {**{name: value for name, value in records.items() if name != "manifest.json"}, **examples}


def same_records(one: Path, other: Path) -> None:
    """Both runs have records and examples, and the same bytes of each."""
    left, right = record_bytes(one), record_bytes(other)
    assert left.keys() == right.keys()
    assert any(name.endswith(".json") for name in left)
    assert [name for name in left if left[name] != right[name]] == []
