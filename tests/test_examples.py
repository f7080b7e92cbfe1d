"""Per-example values: read from mteb's evaluators, kept in a file, and folded back into the exact numbers of the record."""

from __future__ import annotations

import inspect
import re
import shutil
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from records import run_here
from scipy.stats import pearsonr, spearmanr
from scoring_cases import hashed_encoder, make_data
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.examples import Examples, examples_path, read_examples, same_examples, units, write_examples
from harness.core.folds import fold, folds
from harness.core.records import TaskRecord
from harness.core.run_files import read_run
from harness.core.spec import DataSpec, Search
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import RetrievalData, TaskData
from harness.evaluate.prepared import Outcome
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.observed import _OVERHEARD
from harness.evaluate.score.tasks import MTEB1, TaskScores

BENCHMARK = load_benchmark()
ONE_OF_EACH = ["Waimai", "CLSClusteringS2S", "Ocnli", "CMedQAv1", "T2Retrieval", "STSB"]


def scores_of(task: TaskSpec, data: TaskData | None = None, *, search: Search = "exact", dtype: torch.dtype = torch.float32) -> TaskScores:
    model = EmbeddingModel(hashed_encoder(dtype), dim=None, dtype="model", search=search)
    return MTEB1.score(task, data or make_data(task), model)


def examples_of(name: str) -> tuple[TaskSpec, Examples]:
    task = BENCHMARK.task(name)
    return task, scores_of(task).examples


def recorded(task: TaskSpec, scores: TaskScores, metric: str) -> float:
    record = TaskRecord(task=task.name, split=task.split, metrics=scores.metrics, dataset_revision=None, evaluation_time=None)
    return record.metric(task, metric)


def assert_folds_are_the_record(task: TaskSpec, scores: TaskScores) -> None:
    tolerance = 5.01e-6 if task.type == "Retrieval" else 1e-9
    two_classes = len(set(scores.examples["label"].tolist())) == 2 if task.type == "Classification" else True
    for metric in task.metrics:
        if metric != "ap" or two_classes:
            assert fold(task, scores.examples, metric) == pytest.approx(recorded(task, scores, metric), abs=tolerance, rel=0), metric
    assert fold(task, scores.examples) == fold(task, scores.examples, task.main)


@pytest.mark.parametrize("task", BENCHMARK.tasks, ids=lambda task: task.name)
def test_every_metric_of_the_sample_is_a_fold_over_its_examples(task: TaskSpec) -> None:
    assert_folds_are_the_record(task, scores_of(task, load_task(task, DataSpec(source="sample", verify="off")).data))


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_it_is_so_where_scores_tie_in_half_precision_and_data_has_holes(name: str) -> None:
    """With queries without judgements, samples without a candidate, repeated texts."""
    task = BENCHMARK.task(name)
    assert_folds_are_the_record(task, scores_of(task, search="reference", dtype=torch.float16))


@pytest.mark.parametrize("task", [task for task in BENCHMARK.tasks if task.type == "Retrieval"], ids=lambda task: task.name)
def test_both_searches_keep_the_same_values_of_every_query(task: TaskSpec) -> None:
    data = make_data(task)
    assert isinstance(data, RetrievalData)
    data.qrels["judged, never asked"] = {"p1": 1}
    exact, reference = (scores_of(task, data, search=search).examples for search in ("exact", "reference"))
    assert list(exact.columns) == list(reference.columns)
    assert same_examples(exact, reference)
    for name in exact.columns:
        if name not in ("digest", "query"):
            np.testing.assert_array_equal(exact[name], reference[name], err_msg=name)
    unjudged = np.isnan(exact["ndcg_at_10"])
    assert exact["query"][unjudged].tolist() == ["q23", "q24", "judged, never asked"]
    assert (exact["rr_at_1000"][unjudged] == 0).all()


