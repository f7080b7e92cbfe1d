"""The scorer of mteb 2.26.24: its metrics are those of the package itself, its texts those that it asks for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mteb2 import mteb2  # noqa: F401 a fixture
from records import run_here
from scoring_cases import hashed_encoder, make_data, tied_retrieval
from sentence_transformers import SentenceTransformer

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.folds import example_values, fold
from harness.core.prompts import TaskPrompts
from harness.core.records import TaskRecord, flat_metrics
from harness.core.resources import SAMPLE_DIR
from harness.core.run_files import read_run
from harness.core.tasks import TaskSpec
from harness.data.types import ClassificationData, ClusteringData, LabelledTexts, PairData, RerankingData, RerankingSample, RetrievalData
from harness.evaluate.encode.model.locate import LocatedModel
from harness.evaluate.encode.model.own import read_own_settings
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.mteb2 import MTEB2
from harness.evaluate.score.tasks import TaskScores

BENCHMARK, CMTEB = load_benchmark("cmn_v1"), load_benchmark()
TESTS = Path(__file__).parent


def score(
    task: TaskSpec, data: Any = None, *, dtype: torch.dtype = torch.float32, similarity: str = "cosine", dim: int | None = None
) -> TaskScores:
    found = data if data is not None else make_data(task)
    asked: list[str] = []

    def encode(texts: Any) -> torch.Tensor:
        asked.extend(texts)
        return hashed_encoder(dtype)(texts)

    prompts = TaskPrompts(query="问：", passage="文：", text="句：") if data is None and dtype == torch.bfloat16 else TaskPrompts()
    model = EmbeddingModel(encode, dim=dim, dtype="model", prompts=prompts, similarity=similarity)
    scores = MTEB2.score(task, found, model)
    assert set(asked) == set(MTEB2.texts(task, found, prompts))
    return scores


def asked(python: Path, what: str, similarity: str, dim: int | None, names: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """What `oracle_mteb2.py` gives for the tasks."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    command = [str(python), "-W", "ignore", str(TESTS / "oracle_mteb2.py"), "cmn_v1", what, similarity, str(dim or 0), *names]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def answered(done: subprocess.CompletedProcess[str], names: Sequence[str]) -> dict[str, Any]:
    """Task -> split -> metrics."""
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = {name: found for line in done.stdout.splitlines() if line.startswith("{") for name, found in json.loads(line).items()}
    assert list(theirs) == list(names)
    return theirs


def compare(task: TaskSpec, metrics: dict[str, Any], theirs: dict[str, Any], *, close: float = 0.0) -> None:
    """Every metric but nAUC is mteb 2's, as near as `close`."""
    parts = {split: metrics[split] for split in task.splits} if len(task.splits) > 1 else {task.split: metrics}
    for split, part in parts.items():
        ours = {name.replace("cos_sim_", "cosine_"): value for name, value in flat_metrics(part, task).items()}
        expected = {name: value for name, value in theirs[split].items() if "nauc" not in name and name != "main_score"}
        assert set(ours) == set(expected), task.name
        for name, value in expected.items():
            rounding = 1e-12 if name.endswith("pearson") else 0  # gold scores are mapped to 0 to 1 there
            assert ours[name] == pytest.approx(value, abs=max(close, rounding), rel=0), (task.name, split, name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "similarity", "dim"),
    [("float32", "cosine", None), ("float16", "cosine", 16), ("float32", "dot", 16), ("bfloat16", "dot", None)],
)
def test_metrics_are_those_of_mteb_2(mteb2: tuple[Path, float], dtype: str, similarity: str, dim: int | None) -> None:  # noqa: F811
    names = [task.name for task in BENCHMARK.tasks]
    theirs = answered(asked(mteb2[0], dtype, similarity, dim, names), names)
    for task in BENCHMARK.tasks:
        compare(task, score(task, make_data(task), dtype=getattr(torch, dtype), similarity=similarity, dim=dim).metrics, theirs[task.name])


