"""A card is checked against itself and against a run: planted faults are found, sound cards are not accused, every cell has its grade.

The golden reports are written again by `UPDATE_GOLDEN=1 pytest tests/test_claims.py`; read the difference before committing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cards import METRICS, SCRIPT, card_text, fenced, mteb2_file, rows_table, write_card
from real_data import SEED_CARD, needs_seed_card
from rich.cells import cell_len
from runs import BENCHMARK, HEADER, PUBLISHED, VERIFIED, manifest_of, write_task

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.calibration import Calibration, MetricNoise, Rounding, points, write_calibration
from harness.core.errors import InputError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.records import RowHeader, nested_metrics
from harness.core.run_files import read_manifest, read_run, write_failure, write_manifest
from harness.read.claims.findings import Check
from harness.read.claims.numbers import MTEB_1_1_1
from harness.read.claims.report import ClaimsReport, claims_report
from harness.read.leaderboard import beside, leaderboard_row, printed_rows
from harness.show.claims import claims_document
from harness.show.form import write_document

GOLDEN = Path(__file__).parent / "golden"


def checked(tmp_path: Path, text: str, name: str) -> Check:
    report = claims_report(write_card(tmp_path, text))
    return next(check for check in report.checks if check.name == name)


def brief_card(body: str) -> str:
    return card_text(body, brief=True)


def contradictions(report: ClaimsReport) -> list[str]:
    return [check.name for check in report.checks if check.verdict == "contradicts"]


def texts(check: Check, verdict: str | None = None) -> str:
    return "\n".join(f"{each.where}: {each.text}" for each in check.findings if verdict in (None, each.verdict))


# The card against itself: numbers


def test_a_sound_card_is_accused_of_nothing(tmp_path: Path) -> None:
    report = claims_report(write_card(tmp_path, card_text(rows_table() + "We ran six tests.\n" + fenced(SCRIPT))))
    assert contradictions(report) == ["dtypes"]  # its table has bfloat16 and float32 rows, the script makes float16
    held = {check.name: (check.held, check.of) for check in report.checks}
    assert held["counts"] == (41, 41)
    assert held["maxima"] == (6, 6)
    assert held["F1"] == (8, 8)
    assert held["cut-offs"] == (8, 8)
    assert held["revisions"] == (35, 35)
    assert held["sums"] == (6, 6)


@pytest.mark.parametrize("decimals", [1, 2, 3, 4, 5, 8, 12])
def test_rounded_numbers_are_not_called_wrong(tmp_path: Path, decimals: int) -> None:
    report = claims_report(write_card(tmp_path, card_text(decimals=decimals)))
    assert contradictions(report) == []


def test_few_digits_prove_nothing(tmp_path: Path) -> None:
    assert "T2Retrieval precision_at_1 (100%)" in texts(checked(tmp_path, card_text(decimals=2), "counts"), "can't tell")
    assert checked(tmp_path, card_text(decimals=1), "counts").held < 10


@pytest.mark.parametrize(
    ("task", "metric", "value", "check", "output"),
    [
        ("TNews", "accuracy", 53.6871, "counts", "no whole number"),
        ("IFlyTek", "accuracy", METRICS["IFlyTek"]["accuracy"] + 0.5 * 100 / (2599 * 5), "counts", "2599 texts, 5 experiments"),
        ("T2Reranking", "mrr", METRICS["T2Reranking"]["mrr"] + 1e-5, "counts", "5908 samples"),
        ("CovidRetrieval", "precision_at_1", 68.85, "counts", "949 queries"),
        ("Ocnli", "cos_sim_accuracy", 81.0, "counts", "1847 pairs"),
        ("Cmnli", "dot_recall", 88.42, "counts", "4277 positive pairs"),
        ("Ocnli", "max_ap", 85.18, "maxima", "the largest is euclidean_ap"),
        ("Cmnli", "max_f1", 84.28794294628929, "maxima", "manhattan_f1"),
        ("Ocnli", "dot_precision", 75.5, "F1", "dot_f1"),
        ("DuRetrieval", "recall_at_100", 50.0, "cut-offs", "recall_at_100 is too low for recall_at_10"),
        ("DuRetrieval", "map_at_1", 25.0, "cut-offs", "map_at_1 25.0 is not recall_at_1"),
        ("EcomRetrieval", "precision_at_10", 1.0, "cut-offs", "precision_at_10 is too low for precision_at_5"),
    ],
)
def test_a_wrong_number_is_found(tmp_path: Path, task: str, metric: str, value: float, check: str, output: str) -> None:
    found = checked(tmp_path, card_text(changes={task: {metric: value}}), check)
    assert found.verdict == "contradicts"
    assert task in texts(found, "contradicts")
    assert output in texts(found, "contradicts")


def test_ties_leave_their_trace(tmp_path: Path) -> None:
    found = checked(tmp_path, card_text(), "ties")
    assert (found.verdict, found.held, found.of) == ("noted", 6, 8)
    assert "CovidRetrieval: ndcg_at_1 68.809 and mrr_at_1 68.915 differ (653 and 654 of 949 queries)" in texts(found)
    assert "MedicalRetrieval: ndcg_at_1 55 and mrr_at_1 55.2 differ (550 and 552 of 1000 queries)" in texts(found)
    untied = {"CovidRetrieval": {"mrr_at_1": 68.809}, "MedicalRetrieval": {"mrr_at_1": 55.0}}
    assert checked(tmp_path, card_text(changes=untied), "ties").verdict == "holds"


@pytest.mark.parametrize(("verdict", "expected"), [("not C-MTEB", "can't tell"), ("unverified", "contradicts")])
def test_texts_of_other_data_are_not_counted_by_the_benchmark_s(tmp_path: Path, verdict: str, expected: str) -> None:
    write_manifest(tmp_path, manifest_of())
    write_task(tmp_path, BENCHMARK.task("TNews"), {"accuracy": 1 / 7, "f1": 0.5}, {"data": {"verdict": verdict}})
    found = next(check for check in claims_report(tmp_path).checks if check.name == "counts")
    assert (found.verdict, found.held) == (expected, 0)
    assert ("how many texts there were is not known: TNews" in texts(found)) == (verdict == "not C-MTEB")


# The card against itself: printed rows


def test_the_row_of_the_front_matter_is_found_under_each_convention(tmp_path: Path) -> None:
    report = claims_report(write_card(tmp_path, card_text(rows_table())))
    front = report.averages.front
    assert front is not None
    assert (front.number, front.setting, report.averages.convention) == (6, "NVIDIA TESLA A100 float16 512", "cmteb")
    assert {name: fit.equal for name, fit in front.fits.items()} == {"cmteb": True, "max_ap": True, "unrounded": False}
    assert front.fits["unrounded"].column == "Pair Classification (2)"
    third = report.averages.matches[2].fits["cmteb"]
    assert (third.column, third.points) == ("Retrieval (8)", -0.44)


def test_a_card_whose_row_is_printed_unrounded(tmp_path: Path) -> None:
    text = card_text(rows_table().replace("58.7 | 87.84 | 67.99 |", "58.7 | 87.83 | 67.99 |"))
    report = claims_report(write_card(tmp_path, text))
    assert report.averages.convention == "unrounded"


@pytest.mark.parametrize(
    ("old", "new", "check", "output"),
    [
        ("| 69.07 |", "| 69.17 |", "sums", "row 6 (NVIDIA TESLA A100 float16 512) prints Average (35) 69.17; its types make 69.067"),
        ("| 69.07 |", "| 69.17 |", "rows", "nearest is row 6 (NVIDIA TESLA A100 float16 512), +0.10 in Average (35)"),
        ("| 62.09 |", "| 62.19 |", "rows", "+0.10 in STS (8)"),
    ],
)
def test_a_wrong_average_is_found(tmp_path: Path, old: str, new: str, check: str, output: str) -> None:
    found = checked(tmp_path, card_text(rows_table().replace(old, new)), check)
    assert found.verdict == "contradicts"
    assert output in texts(found, "contradicts")


def test_without_a_table_nothing_is_said_of_rows(tmp_path: Path) -> None:
    found = checked(tmp_path, card_text("We tested it four times and report the lowest accuracy.\n"), "rows")
    assert (found.verdict, texts(found)) == ("can't tell", "card: there is no table of averages to compare with")


def test_rows_of_other_models_and_other_columns_are_read(tmp_path: Path) -> None:
    head = "| Model | Size | Sequence Length | " + " | ".join(f"**{title}**" for title in list(claims_titles())) + " |"
    rows = ["| bge | 1 | 512 | 64.53 | 69.13 | 48.99 | 81.6 | 65.84 | 70.46 | 56.25 |", "| other | 1 | n/a | - | - | - | - | - | - | - |"]
    ours = "| **acge_text_embedding** | 1 | 512 | 69.07 | 72.75 | 58.70 | 87.84 | 67.99 | 72.93 | **62.09** |"
    report = claims_report(write_card(tmp_path, card_text("\n".join(["", head, "|---" * 10 + "|", *rows, ours, ""]))))
    front = report.averages.front
    assert front is not None
    assert (front.row.header.model, front.row.header.max_len, front.row.header.gpu) == ("acge_text_embedding", 512, "")
    assert any("Average (35) in line" in note for note in report.sheet.notes)


def claims_titles() -> list[str]:
    return rows_table().splitlines()[1].strip("| ").split(" | ")[6:]


def test_partial_cards_are_compared_as_far_as_they_go(tmp_path: Path) -> None:
    report = claims_report(write_card(tmp_path, card_text(rows_table(6), without=("TNews", "STSB"))))
    assert report.averages.front is not None
    assert report.averages.computed["cmteb"]["Average (35)"] is None
    output = "\n".join(texts(check) for check in report.checks)
    assert "no claim for 2 of the 35 tasks: TNews, STSB" in output
    assert "only some columns could be compared" in output


# The card against itself: revisions and versions


def test_pinned_revisions_of_mteb_1_1_1_are_those_of_the_package() -> None:
    from mteb import MTEB

    pinned = {task.description["name"]: task.description.get("revision") for task in MTEB(task_langs=["zh", "zh-CN"]).tasks}
    assert len(pinned) == 35
    assert {name: revision for name, revision in pinned.items() if revision} == MTEB_1_1_1
    assert {task.name for task in load_benchmark().tasks if MTEB_1_1_1.get(task.name) == task.revision} == set(MTEB_1_1_1) - {"STS22"}


@pytest.mark.parametrize(
    ("body", "verdict", "output"),
    [
        ("", "noted", "32 revisions are pinned from mteb 1.1.2 on, not in 1.1.1"),
        ("Tested with mteb==1.1.1.", "contradicts", "which is named"),
        ("`pip install mteb[beir]==1.1.0`", "contradicts", "which is named"),
        ("Tested with mteb 1.2.0.", "holds", ""),
        ("See C-MTEB 1.1.0 and mteb/leaderboard v1.0", "noted", "no version is named"),
    ],
)
def test_revisions_show_the_version_of_mteb(tmp_path: Path, body: str, verdict: str, output: str) -> None:
    found = checked(tmp_path, card_text(body + "\n"), "version")
    assert found.verdict == verdict
    assert output in texts(found)


def test_revisions_of_an_old_mteb_are_recognised(tmp_path: Path) -> None:
    revisions = {task.name: MTEB_1_1_1.get(task.name, "None") for task in BENCHMARK.tasks}
    text = card_text(revisions=revisions)
    assert "made with it or an older one" in texts(checked(tmp_path, text, "version"))
    found = checked(tmp_path, text, "revisions")
    assert (found.held, found.of) == (3, 35)
    assert "STS22: revision 6d1ba471 of mteb/sts22-crosslingual-sts; cmteb35 pins eea2b4fe: another state of the data" in texts(found)
    assert "no revision is stated for 31 tasks" in texts(found)


# The card against itself: words


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("We ran six tests.", "holds"),
        ("We ran four tests on two GPUs.", "contradicts"),
        ("All models were evaluated 4 times, with different dtypes.", "contradicts"),
        ("我们进行了六次测试。", "holds"),
        ("一共测试了 3 次，取平均。", "contradicts"),
        ("It beats 12 other models in 4 languages.", "can't tell"),
        ("The model was trained three times longer.", "can't tell"),
        ("```\nWe ran four tests.\n```", "can't tell"),
    ],
)
def test_the_number_of_tests_that_the_text_states(tmp_path: Path, sentence: str, verdict: str) -> None:
    assert checked(tmp_path, brief_card(f"{sentence}\n\n{rows_table()}"), "tests").verdict == verdict


def test_rows_that_may_be_meant_are_named(tmp_path: Path) -> None:
    found = checked(tmp_path, brief_card(f"We ran four tests.\n\n{rows_table()}"), "tests")
    assert "4 have Sequence Length 1024 (rows 1, 2, 3 and 4) and may be those" in texts(found)


@pytest.mark.parametrize(
    ("sentence", "verdict", "output"),
    [
        ("We report the run with the lowest accuracy.", "contradicts", "the highest of 6 (69.07; 68.91 to 69.07)"),
        ("We report the run with the highest score.", "holds", ""),
        ("选取了一个精度最低的测试作为最终结果。", "contradicts", "bfloat16 has 8 significant bits, float16 11"),
        ("采用得分最高的一次。", "holds", ""),
        ("The lowest score is that of STS.", "can't tell", ""),
        ("We chose the model for you.", "can't tell", ""),
    ],
)
def test_which_test_was_taken(tmp_path: Path, sentence: str, verdict: str, output: str) -> None:
    found = checked(tmp_path, brief_card(f"{sentence}\n\n{rows_table()}"), "choice")
    assert found.verdict == verdict
    assert output in texts(found)


def test_without_a_row_of_its_own_the_choice_can_not_be_judged(tmp_path: Path) -> None:
    text = brief_card("We report the run with the lowest accuracy.\n" + rows_table(1, 2))
    assert "no row is known to be the front matter" in texts(checked(tmp_path, text, "choice"))


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [("Sequence Length为512时测试最佳。", "holds"), ("A max_len of 1024 is best.", "contradicts"), ("Lengths matter.", "can't tell")],
)
def test_the_length_that_is_best(tmp_path: Path, sentence: str, verdict: str) -> None:
    assert checked(tmp_path, brief_card(f"{sentence}\n\n{rows_table()}"), "length").verdict == verdict


@pytest.mark.parametrize(
    ("sentence", "verdict"),
    [
        ("Results differ between runs because of the randomness of the data.", "contradicts"),
        ("因为数据的随机性，每次的结果不一致。", "contradicts"),
        ("Negatives are sampled at random.", "can't tell"),
    ],
)
def test_randomness_is_no_reason(tmp_path: Path, sentence: str, verdict: str) -> None:
    found = checked(tmp_path, brief_card(f"{sentence}\n\n{rows_table()}"), "randomness")
    assert found.verdict == verdict
    if verdict == "contradicts":
        assert "rows 1 and 2 differ by -0.14 in Reranking (4), where nothing is drawn" in texts(found)


@pytest.mark.parametrize(
    ("old", "new", "verdict", "output"),
    [
        ("", "", "holds", ""),
        ("default=512", "default=1024", "contradicts", "the default of --max_len is 1024, the front matter is row 6"),
        ("= args.max_len", "= 256", "contradicts", "max_seq_length is 256"),
        ("default=512", "required=True", "can't tell", ""),
    ],
)
def test_the_script_against_the_row_of_the_front_matter(tmp_path: Path, old: str, new: str, verdict: str, output: str) -> None:
    found = checked(tmp_path, brief_card(rows_table() + fenced(SCRIPT.replace(old, new) if old else SCRIPT)), "settings")
    assert found.verdict == verdict
    assert output in texts(found)


@pytest.mark.parametrize(
    ("cells", "verdict"),
    [
        ("acge-text-embedding | [1024, 1792] | 512", "holds"),
        ("acge_text_embedding | 1024 | 512", "contradicts"),
        ("another | 7 | 7", "can't tell"),
    ],
)
def test_other_tables_against_the_row_of_the_front_matter(tmp_path: Path, cells: str, verdict: str) -> None:
    table = f"\n| Model Name | Dimension | Sequence Length |\n|:--|:-:|--:|\n| {cells} |\n"
    assert checked(tmp_path, brief_card(table + rows_table()), "settings").verdict == verdict


@pytest.mark.parametrize(
    ("old", "new", "verdict", "output"),
    [
        ("", "", "holds", ""),
        ("args = ", 'parser.add_argument("--pooling_method", default="cls")\nargs = ', "contradicts", "--pooling_method (default 'cls')"),
        ("args = ", 'parser.add_argument("-b", "--batch-size", dest="rows")\nargs = ', "contradicts", "--batch-size and never"),
        ("args = ", 'parser.add_argument("--a")\nx = lambda: getattr(args, "a")\nargs = ', "holds", ""),
        ("args = ", 'parser.add_argument("--a")\nx = lambda: getattr(args, name)\nargs = ', "can't tell", "as a whole"),
        (".run(model)", ".run(model, **vars(args))", "can't tell", "as a whole"),
        ("import argparse", "import argparse,", "can't tell", "is no Python 3"),
        ("from mteb import MTEB", "", "can't tell", ""),
    ],
)
def test_options_that_nothing_reads(tmp_path: Path, old: str, new: str, verdict: str, output: str) -> None:
    found = checked(tmp_path, brief_card(rows_table() + fenced(SCRIPT.replace(old, new) if old else SCRIPT)), "options")
    assert found.verdict == verdict
    assert output in texts(found)


@pytest.mark.parametrize(
    ("call", "verdict", "output"),
    [
        (".half()", "contradicts", "makes float16 only; rows 1 and 2 of the table are bfloat16"),
        (".to(torch.bfloat16)", "contradicts", "makes bfloat16 only; rows 3, 5 and 6 of the table are float16"),
        (".to(torch.half if args.half else torch.bfloat16)", "holds", ""),
        ("\nif args.half: model = model.half()", "contradicts", "makes float16 and float32 only; rows 1 and 2"),
        ("\nmodel = load(torch_dtype=args.dtype)", "can't tell", "depends on what is not in the script"),
        ('\nmodel = load(dtype="bfloat16")', "contradicts", "makes bfloat16 only"),
        ("\nmodel = load(torch_dtype=torch.float16)", "contradicts", "makes float16 only"),
        ("\nmodel = load(use_fp16=True)", "contradicts", "makes float16 only"),
        ("\nmodel = load(fp16=args.fp16)", "can't tell", "depends on what"),
        ("", "can't tell", "names no dtype"),
    ],
)
def test_dtypes_that_the_script_can_make(tmp_path: Path, call: str, verdict: str, output: str) -> None:
    found = checked(tmp_path, brief_card(rows_table() + fenced(SCRIPT.replace(".half()", call))), "dtypes")
    assert found.verdict == verdict
    assert output in texts(found)


@pytest.mark.parametrize(
    "body",
    [
        "```python\nimport mteb",
        "~~~\n~~~\n```",
        "| Average (35) |\n|---|",
        "|",
        "\x00",
        "- 1024\n" * 50,
        "测试了十次" * 3000,
        "```python\n" + "(" * 5000,
    ],
)
def test_no_text_breaks_the_checks(tmp_path: Path, body: str) -> None:
    report = claims_report(write_card(tmp_path, brief_card(body)))
    for form in ("text", "md", "csv", "json", "latex", "html"):
        assert write_document(claims_document(report), form)


# The seed card


@needs_seed_card
def test_what_is_wrong_with_the_seed_card_is_found_unaided() -> None:
    report = claims_report(SEED_CARD)
    assert contradictions(report) == ["tests", "choice", "randomness", "settings", "options", "dtypes"]
    output = {check.name: texts(check) for check in report.checks}
    assert "4 tests, the table has 6 rows; 4 have Sequence Length 1024 (rows 1, 2, 3 and 4)" in output["tests"]
    assert "row 6 (NVIDIA TESLA A100 float16 512) is the front matter, the highest of 6" in output["choice"]
    assert "bfloat16 has 8 significant bits, float16 11" in output["choice"]
    assert "the default of --max_len is 1024" in output["settings"]
    assert "Sequence Length of the model is 1024" in output["settings"]
    assert "--pooling_method (default 'cls') and never reads it" in output["options"]
    assert "rows 1 and 2 of the table are bfloat16" in output["dtypes"]
    assert "row 4 of the table is float32" in output["dtypes"]
    assert "32 revisions are pinned from mteb 1.1.2 on" in output["version"]
    assert "653 and 654 of 949" in output["ties"]
    assert "550 and 552 of 1000" in output["ties"]
    assert "rows 1 and 2 differ by -0.14 in Reranking (4)" in output["randomness"]
    assert "under cmteb and max_ap: the card does not say which" in output["rows"]
    assert "unrounded: that would print 87.83" in output["rows"]
    held = {check.name: (check.held, check.of) for check in report.checks}
    assert (held["counts"], held["maxima"], held["F1"], held["revisions"], held["sums"]) == ((41, 41), (6, 6), (8, 8), (35, 35), (6, 6))
    third, fifth = report.averages.matches[2], report.averages.matches[4]
    assert {match.fits["cmteb"].column for match in (third, fifth)} == {"Retrieval (8)"}


@needs_seed_card
def test_the_seed_card_is_its_published_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", str(SEED_CARD), "--against", str(PUBLISHED)]) == 0
    output = capsys.readouterr().out
    assert "main metrics: 35 reproduced (35 equal in all digits)" in output
    assert "other metrics: 332 reproduced (332 equal in all digits)" in output
    assert "The run is self-reported, too" in output


# Against a run


def run_like_the_card(
    folder: Path,
    changes: Mapping[str, Mapping[str, float]] | None = None,
    *,
    header: RowHeader = HEADER,
    harness: Mapping[str, Any] = VERIFIED,
    only: Mapping[str, Mapping[str, Any]] | None = None,
    without: tuple[str, ...] = (),
) -> Path:
    """A run with the card's own numbers but for `changes`. `only`: task -> other fields of its record."""
    write_manifest(folder, manifest_of(header, {"spec": {"model": {"name": "acge", "hub": "aspire/acge_text_embedding"}}}))
    for task in BENCHMARK.tasks:
        if task.name in without:
            continue
        flat = {name: value / 100 for name, value in {**METRICS[task.name], **(changes or {}).get(task.name, {})}.items()}
        metrics: dict[str, Any] = nested_metrics(flat)
        fields = {"harness": harness, **(only or {}).get(task.name, {})}
        write_task(folder, task, {task.language: metrics} if task.language else metrics, **fields)
    return folder


