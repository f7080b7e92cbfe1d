"""Baselines: written completely or not at all, whatever fails; the log states who accepted them and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gates import accept, calibration_of, gate_run, verdict
from runs import BENCHMARK, HEADER, manifest_of

from harness.commands import main
from harness.core import baselines
from harness.core.baselines import read_log
from harness.core.calibration import write_calibration
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.records import Run
from harness.core.run_files import read_run, write_failure, write_manifest
from harness.read.drift.baselines import list_baselines
from harness.read.drift.check import check_folders
from harness.show.baselines import accepted_lines, listed_document
from harness.show.form import write_document


@pytest.fixture
def baseline(tmp_path: Path) -> Run:
    return gate_run(tmp_path / "baseline")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_promoted_run_is_a_baseline_with_a_line_in_the_log(baseline: Run, tmp_path: Path) -> None:
    write_calibration(baseline.path / "calibration.json", calibration_of(baseline))
    (baseline.path / "costs.jsonl").write_text("{}\n")
    done, folder = accept(baseline, tmp_path / "to", why=" torch 2.14, <reviewed> \n")
    assert folder == tmp_path / "to" / "acge" / "baseline"
    assert set(files(folder)) == {"manifest.json", "calibration.json", *(f"{task.name}.json" for task in BENCHMARK.tasks)}
    assert all(content == (baseline.path / name).read_bytes() for name, content in files(folder).items())
    [entry] = read_log(tmp_path / "to" / "log.jsonl")
    assert entry == done.entry
    assert (entry.date, entry.who, entry.why, entry.tasks) == ("2026-03-01T12:00:00+00:00", "someone", "torch 2.14, <reviewed>", 35)
    assert (entry.calibrated, entry.replaces, done.changes) == (True, None, None)
    assert check_folders(folder, gate_run(tmp_path / "new", {"TNews": 0.2}).path, BENCHMARK).exit_code == 0


def test_a_replaced_baseline_shows_what_changed(baseline: Run, tmp_path: Path) -> None:
    first, _ = accept(baseline, tmp_path / "to")
    moved = gate_run(tmp_path / "moved", {"TNews": 1.0}, manifest={"seed": 43})
    done, folder = accept(moved, tmp_path / "to", name="baseline", why="another seed")
    assert done.changes is not None
    assert verdict(done.changes, "TNews") == "drifted"
    assert done.entry.replaces == first.entry.scores != done.entry.scores
    assert [entry.why for entry in read_log(tmp_path / "to" / "log.jsonl")] == ["first", "another seed"]
    assert sorted(path.name for path in (tmp_path / "to" / "acge").iterdir()) == ["baseline"]
    assert "has no calibration.json" in "\n".join(accepted_lines(done, folder))


def test_the_calibration_of_the_replaced_baseline_is_named(baseline: Run, tmp_path: Path) -> None:
    write_calibration(baseline.path / "calibration.json", calibration_of(baseline))
    _, folder = accept(baseline, tmp_path / "to", uncalibrated=False)
    done, _ = accept(gate_run(tmp_path / "moved", {"TNews": 0.1}), tmp_path / "to", name="baseline", why="again")
    assert done.changes is not None
    assert verdict(done.changes, "TNews") == "within noise"
    assert done.changes.calibration == folder / "calibration.json"


@pytest.mark.parametrize("broken", ["failed", "missing", "damaged"])
def test_half_a_run_is_no_baseline(baseline: Run, tmp_path: Path, broken: str) -> None:
    path = baseline.path / "TNews.json"
    if broken == "damaged":
        path.write_text("{")
    else:
        path.unlink()
    if broken == "failed":
        write_failure(baseline.path, "TNews", kind="InputError", message="no data", traceback="")
    run = read_run(baseline.path, BENCHMARK)
    with pytest.raises(InputError, match=r"not a complete run[^~]*TNews"):
        accept(run, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    done, folder = accept(run, tmp_path / "to", tasks=["STS"])
    assert (done.entry.tasks, len(list(folder.glob("*.json")))) == (8, 9)


@pytest.mark.parametrize(
    ("options", "output"),
    [
        ({"why": " "}, "needs its reason"),
        ({"name": "../elsewhere"}, "names a folder"),
        ({"name": ".hidden"}, "names a folder"),
        ({"tasks": ["TNewz"]}, "did you mean TNews"),
    ],
)
def test_a_wrong_promotion_is_refused(baseline: Run, tmp_path: Path, options: dict[str, Any], output: str) -> None:
    with pytest.raises(RequestError, match=output):
        accept(baseline, tmp_path / "to", **options)
    assert not (tmp_path / "to").exists()


def test_a_foreign_calibration_or_run_is_not_promoted(baseline: Run, tmp_path: Path) -> None:
    other = gate_run(tmp_path / "other", manifest={"run": "9" * 64})
    write_calibration(other.path / "calibration.json", calibration_of(baseline))
    with pytest.raises(RequestError, match="belongs to another run"):
        accept(other, tmp_path / "to")
    write_manifest(other.path, manifest_of(HEADER))
    with pytest.raises(RequestError, match="not made by this harness"):
        accept(read_run(other.path, BENCHMARK), tmp_path / "to")
    _, folder = accept(baseline, tmp_path / "to")
    with pytest.raises(RequestError, match="is that baseline already"):
        accept(read_run(folder, BENCHMARK), tmp_path / "to")


@pytest.mark.parametrize("step", ["copyfile", "rename", "log"])
def test_whatever_fails_the_earlier_baseline_stays_whole(baseline: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    accept(baseline, tmp_path / "to")
    before = files(tmp_path / "to")
    moved = gate_run(tmp_path / "moved", {"TNews": 1.0})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    calls = iter(range(9))
    original = Path.rename
    if step == "copyfile":
        monkeypatch.setattr(shutil, "copyfile", full)
    elif step == "log":
        monkeypatch.setattr(baselines, "_append_log", full)
    else:  # the second of the two renames
        monkeypatch.setattr(Path, "rename", lambda self, target: full() if next(calls) == 1 else original(self, target))
    with pytest.raises(MachineError, match="No space left"):
        accept(moved, tmp_path / "to", name="baseline")
    monkeypatch.undo()
    assert files(tmp_path / "to") == before


def test_an_unwritable_place_is_reported(baseline: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="can't write"):
        accept(baseline, tmp_path / "file")


def test_baselines_are_listed_with_their_reasons(
    baseline: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "to"
    with pytest.raises(RequestError, match="no baselines at"):
        list_baselines(to)
    assert main(["baseline", "accept", str(baseline.path), "--why", "first\nof all", "--to", str(to), "--uncalibrated"]) == 0
    capsys.readouterr()
    shutil.copytree(to / "acge" / "baseline", to / "acge" / ".baseline.x.tmp")  # what a kill leaves
    shutil.copytree(to / "acge" / "baseline", to / "acge" / "by_hand")
    assert main(["baseline", "list", "--to", str(to)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert output.count("35 NO") == 2
    assert "first of all (first, " in output
    assert output.endswith("by_hand: no line in log.jsonl: it was not made by `baseline accept`")
    assert main(["baseline", "list", "--to", str(to), "--format", "json"]) == 0
    listed = json.loads(capsys.readouterr().out)["baselines"]
    assert [(each["tasks"], [entry["why"] for entry in each["entries"]]) for each in listed] == [(35, ["first\nof all"]), (35, [])]
    (to / "acge" / "by_hand" / "TNews.json").write_text("{")
    assert main(["baseline", "list", "--to", str(to)]) == 1
    assert "CAN'T BE USED" in " ".join(capsys.readouterr().out.split())
    (to / "log.jsonl").write_text('{"date": ')
    with pytest.raises(InputError, match="damaged"):
        list_baselines(to)


def test_an_empty_folder_of_baselines_says_how_to_make_one(tmp_path: Path) -> None:
    listed = listed_document(list_baselines(tmp_path))
    assert write_document(listed, "text") == "no baseline yet: python -m harness baseline accept RUN --why TEXT"


def test_a_run_without_a_calibration_is_accepted_only_where_that_is_asked_for(baseline: Run, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no calibration\.json, .*harness calibrate .*--uncalibrated"):
        accept(baseline, tmp_path / "to", uncalibrated=False)
    assert not (tmp_path / "to").exists()
    write_calibration(baseline.path / "calibration.json", calibration_of(baseline))
    assert accept(baseline, tmp_path / "to", uncalibrated=False)[0].entry.calibrated


def test_a_calibration_without_rounding_of_a_task_is_none_for_it(baseline: Run, tmp_path: Path) -> None:
    write_calibration(baseline.path / "calibration.json", calibration_of(baseline, only=("TNews",)))
    with pytest.raises(RequestError, match="without the rounding of AmazonReviewsClassification"):
        accept(baseline, tmp_path / "to", uncalibrated=False)
    assert accept(baseline, tmp_path / "to", uncalibrated=False, tasks=["TNews"])[0].entry.calibrated
    assert not accept(baseline, tmp_path / "to")[0].entry.calibrated


def test_tasks_that_a_smaller_baseline_drops_are_named(baseline: Run, tmp_path: Path) -> None:
    accept(baseline, tmp_path / "to")
    done, folder = accept(baseline, tmp_path / "to", tasks=["STS", "PairClassification"])
    assert len(done.dropped) == 25
    assert accepted_lines(done, folder)[0].startswith("no longer in the baseline: AmazonReviewsClassification, ")


def test_a_log_without_its_last_line_end_is_mended_and_a_damaged_one_not_added_to(baseline: Run, tmp_path: Path) -> None:
    accept(baseline, tmp_path / "to")
    log = tmp_path / "to" / "log.jsonl"
    log.write_bytes(log.read_bytes().rstrip(b"\n"))
    accept(baseline, tmp_path / "to", why="again")
    assert [entry.why for entry in read_log(log)] == ["first", "again"]
    log.write_text('{"date": "x"\n')
    with pytest.raises(InputError, match="is damaged"):
        accept(baseline, tmp_path / "to")
    assert log.read_text() == '{"date": "x"\n'
