"""Runs that were promoted to baselines: `<folder>/<model>/<name>/`, and a log of who did it and why.

A baseline is replaced whole: the other one is written beside it and takes its name by renaming, so that whatever kills the writer, a folder
under a baseline's name holds all of one run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.calibration import CALIBRATION, Calibration, points, read_calibration
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.files import FOLDER_NAME, abandoned_folders, atomic_write, scratch_folder
from harness.core.records import Run
from harness.core.run_files import CANARY, MANIFEST, benchmark_of, find_runs, read_run
from harness.core.tasks import TaskSpec
from harness.core.typed import convert, parse
from harness.core.words import few, shell_command
from harness.read.drift.check import DriftReport, check_runs

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


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What a promotion did. `changes`: the replaced baseline beside the one that took its name; `dropped`: tasks that only it had."""

    folder: Path
    entry: LogEntry
    changes: DriftReport | None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A baseline that is there. `entries`: its promotions, the latest last; `problem`: why no run can be compared with it, else empty."""

    path: Path
    run: Run | None
    calibrated: bool
    entries: tuple[LogEntry, ...]
    problem: str = ""


def accept_baseline(
    run: Run,
    benchmark: Benchmark,
    *,
    to: Path,
    why: str,
    who: str | None,
    when: datetime,
    name: str | None = None,
    tasks: Sequence[str] = (),
    uncalibrated: bool = False,
) -> Accepted:
    """Copy the run's records, manifest, `spec.yaml` and calibration to `<to>/<model>/<name>/`, and log it.

    `name`: that of the run's folder by default. `tasks`: what the baseline is to cover, by default the whole benchmark.
    `uncalibrated`: whether a run without a calibration is taken.

    Raises:
        RequestError: `why` is empty, the name or the model's is no folder's, the run is not one of this harness or is that very
            baseline, what has the baseline's name is none, or its calibration is another run's.
        InputError: a task is missing, failed or damaged, or the calibration is damaged.
        MachineError: the folder can't be written; whatever was there still is.
    """
    name = name or run.path.resolve().name
    if not why.strip():
        raise RequestError('a baseline needs its reason: --why "torch 2.14, reviewed: all within noise"')
    model = str(run.header.model)
    for what, given in ((f"the model {model!r} of {run.path / MANIFEST}", model), (f"--name {name!r}", name)):
        if not FOLDER_NAME.fullmatch(given):
            raise RequestError(f"{what}: it names a folder, so only letters, digits and . _ + - are possible")
    covered = _complete(run, benchmark.select(tasks))
    bare = _without_floor(run, benchmark, covered)
    if bare and not uncalibrated:
        which = f"no {CALIBRATION}" if len(bare) == len(covered) else f"a {CALIBRATION} without the rounding of {few(bare)}"
        raise RequestError(
            f"{run.path} has {which}, so only identical scores would pass: run {shell_command('calibrate', run.path)} first. "
            "--uncalibrated accepts it as it is"
        )
    read_log(to / LOG)  # a damaged one is not added to
    target = to / model / name
    if target.resolve() == run.path.resolve():
        raise RequestError(f"{run.path} is that baseline already: name a run outside of {to}")
    _check_replaceable(target, to)
    before = read_run(target, benchmark) if (target / MANIFEST).is_file() else None
    changes = None
    if before is not None and before.records:
        common = [task.name for task in benchmark.tasks if task.name in before.records]
        changes = check_runs(
            before,
            run,
            benchmark,
            calibration=_own_calibration(before, benchmark),
            calibration_file=before.path / CALIBRATION,
            tasks=common,
            allow_unlike=True,
        )
    entry = LogEntry(
        date=when.isoformat(timespec="seconds"),
        who=who,
        baseline=f"{model}/{name}",
        why=why.strip(),
        run=run.manifest.run or "",
        tasks=len(covered),
        calibrated=not bare,
        scores=scores_digest(run, benchmark, covered),
        replaces=scores_digest(before, benchmark, benchmark.tasks) if before else None,
    )
    _promote(run.path, target, covered, entry=entry, log=to / LOG)
    names = {task.name for task in covered}
    dropped = tuple(task.name for task in benchmark.tasks if before and task.name in before.records and task.name not in names)
    return Accepted(folder=target, entry=entry, changes=changes, dropped=dropped)


def _without_floor(run: Run, benchmark: Benchmark, tasks: Sequence[TaskSpec]) -> list[str]:
    """The tasks whose main metric the run's calibration gives no tolerance; raises where the calibration is damaged or another run's."""
    file = run.path / CALIBRATION
    if not file.is_file():
        return [task.name for task in tasks]
    calibration = read_calibration(file, benchmark)
    calibration.check_belongs(run, benchmark)
    return [task.name for task in tasks if calibration.tolerance(task.name, task.flat_main) is None]


def list_baselines(folder: Path, named: str | None = None) -> list[Listed]:
    """The baselines below a folder, sorted by name.

    Raises:
        RequestError: there is no such folder.
        InputError: the log is damaged.
    """
    if not folder.is_dir():
        raise RequestError(f"no baselines at {folder}: make one with python -m harness baseline accept RUN --why TEXT, or name --to DIR")
    entries = read_log(folder / LOG)
    found = []
    for path in find_runs(folder):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # left by a promotion that was killed
        mine = tuple(entry for entry in entries if entry.baseline == path.relative_to(folder).as_posix())
        try:
            run = read_run(path, benchmark_of([path], named))
            problem = "; ".join(run.broken.values()) or ("" if run.records else "it has no record")
        except (InputError, RequestError) as error:
            run, problem = None, str(error)
        found.append(Listed(path=path, run=run, calibrated=(path / CALIBRATION).is_file(), entries=mine, problem=problem))
    return found


def read_log(path: Path) -> list[LogEntry]:
    """The promotions, the oldest first; none where there is no log.

    Raises:
        InputError: a line is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [convert(parse(line), LogEntry) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it from version control") from error


def scores_digest(run: Run, benchmark: Benchmark, tasks: Sequence[TaskSpec]) -> str:
    """SHA-256 over all metrics of the tasks that the run has, hexadecimal."""
    scores = {task.name: points(run.records[task.name], benchmark) for task in tasks if task.name in run.records}
    return hashlib.sha256(json.dumps(scores, sort_keys=True).encode()).hexdigest()


def _complete(run: Run, tasks: Sequence[TaskSpec]) -> tuple[TaskSpec, ...]:
    if run.manifest.run is None or not run.ours:
        raise RequestError(f"{run.path} was not made by this harness, so its settings are not known: name a run folder")
    names = [task.name for task in tasks]
    wrong = [f"{task} failed: {message}" for task, message in run.failed.items() if task in names]
    wrong += [f"{task} is damaged: {message}" for task, message in run.broken.items() if task in names]
    missing = [task for task in names if task not in {**run.records, **run.failed, **run.broken}]
    if missing:
        wrong.append(f"no record of {', '.join(missing)}")
    if wrong:
        raise InputError(
            f"{run.path} is not a complete run, and a baseline must be complete:\n  " + "\n  ".join(wrong) + "\n"
            "Run these tasks, or say which ones the baseline is to cover: --tasks TASK,TASK"
        )
    return tuple(tasks)


def _check_replaceable(target: Path, to: Path) -> None:
    """Nothing that no promotion wrote may be deleted, and nothing written where a link leads to."""
    if not target.parent.resolve().is_relative_to(to.resolve()):
        raise RequestError(f"{target.parent} is a link to {target.parent.resolve()}, outside of {to}: name another folder with --to DIR")
    for left in abandoned_folders(target.parent, f".{target.name}."):
        _undo(left, target)
    if not target.exists() and not target.is_symlink():
        return
    others = [path.name for path in target.iterdir() if path.suffix not in (".json", ".yaml")] if target.is_dir() else []
    if target.is_symlink() or not (target / MANIFEST).is_file() or others:
        found = f"it holds {few(sorted(others))}" if others else f"a folder with a {MANIFEST} was expected"
        raise RequestError(f"{target} is there and is no baseline ({found}): move it away, or give another --name")


def _own_calibration(run: Run, benchmark: Benchmark) -> Calibration | None:
    """The run's calibration where it has one that is its own; the changes can be shown without."""
    with contextlib.suppress(InputError, RequestError):
        calibration = read_calibration(run.path / CALIBRATION, benchmark)
        calibration.check_belongs(run, benchmark)
        return calibration
    return None


def _promote(source: Path, target: Path, tasks: Sequence[TaskSpec], *, entry: LogEntry, log: Path) -> None:
    """Copy a run beside the target, log it and swap the two by renaming; whatever fails on the way is undone.

    A kill between the two renames leaves both folders whole and hidden, and none under the target's name: the next promotion undoes that.
    """
    names = [MANIFEST, CALIBRATION, CANARY, *(f"{task.name}.json" for task in tasks), *(path.name for path in source.glob("*.yaml"))]
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
        raise _not_writable(target, error) from error


_NEW, _EARLIER = "new", "earlier"


def _undo(scratch: Path, target: Path) -> None:
    """Give the earlier baseline its name back, where a promotion ended before the new one had it."""
    if (scratch / _EARLIER).exists() and not target.exists():
        (scratch / _EARLIER).rename(target)


def _not_writable(target: Path, error: OSError) -> MachineError:
    return MachineError(f"can't write {target}: {error.strerror or error}. Mend its permissions, or name another folder with --to DIR")


def _append_log(path: Path, before: bytes, *entries: LogEntry) -> None:
    before += b"\n" if before and entries and not before.endswith(b"\n") else b""
    with atomic_write(path) as stream:
        stream.writelines([before, *(json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n" for entry in entries)])
