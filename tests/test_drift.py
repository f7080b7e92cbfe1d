"""The gate: which verdict a difference gets, what is never compared, what is printed for whom; baselines, whole or not there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from runs import BENCHMARK, BY_HAND, HEADER, metrics_of

from harness.cli import main
from harness.drift import baselines
from harness.drift.baselines import Accepted, accept_baseline, accepted_lines, list_baselines, listed_lines, read_log
from harness.drift.check import DriftReport, check_folders, check_runs
from harness.drift.outputs import append_summary, workflow_commands, write_junit
from harness.drift.report import conclusion, drift_json, drift_markdown, drift_text, signed
from harness.errors import InputError, MachineError, RequestError
from harness.noise import Calibration, MetricNoise, Rounding, points, write_calibration
from harness.records import RowHeader, Run, TaskRecord, read_run, write_failure, write_manifest, write_record
from harness.tables import display_width

GOLDEN = Path(__file__).parent / "golden"
WHEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ROUNDING = Rounding(tolerance=0.25, draws=20, moved=20, mean=0.0, sd=0.05, largest=0.1, wide=1.0)
MANIFEST: dict[str, Any] = {
    "run": "a" * 64,
    "seed": 42,
    "benchmark": {"name": "cmteb35", "digest": BENCHMARK.digest},
    "spec": {
        "benchmark": "cmteb35",
        "scoring": {"dtype": "float32"},
        "model": {"name": "acge"},
        "dtype": "fp16",
        "max_len": 512,
        "dim": None,
    },
    "model": {"weights_digest": "b" * 64, "digest": "c" * 64, "kernel": "A100 | torch 2.13.0"},
    "device": {"name": "NVIDIA TESLA A100"},
    "versions": {"mteb": "1.1.1", "scikit-learn": "1.8.0", "torch": "2.13.0"},
    "source": {"commit": "d" * 40, "dirty": False},
}
SHA = {"test.jsonl": "e" * 64}


def gate_run(
    folder: Path,
    moved: Mapping[str, float] | None = None,
    *,
    header: RowHeader = HEADER,
    manifest: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    without: tuple[str, ...] = (),
    others: Mapping[str, Mapping[str, float]] | None = None,
) -> Run:
    """A run with the scores of `BY_HAND`, `moved` by points; `manifest`: values at dotted keys; `others`: further metrics of a task."""
    content = deepcopy(MANIFEST)
    for path, value in (manifest or {}).items():
        *parents, last = path.split(".")
        inner = content
        for key in parents:
            inner = inner[key]
        inner[last] = value
    write_manifest(folder, header, content)
    for name, score in BY_HAND.items():
        task = BENCHMARK.task(name)
        metrics = metrics_of(task, score + (moved or {}).get(name, 0.0) / 100)
        inner = metrics[task.language] if task.language else metrics
        inner |= dict((others or {}).get(name, {}))
        record = TaskRecord(
            task=name,
            split=task.split,
            metrics=metrics,
            dataset_revision=(data or {}).get("revision", {}).get(name, task.revision),
            evaluation_time=1.0,
            harness={"run": content["run"], "data": {"verdict": "verified", "sha256": SHA, **(data or {}).get(name, {})}},
        )
        if name not in without:
            write_record(folder, record)
    return read_run(folder, BENCHMARK)


def calibration_of(run: Run, tolerance: float = 0.25, only: tuple[str, ...] = ()) -> Calibration:
    """Every metric of the run (of the tasks in `only`) may move by so many points."""
    tasks = {
        name: {
            metric: MetricNoise(score=score, rounding=replace(ROUNDING, tolerance=tolerance))
            for metric, score in points(record, BENCHMARK).items()
        }
        for name, record in run.records.items()
        if not only or name in only
    }
    return Calibration(run="a" * 64, benchmark=BENCHMARK.digest, weights="b" * 64, tasks=tasks, provenance={})


def check(baseline: Run, candidate: Run, tolerance: float | None = 0.25, **options: Any) -> DriftReport:
    calibration = None if tolerance is None else calibration_of(baseline, tolerance)
    return check_runs(baseline, candidate, BENCHMARK, calibration=calibration, **options)


def verdict(report: DriftReport, task: str) -> str:
    return next(each.verdict for each in report.tasks if each.task == task)


@pytest.fixture
def baseline(tmp_path: Path) -> Run:
    return gate_run(tmp_path / "baseline")


# Verdicts


def test_equal_scores_are_identical(baseline: Run, tmp_path: Path) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate"), tolerance=None)
    assert report.counts == {"identical": 35}
    assert report.exit_code == 0
    assert conclusion(report) == "NO DRIFT: 35 tasks, 35 identical"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("size", "expected", "code"), [(0.2, "within noise", 0), (0.3, "drifted", 3)])
def test_the_gate_is_two_sided(baseline: Run, tmp_path: Path, sign: int, size: float, expected: str, code: int) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", {"TNews": sign * size}))
    assert (verdict(report, "TNews"), report.exit_code) == (expected, code)
    assert report.counts == {"identical": 34, expected: 1}


def test_a_difference_of_the_tolerance_itself_passes(baseline: Run, tmp_path: Path) -> None:
    candidate = gate_run(tmp_path / "candidate", {"TNews": 0.2})
    exactly = abs(points(candidate.records["TNews"], BENCHMARK)["accuracy"] - points(baseline.records["TNews"], BENCHMARK)["accuracy"])
    assert verdict(check(baseline, candidate, tolerance=exactly), "TNews") == "within noise"
    assert verdict(check(baseline, candidate, tolerance=exactly * (1 - 1e-12)), "TNews") == "drifted"


def test_without_a_calibration_only_identical_scores_pass(baseline: Run, tmp_path: Path) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", {"TNews": 1e-9}), tolerance=None)
    assert (verdict(report, "TNews"), report.exit_code) == ("drifted", 3)
    assert "no calibration, only identical scores pass" in drift_text(report)


def test_a_task_that_was_not_calibrated_must_be_identical(baseline: Run, tmp_path: Path) -> None:
    calibration = calibration_of(baseline, only=("TNews",))
    candidate = gate_run(tmp_path / "candidate", {"TNews": 0.1, "Waimai": 0.1})
    report = check_runs(baseline, candidate, BENCHMARK, calibration=calibration)
    assert (verdict(report, "TNews"), verdict(report, "Waimai")) == ("within noise", "drifted")
    assert any(note.startswith("not calibrated, so only identical scores pass: Amazon") for note in report.notes)


def test_another_metric_that_drifts_closes_the_gate_unless_told(baseline: Run, tmp_path: Path) -> None:
    baseline = gate_run(tmp_path / "baseline", others={"TNews": {"f1": 0.5}})
    candidate = gate_run(tmp_path / "candidate", others={"TNews": {"f1": 0.51}})
    report = check(baseline, candidate)
    assert (verdict(report, "TNews"), report.exit_code) == ("identical", 3)
    assert conclusion(report) == "DRIFT: 35 tasks, 35 identical; in 1 of them other metrics drifted"
    assert "f1" in drift_text(report)
    relaxed = check(baseline, candidate, main_only=True)
    assert relaxed.exit_code == 0
    assert "not counted: --main-only" in conclusion(relaxed)


@pytest.mark.parametrize("value", [float("nan"), None])
def test_another_metric_that_is_gone_or_no_number_is_missing(tmp_path: Path, value: float | None) -> None:
    baseline = gate_run(tmp_path / "baseline", others={"TNews": {"f1": 0.5}})
    candidate = gate_run(tmp_path / "candidate")
    found = candidate.records["TNews"]
    metrics = dict(found.metrics) if value is None else {**found.metrics, "f1": value}
    candidate = replace(candidate, records={**candidate.records, "TNews": replace(found, metrics=metrics)})
    report = check(baseline, candidate)
    assert [(cell.metric, cell.verdict) for cell in report.failing[0].failing] == [("f1", "missing")]
    assert report.exit_code == 3


def test_a_missing_task_closes_the_gate_and_a_failed_one_tells_why(baseline: Run, tmp_path: Path) -> None:
    folder = tmp_path / "candidate"
    gate_run(folder, without=("TNews", "Waimai"))
    write_failure(folder, "Waimai", kind="MachineError", message="out of memory", traceback="")
    report = check(baseline, read_run(folder, BENCHMARK))
    assert (verdict(report, "TNews"), verdict(report, "Waimai"), report.exit_code) == ("missing", "missing", 3)
    assert "missing: it failed: out of memory (Waimai)" in drift_text(report)
    subset = check(baseline, read_run(folder, BENCHMARK), tasks=["STS", "JDReview"])
    assert (len(subset.tasks), subset.exit_code) == (9, 0)
    assert any(note.startswith("not checked, though the candidate has them: Amazon") for note in subset.notes)


def test_a_baseline_of_some_tasks_asks_for_these(tmp_path: Path) -> None:
    baseline = gate_run(tmp_path / "baseline", without=tuple(name for name in BY_HAND if name != "TNews"))
    candidate = gate_run(tmp_path / "candidate", {"Waimai": 5.0})
    report = check(baseline, candidate)
    assert [task.task for task in report.tasks] == ["TNews"]
    assert report.exit_code == 0
    with pytest.raises(RequestError, match="has no score for Waimai"):
        check(baseline, candidate, tasks=["Waimai"])


# Likeness


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("benchmark.digest", "f" * 64),
        ("spec.scoring", {"dtype": "model"}),
        ("seed", 43),
        ("versions.scikit-learn", "1.9.1"),
        ("versions.mteb", "1.1.2"),
        ("spec.model", {"name": "acge", "query_instruction": "query: "}),
    ],
)
def test_another_protocol_is_not_compared_unless_told(baseline: Run, tmp_path: Path, change: str, value: object) -> None:
    candidate = gate_run(tmp_path / "candidate", manifest={change: value})
    report = check(baseline, candidate)
    assert (report.counts, report.exit_code) == ({"not comparable": 35}, 2)
    assert "--allow-unlike does it" in drift_text(report)
    forced = check(baseline, candidate, allow_unlike=True)
    assert (forced.counts, forced.exit_code) == ({"identical": 35}, 0)
    assert "compared all the same (--allow-unlike)" in drift_text(forced)


@pytest.mark.parametrize("changes", [{"model": "other"}, {"dtype": "float32"}, {"max_len": 1024}, {"dim": 768}, {"dim": None}])
def test_another_model_dtype_length_or_dimension_is_not_compared(baseline: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", header=replace(HEADER, **changes)))
    assert report.exit_code == 2
    assert [each.key for each in report.unlike] == list(changes)


def test_other_environments_are_compared_and_told(baseline: Run, tmp_path: Path) -> None:
    changes = {"versions.torch": "2.14.0", "device.name": "NVIDIA A10", "model.weights_digest": "f" * 64, "source.commit": "1" * 40}
    report = check(baseline, gate_run(tmp_path / "candidate", {"TNews": 1.0}, manifest=changes))
    assert report.exit_code == 3
    assert {each.key for each in report.environment} == set(changes)
    assert f"differs (model): model.weights_digest: {'b' * 12} -> {'f' * 12}" in drift_text(report)


@pytest.mark.parametrize(
    ("data", "comparable"),
    [
        ({"TNews": {"sha256": {"part-0.parquet": "1" * 64}}}, True),  # another form of the file, verified on both sides
        ({"TNews": {"sha256": {"test.jsonl": "1" * 64}, "verdict": "unverified"}}, False),
        ({"TNews": {"sha256": {"renamed": "e" * 64}, "verdict": "unverified"}}, True),  # the same bytes
        ({"TNews": {"sha256": {"part-0.parquet": "1" * 64}}, "revision": {"TNews": "2" * 40}}, False),
        ({"TNews": {"sha256": None, "verdict": "unverified"}, "revision": {"TNews": None}}, False),
    ],
)
def test_other_data_makes_its_task_not_comparable(baseline: Run, tmp_path: Path, data: dict[str, Any], comparable: bool) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", data=data))
    assert verdict(report, "TNews") == ("identical" if comparable else "not comparable")
    assert report.exit_code == (0 if comparable else 2)
    assert report.counts["not comparable"] == (0 if comparable else 1)


def test_results_of_others_do_not_tell_enough_to_be_compared(baseline: Run, tmp_path: Path) -> None:
    write_manifest(tmp_path / "published", HEADER, {})
    for task in BENCHMARK.tasks:
        record = baseline.records[task.name]
        write_record(tmp_path / "published", replace(record, harness={}))
    report = check(baseline, read_run(tmp_path / "published", BENCHMARK), tolerance=None)
    assert report.exit_code == 2
    assert any(each.key == "made by" for each in report.unlike)


def test_equal_vectors_leave_rounding_no_part(baseline: Run, tmp_path: Path) -> None:
    told = "no rounding explains that"
    assert told in drift_text(check(baseline, gate_run(tmp_path / "a", {"TNews": 0.1}))).replace("\n   ", " ")
    assert told not in drift_text(check(baseline, gate_run(tmp_path / "b")))
    assert told not in drift_text(check(baseline, gate_run(tmp_path / "c", {"TNews": 0.1}, manifest={"model.digest": "f" * 64})))


# Hostile inputs


def test_a_folder_is_not_checked_against_itself(baseline: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(baseline.path)
    for other in (baseline.path, tmp_path / "link", baseline.path / ".." / "baseline"):
        with pytest.raises(RequestError, match="the same folder"):
            check_folders(baseline.path, other, BENCHMARK)


@pytest.mark.parametrize(
    ("spoil", "error", "told"),
    [
        (lambda path: shutil.rmtree(path), RequestError, "no run at"),
        (lambda path: (path / "manifest.json").write_text("{"), InputError, "no manifest of a run"),
        (lambda path: (path / "TNews.json").write_text('{"mteb_'), InputError, "can't be read as JSON"),
        (lambda path: shutil.copytree(path, path / "again"), RequestError, "holds 2 runs"),
    ],
)
@pytest.mark.parametrize("side", ["baseline", "candidate"])
def test_a_damaged_side_is_one_clear_error(baseline: Run, tmp_path: Path, side: str, spoil: Any, error: type[Exception], told: str) -> None:
    gate_run(tmp_path / "candidate")
    spoil(tmp_path / side)
    with pytest.raises(error, match=told):
        check_folders(tmp_path / "baseline", tmp_path / "candidate", BENCHMARK)


def test_an_empty_candidate_misses_everything(baseline: Run, tmp_path: Path) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", without=tuple(BY_HAND)))
    assert (report.counts, report.exit_code) == ({"missing": 35}, 3)


def test_an_empty_or_failed_baseline_guards_nothing(baseline: Run, tmp_path: Path) -> None:
    candidate = gate_run(tmp_path / "candidate")
    with pytest.raises(InputError, match="has no record"):
        check(gate_run(tmp_path / "empty", without=tuple(BY_HAND)), candidate, tolerance=None)
    (baseline.path / "TNews.json").unlink()
    write_failure(baseline.path, "TNews", kind="InputError", message="no data", traceback="")
    failed = read_run(baseline.path, BENCHMARK)
    with pytest.raises(InputError, match="TNews failed in it"):
        check(failed, candidate)
    assert check(failed, candidate, tasks=["STS"]).exit_code == 0


def test_a_record_of_another_run_is_refused(baseline: Run, tmp_path: Path) -> None:
    gate_run(tmp_path / "candidate")
    gate_run(tmp_path / "other", manifest={"run": "9" * 64})
    shutil.copy(tmp_path / "other" / "TNews.json", tmp_path / "candidate" / "TNews.json")
    with pytest.raises(InputError, match=r"TNews\.json was made by the run 99999999"):
        check_folders(baseline.path, tmp_path / "candidate", BENCHMARK)


def test_the_calibration_beside_the_records_is_read_and_only_the_baseline_s_own(baseline: Run, tmp_path: Path) -> None:
    gate_run(tmp_path / "candidate", {"TNews": 0.2})
    write_calibration(baseline.path / "calibration.json", calibration_of(baseline))
    assert check_folders(baseline.path, tmp_path / "candidate", BENCHMARK).exit_code == 0
    other = gate_run(tmp_path / "other", manifest={"run": "9" * 64})
    with pytest.raises(RequestError, match="belongs to another run"):
        check_folders(other.path, tmp_path / "candidate", BENCHMARK, calibration=baseline.path / "calibration.json")
    moved = gate_run(tmp_path / "moved", {"Waimai": 0.1})
    with pytest.raises(RequestError, match="made again since"):
        check_folders(moved.path, tmp_path / "candidate", BENCHMARK, calibration=baseline.path / "calibration.json")
    (baseline.path / "calibration.json").write_text("{")
    with pytest.raises(InputError, match="no calibration"):
        check_folders(baseline.path, tmp_path / "candidate", BENCHMARK)


# What is printed for whom


def drifting(folder: Path) -> DriftReport:
    """A report with every verdict."""
    baseline = gate_run(folder / "baseline", others={"TNews": {"f1": 0.5}, "JDReview": {"f1": 0.4, "ap": 0.3}})
    gate_run(
        folder / "candidate",
        {"TNews": -1.25, "Waimai": 0.3, "CLSClusteringP2P": 0.123, "STSB": -3e-7},
        others={"TNews": {"f1": 0.5}, "JDReview": {"f1": 0.43, "ap": 0.3}},
        manifest={"versions.torch": "2.14.0", "source.dirty": True},
        data={"BQ": {"sha256": {"test.jsonl": "1" * 64}, "verdict": "unverified"}},
        without=("ATEC", "Cmnli"),
    )
    write_failure(folder / "candidate", "ATEC", kind="InputError", message="<b>&amp;|\x1b[31m%0A\nsecond line, 很长的\x00", traceback="")
    candidate = read_run(folder / "candidate", BENCHMARK)
    return check_runs(
        baseline, candidate, BENCHMARK, calibration=calibration_of(baseline), calibration_file=folder / "baseline" / "calibration.json"
    )


@pytest.mark.parametrize(("form", "suffix"), [(drift_text, "txt"), (drift_markdown, "md")])
def test_the_golden_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any, suffix: str) -> None:
    monkeypatch.chdir(tmp_path)
    found = form(drifting(Path())).rstrip("\n") + "\n"
    path = GOLDEN / f"drift.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")
    if suffix == "txt":
        assert max(map(display_width, found.splitlines())) <= 100
        assert "\x1b" not in found


def test_json_has_every_metric_unrounded(tmp_path: Path) -> None:
    report = drifting(tmp_path)
    found = json.loads(drift_json(report))
    assert (found["exit_code"], found["counts"]["drifted"], found["counts"]["not comparable"]) == (3, 2, 1)
    tnews = next(task for task in found["tasks"] if task["task"] == "TNews")
    assert [metric["verdict"] for metric in tnews["metrics"]] == ["drifted", "identical"]
    assert tnews["metrics"][0]["difference"] == pytest.approx(-1.25)
    assert found["environment"][0] == {"kind": "packages", "key": "versions.torch", "baseline": "2.13.0", "candidate": "2.14.0"}


def test_junit_has_a_case_per_task_and_survives_any_text(tmp_path: Path) -> None:
    write_junit(tmp_path / "junit.xml", drifting(tmp_path))
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert list(cases) == [task.name for task in BENCHMARK.tasks]
    assert {name for name, case in cases.items() if case.find("failure") is not None} == {"TNews", "Waimai", "ATEC", "Cmnli", "JDReview"}
    assert [name for name, case in cases.items() if case.find("error") is not None] == ["BQ"]
    assert root.attrib | {} == {"name": "score drift", "tests": "35", "failures": "5", "errors": "1"}
    told = cases["ATEC"].find("failure")
    assert told is not None
    assert "<b>&amp;|" in (told.get("message") or "")
    assert "很长的\N{REPLACEMENT CHARACTER}" in (told.get("message") or "")
    settings = {each.get("name"): each.get("value") for each in root.iter("property")}
    assert settings["packages versions.torch"] == "2.13.0 -> 2.14.0"


def test_annotations_are_for_actions_alone_and_one_line_each(tmp_path: Path) -> None:
    report = drifting(tmp_path)
    assert workflow_commands({}, report) == []
    lines = workflow_commands({"GITHUB_ACTIONS": "true"}, report)
    assert len(lines) == 7
    assert all(line.startswith("::error title=Score drift") and "\n" not in line for line in lines)
    atec = next(line for line in lines if "ATEC" in line)
    assert "title=Score drift%3A ATEC::" in atec
    assert "%250A%0Asecond line" in atec
    passed = check(gate_run(tmp_path / "x"), gate_run(tmp_path / "y"))
    assert workflow_commands({"GITHUB_ACTIONS": "true"}, passed) == ["::notice title=Score drift::NO DRIFT: 35 tasks, 35 identical"]


def test_the_step_summary_is_added_to(tmp_path: Path) -> None:
    report = check(gate_run(tmp_path / "x"), gate_run(tmp_path / "y"))
    file = tmp_path / "summary.md"
    file.write_text("before\n")
    append_summary({}, report)
    append_summary({"GITHUB_STEP_SUMMARY": str(file)}, report)
    assert file.read_text().startswith("before\n### Score drift: NO DRIFT")
    with pytest.raises(MachineError, match="can't write GITHUB_STEP_SUMMARY"):
        append_summary({"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "file")}, report)


@pytest.mark.parametrize(
    ("value", "told"), [(0.0, "0"), (1.25, "+1.25"), (-0.0123, "-0.0123"), (3e-7, "+3.0e-07"), (-12.0, "-12.00"), (None, "")]
)
def test_differences_have_the_digits_they_need(value: float | None, told: str) -> None:
    assert signed(value) == told


def test_the_command_and_its_exit_codes(
    baseline: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    gate_run(tmp_path / "same")
    gate_run(tmp_path / "moved", {"TNews": 1.0})
    base = str(baseline.path)
    assert main(["check", base, str(tmp_path / "same")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "NO DRIFT: 35 tasks, 35 identical"
    assert main(["check", base, str(tmp_path / "moved"), "--json", "--junit", str(tmp_path / "junit.xml")]) == 3
    assert json.loads(capsys.readouterr().out)["exit_code"] == 3
    assert (tmp_path / "junit.xml").is_file()
    assert main(["check", base, str(tmp_path / "moved"), "--tasks", "STS", "Waimai"]) == 0
    assert main(["check", base, str(tmp_path / "nowhere")]) == 2
    assert main(["check", base, str(tmp_path / "same"), "--calibration", str(tmp_path / "none.json")]) == 1
    assert main(["check", base, str(tmp_path / "same"), "--junit", str(tmp_path / "junit.xml" / "x")]) == 1
    assert main(["check", base, str(tmp_path / "same"), "--tasks", "TNewz"]) == 2


# Baselines


def accept(run: Run, to: Path, **options: Any) -> Accepted:
    return accept_baseline(run, BENCHMARK, to=to, **{"why": "first", "who": "someone", "when": WHEN, **options})


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_promoted_run_is_a_baseline_with_a_line_in_the_log(baseline: Run, tmp_path: Path) -> None:
    write_calibration(baseline.path / "calibration.json", calibration_of(baseline))
    (baseline.path / "costs.jsonl").write_text("{}\n")
    done = accept(baseline, tmp_path / "to", why=" torch 2.14, <reviewed> \n")
    assert done.folder == tmp_path / "to" / "acge" / "baseline"
    assert set(files(done.folder)) == {"manifest.json", "calibration.json", *(f"{task.name}.json" for task in BENCHMARK.tasks)}
    assert all(content == (baseline.path / name).read_bytes() for name, content in files(done.folder).items())
    [entry] = read_log(tmp_path / "to" / "log.jsonl")
    assert entry == done.entry
    assert (entry.date, entry.who, entry.why, entry.tasks) == ("2026-03-01T12:00:00+00:00", "someone", "torch 2.14, <reviewed>", 35)
    assert (entry.calibrated, entry.replaces, done.changes) == (True, None, None)
    assert check_folders(done.folder, gate_run(tmp_path / "new", {"TNews": 0.2}).path, BENCHMARK).exit_code == 0


def test_a_replaced_baseline_shows_what_changed(baseline: Run, tmp_path: Path) -> None:
    first = accept(baseline, tmp_path / "to")
    moved = gate_run(tmp_path / "moved", {"TNews": 1.0}, manifest={"seed": 43})
    done = accept(moved, tmp_path / "to", name="baseline", why="another seed")
    assert done.changes is not None
    assert verdict(done.changes, "TNews") == "drifted"
    assert done.entry.replaces == first.entry.scores != done.entry.scores
    assert [entry.why for entry in read_log(tmp_path / "to" / "log.jsonl")] == ["first", "another seed"]
    assert sorted(path.name for path in (tmp_path / "to" / "acge").iterdir()) == ["baseline"]
    assert "has no calibration.json" in "\n".join(accepted_lines(done))


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
    with pytest.raises(InputError, match=r"no complete run[^~]*TNews"):
        accept(run, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    done = accept(run, tmp_path / "to", tasks=["STS"])
    assert (done.entry.tasks, len(list(done.folder.glob("*.json")))) == (8, 9)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"why": " "}, "needs its reason"),
        ({"name": "../elsewhere"}, "names a folder"),
        ({"name": ".hidden"}, "names a folder"),
        ({"tasks": ["TNewz"]}, "did you mean TNews"),
    ],
)
def test_a_wrong_promotion_is_refused(baseline: Run, tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        accept(baseline, tmp_path / "to", **options)
    assert not (tmp_path / "to").exists()


def test_a_foreign_calibration_or_run_is_not_promoted(baseline: Run, tmp_path: Path) -> None:
    other = gate_run(tmp_path / "other", manifest={"run": "9" * 64})
    write_calibration(other.path / "calibration.json", calibration_of(baseline))
    with pytest.raises(RequestError, match="belongs to another run"):
        accept(other, tmp_path / "to")
    write_manifest(other.path, HEADER, {})
    with pytest.raises(RequestError, match="not made by this harness"):
        accept(read_run(other.path, BENCHMARK), tmp_path / "to")
    done = accept(baseline, tmp_path / "to")
    with pytest.raises(RequestError, match="is that baseline already"):
        accept(read_run(done.folder, BENCHMARK), tmp_path / "to")


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


def test_an_unwritable_place_is_told(baseline: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="can't write"):
        accept(baseline, tmp_path / "file")


def test_baselines_are_listed_with_their_reasons(
    baseline: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    to = tmp_path / "to"
    with pytest.raises(RequestError, match="no baselines at"):
        list_baselines(to, BENCHMARK)
    assert main(["baseline", "accept", str(baseline.path), "--why", "first\nof all", "--to", str(to)]) == 0
    capsys.readouterr()
    shutil.copytree(to / "acge" / "baseline", to / "acge" / ".baseline.x.tmp")  # what a kill leaves
    shutil.copytree(to / "acge" / "baseline", to / "acge" / "by_hand")
    assert main(["baseline", "list", "--to", str(to)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[2] for line in told if not line.startswith(" ")] == ["35 tasks, NOT CALIBRATED"] * 2
    assert any("first of all (first, " in line for line in told)
    assert "no line in log.jsonl" in told[-1]
    (to / "acge" / "by_hand" / "TNews.json").write_text("{")
    assert main(["baseline", "list", "--to", str(to)]) == 1
    assert "CAN'T SERVE" in capsys.readouterr().out
    (to / "log.jsonl").write_text('{"date": ')
    with pytest.raises(InputError, match="damaged"):
        list_baselines(to, BENCHMARK)


def test_an_empty_folder_of_baselines_says_how_to_make_one(tmp_path: Path) -> None:
    assert listed_lines(list_baselines(tmp_path, BENCHMARK)) == ["no baseline yet: python -m harness baseline accept RUN --why TEXT"]