def against(tmp_path: Path, run: Path, noise: Path | None = None) -> ClaimsReport:
    return claims_report(write_card(tmp_path / "card", card_text(rows_table() + fenced(SCRIPT))), against=run, noise=noise)


def cell(report: ClaimsReport, of: str, metric: str) -> Any:
    assert report.comparison is not None
    cells = (*report.comparison.cells, *report.comparison.averages)
    return next(each for each in cells if each.of.startswith(of) and each.metric == metric)


def test_the_same_numbers_are_reproduced(tmp_path: Path) -> None:
    report = against(tmp_path, run_like_the_card(tmp_path / "run"))
    assert report.exit_code == 0
    assert report.comparison is not None
    assert {(each.grade, each.why) for each in (*report.comparison.cells, *report.comparison.averages)} == {("reproduced", "")}
    assert (len(report.comparison.cells), len(report.comparison.averages)) == (367, 7)
    assert not report.comparison.self_reported
    assert [field.name for field in report.comparison.recipe if field.differs] == []


def test_a_digit_that_is_not_printed_does_not_count(tmp_path: Path) -> None:
    report = against(tmp_path, run_like_the_card(tmp_path / "run", {"TNews": {"accuracy": METRICS["TNews"]["accuracy"] + 0.001}}))
    found = cell(report, "TNews", "accuracy")
    assert (found.grade, found.exact, report.exit_code) == ("reproduced", False, 0)


