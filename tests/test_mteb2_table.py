"""`table --benchmark cmn_v1` of public result folders against mteb 2.26.24's own summary table."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
from mteb2 import mteb2  # noqa: F401 a fixture

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.tasks import TYPES
from harness.read.leaderboard import leaderboard_row
from harness.read.results import read_results

BENCHMARK = load_benchmark("cmn_v1")
MODELS = ("BAAI/bge-m3", "BAAI/bge-large-zh-v1.5", "Qwen/Qwen3-Embedding-0.6B", "intfloat/multilingual-e5-large", "thenlper/gte-large-zh")

SUMMARY = """
import json, sys
import mteb
loaded = mteb.ResultCache(sys.argv[1]).load_results(tasks=mteb.get_benchmark("MTEB(cmn, v1)"), include_remote=False)
frame = loaded.get_benchmark_result()
print(json.dumps(json.loads(frame.to_json(orient="records")) if hasattr(frame, "to_json") else frame.to_dicts()))
"""


def write_results(folder: Path) -> list[Path]:
    """Five models in mteb 2's form: whole, without a split, without a task."""
    draw = random.Random(31)
    written = []
    for number, model in enumerate(MODELS):
        place = folder / "results" / model.replace("/", "__") / (f"{number}" * 40)
        place.mkdir(parents=True)
        written.append(place)
        (place / "model_meta.json").write_text(json.dumps({"name": model, "revision": f"{number}" * 40}))
        for task in BENCHMARK.tasks:
            splits = [split for split in task.mteb2_splits if not (number == 1 and split == "test" and len(task.mteb2_splits) > 1)]
            if number == 2 and task.name == "Ocnli":
                continue
            scores = {
                split: [{"hf_subset": "default", "languages": ["cmn-Hans"], "main_score": draw.random(), "max_ap": draw.random()}]
                for split in splits
            }
            result = {"dataset_revision": "r" * 40, "task_name": task.mteb2_name, "mteb_version": "2.1.17", "scores": scores}
            result |= {"evaluation_time": 1.0, "kg_co2_emissions": None}
            (place / f"{task.mteb2_name}.json").write_text(json.dumps(result))
    return written


@pytest.mark.slow
def test_every_average_is_mtebs_own(mteb2: tuple[Path, float], tmp_path: Path) -> None:  # noqa: F811
    runs = [read_results(place, BENCHMARK) for place in write_results(tmp_path)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "MTEB_CACHE": str(tmp_path / "cache")}
    command = [str(mteb2[0]), "-W", "ignore", "-c", SUMMARY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    assert {row["Model"] for row in theirs} == set(MODELS)
    own = {row.header.model: row for row in (leaderboard_row(run, None, BENCHMARK, among=runs) for run in runs)}
    titles = {"Average": "Mean (Task)", "Types": "Mean (TaskType)"} | {kind: kind for kind in TYPES}
    empty = []
    for row in theirs:
        for cell in own[row["Model"]].cells:
            value = row[titles[cell.key]]
            empty += [(row["Model"], cell.key)] if value is None else []
            assert cell.value == (None if value is None else pytest.approx(100 * value, abs=1e-7)), (row["Model"], cell.key)
    assert {key for _, key in empty} == {"Average", "Types", "Classification", "PairClassification"}


def test_the_table_of_the_benchmark_has_mtebs_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every task of a type has the type's score: 10, 20, ... 60; MultilingualSentiment 0 and 20."""
    scores = {kind: number / 10 for number, kind in enumerate(TYPES, start=1)}
    for task in BENCHMARK.tasks:
        values = {"validation": 0.0, "test": 0.2} if len(task.mteb2_splits) > 1 else {task.split: scores[task.type]}
        entries = {split: [{"hf_subset": "default", "languages": ["cmn-Hans"], "main_score": value}] for split, value in values.items()}
        result = {"task_name": task.mteb2_name, "mteb_version": "2.26.24", "dataset_revision": None, "scores": entries}
        path = tmp_path / "org__m" / "rev" / f"{task.mteb2_name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result))
    assert main(["table", str(tmp_path), "--benchmark", "cmn_v1", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    found = row["scores"]
    counts = {kind: sum(task.type == kind for task in BENCHMARK.tasks) for kind in TYPES}
    mean = sum(100 * scores[kind] * count for kind, count in counts.items()) / 31
    assert found["Average (31)"] == round(mean, 2)
    assert found["Mean of types (6)"] == 35.0
    assert found["STS (7)"] == 60.0
