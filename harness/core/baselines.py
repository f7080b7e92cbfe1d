"""Baselines as files: `<folder>/<model>/<name>/`, a copy of a run, and a log of who promoted it and why.

A baseline is replaced whole: the other one is written beside it and takes its name by renaming, so that whatever kills the writer, a folder
under a baseline's name holds all of one run.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.core.calibration import CALIBRATION
from harness.core.errors import InputError, MachineError, RequestError, unread
from harness.core.files import abandoned_folders, atomic_write, scratch_folder
from harness.core.formatting import few
from harness.core.run_files import CANARY, MANIFEST
from harness.core.typed import convert, parse

_NEW, _EARLIER = "new", "earlier"

LOG = "log.jsonl"
"""A line per promotion, appended to: `LogEntry` as JSON."""


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """A promotion. `baseline`: `<model>/<name>`. `who`: None where git does not know. `date`: ISO 8601, UTC.

    `run`: the digest of its settings; `scores`: of all its metrics, `replaces`: of those before it, None for the first of its name.
    """

    date: str
    who: str | None
    baseline: str
    why: str
    run: str
    tasks: int
    calibrated: bool
    scores: str
    replaces: str | None


def read_log(path: Path) -> list[LogEntry]:
    """The promotions, the oldest first; none where there is no log.

    Raises:
        InputError: a line is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [convert(parse(line), LogEntry) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(unread(path, error) or f"{path} is damaged ({error}): restore it from version control") from error


def standing_baseline(to: Path, name: str) -> Path | None:
    """Where the baseline `<model>/<name>` is: under its name, or where a killed promotion put it aside; None where there is none.

    Raises:
        RequestError: what has its name was written by no promotion, or a link leads out of `to`.
    """
    target = to / name
    if not target.parent.resolve().is_relative_to(to.resolve()):
        raise RequestError(f"{target.parent} is a link to {target.parent.resolve()}, outside of {to}: name another folder with --to DIR")
    if not target.exists() and not target.is_symlink():
        aside = (left / _EARLIER for left in abandoned_folders(target.parent, f".{target.name}."))
        return next(filter(Path.exists, aside), None)
    others = [path.name for path in target.iterdir() if path.suffix not in (".json", ".yaml")] if target.is_dir() else []
    if target.is_symlink() or not (target / MANIFEST).is_file() or others:
        found = f"it holds {few(sorted(others))}" if others else f"a folder with a {MANIFEST} was expected"
        raise RequestError(f"{target} is there and is no baseline ({found}): move it away, or give another --name")
    return target


def write_baseline(source: Path, to: Path, *, tasks: Iterable[str], entry: LogEntry) -> None:
    """Copy a run's manifest, calibration, `canary.json`, YAML files and records of the tasks to `<to>/<entry.baseline>/`, and log it.

    Whatever fails on the way is undone. A kill between the two renames leaves both folders whole and hidden, and none under the target's
    name: the next promotion undoes that.

    Raises:
        RequestError: as `standing_baseline`.
        MachineError: the folder can't be written; whatever was there still is.
    """
    target, log = to / entry.baseline, to / LOG
    for left in abandoned_folders(target.parent, f".{target.name}."):
        _undo(left, target)
    standing_baseline(to, entry.baseline)
    names = [MANIFEST, CALIBRATION, CANARY, *(f"{task}.json" for task in tasks), *(path.name for path in source.glob("*.yaml"))]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(target.parent, f".{target.name}.") as scratch:
            new = scratch / _NEW
            new.mkdir()
            for name in names:
                if (source / name).is_file():
                    shutil.copyfile(source / name, new / name)
            logged = log.read_bytes() if log.is_file() else b""
            try:
                if target.exists():
                    target.rename(scratch / _EARLIER)
                _append_log(log, logged, entry)
                new.rename(target)
            except BaseException:
                _undo(scratch, target)
                if log.is_file() and log.read_bytes() != logged:
                    _append_log(log, logged)
                raise
    except OSError as error:
        raise MachineError(
            f"can't write {target}: {error.strerror or error}. Correct its permissions, or name another folder with --to DIR"
        ) from error


def _undo(scratch: Path, target: Path) -> None:
    """Give the earlier baseline its name back, where a promotion ended before the new one had it."""
    if (scratch / _EARLIER).exists() and not target.exists():
        (scratch / _EARLIER).rename(target)


def _append_log(path: Path, before: bytes, *entries: LogEntry) -> None:
    before += b"\n" if before and entries and not before.endswith(b"\n") else b""
    with atomic_write(path) as stream:
        stream.writelines([before, *(json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n" for entry in entries)])