def test_a_run_of_another_model_says_so(tmp_path: Path) -> None:
    run = run_like_the_card(tmp_path / "run")
    write_manifest(run, manifest_of(HEADER, {"spec": {"model": {"name": "acge", "hub": None}}}))
    report = against(tmp_path, run)
    assert report.comparison is not None
    assert [(field.name, field.claimed, field.found) for field in report.comparison.recipe if field.differs] == [
        ("model", "acge_text_embedding", "acge")
    ]


def test_a_number_that_moved_is_not_reproduced_with_the_settings_that_differ(tmp_path: Path) -> None:
    header = replace(HEADER, dtype="bfloat16", max_len=1024, gpu="NVIDIA H200", dim=1024)
    report = against(tmp_path, run_like_the_card(tmp_path / "run", {"TNews": {"accuracy": 53.0}}, header=header))
    found = cell(report, "TNews", "accuracy")
    assert (found.grade, found.claimed, found.found) == ("not reproduced", METRICS["TNews"]["accuracy"], 53.0)
    assert found.points == pytest.approx(53.0 - METRICS["TNews"]["accuracy"])
    assert found.differs == ("gpu", "dtype", "max_len", "dim")
    assert cell(report, "front matter", "Classification (9)").grade == "not reproduced"
    assert cell(report, "front matter", "STS (8)").grade == "reproduced"
    assert report.exit_code == 3


