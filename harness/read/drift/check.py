"""Verdicts: every metric of every task of a baseline, beside that of a candidate."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from harness.core.benchmarks import Benchmark
from harness.core.calibration import CALIBRATION, Calibration, KernelLevel, points, run_calibration
from harness.core.errors import InputError
from harness.core.fingerprint import Fingerprint
from harness.core.formatting import all_named, shell_command
from harness.core.records import Run, TaskRecord
from harness.core.run_files import CANARY
from harness.core.sketch import read_sketch
from harness.core.tasks import TaskSpec
from harness.read.differences import SettingDifference, same_vectors
from harness.read.drift.sides import environment, read_sides, same_files, unlike_data, unlike_settings, wanted_tasks
from harness.read.drift.vectors import VectorDrift, compare_vectors, kernel_level
from harness.read.leaderboard import Cell, leaderboard_row

DriftVerdict = Literal["identical", "within noise", "drifted", "missing", "not comparable"]
VERDICTS: tuple[DriftVerdict, ...] = get_args(DriftVerdict)
FAILING: tuple[DriftVerdict, ...] = ("drifted", "missing")
"""What makes a gate close; `not comparable` makes it refuse."""


Layer = Literal["token ids", "vectors", "scoring"]
LAYERS: dict[Layer, str] = {
    "token ids": "same setting, other token ids: look for a change of the tokenizer, its files, or the code that makes the texts",
    "vectors": "same setting and token ids, other vectors: look for a change of the encoding code, the weights in memory, or the store",
    "scoring": "equal vectors, other scores: look for a change of the scoring code or of its libraries",
}
"""The layers of a score in which two runs can differ though they must not, and where to look."""


@dataclass(frozen=True, kw_only=True)
class MetricDrift:
    """One metric of a task, in points (0 to 100). `tolerance`: by how much rounding may move it, None where that was not measured.

    A side is None where it has no (finite) number. `why`: what stands behind `missing` and `not comparable`.
    """

    metric: str
    main: bool
    baseline: float | None
    candidate: float | None
    tolerance: float | None
    verdict: DriftVerdict
    why: str = ""

    @property
    def points(self) -> float | None:
        """Candidate minus baseline, unrounded; None unless both are there."""
        return None if self.baseline is None or self.candidate is None else self.candidate - self.baseline


@dataclass(frozen=True, kw_only=True)
class TaskDrift:
    """A task: its main metric, whose verdict is the task's, and the other ones that the baseline has.

    `layer`: where two runs that must be equal to the bit are not; empty where they are, or need not be.
    """

    task: str
    type: str
    main: MetricDrift
    others: tuple[MetricDrift, ...]
    layer: Layer | None = None

    @property
    def verdict(self) -> DriftVerdict:
        """That of the main metric."""
        return self.main.verdict

    @property
    def failing(self) -> tuple[MetricDrift, ...]:
        """The metrics that drifted or are missing, the main one first."""
        return tuple(cell for cell in (self.main, *self.others) if cell.verdict in FAILING)


@dataclass(frozen=True, kw_only=True)
class DriftReport:
    """A candidate beside a baseline.

    `unlike`: settings that make them different questions; without `allow_unlike` nothing is compared then. `environment`: what else
    differs. `averages`: pairs of the leaderboard's columns where all their tasks were checked. `calibration`: the file's path, if any.
    `main_only`: whether other metrics than the main ones count. `vectors`: the canaries of both, None where they were not compared.
    `notes`: what a reader must know before believing the verdicts.
    """

    baseline: Run
    candidate: Run
    tasks: tuple[TaskDrift, ...]
    averages: tuple[tuple[Cell, Cell], ...]
    unlike: tuple[SettingDifference, ...]
    environment: tuple[SettingDifference, ...]
    calibration: Path | None
    allow_unlike: bool = False
    main_only: bool = False
    vectors: VectorDrift | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def failing(self) -> tuple[TaskDrift, ...]:
        """The tasks that close the gate: by their main metric, or (unless `main_only`) by any."""
        return tuple(task for task in self.tasks if task.verdict in FAILING or (task.failing and not self.main_only))

    @property
    def kernels(self) -> KernelLevel:
        """What the two runs have in common of all that decides bits; it chooses the tolerances."""
        return kernel_level(*_models(self.baseline, self.candidate))

    @property
    def exit_code(self) -> int:
        """3 where a task or the canary's vectors close the gate, 2 where a task is not comparable, else 0."""
        if self.failing or (self.vectors and self.vectors.drifted):
            return 3
        return 2 if any(task.verdict == "not comparable" for task in self.tasks) else 0

    @property
    def counts(self) -> Counter[str]:
        """How many tasks have which verdict."""
        return Counter(task.verdict for task in self.tasks)


