"""Whether two scores can be compared: what is unlike in their settings, and in the data they were made on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from runs import BENCHMARK, HEADER, manifest_of

from harness.core.records import Made, Manifest, Provenance, Run, TaskRecord
from harness.read.drift.sides import environment, unlike_data, unlike_settings

TASK = BENCHMARK.task("STSB")


def run(**header: Any) -> Run:
    return Run(Path("run"), Manifest(header=replace(HEADER, **header), run="r"), {})


def record(*files: str, revision: str | None = "a" * 40, verdict: Any = None, data: bool = True, **fields: Any) -> TaskRecord:
    provenance = Provenance(verdict=verdict, sha256={str(number): file for number, file in enumerate(files)}) if data else None
    made = Made(run="r", data=provenance)
    return TaskRecord(task="STSB", split="test", metrics={}, dataset_revision=revision, evaluation_time=None, made=made, **fields)


@pytest.mark.parametrize(
    ("baseline", "candidate", "found"),
    [
        ({}, {}, []),
        ({"gpu": "NVIDIA H100"}, {"notes": ("x",)}, []),
        ({}, {"model": "other"}, [("model", "model", "acge", "other")]),
        ({}, {"dim": 64}, [("setting", "dim", "1792", "64")]),
        ({"dtype": "float32"}, {"max_len": 128}, [("setting", "dtype", "float32", "float16"), ("setting", "max_len", "512", "128")]),
        ({"dtype": ""}, {"dtype": ""}, [("setting", "dtype", None, None)]),
        ({"dim": None}, {"dim": None}, [("setting", "dim", None, None)]),
    ],
)
def test_settings_that_make_two_runs_different_questions(baseline: Any, candidate: Any, found: list[tuple[Any, ...]]) -> None:
    differing = unlike_settings(run(**baseline), run(**candidate))
    assert [(each.kind, each.key, each.a, each.b) for each in differing if each.key != "made by"] == found


@pytest.mark.parametrize(
    ("baseline", "candidate", "reason"),
    [
        (record("x", "y"), record("y", "x"), ""),
        (record("x"), record("y"), "other data files"),
        (record("x"), record("x", revision="b" * 40), ""),
        (record("x"), record("y", revision="b" * 40), "data revision aaaaaaaa against bbbbbbbb"),
        (record("x", verdict="verified"), record("y", verdict="verified"), ""),
        (record("x", verdict="verified"), record("y"), "other data files"),
        (record("x", revision=None), record("y"), "other data files"),
        (record(), record("y"), ""),
        (record(), record(), ""),
        (record("x"), record(data=False), ""),
        (record("x", revision=None), record(data=False), "nothing shows that both had the same data of STSB"),
        (record(revision=None), record("y"), "nothing shows that both had the same data of STSB"),
        (record(revision=None), record(revision=None), "nothing shows that both had the same data of STSB"),
        (record("x"), replace(record("x"), split="dev"), "split test against dev"),
        (record("x"), record("x", mteb_version="2.1.4"), "mteb 1.1.1 against 2.1.4"),
        (record("x", mteb_version=None), record("x"), "mteb not stated against 1.1.1"),
        (record("x"), record("x", mteb_version=None), "mteb 1.1.1 against not stated"),
        (
            record("x", verdict="verified"),
            record("x", verdict="not C-MTEB"),
            "the same data files are verified in one run and not C-MTEB in the other: look for a change of the code that reads them",
        ),
    ],
)
def test_data_is_the_same_by_its_bytes_or_by_what_both_were_verified_against(
    baseline: TaskRecord, candidate: TaskRecord, reason: str
) -> None:
    assert unlike_data(TASK, baseline, candidate) == reason


def mine(**content: Any) -> Run:
    return Run(Path("run"), manifest_of(HEADER, {"spec": {"dim": 1792}, "run": "r", **content}), {})


def test_a_run_of_others_is_unlike_one_of_ours() -> None:
    theirs = run()
    [found] = [each for each in unlike_settings(mine(), theirs) if each.key == "made by"]
    assert (found.kind, found.a, found.b) == ("protocol", "this harness", "others, who do not state their settings")
    [found] = [each for each in unlike_settings(theirs, mine()) if each.key == "made by"]
    assert (found.a, found.b) == ("others, who do not state their settings", "this harness")
    assert [each for each in unlike_settings(mine(), mine()) if each.key == "made by"] == []


def test_the_environment_is_what_else_differs() -> None:
    before, after = mine(seed=42, versions={"mteb": "1.1.1", "numpy": "2.0"}), mine(seed=43, versions={"mteb": "1.1.2", "numpy": "2.1"})
    keys = [each.key for each in unlike_settings(before, after)]
    assert keys == ["seed", "versions.mteb"]
    assert [each.key for each in environment(before, after)] == ["versions.numpy"]
    assert environment(mine(), mine(spec={"dim": 64, "dtype": "fp32", "max_len": 128, "model": {"name": "other"}})) == ()
    assert [each.key for each in environment(run(dim=64), run(dim=128, gpu="NVIDIA H100"))] == ["gpu"]
