"""Comparing what two runs have written."""

from __future__ import annotations

import re
from pathlib import Path


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
