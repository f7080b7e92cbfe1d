"""The wheel is complete: built, installed into an empty folder and run from there, it does what the checkout does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return folder


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_holds_configs_sample_lock_and_published_results_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "harness/_bundled/configs/config.yaml",
        "harness/_bundled/configs/benchmarks/cmteb35.yaml",
        "harness/_bundled/configs/tasks.yaml",
        "harness/_bundled/requirements.lock",
        "harness/_bundled/results/published/acge_text_embedding/manifest.json",
        "harness/_bundled/results/expected/sample.json",
        "harness/sample/model/modules.json",
    ):
        assert name in names
    assert not [name for name in names if name.startswith(("tests/", "scripts/", "store/", "results/"))]


def test_the_installed_package_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    code = "import harness, harness.core.resources as r; print(harness.__file__); print(r.resource_dir('configs'))"
    environment = os.environ | {"PYTHONPATH": str(installed)}
    message = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert all(line.startswith(str(installed)) for line in message.splitlines())


def test_the_installed_command_runs_the_sample(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "run", "model=sample", "data=sample", "gpu=cpu", "tasks=[STSB,Ocnli]", "store=null")
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads(next((tmp_path / "results").rglob("STSB.json")).read_text(encoding="utf-8"))
    assert record["harness"]["data"]["verdict"] == "not C-MTEB"
