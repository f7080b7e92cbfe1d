"""What one setting did: effects against scipy, families of comparisons, pairs that may be compared, and what a reader sees."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import BENCHMARK, HEADER, PUBLISHED, manifest_of, write_task
from scipy import stats
from sklearn.metrics import f1_score

from harness.commands import main
from harness.core.errors import InputError, RequestError
from harness.core.examples import Examples, write_examples
from harness.core.folds import fold
from harness.core.records import RowHeader
from harness.core.run_files import write_manifest
from harness.read.explain import effects
from harness.read.explain.build import Explanation, explain
from harness.read.explain.effects import Effect, average_effect, holm, judge, task_effect
from harness.show.explain import explanation_document, points
from harness.show.form import write_document

QUERIES = BENCHMARK.task("CovidRetrieval")
PAIRS = BENCHMARK.task("STSB")


def queries(values: np.ndarray) -> Examples:
    index = np.arange(len(values))
    metrics = dict.fromkeys(("ndcg_at_10", "ap_at_10", "rr_at_10", "recall_at_10"), values)
    return Examples({"index": index, "digest": index.astype(np.str_), "query": np.char.add("q", index.astype(np.str_)), **metrics})


def graded(gold: np.ndarray, similarity: np.ndarray) -> Examples:
    index = np.arange(len(gold))
    similarities = dict.fromkeys(("cos_sim", "manhattan", "euclidean"), similarity)
    return Examples({"index": index, "digest": index.astype(np.str_), "gold": gold, **similarities})


def some_pairs(rng: np.random.Generator, count: int, *, noises: tuple[float, ...] = (1.0, 1.0)) -> list[Examples]:
    gold = rng.integers(0, 6, count).astype(float)
    shared = rng.normal(size=count)
    return [graded(gold, gold + shared + noise * rng.normal(size=count)) for noise in noises]


def write_run(
    folder: Path, examples: Mapping[str, Examples], *, header: RowHeader = HEADER, manifest: Mapping[str, Any] | None = None
) -> Path:
    write_manifest(folder, manifest_of(header, manifest))
    for name, table in examples.items():
        task = BENCHMARK.task(name)
        score = fold(task, table)
        group, _, metric = task.main.rpartition(".")
        metrics = {group: {metric: score}} if group else {metric: score}
        write_examples(folder, task, table)
        write_task(folder, task, metrics, {})
    return folder


def two_runs(folder: Path, before: Mapping[str, Examples], after: Mapping[str, Examples]) -> Explanation:
    paths = [write_run(folder / "one", before), write_run(folder / "two", after, header=replace(HEADER, dim=128))]
    return explain(paths, BENCHMARK, examples=3)


class TestEffects:
    def test_a_mean_has_scipys_paired_interval(self) -> None:
        rng = np.random.default_rng(1)
        one = rng.random(200)
        other = np.clip(one + rng.normal(0.01, 0.05, 200), 0, 1)
        one[3] = other[3] = np.nan  # a query without judgements
        effect = task_effect(QUERIES, queries(one), queries(other))
        expected = stats.ttest_rel(np.delete(other, 3), np.delete(one, 3))
        assert effect.units == 199
        assert effect.chance == pytest.approx(expected.pvalue)
        assert effect.interval == pytest.approx([100 * end for end in expected.confidence_interval()])
        assert effect.difference == pytest.approx(100 * (np.nanmean(other) - np.nanmean(one)))

    def test_the_interval_is_that_of_the_benchmarks_own_main_metric(self) -> None:
        rng = np.random.default_rng(6)
        one, other = rng.random((2, 200))
        before, after = (Examples({**queries(one).columns, "recall_at_10": values}) for values in (one, other))
        recall = task_effect(replace(QUERIES, main="recall_at_10"), before, after)
        assert recall.error == pytest.approx(100 * stats.sem(other - one))
        assert task_effect(QUERIES, before, after).error == 0  # its ndcg is the same

        label = rng.integers(0, 2, 60)
        sides = [np.where(rng.random(60) < sure, label, 1 - label) for sure in (0.8, 0.7)]
        index = np.arange(60)
        plain = {"index": index, "digest": index.astype(np.str_), "label": label}
        tables = [Examples({**plain, "prediction_0": side}) for side in sides]
        drawn = rng.integers(60, size=(1000, 60))
        moved = [np.subtract(*(f1_score(label[rows], side[rows], average="macro") for side in sides[::-1])) for rows in drawn]
        macro = task_effect(replace(BENCHMARK.task("Waimai"), main="f1"), *tables)
        assert macro.error == pytest.approx(100 * np.std(moved, ddof=1), rel=0.1)

    def test_spearman_has_the_spread_of_scipys_spearman_over_resampled_pairs(self) -> None:
        rng = np.random.default_rng(2)
        one, other = some_pairs(rng, 40, noises=(0.5, 2.0))
        effect = task_effect(PAIRS, one, other)
        drawn = rng.integers(40, size=(1000, 40))
        moved = [
            stats.spearmanr(other["gold"][rows], other["cos_sim"][rows])[0] - stats.spearmanr(one["gold"][rows], one["cos_sim"][rows])[0]
            for rows in drawn
        ]
        assert effect.error == pytest.approx(100 * np.std(moved, ddof=1), rel=0.1)
        assert effect.verdict == "no interval"  # until it is judged
        assert task_effect(PAIRS, one, other) == effect

    @pytest.mark.parametrize("kind", ["pairs", "queries"])
    def test_where_nothing_differs_one_interval_in_twenty_leaves_out_zero(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two models that err alike on other examples each time; of 250 repeats, chance allows 2.2 % to 7.8 % to leave out 0."""
        monkeypatch.setattr(effects, "RESAMPLES", 200)
        rng = np.random.default_rng(3)
        missed = 0
        for _ in range(250):
            if kind == "pairs":
                effect = task_effect(PAIRS, *some_pairs(rng, 200))
            else:
                shared = rng.random(100)
                effect = task_effect(QUERIES, *(queries(np.clip(shared + rng.normal(0, 0.1, 100), 0, 1)) for _ in range(2)))
            low, high = effect.interval or (0.0, 0.0)
            missed += not low <= 0 <= high
        assert 0.022 <= missed / 250 <= 0.078

    def test_an_effect_as_large_as_called_unseen_is_found_four_times_in_five(self) -> None:
        rng = np.random.default_rng(4)
        found = 0
        for _ in range(300):
            shared = 0.3 + 0.4 * rng.random(60)
            noise = rng.normal(0, 0.05, 60)
            [unmoved] = judge([task_effect(QUERIES, queries(shared), queries(shared + noise))])
            assert unmoved.unseen is not None
            moved = queries(shared + noise + unmoved.unseen / 100)
            found += judge([task_effect(QUERIES, queries(shared), moved)])[0].verdict == "effect"
        assert 0.74 <= found / 300 <= 0.86

    def test_examples_that_did_not_move_are_identical_and_no_effect(self) -> None:
        rng = np.random.default_rng(5)
        table = some_pairs(rng, 50, noises=(1.0,))[0]
        for effect in (task_effect(PAIRS, table, table), task_effect(QUERIES, queries(np.full(9, 0.5)), queries(np.full(9, 0.5)))):
            assert (effect.error, effect.chance, effect.interval) == (0, None, (0, 0))
            assert judge([effect])[0].verdict == "identical"

    def test_one_example_has_no_interval(self) -> None:
        effect = task_effect(QUERIES, queries(np.array([0.2])), queries(np.array([0.5])))
        assert (effect.error, effect.interval) == (None, None)
        assert judge([effect])[0].verdict == "no interval"

    def test_an_average_adds_the_variances_of_its_tasks(self) -> None:
        tasks = [effect_of(before=10, after=16, error=3), effect_of(before=20, after=18, error=4)]
        average = average_effect("Retrieval", "Retrieval", tasks)
        assert (average.of, average.type, average.metric, average.units) == ("Retrieval", "Retrieval", "mean", 2)
        assert (average.before, average.after, average.difference, average.error) == (15, 17, 2, 2.5)
        assert average.freedom == pytest.approx((9 + 16) ** 2 / (81 / 50 + 256 / 50))  # Welch and Satterthwaite
        bare = average_effect("Retrieval", "Retrieval", [*tasks, replace(tasks[0], error=None)])
        assert (bare.error, bare.interval) == (None, None)
        sure = replace(tasks[0], error=0.0)
        assert average_effect("STS", "STS", [sure, tasks[1]]).freedom == pytest.approx(50)  # that of the one task that has an error
        assert average_effect("STS", "STS", [sure, sure]).freedom == 1

    def test_two_examples_have_an_interval(self) -> None:
        effect = task_effect(QUERIES, queries(np.array([0.2, 0.3])), queries(np.array([0.5, 0.4])))
        assert effect.error == pytest.approx(10)  # differences of 30 and 10 points