def test_the_printed_row_of_the_runs_own_setting_stands_beside_the_front_matter(tmp_path: Path) -> None:
    header = replace(HEADER, dtype="float16", max_len=1024, gpu="NVIDIA A100-SXM4-80GB")
    report = against(tmp_path, run_like_the_card(tmp_path / "run", header=header))
    assert report.comparison is not None
    targets = list(dict.fromkeys(each.of for each in report.comparison.averages))
    assert [target.split(",")[0] for target in targets] == ["front matter", "row 3 (NVIDIA TESLA A100 float16 1024)"]
    assert cell(report, "row 3", "Retrieval (8)").points == pytest.approx(0.44)
    assert [field.name for field in report.comparison.recipe if field.differs] == ["max_len"]  # an A100 is an A100


@pytest.mark.parametrize("spelling", ["fp16", "FP16", "half", "torch.float16"])
def test_a_dtype_is_the_same_however_the_card_spells_it(tmp_path: Path, spelling: str) -> None:
    run = run_like_the_card(tmp_path / "run", header=replace(HEADER, max_len=1024))
    card = write_card(tmp_path / "card", card_text(rows_table().replace("| float16 |", f"| {spelling} |") + fenced(SCRIPT)))
    comparison = claims_report(card, against=run).comparison
    assert comparison is not None
    assert [field.name for field in comparison.recipe if field.differs] == ["max_len"]
    assert "row 3 (NVIDIA TESLA A100 float16 1024)" in {each.of for each in comparison.averages}
    ours = leaderboard_row(read_run(run, BENCHMARK), None, BENCHMARK)
    first, *others = printed_rows(card, BENCHMARK)
    alike = beside(ours, first, others).beside
    assert [(each.other.header.max_len, each.remark) for each in alike] == [(1024, None)]


