"""The outputs of the gate: terminal, step summary, JSON, JUnit, annotations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from gates import calibration_of, check, gate_run
from rich.cells import cell_len
from runs import BENCHMARK

from harness.core.errors import MachineError
from harness.core.run_files import read_run, write_failure
from harness.read.drift.check import DriftReport, check_runs
from harness.show.ci import append_summary, workflow_commands, write_junit
from harness.show.drift import drift_document, drift_markdown, signed
from harness.show.form import write_document

GOLDEN = Path(__file__).parent / "golden"


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


def drift_text(report: DriftReport) -> str:
    return write_document(drift_document(report), "text")


@pytest.mark.parametrize(("form", "suffix"), [(drift_text, "txt"), (drift_markdown, "md")])
def test_the_golden_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Any, suffix: str) -> None:
    monkeypatch.chdir(tmp_path)
    found = form(drifting(Path())).rstrip("\n") + "\n"
    path = GOLDEN / f"drift.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert found == path.read_text(encoding="utf-8")
    if suffix == "txt":
        assert max(map(cell_len, found.splitlines())) <= 100
        assert "\x1b" not in found


def test_json_has_every_metric_unrounded(tmp_path: Path) -> None:
    report = drifting(tmp_path)
    found = json.loads(write_document(drift_document(report), "json"))
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
    output = cases["ATEC"].find("failure")
    assert output is not None
    assert "<b>&amp;|" in (output.get("message") or "")
    assert "很长的\N{REPLACEMENT CHARACTER}" in (output.get("message") or "")
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
    assert workflow_commands({"GITHUB_ACTIONS": "true"}, passed) == [
        "::notice title=Score drift::NO DRIFT: 35 tasks, 35 identical; the canary's vectors were not compared"
    ]


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
    ("value", "output"), [(0.0, "0"), (1.25, "+1.25"), (-0.0123, "-0.0123"), (3e-7, "+3.0e-07"), (-12.0, "-12.00"), (None, "")]
)
def test_differences_have_the_digits_they_need(value: float | None, output: str) -> None:
    assert signed(value) == output
