"""`export eval-results`, and what `export mteb` writes of a task with several splits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries
from runs import BENCHMARK, HEADER, PUBLISHED, manifest_of, write_task

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.run_files import write_manifest
from harness.read.results import read_results

CMN = load_benchmark("cmn_v1")
SENTIMENT = {"accuracy": 0.75, "f1": 0.6, "validation": {"accuracy": 0.7, "f1": 0.5}, "test": {"accuracy": 0.8, "f1": 0.7}}


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A run of three tasks of `cmn_v1`."""
    write_manifest(tmp_path / "run", manifest_of(HEADER, {"benchmark": {"name": "cmn_v1", "digest": CMN.digest}}))
    metrics = {
        "MultilingualSentiment": SENTIMENT,
        "CMedQAv1": {"map_at_1000": 0.61, "mrr_at_10": 0.7, "ndcg_at_10": 0.65},
        "Ocnli": {"cos_sim": {"ap": 0.8}, "max": {"accuracy": 0.7, "ap": 0.81}},
    }
    for name, found in metrics.items():
        write_task(tmp_path / "run", CMN.task(name), found, dataset_revision="a" * 40)
    return tmp_path / "run"


def test_entries_are_those_of_mteb_2_and_huggingface_hub_reads_them(live: Path, tmp_path: Path) -> None:
    assert main(["export", "eval-results", str(live), "-o", str(tmp_path)]) == 0
    paths = sorted((tmp_path / ".eval_results").iterdir())
    assert [path.stem for path in paths] == ["CMedQAv1-reranking", "MultilingualSentiment", "Ocnli"]
    entries = {
        entry.task_id: entry for path in paths for entry in parse_eval_result_entries(yaml.safe_load(path.read_text(encoding="utf-8")))
    }
    assert {name: entry.value for name, entry in entries.items()} == {
        "CMedQAv1-reranking_default_test": 61.0,
        "CMedQAv1-reranking": 61.0,
        "MultilingualSentiment_default_validation": 70.0,
        "MultilingualSentiment_default_test": 80.0,
        "MultilingualSentiment": 75.0,
        "Ocnli_default_validation": 70.0,
        "Ocnli": 70.0,
    }
    one = entries["Ocnli"]
    assert (one.dataset_id, one.dataset_revision) == ("C-MTEB/OCNLI", "a" * 40)
    assert one.notes is not None
    assert {"dtype float16", "max_len 512", "benchmark cmn_v1"} <= set(one.notes.split(", "))


def test_what_mteb_2_scores_otherwise_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "eval-results", str(PUBLISHED), "-o", str(tmp_path)]) == 0
    assert "left out, without mteb 2's main metric" in capsys.readouterr().out
    names = {path.stem for path in (tmp_path / ".eval_results").iterdir()}
    assert names == {task.mteb2_name for task in BENCHMARK.tasks if task.type != "Reranking"}
    ids = {entry["dataset"]["task_id"] for entry in yaml.safe_load((tmp_path / ".eval_results" / "MultilingualSentiment.yaml").read_text())}
    assert ids == {"MultilingualSentiment_default_validation"}  # no mean: mteb 2 has two splits


def test_scores_on_other_data_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_manifest(tmp_path / "run", manifest_of(HEADER))
    data = {"verdict": "not C-MTEB", "source": "sample", "substituted": False}
    write_task(tmp_path / "run", BENCHMARK.task("STSB"), {"cos_sim": {"spearman": 0.5}}, {"data": data})
    assert main(["export", "eval-results", str(tmp_path / "run"), "-o", str(tmp_path), "--other-data"]) == 2
    assert "STSB: scores on other data" in capsys.readouterr().err
    assert not (tmp_path / ".eval_results").exists()


def test_export_mteb_writes_all_splits_and_they_are_read_back(live: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mteb", str(live), "-o", str(tmp_path / "out"), "--name", "org/m"]) == 0
    assert "not all splits" not in capsys.readouterr().out
    (path,) = (tmp_path / "out").rglob("MultilingualSentiment.json")
    scores = json.loads(path.read_text())["scores"]
    assert {split: (entry["main_score"], entry["f1"]) for split, (entry,) in scores.items()} == {
        "validation": (0.7, 0.5),
        "test": (0.8, 0.7),
    }
    again = read_results(path.parent, CMN)
    assert again.records["MultilingualSentiment"].metric(CMN.task("MultilingualSentiment"), "accuracy") == 0.75
    assert again.records["CMedQAv1"].metrics["map_at_1000"] == 0.61
    (path,) = (tmp_path / "out").rglob("CMedQAv1-reranking.json")
    result = json.loads(path.read_text())
    assert result["scores"]["test"][0]["main_score"] == 0.61
    assert "main_score" not in result["harness"]


def test_an_export_without_a_split_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mteb", str(PUBLISHED), "-o", str(tmp_path), "--name", "org/m"]) == 0
    assert "not all splits: MultilingualSentiment" in capsys.readouterr().out