def test_listening_leaves_mteb_as_it_was() -> None:
    def functions() -> list[object]:
        places = [(import_module(module), owner, name) for module, owner, name in _OVERHEARD.values()]
        return [inspect.getattr_static(getattr(place, owner) if owner else place, name) for place, owner, name in places]

    before = functions()
    for name in ONE_OF_EACH:
        scores_of(BENCHMARK.task(name), search="reference")
    assert functions() == before


class TestResamples:
    """The fold of a resample is what scikit-learn, scipy and mteb say of the examples gathered."""

    def rows(self, task: TaskSpec, examples: Examples) -> np.ndarray:
        return np.random.default_rng(7).integers(len(examples), size=(40, len(examples)))

    def gathered(self, examples: Examples, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: column[np.sort(rows)] for name, column in examples.columns.items()}

    @pytest.mark.parametrize("name", ["JDReview", "TNews"])
    def test_predictions(self, name: str) -> None:
        task, examples = examples_of(name)
        rows = self.rows(task, examples)
        accuracy, f1 = folds(task, examples, rows), folds(task, examples, rows, "f1")
        for index, drawn in enumerate(rows):
            table = self.gathered(examples, drawn)
            predicted = [table[column] for column in table if column.startswith("prediction_")]
            assert len(predicted) == task.n_experiments
            assert accuracy[index] == pytest.approx(np.mean([accuracy_score(table["label"], each) for each in predicted]), abs=1e-12)
            macro = np.mean([f1_score(table["label"], each, average="macro") for each in predicted])
            assert f1[index] == pytest.approx(macro, abs=1e-12)

    def test_labelled_pairs(self) -> None:
        task, examples = examples_of("Ocnli")
        examples = Examples({**examples.columns, "cos_sim": np.round(examples["cos_sim"], 1), "dot": np.round(examples["dot"], 1)})  # ties
        rows = self.rows(task, examples)
        evaluator = import_module("mteb.evaluation.evaluators.PairClassificationEvaluator").PairClassificationEvaluator
        for similarity in ("cos_sim", "dot", "euclidean"):
            found = {name: folds(task, examples, rows, f"{similarity}.{name}") for name in ("ap", "accuracy", "f1", "precision", "recall")}
            for index, drawn in enumerate(rows):
                table = self.gathered(examples, drawn)
                expected = evaluator._compute_metrics(table[similarity], table["label"], True)
                for name, values in found.items():
                    assert values[index] == pytest.approx(expected[name], abs=1e-12), (similarity, name)
        best = np.max([folds(task, examples, rows, f"{name}.ap") for name in ("cos_sim", "dot", "euclidean", "manhattan")], axis=0)
        np.testing.assert_array_equal(folds(task, examples, rows, "max.ap"), best)

    def test_graded_pairs(self) -> None:
        task, examples = examples_of("STSB")
        rows = self.rows(task, examples)
        spearman, pearson = folds(task, examples, rows), folds(task, examples, rows, "euclidean.pearson")
        for index, drawn in enumerate(rows):
            table = self.gathered(examples, drawn)
            assert spearman[index] == pytest.approx(spearmanr(table["gold"], table["cos_sim"]).statistic, abs=1e-12)
            assert pearson[index] == pytest.approx(pearsonr(table["gold"], table["euclidean"]).statistic, abs=1e-12)

    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_many_resamples_at_once_are_each_as_alone(self, name: str) -> None:
        task, examples = examples_of(name)
        rows = np.random.default_rng(5).integers(len(examples), size=(7, len(examples)))
        for metric in {task.main, *task.metrics} - ({"ap"} if task.type == "Classification" else set()):
            alone = [fold(task, examples, metric, each) for each in rows]
            np.testing.assert_allclose(folds(task, examples, rows, metric), alone, rtol=1e-12, err_msg=metric)

    def test_queries_that_the_metric_does_not_count_stay_uncounted(self) -> None:
        task, examples = examples_of("T2Retrieval")
        rows = self.rows(task, examples)
        expected = [np.nanmean(examples["ndcg_at_10"][drawn]) for drawn in rows]
        np.testing.assert_allclose(folds(task, examples, rows), expected, rtol=0, atol=1e-12)

    def test_samples_and_sets_by_hand(self) -> None:
        task = BENCHMARK.task("CMedQAv1")
        table = Examples({"index": np.arange(3), "digest": np.array(list("abc")), "ap": np.array([1, 0.5, 0.25]), "rr_at_10": np.ones(3)})
        assert fold(task, table, rows=np.array([0, 0, 1, 2])) == pytest.approx((1 + 1 + 0.5 + 0.25) / 4)
        assert fold(task, table, "mrr") == 1

    def test_no_metric_is_invented_where_none_is_defined(self) -> None:
        task, examples = examples_of("STSB")
        assert np.isnan(fold(task, examples, rows=np.zeros(5, dtype=np.int64)))
        task, examples = examples_of("Ocnli")
        negative = np.flatnonzero(examples["label"] == 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert fold(task, examples, rows=negative) == average_precision_score(np.zeros(3), np.arange(3)) == 0

    def test_an_unknown_metric_names_the_known_ones(self) -> None:
        task, examples = examples_of("Ocnli")
        with pytest.raises(RequestError, match=r"did you mean cos_sim\.ap"):
            fold(task, examples, "cosine.ap")


class TestFile:
    @pytest.mark.parametrize("name", ONE_OF_EACH)
    def test_it_comes_back_as_it_was_from_equal_bytes(self, name: str, tmp_path: Path) -> None:
        task, examples = examples_of(name)
        paths = [write_examples(tmp_path / run, task, examples) for run in ("one", "two")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
        found = read_examples(tmp_path / "one", task)
        assert list(found.columns) == list(examples.columns)
        for column in found.columns:
            np.testing.assert_array_equal(found[column], examples[column])
            assert found[column].dtype.kind == examples[column].dtype.kind
        assert same_examples(found, examples)
        assert units(task, found) == len(examples)

    @pytest.mark.parametrize("name", [*ONE_OF_EACH, "MassiveIntentClassification"])
    def test_it_holds_no_text_of_the_data(self, name: str, tmp_path: Path) -> None:
        task, examples = examples_of(name)
        table = pq.read_table(write_examples(tmp_path, task, examples))
        assert all(re.fullmatch("[0-9a-f]{16}", digest) for digest in table["digest"].to_pylist())
        words = [value for column in table.columns for value in column.to_pylist() if isinstance(value, str)]
        assert not any(re.search("[\u4e00-\u9fff]", word) for word in words)

    def test_other_texts_or_labels_are_other_examples(self) -> None:
        _, examples = examples_of("STSB")
        for name in ("digest", "gold"):
            changed = examples[name].copy()
            changed[3] = changed[4] if changed[3] != changed[4] else changed[5]
            assert not same_examples(examples, Examples({**examples.columns, name: changed}))
        moved = Examples({**examples.columns, "cos_sim": examples["cos_sim"] + 1})
        assert same_examples(examples, moved)

    def test_what_is_missing_damaged_or_foreign_is_reported(self, tmp_path: Path) -> None:
        task, examples = examples_of("STSB")
        with pytest.raises(InputError, match="keeps no examples of STSB"):
            read_examples(tmp_path, task)
        path = write_examples(tmp_path, task, examples)
        whole = path.read_bytes()
        for damaged in (b"", whole[:-20], whole[: len(whole) // 2], b"PAR1 and more"):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match="can't be read as Parquet"):
                read_examples(tmp_path, task)
        other = BENCHMARK.task("BQ")
        examples_path(tmp_path, other).write_bytes(whole)
        with pytest.raises(InputError, match="has the examples of 'STSB', expected BQ"):
            read_examples(tmp_path, other)
        pq.write_table(pq.read_table(write_examples(tmp_path, task, examples)).replace_schema_metadata({"harness.task": "STSB"}), path)
        with pytest.raises(InputError, match="has schema None"):
            read_examples(tmp_path, task)

    def test_a_table_of_another_type_is_not_written(self, tmp_path: Path) -> None:
        _, examples = examples_of("STSB")
        with pytest.raises(InputError, match="no column ap, rr_at_10"):
            write_examples(tmp_path, BENCHMARK.task("CMedQAv1"), examples)
        assert list(tmp_path.iterdir()) == []


class TestRuns:
    """Runs of the embedded sample: examples go with their record, through processes, lengths and resumption."""

    TASKS = ("CMedQAv1", "JDReview", "Ocnli", "STSB")

    def run(self, results: Path, *overrides: str) -> Outcome:
        basic = ("model=sample", "data=sample", "gpu=cpu", "max_len=64", "store=null", f"tasks=[{','.join(self.TASKS)}]")
        given = [*basic, f"results_dir={results}", *overrides]
        outcome = run_here(given)
        assert outcome.failed == {}
        return outcome

    def files(self, folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted((folder / "per_example").iterdir())}

    def test_every_record_has_its_examples_and_they_fold_into_it(self, tmp_path: Path) -> None:
        folder = self.run(tmp_path / "here", "workers=0").folder
        assert sorted(self.files(folder)) == [f"{name}.parquet" for name in self.TASKS]
        records = read_run(folder, BENCHMARK).records
        for name in self.TASKS:
            task = BENCHMARK.task(name)
            assert fold(task, read_examples(folder, task)) == pytest.approx(records[name].main_score(task), abs=5.01e-6)
        apart = self.run(tmp_path / "apart", "workers=1", "tasks=[Ocnli]").folder
        assert self.files(apart) == {"Ocnli.parquet": self.files(folder)["Ocnli.parquet"]}

    def test_a_record_without_its_own_examples_is_computed_again(self, tmp_path: Path) -> None:
        folder = self.run(tmp_path, "tasks=[STSB,Ocnli,JDReview]").folder
        whole, records = self.files(folder), {path.name: path.read_bytes() for path in folder.glob("[A-Z]*.json")}
        other = self.run(tmp_path, "tasks=[STSB]", "dim=4").folder
        (folder / "per_example" / "Ocnli.parquet").unlink()
        (folder / "per_example" / "JDReview.parquet").write_bytes(whole["JDReview.parquet"][:100])
        shutil.copy(other / "per_example" / "STSB.parquet", folder / "per_example")
        assert set(self.run(tmp_path, "tasks=[STSB,Ocnli,JDReview]").computed) == {"STSB", "Ocnli", "JDReview"}
        assert self.files(folder) == whole
        assert {path.name for path in folder.glob("[A-Z]*.json")} == set(records)
        assert self.run(tmp_path, "tasks=[STSB,Ocnli,JDReview]").computed == ()

    def test_scores_that_are_shared_across_max_len_bring_their_examples(self, tmp_path: Path) -> None:
        first = self.run(tmp_path, "tasks=[Ocnli,STSB]")
        second = self.run(tmp_path, "max_len=60", "tasks=[Ocnli,STSB]")
        assert "shared_with" in (second.folder / "costs.jsonl").read_text(encoding="utf-8")
        assert self.files(second.folder) == self.files(first.folder)
        shutil.rmtree(first.folder / "per_example")
        third = self.run(tmp_path, "max_len=62", "tasks=[STSB]")
        lines = (third.folder / "costs.jsonl").read_text(encoding="utf-8")
        assert second.folder.name in lines
        assert first.folder.name not in lines


def test_the_file_names_its_schema_and_task_by_keys_that_never_change(tmp_path: Path) -> None:
    """Files that other versions wrote stay readable, whatever the modules are called."""
    task, examples = examples_of("STSB")
    metadata = pq.read_schema(write_examples(tmp_path, task, examples)).metadata
    assert {key: value for key, value in metadata.items() if key.startswith(b"harness.")} == {
        b"harness.schema": b"1",
        b"harness.task": b"STSB",
    }
