"""The scorer of mteb 2.26.24: its metrics are those of the package itself, its texts those that it asks for."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mteb2 import mteb2  # noqa: F401 a fixture
from scoring_cases import hashed_encoder, make_data

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.folds import example_values, fold
from harness.core.prompts import TaskPrompts
from harness.core.records import TaskRecord, flat_metrics
from harness.core.tasks import TaskSpec
from harness.data.types import ClassificationData, LabelledTexts, PairData, RerankingData, RerankingSample, RetrievalData
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.mteb2 import MTEB2
from harness.evaluate.score.tasks import TaskScores

BENCHMARK = load_benchmark("cmn_v1")
TESTS = Path(__file__).parent


def score(task: TaskSpec, data: Any = None, *, dtype: torch.dtype = torch.float32) -> TaskScores:
    found = data if data is not None else make_data(task)
    asked: list[str] = []

    def encode(texts: Any) -> torch.Tensor:
        asked.extend(texts)
        return hashed_encoder(dtype)(texts)

    prompts = TaskPrompts(query="问：", passage="文：", text="句：") if data is None and dtype == torch.bfloat16 else TaskPrompts()
    scores = MTEB2.score(task, found, EmbeddingModel(encode, dim=None, dtype="model", prompts=prompts))
    assert set(asked) == set(MTEB2.texts(task, found, prompts))
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_metrics_are_those_of_mteb_2(mteb2: tuple[Path, float], dtype: str) -> None:  # noqa: F811
    names = [task.name for task in BENCHMARK.tasks]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    command = [str(mteb2[0]), "-W", "ignore", str(TESTS / "oracle_mteb2.py"), "cmn_v1", dtype, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = {name: found for line in done.stdout.splitlines() if line.startswith("{") for name, found in json.loads(line).items()}
    assert list(theirs) == names
    for task in BENCHMARK.tasks:
        metrics = score(task, dtype=getattr(torch, dtype)).metrics
        parts = {split: metrics[split] for split in task.splits} if len(task.splits) > 1 else {task.split: metrics}
        for split, part in parts.items():
            ours = {name.replace("cos_sim_", "cosine_"): value for name, value in flat_metrics(part, task).items()}
            expected = {name: value for name, value in theirs[task.name][split].items() if "nauc" not in name and name != "main_score"}
            assert set(ours) == set(expected), task.name
            for name, value in expected.items():
                close = 1e-12 if name.endswith("pearson") else 0  # gold scores are mapped to 0 to 1 there
                assert ours[name] == pytest.approx(value, abs=close, rel=0), (task.name, split, name)


@pytest.mark.parametrize(
    "name", ["Waimai", "MultilingualSentiment", "CLSClusteringS2S", "Ocnli", "CMedQAv1", "T2Retrieval", "DuRetrieval", "BQ"]
)
def test_the_examples_come_to_the_main_score_and_prompts_stand_before_texts(name: str) -> None:
    task = BENCHMARK.task(name)
    scores = score(task, dtype=torch.bfloat16)
    record = TaskRecord(task=name, split=task.split, metrics=scores.metrics, dataset_revision=None, evaluation_time=1.0, mteb_version=None)
    assert fold(task, scores.examples) == pytest.approx(record.main_score(task), abs=1e-5)
    values = example_values(task, scores.examples)
    assert values is None or float(np.mean(values)) == pytest.approx(record.main_score(task), abs=1e-5)
    for metric in task.metrics:
        assert metric == "ap" or -1 <= record.metric(task, metric) <= 1


def table_model(vectors: dict[str, list[float]]) -> EmbeddingModel:
    return EmbeddingModel(lambda texts: torch.tensor([vectors[text] for text in texts]), dim=None, dtype="float32")


def test_equal_similarities_are_never_parted() -> None:
    """Three pairs of one similarity, two of them positive, and one negative below: cuts after 3 of 4; mteb 1.1.1 also cuts after 2."""
    task = BENCHMARK.task("Ocnli")
    model = table_model({"a": [1.0, 0.0], "b": [1.0, 0.0], "c": [0.0, 1.0]})
    data = PairData(["a"] * 4, ["b", "b", "b", "c"], [1.0, 1.0, 0.0, 0.0])
    metrics = MTEB2.score(task, data, model).metrics
    assert metrics["max"]["accuracy"] == 0.75
    assert metrics["cos_sim"] == {"accuracy": 0.75, "f1": 0.8, "precision": pytest.approx(2 / 3), "recall": 1.0, "ap": pytest.approx(2 / 3)}


def test_of_equal_candidates_irrelevant_ones_stand_first_and_spaces_are_cut() -> None:
    task = BENCHMARK.task("CMedQAv1")
    model = table_model({"q": [1.0, 0.0], "p": [1.0, 0.0], "n": [1.0, 0.0], "far": [0.0, 1.0]})
    data = RerankingData([RerankingSample("q", [" p "], ["n", "far"]), RerankingSample("q", ["p"], [])])
    scores = MTEB2.score(task, data, model)
    assert scores.metrics["map_at_1000"] == 0.5
    assert scores.examples["index"].tolist() == [0]
    assert MTEB2.texts(task, data, TaskPrompts()) == ["q", "p", "n", "far"]


def test_a_thousand_candidates_are_kept() -> None:
    task = BENCHMARK.task("CMedQAv1")
    vectors = {f"n{number}": [1.0, number / 1000] for number in range(1000)} | {"q": [1.0, 0.0], "p": [1.0, 1.0], "first": [1.0, 0.0]}
    data = RerankingData([RerankingSample("q", ["p", "first"], [f"n{number}" for number in range(1, 1000)])])
    metrics = MTEB2.score(task, data, table_model(vectors)).metrics
    assert (metrics["map_at_1000"], metrics["recall_at_1000"], metrics["mrr_at_10"]) == (0.5, 0.5, 1.0)


@pytest.mark.parametrize(("name", "expected"), [("T2Retrieval", 1.0), ("DuRetrieval", 0.63093)])
def test_a_passage_called_as_the_query_is_dropped_by_five_tasks(name: str, expected: float) -> None:
    task = BENCHMARK.task(name)
    model = table_model({"one": [1.0, 0.0], "right": [1.0, 0.1], "two": [0.0, 1.0]})
    data = RetrievalData({"q1": "one", "p": "right", "r": "two"}, {"q1": "one", "q2": "two", "q3": "one"}, {"q1": {"p": 1}, "q2": {"r": 1}})
    scores = MTEB2.score(task, data, model)
    assert scores.examples["ndcg_at_10"].round(5).tolist() == [expected, 1.0]  # q3 has no judgement, and is not searched for
    assert scores.metrics["accuracy"] == scores.metrics["recall_at_1"]


def test_a_task_of_two_splits_is_their_mean() -> None:
    task = BENCHMARK.task("MultilingualSentiment")
    data = make_data(task)
    assert isinstance(data, ClassificationData)
    both = score(task, data).metrics
    one, other = both["validation"], both["test"]
    assert both["accuracy"] == (one["accuracy"] + other["accuracy"]) / 2
    assert len(data.further[0].texts) != len(data.test.texts)
    with pytest.raises(InputError, match="no label of the test split"):
        MTEB2.texts(task, replace(data, further=(LabelledTexts(["a", "b"], [7, 8]),)), TaskPrompts())


def test_tasks_of_several_languages_are_refused() -> None:
    with pytest.raises(RequestError, match="STS22: scorer mteb2 knows no tasks of several languages"):
        MTEB2.refuse_unknown(load_benchmark().tasks)


FACTS = """
import json, sys, mteb
tasks = mteb.get_benchmark("MTEB(cmn, v1)").tasks
facts = {task.metadata.name: (task.metadata.dataset, task.metadata.type, task.metadata.main_score) for task in tasks}
print(json.dumps({name: [dataset["path"], dataset["revision"], kind, main] for name, (dataset, kind, main) in facts.items()}))
"""


@pytest.mark.slow
def test_the_tasks_and_their_repositories_are_those_of_mteb_2(mteb2: tuple[Path, float]) -> None:  # noqa: F811
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([str(mteb2[0]), "-W", "ignore", "-c", FACTS], capture_output=True, text=True, check=True, env=environment)
    theirs = json.loads(done.stdout.splitlines()[-1])
    mains = {"cos_sim.spearman": "cosine_spearman", "max.accuracy": "max_accuracy"}
    ours = {task.mteb2_name: [task.hub, task.revision, task.type, mains.get(task.main, task.main)] for task in BENCHMARK.tasks}
    assert ours == theirs
