"""What a run shows at its end: its tasks beside what is known of them, its cost, and the next command."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from reports import SAMPLE, heat_cells, ours
from runs import BENCHMARK, BY_HAND, VERIFIED

from harness.commands import main
from harness.core.costs import Cost, Counters
from harness.core.run_files import MANIFEST, write_failure
from harness.evaluate.prepared import Outcome
from harness.show.form import write_document
from harness.show.outcome import outcome_document
from harness.show.report.report import build_report

COST = Cost(encoding=Counters(texts=300, distinct=200, forwards=9, tokens=5000, real_tokens=4000, encode_seconds=2.0), scoring_seconds=1.25)


def shown(folder: Path, *tasks: str, format: str = "text", failed: dict[str, str] | None = None) -> str:  # noqa: A002  the option's name
    outcome = Outcome(folder=folder, computed=tasks, reused=(), again={}, failed=failed or {}, cost=COST)
    return write_document(outcome_document("cmteb35", outcome, baselines=folder.parent.parent / "baselines"), format)


def cells(text: str, first: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(first))


def test_a_run_of_two_tasks_shows_these_two_beside_the_published_scores(tmp_path: Path) -> None:
    run = ours(tmp_path / "results" / "now", model="acge_text_embedding", scores={"BQ": 0.7, "STSB": 0.8394})
    text = shown(run, "BQ", "STSB")
    assert cells(text, "BQ ") == ["BQ", "cos_sim.spearman", "70.0", "ok", "70.37", "-0.37"]
    assert "TNews" not in text
    assert "missing" not in text
    assert cells(text, "Published: ")[1] == "acge_text_embedding,"
    assert "Avg35" not in text


def test_an_earlier_run_and_a_baseline_stand_beside_a_run(tmp_path: Path) -> None:
    ours(tmp_path / "baselines" / "acge" / "other", scores={"STSB": 0.5})
    ours(tmp_path / "baselines" / "acge" / "same", scores={"STSB": 0.59}, run="r")
    earlier = ours(tmp_path / "results" / "earlier", scores={"STSB": 0.62})
    older = ours(tmp_path / "results" / "older", scores={"STSB": 0.1})
    for path, seconds in ((older, 1), (earlier, 2)):
        os.utime(path / "manifest.json", (seconds, seconds))
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6}, run="r")
    manifest = json.loads((run / MANIFEST).read_text(encoding="utf-8"))
    (run / MANIFEST).write_text(json.dumps(manifest | {"model": {"weights_digest": "trained further"}}), encoding="utf-8")
    text = shown(run, "STSB")
    assert cells(text, "STSB ") == ["STSB", "cos_sim.spearman", "60.0", "ok", "59.0", "+1.00", "62.0", "-2.00"]
    assert f"check {tmp_path}/baselines/acge/same {run} --significant" in text  # other weights: the gate for checkpoints


def test_a_run_that_was_made_later_is_no_earlier_one(tmp_path: Path) -> None:
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6})
    later = ours(tmp_path / "results" / "later", scores={"STSB": 0.62})
    os.utime(run / "STSB.json", (1, 1))
    assert "Earlier" not in shown(run, "STSB")
    os.utime(later / "manifest.json", (0, 0))
    assert "Earlier" in shown(run, "STSB")


def test_a_run_or_a_baseline_of_another_benchmark_is_left_out(tmp_path: Path) -> None:
    ours(tmp_path / "results" / "same", scores={"STSB": 0.61})
    for folder in (tmp_path / "baselines" / "acge" / "a", tmp_path / "results" / "b"):
        ours(folder, scores={"STSB": 0.5}, benchmark={"name": "mine"})
        (folder / "mine.yaml").write_text("name: mine\ntasks: [STSB]\n", encoding="utf-8")  # the same scorer
    for seconds, name in enumerate(("same", "b")):
        os.utime(tmp_path / "results" / name / "manifest.json", (seconds, seconds))
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6})
    assert cells(shown(run, "STSB"), "STSB ")[2:] == ["60.0", "ok", "61.0", "-1.00"]
    assert [each["kind"] for each in json.loads(shown(run, "STSB", format="json"))["known"]] == ["earlier"]


@pytest.mark.parametrize(("settings", "command"), [({"run": "r"}, "check"), ({}, "explain")])
def test_the_next_command_fits_what_differs(tmp_path: Path, settings: dict[str, str], command: str) -> None:
    baseline = ours(tmp_path / "baselines" / "acge" / "a", scores={"STSB": 0.5}, **settings)
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6}, **settings)
    assert f"Next: python -m harness {command} {baseline} {run}    (" in shown(run, "STSB")


@pytest.mark.parametrize("other", [{"benchmark": {"name": "cmn_v1"}}, {"harness": SAMPLE}], ids=["benchmark", "data"])
def test_nothing_is_to_be_explained_beside_a_run_that_can_not_be_compared(tmp_path: Path, other: dict[str, Any]) -> None:
    ours(tmp_path / "baselines" / "acge" / "a", scores={"STSB": 0.5}, **other)
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6})
    assert ("Baseline: " in shown(run, "STSB")) == ("benchmark" not in other)  # another scorer: another definition of the score
    assert [line.split()[4] for line in shown(run, "STSB").splitlines() if line.startswith("Next: ")] == ["table"]
    earlier = ours(tmp_path / "results" / "earlier", scores={"STSB": 0.6})
    os.utime(earlier / "manifest.json", (1, 1))
    assert f"Next: python -m harness explain {earlier} {run}    (" in shown(run, "STSB")


def test_scores_of_other_data_are_compared_with_the_very_same_files_alone(tmp_path: Path) -> None:
    ours(tmp_path / "results" / "a", scores={"STSB": 0.5}, harness=SAMPLE)
    run = ours(tmp_path / "results" / "now", model="acge_text_embedding", scores={"STSB": 0.6}, harness=SAMPLE)
    assert cells(shown(run, "STSB"), "STSB ")[3:] == ["no", "82.73", "n/c", "50.0", "+10.00"]


UNKNOWN = {"data": {"verdict": "not C-MTEB"}}


@pytest.mark.parametrize(
    ("now", "earlier", "points"),
    [
        (VERIFIED, VERIFIED, 10.0),
        (SAMPLE, SAMPLE, 10.0),
        (SAMPLE, VERIFIED, None),
        (SAMPLE, {"data": {"verdict": "not C-MTEB", "sha256": {"test.jsonl": "bb"}}}, None),
        (UNKNOWN, UNKNOWN, None),
    ],
)
def test_two_runs_compare_alike_in_the_table_at_the_end_of_run_and_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], now: dict[str, object], earlier: dict[str, object], points: float | None
) -> None:
    verdict = "not comparable" if points is None else "differs"
    other = ours(tmp_path / "results" / "earlier", scores=BY_HAND | {"STSB": 0.5}, harness=earlier)
    run = ours(tmp_path / "results" / "now", harness=now)
    assert main(["table", str(run), "--against", str(other), "--tasks", "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    ended = json.loads(shown(run, "STSB", format="json"))
    for tasks, difference in ((row["tasks"], "difference"), (ended["tasks"], "earlier")):
        (found,) = (task[difference] for task in tasks if task["task"] == "STSB")
        assert found.get("difference", found) == {"verdict": verdict, "points": points}
    assert row["beside"][0]["difference"]["STS (8)"] == {"verdict": verdict, "points": points and 1.25}
    assert cells(shown(run, *BY_HAND), "STS (8)")[-1] == ("n/c" if points is None else "+1.25")
    cell = heat_cells(build_report([run], BENCHMARK, reference=other), "STSB")[0]
    assert (cell.verdict, cell.points) == ("higher" if points else verdict, points)


def test_a_failed_task_beside_a_score_on_other_data_is_a_hole(tmp_path: Path) -> None:
    ours(tmp_path / "results" / "earlier", scores={"STSB": 0.5, "BQ": 0.5}, harness=SAMPLE)
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6}, harness=SAMPLE)
    write_failure(run, "BQ", kind="ValueError", message="out of memory", traceback="")
    assert cells(shown(run, "STSB", failed={"BQ": "out of memory"}), "BQ ")[2:] == ["FAILED", "50.0", "hole"]


def test_a_failed_task_is_named_and_the_way_out(tmp_path: Path) -> None:
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6})
    write_failure(run, "BQ", kind="ValueError", message="out of memory", traceback="")
    text = shown(run, "STSB", failed={"BQ": "out of memory"})
    assert cells(text, "BQ ")[2] == "FAILED"
    assert "Next: the same command again computes only what failed" in text


def test_a_complete_run_has_its_row_of_the_leaderboard(tmp_path: Path) -> None:
    run = ours(tmp_path / "results" / "now", model="acge_text_embedding", scores=BY_HAND)
    text = shown(run, *BY_HAND)
    assert "Avg35" in text
    assert "\nvs acge_" in text
    assert "45.88" in text


def test_counters_stand_in_a_table_and_in_json(tmp_path: Path) -> None:
    run = ours(tmp_path / "results" / "now", scores={"STSB": 0.6})
    lines = shown(run, "STSB").splitlines()
    values = lines[next(number for number, line in enumerate(lines) if "Tokens/s" in line) + 1]
    assert values.split() == ["300", "200", "0", "9", "100", "2,500", "20.0%"]
    data = json.loads(shown(run, "STSB", format="json"))
    assert data["cost"]["encoding"]["tokens_per_second"] == 2500
    assert data["cost"]["encoding"]["padding"] == pytest.approx(0.2)
    assert [task["task"] for task in data["tasks"]] == ["STSB"]


def test_rates_that_are_not_known_are_not_shown() -> None:
    stored = Counters(texts=5, distinct=5, found=5, real_tokens=50, encode_seconds=0.1)
    assert (stored.texts_per_second, stored.tokens_per_second, stored.padding) == (None, None, None)
    assert Counters(distinct=5, found=1, tokens=60, real_tokens=50, encode_seconds=2).texts_per_second == 2
    assert Counters(distinct=5, found=1, tokens=60, real_tokens=50, encode_seconds=2).padding is None