def test_all_settings_in_which_card_and_run_differ_are_listed(tmp_path: Path) -> None:
    other, unknown = ({"data": {"verdict": verdict}} for verdict in ("not C-MTEB", "unverified"))
    fields: dict[str, dict[str, Any]] = {
        "TNews": {"mteb_version": "1.2.0", "dataset_revision": "1" * 40, "harness": other},
        "BQ": {"mteb_version": "1.2.0", "dataset_revision": "2" * 40, "harness": unknown},
        "LCQMC": {"mteb_version": None, "dataset_revision": None, "harness": unknown},
    }
    card = write_card(tmp_path / "card", card_text("mteb==1.1.1" + rows_table(), brief=True, revisions={"ATEC": ""}))
    header = RowHeader(model="mine", gpu="NVIDIA H200", dtype="bfloat16", size_gb=None, dim=1024, max_len=1024)
    run = run_like_the_card(tmp_path / "run", header=header, only=fields)
    data = [
        ("data revision", "the card's", "differ for 2 tasks"),
        ("data revision", None, "stated for 1 task"),
        ("data revision", "stated for 1 task", None),
        ("data identity", "C-MTEB", "not C-MTEB for 1 task"),
        ("data identity", "unverified for 2 tasks", None),
    ]
    assert recipe(card, run) == [
        ("gpu", "NVIDIA TESLA A100", "NVIDIA H200"),
        ("dtype", "float16", "bfloat16"),
        ("max_len", "512", "1024"),
        ("dim", "1792", "1024"),
        ("mteb", "1.1.1", "1.1.1, 1.2.0"),
        *data,
    ]
    run = run_like_the_card(run, header=replace(header, gpu="", dim=None), only={name: {"mteb_version": None} for name in METRICS})
    write_manifest(run, manifest_of(replace(header, gpu="", dim=None)))
    assert recipe(card, run) == [
        ("model", "acge_text_embedding", "mine"),
        ("gpu", "NVIDIA TESLA A100", None),
        ("dtype", "float16", "bfloat16"),
        ("max_len", "512", "1024"),
        ("dim", "1792", None),
        ("mteb", "1.1.1", None),
        ("data revision", None, "stated for 1 task"),
    ]


def recipe(card: Path, run: Path) -> list[tuple[str, str | None, str | None]]:
    comparison = claims_report(card, against=run).comparison
    assert comparison is not None
    return [(field.name, field.claimed, field.found) for field in comparison.recipe]


def test_the_run_is_averaged_under_the_convention_of_the_card(tmp_path: Path) -> None:
    card = write_card(tmp_path / "card", card_text(rows_table(6).replace("| 87.84 |", "| 87.83 |")))
    comparison = claims_report(card, against=run_like_the_card(tmp_path / "run")).comparison
    assert comparison is not None
    assert (comparison.convention, comparison.about) == ("unrounded", BENCHMARK.convention("unrounded").about)
    pairs = next(each for each in comparison.averages if each.metric == "Pair Classification (2)")
    assert (pairs.claimed, pairs.found, pairs.grade) == (87.83, 87.83, "reproduced")


def test_an_average_of_a_metric_that_the_run_lacks_is_a_hole(tmp_path: Path) -> None:
    """The card averages max_ap; of one task the run has cos_sim_ap alone."""
    table = rows_table(6).replace("87.84", "88.34").replace("69.07", "69.09")
    card = write_card(tmp_path / "card", card_text(table, changes={"Ocnli": {"max_ap": METRICS["Ocnli"]["max_ap"] + 1}}))
    run = run_like_the_card(tmp_path / "run")
    write_task(run, BENCHMARK.task("Ocnli"), {"cos_sim": {"ap": METRICS["Ocnli"]["cos_sim_ap"] / 100}})
    report = claims_report(card, against=run)
    found = cell(report, "front matter", "Pair Classification (2)")
    assert (found.claimed, found.found, found.grade, found.why) == (88.34, None, "not comparable", "a hole")
    assert cell(report, "Ocnli", "cos_sim_ap").grade == "reproduced"


