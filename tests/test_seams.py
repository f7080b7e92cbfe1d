"""A data source and a scorer from outside of the package: one class each, registered, and a run uses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from records import run_here

from harness.core.benchmarks import load_benchmark
from harness.core.code import SCORING, code_digest, plugin_digest
from harness.core.errors import RequestError
from harness.core.examples import make_examples
from harness.core.prompts import TaskPrompts
from harness.core.records import Provenance
from harness.core.run_files import read_run
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.loading import label_task
from harness.data.sources import SOURCES, Source
from harness.data.types import LoadedTask, PairData, TaskData
from harness.evaluate.prepared import Outcome
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.scorer import SCORERS
from harness.evaluate.score.tasks import TaskScores


class Weather(Source):
    """A source that makes its pairs up."""

    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        pairs = PairData(
            ["今天下雨", "天气很好", "我爱北京", "猫在睡觉"], ["今天有雨", "天晴", "股市大跌", "小猫睡着了"], [4.5, 4.0, 0.0, 5.0]
        )
        return label_task(task, pairs, Provenance(source="weather", pinned_revision=task.revision), verify=data.verify)


class Forecast(Weather):
    """A source that says that its data changed."""

    def has_changed(self, task: TaskSpec, data: DataSpec, loaded: Provenance, *, since: float) -> bool:
        assert (task.name, loaded.source, data.verify) == ("STSB", "weather", "label")
        return self.changed_at > since

    changed_at = 0.0


class SignedAgreement:
    """A scorer: how often the sign of a similarity agrees with a score of 2.5 or more."""

    def refuse_unknown(self, tasks: Iterable[TaskSpec]) -> None:
        if wrong := [task.name for task in tasks if task.type != "STS"]:
            raise RequestError(f"signs scores STS alone, not {', '.join(wrong)}")

    def texts(self, task: TaskSpec, data: TaskData, prompts: TaskPrompts, *, seed: int = 42) -> list[str]:
        assert isinstance(data, PairData)
        return list(dict.fromkeys([*data.first, *data.second]))

    def score(self, task: TaskSpec, data: TaskData, model: EmbeddingModel, *, seed: int = 42) -> TaskScores:
        assert isinstance(data, PairData)
        first, second = (model.encode(texts).astype("float64") for texts in (data.first, data.second))
        similar = (first * second).sum(axis=1)
        columns = {"gold": data.target, **dict.fromkeys(("cos_sim", "manhattan", "euclidean"), similar)}
        examples = make_examples(range(len(similar)), zip(data.first, data.second, strict=True), columns)
        from harness.core.folds import fold

        return TaskScores({"cos_sim": {"spearman": fold(task, examples), "pearson": fold(task, examples, "cos_sim.pearson")}}, examples)


@pytest.fixture(autouse=True)
def _plugged_in() -> Iterator[None]:
    SOURCES.register("weather", Weather())
    SCORERS.register("signs", SignedAgreement())
    yield
    SOURCES.unregister("weather")
    SCORERS.unregister("signs")


def run(folder: Path, benchmark: str, *overrides: str) -> Outcome:
    path = folder / "mine.yaml"
    path.write_text(benchmark, encoding="utf-8")
    places = [f"results_dir={folder / 'results'}", "store=null", f"benchmark={path}"]
    return run_here(["model=sample", "data=sample", "gpu=cpu", "canary=off", *places, *overrides])


def test_a_source_from_outside_gives_data_with_a_verdict(tmp_path: Path) -> None:
    text = "name: mine\ntasks: [STSB]\n"
    outcome = run(tmp_path, text, "data.source=weather", "data.verify=label")
    assert outcome.failed == {}
    data = read_run(outcome.folder, load_benchmark(str(tmp_path / "mine.yaml"))).records["STSB"].made.data
    assert data is not None
    assert (data.source, data.verdict) == ("weather", "not C-MTEB")
    assert any("rows 4, expected" in line for line in data.mismatches)
    assert run(tmp_path, text, "data.source=weather", "data.verify=label").reused == ("STSB",)


def test_a_source_from_outside_says_that_its_data_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES._registered, "weather", Forecast())
    text, settings = "name: mine\ntasks: [STSB]\n", ("data.source=weather", "data.verify=label")
    first = run(tmp_path, text, *settings)
    assert run(tmp_path, text, *settings).reused == ("STSB",)
    written = (first.folder / "STSB.json").stat().st_mtime
    monkeypatch.setattr(Forecast, "changed_at", written + 1e-3)
    assert run(tmp_path, text, *settings).again == {"STSB": "other data"}
    monkeypatch.setattr(Forecast, "changed_at", written)
    assert run(tmp_path, text, *settings).reused == ("STSB",)


def test_the_code_of_a_source_from_outside_is_among_what_a_record_was_made_with() -> None:
    assert plugin_digest(SCORING, (SOURCES, "weather")) != plugin_digest(SCORING, (SOURCES, "sample")) == code_digest(SCORING)


def test_data_from_outside_that_is_not_the_benchmark_s_is_refused_by_default(tmp_path: Path) -> None:
    outcome = run(tmp_path, "name: mine\ntasks: [STSB]\n", "data.source=weather", "data.verify=error")
    assert "this is not the data of C-MTEB" in outcome.failed["STSB"]


def test_a_scorer_from_outside_scores_what_the_benchmark_names_it_for(tmp_path: Path) -> None:
    text = "name: mine\nscorer: signs\ntasks: [STSB]\n"
    outcome = run(tmp_path, text)
    assert outcome.failed == {}
    record = read_run(outcome.folder, load_benchmark(str(tmp_path / "mine.yaml"))).records["STSB"]
    assert set(record.metrics["cos_sim"]) == {"spearman", "pearson"}
    assert run(tmp_path, text).reused == ("STSB",)
    with pytest.raises(RequestError, match="signs scores STS alone, not TNews"):
        run(tmp_path, text.replace("[STSB]", "[STSB, TNews]"))


def test_scores_of_another_scorer_are_not_found_done(tmp_path: Path) -> None:
    assert run(tmp_path, "name: mine\nscorer: signs\ntasks: [STSB]\n").computed == ("STSB",)
    assert run(tmp_path, "name: mine\ntasks: [STSB]\n").reused == ()


def test_data_without_a_score_is_refused_before_a_text_is_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def constant(self: Weather, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        pairs = PairData(["今天下雨", "天气很好"], ["今天有雨", "天晴"], [1.0, 1.0])
        return label_task(task, pairs, Provenance(source="weather", pinned_revision=task.revision), verify=data.verify)

    monkeypatch.setattr(Weather, "load", constant)
    outcome = run(tmp_path, "name: mine\ntasks: [STSB]\n", "data.source=weather", "data.verify=label")
    assert "the gold scores have fewer than two values" in outcome.failed["STSB"]
    assert outcome.cost.encoding.texts == 0


def test_unknown_names_are_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown source 'wether': did you mean weather"):
        run(tmp_path, "name: mine\ntasks: [STSB]\n", "data.source=wether")
    with pytest.raises(RequestError, match="unknown scorer 'sings'"):
        run(tmp_path, "name: mine\nscorer: sings\ntasks: [STSB]\n")
    assert not (tmp_path / "results").exists()
