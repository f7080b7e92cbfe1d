"""The gate for checkpoints: a task that lost more than a limit, or more than chance explains, by numbers planted by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import BENCHMARK, HEADER
from test_explain import PAIRS, QUERIES, queries, some_pairs, write_run

from harness.commands import main
from harness.core.errors import InputError
from harness.core.examples import Examples
from harness.read.drift.checkpoint import LossReport, judge_checkpoint


@pytest.fixture(scope="module")
def values() -> np.ndarray[Any, np.dtype[np.float64]]:
    return 0.3 + 0.4 * np.random.default_rng(1).random(200)


def folders(tmp_path: Path, before: dict[str, Examples], after: dict[str, Examples]) -> tuple[Path, Path]:
    """Two checkpoints of one training: other weights, one setting."""
    return write_run(tmp_path / "one", before), write_run(tmp_path / "two", after, header=replace(HEADER, model="checkpoint-2"))


def judge(tmp_path: Path, before: Examples, after: Examples, limit: float | None, *, significant: bool = False) -> LossReport:
    return judge_checkpoint(
        *folders(tmp_path, {QUERIES.name: before}, {QUERIES.name: after}), BENCHMARK, limit=limit, significant=significant
    )


@pytest.mark.parametrize(
    ("loss", "limit", "significant", "verdict", "code"),
    [
        (0.005, 0.3, False, "worse", 3),
        (0.005, 0.6, False, "not worse", 0),
        (0.005, None, True, "worse", 3),  # every query lost the same: no chance in that
        (0.005, 0.6, True, "not worse", 0),
        (-0.005, 0.0, False, "better", 0),
        (0.0, 0.0, True, "not worse", 0),
    ],
)
def test_a_planted_loss(
    tmp_path: Path, values: np.ndarray[Any, Any], loss: float, limit: float | None, significant: bool, verdict: str, code: int
) -> None:
    jitter = np.random.default_rng(2).normal(0, 1e-4, 200) if loss else 0.0
    report = judge(tmp_path, queries(values), queries(values - loss + jitter), limit, significant=significant)
    assert ([loss.verdict for loss in report.tasks], report.exit_code) == ([verdict], code)


def test_a_loss_that_chance_explains_is_no_significant_one(tmp_path: Path, values: np.ndarray[Any, Any]) -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, 200)
    noise -= noise.mean() + 0.005  # half a point lost, with a standard error of 0.7
    assert judge(tmp_path / "a", queries(values), queries(values + noise), 0.3).exit_code == 3
    assert judge(tmp_path / "b", queries(values), queries(values + noise), 0.3, significant=True).exit_code == 0


def test_a_missing_task_closes_the_gate_and_other_examples_can_not_be_compared(tmp_path: Path, values: np.ndarray[Any, Any]) -> None:
    one, _ = some_pairs(np.random.default_rng(4), 40)
    both = folders(tmp_path / "a", {QUERIES.name: queries(values), PAIRS.name: one}, {QUERIES.name: queries(values)})
    report = judge_checkpoint(*both, BENCHMARK, limit=1.0, significant=False)
    assert (report.missing, report.exit_code) == ((PAIRS.name,), 3)
    assert judge_checkpoint(*both, BENCHMARK, limit=1.0, significant=False, tasks=[QUERIES.name]).exit_code == 0
    report = judge(tmp_path / "b", queries(values), queries(values[:-1]), 1.0)
    assert (list(report.left_out), report.exit_code) == ([QUERIES.name], 2)


def test_without_examples_significance_can_not_be_judged(tmp_path: Path, values: np.ndarray[Any, Any]) -> None:
    one, two = folders(tmp_path, {QUERIES.name: queries(values)}, {QUERIES.name: queries(values - 0.01)})
    for path in (two / "per_example").iterdir():
        path.unlink()
    report = judge_checkpoint(one, two, BENCHMARK, limit=None, significant=True)
    assert ([loss.verdict for loss in report.tasks], report.exit_code) == (["no interval"], 2)
    assert judge_checkpoint(one, two, BENCHMARK, limit=0.5, significant=False).exit_code == 3


def test_a_record_of_another_run_is_refused(tmp_path: Path, values: np.ndarray[Any, Any]) -> None:
    one, two = folders(tmp_path, {QUERIES.name: queries(values)}, {QUERIES.name: queries(values)})
    path = two / f"{QUERIES.name}.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(raw | {"harness": {"schema": 1, "run": "9" * 64}}), encoding="utf-8")
    with pytest.raises(InputError, match=r"CovidRetrieval\.json was made by the run 99999999"):
        judge_checkpoint(one, two, BENCHMARK, limit=0.3, significant=False)


def test_the_command(tmp_path: Path, values: np.ndarray[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    one, two = folders(tmp_path, {QUERIES.name: queries(values)}, {QUERIES.name: queries(values - 0.01)})
    assert main(["check", str(one), str(two), "--worse-than", "0.3"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == f"WORSE: 1 of 1 task: {QUERIES.name}"
    assert main(["check", str(two), str(one), "--worse-than", "0.3", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["difference"] == pytest.approx(1.0)
    assert main(["check", str(one), str(two), "--significant", "--main-only"]) == 2
    assert "--main-only can't be combined with --worse-than" in capsys.readouterr().err
    assert main(["check", str(one), str(two), "--worse-than", "-1"]) == 2
