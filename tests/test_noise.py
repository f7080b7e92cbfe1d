"""The calibration's file: what is written is read back, what is damaged or belongs to another run is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from runs import BENCHMARK

from harness.core.calibration import Calibration, MetricNoise, Rounding, Spread, read_calibration, write_calibration
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.records import Manifest, RowHeader, Run, TaskRecord

ROUNDING = Rounding(tolerance=0.25, draws=20, moved=3, mean=-0.01, sd=0.04, largest=0.1, wide=0.5)
SPREAD = Spread(draws=30, sd=0.5, low=49.0, high=51.0)
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


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write_calibration(tmp_path / "calibration.json", CALIBRATION)
    assert read_calibration(tmp_path / "calibration.json", BENCHMARK) == CALIBRATION


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


def test_no_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_calibration(tmp_path / "calibration.json", BENCHMARK)


def test_unknown_tasks_and_metrics_are_reported_at_once(tmp_path: Path) -> None:
    file = written(tmp_path, "tasks", value={"TNewz": {}, "TNews": {"accuracy": {"score": 1.0}, "acuracy": {"score": 1.0}}})
    with pytest.raises(RequestError, match="did you mean TNews") as error:
        read_calibration(file, BENCHMARK)
    assert "did you mean accuracy" in str(error.value)


def test_the_old_form_of_tolerances_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "noise.json"
    file.write_text(json.dumps({"TNews": {"accuracy": 0.12}}))
    with pytest.raises(InputError, match="no calibration"):
        read_calibration(file, BENCHMARK)


def test_it_belongs_to_one_run() -> None:
    CALIBRATION.check_belongs(run_of(0.5), BENCHMARK)
    with pytest.raises(RequestError, match="another run"):
        CALIBRATION.check_belongs(run_of(0.5, run="c" * 64), BENCHMARK)
    with pytest.raises(RequestError, match="another weights"):
        CALIBRATION.check_belongs(run_of(0.5, weights="c" * 64), BENCHMARK)
    with pytest.raises(RequestError, match="made again since"):
        CALIBRATION.check_belongs(run_of(0.6), BENCHMARK)


def test_a_folder_that_can_not_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="can't write"):
        write_calibration(tmp_path / "file" / "calibration.json", CALIBRATION)