def check_folders(
    baseline: Path,
    candidate: Path,
    benchmark: Benchmark,
    *,
    calibration: Path | None = None,
    tasks: Sequence[str] = (),
    allow_unlike: bool = False,
    main_only: bool = False,
    merge: str | None = None,
) -> DriftReport:
    """The report on two run folders. `calibration`: a file instead of the `calibration.json` that may lie beside the baseline's records.

    Raises:
        RequestError: a path holds no run or several, both are the same folder, the calibration is another run's, or a task is unknown.
        InputError: a manifest, a record or the calibration is damaged, or the baseline is not complete.
    """
    before, after = read_sides(baseline, candidate, benchmark, merge=merge)
    found = run_calibration(before, benchmark, calibration)
    return check_runs(
        before,
        after,
        benchmark,
        calibration=found,
        calibration_file=calibration or (before.path / CALIBRATION if found else None),
        tasks=tasks,
        allow_unlike=allow_unlike,
        main_only=main_only,
    )


def check_runs(
    baseline: Run,
    candidate: Run,
    benchmark: Benchmark,
    *,
    calibration: Calibration | None,
    calibration_file: Path | None = None,
    tasks: Sequence[str] = (),
    allow_unlike: bool = False,
    main_only: bool = False,
) -> DriftReport:
    """The report on two runs: all tasks of the baseline, or those of `tasks` (names or types). `calibration`: the baseline's own.

    Raises:
        RequestError: `tasks` names what the baseline does not have.
        InputError: a record of one side is damaged, or the baseline has failed tasks or none.
    """
    if baseline.failed and not tasks:
        failed = ", ".join(baseline.failed)
        raise InputError(
            f"{baseline.path} is no baseline: {failed} failed in it. Run these tasks again, or check the others by name with --tasks"
        )
    wanted = wanted_tasks(baseline, candidate, benchmark, tasks)
    unlike = unlike_settings(baseline, candidate)
    vectors = "" if unlike else _vectors(baseline, candidate, calibration)
    found = [
        _task_drift(task, baseline, candidate, benchmark, calibration=calibration, unlike=bool(unlike), allow_unlike=allow_unlike)
        for task in wanted
    ]
    return DriftReport(
        baseline=baseline,
        candidate=candidate,
        tasks=tuple(found),
        averages=tuple(_averages(baseline, candidate, benchmark, found)),
        unlike=unlike,
        environment=environment(baseline, candidate),
        calibration=calibration_file,
        allow_unlike=allow_unlike,
        main_only=main_only,
        vectors=None if isinstance(vectors, str) else vectors,
        notes=(
            *_notes(baseline, candidate, benchmark, found, calibration=calibration, alike=not unlike),
            *([f"the canary's vectors were not compared: {vectors}"] if isinstance(vectors, str) and vectors else []),
        ),
    )


def _vectors(baseline: Run, candidate: Run, calibration: Calibration | None) -> VectorDrift | str:
    """The canaries of two runs beside each other, or why they are not compared."""
    before, after = (read_sketch(run.path, run.manifest) for run in (baseline, candidate))
    if before is None:
        return f"{baseline.path} has no {CANARY}. Make the baseline again, with canary=on"
    if after is None:
        return f"{candidate.path} has no {CANARY}. Run it with canary=on"
    return compare_vectors(before, after, _models(baseline, candidate), calibration)


def _models(baseline: Run, candidate: Run) -> tuple[Fingerprint, Fingerprint]:
    return baseline.manifest.model or Fingerprint(), candidate.manifest.model or Fingerprint()