@pytest.mark.slow
def test_ranks_among_copies_are_those_of_mteb_2_but_for_the_bits_of_its_products(mteb2: tuple[Path, float]) -> None:  # noqa: F811
    tasks = [task for task in BENCHMARK.tasks if task.type == "Retrieval"]
    cases = {f"{task.name}:{seed}": (task, tied_retrieval(seed)) for seed, task in enumerate(3 * tasks)}
    theirs = answered(asked(mteb2[0], "float32", "cosine", None, list(cases)), list(cases))
    for name, (task, data) in cases.items():
        compare(task, score(task, data).metrics, theirs[name])


@pytest.mark.slow
def test_a_run_of_the_sample_has_the_scores_that_mteb_2_gives_its_model(mteb2: tuple[Path, float], tmp_path: Path) -> None:  # noqa: F811
    names = ["TNews", "CLSClusteringS2S", "Ocnli", "CMedQAv1", "EcomRetrieval", "BQ"]
    theirs = answered(asked(mteb2[0], str(SAMPLE_DIR / "model"), "cosine", None, names), names)
    places = ["store=null", f"results_dir={tmp_path}", f"tasks=[{','.join(names)}]"]
    found = read_run(run_here(["model=sample", "data=sample", "gpu=cpu", "benchmark=cmn_v1", *places]).folder, BENCHMARK)
    for name in names:
        compare(BENCHMARK.task(name), dict(found.records[name].metrics), theirs[name], close=1e-5)


@pytest.mark.slow
def test_mteb_2_has_no_score_of_pairs_by_other_similarities(mteb2: tuple[Path, float]) -> None:  # noqa: F811
    for similarity in ("euclidean", "manhattan"):
        assert "Similarity function not specified" in asked(mteb2[0], "float32", similarity, None, ["Ocnli"]).stderr


def test_lengths_of_vectors_count_for_classifiers_and_clusters() -> None:
    """Two classes in one direction, of lengths 1 and 3: apart as the model made them, one point once normalised. The second dimension is
    another model's view of it, and is cut."""
    names = [f"{kind}{number}" for kind in "sl" for number in range(20)]
    vectors = {name: [1.0 if name[0] == "s" else 3.0, float(number % 2) * 9] for number, name in enumerate(names)}
    labels: list[int | str] = [int(name[0] == "l") for name in names]
    model = EmbeddingModel(lambda texts: torch.tensor([vectors[text] for text in texts]), dim=1, dtype="float32")
    part = LabelledTexts(names, labels)
    assert MTEB2.score(BENCHMARK.task("TNews"), ClassificationData(part, part), model).metrics["accuracy"] == 1.0
    assert MTEB2.score(BENCHMARK.task("CLSClusteringS2S"), ClusteringData([part]), model).metrics["v_measure"] == 1.0


@pytest.mark.parametrize(("similarity", "first"), [("cosine", "near"), ("dot", "long")])
def test_candidates_and_pairs_are_compared_by_the_models_own_similarity(similarity: str, first: str) -> None:
    vectors = {"q": [2.0, 0.0], "near": [1.0, 0.0], "long": [3.0, 4.0], "r": [0.0, 1.0], "up": [0.0, 5.0], "far": [0.0, -1.0]}
    model = EmbeddingModel(
        lambda texts: torch.tensor([vectors[text] for text in texts]),
        dim=None,
        dtype="float32",
        similarity=similarity,
        device=torch.device("cpu"),
    )
    ranked = RerankingData([RerankingSample("q", ["near"], ["long"])])
    expected = 1.0 if first == "near" else 0.5
    assert MTEB2.score(BENCHMARK.task("CMedQAv1"), ranked, model).metrics["map_at_1000"] == expected
    searched = RetrievalData({"n": "near", "l": "long", "u": "up"}, {"1": "q", "2": "r"}, {"1": {"n": 1}, "2": {"u": 1}})
    assert MTEB2.score(BENCHMARK.task("DuRetrieval"), searched, model).metrics["mrr_at_10"] == (expected + 1) / 2
    pairs = PairData(["q", "q", "r"], ["near", "long", "far"], [1.0, 0.0, 0.0])
    metrics = MTEB2.score(BENCHMARK.task("Ocnli"), pairs, model).metrics
    assert (metrics["similarity"]["ap"], metrics["cos_sim"]["ap"], metrics["dot"]["ap"]) == (expected, 1.0, 0.5)
    graded = PairData(["q", "q", "r"], ["near", "long", "far"], [2.0, 1.0, 0.0])
    correlations = MTEB2.score(BENCHMARK.task("BQ"), graded, model).metrics
    assert correlations["cos_sim"]["spearman"] == pytest.approx(1.0)
    assert correlations["spearman"] == pytest.approx(expected)  # of three, one swap of neighbours: 1 - 6 * 2 / 24


