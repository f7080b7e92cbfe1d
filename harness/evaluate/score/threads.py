"""The thread count, fixed: sums in BLAS are cut up by it, so the last bits of a score's inputs would depend on the number of cores."""

import contextlib
from collections.abc import Iterator

import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


@contextlib.contextmanager
def one_thread() -> Iterator[int]:
    """Run torch, BLAS and OpenMP on one thread each; gives torch's thread count from before, for callers that spread work themselves.

    scikit-learn's LogisticRegression at 1,792 dimensions has other coefficients with each thread count (1.8.0, OpenBLAS).
    """
    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield before
        finally:
            torch.set_num_threads(before)