def test_of_a_number_that_was_not_found_no_setting_differs(tmp_path: Path) -> None:
    report = against(tmp_path, run_like_the_card(tmp_path / "run", header=replace(HEADER, max_len=1024), without=("TNews",)))
    found = cell(report, "TNews", "accuracy")
    assert (found.claimed, found.found, found.points, found.differs) == (METRICS["TNews"]["accuracy"], None, None, ())
    assert cell(report, "IFlyTek", "accuracy").differs == ("max_len",)
    average = cell(report, "front matter", "Classification (9)")
    assert (average.claimed, average.found, average.grade, average.why) == (
        72.75,
        None,
        "not comparable",
        "1 of its tasks are not comparable",
    )


def noise_file(path: Path, tolerances: Mapping[str, Mapping[str, float]], run: Path) -> Path:
    """A calibration of the run, which gets the digests by which it is known to be its own."""
    write_manifest(run, replace(read_manifest(run), run="a" * 64, model=Fingerprint(weights_digest="b" * 64)))
    records = read_run(run, BENCHMARK).records
    tasks = {
        task: {
            metric: MetricNoise(score=points(records[task], BENCHMARK)[metric], rounding=replace(ROUNDING, tolerance=tolerance))
            for metric, tolerance in metrics.items()
        }
        for task, metrics in tolerances.items()
    }
    write_calibration(path, Calibration(run="a" * 64, benchmark=BENCHMARK.digest, weights="b" * 64, tasks=tasks, provenance={}))
    return path


ROUNDING = Rounding(tolerance=0.0, draws=20, moved=20, mean=0.0, sd=0.0, largest=0.0, wide=0.0)


def test_a_move_within_the_floor_is_noise_and_no_other(tmp_path: Path) -> None:
    moved = {"TNews": {"accuracy": 53.60, "f1": 51.0}, "STSB": {"cos_sim_spearman": 82.70}}
    run = run_like_the_card(tmp_path / "run", moved)
    noise = noise_file(tmp_path / "noise.json", {"TNews": {"accuracy": 0.1, "f1": 0.01}, "STSB": {"cos_sim_spearman": 0.02}}, run)
    report = against(tmp_path, run, noise)
    assert cell(report, "TNews", "accuracy").grade == "within noise"
    assert cell(report, "TNews", "f1").grade == "not reproduced"
    assert cell(report, "STSB", "cos_sim_spearman").grade == "not reproduced"
    assert "No noise floor" not in write_document(claims_document(report), "text")
    assert "No noise floor is known" in write_document(claims_document(against(tmp_path, run)), "text")
    assert cell(against(tmp_path, run), "TNews", "accuracy").grade == "not reproduced"


def test_a_move_of_the_floor_itself_is_within_it(tmp_path: Path) -> None:
    run = run_like_the_card(tmp_path / "run", {"TNews": {"accuracy": METRICS["TNews"]["accuracy"] + 0.1}})
    size = abs(cell(against(tmp_path, run), "TNews", "accuracy").points)
    for tolerance, grade in ((size, "within noise"), (size * (1 - 1e-12), "not reproduced")):
        noise = noise_file(tmp_path / "noise.json", {"TNews": {"accuracy": tolerance}}, run)
        found = cell(against(tmp_path, run, noise), "TNews", "accuracy")
        assert (found.grade, found.why, found.tolerance) == (grade, "", tolerance)


def test_an_average_may_move_as_its_tasks_may(tmp_path: Path) -> None:
    pairs = {name: {"cos_sim_ap": METRICS[name]["cos_sim_ap"] + 0.2} for name in ("Ocnli", "Cmnli")}
    run = run_like_the_card(tmp_path / "run", pairs)
    wide = noise_file(tmp_path / "wide.json", {name: {"cos_sim_ap": 0.25} for name in pairs}, run)
    found = cell(against(tmp_path, run, wide), "front matter", "Pair Classification (2)")
    assert (found.grade, found.tolerance) == ("within noise", 0.25)
    printed = noise_file(tmp_path / "printed.json", {name: {"cos_sim_ap": 0.181} for name in pairs}, run)
    assert cell(against(tmp_path, run, printed), "front matter", "Pair Classification (2)").grade == "within noise", "0.01 for rounding"
    narrow = noise_file(tmp_path / "narrow.json", {name: {"cos_sim_ap": 0.175} for name in pairs}, run)
    assert cell(against(tmp_path, run, narrow), "front matter", "Pair Classification (2)").grade == "not reproduced"
    one = noise_file(tmp_path / "one.json", {"Ocnli": {"cos_sim_ap": 0.25}}, run)
    found = cell(against(tmp_path, run, one), "front matter", "Pair Classification (2)")
    assert (found.grade, found.tolerance) == ("not reproduced", None)


