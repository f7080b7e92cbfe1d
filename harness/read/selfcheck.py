"""Compares the sample's scores with the committed ones: does the harness compute what it did when it was released?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError
from harness.core.files import write_json
from harness.core.records import Run, TaskRecord
from harness.core.resources import resource_dir
from harness.core.tasks import TaskSpec
from harness.core.typed import leaves, read_typed

MAIN_TOLERANCE = 1e-6
"""Main scores count ranks and hits, and the sample's texts leave margins: no rounding of a kernel moves them."""

OTHER_TOLERANCE: dict[str, float] = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 2e-2}
"""Other metrics (Pearson correlations, thresholds) follow the vectors themselves, and so the rounding of the dtype.

A threshold is the similarity of a single pair, so its tolerance is relative to its size: a Manhattan distance of 25 moves 25 times as far
as one of 1. Measured across devices: bf16 on an H100 against a CPU moves thresholds by up to 1.5e-3 of their size."""


@dataclass(frozen=True)
class Deviation:
    """A metric that is not what it should be; `found` is None where the task has no record."""

    task: str
    metric: str
    expected: float
    found: float | None

    def __str__(self) -> str:
        found = "no score" if self.found is None else f"{self.found:.6f} ({self.found - self.expected:+.6f})"
        return f"{self.task} {self.metric}: expected {self.expected:.6f}, found {found}"


def setting_name(run: Run) -> str:
    """The setting that expected scores are kept under: `float16_len512_dim1792`."""
    header = run.header
    return f"{header.dtype}_len{header.max_len}_dim{header.dim}"


def deviations(run: Run, benchmark: Benchmark) -> list[Deviation]:
    """What in a run of the embedded sample differs from the committed scores; empty when the chain is sound.

    Raises:
        InputError: no scores are committed for the run's setting, or their file is damaged.
    """
    expected = _read_expected()
    setting = setting_name(run)
    if setting not in expected:
        raise InputError(f"no expected scores for {setting}; there are some for {', '.join(sorted(expected))}")
    found = {name: _flat(record) for name, record in run.records.items()}
    return [
        Deviation(task.name, metric, value, found.get(task.name, {}).get(metric))
        for task in benchmark.tasks
        for metric, value in expected[setting].get(task.name, {}).items()
        if not _agrees(value, found.get(task.name, {}).get(metric), _tolerance(run, task, metric, value))
    ]


def write_expected(runs: Sequence[Run]) -> Path:
    """Commit the scores of these runs as the expected ones; the file that was written."""
    path = expected_file()
    write_json(path, {setting_name(run): {name: _flat(record) for name, record in run.records.items()} for run in runs})
    return path


def expected_file() -> Path:
    """Where the committed scores are."""
    return resource_dir("results/expected") / "sample.json"


def _read_expected() -> dict[str, dict[str, dict[str, float]]]:
    """Setting -> task -> metric -> score."""
    return read_typed(
        expected_file(), dict[str, dict[str, dict[str, float]]], what="file of expected scores", remedy="restore it from version control"
    )


def _flat(record: TaskRecord) -> dict[str, float]:
    return {name: float(value) for name, value in leaves(record.metrics)}


def _tolerance(run: Run, task: TaskSpec, metric: str, expected: float) -> float:
    if metric in (task.main, f"{task.language}.{task.main}"):
        return MAIN_TOLERANCE
    return OTHER_TOLERANCE[run.header.dtype] * (max(1.0, abs(expected)) if metric.endswith("_threshold") else 1.0)


def _agrees(expected: float, found: float | None, tolerance: float) -> bool:
    return found is not None and abs(found - expected) <= tolerance
