"""Rows as text, Markdown, CSV and JSON: what a user reads, and what a script parses.

The golden tables are written again by `UPDATE_GOLDEN=1 pytest tests/test_rendering.py`; read the difference before committing it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from runs import BENCHMARK, BY_HAND, HEADER, PUBLISHED, table, write_run

from harness.core.errors import RequestError
from harness.core.records import Run
from harness.core.run_files import read_run, write_failure
from harness.read.leaderboard import leaderboard_row, printed_rows
from harness.read.runs import load_runs
from harness.show.form import write_document
from harness.show.leaderboard import board

GOLDEN = Path(__file__).parent / "golden"
SUFFIX = {"text": "txt", "md": "md", "csv": "csv", "json": "json"}


@pytest.fixture(scope="module")
def published() -> Run:
    return read_run(PUBLISHED, BENCHMARK)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three runs: whole and verified; with holes, a failure, a broken file and hostile names; of sample data."""
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "results/acge/a100")
    holed = folder / "results/hostile/x"
    name = "模型|<script>alert(1)</script>\x1b[31m" + "很长的名字" * 6
    header = replace(HEADER, model=name, gpu="NVIDIA GeForce RTX 4090", dtype="bfloat16", max_len=1024, notes=("a note | with a bar",))
    write_run(holed, {task: score for task, score in BY_HAND.items() if task not in ("TNews", "BQ", "STSB")}, header=header)
    write_failure(holed, "TNews", kind="InputError", message="train: no label column\nfound: text, class", traceback="...")
    (holed / "STSB.json").write_text('{"mteb_dataset_name": "STSB", "test": {"cos_', encoding="utf-8")
    header = replace(
        HEADER, model="sample", gpu="CPU", dtype="float32", size_gb=None, dim=768, notes=("embedded sample: not C-MTEB scores",)
    )
    write_run(folder / "results/sample/cpu", header=header, harness={"data": {"verdict": "not C-MTEB", "substituted": False}})
    return folder


