"""Every score of every run as one CSV that pandas reads correctly."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import pandas
import pytest
from runs import BENCHMARK, BY_HAND, HEADER, PUBLISHED, write_run

from harness.commands import main
from harness.core.files import write_json
from harness.core.run_files import read_run
from harness.read.index import IndexRow
from harness.show.export.model_index import index_entries, index_yaml
from harness.show.export.selection import select_scores

READ = {"keep_default_na": False, "na_values": [""], "dtype": {"max_len": "Int64", "dim": "Int64", "revision": "string"}}
"""How docs/exchange.md has pandas read the file: a model may be called NA, and a whole number may be missing."""


def frame(path: Path) -> pandas.DataFrame:
    return pandas.read_csv(path, **READ)


def test_pandas_reads_every_column_with_its_type(tmp_path: Path) -> None:
    versions = {"versions": {"torch": "2.13.0", "mteb": "1.1.1"}, "data": {"verdict": "verified", "substituted": False}}
    write_run(tmp_path / "results" / "run", {"STSB": 0.1 + 0.2, "TNews": 0.5}, harness=versions)
    unknown = replace(HEADER, model="NA", gpu="", dtype="", dim=None, max_len=None)
    write_run(tmp_path / "results" / "other", {"STSB": 0.25}, header=unknown, harness={"source": "self-reported: a card"})
    assert main(["index", str(tmp_path / "results"), "-o", str(tmp_path / "results" / "index.csv")]) == 0
    table = frame(tmp_path / "results" / "index.csv")
    assert list(table.columns) == [field.name for field in fields(IndexRow)]
    assert (len(table), set(table["run"])) == (70, {"run", "other"})
    kinds = {name: str(kind) for name, kind in table.dtypes.items()}
    assert {name for name, kind in kinds.items() if kind == "Int64"} == {"max_len", "dim"}
    assert (kinds["score"], kinds["substituted"], kinds["model"], kinds["task"]) == ("float64", "bool", "str", "str")
    row = table[(table["run"] == "run") & (table["task"] == "STSB")].iloc[0]
    assert row["score"] == 100 * (0.1 + 0.2)  # the number, not its two decimals
    assert (row["max_len"], row["dim"], row["metric"], row["trust"], row["identity"]) == (512, 1792, "cos_sim.spearman", "ours", "verified")
    assert (row["versions"], row["mteb_version"]) == ("mteb==1.1.1 torch==2.13.0", "1.1.1")
    assert row["revision"] == BENCHMARK.task("STSB").revision
    other = table[(table["run"] == "other") & (table["task"] == "STSB")].iloc[0]
    assert (other["model"], other["trust"], other["identity"], other["score"]) == ("NA", "self-reported", "self-reported", 25.0)
    assert (other["max_len"] is pandas.NA, pandas.isna(other["gpu"])) == (True, True)
    assert table.groupby("run")["score"].count().to_dict() == {"run": 2, "other": 1}


def test_every_score_is_that_of_its_record_to_the_last_bit(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    run = read_run(PUBLISHED, BENCHMARK)
    assert main(["index", str(PUBLISHED), "-o", str(path)]) == 0
    found = frame(path).set_index("task")["score"].to_dict()
    assert found == {task.name: 100 * run.records[task.name].main_score(task) for task in BENCHMARK.tasks}
    assert [line.split(",")[6] for line in path.read_text(encoding="utf-8").splitlines()[1:]] == [task.name for task in BENCHMARK.tasks]


def test_the_path_of_a_run_leads_to_it_from_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "results" / "m" / "run", {"STSB": 0.5})
    monkeypatch.chdir(tmp_path)
    assert main(["index"]) == 0  # results/index.csv of results
    path = frame(tmp_path / "results" / "index.csv")["run"].iloc[0]
    assert path == "m/run"
    assert (tmp_path / "results" / path / "STSB.json").is_file()


def test_what_has_no_score_has_a_row_that_says_why(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"STSB": 0.5, "ATEC": 0.5})
    (tmp_path / "run" / "ATEC.json").write_text("{", encoding="utf-8")
    write_json(tmp_path / "run" / "errors" / "TNews.json", {"message": 'no memory,\n free some "now"'})
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("[]", encoding="utf-8")
    assert main(["index", str(tmp_path), "-o", str(tmp_path / "i.csv")]) == 0
    table = frame(tmp_path / "i.csv")
    states = table[table["run"] == "run"].set_index("task")
    assert states["state"].value_counts().to_dict() == {"missing": 32, "scored": 1, "broken": 1, "failed": 1}
    assert states.loc["TNews", "message"] == 'no memory, free some "now"'
    assert states["score"].count() == 1
    assert math.isclose(states.loc["STSB", "score"], 50)
    damaged = table[table["run"] == "damaged"]
    assert set(damaged["state"]) == {"broken"}
    assert damaged["message"].str.contains("is no manifest of a run").all()


def test_the_same_runs_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_run(tmp_path / name, BY_HAND)
    written = []
    for number, order in enumerate((["a", "b", "c"], ["c", "a", "b"], ["."])):
        path = tmp_path / f"{number}.csv"
        assert main(["index", *(str(tmp_path / each) for each in order), "-o", str(path)]) == 0
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]
    assert written[0].count(b"\n") == 1 + 3 * 35


def test_names_can_not_break_the_table(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"STSB": 0.5}, header=replace(HEADER, model='a,"b"\n<script>', gpu="汉字"))
    assert main(["index", str(tmp_path), "-o", str(tmp_path / "i.csv")]) == 0
    table = frame(tmp_path / "i.csv")
    assert (len(table), set(table["model"]), set(table["gpu"])) == (35, {'a,"b" <script>'}, {"汉字"})
    assert (tmp_path / "i.csv").read_text(encoding="utf-8").count("\n") == 36


def test_a_card_and_a_run_stand_in_one_index(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", BY_HAND)
    card = tmp_path / "README.md"
    card.write_text(f"---\n{index_yaml('m', index_entries(select_scores(run, BENCHMARK, other_data=False)))}---\n", encoding="utf-8")
    assert main(["index", str(tmp_path), str(card), "-o", str(tmp_path / "i.csv")]) == 0
    wide = frame(tmp_path / "i.csv").pivot(index="task", columns="trust", values="score")
    assert (wide["ours"] == wide["self-reported"]).all()
    assert len(wide) == 35


def test_an_index_that_can_not_be_written_leaves_the_old_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", {"STSB": 0.5})
    (tmp_path / "file").write_text("old", encoding="utf-8")
    assert main(["index", str(tmp_path / "run"), "-o", str(tmp_path / "file" / "index.csv")]) == 1
    assert "can't write" in capsys.readouterr().err
    assert main(["index", str(tmp_path / "nothing"), "-o", str(tmp_path / "file")]) == 2
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "run"]
