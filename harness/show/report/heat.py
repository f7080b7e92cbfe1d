"""Every task of every run beside a reference: by how much, and whether that is more than noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.calibration import Calibration
from harness.read.leaderboard import TaskScore, rounded
from harness.show.report.model import Entry, HeatCell, HeatMap, HeatRow

STEPS = (0.1, 0.5, 2.0, 5.0)
"""Points at which the colour of a cell gets stronger: absolute, so that two reports can be laid side by side."""
_RANGES = [*(f"{low:g}…{high:g}" for low, high in zip((0.01, *STEPS), STEPS, strict=False))]
LABELS = (f"≤ −{STEPS[-1]:g}", *(f"−{each}" for each in reversed(_RANGES)), "0", *(f"+{each}" for each in _RANGES), f"≥ +{STEPS[-1]:g}")
"""What the eleven colours stand for, from far below the reference to far above it."""


def heat_map(
    entries: Sequence[Entry], reference: Entry, *, calibration: Calibration | None = None, source: Path | None = None
) -> HeatMap | None:
    """The differences of all entries that have tasks to the reference; None where there is nothing to compare it with.

    `calibration`: the noise bands, read from `source`.
    """
    columns = tuple(entry for entry in entries if entry.row.tasks)
    if len(columns) < 2 or not reference.row.tasks:
        return None
    rows = []
    for task in reference.row.tasks:
        tolerance = calibration.tolerance(task.task, task.metric) if calibration else None
        cells = tuple(_cell(entry, reference, task.task, tolerance) for entry in columns)
        rows.append(HeatRow(task=task.task, type=task.type, metric=task.metric, tolerance=tolerance, cells=cells))
    return HeatMap(reference=reference, entries=columns, rows=tuple(rows), calibration=source)


def step(points: float) -> int:
    """How strong the colour of a difference is: 0 for none, else 1 to 5 with the sign of the difference."""
    size = 1 + sum(abs(points) >= edge for edge in STEPS) if points else 0
    return size if points > 0 else -size


def _cell(entry: Entry, reference: Entry, task: str, tolerance: float | None) -> HeatCell:
    ours, theirs = entry.score(task), reference.score(task)
    assert ours is not None  # all rows are of one convention
    assert theirs is not None
    if entry is reference:
        return HeatCell(verdict="reference", points=None, score=ours)
    if ours.score is None or theirs.score is None:
        return HeatCell(verdict="hole", points=None, score=ours)
    if not _same_data(entry, reference, ours, theirs):
        return HeatCell(verdict="not comparable", points=None, score=ours)
    points = rounded(rounded(ours.score) - rounded(theirs.score))
    if not points:
        return HeatCell(verdict="equal", points=0.0, score=ours)
    if tolerance is not None and abs(ours.score - theirs.score) <= tolerance:
        return HeatCell(verdict="within noise", points=points, score=ours)
    return HeatCell(verdict="higher" if points > 0 else "lower", points=points, score=ours)


def _same_data(one: Entry, other: Entry, ours: TaskScore, theirs: TaskScore) -> bool:
    """Whether both scores are of the benchmark's data, or of the very same files that are not."""
    verdicts = {ours.identity, theirs.identity}
    if "not C-MTEB" not in verdicts:
        return True
    files = _files(one, ours.task)
    return len(verdicts) == 1 and bool(files) and files == _files(other, theirs.task)


def _files(entry: Entry, task: str) -> Mapping[str, str]:
    """The hashes of the files that a task was read from; empty where the record does not tell."""
    data = entry.run.records[task].made.data if entry.run else None
    return data.sha256 if data else {}
