"""The committed baseline of the embedded sample, and real runs checked against it: other kernels pass, faults do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from records import run_here

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.calibration import CALIBRATION, points, read_calibration
from harness.core.run_files import read_run
from harness.evaluate.calibrate.floors import RESOLUTION
from harness.evaluate.score import adapter
from harness.read.drift.baselines import LOG, list_baselines, read_log, scores_digest
from harness.read.drift.check import DriftReport, check_folders

BENCHMARK = load_benchmark()
BASELINES = Path(__file__).resolve().parent.parent / "results" / "baselines"
SAMPLE = next((BASELINES / "sample").iterdir())
TASKS = ["Ocnli", "STS22", "CMedQAv1", "CovidRetrieval"]

Check = Callable[..., DriftReport]


@pytest.fixture
def checked(tmp_path: Path) -> Check:
    """A function: overrides -> the report on a run of some tasks of the sample."""

    def run(*overrides: str, **options: Any) -> DriftReport:
        fixed = ["model=sample", "data=sample", "gpu=cpu", "canary=off", "store=null", f"results_dir={tmp_path}"]
        return check_folders(SAMPLE, run_here([*fixed, f"tasks=[{','.join(TASKS)}]", *overrides]).folder, BENCHMARK, tasks=TASKS, **options)

    return run


def test_the_committed_baseline_is_whole_and_calibrated() -> None:
    [listed] = [each for each in list_baselines(BASELINES) if each.path == SAMPLE]
    assert (listed.problem, listed.calibrated, len(listed.entries)) == ("", True, len(listed.entries) or 1)
    run, calibration = read_run(SAMPLE, BENCHMARK), read_calibration(SAMPLE / CALIBRATION, BENCHMARK)
    assert len(run.records) == len(BENCHMARK.tasks)
    calibration.check_belongs(run, BENCHMARK)
    without = [
        (name, metric)
        for name, record in run.records.items()
        for metric in points(record, BENCHMARK)
        if calibration.tolerance(name, metric) is None
    ]
    assert without == []
    assert read_log(BASELINES / LOG)[-1].scores == scores_digest(run, BENCHMARK, BENCHMARK.tasks)


def test_the_committed_baseline_has_every_layer_of_the_gate(capsys: pytest.CaptureFixture[str]) -> None:
    assert [name for name, record in read_run(SAMPLE, BENCHMARK).records.items() if record.made.bits is None] == []
    assert read_calibration(SAMPLE / CALIBRATION, BENCHMARK).vectors is not None
    assert main(["probe", str(SAMPLE)]) == 0, "if the canary's texts are others: scripts/accept_sample.py baseline"
    assert "NO DRIFT" in capsys.readouterr().out


def test_the_sample_s_main_scores_have_no_tolerance_but_that_of_doubles() -> None:
    calibration = read_calibration(SAMPLE / CALIBRATION, BENCHMARK)
    assert {calibration.tolerance(task.name, task.main) for task in BENCHMARK.tasks} == {RESOLUTION}


def test_other_batch_shapes_are_no_drift(checked: Check) -> None:
    report = checked("gpu.ladder=exact", "gpu.batch_tokens=96", "canary=on")
    assert report.exit_code == 0
    assert report.vectors is not None
    assert (report.vectors.drifted, report.vectors.limit is None) == (False, False)
    assert {each.key for each in report.environment} >= {"spec.gpu.encoding.ladder", "spec.gpu.encoding.batch_tokens"}


def test_another_dtype_is_another_question(checked: Check) -> None:
    assert checked("dtype=bf16").exit_code == 2
    report = checked("dtype=bf16", "overwrite=true", allow_unlike=True)
    assert report.exit_code == 3, "and its answers differ by more than fp32 rounds"


def test_a_fault_that_leaves_cosines_alone_is_seen_by_the_other_metrics(checked: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_sum(vectors: torch.Tensor, p: int, dim: int) -> torch.Tensor:
        assert p == 2
        return vectors / vectors.abs().sum(dim=dim, keepdim=True)

    monkeypatch.setattr(adapter, "functional", SimpleNamespace(normalize=by_sum))
    report = checked()
    assert report.exit_code == 3
    failing = {cell.metric.partition("_")[0] for task in report.failing for cell in task.failing}
    assert failing >= {"euclidean", "manhattan"}
    assert all(task.verdict in ("identical", "within noise") for task in report.tasks if task.task in ("CMedQAv1", "CovidRetrieval"))
