"""The checksums of a folder of data that `fetch` did not make: written when its data is first used, and compared at every later use.

A flipped bit in a text is no other mistake that a reader could see: the file still parses, and its rows still count the same.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import MachineError
from harness.core.files import write_json
from harness.core.typed import read_typed

CHECKSUMS = "checksums.json"

_SCHEMA = 1


@dataclass(frozen=True)
class _Checksums:
    """SHA-256 by the file's path as seen from the folder that holds the task's folder."""

    files: Mapping[str, str]


def read_checksums(folder: Path) -> Mapping[str, str]:
    """The SHA-256 of the files of a task's folder (by their paths from the folder above) when they were first used; empty before that.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / CHECKSUMS
    return read_typed(path, _Checksums, what="list of checksums", remedy="delete it", schema=_SCHEMA).files if path.exists() else {}


def write_checksums(folder: Path, found: Mapping[str, str]) -> None:
    """Keep the checksums beside those that are known. A folder that may not be written keeps none."""
    known = read_checksums(folder)
    if found.items() <= known.items() or not folder.stat().st_mode & stat.S_IWUSR:
        return
    with contextlib.suppress(MachineError):
        write_json(folder / CHECKSUMS, {"schema": _SCHEMA, "files": {**known, **found}})
