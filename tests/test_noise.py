"""The calibration's file: what is written is read back, what is damaged or belongs to another run is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cards import card_text, write_card
from runs import BENCHMARK, PUBLISHED, write_run

from harness.commands import main
from harness.core.calibration import (
    Calibration,
    CanaryDistances,
    Distance,
    KernelLevel,
    MetricNoise,
    Rounding,
    Spread,
    read_calibration,
    write_calibration,
)
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.records import Manifest, RowHeader, Run, TaskRecord

ROUNDING = Rounding(tolerance=0.25, draws=20, moved=3, mean=-0.01, sd=0.04, largest=0.1, wide=0.5)
SPREAD = Spread(draws=30, sd=0.5, low=49.0, high=51.0)
SEEN = CanaryDistances(double=Distance(rms=8e-3, farthest=2e-2), batch_shapes={"ladder=exact": Distance(rms=1e-3, farthest=4e-3)})
NOISE = {
    "TNews": {"accuracy": MetricNoise(score=50.0, rounding=ROUNDING, seeds=SPREAD), "f1": MetricNoise(score=48.0, sampling=SPREAD)},
    "AFQMC": {"cos_sim_spearman": MetricNoise(score=30.0, rounding=ROUNDING)},
}
CALIBRATION = Calibration(run="a" * 64, benchmark=BENCHMARK.digest, weights="b" * 64, tasks=NOISE, provenance={"draws": {"rounding": 20}})


def written(folder: Path, *path: str, value: Any) -> Path:
    """A calibration with the value put in at a path of keys."""
    file = folder / "calibration.json"
    write_calibration(file, CALIBRATION)
    raw = json.loads(file.read_text())
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(raw))
    return file


def run_of(score: float, *, run: str = "a" * 64, weights: str = "b" * 64) -> Run:
    record = TaskRecord(task="TNews", split="validation", metrics={"accuracy": score}, dataset_revision=None, evaluation_time=None)
    header = RowHeader(model="m", gpu="", dtype="float32", size_gb=None, dim=None, max_len=None)
    return Run(Path("results/m/a"), Manifest(header=header, run=run, model=Fingerprint(weights_digest=weights)), {"TNews": record})


@pytest.mark.parametrize("seen", [None, SEEN])
def test_what_was_written_is_read(tmp_path: Path, seen: CanaryDistances | None) -> None:
    measured = replace(CALIBRATION, vectors=seen, provenance={"draws": {"rounding": 20}, "device": "CPU (é)"})
    write_calibration(tmp_path / "calibration.json", measured)
    assert read_calibration(tmp_path / "calibration.json", BENCHMARK) == measured


FILE = """{
"schema": 1,
"run": "r",
"benchmark": "b",
"weights": "w",
"provenance": {
 "draws": 20
},
"vectors": {
 "double": {
  "rms": 0.5,
  "farthest": 1.0
 },
 "batch_shapes": {}
},
"tasks": {
 "TNews": {
  "accuracy": {"score": 50.0},
  "f1": {"score": 48.0, "sampling": {"draws": 30, "sd": 0.5, "low": 49.0, "high": 51.0}}
 },
 "STSB": {
  "cos_sim_spearman": {"score": 30.0}
 }
}
}
"""


def test_the_file_has_a_line_per_metric_without_what_was_not_measured(tmp_path: Path) -> None:
    tasks = {
        "TNews": {"accuracy": MetricNoise(score=50.0), "f1": MetricNoise(score=48.0, sampling=SPREAD)},
        "STSB": {"cos_sim_spearman": MetricNoise(score=30.0)},
    }
    vectors = CanaryDistances(double=Distance(rms=0.5, farthest=1.0), batch_shapes={})
    small = Calibration(run="r", benchmark="b", weights="w", tasks=tasks, provenance={"draws": 20}, vectors=vectors)
    write_calibration(tmp_path / "calibration.json", small)
    assert (tmp_path / "calibration.json").read_text(encoding="utf-8") == FILE


@pytest.mark.parametrize(
    "changes",
    [
        {"provenance": {"scale": float("nan")}},
        {"vectors": CanaryDistances(double=Distance(rms=float("nan"), farthest=0.0), batch_shapes={})},
        {"tasks": {"TNews": {"accuracy": MetricNoise(score=float("nan"))}}},
    ],
)
def test_a_number_that_is_none_is_never_written(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_calibration(tmp_path / "calibration.json", replace(CALIBRATION, **changes))
    assert list(tmp_path.iterdir()) == []


def test_an_interval_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    place = ("tasks", "TNews", "f1", "sampling")
    file = written(tmp_path, *place, "low", value=51.5)
    message = r"calibration\.json is no calibration \(TNews f1: its interval ends \(51\.0\) before it begins \(51\.5\)\): make it again"
    with pytest.raises(InputError, match=message):
        read_calibration(file, BENCHMARK)
    file = written(tmp_path, *place, "low", value=51.0)
    assert read_calibration(file, BENCHMARK).tasks["TNews"]["f1"].sampling == replace(SPREAD, low=51.0)


def test_vectors_that_were_compared_with_nothing_are_refused(tmp_path: Path) -> None:
    write_calibration(tmp_path / "calibration.json", replace(CALIBRATION, vectors=replace(SEEN, batch_shapes={})))
    with pytest.raises(InputError, match=r"calibration\.json is no calibration \(.*in no other batch shape\): make it again"):
        read_calibration(tmp_path / "calibration.json", BENCHMARK)


@pytest.mark.parametrize(
    ("rounding", "shapes", "tolerances"),
    [
        (0.25, 0.1, {"other kernels": 0.25, "same kernels, other batch shapes": 0.1, "same kernels and batch shapes": 0.1}),
        (0.25, None, {"other kernels": 0.25, "same kernels, other batch shapes": 0.25, "same kernels and batch shapes": 0.25}),
        (None, 0.1, {"other kernels": None, "same kernels, other batch shapes": 0.1, "same kernels and batch shapes": 0.1}),
        (None, None, {"other kernels": None, "same kernels, other batch shapes": None, "same kernels and batch shapes": None}),
    ],
)
def test_the_floor_follows_what_two_runs_have_in_common(
    rounding: float | None, shapes: float | None, tolerances: dict[KernelLevel, float | None]
) -> None:
    floors = [None if each is None else replace(ROUNDING, tolerance=each) for each in (rounding, shapes)]
    found = replace(CALIBRATION, tasks={"TNews": {"accuracy": MetricNoise(score=50.0, rounding=floors[0], shapes=floors[1])}})
    assert {level: found.tolerance("TNews", "accuracy", kernels=level) for level in tolerances} == tolerances
    assert found.tolerance("TNews", "accuracy") == tolerances["other kernels"]


def test_lookups_take_both_spellings_and_know_what_was_not_measured() -> None:
    assert CALIBRATION.tolerance("AFQMC", "cos_sim.spearman") == CALIBRATION.tolerance("AFQMC", "cos_sim_spearman") == 0.25
    assert CALIBRATION.tolerance("TNews", "f1") is None, "only sampling was measured: it is no tolerance of a gate"
    assert CALIBRATION.tolerance("Waimai", "accuracy") is None
    assert CALIBRATION.noise("TNews", "accuracy").seeds == SPREAD
    assert CALIBRATION.noise("AFQMC", "cos_sim.spearman").seeds is None
    assert CALIBRATION.noise("TNews", "f1").sampling == SPREAD


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    file = tmp_path / "calibration.json"
    write_calibration(file, CALIBRATION)
    text = file.read_text()
    file.write_text(text[: int(share * (len(text) - 2))])
    with pytest.raises(InputError, match="make it again with: python -m harness calibrate"):
        read_calibration(file, BENCHMARK)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("tasks", "TNews", "accuracy", "rounding", "tolerance"), float("nan")),
        (("tasks", "TNews", "accuracy", "rounding", "tolerance"), float("inf")),
        (("tasks", "TNews", "accuracy", "rounding", "tolerance"), -0.1),
        (("tasks", "TNews", "accuracy", "rounding", "tolerance"), "0.1"),
        (("tasks", "TNews", "accuracy", "rounding", "tolerance"), True),
        (("tasks", "TNews", "accuracy", "rounding"), {"tolerance": 0.1}),
        (("tasks", "TNews", "accuracy", "rounding", "draws"), 2.5),
        (("tasks", "TNews", "accuracy", "seeds", "high"), 0.0),
        (("tasks", "TNews", "accuracy", "score"), None),
        (("tasks", "TNews"), [1]),
        (("tasks",), None),
        (("run",), 3),
        (("provenance",), 3),
        (("schema",), "1"),
        (("schema",), 2),
    ],
)
def test_a_number_that_is_none_is_refused(tmp_path: Path, path: tuple[str, ...], value: Any) -> None:
    with pytest.raises(InputError, match=r"calibration\.json"):
        read_calibration(written(tmp_path, *path, value=value), BENCHMARK)


@pytest.mark.parametrize(
    "command",
    [
        ["check", PUBLISHED, "RUN", "--calibration"],
        ["report", PUBLISHED, "-o", "RUN/r.html", "--calibration"],
        ["claims", "CARD/README.md", "--against", PUBLISHED, "--noise"],
    ],
    ids=lambda command: command[0],
)
def test_no_file_is_a_bad_request(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]) -> None:
    write_run(tmp_path / "run")
    write_card(tmp_path / "card", card_text(brief=True))
    missing = tmp_path / "calibration.json"
    assert (
        main([str(word).replace("RUN", str(tmp_path / "run")).replace("CARD", str(tmp_path / "card")) for word in (*command, missing)]) == 2
    )
    assert f"there is no file {missing}: name a calibration.json" in capsys.readouterr().err


def test_unknown_tasks_and_metrics_are_reported_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "tasks", value={"TNewz": {}, "TNews": {"accuracy": {"score": 1.0}, "acuracy": {"score": 1.0}}})
    with pytest.raises(RequestError) as error:
        read_calibration(file, BENCHMARK)
    task, metric = str(error.value).splitlines()
    assert task == f"{file}: unknown task 'TNewz': did you mean TNews?"
    assert metric.startswith(f"{file}: TNews: unknown metric 'acuracy': did you mean accuracy?")


def test_the_old_form_of_tolerances_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "noise.json"
    file.write_text(json.dumps({"TNews": {"accuracy": 0.12}}))
    with pytest.raises(InputError, match="no calibration"):
        read_calibration(file, BENCHMARK)


def test_it_belongs_to_one_run() -> None:
    again = r"\. Calibrate it: python -m harness calibrate results/m/a, or name its own file with --calibration FILE$"
    CALIBRATION.check_belongs(run_of(0.5), BENCHMARK)
    with pytest.raises(RequestError, match=rf"another run \(aaaaaaaa\) than results/m/a \(cccccccc\){again}"):
        CALIBRATION.check_belongs(run_of(0.5, run="c" * 64), BENCHMARK)
    with pytest.raises(RequestError, match=rf"another weights \(bbbbbbbb\) than results/m/a \(cccccccc\){again}"):
        CALIBRATION.check_belongs(run_of(0.5, weights="c" * 64), BENCHMARK)
    with pytest.raises(RequestError, match=rf"another benchmark table \(dddddddd\) than results/m/a \({BENCHMARK.digest[:8]}\){again}"):
        replace(CALIBRATION, benchmark="d" * 64).check_belongs(run_of(0.5), BENCHMARK)
    with pytest.raises(RequestError, match=rf"has 50\.0 for TNews accuracy, and results/m/a has 60\.0: its records were made .*{again}"):
        CALIBRATION.check_belongs(run_of(0.6), BENCHMARK)


def test_what_a_run_has_no_more_or_more_of_is_no_other_score() -> None:
    more = {"IFlyTek": {"accuracy": MetricNoise(score=1.0)}, "TNews": {"ap": MetricNoise(score=2.0), **NOISE["TNews"]}}
    replace(CALIBRATION, tasks=more).check_belongs(run_of(0.5), BENCHMARK)
    moved = {**more, "TNews": {"ap": MetricNoise(score=2.0), "accuracy": MetricNoise(score=51.0)}}
    with pytest.raises(RequestError, match=r"has 51\.0 for TNews accuracy"):
        replace(CALIBRATION, tasks=moved).check_belongs(run_of(0.5), BENCHMARK)


def test_a_folder_that_can_not_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="can't write"):
        write_calibration(tmp_path / "file" / "calibration.json", CALIBRATION)
