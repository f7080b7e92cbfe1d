"""Every task of every run beside a reference: by how much, and whether that is more than noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.calibration import Calibration
from harness.read.leaderboard import TaskScore, difference
from harness.show.report.entries import Entry

HeatVerdict = Literal["reference", "equal", "within noise", "higher", "lower", "hole", "not comparable"]

STEPS = (0.1, 0.5, 2.0, 5.0)
"""Points at which the colour of a cell gets stronger: absolute, so that two reports can be laid side by side."""
_RANGES = [*(f"{low:g}…{high:g}" for low, high in zip((0.01, *STEPS), STEPS, strict=False))]
LABELS = (f"≤ −{STEPS[-1]:g}", *(f"−{each}" for each in reversed(_RANGES)), "0", *(f"+{each}" for each in _RANGES), f"≥ +{STEPS[-1]:g}")
"""What the eleven colours stand for, from far below the reference to far above it."""


@dataclass(frozen=True)
class HeatCell:
    """A task of a run beside the reference. `points`: the run's printed score minus the reference's, None unless both can be compared.

    `score`: the run's own cell.
    """

    verdict: HeatVerdict
    points: float | None
    score: TaskScore


@dataclass(frozen=True, kw_only=True)
class HeatRow:
    """A task over all runs, in the order of `HeatMap.entries`. `tolerance`: the noise band in points, None where none is known."""

    task: str
    type: str
    tolerance: float | None
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True)
class Noise:
    """The noise bands of a run, and the file that has them."""

    path: Path
    calibration: Calibration


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Differences of every run with tasks to the reference. `noise`: by `Entry.number`, of the runs whose bands are known."""

    reference: Entry
    entries: tuple[Entry, ...]
    rows: tuple[HeatRow, ...]
    noise: Mapping[int, Noise]

    @property
    def calibration(self) -> Path | None:
        """The file of the reference's noise bands."""
        known = self.noise.get(self.reference.number)
        return known.path if known else None

    @property
    def bare(self) -> tuple[Entry, ...]:
        """The rows without a single score that can be compared with the reference's."""
        columns = zip(self.entries, zip(*(row.cells for row in self.rows), strict=True), strict=True)
        return tuple(each for each, cells in columns if each is not self.reference and all(cell.points is None for cell in cells))

    def band(self, entry: Entry, task: TaskScore) -> float | None:
        """The noise band of a task in points where the entry is the reference; None where none is known."""
        known = self.noise.get(entry.number)
        return known.calibration.tolerance(task.task, task.metric) if known else None


def heat_map(entries: Sequence[Entry], reference: Entry, *, noise: Mapping[int, Noise]) -> HeatMap | None:
    """The differences of all entries that have tasks to the reference; None where there is nothing to compare it with.

    `noise`: the noise bands that are known, by `Entry.number`.
    """
    columns = tuple(entry for entry in entries if entry.row.tasks)
    if len(columns) < 2 or not reference.row.tasks:
        return None
    own, rows = noise.get(reference.number), []
    for number, task in enumerate(reference.row.tasks):
        if all(entry.row.tasks[number].state == "missing" for entry in columns):
            continue
        tolerance = own.calibration.tolerance(task.task, task.metric) if own else None
        cells = tuple(_cell(entry, reference, task.task, tolerance) for entry in columns)
        rows.append(HeatRow(task=task.task, type=task.type, tolerance=tolerance, cells=cells))
    return HeatMap(reference=reference, entries=columns, rows=tuple(rows), noise=noise) if rows else None


def comparable(entry: Entry, reference: Entry) -> bool:
    """Whether a score of another entry can be compared with the reference's."""
    return entry is not reference and any(_cell(entry, reference, task.task, None).points is not None for task in reference.row.tasks)


def step(points: float) -> int:
    """How strong the colour of a difference is: 0 for none, else 1 to 5 with the sign of the difference."""
    size = 1 + sum(abs(points) >= edge for edge in STEPS) if points else 0
    return size if points > 0 else -size


def _cell(entry: Entry, reference: Entry, task: str, tolerance: float | None) -> HeatCell:
    ours, theirs = entry.score(task), reference.score(task)
    assert ours is not None  # all rows are of one convention
    assert theirs is not None
    if entry is reference:
        return HeatCell("reference", None, ours)
    found = difference(ours, theirs)
    if found.points is None or ours.score is None or theirs.score is None:
        return HeatCell("hole" if found.verdict == "hole" else "not comparable", None, ours)
    if not found.points:
        return HeatCell("equal", 0.0, ours)
    if tolerance is not None and abs(ours.score - theirs.score) <= tolerance:
        return HeatCell("within noise", found.points, ours)
    return HeatCell("higher" if found.points > 0 else "lower", found.points, ours)
