"""From the files of a task to its checked data: hash, read, parse, compare with the known figures. The same for every source.

The checksums of a folder of data that `fetch` did not make are written when its data is first used, and compared at every later use: a
flipped bit in a text is no other mistake that a reader could see. The file still parses, and its rows still count the same.
"""

from __future__ import annotations

import contextlib
import logging
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from harness.core.errors import InputError, MachineError
from harness.core.files import sha256_file, write_json
from harness.core.records import DataVerdict, Provenance
from harness.core.tasks import TaskSpec
from harness.core.typed import read_typed
from harness.data.identity import compare_figures
from harness.data.parsing import parse_task, table_schema
from harness.data.tables import DataFile, read_table
from harness.data.types import LoadedTask, TaskData

log = logging.getLogger(__name__)

Verify = Literal["error", "label", "off"]
_State = tuple[int, int, int]

_SAMPLE = "embedded sample: made up for this package, not the benchmark's data"

CHECKSUMS = "checksums.json"

_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class TaskFiles:
    """The files of a task on this disk. `provenance`: where they came from, as far as their source tells.

    `remedy`: the command or setting that mends a damaged file of this source. `keeps_checksums`: the task's folder, where the checksums of
    these files are to be kept once the data is accepted. `again`: gets a file whose checksum is wrong anew, and gives all files.
    """

    tables: Mapping[str, tuple[DataFile, ...]]
    provenance: Provenance
    remedy: str
    keeps_checksums: Path | None = None
    again: Callable[[Path], TaskFiles] | None = None


def assemble_task(task: TaskSpec, files: TaskFiles, *, verify: Verify) -> LoadedTask:
    """The task's data from its files, with its provenance and verdict.

    Raises:
        InputError: a file is damaged or not what it should be; or the data has something that the original passes over in silence
            (judgements of unknown passages, ids given twice) and is not the pinned data; or, under `verify="error"`, a figure differs.
    """
    try:
        files, hashes, states = _sound_files(files)
        tables = {table: read_table(parts, table_schema(task, table)) for table, parts in files.tables.items()}
        if changed := [path for path, state in states.items() if _state(path) != state]:
            raise InputError(f"{changed[0]} changed while it was read, so its checksum may be of other rows: run again")
        parsed = parse_task(task, tables)
    except InputError as error:
        raise InputError(f"{task.name}: {error}. {files.remedy}") from error
    provenance = replace(
        files.provenance,
        pinned_revision=task.revision,
        sha256=hashes,
        notes=(*files.provenance.notes, *(f"as in the pinned data: {doubt}" for doubt in parsed.doubts)),
    )
    loaded = label_task(task, parsed.data, provenance, verify=verify)
    pinned = {task.revision, task.substitute.revision if task.substitute else task.revision}
    if parsed.doubts and loaded.provenance.verdict != "verified" and provenance.revision not in pinned:
        doubts = "; ".join(parsed.doubts)
        raise InputError(f"{task.name}: {doubts}. The original packages report nothing here, and score something else. {files.remedy}")
    if root := files.keeps_checksums:
        parts = [file for each in files.tables.values() for file in each]
        _write_checksums(root, {file.path.relative_to(root.parent).as_posix(): hashes[file.part.name] for file in parts})
    return loaded


def label_task(task: TaskSpec, data: TaskData, provenance: Provenance, *, verify: Verify) -> LoadedTask:
    """The data with the verdict of a comparison with the known figures, and what differs, in its provenance.

    Raises:
        InputError: under `verify="error"`, a figure differs.
    """
    verdict, mismatches = _judge(task, data, provenance.source, verify)
    return LoadedTask(data, replace(provenance, verdict=verdict, mismatches=mismatches))


class _WrongChecksumError(InputError):
    """`path`: the file whose bytes are not those that its source stated."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


def _sound_files(files: TaskFiles) -> tuple[TaskFiles, dict[str, str], dict[Path, _State]]:
    """The files, their SHA-256 and their states; a damaged one is fetched again, once, where the source can do that."""
    try:
        return files, *_hash_files(files)
    except _WrongChecksumError as damage:
        if files.again is None:
            raise
        log.warning("%s: fetched again", damage)
        fetched = files.again(damage.path)
        return fetched, *_hash_files(fetched)


def _state(path: Path) -> _State:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _hash_files(files: TaskFiles) -> tuple[dict[str, str], dict[Path, _State]]:
    hashes: dict[str, str] = {}
    states: dict[Path, _State] = {}
    seen: dict[Path, str] = {}
    for file in (file for parts in files.tables.values() for file in parts):
        if file.path not in seen:
            try:
                states[file.path] = _state(file.path)
                seen[file.path] = sha256_file(file.path)
            except OSError as error:
                raise InputError(f"{file.origin}: can't be read ({error.strerror or error})") from error
        if file.sha256 is not None and seen[file.path] != file.sha256:
            raise _WrongChecksumError(f"{file.origin}: damaged: its sha256 is {seen[file.path]}, expected {file.sha256}", file.path)
        hashes[file.part.name] = seen[file.path]
    return hashes, states


def _judge(task: TaskSpec, data: TaskData, source: str, verify: Verify) -> tuple[DataVerdict, tuple[str, ...]]:
    if source == "sample":
        return "not C-MTEB", (_SAMPLE,)
    if verify == "off" or not task.statistics:
        return "unverified", ()
    mismatches = compare_figures(task, data)
    if not mismatches:
        return "verified", ()
    if verify == "error":
        raise InputError(_mismatch_message(task, mismatches))
    return "not C-MTEB", mismatches


def _mismatch_message(task: TaskSpec, mismatches: tuple[str, ...]) -> str:
    lines = [f"{task.name}: this is not the data of C-MTEB, {len(mismatches)} known figures differ:", *(f"  {line}" for line in mismatches)]
    if task.statistics_of:
        pinned = f"{task.hub}@{task.revision[:8]}"
        lines.append(f"The known figures were counted on {task.statistics_of}, a copy of {pinned}: a small difference may be theirs.")
    lines.append(
        "Give the pinned data (data=hub, or a folder made by `python -m harness fetch data.root=DIR` with data=local), or run on this data "
        "with data.verify=label, which records it as not C-MTEB, or with data.verify=off, which records it as unverified."
    )
    return "\n".join(lines)


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


def _write_checksums(folder: Path, found: Mapping[str, str]) -> None:
    """Keep the checksums beside those that are known. A folder that may not be written keeps none."""
    known = read_checksums(folder)
    if found.items() <= known.items() or not folder.stat().st_mode & stat.S_IWUSR:
        return
    with contextlib.suppress(MachineError):
        write_json(folder / CHECKSUMS, {"schema": _SCHEMA, "files": {**known, **found}})