def test_a_calibration_that_can_not_serve_is_one_clear_error(tmp_path: Path) -> None:
    run = run_like_the_card(tmp_path / "run", {})
    noise = noise_file(tmp_path / "noise.json", {"TNews": {"accuracy": 0.1}}, run)
    with pytest.raises(RequestError, match="belongs to another run"):
        against(tmp_path, PUBLISHED, noise)
    noise.write_text(noise.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    with pytest.raises(InputError, match="is no calibration"):
        against(tmp_path, run, noise)


@pytest.mark.parametrize(
    ("fields", "output", "differs"),
    [
        ({"harness": {"data": {"verdict": "not C-MTEB"}}}, "the run's data is not C-MTEB's", ("data identity",)),
        (
            {"dataset_revision": "0123456789", "harness": {"data": {"verdict": "unverified"}}},
            f"revision {BENCHMARK.task('TNews').revision[:8]} is claimed, 01234567 was read",
            ("data revision", "data identity"),
        ),
    ],
)
def test_other_data_is_not_compared_even_where_numbers_agree(
    tmp_path: Path, fields: dict[str, Any], output: str, differs: tuple[str, ...]
) -> None:
    report = against(tmp_path, run_like_the_card(tmp_path / "run", only={"TNews": fields}))
    found = cell(report, "TNews", "accuracy")
    assert (found.grade, found.why, found.differs) == ("not comparable", output, differs)
    assert cell(report, "front matter", "Classification (9)").grade == "not comparable"
    assert cell(report, "front matter", "STS (8)").grade == "reproduced"


def test_verified_data_is_the_same_under_another_revision(tmp_path: Path) -> None:
    data = {"dataset_revision": "0123456789", "harness": {"data": {"verdict": "verified", "substituted": True}}}
    found = cell(against(tmp_path, run_like_the_card(tmp_path / "run", only={"TNews": data})), "TNews", "accuracy")
    assert (found.grade, found.differs) == ("reproduced", ("data revision",))


def test_what_the_run_lacks_is_named(tmp_path: Path) -> None:
    run = run_like_the_card(tmp_path / "run", without=("TNews", "STSB", "BQ"))
    write_failure(run, "TNews", kind="InputError", message="no label column", traceback="...")
    (run / "STSB.json").write_text("{", encoding="utf-8")
    report = against(tmp_path, run)
    assert cell(report, "TNews", "accuracy").why == "no label column"
    assert "is no record of STSB" in cell(report, "STSB", "cos_sim_spearman").why
    assert cell(report, "BQ", "cos_sim_spearman").why == "no record (missing)"
    assert {cell(report, name, BENCHMARK.task(name).main.replace(".", "_")).grade for name in ("TNews", "STSB", "BQ")} == {"not comparable"}


def test_a_run_with_nothing_to_compare_is_no_success(tmp_path: Path) -> None:
    run = run_like_the_card(tmp_path / "run", harness={"data": {"verdict": "not C-MTEB"}})
    report = against(tmp_path, run)
    assert report.exit_code == 1


def test_metrics_that_versions_define_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    mrr = {"ndcg_at_10": METRICS["DuRetrieval"]["ndcg_at_10"] / 100, "mrr_at_10": 0.5, "recall_at_10": 0.5}
    (folder / "a.json").write_text(mteb2_file("DuRetrieval", mrr), encoding="utf-8")
    (folder / "b.json").write_text(mteb2_file("T2Reranking", {"map_at_1000": 0.67, "mrr_at_10": 0.7}), encoding="utf-8")
    pairs = {"cosine_ap": 0.8517742765935605, "max_accuracy": 0.9, "cosine_accuracy": 0.9}
    (folder / "c.json").write_text(mteb2_file("Ocnli", pairs), encoding="utf-8")
    (folder / "d.json").write_text(mteb2_file("Cmnli", {"max_accuracy": 0.8, "main_score": 0.8}), encoding="utf-8")
    (folder / "e.json").write_text(mteb2_file("CMedQAv1", {"map": 0.9, "mrr": 0.9}), encoding="utf-8")
    report = against(tmp_path, folder)
    order = "claimed: mteb 1's, tied scores as sorted; found: trec_eval's, tied scores against the model (mteb 2)"
    assert report.comparison is not None
    assert {(each.of, each.metric): (each.grade, each.why) for each in report.comparison.cells if "record" not in each.why} == {
        ("CMedQAv1", "map"): ("definition differs", order),
        ("CMedQAv1", "mrr"): ("definition differs", order),
        ("Cmnli", "cos_sim_ap"): ("definition differs", "the run has max_accuracy 80.00 instead"),
        ("DuRetrieval", "mrr_at_10"): (
            "definition differs",
            "claimed: mrr of beir, five digits, as in mteb 1.1; found: mrr with mteb 2's order of tied scores",
        ),
        ("DuRetrieval", "ndcg_at_10"): ("reproduced", ""),
        ("DuRetrieval", "recall_at_10"): ("not reproduced", ""),
        ("Ocnli", "cos_sim_accuracy"): ("not reproduced", ""),
        ("Ocnli", "cos_sim_ap"): ("reproduced", ""),
        ("Ocnli", "max_accuracy"): (
            "definition differs",
            "claimed: the largest of four similarities; found: the largest of five similarities (mteb 2)",
        ),
        ("T2Reranking", "map"): ("definition differs", "the run has map_at_1000 67.00 instead"),
    }


LONG, UNIT = "vectors as the model gives them (mteb 2)", "vectors of length 1"


@pytest.mark.parametrize(
    ("modules", "dim", "kind", "grade"),
    [
        (["Transformer(bert)", "Pooling(mean)"], None, "canonical", "definition differs"),
        (["Transformer(bert)", "Pooling(mean)", "Normalize"], None, "canonical", "not reproduced"),
        (["Transformer(bert)", "Pooling(mean)", "Normalize"], 256, "canonical", "definition differs"),
        (["served as m"], None, "endpoint", "not reproduced"),
        ([], None, "canonical", "not reproduced"),
    ],
)
def test_vectors_that_mteb_2_does_not_normalise_are_another_definition(
    modules: list[str], dim: int | None, kind: str, grade: str, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    files = {
        "TNews": {"accuracy": 0.5, "f1": 0.4},
        "CLSClusteringP2P": {"v_measure": 0.4},
        "ATEC": {"cosine_spearman": 0.5, "euclidean_spearman": 0.5},
    }
    for name, metrics in files.items():
        (theirs / f"{name}.json").write_text(mteb2_file(name, metrics), encoding="utf-8")
    run = run_like_the_card(tmp_path / "run")
    spec = {"dim": dim, "model": {"name": "acge", "kind": kind}}
    write_manifest(run, manifest_of(HEADER, {"spec": spec, "model": {"modules": modules}}))
    for claimed, found, why in ((theirs, run, (LONG, UNIT)), (run, theirs, (UNIT, LONG))):
        report = claims_report(claimed, against=found)
        moved = [cell(report, *of) for of in (("TNews", "accuracy"), ("TNews", "f1"), ("CLSClusteringP2P", "v_measure"))]
        moved.append(cell(report, "ATEC", "euclidean_spearman"))
        said = "claimed: {}; found: {}".format(*why) if grade == "definition differs" else ""
        assert {(each.grade, each.why) for each in moved} == {(grade, said)}
        assert cell(report, "ATEC", "cos_sim_spearman").grade == "not reproduced"  # an angle has no length
    other = {"CLSClusteringP2P": {"harness": {**VERIFIED, "versions": {"scikit-learn": "1.9.0"}}}}
    again = run_like_the_card(tmp_path / "again", {"CLSClusteringP2P": {"v_measure": 10.0}}, only=other)
    assert "k-means" in cell(claims_report(run, against=again), "CLSClusteringP2P", "v_measure").why  # both are of unit vectors
    against_a_card = cell(against(tmp_path, theirs), "TNews", "accuracy")  # how the card's vectors were, nobody knows
    assert against_a_card.grade == "not reproduced"


def test_unrounded_mrr_of_a_later_mteb_1_is_another_definition(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    metrics = {"ndcg_at_10": 0.5, "mrr_at_10": 0.024465243294950725}
    (folder / "a.json").write_text(mteb2_file("DuRetrieval", metrics, mteb_version="1.12.75"), encoding="utf-8")
    found = cell(against(tmp_path, folder), "DuRetrieval", "mrr_at_10")
    assert (found.grade, found.why) == (
        "definition differs",
        "claimed: mrr of beir, five digits, as in mteb 1.1; found: mrr of a later mteb 1, unrounded",
    )


@pytest.mark.parametrize(
    ("version", "grade"),
    [
        ("0.24.2", "not reproduced"),
        ("1.8.0", "not reproduced"),
        ("1.9.0", "definition differs"),
        ("1.10.1", "definition differs"),
        ("2.0.0", "definition differs"),
        ("unknown", "not reproduced"),
    ],
)
def test_k_means_of_another_scikit_learn_is_another_definition(tmp_path: Path, version: str, grade: str) -> None:
    fields = {"CLSClusteringP2P": {"harness": {**VERIFIED, "versions": {"scikit-learn": version}}}}
    run = run_like_the_card(tmp_path / "run", {"CLSClusteringP2P": {"v_measure": 46.0}}, only=fields)
    report = against(tmp_path, run)
    found, average = (cell(report, *of) for of in (("CLSClusteringP2P", "v_measure"), ("front matter", "Clustering (4)")))
    definition = f"claimed: as in mteb 1.1; found: k-means of scikit-learn {version}, which starts in another way than versions up to 1.8"
    whys = (definition, "1 of its tasks are not comparable") if grade == "definition differs" else ("", "")
    assert (found.why, average.why) == whys
    assert (found.grade, average.grade) == (grade, "not comparable" if grade == "definition differs" else "not reproduced")


def test_tasks_that_the_card_does_not_claim_are_named(tmp_path: Path) -> None:
    card = write_card(tmp_path / "card", card_text(without=("TNews",)))
    report = claims_report(card, against=run_like_the_card(tmp_path / "run"))
    assert report.comparison is not None
    assert report.comparison.unclaimed == ("TNews",)
    assert "not claimed: TNews" in write_document(claims_document(report), "text")
    assert cell(report, "front matter", "Classification (9)").grade == "not comparable"


def test_a_folder_of_results_is_checked_as_a_card_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", str(PUBLISHED), "--format", "json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["tasks"], output["numbers"], output["front_matter_row"]) == (35, 367, 6)
    names = [check["name"] for check in output["checks"]]
    assert "counts" in names
    assert "choice" not in names  # a folder says nothing in words


# What a user meets


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["nowhere.md"], 2, "there is no nowhere.md: name the README.md of a model"),
        (["."], 2, "no run at ."),
        (["CARD", "--against", "nowhere"], 2, "no run at nowhere"),
        (["CARD", "--against", "TWO"], 2, "holds 2 runs"),
        (["CARD", "--noise", "x.json"], 2, "--noise needs --against RUN"),
        (["CARD", "--against", "RUN", "--noise", "x.json"], 2, "there is no file x.json"),
        (["CARD", "--benchmark", "cmteb"], 2, "unknown benchmark 'cmteb'"),
        (["EMPTY"], 1, "no YAML front matter"),
    ],
)
def test_a_wrong_request_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"CARD": write_card(tmp_path / "card", card_text()), "EMPTY": write_card(tmp_path / "empty", "# none\n"), "RUN": PUBLISHED}
    if "TWO" in arguments:
        places["TWO"] = tmp_path / "two"
        for name in ("a", "b"):
            run_like_the_card(tmp_path / "two" / name)
    assert main(["claims", *(str(places.get(argument, argument)) for argument in arguments)]) == code
    found = capsys.readouterr()
    assert output in found.err
    assert found.out == ""


