"""A model card as a row of the table: its numbers unchanged, what it does not state left open, its contradictions as one error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cards import mteb2_file
from runs import BENCHMARK, BY_HAND, write_run

from harness.commands import main
from harness.core.records import Provenance
from harness.read.cards.claimed import read_card_run
from harness.read.cards.page import card_claims
from harness.read.leaderboard import leaderboard_row
from harness.read.runs import load_runs


def claimed(*results: tuple[str, dict[str, Any]], **changes: str) -> str:
    """The text of a model card with these tasks and metrics, in percent; `changes` to the dataset of all of them."""
    entries = []
    for name, metrics in results:
        task = BENCHMARK.task(name)
        dataset = {"type": task.hub, "name": task.card_name, "config": task.config, "split": task.split, "revision": task.revision}
        values = [{"type": metric, "value": value} for metric, value in metrics.items()]
        entries.append({"task": {"type": task.type}, "dataset": dataset | changes, "metrics": values})
    return f"---\n{yaml.safe_dump({'model-index': [{'name': 'm', 'results': entries}]}, allow_unicode=True)}---\n# m\n"


def card_of(folder: Path, text: str) -> Path:
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_card_is_a_row_of_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = [(task.name, {task.main.replace(".", "_"): 100 * BY_HAND[task.name]}) for task in BENCHMARK.tasks]
    path = card_of(tmp_path, claimed(*scores))
    assert main(["table", str(path), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert list(row["scores"].values()) == [45.88, 50.0, 25.0, 87.84, 50.0, 25.0, 60.0]
    assert (row["header"]["model"], row["header"]["gpu"], row["data"]) == ("m", "", "self-reported")
    assert row["header"]["notes"][0].startswith("self-reported: front matter of a model card, not run by this harness")
    write_run(tmp_path / "ours")
    assert main(["table", str(tmp_path / "ours"), "--against", str(path), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert [each["verdict"] for each in row["beside"][0]["difference"].values()] == ["="] * 7


@pytest.mark.parametrize("form", ["README.MD", "README.md"])
def test_cards_and_folders_stand_in_one_table_each_once(tmp_path: Path, form: str) -> None:
    (tmp_path / form).write_text(claimed(("STSB", {"cosine_spearman": 40.5})), encoding="utf-8")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "STSB.json").write_text(mteb2_file("STSB", {"cosine_spearman": 0.4}), encoding="utf-8")
    runs = load_runs([tmp_path / form, tmp_path, tmp_path / form], BENCHMARK)
    assert [run.path for run in runs] == [tmp_path / form, tmp_path / "theirs"]
    assert [run.records["STSB"].made.trust for run in runs] == ["self-reported", "re-run by others"]
    assert runs[0].records["STSB"].metrics == {"cos_sim": {"spearman": 0.405}}


def test_what_a_card_does_not_state_is_noted(tmp_path: Path) -> None:
    text = claimed(("STSB", {"cos_sim_spearman": 40.5}), ("Ocnli", {"max_accuracy": 80.0}), ("TNews", {"accuracy": 0.9}))
    other = f"revision: {'a' * 40}"
    text = text.replace(f"revision: {BENCHMARK.task('STSB').revision}", other).replace(f"revision: {BENCHMARK.task('TNews').revision}", "")
    run = read_card_run(card_of(tmp_path, text), BENCHMARK)
    assert list(run.broken) == ["Ocnli"]
    assert "(Ocnli) has no cos_sim_ap (there are: max_accuracy)" in run.broken["Ocnli"]
    assert "taken for percentages as the rest of the card, though no number is above 1: TNews" in run.header.notes
    assert "the revision of the data is not stated for 1 of 2 tasks" in run.header.notes
    row = leaderboard_row(run, "cmteb", BENCHMARK)
    assert {task.task: task.state for task in row.tasks if task.state != "missing"} == {
        "Ocnli": "broken",
        "STSB": "scored",
        "TNews": "scored",
    }
    assert [task.task for task in row.tasks if task.substituted] == ["STSB"]


@pytest.mark.parametrize("command", ["table", "claims"])
def test_a_card_from_0_to_1_is_refused_not_read_as_percent(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = card_of(tmp_path, claimed(("STSB", {"cos_sim_spearman": 0.82}), ("TNews", {"accuracy": 0.51})))
    assert main([command, str(path)]) == 1
    message = capsys.readouterr().err
    assert f"{path}: no number that the card of m claims for cmteb35 is above 1 (the largest is 0.82)" in message
    assert "multiply them by 100" in message


def test_the_copy_that_mteb_2_reads_is_the_task_at_another_revision(tmp_path: Path) -> None:
    task = BENCHMARK.task("PAWSX")
    assert task.mteb2_hub != task.hub
    copy = {"type": task.mteb2_hub, "name": "MTEB PAWSX (default)", "revision": "b" * 40}
    run = read_card_run(card_of(tmp_path, claimed(("PAWSX", {"cosine_spearman": 12.5}), **copy)), BENCHMARK)
    assert run.records["PAWSX"].made.data == Provenance(substituted=True)
    both = card_claims(claimed(("PAWSX", {"cos_sim_spearman": 20.0})), BENCHMARK).claims
    text = claimed(("PAWSX", {"cosine_spearman": 12.5}), **copy)
    entries = claimed(("PAWSX", {"cos_sim_spearman": 20.0})).partition("  results:\n")[2].partition("---")[0]
    found = card_claims(text.replace("  results:\n", f"  results:\n{entries}"), BENCHMARK)
    assert (found.claims, found.foreign) == (both, ("MTEB PAWSX (default) (mteb/PAWSX, default, test)",))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (
            {"cos_sim_spearman": 40.0, "cosine_spearman": 41.0},
            "cos_sim_spearman in entry 1 of the model-index (STSB) is given as 40.0 and as 41.0",
        ),
        ({"cos_sim_spearman": "high"}, "is 'high'; expected one number"),
        ({"cos_sim_spearman": float("nan")}, "is '.nan'; expected one number"),
        ({"cos_sim_spearman": 4000}, "from -100 to 100"),
        ({"cos_sim_spearman": [1]}, "is ['1']; expected one number"),
        ({"cos_sim_spearman": None}, "is 'null'; expected one number"),
        ({"cos_sim_spearman": True}, "is 'true'; expected one number"),
    ],
)
def test_a_main_metric_that_is_no_score_costs_its_task_alone(tmp_path: Path, metrics: dict[str, Any], message: str) -> None:
    run = read_card_run(card_of(tmp_path, claimed(("STSB", metrics), ("TNews", {"accuracy": 50.0}))), BENCHMARK)
    assert list(run.records) == ["TNews"]
    assert message in run.broken["STSB"]


def test_both_spellings_of_one_number_are_one_number(tmp_path: Path) -> None:
    for metrics in ({"cos_sim_spearman": 40.0, "cosine_spearman": 40.0}, {"cosine_spearman": 40.0, "cos_sim_spearman": 40.0}):
        run = read_card_run(card_of(tmp_path, claimed(("STSB", metrics))), BENCHMARK)
        assert run.records["STSB"].metrics == {"cos_sim": {"spearman": 0.4}}


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"# no front matter\n", 1, "has no YAML front matter"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", 1, "can't be read as a model card"),
        (None, 2, "no folder, and no model card named .md"),
    ],
)
def test_a_card_that_is_none_is_one_error_of_the_table(
    tmp_path: Path, content: bytes | None, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    if content is not None:
        path.write_bytes(content)
    assert main(["table", str(path)]) == code
    assert message in capsys.readouterr().err
