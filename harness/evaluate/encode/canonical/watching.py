"""Which kernels of scaled-dot-product attention run, by torch's own names; attention without one shows by its softmax."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own base class
    """torch takes the operator apart only below this."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten.scaled_dot_product_attention.default:
            with self:
                return function.decompose(*args, **(kwargs or {}))
        name = function.__name__.partition(".")[0].lstrip("_")
        if name.startswith(("scaled_dot_product", "softmax")):
            self.names.add(name)
        return function(*args, **(kwargs or {}))


@contextmanager
def watched_attention() -> Iterator[set[str]]:
    """Within this, the kernels that run in this thread are noted in the set."""
    with _Noting() as noting:
        yield noting.names
