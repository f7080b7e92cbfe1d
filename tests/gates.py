"""Runs with a manifest that states their setting, and calibrations of them: for tests of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runs import BENCHMARK, BY_HAND, HEADER, manifest_of, metrics_of, write_task

from harness.core.baselines import write_baseline
from harness.core.calibration import Calibration, MetricNoise, Rounding, points
from harness.core.records import RowHeader, Run
from harness.core.run_files import read_run, write_manifest
from harness.read.drift.baselines import Promotion, plan_promotion
from harness.read.drift.check import DriftReport, check_runs

ROUNDING = Rounding(tolerance=0.25, draws=20, moved=20, mean=0.0, sd=0.05, largest=0.1, wide=1.0)
MANIFEST: dict[str, Any] = {
    "run": "a" * 64,
    "seed": 42,
    "benchmark": {"name": "cmteb35", "digest": BENCHMARK.digest},
    "spec": {
        "benchmark": "cmteb35",
        "scoring": {"dtype": "float32"},
        "model": {"name": "acge"},
        "dtype": "fp16",
        "max_len": 512,
        "dim": None,
    },
    "model": {
        "weights_digest": "b" * 64,
        "digest": "c" * 64,
        "kernel": "A100 | torch 2.13.0",
        "tokenizer_sha256": "1" * 64,
        "max_len": 512,
        "ladder": "exact",
        "batch_tokens": 8192,
    },
    "device": {"name": "NVIDIA TESLA A100"},
    "versions": {"mteb": "1.1.1", "scikit-learn": "1.8.0", "torch": "2.13.0"},
    "source": {"commit": "d" * 40, "dirty": False},
}
SHA = {"test.jsonl": "e" * 64}


def gate_run(
    folder: Path,
    moved: Mapping[str, float] | None = None,
    *,
    header: RowHeader = HEADER,
    manifest: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    without: tuple[str, ...] = (),
    others: Mapping[str, Mapping[str, float]] | None = None,
) -> Run:
    """A run with the scores of `BY_HAND`, `moved` by points; `manifest`: values at dotted keys; `others`: further metrics of a task."""
    content = deepcopy(MANIFEST)
    for path, value in (manifest or {}).items():
        *parents, last = path.split(".")
        inner = content
        for key in parents:
            inner = inner[key]
        inner[last] = value
    write_manifest(folder, manifest_of(header, content))
    for name, score in BY_HAND.items():
        task = BENCHMARK.task(name)
        metrics = metrics_of(task, score + (moved or {}).get(name, 0.0) / 100)
        inner = metrics[task.language] if task.language else metrics
        inner |= dict((others or {}).get(name, {}))
        made = {"run": content["run"], "data": {"verdict": "verified", "sha256": SHA, **(data or {}).get(name, {})}}
        if name not in without:
            write_task(folder, task, metrics, made, dataset_revision=(data or {}).get("revision", {}).get(name, task.revision))
    return read_run(folder, BENCHMARK)


def calibration_of(run: Run, tolerance: float = 0.25, only: tuple[str, ...] = ()) -> Calibration:
    """Every metric of the run (of the tasks in `only`) may move by so many points."""
    tasks = {
        name: {
            metric: MetricNoise(score=score, rounding=replace(ROUNDING, tolerance=tolerance))
            for metric, score in points(record, BENCHMARK).items()
        }
        for name, record in run.records.items()
        if not only or name in only
    }
    return Calibration(run="a" * 64, benchmark=BENCHMARK.digest, weights="b" * 64, tasks=tasks, provenance={})


def check(baseline: Run, candidate: Run, tolerance: float | None = 0.25, **options: Any) -> DriftReport:
    calibration = None if tolerance is None else calibration_of(baseline, tolerance)
    return check_runs(baseline, candidate, BENCHMARK, calibration=calibration, **options)


def verdict(report: DriftReport, task: str) -> str:
    return next(each.verdict for each in report.tasks if each.task == task)


def accept(run: Run, to: Path, **options: Any) -> tuple[Promotion, Path]:
    """Promote a run as `baseline accept` does; the folder of the baseline, too."""
    given = {"why": "first", "who": "someone", "when": datetime(2026, 3, 1, 12, 0, tzinfo=UTC), "uncalibrated": True, **options}
    promotion = plan_promotion(run, BENCHMARK, to=to, **given)
    write_baseline(run.path, to, tasks=promotion.tasks, entry=promotion.entry)
    return promotion, to / promotion.entry.baseline
