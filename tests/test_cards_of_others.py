"""Cards as people write them: what is no score, what is written twice or nearly right, and averages under any heading."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cards import METRICS, SCRIPT, card_text, fenced, rows_table, write_card
from runs import BENCHMARK, BY_HAND, HEADER, write_run

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.formatting import bare_name
from harness.core.records import RowHeader
from harness.core.tasks import TaskSpec
from harness.read.cards.claimed import read_card_run
from harness.read.cards.entries import task_claim
from harness.read.cards.page import PrintedRow, card_claims, score_table
from harness.read.claims.averages import Fit, half_digit
from harness.read.claims.findings import Check
from harness.read.claims.report import ClaimsReport, claims_report
from harness.read.leaderboard import leaderboard_row

OURS = {"Average": 69.07, "Classification": 72.75, "Clustering": 58.7, "PairClassification": 87.84}
OURS |= {"Reranking": 67.99, "Retrieval": 72.93, "STS": 62.09}
"""What the front matter of `card_text` averages to."""


def changed(text: str, change: Any) -> str:
    """The card with its list of entries changed by a function."""
    front = yaml.safe_load(text.split("---\n")[1])
    change(front["model-index"][0]["results"])
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n" + text.split("---\n", 2)[2]


def entry_of(results: list[Any], task: str) -> Any:
    return next(each for each in results if each["dataset"]["name"] == BENCHMARK.task(task).card_name)


def add_metric(task: str, name: str, value: object) -> Any:
    return lambda results: entry_of(results, task)["metrics"].append({"type": name, "value": value})


def row(tmp_path: Path, text: str) -> tuple[float | None, str]:
    """The average of a card, and the notes of its row."""
    found = leaderboard_row(read_card_run(write_card(tmp_path, text), BENCHMARK), "cmteb", BENCHMARK)
    return found.cells[0].value, "\n".join(found.notes)


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("dot_accuracy_threshold", 82543.2, False),
        ("euclidean_f1_threshold", -4000, False),
        ("nauc_map_at_1000_max", 250.0, False),
        ("cos_sim_pearson_of_ours", float("nan"), True),
        ("latency", "3 ms", True),
        ("curve", [1, 2], True),
    ],
)
def test_a_side_metric_that_is_no_score_refuses_nothing(tmp_path: Path, name: str, value: object, named: bool) -> None:
    average, notes = row(tmp_path, changed(card_text(brief=True), add_metric("Ocnli", name, value)))
    assert average == 69.07
    assert (f"Ocnli {name}" in notes) is named


def test_one_bad_input_stops_no_other_and_is_named_with_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write_card(tmp_path / "good", card_text(brief=True))
    bad = write_card(tmp_path / "bad", "---\nmodel-index: [1, 2]\n---\n")
    none = write_card(tmp_path / "none", "# no front matter\n")
    run = write_run(tmp_path / "run").path
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{")
    paths = [str(each) for each in (bad, good, none, tmp_path / "damaged", run)]
    assert main(["table", *paths, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [each["scores"]["Average (35)"] for each in rows] == [None, 69.07, None, None, 45.88]
    assert [str(path) in (each["unreadable"] or "") for each, path in zip(rows, paths, strict=True)] == [True, False, True, True, False]
    assert main(["report", *paths, "-o", str(tmp_path / "report.html")]) == 0
    assert "no YAML front matter" in (tmp_path / "report.html").read_text()
    assert main(["index", *paths, "-o", str(tmp_path / "index.csv")]) == 0
    assert (tmp_path / "index.csv").read_text().count(",scored,") == 70
    capsys.readouterr()
    assert main(["table", str(bad), str(none)]) == 1
    told = capsys.readouterr().err
    assert str(bad) in told
    assert str(none) in told


# Copies, near misses, main_score


def test_equal_copies_are_one_and_different_ones_none(tmp_path: Path) -> None:
    def copy(results: list[Any]) -> None:
        results.append(entry_of(results, "TNews"))
        results[-1] = json.loads(json.dumps(results[-1]))

    average, notes = row(tmp_path, changed(card_text(brief=True), copy))
    assert average == 69.07
    assert "equal copies were counted once: TNews (2 entries)" in notes

    def differ(results: list[Any]) -> None:
        copy(results)
        results[-1]["metrics"][0]["value"] = 1.5

    run = read_card_run(write_card(tmp_path, changed(card_text(brief=True), differ)), BENCHMARK)
    assert list(run.broken) == ["TNews"]
    assert "claims TNews 2 times with different accuracy (entry" in run.broken["TNews"]
    assert len(run.records) == 34


def test_copies_that_state_different_revisions_are_not_one(tmp_path: Path) -> None:
    def copy(results: list[Any]) -> None:
        results.append(json.loads(json.dumps(entry_of(results, "TNews"))))
        results[-1]["dataset"]["revision"] = "0" * 40

    run = read_card_run(write_card(tmp_path, changed(card_text(brief=True), copy)), BENCHMARK)
    assert "different revisions" in run.broken["TNews"]


def test_a_metric_that_is_given_twice_counts_once_where_it_is_equal(tmp_path: Path) -> None:
    same = METRICS["TNews"]["accuracy"]
    assert row(tmp_path, changed(card_text(brief=True), add_metric("TNews", "accuracy", same)))[0] == 69.07
    run = read_card_run(write_card(tmp_path, changed(card_text(), add_metric("TNews", "f1", 1.25))), BENCHMARK)
    assert run.broken == {}
    assert "f1" not in run.records["TNews"].metrics
    assert any("TNews f1 given as" in note for note in run.header.notes)


@pytest.mark.parametrize(
    ("task", "repository", "read"),
    [
        ("CMedQAv2", "C-MTEB/CMedQAv2", True),
        ("CMedQAv2", "mteb/CMedQAv2", True),
        ("TNews", "C-MTEB/TNews", True),
        ("TNews", "c-mteb/tnews-classification", True),
        ("TNews", "TNews-classification", True),
        ("CMedQAv2", "somebody/CMedQAv2-reranking", False),
        ("CMedQAv2", "C-MTEB/CMedQAv1-reranking", False),
        ("TNews", "not-C-MTEB/TNews", False),
    ],
)
def test_a_near_miss_in_a_repository_s_name_is_read_with_a_note(tmp_path: Path, task: str, repository: str, read: bool) -> None:
    def rename(results: list[Any]) -> None:
        entry_of(results, task)["dataset"] |= {"type": repository, "config": "other"}

    run = read_card_run(write_card(tmp_path, changed(card_text(brief=True), rename)), BENCHMARK)
    assert (task in run.records) is read
    assert any("the repository has another name" in note and f"{task} ({repository})" in note for note in run.header.notes) is read


@pytest.mark.parametrize("key", ["type", "name", "split"])
def test_a_near_miss_in_more_than_the_repository_is_another_task(tmp_path: Path, key: str) -> None:
    def rename(results: list[Any]) -> None:
        found = entry_of(results, "CMedQAv2")
        found["dataset"] |= {"type": "C-MTEB/CMedQAv2", "config": "other"} | ({key: "Other"} if key != "type" else {})
        found["task"]["type"] = "Retrieval" if key == "type" else "Reranking"

    assert "CMedQAv2" not in read_card_run(write_card(tmp_path, changed(card_text(brief=True), rename)), BENCHMARK).records


def only_main_score(results: list[Any]) -> None:
    for task in BENCHMARK.tasks:
        value = METRICS[task.name][task.main.replace(".", "_")]
        entry_of(results, task.name)["metrics"] = [{"type": "main_score", "value": value}]


def test_cards_that_hold_main_score_alone_are_read_where_it_is_the_same_metric(tmp_path: Path) -> None:
    path = write_card(tmp_path, changed(card_text(brief=True), only_main_score))
    run = read_card_run(path, BENCHMARK)
    assert {BENCHMARK.task(name).type for name in run.records} == {"Classification", "Clustering", "Retrieval", "STS"}
    assert len(run.records) == 29
    assert {each.metric for each in run.other_definitions.values()} == {"max_accuracy", "map_at_1000"}
    assert "the definition differs" in run.broken["Ocnli"]
    averages = {cell.key: cell.value for cell in leaderboard_row(run, "cmteb", BENCHMARK).cells}
    assert averages == {**OURS, "Average": None, "PairClassification": None, "Reranking": None}
    report = claims_report(write_card(tmp_path / "full", card_text()), against=path)
    assert report.comparison is not None
    grades = {cell.of: cell.grade for cell in report.comparison.cells if cell.main}
    assert {task for task, grade in grades.items() if grade == "definition differs"} == set(run.broken)


def test_a_main_metric_that_one_side_lacks_can_not_be_compared(tmp_path: Path) -> None:
    def without_accuracy(results: list[Any]) -> None:
        entry_of(results, "TNews")["metrics"] = [{"type": "f1", "value": 51.5}]

    whole = write_card(tmp_path / "whole", changed(card_text(brief=True), add_metric("TNews", "f1", 51.5)))
    part = write_card(tmp_path / "part", changed(card_text(brief=True), without_accuracy))

    def graded(card: Path, run: Path) -> list[tuple[str, str, str]]:
        report = claims_report(card, against=run)
        assert report.comparison is not None
        assert report.comparison.self_reported
        return [(cell.metric, cell.grade, cell.why) for cell in report.comparison.cells if cell.of == "TNews"]

    assert graded(part, whole) == [("accuracy", "not comparable", "the card has no number"), ("f1", "reproduced", "")]
    [(metric, grade, why)] = graded(whole, part)
    assert (metric, grade) == ("accuracy", "not comparable")
    assert "(TNews) has no accuracy (there are: f1)" in why
    plain = write_card(tmp_path / "plain", card_text(brief=True))
    assert graded(plain, whole) == graded(whole, plain) == [("accuracy", "reproduced", "")], "other metrics where both have them"


@pytest.mark.parametrize("task", load_benchmark("cmn_v1").tasks, ids=lambda task: task.name)
def test_main_score_is_the_main_metric_where_the_benchmark_is_one_of_mteb_2(task: TaskSpec) -> None:
    claim = task_claim(task, [(1, {"dataset": {}, "metrics": [{"type": "main_score", "value": "71.5"}]})])  # as YAML has it
    assert (claim.metrics, claim.problem, claim.other) == ({"main_score": 71.5, task.flat_main: 71.5}, "", None)


@pytest.mark.parametrize("before", ["\n", "\n \n", "\r\n", "\ufeff\n"])
def test_blank_lines_before_the_front_matter(tmp_path: Path, before: str) -> None:
    report = claims_report(write_card(tmp_path, before + card_text(table(list(OURS), list(OURS.values())), brief=True)))
    assert len(report.sheet.claims) == 35
    assert report.averages.front is not None


# Averages under other headings


def table(titles: list[str], *rows: list[float | str], pipes: bool = True) -> str:
    lines = [["Model", *titles], ["---"] * (len(titles) + 1)]
    lines += [["acge_text_embedding", *map(str, cells)] if len(cells) == len(titles) else list(map(str, cells)) for cells in rows]
    text = [" | ".join(line) for line in lines]
    return "\n" + "\n".join(f"| {line} |" if pipes else line for line in text) + "\n\n"


HEADINGS = {
    "short": ["Avg", "CLS", "Clustering", "Pair_CLS", "Reranking", "Retrieval", "STS"],
    "dots": ["Avg.", "Class.", "Clust.", "PairClass.", "Rerank.", "Retr.", "STS"],
    "datasets": [f"{name} ({count} datasets)" for name, count in zip(OURS, (35, 9, 4, 2, 4, 8, 8), strict=True)],
    "chinese": ["平均", "分类", "聚类", "句子对分类", "重排序", "检索", "语义相似度"],
    "chinese counts": ["平均分（35）", "分类任务(9)", "聚类(4个任务)", "文本对分类(2)", "重排(4)", "检索(8)", "文本相似度(8)"],
    "markup": [
        "**Average**<br>(35)",
        "`Classification`",
        "[Clustering](x)",
        "PairClassification",
        "Reranking Avg",
        "Retrieval",
        "*STS* (8)",
    ],
    "mean of types": ["Mean(Task)", "Class.", "Clust.", "Pair Class.", "Rerank.", "Retri.", "STS"],
    "overall": ["Overall", "Class", "Clus", "Pair", "Rank", "Retr", "STS"],
}


@pytest.mark.parametrize("pipes", [True, False])
@pytest.mark.parametrize("kind", HEADINGS)
def test_averages_are_found_under_the_headings_that_people_use(tmp_path: Path, kind: str, pipes: bool) -> None:
    order = [6, 0, 3, 1, 5, 2, 4] if pipes else list(range(7))
    titles, values = ([each[index] for index in order] for each in (HEADINGS[kind], list(OURS.values())))
    report = claims_report(write_card(tmp_path, card_text(table(titles, values, pipes=pipes), brief=True)))
    assert report.averages.front is not None
    assert verdicts(report)["rows"] in ("holds", "noted")
    wrong = [value if title != HEADINGS[kind][6] else value + 0.8 for title, value in zip(titles, values, strict=True)]
    found = verdicts(claims_report(write_card(tmp_path, card_text(table(titles, wrong, pipes=pipes), brief=True))))
    assert (found["rows"], found["sums"]) == ("contradicts", "contradicts")


def in_html(titles: list[str], values: list[str]) -> str:
    rows = [["Model", *titles], ["<b>acge_text_embedding</b>", *values]]
    cells = ["".join(f"<td>{cell}</td>\n" for cell in row) for row in rows]
    return f"<table>\n<thead><tr>{cells[0]}</tr></thead>\n<tr>{cells[1]}</tr>\n</table>"


def side_by_side(titles: list[str], values: list[str]) -> str:
    rows = [
        ["Task", "acge_text_embedding", "other"],
        ["---"] * 3,
        *([title, value, "50.0"] for title, value in zip(titles, values, strict=True)),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


LAYOUTS = {
    "html": in_html,
    "a model per column": side_by_side,
    "quoted": lambda titles, values: "\n".join(f"> {line}" for line in table(titles, values).strip().splitlines()),
    "percent": lambda titles, values: table(titles, [f"{value}%" for value in values]),
    "footnotes": lambda titles, values: table(titles, [f"**{value}**<sup>1</sup>" for value in values]),
    "underlined": lambda titles, values: table(titles, [f"<u>{value}</u>*" for value in values]),
    "fractions": lambda titles, values: table(titles, [f"{float(value) / 100:.4f}" for value in values]),
    "the benchmark above the models": lambda titles, values: table(titles, values).replace("| Model", "| C-MTEB"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_averages_are_found_in_every_layout(tmp_path: Path, layout: str) -> None:
    values = [f"{value:.2f}" for value in OURS.values()]
    report = claims_report(write_card(tmp_path, card_text("\n" + LAYOUTS[layout](list(OURS), values) + "\n", brief=True)))
    assert report.averages.front is not None, report.sheet.notes
    assert report.averages.front.row.header.model == "acge_text_embedding"
    assert list(report.averages.front.row.scores.values()) == list(OURS.values())
    assert verdicts(report)["rows"] in ("holds", "noted")
    wrong = [*values[:-1], f"{float(values[-1]) + 0.8:.2f}"]
    report = claims_report(write_card(tmp_path, card_text("\n" + LAYOUTS[layout](list(OURS), wrong) + "\n", brief=True)))
    assert (verdicts(report)["rows"], verdicts(report)["sums"]) == ("contradicts", "contradicts")


@pytest.mark.parametrize("title", ["Bitxt Mining", "Inst. Retri.", "Multi. Class.", "Summ."])
def test_a_table_of_another_benchmark_is_not_read(tmp_path: Path, title: str) -> None:
    report = claims_report(write_card(tmp_path, card_text(table([*OURS, title], [*OURS.values(), 50.0]), brief=True)))
    assert (report.averages.front, report.averages.matches) == (None, ())
    assert not any("looks like averages" in note for note in report.sheet.notes)


def verdicts(report: ClaimsReport) -> dict[str, str]:
    return {check.name: check.verdict for check in report.checks}


def check_of(report: ClaimsReport, name: str) -> Check:
    return next(check for check in report.checks if check.name == name)


MEAN = sum(count * OURS[kind] for kind, count in zip(list(OURS)[1:], (9, 4, 2, 4, 8, 8), strict=True)) / 35


@pytest.mark.parametrize(
    ("off", "verdict"), [(0.0099, "holds"), (-0.0099, "holds"), (0.0101, "contradicts"), (0.014, "contradicts"), (-0.0101, "contradicts")]
)
def test_rounding_alone_moves_the_mean_of_the_types_by_a_hundredth(tmp_path: Path, off: float, verdict: str) -> None:
    values = {**OURS, "Average": MEAN + off}
    report = claims_report(write_card(tmp_path, card_text(table(list(values), [str(value) for value in values.values()]), brief=True)))
    assert verdicts(report)["sums"] == verdict
    assert [finding.where for finding in check_of(report, "sums").findings] == ([] if verdict == "holds" else [report.sheet.places[0]])


@pytest.mark.parametrize(("average", "verdict"), [(70.01, "holds"), (69.99, "holds"), (70.02, "contradicts"), (69.98, "contradicts")])
def test_a_whole_hundredth_is_rounding_whatever_its_last_bit(tmp_path: Path, average: float, verdict: str) -> None:
    values = {**dict.fromkeys(OURS, 70.0), "Average": average}
    report = claims_report(write_card(tmp_path, card_text(table(list(values), list(values.values())), brief=True)))
    assert verdicts(report)["sums"] == verdict


@pytest.mark.parametrize(
    ("decimals", "half"), [({"a": 76.0}, 0.5), ({"a": 76.5, "b": 1.0}, 0.05), ({"a": 76.49}, 0.005), ({"a": 76.495}, 0.005)]
)
def test_the_last_digit_of_a_row(decimals: dict[str, float], half: float) -> None:
    assert half_digit(PrintedRow(RowHeader.unknown("m"), decimals)) == pytest.approx(half, rel=1e-12)


@pytest.mark.parametrize("wide", ["float32", "FP32"])
@pytest.mark.parametrize("narrow", ["float16", "fp16", "half", "bfloat16", "BF16"])
def test_one_size_for_two_widths_is_the_size_of_the_file(tmp_path: Path, wide: str, narrow: str) -> None:
    titles = ["tensor-type", "Model Size (GB)", *OURS]
    rows = [[dtype, "0.65", *OURS.values()] for dtype in (wide, narrow)]
    report = claims_report(write_card(tmp_path, card_text(table(titles, *rows), brief=True)))
    assert "0.65 GB in rows of 2 and of 4 bytes" in check_of(report, "sizes").findings[0].text
    others = [[wide, "0.65", *OURS.values()], [narrow, "0.33", *OURS.values()]]
    for several in (others, rows[:1], rows[1:], [[wide, "", *OURS.values()], [narrow, "", *OURS.values()]]):
        report = claims_report(write_card(tmp_path / "b", card_text(table(titles, *several), brief=True)))
        assert "sizes" not in verdicts(report)


def test_rows_of_other_models_are_not_the_card_s(tmp_path: Path) -> None:
    other = ["[bge-large-zh](https://x/y)", 64.53, 69.13, 48.99, 81.6, 65.84, 70.46, 56.25]
    text = table(list(OURS), other, list(OURS.values()))
    report = claims_report(write_card(tmp_path, card_text(text, brief=True)))
    assert [match.row.header.model for match in report.averages.matches] == ["bge-large-zh", "acge_text_embedding"]
    assert report.averages.front is report.averages.matches[1]
    wrong = table(list(OURS), ["acge_text_embedding", 60.0, *list(OURS.values())[1:]], ["other", *OURS.values()])
    found = check_of(claims_report(write_card(tmp_path, card_text(wrong, brief=True))), "rows")
    assert "nearest is row 1" in found.findings[0].text


@pytest.mark.parametrize(
    ("titles", "said"),
    [
        (
            ["Avg", "Classification", "Clustering", "Q&A"],
            "no column for PairClassification, Reranking, Retrieval, STS (not understood: Model, Q&A)",
        ),
        (["平均", "分类", "聚类", "检索", "相似"], "no column for PairClassification, Reranking, STS"),
        (["Average (35)", "A", "B", "C", "D"], "not understood: Model, A, B, C, D"),
        (["Avg", "Avg", "Classification", "Clustering"], "two columns for Average"),
    ],
)
def test_a_table_that_looks_like_averages_is_named_with_its_line(tmp_path: Path, titles: list[str], said: str) -> None:
    text = card_text(table(titles, [60.1 + index for index in range(len(titles))]), brief=True)
    report = claims_report(write_card(tmp_path, text))
    line = next(number for number, each in enumerate(text.splitlines(), start=1) if each.startswith("| Model"))
    assert any(note.startswith(f"the table in line {line} looks like averages: ") and said in note for note in report.sheet.notes)


@pytest.mark.parametrize(
    "titles",
    [
        [
            "Average (56)",
            "Classification (12)",
            "Clustering (11)",
            "Pair Classification (3)",
            "Reranking (4)",
            "Retrieval (15)",
            "STS (10)",
        ],
        ["Avg", "Class.", "Clust.", "PairClass.", "Rerank.", "Retr.", "STS", "Summ."],
        ["Parameters", "Language", "License"],
    ],
)
def test_tables_of_other_benchmarks_and_facts_accuse_nobody(tmp_path: Path, titles: list[str]) -> None:
    text = card_text(table(titles, [50.5 + index for index in range(len(titles))]), brief=True)
    assert score_table(text, BENCHMARK) is None
    assert verdicts(claims_report(write_card(tmp_path, text)))["rows"] == "can't tell"


def test_the_table_that_says_how_many_tasks_it_averages_is_taken_before_others(tmp_path: Path) -> None:
    english = table(HEADINGS["short"], [55.5] * 7)
    text = card_text(english + table(HEADINGS["datasets"], list(OURS.values())), brief=True)
    report = claims_report(write_card(tmp_path, text))
    assert report.averages.front is not None
    assert any("has averages, too: those in line" in note for note in report.sheet.notes)


# Rounding


@pytest.mark.parametrize(("printed", "fine"), [(76.49, True), (76.5, True), (76.48, False), (76.51, False)])
def test_an_average_on_a_rounding_tie_may_be_printed_either_way(tmp_path: Path, printed: float, fine: bool) -> None:
    pair = {"Ocnli": {"cos_sim_ap": 76.48, "max_ap": 76.48}, "Cmnli": {"cos_sim_ap": 76.51, "max_ap": 76.51}}  # mean 76.495
    average = row(tmp_path, card_text(brief=True, changes=pair))[0]
    values = OURS | {"Average": average, "PairClassification": printed}
    report = claims_report(write_card(tmp_path, card_text(table(list(OURS), list(values.values())), brief=True, changes=pair)))
    fit = report.averages.matches[0].fits["cmteb"]
    assert fit.equal is fine
    assert fine or fit.column == "Pair Classification (2)"


def test_rows_with_one_decimal_are_measured_with_one(tmp_path: Path) -> None:
    text = card_text(table(list(OURS), [round(value, 1) for value in OURS.values()]), brief=True)
    report = claims_report(write_card(tmp_path, text))
    assert report.averages.front is not None
    assert verdicts(report)["sums"] == "holds"


# What is said of the printed rows

PAIRS = {"Ocnli": {"cos_sim_ap": 76.48, "max_ap": 86.48}, "Cmnli": {"cos_sim_ap": 76.51, "max_ap": 86.51}}
"""Pairs whose two conventions differ by ten points, and whose mean by cos_sim ap lies on a tie: 76.495."""


def row_like(**changes: float) -> list[float]:
    """The row of the front matter with some averages moved, each by its points."""
    return [round(value + changes.get(title, 0.0), 2) for title, value in OURS.items()]


def rows_of(tmp_path: Path, *rows: list[float | str], **options: Any) -> ClaimsReport:
    return claims_report(write_card(tmp_path, card_text(table(list(OURS), *rows), brief=True, **options)))


def found_in(report: ClaimsReport, name: str) -> list[tuple[str, str, str]]:
    return [(each.verdict, each.where, each.text) for each in check_of(report, name).findings]


def test_two_rows_that_equal_the_front_matter_leave_open_which_it_is(tmp_path: Path) -> None:
    report = rows_of(tmp_path, row_like(), row_like(STS=0.5), row_like())
    rows = "row 1 (acge_text_embedding), row 3 (acge_text_embedding)"
    assert found_in(report, "rows") == [("can't tell", "table", f"{rows} are all equal to the front matter")]
    assert (report.averages.front, report.averages.convention) == (None, "cmteb")


def test_without_a_complete_type_no_row_can_be_compared(tmp_path: Path) -> None:
    report = rows_of(tmp_path, row_like(), without=tuple(task.name for task in BENCHMARK.tasks if task.name != "TNews"))
    assert found_in(report, "rows") == [("can't tell", "table", "the front matter has no complete type of tasks to average")]
    assert {(fit, fit.equal) for fit in report.averages.matches[0].fits.values()} == {(Fit(0, "", 0.0), False)}


@pytest.mark.parametrize(
    ("first", "second", "nearest"),
    [
        ({"STS": -0.3}, {"Clustering": 0.2}, "row 2 (acge_text_embedding), +0.20 in Clustering (4)"),
        ({"STS": -0.1}, {"Clustering": 0.2}, "row 1 (acge_text_embedding), -0.10 in STS (8)"),
        ({"STS": 0.1, "Retrieval": -0.25}, {"Clustering": 0.3}, "row 1 (acge_text_embedding), -0.25 in Retrieval (8)"),
    ],
)
def test_the_nearest_row_is_that_of_the_smallest_largest_difference(
    tmp_path: Path, first: dict[str, float], second: dict[str, float], nearest: str
) -> None:
    report = rows_of(tmp_path, row_like(**first), row_like(**second))
    place = report.sheet.places[int(nearest[4]) - 1]
    text = f"no printed row is the average of the front matter; nearest is {nearest} under cmteb"
    assert found_in(report, "rows") == [("contradicts", place, text)]
    assert check_of(report, "rows").held == 0


def test_the_row_of_the_front_matter_is_told_with_what_it_is_not(tmp_path: Path) -> None:
    report = claims_report(write_card(tmp_path, card_text(rows_table(), brief=True)))
    place, label = report.sheet.places[5], "row 6 (NVIDIA TESLA A100 float16 512)"
    which = ("noted", place, f"{label} is the front matter under cmteb and max_ap: the card does not say which")
    other = ("noted", place, "not under unrounded: that would print 87.83 for Pair Classification (2)")
    assert found_in(report, "rows") == [which, other]
    assert (check_of(report, "rows").held, check_of(report, "rows").of) == (1, 1)
    report = claims_report(write_card(tmp_path, card_text(rows_table(), brief=True, without=("TNews",))))
    place = report.sheet.places[5]
    lacks = ("noted", place, "the front matter lacks tasks: only some columns could be compared")
    assert found_in(report, "rows") == [("noted", place, which[2]), ("noted", place, other[2]), lacks]


@pytest.mark.parametrize(("printed", "verdict"), [("87.84", "noted"), ("87.74", "contradicts")])
def test_a_convention_of_which_the_card_has_no_average_says_nothing(tmp_path: Path, printed: str, verdict: str) -> None:
    def without_maxima(results: list[Any]) -> None:
        for each in results:
            each["metrics"] = [metric for metric in each["metrics"] if metric["type"] != "max_ap"]

    pairs_only = tuple(task.name for task in BENCHMARK.tasks if task.type != "PairClassification")
    text = card_text(rows_table(6).replace("| 87.84 |", f"| {printed} |"), brief=True, without=pairs_only)
    report = claims_report(write_card(tmp_path, changed(text, without_maxima)))
    assert report.averages.matches[0].fits["max_ap"] == Fit(0, "", 0.0)
    assert verdicts(report)["rows"] == verdict
    assert not any("max_ap" in text for _, _, text in found_in(report, "rows"))


def test_of_a_row_that_fits_one_convention_no_choice_is_said(tmp_path: Path) -> None:
    values = OURS | {"PairClassification": 86.5, "Average": 68.99}
    report = rows_of(tmp_path, list(values.values()), changes=PAIRS)
    assert report.averages.convention == "max_ap"
    texts = [text for _, _, text in found_in(report, "rows")]
    assert len(texts) == 2
    assert texts[0].startswith("not under cmteb: that would print 76.5 for Pair Classification (2)")
    assert texts[1].startswith("not under unrounded: that would print 76.5")


@pytest.mark.parametrize("without", [(), ("TNews",)])
def test_of_conventions_that_fit_the_one_that_rounds_ties_as_printed_is_taken(tmp_path: Path, without: tuple[str, ...]) -> None:
    text = card_text(rows_table(6).replace("| 87.84 |", "| 87.83 |"), brief=True, without=without)
    averages = claims_report(write_card(tmp_path, text)).averages
    assert averages.front is not None
    assert [name for name, fit in averages.front.fits.items() if fit.equal] == ["cmteb", "max_ap", "unrounded"]
    assert averages.convention == "unrounded"


def test_without_a_row_of_the_card_s_model_every_row_may_be_its_own(tmp_path: Path) -> None:
    others = [["other", *row_like(STS=0.5)], ["another", *row_like()]]
    averages = rows_of(tmp_path, *others).averages
    assert [match.row.header.model for match in averages.own] == ["other", "another"]
    assert averages.front is averages.matches[1]
    averages = rows_of(tmp_path, *others, row_like(Average=1.0)).averages
    assert averages.own == averages.matches[2:]
    assert averages.front is None


def test_each_row_whose_types_do_not_make_its_average_is_named(tmp_path: Path) -> None:
    report = rows_of(tmp_path, row_like(), row_like(Average=0.5), row_like(Classification=-0.35))
    first, second = "row 2 (acge_text_embedding) prints Average (35) 69.57", "row 3 (acge_text_embedding) prints Average (35) 69.07"
    assert found_in(report, "sums") == [
        ("contradicts", report.sheet.places[1], f"{first}; its types make {MEAN:.3f}"),
        ("contradicts", report.sheet.places[2], f"{second}; its types make {MEAN - 0.35 * 9 / 35:.3f}"),
    ]
    assert (check_of(report, "sums").held, check_of(report, "sums").of) == (1, 3)


def test_sizes_that_differ_within_a_width_are_no_size_of_the_file(tmp_path: Path) -> None:
    titles = ["tensor-type", "Model Size (GB)", *OURS]

    def said(*rows: tuple[str, str]) -> list[tuple[str, str, str]]:
        text = table(titles, *([dtype, size, *OURS.values()] for dtype, size in rows))
        report = claims_report(write_card(tmp_path, card_text(text, brief=True)))
        return found_in(report, "sizes") if "sizes" in verdicts(report) else []

    both = [(dtype, size) for dtype in ("fp32", "fp16") for size in ("0.65", "1.3")]
    assert said(*both) == []
    assert said(*both[:1], *both[2:]) == []
    text = "0.65 GB in rows of 2 and of 4 bytes per parameter: the size of the file, not of the weights as they ran"
    assert said(*both[::2]) == [("noted", "table", text)]
    assert said(*both[::2], ("int8", "0.2")) == [("noted", "table", text)]


@pytest.mark.parametrize(
    ("printed", "grade"), [(76.49, "reproduced"), (76.5, "reproduced"), (76.48, "not reproduced"), (76.51, "not reproduced")]
)
def test_a_run_whose_average_lies_on_a_tie_reproduces_either_rounding(tmp_path: Path, printed: float, grade: str) -> None:
    titles = ["tensor-type", "Sequence Length", *OURS]
    rows = [["fp16", "512", *row_like()], ["fp16", "1024", *(OURS | {"PairClassification": printed}).values()]]
    run = write_run(tmp_path / "run", BY_HAND | {"Ocnli": 0.7648, "Cmnli": 0.7651}, header=replace(HEADER, max_len=1024)).path
    comparison = claims_report(write_card(tmp_path / "card", card_text(table(titles, *rows), brief=True)), against=run).comparison
    assert comparison is not None
    second = [each for each in comparison.averages if each.of.startswith("row 2")]
    assert [each.metric for each in second][:2] == ["Average (35)", "Classification (9)"]
    pairs = next(each for each in second if each.metric == "Pair Classification (2)")
    assert (pairs.claimed, pairs.grade, pairs.why) == (printed, grade, "")


@pytest.mark.parametrize(
    ("card", "run", "same"),
    [
        ("NVIDIA TESLA A100", "NVIDIA A100-SXM4-80GB", True),
        ("A100 40G", "NVIDIA A10", False),
        ("rtx 4090", "NVIDIA GeForce RTX 4090", True),
        ("V100", "Tesla V100S", False),
        ("Ascend", "ascend", True),
        ("Ascend", "other", False),
    ],
)
def test_devices_are_the_same_where_they_name_one_chip(tmp_path: Path, card: str, run: str, same: bool) -> None:
    text = card_text(table(["GPU", *OURS], [card, *OURS.values()]), brief=True)
    folder = write_run(tmp_path / "run", header=replace(HEADER, gpu=run)).path
    comparison = claims_report(write_card(tmp_path / "card", text), against=folder).comparison
    assert comparison is not None
    assert [(each.claimed, each.found) for each in comparison.recipe if each.name == "gpu"] == ([] if same else [(card, run)])


# Whose fault


def test_what_the_run_does_not_state_is_not_said_of_the_card(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", harness={}).path
    for path in run.glob("*.json"):
        if path.name != "manifest.json":
            path.write_text(json.dumps(json.loads(path.read_text()) | {"dataset_revision": None}))
    report = claims_report(write_card(tmp_path / "card", card_text(brief=True)), against=run)
    assert report.comparison is not None
    sides = {field.name: (field.claimed, field.found) for field in report.comparison.recipe if field.name.startswith("data ")}
    assert sides == {"data revision": ("stated for 35 tasks", None), "data identity": ("unverified for 35 tasks", None)}
    other = claims_report(
        write_card(tmp_path / "card", card_text(brief=True, revisions={"TNews": ""})), against=write_run(tmp_path / "r").path
    )
    assert other.comparison is not None
    assert [(each.claimed, each.found) for each in other.comparison.recipe if each.name == "data revision"] == [(None, "stated for 1 task")]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ""),
        ({"precision_at_1": 68.598}, "precision_at_1 68.598 is not ndcg_at_1 and mrr_at_1, which are 68.809 and ask the same"),
        ({"ndcg_at_1": 70.1, "precision_at_1": 68.809}, ""),  # graded relevance
    ],
)
def test_precision_at_1_alone_is_no_graded_relevance(tmp_path: Path, changes: dict[str, float], found: str) -> None:
    text = card_text(changes={"CovidRetrieval": {"mrr_at_1": 68.809, **changes}})
    texts = [each.text for each in check_of(claims_report(write_card(tmp_path, text)), "cut-offs").findings]
    assert texts == ([found] if found else [])


def test_a_finding_about_two_rows_counts_as_two(tmp_path: Path) -> None:
    found = check_of(claims_report(write_card(tmp_path, card_text(rows_table() + fenced(SCRIPT), brief=True))), "dtypes")
    assert (found.held, found.of) == (3, 6)


def test_the_claims_of_a_card_without_any_usable_task_are_still_named() -> None:
    found = card_claims(
        changed(card_text(brief=True, without=tuple(t.name for t in BENCHMARK.tasks[1:])), lambda r: r[0].pop("metrics")), BENCHMARK
    )
    assert found.claims == ()
    assert list(found.broken) == [BENCHMARK.tasks[0].name]


@pytest.mark.parametrize(
    ("name", "bare"),
    [("aspire/acge_text_embedding", "acgetextembedding"), ("文本向量-v2", "文本向量v2"), ("team/句子 模型", "句子模型"), ("___", "")],
)
def test_names_are_compared_without_owner_case_and_punctuation_in_any_script(name: str, bare: str) -> None:
    assert bare_name(name) == bare
