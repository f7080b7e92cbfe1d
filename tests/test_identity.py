"""Is it C-MTEB's data? Figures counted by hand, every way to differ, and the verdicts on real data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fakehub import json_lines
from real_data import DATA, needs_data

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.identity import compare_figures, count_figures
from harness.data.sources import load_task
from harness.data.types import (
    ClassificationData,
    ClusteringData,
    LabelledTexts,
    PairData,
    RerankingData,
    RerankingSample,
    RetrievalData,
    TaskData,
)

CLASSIFICATION = ClassificationData(LabelledTexts(["a", "bcd", "a"], [7, 8, 7]), LabelledTexts(["ef", ""], [8, 7]))
CLUSTERING = ClusteringData([LabelledTexts(["a", "bc"], ["x", "y"]), LabelledTexts(["a", "", "d"], ["x", "x", "y"])])
PAIRS = PairData(["a", "a", "bc"], ["x", "x", "yz"], [1, 0, 1])
STS = PairData(["a", "a", "bc"], ["x", "x", "yz"], [0.5, 3, 1])
RERANKING = RerankingData(
    [RerankingSample("q", ["aa"], ["b", "aa"]), RerankingSample("no positive", [], ["c"]), RerankingSample("q", ["d", " e "], ["f"])]
)
RETRIEVAL = RetrievalData({"1": "a ", "2": "bcd"}, {"q": "e", "r": "fg"}, {"q": {"1": 1, "2": 1}, "r": {"2": 1}})


def known(name: str, statistics: Mapping[str, Any]) -> TaskSpec:
    return dataclasses.replace(load_benchmark().task(name), statistics=statistics)


FIGURES: list[tuple[str, TaskData, dict[str, Any]]] = [
    (
        "Waimai",
        CLASSIFICATION,
        {
            "train": {"rows": 3, "text": {"chars": 5, "min": 1, "max": 3, "unique": 2}, "label": {"7": 2, "8": 1}},
            "test": {"rows": 2, "text": {"chars": 2, "min": 0, "max": 2, "unique": 2}, "label": {"8": 1, "7": 1}},
        },
    ),
    (
        "CLSClusteringS2S",
        CLUSTERING,
        {"test": {"rows": 5, "sentences": {"chars": 5, "min": 0, "max": 2, "unique": 4}, "labels": {"x": 3, "y": 2}}},
    ),
    (
        "Ocnli",
        PAIRS,
        {
            "validation": {
                "rows": 3,
                "sent1": {"chars": 4, "min": 1, "max": 2, "unique": 2},
                "sent2": {"chars": 4, "min": 1, "max": 2, "unique": 2},
                "unique_pairs": 2,
                "labels": {"1": 2, "0": 1},
            }
        },
    ),
    (
        "STSB",
        STS,
        {
            "test": {
                "rows": 3,
                "sentence1": {"chars": 4, "min": 1, "max": 2, "unique": 2},
                "sentence2": {"chars": 4, "min": 1, "max": 2, "unique": 2},
                "unique_pairs": 2,
                "score": {"min": 0.5, "mean": 1.5, "max": 3},
            }
        },
    ),
    (
        "CMedQAv1",
        RERANKING,
        {
            "test": {
                "query": {"rows": 2, "chars": 2, "min": 1, "max": 1, "unique": 1},
                "documents": {"rows": 6, "chars": 10, "min": 1, "max": 3, "unique": 5},
                "positive": {"rows": 3},
            }
        },
    ),
    (
        "CovidRetrieval",
        RETRIEVAL,
        {
            "corpus": {"rows": 2, "chars": 5, "min": 2, "max": 3, "unique": 2},
            "queries": {"rows": 2, "chars": 3, "min": 1, "max": 2, "unique": 2},
            "qrels": {"rows": 3, "min_per_query": 1, "max_per_query": 2},
        },
    ),
]


@pytest.mark.parametrize(("name", "data", "figures"), FIGURES, ids=[case[0] for case in FIGURES])
def test_figures_counted_by_hand(name: str, data: TaskData, figures: dict[str, Any]) -> None:
    task = known(name, figures)
    assert count_figures(task, data) == figures
    assert compare_figures(task, data) == ()


def leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    return [leaf for key, value in tree.items() for leaf in (leaves(value, (*path, key)) if isinstance(value, dict) else [(*path, key)])]


def changed(tree: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    head, *rest = path
    return {**tree, head: changed(tree[head], tuple(rest)) if rest else tree[head] + 1}


@pytest.mark.parametrize(("name", "data", "figures"), FIGURES, ids=[case[0] for case in FIGURES])
def test_every_single_figure_counts(name: str, data: TaskData, figures: dict[str, Any]) -> None:
    for path in leaves(figures):
        mismatches = compare_figures(known(name, changed(figures, path)), data)
        assert len(mismatches) == 1, path
        assert path[0] in mismatches[0]
        assert path[-1] in mismatches[0]


@pytest.mark.parametrize("name", [task.name for task in load_benchmark().tasks])
def test_the_benchmark_table_has_only_figures_that_are_counted(name: str) -> None:
    """A figure that no count produces would be a mismatch for ever; a table without figures would never be looked at."""
    task = load_benchmark().task(name)
    example = next(data for case, data, _ in FIGURES if load_benchmark().task(case).type == task.type)
    counted = count_figures(task, example)
    assert set(task.statistics) == set(counted)
    for table, figures in task.statistics.items():
        assert set(figures) == set(counted[table])
        for column, value in figures.items():
            if isinstance(value, dict) and column not in ("label", "labels"):
                assert set(value) == set(counted[table][column])


def test_passages_may_be_counted_joined_and_stripped() -> None:
    joined = {**FIGURES[5][2], "corpus": {"rows": 2, "chars": 4, "min": 1, "max": 3, "unique": 2}}
    assert compare_figures(known("CovidRetrieval", joined), RETRIEVAL) == ()
    titled = dataclasses.replace(RETRIEVAL, titles={"2": "T"})
    with_title = {**FIGURES[5][2], "corpus": {"rows": 2, "chars": 6, "min": 1, "max": 5, "unique": 2}}
    assert compare_figures(known("CovidRetrieval", with_title), titled) == ()
    half = {**FIGURES[5][2], "corpus": {"rows": 2, "chars": 4, "min": 2, "max": 3, "unique": 2}}  # some stripped, some not
    assert len(compare_figures(known("CovidRetrieval", half), RETRIEVAL)) == 1
    documents = {**FIGURES[4][2]["test"], "documents": {"rows": 6, "chars": 8, "min": 1, "max": 2, "unique": 5}}
    assert compare_figures(known("CMedQAv1", {"test": documents}), RERANKING) == ()


def test_many_wrong_labels_are_one_short_sentence() -> None:
    figures = {"test": {**FIGURES[1][2]["test"], "labels": dict.fromkeys("abcdef", 1)}}
    (mismatch,) = compare_figures(known("CLSClusteringS2S", figures), CLUSTERING)
    assert mismatch == "test labels: 'a' 0 times, expected 1; 'b' 0 times, expected 1; 'c' 0 times, expected 1; and 5 more labels"


def test_the_mean_of_scores_has_a_float_tolerance() -> None:
    figures = changed(FIGURES[3][2], ("test", "rows"))
    figures = {"test": {**FIGURES[3][2]["test"], "score": {"min": 0.5, "mean": 1.5 + 1e-9, "max": 3.0}}}
    assert compare_figures(known("STSB", figures), STS) == ()
    figures["test"]["score"]["mean"] = 1.501
    assert compare_figures(known("STSB", figures), STS) == ("test score: mean 1.5, expected 1.501",)


def write_sts(root: Path) -> TaskSpec:
    (root / "STSB").mkdir()
    rows = [{"sentence1": "a", "sentence2": "x", "score": 0.5}, {"sentence1": "a", "sentence2": "x", "score": 3}]
    (root / "STSB/test.jsonl").write_bytes(json_lines([*rows, {"sentence1": "bc", "sentence2": "yz", "score": 1}]))
    return known("STSB", FIGURES[3][2])


def test_verdicts(tmp_path: Path) -> None:
    task = write_sts(tmp_path)

    def verdict(task: TaskSpec, verify: Any) -> tuple[str, tuple[str, ...]]:
        provenance = load_task(task, DataSpec(source="local", root=str(tmp_path), verify=verify)).provenance
        return provenance.verdict, provenance.mismatches

    other = dataclasses.replace(task, statistics=changed(dict(task.statistics), ("test", "unique_pairs")))
    assert verdict(task, "error") == ("verified", ())
    assert verdict(task, "off") == ("unverified", ())
    assert verdict(other, "off") == ("unverified", ())
    assert verdict(dataclasses.replace(task, statistics={}), "error") == ("unverified", ())
    assert verdict(other, "label") == ("not C-MTEB", ("test: unique_pairs 2, expected 3",))
    with pytest.raises(InputError) as caught:
        verdict(other, "error")
    message = str(caught.value)
    assert "STSB: this is not the data of C-MTEB, 1 known figures differ:\n  test: unique_pairs 2, expected 3" in message
    assert "data.verify=label" in message
    assert "counted on mteb/STSB@e036defee8f190911de6fc825a944b928c8cda53" in message  # another repository: the difference may be theirs
    plain = dataclasses.replace(other, statistics_of=None)
    with pytest.raises(InputError) as caught:
        verdict(plain, "error")
    assert "counted on" not in str(caught.value)


REAL = {
    "AFQMC": "verified",
    "LCQMC": "verified",
    "STSB": "verified",
    "Ocnli": "verified",
    "IFlyTek": "not C-MTEB",
    "MultilingualSentiment": "not C-MTEB",
    "Waimai": "not C-MTEB",
    "OnlineShopping": "not C-MTEB",
    "CLSClusteringS2S": "not C-MTEB",
    "CLSClusteringP2P": "not C-MTEB",
    "ThuNewsClusteringS2S": "not C-MTEB",
    "ThuNewsClusteringP2P": "not C-MTEB",
    "CMedQAv2": "not C-MTEB",
    "CmedqaRetrieval": "not C-MTEB",
}


@pytest.mark.real
@needs_data
@pytest.mark.parametrize(("name", "verdict"), REAL.items())
def test_verdicts_on_real_data(name: str, verdict: str) -> None:
    task = load_benchmark().task(name)
    if not any((DATA / known_name).is_dir() for known_name in task.names):
        pytest.skip(f"{DATA} has no folder of {name}")
    provenance = load_task(task, DataSpec(source="local", root=str(DATA), verify="label")).provenance
    assert (provenance.verdict, bool(provenance.mismatches)) == (verdict, verdict != "verified")
    if task.type == "Classification":
        assert any(mismatch.startswith("train") for mismatch in provenance.mismatches)  # the pool that samples are drawn from counts too
