"""Runs that become baselines, and those that are: what may be promoted, and what a promotion changes."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from harness.core.baselines import LOG, LogEntry, read_log, standing_baseline
from harness.core.benchmarks import Benchmark
from harness.core.calibration import CALIBRATION, Calibration, points, run_calibration
from harness.core.errors import InputError, RequestError
from harness.core.files import FOLDER_NAME
from harness.core.formatting import few, shell_command
from harness.core.records import Run
from harness.core.run_files import MANIFEST, benchmark_of, find_runs, read_run
from harness.core.tasks import TaskSpec
from harness.read.drift.check import DriftReport, check_runs


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """A run that may become the baseline `entry.baseline`, with these tasks.

    `changes`: the baseline that it replaces beside it; `dropped`: tasks that only that one has.
    """

    entry: LogEntry
    tasks: tuple[str, ...]
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


def plan_promotion(
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
) -> Promotion:
    """What promoting the run to `<to>/<model>/<name>/` comes to; `core.baselines.write_baseline` does it.

    `name`: that of the run's folder by default. `tasks`: what the baseline is to cover, by default the whole benchmark.
    `uncalibrated`: whether a run without a calibration is taken.

    Raises:
        RequestError: `why` is empty, the name or the model's is no folder's, the run is not one of this harness or is that very
            baseline, or its calibration is another run's.
        InputError: a task is missing, failed or damaged, or the calibration is damaged.
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
    standing = standing_baseline(to, f"{model}/{name}")
    before = read_run(standing, benchmark) if standing else None
    changes = _changes(before, run, benchmark) if before is not None and before.records else None
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
    names = tuple(task.name for task in covered)
    dropped = tuple(task.name for task in benchmark.tasks if before and task.name in before.records and task.name not in names)
    return Promotion(entry=entry, tasks=names, changes=changes, dropped=dropped)


def _without_floor(run: Run, benchmark: Benchmark, tasks: Sequence[TaskSpec]) -> list[str]:
    """The tasks whose main metric the run's calibration gives no tolerance; raises where the calibration is damaged or another run's."""
    calibration = run_calibration(run, benchmark)
    return [task.name for task in tasks if calibration is None or calibration.tolerance(task.name, task.flat_main) is None]


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


def _changes(before: Run, run: Run, benchmark: Benchmark) -> DriftReport:
    """The run beside the baseline that it replaces; without tolerances where the calibration of that one is not its own."""
    calibration: Calibration | None = None
    with contextlib.suppress(InputError, RequestError):
        calibration = run_calibration(before, benchmark)
    file = before.path / CALIBRATION if calibration else None
    common = [task.name for task in benchmark.tasks if task.name in before.records]
    return check_runs(before, run, benchmark, calibration=calibration, calibration_file=file, tasks=common, allow_unlike=True)
