"""From a number of the report to the examples behind it."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
from reports import heat_cells, page_of, page_text, with_examples
from runs import BENCHMARK, metrics_of, write_task

from harness.commands import main
from harness.core.examples import Examples, read_examples, write_examples
from harness.core.spec import DataSpec
from harness.data.sources import load_task
from harness.data.types import PairData
from harness.show.report.charts import signed_points
from harness.show.report.report import build_report


def test_a_cell_leads_to_its_examples_that_moved_most_and_to_the_command(tmp_path: Path) -> None:
    runs = [with_examples(tmp_path / "a", dim=1792), with_examples(tmp_path / "b", dim=64, moved=7)]
    report = build_report(runs, BENCHMARK)
    (found,) = report.moved
    assert (found.base.number, found.entry.number) == (1, 2)
    first = found.tasks["STSB"][0]
    assert (first.index, first.after) == (7, 1.0)  # the most alike of all pairs now
    assert found.texts == {}
    page = page_of(report, tmp_path / "report.html")
    assert [words for found, words in page.all("a") if found.get("href") == "#moved-2-STSB"] == [
        signed_points(heat_cells(report, "STSB")[1].points)
    ]
    assert page.all("tbody", id="moved-2-STSB")
    command = next(words for _, words in page.all("code", class_="long"))
    assert command == f"python -m harness explain {runs[0]} {runs[1]} --examples 10"
    assert main(shlex.split(command)[3:]) == 0


def test_texts_of_examples_are_shown_on_request_where_the_data_is_what_was_scored(tmp_path: Path) -> None:
    runs = [with_examples(tmp_path / "a", dim=1792), with_examples(tmp_path / "b", dim=64, moved=7)]
    data = load_task(BENCHMARK.task("STSB"), DataSpec(source="sample")).data
    assert isinstance(data, PairData)
    page = page_text(build_report(runs, BENCHMARK, texts=True), tmp_path / "report.html")
    assert data.first[7] in page
    assert data.second[7] in page
    for run in runs:  # examples of other texts at the same places
        other = read_examples(run, BENCHMARK.task("STSB"))
        write_examples(run, BENCHMARK.task("STSB"), Examples({**other.columns, "digest": np.array(["0" * 16] * len(other))}))
    assert build_report(runs, BENCHMARK, texts=True).moved[0].texts == {}


def test_a_task_that_the_convention_leaves_out_has_no_examples(tmp_path: Path) -> None:
    both = [with_examples(tmp_path / name, dim=dim, moved=moved) for name, dim, moved in (("a", 1792, None), ("b", 64, 7))]
    conventions = {**BENCHMARK.conventions, "without": replace(BENCHMARK.convention("cmteb"), without=frozenset({"STSB"}))}
    leaving_out_stsb = replace(BENCHMARK, conventions=conventions)
    page = page_of(build_report(both, leaving_out_stsb, convention="without"), tmp_path / "report.html")
    assert page.all("section", id="board")  # though no row has a task
    for run in both:
        write_task(run, BENCHMARK.task("BQ"), metrics_of(BENCHMARK.task("BQ"), 0.5))
    report = build_report(both, leaving_out_stsb, convention="without")
    assert report.moved == ()
    assert page_of(report, tmp_path / "report.html").all("section", id="heat")
