"""Environments of other packages on top of this one's, kept under pytest's cache, outside of the repository's own."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest


def environment_with(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, name: str, *packages: str, works: str
) -> Path:
    """The Python of an environment with the packages, as pip's arguments name them, on top of this one's; the test is skipped where pip
    can't install them. `works`: a statement that only runs where they are there.
    """
    name, cache = f"{name}-python{sys.version_info.major}.{sys.version_info.minor}", getattr(request.config, "cache", None)
    folder = cache.mkdir(name) if cache else tmp_path_factory.mktemp(name)
    python = folder / "bin" / "python"
    check = [str(python), "-c", works]
    if python.exists() and subprocess.run(check, capture_output=True, check=False).returncode == 0:
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "lib" / version / "site-packages" / "beneath.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "30", *packages]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if subprocess.run(check, capture_output=True, check=False).returncode != 0:
        last = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        pytest.skip(f"no environment with {name}: pip could not install it ({last})")
    return python