def effect_of(*, before: float, after: float, error: float | None) -> Effect:
    return Effect(of="T", type="Retrieval", metric="ndcg_at_10", units=51, before=before, after=after, error=error, freedom=50)


class TestFamilies:
    def test_holm_by_hand(self) -> None:
        assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert holm([0.9, 0.5]) == [1, 1]
        assert holm([0.9, 0.8]) == [1, 1]
        assert holm([]) == []

    def test_more_comparisons_ask_for_more(self) -> None:
        clear, faint = effect_of(before=0, after=10, error=1), effect_of(before=0, after=2.2, error=1)
        assert [effect.verdict for effect in judge([clear, faint])] == ["effect", "effect"]
        many = judge([clear, faint, *[effect_of(before=0, after=0.1, error=1)] * 20])
        assert [effect.verdict for effect in many[:3]] == ["effect", "none found", "none found"]
        assert many[1].unseen > judge([faint])[0].unseen

    def test_what_was_not_tested_is_not_counted(self) -> None:
        faint = effect_of(before=0, after=2.2, error=1)
        others = [effect_of(before=1, after=1, error=0), effect_of(before=1, after=2, error=None)] * 20
        assert judge([faint, *others])[0].p == judge([faint])[0].p
        assert {effect.verdict for effect in judge(others)} == {"identical", "no interval"}
        assert judge([effect_of(before=1, after=2, error=0)])[0].verdict == "effect"  # every example moved by the same

    def test_what_one_comparison_says(self) -> None:
        [effect] = judge([effect_of(before=0, after=2.2, error=1)])
        assert effect.p == pytest.approx(2 * stats.t.sf(2.2, 50))
        assert effect.unseen == pytest.approx(stats.t.ppf(0.975, 50) + stats.t.ppf(0.8, 50))


