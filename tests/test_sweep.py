"""The product of several values, on Hydra's launchers: every point is a run, a failing one stops no other, a second call has no work."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cloudpickle
import pytest
from crashing import orphans
from records import same_records

from harness.core.benchmarks import load_benchmark
from harness.core.errors import MachineError, RequestError
from harness.core.resources import SAMPLE_DIR
from harness.core.run_files import find_runs, read_manifest, read_run
from harness.core.schema import RunConfig
from harness.evaluate.sweep import sweep


@pytest.fixture(scope="module")
def basics(tiny_model: Path, tiny_data: Path) -> list[str]:
    given = ["model=folder", f"model.path={tiny_model}", "data=local", f"data.root={tiny_data}", "data.verify=label", "gpu=cpu"]
    return [*given, "tasks=[STSB]"]


def places(tmp_path: Path) -> list[str]:
    return [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}"]


def forwards(folder: Path) -> int:
    lines = (folder / "costs.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(json.loads(line).get("encoding", {}).get("forwards", 0) for line in lines)


def test_every_point_of_the_product_is_a_run_and_dimensions_cost_nothing(basics: list[str], tmp_path: Path) -> None:
    jobs = sweep([*basics, *places(tmp_path), "max_len=8,16", "dim=24,48"])
    assert [(job.error, job.failed) for job in jobs] == [(None, {})] * 4
    headers = [read_run(job.folder, load_benchmark()).header for job in jobs if job.folder]
    assert [(header.max_len, header.dim) for header in headers] == [(8, 24), (8, 48), (16, 24), (16, 48)]
    assert [forwards(job.folder) > 0 for job in jobs if job.folder] == [True, False, True, False]


def test_a_second_sweep_does_nothing(basics: list[str], tmp_path: Path) -> None:
    arguments = [*basics, *places(tmp_path), "max_len=8,16"]
    sweep(arguments)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json*")}
    sweep(arguments)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "results").rglob("*.json*")} == before


def test_benchmarks_are_values_of_a_sweep(basics: list[str], tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("name: mine\ntasks: [STSB]\n", encoding="utf-8")
    jobs = sweep([*basics, *places(tmp_path), "max_len=8", "canary=off", f"benchmark=cmteb35,{own}"])
    named = [read_manifest(job.folder).benchmark for job in jobs if job.folder]
    assert [each.name for each in named if each] == ["cmteb35", "mine"]
    assert [job.failed for job in jobs] == [{}, {}]


def test_models_by_any_name_are_values_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the registry is not here, and says so; folders from here and from the root run."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at import: 20 seconds of tries
    for name in ("one", "two"):
        shutil.copytree(SAMPLE_DIR / "model", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    places = [f"store={tmp_path / 'store'}", f"results_dir={tmp_path / 'results'}", "data=sample", "gpu=cpu", "canary=off", "tasks=STSB"]
    jobs = sweep([f"model=./one,{tmp_path / 'two'},BAAI/bge-small-zh-v1.5", *places])
    assert [job.folder.parent.name if job.folder else None for job in jobs] == ["one", "two", None]
    assert [bool(job.error) for job in jobs] == [False, False, True]
    assert "BAAI/bge-small-zh-v1.5" in str(jobs[2].error)


def test_a_job_that_fails_does_not_stop_the_others(basics: list[str], tmp_path: Path) -> None:
    jobs = sweep([*basics, *places(tmp_path), "max_len=4096,8"])
    assert jobs[0].error is not None
    assert "max_len" in jobs[0].error
    assert (jobs[1].error, jobs[1].failed) == (None, {})


def test_all_wrong_values_are_reported_before_the_first_job(basics: list[str], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="fp8") as caught:
        sweep([*basics, *places(tmp_path), "dtype=fp32,fp8", "gpu=cpu,tpu", "benchmark=cmteb35,mine"])
    assert "tpu" in str(caught.value)
    assert "unknown benchmark 'mine'" in str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_joblib_launcher_gives_the_same_runs(basics: list[str], tmp_path: Path) -> None:
    arguments = [*basics, "max_len=8,16", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "--quiet"]
    command = [sys.executable, "-m", "harness", "sweep", *arguments, *places(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 jobs, 0 of them with failures, 2 runs" in done.stdout
    serial = sweep([*basics, "max_len=8,16", f"results_dir={tmp_path / 'serial'}", "store=null"])
    for job in serial:
        assert job.folder is not None
        twin = next(folder for folder in find_runs(tmp_path / "results") if folder.name == job.folder.name)
        one, other = (read_run(folder, load_benchmark()).records["STSB"] for folder in (job.folder, twin))
        assert one.metrics == other.metrics


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_jobs_of_joblib_end_with_the_sweep(number: signal.Signals, tmp_path: Path) -> None:
    """Their processes would encode and score to the end of the job, and wait for another one after it."""
    asked = [
        "model=sample",
        "data=sample",
        "gpu=cpu",
        "canary=off",
        "max_len=64,128",
        "hydra/launcher=joblib",
        "hydra.launcher.n_jobs=2",
        "--quiet",
    ]
    command = [sys.executable, "-m", "harness", "sweep", *asked, *places(tmp_path)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ended:
        while len(list(tmp_path.glob("results/sample/*/manifest.json"))) < 2:  # both jobs are going on
            assert ended.poll() is None
            time.sleep(0.05)
        ended.send_signal(number)
    assert orphans(ended.pid, 20) == []
    assert ended.returncode == -number


def test_a_sweep_in_parts_encodes_each_text_in_a_part(basics: list[str], tmp_path: Path) -> None:
    quick = [*basics, "canary=off", "max_len=8,16"]
    jobs = sweep([*quick, *places(tmp_path)], shards=2)
    assert [(job.error, job.failed, job.parts) for job in jobs] == [(None, {}, ())] * 2
    for job, plain in zip(jobs, sweep([*quick, f"results_dir={tmp_path / 'plain'}", "store=null"]), strict=True):
        assert job.folder is not None
        assert plain.folder is not None
        assert forwards(job.folder) == 0
        same_records(job.folder, plain.folder)


def test_what_a_part_has_died_of_is_said_beside_the_run(basics: list[str], tmp_path: Path) -> None:
    (job,) = sweep([*basics, "store=null", "max_len=8", "canary=off", f"results_dir={tmp_path / 'results'}"], shards=2)
    assert job.error is None
    assert [part.partition(":")[0] for part in job.parts] == ["shard=1/2", "shard=2/2"]
    assert "store=DIR" in job.parts[0]


@pytest.mark.parametrize(("shards", "overrides"), [(0, []), (2, ["shard=1/2"])])
def test_parts_that_make_no_sense_are_refused(basics: list[str], shards: int, overrides: list[str]) -> None:
    with pytest.raises(RequestError, match="--shards"):
        sweep([*basics, *overrides], shards=shards)


def test_a_launcher_that_is_not_here_is_one_clear_error(basics: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MachineError, match="no sbatch and no srun and no squeue here"):
        sweep([*basics, "hydra/launcher=slurm"])


@pytest.mark.parametrize("shards", [1, 2])
def test_what_sbatch_says_when_it_refuses_a_job_is_the_one_error(
    basics: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], shards: int
) -> None:
    pytest.importorskip("submitit")
    for name in ("sbatch", "srun", "squeue"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    asked = [*basics, *places(tmp_path), "hydra/launcher=slurm", "hydra.launcher.timeout_min=9", "max_len=8"]
    with pytest.raises(MachineError, match=r"^sbatch refuses a job: sbatch: error: invalid partition specified: gpu\. Jobs that"):
        sweep(asked, shards=shards)
    assert "Traceback" not in capfd.readouterr().err


def test_classes_of_the_configuration_are_pickled_by_name() -> None:
    """Launchers pickle them with cloudpickle, which spoils a class that it pickles by value."""
    assert pickle.loads(cloudpickle.dumps(RunConfig)) is RunConfig
    sent = cloudpickle.dumps([field.type for field in dataclasses.fields(RunConfig)])
    assert pickle.loads(sent) == [field.type for field in dataclasses.fields(RunConfig)]