def own_model(folder: Path, **says: str) -> Path:
    """The sample model with a line more in what it says of itself."""
    if not folder.is_dir():
        shutil.copytree(SAMPLE_DIR / "model", folder)
    (folder / "config_sentence_transformers.json").write_text(json.dumps(says), encoding="utf-8")
    return folder


def run_with(folder: Path, tmp_path: Path, *words: str) -> list[str]:
    places = [f"model.path={folder}", f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}"]
    return ["model=folder", "data=sample", "gpu=cpu", "canary=off", "benchmark=cmn_v1", *places, *words]


def test_a_run_takes_the_similarity_that_the_folder_names_and_scores_again_when_it_names_another(tmp_path: Path) -> None:
    found = []
    for similarity in ("cosine", "dot"):
        folder = own_model(tmp_path / "m", similarity_fn_name=similarity)
        outcome = run_here(run_with(folder, tmp_path, "tasks=[Ocnli]"))
        assert outcome.computed == ("Ocnli",)
        run = read_run(outcome.folder, BENCHMARK)
        assert run.manifest.own_settings is not None
        assert run.manifest.own_settings["similarity"] == similarity
        found.append(run.records["Ocnli"].metrics)
    assert [each["similarity"]["ap"] == pytest.approx(each["cos_sim"]["ap"], abs=1e-6) for each in found] == [True, False]
    assert found[1]["similarity"]["ap"] == pytest.approx(found[1]["dot"]["ap"], abs=1e-6)
    assert found[0]["cos_sim"] == found[1]["cos_sim"]


def test_a_similarity_without_a_score_of_pairs_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    folder = own_model(tmp_path / "m", similarity_fn_name="euclidean")
    words = run_with(folder, tmp_path, "tasks=[Ocnli,TNews]")
    with pytest.raises(RequestError, match=r"compares vectors by euclidean .* knows cosine and dot.*tasks=\[Classification,Clustering\]"):
        run_here(words)
    (plan,) = make_plan(words).runs
    assert any("compares vectors by euclidean" in text for text in plan.obstacles)
    assert run_here(run_with(folder, tmp_path, "tasks=[TNews]")).computed == ("TNews",)
    outcome = run_here(run_with(folder, tmp_path, "tasks=[AFQMC]", "benchmark=cmteb35"))
    assert outcome.computed == ("AFQMC",)
    assert any(
        "own similarity is euclidean; scorer mteb1 ranks by the cosine" in note for note in read_run(outcome.folder, CMTEB).header.notes
    )


def test_a_name_that_sentence_transformers_does_not_know_is_the_cosine(tmp_path: Path) -> None:
    for says in ("maxsim", "", "Dot"):
        folder = own_model(tmp_path / "m", similarity_fn_name=says)
        located = LocatedModel(name="m", folder=folder, source="path", repository=None, commit=None)
        assert read_own_settings(located).similarity == SentenceTransformer(str(folder), device="cpu").similarity_fn_name == "cosine"


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
