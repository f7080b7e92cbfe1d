"""SLURM for real: a cluster of one node runs a sweep and a run in parts, jobs are killed, and the records are those of a plain run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from records import run_here, same_records
from slurm_cluster import ask, cluster, wait_until, why_not

from harness.core.costs import read_costs

pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

RUN = ["model=sample", "data=sample", "gpu=cpu", "tasks=[AFQMC,STSB]"]
ONE_CORE = [f"hydra.launcher.{setting}" for setting in ("timeout_min=10", "cpus_per_task=1", "mem_gb=4")]
Harness = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Harness]:
    """A function: starts the harness with these words on the cluster."""
    started: list[subprocess.Popen[str]] = []

    def go(*words: str) -> subprocess.Popen[str]:
        places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}"]
        command = [sys.executable, "-m", "harness", "sweep", "hydra/launcher=slurm", *RUN, *ONE_CORE, *places, *words, "--quiet"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    wait_until(lambda: not running(environment), "jobs of another test do not end", seconds=60)
    yield go
    for process in started:
        process.kill()
        process.communicate()


def plain_run(tmp_path: Path, *words: str) -> Path:
    return run_here([*RUN, "store=null", f"results_dir={tmp_path / 'plain'}", *words]).folder


def running(environment: dict[str, str]) -> list[str]:
    return ask("squeue", "--noheader", "--states=RUNNING", "--format=%i", environment=environment).split()


def test_a_sweep_is_a_job_per_point_and_a_preempted_job_goes_on(start: Harness, environment: dict[str, str], tmp_path: Path) -> None:
    sweep = start("max_len=32,64")
    wait_until(lambda: list((tmp_path / "results").rglob("manifest.json")), "no job begins its run", seconds=120)
    preempted = running(environment)[0]
    ask("scontrol", "requeue", preempted, environment=environment)
    output, errors = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, errors
    assert "2 jobs, 0 of them with failures, 2 runs" in output
    assert "Restarts=1" in ask("scontrol", "show", "job", preempted, environment=environment)
    for length in (32, 64):
        (folder,) = (tmp_path / "results").rglob(f"*_len{length}_*")
        same_records(folder, plain_run(tmp_path, f"max_len={length}"))


def test_a_run_in_parts_survives_the_death_of_one(start: Harness, environment: dict[str, str], tmp_path: Path) -> None:
    whole = start("max_len=32", "--shards", "3")
    part = first_at_work(tmp_path / "results")
    ask("scancel", part, environment=environment)
    output, errors = whole.communicate(timeout=240)
    assert whole.returncode == 0, errors
    assert f"job {part} ended without an answer" in output
    (folder,) = (tmp_path / "results").rglob("*_len32_*")
    plain = plain_run(tmp_path, "max_len=32")
    same_records(folder, plain)
    encoded, needed = (read_costs(each)[0][-1].run.encoding for each in (folder, plain))  # type: ignore[union-attr]
    assert 0 < encoded.found < needed.distinct
    assert 0 < encoded.forwards < needed.forwards


def first_at_work(results: Path) -> str:
    """The name of the first job that has begun, as its log says."""

    def begun() -> list[str]:
        logs = results.rglob("*_log.out")
        return [log.parent.name for log in logs if "Loading pickle" in log.read_text(encoding="utf-8")]

    wait_until(begun, "no job begins", seconds=120)
    return begun()[0]
