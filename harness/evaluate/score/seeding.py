"""The global random generators: mteb 1.1.1 draws from numpy's, so a score is only reproducible from a known state of it."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np

SEED = 42
"""What mteb 1.1.1 seeds all generators with when it makes a task or an evaluator."""


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Give Python's, numpy's and torch's global generators back as they were found."""
    import torch  # here, because whoever only needs `SEED` goes without

    python, legacy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 mteb reads the legacy generator
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def seed_generators(seed: int = SEED) -> None:
    """All generators at 42: where the card's script starts every task, and where every evaluator of mteb starts again."""
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)
