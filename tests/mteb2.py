"""An environment with mteb 2.26.24 on top of this one's packages, kept under pytest's cache, outside of the repository's own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

MTEB = "2.26.24"


@pytest.fixture(scope="module")
def mteb2(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The Python of an environment with mteb 2 on top of this one's packages, and the seconds it took; kept under pytest's cache."""
    started = time.perf_counter()
    name, cache = f"mteb-{MTEB}-python{sys.version_info.major}.{sys.version_info.minor}", getattr(request.config, "cache", None)
    folder = cache.mkdir(name) if cache else tmp_path_factory.mktemp(name)
    python = folder / "bin" / "python"
    works = [str(python), "-c", f"import mteb; assert mteb.__version__ == '{MTEB}'"]
    if python.exists() and subprocess.run(works, capture_output=True, check=False).returncode == 0:
        return python, time.perf_counter() - started
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / version / "site-packages" / "beneath.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "30", f"mteb=={MTEB}"]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if subprocess.run(works, capture_output=True, check=False).returncode != 0:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.skip(f"no environment with mteb {MTEB}: pip could not install it ({last})")
    return python, time.perf_counter() - started