class TestPairs:
    def message(self, tmp_path: Path, *headers: RowHeader, manifests: tuple[Mapping[str, Any], ...] = ()) -> Explanation:
        table = {"STSB": some_pairs(np.random.default_rng(0), 30)[0]}
        for number, header in enumerate(headers):
            write_run(tmp_path / str(number), table, header=header, manifest=manifests[number] if manifests else None)
        return explain([tmp_path], BENCHMARK, examples=0)

    def test_only_one_setting_may_differ(self, tmp_path: Path) -> None:
        message = self.message(tmp_path, HEADER, replace(HEADER, dim=128), replace(HEADER, dim=128, dtype="bfloat16"))
        assert [str(comparison.pair.factors[0]) for comparison in message.comparisons] == ["dim 1792 -> 128", "dtype float16 -> bfloat16"]
        assert [[factor.name for factor in pair.factors] for pair in message.unattributed] == [["dtype", "dim"]]
        text = write_document(explanation_document(message), "text")
        assert "[1] and [3]: dtype, dim" in text
        summary = [" ".join(line.split()) for line in text.split("Summary")[1].splitlines()]
        assert "dim 1792 -> 128 [1] -> [2] 1 0 0 0 1 0" in summary
        assert "dtype float16 -> bfloat16 [2] -> [3] 1 0 0 0 1 0" in summary

    def test_of_many_runs_what_is_identical_is_one_line(self, tmp_path: Path) -> None:
        self.message(tmp_path, HEADER, HEADER)
        write_run(tmp_path / "2", {"STSB": some_pairs(np.random.default_rng(1), 30)[0]}, header=HEADER, manifest=None)
        text = write_document(explanation_document(explain([tmp_path], BENCHMARK, examples=0)), "text")
        titles = [line.partition(" (")[2] for line in text.splitlines() if line.startswith("repetition, no setting differs (")]
        assert titles == ["[1] -> [3])", "[2] -> [3])"]
        assert "repetition [1] -> [2] 1 0 0 0 1 0" in [" ".join(line.split()) for line in text.splitlines()]

    def test_a_repetition_is_compared_as_one(self, tmp_path: Path) -> None:
        message = self.message(tmp_path, HEADER, HEADER)
        assert message.comparisons[0].pair.factors == ()
        text = write_document(explanation_document(message), "text")
        assert "repetition, no setting differs" in text
        assert "Summary" not in text

    @pytest.mark.parametrize(
        ("changed", "factor"),
        [
            ({"spec": {"scoring": {"dtype": "model"}}}, "scoring.dtype float32 -> model"),
            ({"spec": {"scoring": {"search": "exact"}}}, "scoring.search reference -> exact"),
            ({"versions": {"torch": "2.9"}}, "packages torch 2.13 -> torch 2.9"),
            ({"versions": {"scikit-learn": "1.9.1"}}, "packages scikit-learn 1.8.0 -> scikit-learn 1.9.1"),
            ({"spec": {"data": {"root": "b"}}}, "data a -> b"),
            ({"device": {"driver": "560"}}, "gpu driver 550 -> driver 560"),
            ({"model": {"attention": "math"}}, "kernel attention flash -> attention math"),
        ],
    )
    def test_what_the_header_does_not_tell_is_a_setting_too(self, tmp_path: Path, changed: dict[str, Any], factor: str) -> None:
        one, other = MANIFEST, {key: merged(value, changed.get(key, {})) for key, value in MANIFEST.items()}
        message = self.message(tmp_path, HEADER, HEADER, manifests=(one, other))
        assert [str(each) for each in message.comparisons[0].pair.factors] == [factor]

    def test_kernels_follow_a_dtype_and_the_source_moves_nothing_by_itself(self, tmp_path: Path) -> None:
        changes: dict[str, Any] = {"spec": {"dtype": "bf16"}, "model": {"attention": "math"}, "source": {"commit": "def"}}
        other = {key: merged(value, changes.get(key, {})) for key, value in MANIFEST.items()}
        message = self.message(tmp_path, HEADER, replace(HEADER, dtype="bfloat16"), manifests=(MANIFEST, other))
        pair = message.comparisons[0].pair
        assert [str(factor) for factor in pair.factors] == ["dtype float16 -> bfloat16"]
        assert pair.beside == ("source.commit: abc -> def", "model.attention: flash -> math")
        assert "also differs: source.commit: abc -> def" in write_document(explanation_document(message), "text")


