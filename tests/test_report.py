"""What a report shows together, and what it never mixes: rows, differences, curves, costs, settings, claims."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from cards import card_text, rows_table, write_card
from hypothesis import given
from hypothesis import strategies as st
from reports import SAMPLE, calibration, heat_cells, ours, page_of, page_text
from runs import BENCHMARK, BY_HAND, HEADER, PUBLISHED, ROOT, table, write_run

from harness.core.benchmarks import load_benchmark
from harness.core.errors import RequestError
from harness.core.run_files import read_run, write_failure
from harness.read.runs import load_runs
from harness.show.report.charts import HEAT, write_charts
from harness.show.report.heat import LABELS, STEPS, step
from harness.show.report.report import build_report


def test_published_results_and_printed_rows_stand_beside_our_runs(tmp_path: Path) -> None:
    report = build_report([ours(tmp_path / "run"), PUBLISHED], BENCHMARK)
    assert [(entry.number, entry.kind) for entry in report.entries] == [
        (1, "ours"),
        (2, "published"),
        *((n, "printed") for n in range(3, 8)),
    ]
    # the card prints six rows; the row of the front matter is already there, task by task
    assert all(entry.row.header.max_len != 512 for entry in report.entries if entry.kind == "printed")
    assert report.entries[1].trusts == ("self-reported",)


def test_a_run_below_two_paths_is_one_row(tmp_path: Path) -> None:
    run = ours(tmp_path / "results" / "run")
    assert len(build_report([run, tmp_path / "results", run], BENCHMARK).entries) == 1


def test_a_model_card_is_a_row_with_the_rows_it_prints(tmp_path: Path) -> None:
    path = write_card(tmp_path, card_text(rows_table(), brief=True))
    kinds = [entry.kind for entry in build_report([path], BENCHMARK).entries]
    assert kinds[0] == "published"
    assert set(kinds[1:]) == {"printed"}


def test_printed_rows_are_left_out_under_a_convention_that_is_not_theirs() -> None:
    report = build_report([PUBLISHED], BENCHMARK, convention="mteb2_31")
    assert [entry.kind for entry in report.entries] == ["published"]
    assert len(report.entries[0].row.tasks) == 31


def test_rows_of_one_model_are_labelled_by_what_differs(tmp_path: Path) -> None:
    for dim in (256, 1792):
        ours(tmp_path / str(dim), dim=dim)
    assert [entry.setting for entry in build_report([tmp_path], BENCHMARK).entries] == ["dim 1792", "dim 256"]


def test_the_heat_map_has_differences_as_they_are_printed(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b", scores=BY_HAND | {"STSB": 0.61234, "BQ": 0.58, "ATEC": 0.600001})
    report = build_report([tmp_path], BENCHMARK)
    assert [(cell.verdict, cell.points) for cell in heat_cells(report, "STSB")] == [("reference", None), ("higher", 1.23)]
    assert heat_cells(report, "BQ")[1].points == -2.0
    assert (heat_cells(report, "ATEC")[1].verdict, heat_cells(report, "ATEC")[1].points) == ("equal", 0.0)


def test_the_reference_can_be_chosen_and_need_not_be_among_the_paths(tmp_path: Path) -> None:
    run = ours(tmp_path / "a" / "run", scores=BY_HAND | {"STSB": 0.7})
    other = ours(tmp_path / "b" / "other")
    report = build_report([run], BENCHMARK, reference=other)
    assert report.heat is not None
    assert report.heat.reference.row.path == other
    assert heat_cells(report, "STSB")[0].points == 10.0


def test_neither_a_sample_nor_a_partial_run_is_the_reference_by_itself(tmp_path: Path) -> None:
    ours(tmp_path / "1", harness=SAMPLE)
    ours(tmp_path / "2", scores={"BQ": 0.5})
    ours(tmp_path / "3")
    heat = build_report([tmp_path], BENCHMARK).heat
    assert heat is not None
    assert heat.reference.row.path == tmp_path / "3"
    assert [entry.number for entry in heat.bare] == [1]


def test_the_reference_is_a_row_that_another_one_can_be_compared_with(tmp_path: Path) -> None:
    ours(tmp_path / "on the benchmark")
    for name in ("a", "b"):
        ours(tmp_path / name, scores={"STSB": 0.6 if name == "a" else 0.7, "BQ": 0.5}, harness=SAMPLE)
    report = build_report([tmp_path], BENCHMARK)
    assert report.heat is not None
    assert report.heat.reference.row.path == tmp_path / "a"
    assert [cell.verdict for cell in heat_cells(report, "STSB")] == ["reference", "higher", "not comparable"]


def test_a_reference_that_is_several_runs_is_refused(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b")
    with pytest.raises(RequestError, match="holds 2 runs"):
        build_report([tmp_path], BENCHMARK, reference=tmp_path)


def test_other_data_is_compared_with_the_very_same_files_alone(tmp_path: Path) -> None:
    ours(tmp_path / "1", harness=SAMPLE)
    ours(tmp_path / "2", harness=SAMPLE, scores=BY_HAND | {"STSB": 0.5})
    ours(tmp_path / "3", harness={"data": {"verdict": "not C-MTEB", "sha256": {"test.jsonl": "bb"}}})
    ours(tmp_path / "4", harness={"data": {"verdict": "not C-MTEB"}})
    ours(tmp_path / "5")
    ours(tmp_path / "6", harness={"data": {"verdict": "verified", "sha256": {"test.jsonl": "aa"}}})  # the same files, another verdict
    cells = heat_cells(build_report([tmp_path], BENCHMARK, reference=tmp_path / "1"), "STSB")
    assert [cell.verdict for cell in cells] == ["reference", "lower", *["not comparable"] * 4]
    assert cells[2].points is None


def test_a_hole_says_why_it_is_one(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    holes = ours(tmp_path / "b", scores={name: score for name, score in BY_HAND.items() if name not in ("STSB", "BQ")})
    write_failure(holes, "STSB", kind="ValueError", message="out of memory", traceback="")
    (holes / "ATEC.json").write_text("{", encoding="utf-8")
    report = build_report([tmp_path], BENCHMARK)
    for task, state in (("STSB", "failed"), ("BQ", "missing"), ("ATEC", "broken")):
        cell = heat_cells(report, task)[1]
        assert (cell.verdict, cell.points, cell.score.state) == ("hole", None, state)
    page = page_of(report, tmp_path / "report.html")
    row = next(text for found, text in page.all("tr", data_run="2") if "data-find" in found)
    assert "32/35" in row
    for state in ("failed", "missing", "broken"):
        assert f"1 {state}" in row
    assert "out of memory" in next(text for _, text in page.all("article", data_run="2"))


def test_the_noise_band_is_that_of_its_task(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b", scores=BY_HAND | {"STSB": 0.6009, "BQ": 0.6009})
    ours(tmp_path / "c", scores=BY_HAND | {"STSB": 0.6011})
    file = calibration(tmp_path / "noise.json", run="a", tolerance=0.1)
    report = build_report([tmp_path], BENCHMARK, calibration=file)
    assert [cell.verdict for cell in heat_cells(report, "STSB")] == ["reference", "within noise", "higher"]
    assert heat_cells(report, "BQ")[1].verdict == "higher"  # no band is known for it
    marked = page_of(report, tmp_path / "report.html").all("td", class_="within-noise")
    assert [text.split() for _, text in marked] == [["within", "noise噪声之内≈", "+0.09"]]


def test_the_reference_is_the_run_that_was_calibrated(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b")
    report = build_report([tmp_path], BENCHMARK, calibration=calibration(tmp_path / "noise.json", run="b", tolerance=0.1))
    assert report.heat is not None
    assert report.heat.reference.row.path == tmp_path / "b"


def test_a_calibration_of_another_run_is_refused(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b")
    file = calibration(tmp_path / "noise.json", run="elsewhere", tolerance=0.1)
    with pytest.raises(RequestError, match="belongs to another run"):
        build_report([tmp_path], BENCHMARK, calibration=file)


def test_a_calibration_beside_the_reference_is_used_and_named(tmp_path: Path) -> None:
    ours(tmp_path / "a")
    ours(tmp_path / "b", scores=BY_HAND | {"STSB": 0.6009})
    file = calibration(tmp_path / "a" / "calibration.json", run="a", tolerance=0.1)
    report = build_report([tmp_path], BENCHMARK)
    assert report.heat is not None
    assert report.heat.calibration == file
    assert str(file) in page_text(report, tmp_path / "report.html")


@given(st.floats(min_value=-100, max_value=100, allow_nan=False))
def test_the_colour_of_a_difference_is_odd_and_grows_with_it(points: float) -> None:
    assert step(points) == -step(-points)
    assert (step(points) == 0) == (points == 0)
    assert abs(step(points)) == (1 + sum(abs(points) >= edge for edge in STEPS) if points else 0)


def test_every_colour_has_its_label() -> None:
    assert len(LABELS) == len(HEAT) == 11
    assert LABELS[:2] + LABELS[4:7] == ("≤ −5", "−2…5", "−0.01…0.1", "0", "+0.01…0.1")


def test_a_curve_holds_runs_that_differ_in_one_setting_alone(tmp_path: Path) -> None:
    for dim in (256, 64, 1792):
        for max_len in (128, 512):
            ours(tmp_path / f"{dim}_{max_len}", dim=dim, max_len=max_len)
    ours(tmp_path / "other_weights", dim=512, versions={"torch": "1"})
    curves = {each.axis: each for each in build_report([tmp_path], BENCHMARK).curves}
    assert [[point.x for point in line.points] for line in curves["dim"].lines] == [[64, 256, 1792], [64, 256, 1792]]
    assert {line.label for line in curves["dim"].lines} == {f"acge · NVIDIA TESLA A100 · float16 · max_len {each}" for each in (128, 512)}
    assert [[point.x for point in line.points] for line in curves["max_len"].lines] == [[128, 512]] * 3
    assert curves["dim"].lines[0].points[0].values["Average"] == 45.88


def test_a_run_without_an_average_is_on_no_curve(tmp_path: Path) -> None:
    for max_len, scores in ((128, BY_HAND), (512, BY_HAND), (1024, {"STSB": 0.5})):
        ours(tmp_path / str(max_len), max_len=max_len, scores=scores, run="r")
    (curves,) = build_report([tmp_path], BENCHMARK).curves
    assert [[point.x for point in line.points] for line in curves.lines] == [[128, 512]]


def test_the_rows_of_a_card_make_a_curve_over_length() -> None:
    (curves,) = build_report([PUBLISHED], BENCHMARK).curves
    (line,) = curves.lines
    assert [(point.x, point.values["Average"]) for point in line.points] == [(512, 69.07), (768, 68.95), (1024, 68.99)]


def test_other_data_has_curves_of_its_own(tmp_path: Path) -> None:
    for dim in (64, 1792):
        ours(tmp_path / f"real{dim}", dim=dim)
        ours(tmp_path / f"sample{dim}", dim=dim, harness=SAMPLE)
    curves = build_report([tmp_path], BENCHMARK).curves
    assert [(each.axis, each.on_benchmark, len(each.lines)) for each in curves] == [("dim", True, 1), ("dim", False, 1)]


def test_a_run_with_averages_of_some_types_stretches_no_other_axis(tmp_path: Path) -> None:
    pairs = {task.name: 0.5 for task in BENCHMARK.tasks if task.type == "PairClassification"}
    for dim, scores in ((8, pairs), (512, BY_HAND), (1792, BY_HAND)):
        ours(tmp_path / str(dim), dim=dim, scores=scores)
    write_charts(build_report([tmp_path], BENCHMARK), tmp_path / "charts")
    svg = (tmp_path / "charts" / "dim.svg").read_text(encoding="utf-8")
    assert [svg.count(f">{dim}</text>") for dim in (8, 512, 1792)] == [1, 7, 7]


def test_a_hole_breaks_a_curve_and_is_shown_in_its_table(tmp_path: Path) -> None:
    for dim in (64, 256, 1792):
        ours(tmp_path / str(dim), dim=dim, scores={n: s for n, s in BY_HAND.items() if dim != 256 or n != "STSB"})
    report = build_report([tmp_path], BENCHMARK)
    assert [point.values["STS"] for point in report.curves[0].lines[0].points] == [60.0, None, 60.0]
    write_charts(report, tmp_path / "charts")
    svg = (tmp_path / "charts" / "dim.svg").read_text(encoding="utf-8")
    drawn = re.findall(r'aria-label="(?:\d+): ([\d.]+) \(#\d\)"', svg)
    assert drawn.count("60.00") == 2  # the two points of STS; nothing stands where the hole is
    paths = re.findall(r'aria-roledescription="line mark" d="([^"]+)"', svg)
    assert {path.count("L") for path in paths} == {0, 2} or {path.count("L") for path in paths} == {2}


def test_costs_are_summed_over_sittings_and_a_torn_line_is_reported(tmp_path: Path) -> None:
    run = ours(tmp_path / "a")
    lines = [
        {
            "tasks": ["STSB"],
            "encoding": {"encode_seconds": 2.0, "tokenize_seconds": 0.5, "texts": 10, "distinct": 8, "found": 3, "tokens": 70},
        },
        {"tasks": ["STSB"], "seconds": {"loading": 9.0, "encoding": 2.0, "scoring": 1.5}},
        {"run": {"waiting_seconds": 0.25}, "memory": {"process_gib": 1.5, "device_gib": None}},
        {"tasks": ["BQ"], "encoding": {"encode_seconds": 1.0, "texts": 5, "distinct": 5, "tokens": 30}},
        {"tasks": ["BQ"], "seconds": {"scoring": 0.5}},
        {"tasks": ["ATEC"], "shared_with": "other"},
        {"canary": {"seconds": 0.75}},
        {"run": {"waiting_seconds": 0.5}, "memory": {"process_gib": 2.5, "device_gib": None}},
    ]
    (run / "costs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"tasks": ["AF', encoding="utf-8")
    ours(tmp_path / "b")
    report = build_report([tmp_path], BENCHMARK)
    (cost,) = report.costs
    assert (cost.encoding.encode_seconds, cost.scoring_seconds, cost.waiting_seconds, cost.encoding.tokenize_seconds) == (
        3.0,
        2.0,
        0.75,
        0.5,
    )
    assert (cost.encoding.texts, cost.encoding.distinct, cost.encoding.found, cost.encoding.tokens, cost.shared, cost.damaged) == (
        15,
        13,
        3,
        100,
        1,
        1,
    )
    assert (cost.canary_seconds, cost.memory_gib, cost.device_memory_gib) == (0.75, 2.5, None)
    assert [entry.number for entry in report.without_costs] == [2]


def test_settings_show_what_differs_and_nothing_else(tmp_path: Path) -> None:
    ours(tmp_path / "a", versions={"torch": "2.13.0", "numpy": "2.4.6"})
    ours(tmp_path / "b", dim=256, versions={"torch": "2.12.0", "numpy": "2.4.6"})
    ours(tmp_path / "c", versions={"torch": "2.13.0", "numpy": "2.4.6"})
    settings = build_report([tmp_path, PUBLISHED], BENCHMARK).settings
    assert settings is not None
    assert [entry.kind for entry in settings.entries] == ["ours"] * 3  # of others nothing is known that could differ
    assert {row.name: row.values for row in settings.rows} == {
        "spec.dim": ("1792", "256", "1792"),
        "versions.torch": ("2.13.0", "2.12.0", "2.13.0"),
    }


def test_one_run_has_no_settings_that_differ(tmp_path: Path) -> None:
    report = build_report([ours(tmp_path / "a")], BENCHMARK)
    assert (report.settings, report.heat, report.curves) == (None, None, ())
    page_of(report, tmp_path / "report.html")


def test_a_card_is_graded_against_the_runs_of_its_model_alone(tmp_path: Path) -> None:
    ours(tmp_path / "other", model="another_model")
    mine = ours(tmp_path / "mine", model="acge_text_embedding")
    by_hub = ours(tmp_path / "hub", model="acge", spec={"model": {"hub": "aspire/acge_text_embedding"}})
    report = build_report([tmp_path], BENCHMARK, card=PUBLISHED)
    assert {each.comparison.path for each in report.claims if each.comparison} == {mine, by_hub}
    page = page_of(report, tmp_path / "report.html")
    assert any(text.startswith("not reproduced") for _, text in page.all("span", class_="not-reproduced"))


def test_a_calibration_for_another_benchmark_is_left_alone() -> None:
    baselines = ROOT / "results" / "baselines" / "sample"
    for benchmark in (BENCHMARK, load_benchmark("cmn_v1")):
        heat = build_report([baselines, PUBLISHED], benchmark, reference=next(baselines.iterdir())).heat
        assert heat is not None
        assert (heat.calibration is not None) == (benchmark is BENCHMARK)


def test_a_calibration_grades_the_claims_of_its_own_run_alone(tmp_path: Path) -> None:
    published = read_run(PUBLISHED, BENCHMARK)
    scores = {name: record.main_score(BENCHMARK.task(name)) for name, record in published.records.items()}
    for name in ("a", "b"):
        ours(tmp_path / name, model="acge_text_embedding", scores=scores | {"STSB": scores["STSB"] + 0.0005})
    noise = calibration(tmp_path / "noise.json", run="b", tolerance=0.1, score=100 * (scores["STSB"] + 0.0005))
    reports = build_report([tmp_path], BENCHMARK, card=PUBLISHED, calibration=noise).claims
    graded = {each.comparison.path.name: each.comparison for each in reports if each.comparison}
    grades = {name: next(cell.grade for cell in graded[name].cells if cell.of == "STSB" and cell.main) for name in graded}
    assert grades == {"a": "not reproduced", "b": "within noise"}


def test_a_card_without_a_run_of_its_model_is_checked_by_itself(tmp_path: Path) -> None:
    (claims,) = build_report([ours(tmp_path / "a", model="x")], BENCHMARK, card=PUBLISHED).claims
    assert claims.comparison is None
    assert {check.name for check in claims.checks} >= {"rows", "sums", "counts"}


def test_of_very_many_rows_the_reference_and_the_best_are_shown_task_by_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.show.report.report.DETAILED", 2)
    for number, score in enumerate((0.1, 0.9, 0.5, 0.7)):
        write_run(tmp_path / str(number), dict.fromkeys(BY_HAND, score))
    report = build_report([tmp_path], BENCHMARK, reference=tmp_path / "0")
    assert [entry.row.path.name for entry in report.entries] == ["0", "1", "2", "3"]
    assert [entry.row.path.name for entry in report.detailed] == ["0", "1"]
    assert report.heat is not None
    assert report.heat.entries == report.detailed


def test_rows_of_one_name_and_setting_show_what_differs_of_their_paths(tmp_path: Path) -> None:
    for name in ("a/first", "b/second"):
        write_run(tmp_path / name)
    text = table(load_runs([tmp_path], BENCHMARK), BENCHMARK, format="md")
    assert "acge (a/first)" in text
    assert "acge (b/second)" in text


def test_a_name_of_20_000_characters_is_cut_in_its_middle(tmp_path: Path) -> None:
    write_run(tmp_path / "run", header=replace(HEADER, model="a" * 10_000 + "z" * 10_000))
    text = table(load_runs([tmp_path], BENCHMARK), BENCHMARK)
    assert max(map(len, text.splitlines())) <= 120
    assert "~" in text


def test_the_convention_is_said_in_both_languages(tmp_path: Path) -> None:
    report = build_report([PUBLISHED], BENCHMARK)
    spans = [words for found, words in page_of(report, tmp_path / "report.html").all("span", lang="zh-Hans")]
    assert any("平均分的算法" in words and "任务分数先取两位小数" in words and "cos_sim ap" in words for words in spans)
    assert build_report([PUBLISHED], BENCHMARK, convention="mteb2_31").about["zh"].startswith("mteb 2 的 MTEB(cmn, v1)")
