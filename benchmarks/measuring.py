"""What all benchmarks share: seconds of wall and processor, ratios with their spread, the name of the machine."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a source tree that is not installed

if TYPE_CHECKING:
    from harness.core.spec import Dtype, EncodingSpec, ModelSpec
    from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
    from harness.evaluate.encode.store.store import VectorStore

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
NO_DEVICE = "needs a CUDA device, torch sees none: not measured"


def load_encoder(
    model: ModelSpec, *, dtype: Dtype, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None = None
) -> CanonicalEncoder:
    """The encoder of a model, loaded for it alone."""
    from harness.evaluate.encode.canonical.kind import CANONICAL

    weights = CANONICAL.load(model, dtype=dtype, device=device)
    return CANONICAL.encoder(weights, max_len=max_len, encoding=encoding, device=device, store=store)


@dataclass(frozen=True)
class Cost:
    """Seconds of the clock, and of the processor in user mode over all threads and finished child processes."""

    wall: float
    user: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall + other.wall, self.user + other.user)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.user - other.user)

    def __str__(self) -> str:
        return f"{self.wall:.2f} s wall, {self.user:.2f} s user"


def seconds() -> Cost:
    """The clocks as they stand; only differences mean something."""
    user = sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Cost(time.perf_counter(), user)


def measure(action: Callable[[], T]) -> tuple[T, Cost]:
    """What the action returns and what it cost."""
    before = seconds()
    result = action()
    return result, seconds() - before


def report(name: str, values: Sequence[float], *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Print a figure with its spread over the repeats; True when its median reaches the goal."""
    median = statistics.median(values)
    line = f"ratio {name}: {median:.3f} (min {min(values):.3f}, max {max(values):.3f}, repeats {len(values)})"
    reached = True
    if at_least is not None:
        reached = median >= at_least
        line += f"; must be >= {at_least}: " + ("reached" if reached else f"falls short by {at_least - median:.3f}")
    if at_most is not None:
        reached = median <= at_most
        line += f"; must be <= {at_most}: " + ("reached" if reached else f"exceeds it by {median - at_most:.3f}")
    print(line, flush=True)
    return reached


def say_machine() -> None:
    """Print the device, the threads, and the load of the machine."""
    from harness.evaluate.encode.device import describe_device, find_device  # not on a machine that has torch and numpy alone

    device = describe_device(find_device())
    cpu = describe_device(torch.device("cpu"))
    names = cpu.name if device.kind == "cpu" else f"{device.name} beside {cpu.name}"
    print(f"machine: {names}, {os.cpu_count()} cores, {cpu.memory_gib:.0f} GiB, {cpu.capability}; torch {torch.__version__}", end=", ")
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} at the start", flush=True)


def real_data() -> Path | None:
    """The folder of real evaluation data that `CMTEB_DATA` names; None where it names none."""
    named = os.environ.get("CMTEB_DATA")
    return Path(named) if named and Path(named).is_dir() else None


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """A context with this number of torch threads; None changes nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