def test_an_unknown_format_is_a_wrong_request(tmp_path: Path) -> None:
    report = claims_report(write_card(tmp_path, card_text()))
    with pytest.raises(RequestError, match="unknown format 'xml'"):
        write_document(claims_document(report), "xml")


def test_the_exit_code_shows_what_is_not_reproduced(tmp_path: Path) -> None:
    card = write_card(tmp_path / "card", card_text(rows_table()))
    run = run_like_the_card(tmp_path / "run", {"STSB": {"cos_sim_pearson": 1.0}})
    assert main(["claims", str(card)]) == 0
    assert main(["claims", str(card), "--against", str(run)]) == 3  # one of the other metrics is enough


@pytest.mark.parametrize("form", ["text", "md", "json"])
def test_the_golden_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.chdir(tmp_path)
    script = SCRIPT.replace("default=512", "default=1024").replace("args =", 'parser.add_argument("--pooling", default="cls")\nargs =')
    words = "We ran four tests and report the one of the lowest accuracy. Random draws make the results differ.\n"
    write_card(Path("card"), card_text(words + rows_table() + fenced(script)))
    moved = {"TNews": {"accuracy": 53.6}, "DuRetrieval": {"ndcg_at_10": 85.0, "mrr_at_10": 90.0}, "STSB": {"cos_sim_spearman": 82.72}}
    header = replace(HEADER, gpu="NVIDIA H200", max_len=1024)
    run = run_like_the_card(
        Path("run"), moved, header=header, only={"BQ": {"harness": {"data": {"verdict": "not C-MTEB"}}}}, without=("ATEC",)
    )
    noise = noise_file(Path("noise.json"), {"STSB": {"cos_sim_spearman": 0.02}}, run)
    found = write_document(claims_document(claims_report(Path("card/README.md"), against=run, noise=noise)), form)
    suffix = {"text": "txt", "md": "md", "json": "json"}[form]
    if form == "json":
        found = json.dumps({**json.loads(found), "against": {**json.loads(found)["against"], "cells": "(367 of them)"}}, indent=2)
    path = GOLDEN / f"claims.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found + "\n", encoding="utf-8")
    assert found + "\n" == path.read_text(encoding="utf-8")
    if form == "text":
        assert max(map(cell_len, found.splitlines())) <= 100


def test_claims_need_neither_torch_nor_mteb() -> None:
    code = "import sys, harness.read.claims.report; print(sorted({'torch', 'mteb', 'pandas', 'numpy', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