def _task_drift(
    task: TaskSpec,
    baseline: Run,
    candidate: Run,
    benchmark: Benchmark,
    *,
    calibration: Calibration | None,
    unlike: bool,
    allow_unlike: bool,
) -> TaskDrift:
    before, after = baseline.records[task.name], candidate.records.get(task.name)
    mine = {name: value for name, value in points(before, benchmark).items() if math.isfinite(value)}
    theirs = points(after, benchmark) if after else {}
    absent = f"it failed: {candidate.failed[task.name]}" if task.name in candidate.failed else "the candidate has no record"
    other_data = unlike_data(task, before, after) if after else ""
    why = "" if allow_unlike else "the two runs are unlike" if unlike else other_data
    main = task.flat_main
    layer = _layer(before, after, same_setting=same_vectors(baseline, candidate), same_texts=not unlike) if after and not why else None
    exact = after is not None and not unlike and not other_data and _same_bits(before, after, "vectors") is True
    kernels = kernel_level(*_models(baseline, candidate))
    cells = []
    for metric in [main, *(name for name in mine if name != main)]:
        ours, other = mine[metric], theirs.get(metric)
        tolerance = 0.0 if exact else calibration.tolerance(task.name, metric, kernels=kernels) if calibration else None
        missing = ""
        if other is None:
            missing = absent if after is None else f"the candidate has no {metric}"
        elif not math.isfinite(other):
            other, missing = None, f"the candidate has {other} for {metric}"
        verdict: DriftVerdict = "not comparable" if why else "missing" if other is None else _verdict(ours, other, tolerance)
        if layer in ("token ids", "vectors") and metric == main and verdict in ("identical", "within noise"):
            verdict = "drifted"
        cells.append(
            MetricDrift(
                metric=metric,
                main=metric == main,
                baseline=ours,
                candidate=other,
                tolerance=tolerance,
                verdict=verdict,
                why=why or missing,
            )
        )
    if layer is None and exact and any(cell.points for cell in cells):
        layer = "scoring"
    return TaskDrift(task=task.name, type=task.type, main=cells[0], others=tuple(cells[1:]), layer=layer)


def _layer(before: TaskRecord, after: TaskRecord, *, same_setting: bool, same_texts: bool) -> Layer | None:
    """The first layer in which two records differ and may not.

    `same_setting`: of the encoder, so that every bit is the same. `same_texts`: the same model, length and prompts, so that data files of
    the same bytes give the same token ids, whatever the kernels are.
    """
    if None in (before.made.bits, after.made.bits):
        return None
    tokens, vectors = (_same_bits(before, after, name) for name in ("tokens", "vectors"))
    if same_texts and same_files(before, after) and tokens is False:
        return "token ids"
    if not same_setting or vectors:
        return None
    return "vectors" if tokens else "token ids"


def _same_bits(before: TaskRecord, after: TaskRecord, name: str) -> bool | None:
    """Whether both records state the same digest; None where one of them states none."""
    own, other = (getattr(record.made.bits, name, "") for record in (before, after))
    return own == other if own and other else None


def _verdict(baseline: float, candidate: float, tolerance: float | None) -> DriftVerdict:
    if candidate == baseline:
        return "identical"
    return "within noise" if tolerance is not None and abs(candidate - baseline) <= tolerance else "drifted"


def _averages(baseline: Run, candidate: Run, benchmark: Benchmark, tasks: Sequence[TaskDrift]) -> Iterator[tuple[Cell, Cell]]:
    compared = {task.task for task in tasks if task.main.points is not None and task.verdict != "not comparable"}
    rows = [leaderboard_row(run, None, benchmark).cells for run in (baseline, candidate)]
    for before, after in zip(*rows, strict=True):
        members = {task.name for task in benchmark.tasks if before.key in ("Average", task.type)}
        if members <= compared and before.value is not None and after.value is not None:
            yield before, after


def _notes(
    baseline: Run, candidate: Run, benchmark: Benchmark, tasks: Sequence[TaskDrift], *, calibration: Calibration | None, alike: bool
) -> Iterator[str]:
    bare = [task.task for task in tasks if task.main.tolerance is None]
    if calibration is None:
        yield f"no calibration: only identical scores pass. Make one with: {shell_command('calibrate', baseline.path)}"
    elif bare:
        yield f"not calibrated, so only identical scores pass: {', '.join(bare)}"
    moved = [task.task for task in tasks if any(cell.points for cell in (task.main, *task.others))]
    if moved and alike and same_vectors(baseline, candidate):
        yield (
            "weights, device, kernels and libraries are the same on both sides, so every vector is: "
            f"{all_named(moved, len(tasks))} moved, and no rounding explains that. Look for a change of the code, the data or the store"
        )
    checked = {task.task for task in tasks}
    further = [task.name for task in benchmark.tasks if task.name in candidate.records and task.name not in checked]
    if further:
        yield f"not checked, though the candidate has them: {', '.join(further)}"
