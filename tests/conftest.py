"""For all tests: one OpenMP thread, before any library starts its own (small products are many times slower on busy cores otherwise), and
text as wide as the usual terminal; without a GPU, Triton's kernels run in its interpreter.
"""

import gc
import os
import traceback
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["COLUMNS"] = "100"
settings.register_profile("unhurried", deadline=None)  # hypothesis fails an example of 0.2 s, which others on the machine can make of any
settings.load_profile("unhurried")
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")


LONG = ("crash", "docs", "encoder", "endpoint", "canary", "calibrate", "fidelity", "workers", "sweep", "devices")
"""Files that take longest: they come first, so that no core waits for the last of them. xdist would begin with those of the most tests."""


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONG)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny BERT of 48 dimensions. Copy it to change it."""
    from tiny_models import build_model

    return build_model(tmp_path_factory.mktemp("model") / "tiny", dense=48)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of JDReview, Ocnli and STSB in small: texts that they share, some of them longer than 8 and 16 tokens."""
    from tiny_models import write_tasks

    return write_tasks(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session", autouse=True)
def _quick() -> None:
    """Until CUDA starts, torch keeps the text of the stack of every seeding, for the message of a failed start: pytest's has sixty frames,
    and mteb seeds torch whenever it makes anything. And the million objects of imported modules are left out of garbage collections.
    """
    import torch

    gc.freeze()
    torch.cuda.traceback = SimpleNamespace(format_stack=lambda: traceback.format_stack(limit=3))  # type: ignore[attr-defined]
