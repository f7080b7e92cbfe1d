"""`make reproduce` end to end, and the self-check's verdicts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.commands.stages import reproduce
from harness.core.benchmarks import load_benchmark
from harness.core.errors import DriftError, InputError, MachineError
from harness.core.records import Manifest, RowHeader, Run, TaskRecord
from harness.read import selfcheck
from harness.read.earlier_scores import published_run

BENCHMARK = load_benchmark()


def sample_run(setting: str = "float16_len512_dim1792", **changed: float) -> Run:
    """A run whose scores are the committed ones, but for the main scores in `changed`."""
    expected = json.loads((selfcheck.expected_file()).read_text(encoding="utf-8"))[setting]
    dtype, max_len, dim = re.fullmatch(r"(\w+)_len(\d+)_dim(\d+)", setting).groups()  # type: ignore[union-attr]
    header = RowHeader(model="sample", gpu="CPU (x)", dtype=dtype, size_gb=0.0, dim=int(dim), max_len=int(max_len))
    records = {}
    for name, flat in expected.items():
        task = BENCHMARK.task(name)
        metrics: dict[str, object] = {}
        for path, value in flat.items():
            node = metrics
            *parents, leaf = path.split(".")
            for key in parents:
                node = node.setdefault(key, {})  # type: ignore[assignment]
            is_main = path in (task.main, f"{task.language}.{task.main}")
            node[leaf] = value + (changed.get(name, 0.0) if is_main else 0.0)
        records[name] = TaskRecord(task=name, split=task.split, metrics=metrics, dataset_revision=None, evaluation_time=None)
    return Run(Path("x"), Manifest(header=header), records)


def test_the_committed_scores_are_as_expected_and_of_all_tasks() -> None:
    run = sample_run()
    assert len(run.records) == 35
    assert selfcheck.deviations(run, BENCHMARK) == []


def test_a_main_score_that_moved_by_a_hundredth_of_a_point_is_reported() -> None:
    (deviation,) = selfcheck.deviations(sample_run(STSB=1e-4), BENCHMARK)
    assert deviation.startswith("STSB cos_sim.spearman: expected ")
    assert deviation.endswith("(+0.000100)")


THRESHOLDS = {("Cmnli", "manhattan"): (25.026815, 25.049778), ("Ocnli", "manhattan"): (29.585049, 29.629478)}
"""Accuracy and F1 thresholds of the sample of 0.2.0 in bf16: on a CPU, and on an NVIDIA H100 (torch 2.13)."""


@pytest.mark.parametrize(("factor", "found"), [(1.0, 0), (50.0, 4)], ids=["as on an H100", "50 times as far"])
def test_thresholds_of_another_device_pass_and_wrong_ones_do_not(factor: float, found: int) -> None:
    run = sample_run("bfloat16_len1024_dim1792")
    for (task, similarity), (cpu, h100) in THRESHOLDS.items():
        values: Any = run.records[task].metrics[similarity]
        for name in ("accuracy_threshold", "f1_threshold"):
            values[name] *= 1 + factor * (h100 / cpu - 1)
    assert len(selfcheck.deviations(run, BENCHMARK)) == found


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_what_counts_hits_is_strict_and_what_follows_vectors_has_the_tolerance_of_its_dtype(dtype: str) -> None:
    tolerances = json.loads(selfcheck.tolerances_file().read_text(encoding="utf-8"))[dtype]
    assert tolerances["Cmnli"]["manhattan.accuracy_threshold"] > selfcheck.STRICT
    assert (tolerances.get("STSB", {}).get("cos_sim.pearson", 0.0) > selfcheck.STRICT) == (dtype != "float32")
    for name, metric in (("T2Retrieval", "ndcg_at_10"), ("TNews", "f1"), ("ThuNewsClusteringP2P", "v_measure")):
        assert metric not in tolerances.get(name, {})
    run = sample_run(f"{dtype}_len1024_dim1792")
    values: Any = run.records["T2Retrieval"].metrics
    values["mrr_at_10"] += 1e-4
    assert [each.partition(":")[0] for each in selfcheck.deviations(run, BENCHMARK)] == ["T2Retrieval mrr_at_10"]


def test_a_missing_task_is_reported() -> None:
    run = sample_run()
    without = replace(run, records={name: record for name, record in run.records.items() if name != "TNews"})
    found = selfcheck.deviations(without, BENCHMARK)
    assert found
    assert all(each.startswith("TNews ") and each.endswith("found no score") for each in found)


def test_a_setting_without_expected_scores_is_refused() -> None:
    run = sample_run()
    with pytest.raises(InputError, match="float16_len512_dim1792"):
        selfcheck.deviations(replace(run, manifest=replace(run.manifest, header=replace(run.header, max_len=99))), BENCHMARK)


def test_reproduce_rebuilds_the_table_checks_the_sample_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    arguments = [f"results_dir={tmp_path / 'results'}"]
    assert reproduce(arguments) == 0
    message = capsys.readouterr().out
    assert "69.07 72.75  58.7 87.84 67.99 72.93 62.09" in message
    assert len(re.findall(r"35/35 tasks, average [\d.]+: as expected", message)) == 5
    assert "model.path=DIR data=local data.root=DIR" in message
    monkeypatch.setattr("harness.commands.stages._self_check", lambda *_, **__: 0)
    monkeypatch.setenv("REQUIRE_REAL", "1")
    with pytest.raises(MachineError, match="REQUIRE_REAL=1"):
        reproduce(arguments)


def test_a_published_folder_that_was_changed_is_drift(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = published_run("acge_text_embedding", BENCHMARK)
    assert published is not None
    record = published.records["STSB"]
    moved = replace(record, metrics={"cos_sim": {"pearson": 0.5, "spearman": 0.5}})
    changed = replace(published, records={**published.records, "STSB": moved})
    monkeypatch.setattr("harness.commands.stages.published_run", lambda *_: changed)
    monkeypatch.setattr("harness.commands.stages._self_check", lambda *_, **__: 0)
    with pytest.raises(DriftError, match="stage 1"):
        reproduce([f"results_dir={tmp_path}"])
