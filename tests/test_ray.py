"""A sweep on Ray: the records of plain runs, also where a job's process is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from environments import environment_with
from records import run_here, same_records

ROOT = Path(__file__).resolve().parent.parent
RUN = ["model=sample", "data=sample", "gpu=cpu", "tasks=[AFQMC,STSB]"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with Ray."""
    lock = ROOT / "requirements-ray.lock"
    return environment_with(
        *(request, tmp_path_factory, "ray", "--no-deps", "--require-hashes", "-r", str(lock)),
        works="import hydra_plugins.hydra_ray_launcher.ray_launcher, ray",
    )


def test_records_are_those_of_a_plain_run_also_after_a_kill(python: Path, tmp_path: Path) -> None:
    place = [f"results_dir={tmp_path / 'ray'}", f"store={tmp_path / 'store'}", "++hydra.launcher.ray.init.num_cpus=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [str(python), "-m", "harness", "sweep", "hydra/launcher=ray", *RUN, "max_len=32,64", *place, "--quiet"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as sweep:
        killed = _kill_a_job(sweep, tmp_path / "ray")
        output, _ = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, output[-3000:]
    assert killed
    assert "2 jobs, 0 of them with failures, 2 runs" in output
    for length in (32, 64):
        plain = run_here([*RUN, "store=null", f"results_dir={tmp_path / 'plain'}", f"max_len={length}"])
        (folder,) = (tmp_path / "ray").rglob(f"*_len{length}_*")
        same_records(folder, plain.folder)


def _kill_a_job(sweep: subprocess.Popen[str], results: Path) -> bool:
    """Kill the process of a job that has begun, as Linux lists it; whether there was one."""
    while sweep.poll() is None:
        time.sleep(0.2)
        if not list(results.rglob(".lock")):
            continue
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                name = command.read_bytes()
            except OSError:
                continue
            if name.startswith(b"ray::_run_job"):
                os.kill(int(command.parent.name), signal.SIGKILL)
                return True
    return False