MANIFEST: dict[str, dict[str, Any]] = {
    "spec": {"dtype": "fp16", "data": {"root": "a"}, "scoring": {"dtype": "float32", "search": "reference"}},
    "model": {"attention": "flash"},
    "versions": {"torch": "2.13", "scikit-learn": "1.8.0"},
    "device": {"driver": "550"},
    "source": {"commit": "abc"},
}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {**old, **{key: merged(old[key], value) if isinstance(value, Mapping) else value for key, value in new.items()}}


class TestComparisons:
    def test_a_planted_effect_is_shown_with_the_queries_that_made_it(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(6)
        before, gold = 0.5 + 0.4 * rng.random(300), some_pairs(rng, 200, noises=(1.0,))[0]
        after = before - 0.02 + rng.normal(0, 0.01, 300)
        after[[17, 250]] = before[[17, 250]] - [0.3, 0.45]
        wobbled = graded(gold["gold"], gold["cos_sim"] + 0.02 * rng.normal(size=200))
        message = two_runs(tmp_path, {"CovidRetrieval": queries(before), "STSB": gold}, {"CovidRetrieval": queries(after), "STSB": wobbled})
        [comparison] = message.comparisons
        verdicts = {effect.of: effect.verdict for effect in (*comparison.averages, *comparison.tasks)}
        assert verdicts == {"Average": "effect", "CovidRetrieval": "effect", "STSB": "none found"}
        assert [(move.index, move.key) for move in comparison.moved["CovidRetrieval"][:2]] == [(250, "q250"), (17, "q17")]
        text = " ".join(write_document(explanation_document(message), "text").split())
        effect = next(effect for effect in comparison.tasks if effect.of == "CovidRetrieval")
        low, high = (points(end, effect.error) for end in effect.interval or ())
        assert f"by {points(effect.difference, effect.error)} points (95 % interval {low} to {high})" in text
        assert "No effect found, and one smaller than the points in brackets would not be seen: STSB (" in text
        assert "query 250 (q250)" in text

    def test_pairs_are_shown_by_their_ranks(self, tmp_path: Path) -> None:
        gold = np.arange(6.0)
        before = graded(gold, np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))
        after = graded(gold, np.array([0.9, 0.2, 0.3, 0.4, 0.5, 0.6]))
        message = two_runs(tmp_path, {"STSB": before}, {"STSB": after})
        move = message.comparisons[0].moved["STSB"][0]
        assert (move.index, move.before, move.after, move.about) == (0, 6, 1, "gold 0, cos_sim 0.100 -> 0.900")

    def test_what_cannot_be_paired_is_named_and_not_compared(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(7)
        one, other = rng.random(50), rng.random(50)
        cut = Examples({name: column[:40] for name, column in queries(other).columns.items()})
        names = ("CovidRetrieval", "DuRetrieval", "EcomRetrieval", "VideoRetrieval")
        first = write_run(tmp_path / "one", dict.fromkeys(names, queries(one)))
        second = write_run(
            tmp_path / "two", {name: cut if name == "DuRetrieval" else queries(other) for name in names[:3]}, header=replace(HEADER, dim=9)
        )
        (second / "per_example" / "EcomRetrieval.parquet").unlink()
        write_examples(second, QUERIES, queries(one))  # of another computation than the record
        [comparison] = explain([first, second], BENCHMARK, examples=3).comparisons
        assert comparison.left_out == {"DuRetrieval": "the two runs had other examples", "VideoRetrieval": "no record in [2]"}
        assert set(comparison.unsure) == {"CovidRetrieval", "EcomRetrieval"}
        assert "the record says" in comparison.unsure["CovidRetrieval"]
        assert "keeps no examples" in comparison.unsure["EcomRetrieval"]
        [effect, _] = comparison.tasks
        assert (effect.verdict, effect.interval) == ("no interval", None)
        assert effect.difference == pytest.approx(100 * (other.mean() - one.mean()))

    def test_equal_runs_have_no_effect_anywhere(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(8)
        tables = {"CovidRetrieval": queries(rng.random(30)), "STSB": some_pairs(rng, 30)[0]}
        message = two_runs(tmp_path, tables, tables)
        found = [*message.comparisons[0].tasks, *message.comparisons[0].averages]
        assert {effect.verdict for effect in found} == {"identical"}
        assert message.families == (0, 0)
        assert not any(message.comparisons[0].moved.values())

    def test_all_forms_tell_the_same(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(9)
        message = two_runs(tmp_path, {"CovidRetrieval": queries(rng.random(30))}, {"CovidRetrieval": queries(rng.random(30))})
        plain = json.loads(write_document(explanation_document(message), "json"))
        assert plain == json.loads(json.dumps(explanation_document(message).data()))
        effect = message.comparisons[0].tasks[0]
        assert plain["comparisons"][0]["tasks"][0]["interval"] == list(effect.interval or ())
        assert effect.difference == effect.after - effect.before  # unrounded, and said to be
        assert "Differences are of unrounded scores" in " ".join(write_document(explanation_document(message), "text").split())
        assert "| CovidRetrieval | ndcg_at_10 | 30 queries |" in write_document(explanation_document(message), "md")
        assert all(len(line) <= 100 or str(tmp_path) in line for line in write_document(explanation_document(message), "text").splitlines())


class TestPrintedRows:
    """The six rows of the card of acge_text_embedding, by averages alone."""

    def test_what_can_and_what_cannot_be_said(self) -> None:
        message = explain([PUBLISHED], BENCHMARK, examples=3)
        found = {str(effect.pair.factors[0]): effect.differences for effect in message.printed}
        assert found["gpu NVIDIA TESLA A10 -> NVIDIA TESLA A100"] == {
            **dict.fromkeys(("Average", "PairClassification", "Retrieval", "STS"), 0.0),
            "Classification": 0.01,
            "Clustering": 0.13,
            "Reranking": -0.14,
        }
        assert found["max_len 1024 -> 512"]["Retrieval"] == 0.44
        assert len(message.printed) == 7
        assert len(message.unattributed) == 15 - 7
        shares = next(effect.shares for effect in message.printed if str(effect.pair.factors[0]) == "max_len 768 -> 512")
        assert shares["Retrieval"] == pytest.approx(0.45 * 8 / 35)
        text = " ".join(write_document(explanation_document(message), "text").split())
        assert "All 6 rows are within 0.16 points of each other in Average (68.91 to 69.07)" in text
        assert "gpu was varied at one setting only (dtype bfloat16, max_len 1024, dim 1792)" in text
        assert "dim is the same in all rows (1792), so its effect is not known" in text
        assert "there is no interval" in text
        assert message.comparisons == ()

    def test_a_definition_moves_more_than_every_setting_of_the_card(self) -> None:
        message = explain([PUBLISHED], BENCHMARK, examples=3)
        mteb2 = next(defined for defined in message.definitions if defined.convention == "mteb2_31")
        plain = next(defined for defined in message.definitions if defined.convention == "cmteb")
        left_out, metrics = mteb2.parts.values()
        assert left_out + metrics == pytest.approx(mteb2.moved(plain)["Average"], abs=0.01)
        assert min(abs(left_out), abs(metrics)) > 0.16
        assert mteb2.tasks == 31
        assert "mteb2_31 has 4 tasks left out +0.24 and other metrics -0.35" in " ".join(
            write_document(explanation_document(message), "text").split()
        )


def test_one_run_is_nothing_to_compare(tmp_path: Path) -> None:
    write_run(tmp_path, {"STSB": some_pairs(np.random.default_rng(0), 20)[0]})
    with pytest.raises(RequestError, match="name two run folders or more"):
        explain([tmp_path], BENCHMARK, examples=3)


def test_a_damaged_run_is_named_and_compared_with_none(tmp_path: Path) -> None:
    pairs = {"STSB": some_pairs(np.random.default_rng(0), 20)[0]}
    sound = [write_run(tmp_path / name, pairs, header=replace(HEADER, dim=dim)) for name, dim in (("one", 64), ("two", 128))]
    damaged = write_run(tmp_path / "damaged", pairs) / "manifest.json"
    damaged.write_text(damaged.read_text()[:40])
    with pytest.raises(InputError, match=re.escape(str(damaged))):
        explain([damaged.parent, sound[0]], BENCHMARK, examples=3)
    found = explain([damaged.parent, *sound], BENCHMARK, examples=3)
    assert [subject.run.path for subject in found.subjects if subject.run] == sound
    assert (len(found.comparisons), found.unattributed) == (1, ())
    assert str(damaged) in " ".join(found.unreadable)
    assert f"left out: {found.unreadable[0]}"[:60] in write_document(explanation_document(found), "md")
    assert json.loads(write_document(explanation_document(found), "json"))["unreadable"] == list(found.unreadable)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(PUBLISHED), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["correction"] == "holm"
    assert main(["explain", str(tmp_path)]) == 2
    assert main(["explain", str(PUBLISHED), "--examples", "-1"]) == 2
    assert "expected 0 (none) or more" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [(0.4567, 0.3, "+0.46"), (0.4567, 0.01, "+0.457"), (0.00123, 0.001, "+0.0012"), (-0.001, 0.3, "+0.00"), (1, None, "+1.00")],
)
def test_an_effect_has_the_digits_that_its_error_leaves(value: float, error: float | None, message: str) -> None:
    assert points(value, error) == message
