"""An environment with mteb 2.26.24 on top of this one's packages."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from environments import environment_with

MTEB = "2.26.24"


@pytest.fixture(scope="module")
def mteb2(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The Python of an environment with mteb 2 on top of this one's packages, and the seconds it took."""
    started = time.perf_counter()
    works = f"import mteb; assert mteb.__version__ == '{MTEB}'"
    python = environment_with(request, tmp_path_factory, f"mteb-{MTEB}", f"mteb=={MTEB}", works=works)
    return python, time.perf_counter() - started
