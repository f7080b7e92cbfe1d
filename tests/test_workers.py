"""Scoring processes and the one that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CODE = """
import multiprocessing, os, signal, sys, tempfile
from harness.evaluate.score.scorer import SCORERS
from harness.evaluate.score.workers import ScoringPool
if __name__ == "__main__":
    tempfile.tempdir = sys.argv[1]
    with ScoringPool(1) as pool:
        pool.start(SCORERS.get("mteb1"))
        (worker,) = multiprocessing.active_children()
        pool._pool.submit(os.getpid).result()  # it has begun
        print(worker.pid, flush=True)
        if sys.argv[2] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["killed", "finished"])
def test_scoring_processes_and_their_vectors_go_with_the_run(end: str, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(CODE, encoding="utf-8")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    done = subprocess.run([sys.executable, str(script), str(scratch), end], capture_output=True, text=True, check=False)
    assert done.returncode == (-signal.SIGKILL if end == "killed" else 0), done.stderr
    worker = Path(f"/proc/{int(done.stdout)}/status")
    deadline = time.monotonic() + 20
    while list(scratch.glob("harness-scoring-*")) or (worker.exists() and "\nState:\tZ" not in worker.read_text(encoding="utf-8")):
        assert time.monotonic() < deadline, "something stays behind"
        time.sleep(0.05)
