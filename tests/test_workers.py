"""Scoring processes and the one that started them: what dies, what is done again, what stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, MachineError
from harness.core.examples import make_examples
from harness.core.prompts import TaskPrompts
from harness.core.spec import ScoringSpec
from harness.core.tasks import TaskSpec
from harness.data.types import PairData
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.deferred import deferred_imports
from harness.evaluate.score.tasks import TaskScores
from harness.evaluate.score.workers import ScoringJob, ScoringPool, score_job

TEXTS = ["one", "two", "three"]


class Dying:
    """A scorer whose process is killed as the kernel kills one for its memory, as often as the file has bytes; then it scores."""

    def __init__(self, lives: Path) -> None:
        self.lives = lives

    def score(self, task: TaskSpec, data: PairData, model: EmbeddingModel, **_: Any) -> TaskScores:
        left = self.lives.stat().st_size
        if left:
            os.truncate(self.lives, left - 1)
            os.kill(os.getpid(), signal.SIGKILL)
        total = float(np.asarray(model.encode(TEXTS)).sum())
        return TaskScores({"sum": total, "process": os.getpid()}, make_examples([0], [TEXTS[:1]], {"value": [total]}))


class Failing:
    """A scorer with an error that can't be pickled, or one that can."""

    def __init__(self, *, pickles: bool) -> None:
        self.pickles = pickles

    def score(self, *_: Any, **__: Any) -> NoReturn:
        if self.pickles:
            raise InputError("no score is defined")

        class LocalError(Exception):
            pass

        raise LocalError("it can't be told")


class Stuck:
    """Never ends, and no signal but SIGKILL ends it."""

    def score(self, *_: Any, **__: Any) -> None:
        print(os.getpid(), os.getppid(), flush=True)
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})
        sum(range(10**12))  # in C, with the lock of the interpreter


def job(scorer: Any, dtype: torch.dtype = torch.bfloat16) -> ScoringJob:
    vectors = torch.arange(12, dtype=torch.float32).reshape(3, 4).sub(5).to(dtype)
    return ScoringJob(
        task=load_benchmark("cmteb35").select(["STSB"])[0],
        data=PairData(first=("one",), second=("two",), target=(1.0,)),
        texts=TEXTS,
        vectors=vectors,
        dim=None,
        scoring=ScoringSpec(),
        prompts=TaskPrompts(),
        scorer=scorer,
    )


def lives(path: Path, deaths: int) -> Path:
    path.write_bytes(b"x" * deaths)
    return path


@pytest.mark.slow
def test_a_process_that_dies_costs_nothing_and_a_second_one_its_task_alone(tmp_path: Path) -> None:
    here = score_job(job(Dying(lives(tmp_path / "here", 0))))
    with ScoringPool(1) as pool:
        deaths = [0, 1, 2, 0]
        futures = [pool.submit(job(Dying(lives(tmp_path / f"{number}", died)))) for number, died in enumerate(deaths)]
        for number in (0, 1, 3):
            scored = futures[number].result()
            assert (scored.metrics["sum"], scored.vectors_sha256) == (here.metrics["sum"], here.vectors_sha256)
            assert scored.metrics["process"] != os.getpid()
        with pytest.raises(MachineError, match=r"^STSB: .*\(signal 9\).*workers=0$"):
            futures[2].result()


@pytest.mark.slow
def test_errors_of_a_scorer_come_home(tmp_path: Path) -> None:
    with ScoringPool(1) as pool:
        with pytest.raises(InputError, match="no score is defined") as told:
            pool.submit(job(Failing(pickles=True))).result()
        assert "in score" in "".join(told.value.__notes__)
        with pytest.raises(RuntimeError, match="LocalError: it can't be told"):
            pool.submit(job(Failing(pickles=False))).result()
        assert pool.submit(job(Dying(lives(tmp_path / "lives", 0)))).result().metrics["sum"]  # the process lives


def test_vectors_that_no_disk_holds_are_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScoringPool(1) as pool, monkeypatch.context() as patch:
        patch.setattr("tempfile.tempdir", "/proc/nowhere")
        with pytest.raises(MachineError, match="TMPDIR="):
            pool.submit(job(Failing(pickles=True)))


SCRIPT = """
import sys, tempfile
from pathlib import Path
import test_workers
from harness.evaluate.score.scorer import SCORERS
from harness.evaluate.score.workers import ScoringPool

tempfile.tempdir = sys.argv[1]
with ScoringPool(2) as pool:
    pool.start(SCORERS.get("mteb1"))
    if sys.argv[2] == "finished":
        print(pool.submit(test_workers.job(test_workers.Dying(Path("/dev/null")))).result().metrics["process"], flush=True)
    else:
        pool.submit(test_workers.job(test_workers.Stuck())).result()
"""
"""Without `if __name__ == "__main__":`, as people write scripts: no process may run it again."""


def running(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "\nState:\tZ" not in status.read_text(encoding="utf-8")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """Pytest's own folders may be too long for sockets."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_a_temporary_folder_that_is_too_long_for_sockets_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 20)))
    with pytest.raises(MachineError, match=r"TMPDIR=.* is too long .* of 75 bytes at most, or set workers=0"):
        ScoringPool(1)
    ScoringPool(0)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "finished"])
def test_scoring_processes_and_their_vectors_go_with_the_run(end: str, tmp_path: Path, short_folder: Path) -> None:
    script, scratch = tmp_path / "run.py", short_folder
    script.write_text(SCRIPT, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(script), str(scratch), end]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as run:
        assert run.stdout is not None
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert pids
        if end != "finished":
            run.send_signal(signal.Signals[end])
        assert run.wait(timeout=60) == (0 if end == "finished" else -signal.Signals[end])
    deadline = time.monotonic() + 20
    while any(map(running, pids)) or any(scratch.iterdir()):
        assert time.monotonic() < deadline, "something stays behind"
        time.sleep(0.05)


def test_an_import_is_deferred_until_it_is_used() -> None:
    assert "wave" not in sys.modules
    with deferred_imports("wave", "json"):
        import json
        import wave
        from wave import Error, Wave_read
    assert json.loads("1") == 1
    assert "wave" not in sys.modules
    assert not isinstance(1, Wave_read)
    assert "wave" in sys.modules
    with pytest.raises(sys.modules["wave"].Error, match="mode must be"):
        wave.open("nowhere", "x")  # noqa: SIM115
    assert str(Error("x")) == "x"