@pytest.fixture
def runs(results: Path, monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The three runs, read by relative paths."""
    monkeypatch.chdir(results)
    return load_runs([Path("results")], BENCHMARK)


def assert_golden(name: str, found: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found + "\n", encoding="utf-8")
    assert found + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", ["text", "md", "csv", "json"])
def test_the_golden_table_of_runs_against_the_card(runs: list[Run], published: Run, form: str) -> None:
    found = table(runs, BENCHMARK, convention="cmteb", format=form, against=published)
    assert_golden(f"against_card.{SUFFIX[form]}", found.replace(str(PUBLISHED), "PUBLISHED"))


@pytest.mark.parametrize("form", ["text", "md"])
def test_the_golden_table_of_tasks(runs: list[Run], published: Run, form: str) -> None:
    found = table(runs[:2], BENCHMARK, convention="cmteb", format=form, tasks=True, against=published)
    assert_golden(f"tasks.{SUFFIX[form]}", found)


@pytest.mark.parametrize("form", ["text", "md"])
def test_the_golden_table_of_the_card_itself(form: str) -> None:
    assert_golden(f"card.{SUFFIX[form]}", write_document(board(printed_rows(PUBLISHED, BENCHMARK)), form))


@pytest.mark.parametrize("convention", ["cmteb", "max_ap", "unrounded", "mteb2_31"])
@pytest.mark.parametrize("tasks", [False, True])
def test_a_terminal_of_100_columns_is_enough(runs: list[Run], published: Run, convention: str, tasks: bool) -> None:
    text = table(runs, BENCHMARK, convention=convention, format="text", tasks=tasks, against=published)
    assert max(cell_len(line) for line in text.split("\n")) <= 100
    assert "\x1b" not in text


def test_the_card_is_shown_as_it_prints_itself() -> None:
    lines = write_document(board(printed_rows(PUBLISHED, BENCHMARK)), "md").splitlines()
    assert lines[0].startswith(
        "| Model Name | GPU | tensor-type | Model Size (GB) | Dimension | Sequence Length | Average (35) | Classification (9) | "
        "Clustering (4) | Pair Classification (2) | Reranking (4) | Retrieval (8) | STS (8) |"
    )
    assert lines[7].startswith(
        "| acge_text_embedding | NVIDIA TESLA A100 | float16 | 0.65 | 1792 | 512 | 69.07 | 72.75 | 58.7 | 87.84 | 67.99 | 72.93 | 62.09 |"
    )


def csv_lines(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_has_a_number_or_nothing(runs: list[Run], published: Run) -> None:
    lines = csv_lines(table(runs, BENCHMARK, convention="cmteb", format="csv", against=published))
    below = ["published", "difference"]
    assert [line["Kind"] for line in lines] == ["run", *below, "run", *below, *below, "run", *below]
    whole, holed = (line for line in lines[:4] if line["Kind"] == "run")
    assert (whole["Average (35)"], whole["STS (8)"], whole["Coverage"], whole["Data"]) == ("45.88", "60.0", "35/35", "verified")
    assert (holed["Average (35)"], holed["STS (8)"], holed["Clustering (4)"], holed["Coverage"]) == ("", "", "25.0", "32/35")
    assert "TNews failed: train: no label column" in holed["Notes"]
    assert lines[2]["Average (35)"] == "-23.19"
    assert {line["Average (35)"] for line in lines if line["Kind"] == "difference"} == {"-23.19", "hole", "not comparable"}


def test_json_has_a_number_or_null(runs: list[Run], published: Run) -> None:
    found = json.loads(table(runs, BENCHMARK, convention="cmteb", format="json", tasks=True, against=published))
    whole, holed, sample = found["rows"]
    assert (whole["scores"]["Average (35)"], whole["coverage"]["Average (35)"]) == (45.88, "35/35")
    assert (holed["scores"]["Average (35)"], holed["scores"]["STS (8)"], holed["coverage"]["STS (8)"]) == (None, None, "6/8")
    assert (holed["failed"], list(holed["broken"]), holed["missing"]) == (
        {"TNews": "train: no label column\nfound: text, class"},
        ["STSB"],
        ["BQ"],
    )
    assert sample["beside"][0]["difference"]["STS (8)"] == {"verdict": "not comparable", "points": None}
    assert whole["beside"][0]["difference"]["STS (8)"] == {"verdict": "differs", "points": -2.09}
    tasks = {task["task"]: task for task in holed["tasks"]}
    assert (tasks["TNews"]["score"], tasks["TNews"]["state"], tasks["TNews"]["difference"]["verdict"]) == (None, "failed", "hole")
    assert (tasks["TNews"]["published"], tasks["Ocnli"]["published"]) == (53.69, 85.18)
    assert (tasks["Ocnli"]["score"], tasks["Ocnli"]["difference"]) == (85.18, {"verdict": "=", "points": 0.0})


def test_csv_of_tasks_has_a_line_per_run_and_task(runs: list[Run], published: Run) -> None:
    lines = csv_lines(table(runs, BENCHMARK, convention="cmteb", format="csv", tasks=True, against=published))
    assert len(lines) == 3 * 35
    by_key = {(line["Path"], line["Task"]): line for line in lines}
    ocnli = by_key["results/acge/a100", "Ocnli"]
    assert (ocnli["Metric"], ocnli["Score"], ocnli["Published"], ocnli["Difference"]) == ("cos_sim.ap", "85.18", "85.18", "=")
    broken = by_key["results/hostile/x", "STSB"]
    assert (broken["Score"], broken["State"], broken["Published"], broken["Difference"]) == ("", "broken", "82.73", "hole")
    assert by_key["results/sample/cpu", "TNews"]["Difference"] == "not comparable"


def test_a_run_is_not_compared_with_itself(published: Run) -> None:
    text = table([published], BENCHMARK, convention="cmteb", format="text", against=published)
    assert "difference" not in text
    assert "69.07 72.75  58.7 87.84 67.99 72.93 62.09 self" in text


def test_every_task_is_listed_for_the_published_run(published: Run) -> None:
    lines = table([published], BENCHMARK, convention="cmteb", format="text", tasks=True).splitlines()
    assert sum(line.startswith(tuple(f"{task.name} " for task in BENCHMARK.tasks)) for line in lines) == 35
    assert next(line for line in lines if line.startswith("T2Reranking")).split() == ["T2Reranking", "Rank", "dev", "66.62", "self"]


def test_a_partial_row_never_shows_an_average(runs: list[Run]) -> None:
    line = table([runs[1]], BENCHMARK, convention="cmteb", format="text").splitlines()[1]
    assert line.split()[-9:-2] == ["32/35", "8/9", "25.0", "87.84", "50.0", "25.0", "6/8"]


def test_missing_tasks_are_named_while_they_are_few(tmp_path: Path) -> None:
    few = write_run(tmp_path / "few", {name: score for name, score in BY_HAND.items() if name not in ("TNews", "BQ")})
    many = write_run(tmp_path / "many", {"TNews": 0.8})
    text = " ".join(table([few, many], BENCHMARK, convention="cmteb", format="text").split())
    assert "few: no record of TNews, BQ" in text
    assert "many: no record of 34 of the 35 tasks" in text


def test_a_folder_that_is_no_run_is_named_below_the_table(results: Path, tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text('{"name": "a web app"}', encoding="utf-8")
    text = table(load_runs([results / "results/acge", tmp_path / "foreign"], BENCHMARK), BENCHMARK, convention="cmteb", format="text")
    text = " ".join(text.split())
    assert "foreign/manifest.json is no manifest of a run" in text
    assert " foreign 0/35 0/9 0/4 0/2 0/4 0/8 0/8 " in text


@pytest.mark.parametrize("arguments", [{"convention": "best", "format": "md"}, {"convention": "cmteb", "format": "htm"}])
def test_unknown_names_are_refused_with_the_known_ones(published: Run, arguments: dict[str, str]) -> None:
    with pytest.raises(RequestError, match=r"unknown (convention 'best'|format 'htm').*Known: "):
        table([published], BENCHMARK, **arguments)


def test_no_run_is_a_wrong_request() -> None:
    with pytest.raises(RequestError, match="no run to show"):
        table([], BENCHMARK, convention="cmteb", format="text")


@pytest.mark.parametrize("form", ["text", "md", "csv", "json"])
def test_nan_is_never_printed(runs: list[Run], form: str) -> None:
    row = leaderboard_row(runs[0], "cmteb", BENCHMARK)
    row = replace(row, cells=tuple(replace(cell, value=float("nan")) for cell in row.cells))
    assert "nan" not in write_document(board([row]), form).lower()


def test_a_table_loads_no_torch_and_no_mteb() -> None:
    heavy = ("torch", "mteb", "C_MTEB", "transformers", "datasets", "pandas", "numpy")
    code = f"import sys, harness.show.leaderboard; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
