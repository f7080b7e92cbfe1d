"""What is known of a run's tasks already: what its authors published, a baseline, an earlier run of the model."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError
from harness.core.files import FOLDER_NAME
from harness.core.records import Run
from harness.core.resources import resource_dir
from harness.core.run_files import MANIFEST, benchmark_in, benchmark_of, read_manifest, read_run
from harness.read.leaderboard import Comparison, Row, compare, leaderboard_row

KnownKind = Literal["published", "baseline", "earlier"]


@dataclass(frozen=True, kw_only=True)
class Known:
    """Another run, and the run compared with it. `same_settings`, `same_weights`: whether they are the run's own."""

    kind: KnownKind
    comparison: Comparison
    same_settings: bool
    same_weights: bool

    @property
    def row(self) -> Row:
        """The row of the other run."""
        return self.comparison.other

    @property
    def comparable(self) -> bool:
        """Whether a task of both was made of the same data."""
        return any(task.points is not None or task.verdict == "=" for task in self.comparison.tasks.values())


def known_scores(run: Run, benchmark: Benchmark, *, tasks: Sequence[str], baselines: Path) -> tuple[Known, ...]:
    """The published run of the model, its baseline below `baselines` and its latest run before this one, as far as they scored one of the
    tasks.

    Of several baselines the one of these very settings, else the latest. Baselines and runs of another benchmark, or that can't be read,
    are left out, and so are published scores of another scorer: a task has another definition there.
    """
    row = leaderboard_row(run, None, benchmark)
    published = published_run(run.header.model, benchmark)
    found: list[tuple[KnownKind, Run | None]] = [
        ("published", published if published and benchmark_of([published.path]).scorer == benchmark.scorer else None),
        ("baseline", _first(_siblings(baselines / run.header.model, run, benchmark), run, tasks)),
        ("earlier", _first(_siblings(run.path.parent, run, benchmark, before=_last_scored(run, tasks)), None, tasks)),
    ]
    return tuple(
        _beside(kind, other, run, row, benchmark) for kind, other in found if other and any(task in other.records for task in tasks)
    )


def published_run(model: str, benchmark: Benchmark) -> Run | None:
    """What the model's authors published, where `results/published/` has it."""
    folder = resource_dir("results/published") / model
    return read_run(folder, benchmark) if FOLDER_NAME.fullmatch(model) and (folder / MANIFEST).is_file() else None


def _last_scored(run: Run, tasks: Sequence[str]) -> float:
    """When the last of the tasks was scored; now, where none was."""
    files = [run.path / f"{task}.json" for task in tasks]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=math.inf)


def _siblings(folder: Path, run: Run, benchmark: Benchmark, *, before: float = math.inf) -> Iterator[Run]:
    """The other runs of the folder, of the same benchmark, that were begun before that time, the latest first."""
    begun = {path: path.stat().st_mtime for path in folder.glob(f"*/{MANIFEST}") if path.parent.resolve() != run.path.resolve()}
    for path in sorted((path for path in begun if begun[path] <= before), key=begun.__getitem__, reverse=True):
        with contextlib.suppress(InputError):
            if benchmark_in(read_manifest(path.parent)) == benchmark_in(run.manifest):
                yield read_run(path.parent, benchmark)


def _first(others: Iterator[Run], same: Run | None, tasks: Sequence[str]) -> Run | None:
    """The first that scored one of the tasks; one with the settings of `same` before all others."""
    useful = [other for other in others if any(task in other.records for task in tasks)]
    return next((other for other in useful if same and other.manifest.run == same.manifest.run), next(iter(useful), None))


def _beside(kind: KnownKind, other: Run, run: Run, row: Row, benchmark: Benchmark) -> Known:
    def same(name: str) -> bool:
        mine = getattr(run.manifest, name)
        return mine is not None and mine == getattr(other.manifest, name)

    comparison = compare(row, leaderboard_row(other, None, benchmark))
    return Known(kind=kind, comparison=comparison, same_settings=same("run"), same_weights=same("weights"))
