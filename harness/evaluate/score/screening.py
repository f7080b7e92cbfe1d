"""Which passages of a search are near a judged one, found on a device: only these are multiplied again where the bits are those of the CPU.

A device rounds a product otherwise than a CPU, by at most what `rounding_bound` says. So a similarity further than that from a judged one
is above or below it for certain, and is counted on the device. The few others are named, for the CPU to decide.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from harness.core.errors import MachineError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]

Asked = tuple[torch.Tensor, Sequence[IntArray], Sequence[FloatArray]]
"""A block of queries [n, dim]; per query the places of its judged passages, and their similarities on the CPU."""


@dataclass(frozen=True, kw_only=True)
class Screened:
    """A block of n queries with at most `width` judged passages each, in the order of the block.

    `above`: [n, width], how many passages are above the judged one for certain; it may be too low once it is over the number that is kept.
    `query`, `passage`: [pairs], who is near to whom; `near`: [pairs, width], to which of the query's judged passages.
    """

    above: IntArray
    query: IntArray
    passage: IntArray
    near: NDArray[np.bool_]


def rounding_bound(dim: int) -> float:
    """The most that two float32 dot products of the same two unit vectors can differ by, whatever the order of their sums.

    Each is within n u / (1 - n u) of the true one, u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1).
    On top a hundredth for vectors whose length is not quite 1, and the rounding of the limits themselves.
    """
    error = dim * 2.0**-24
    return 2.02 * error / (1 - error) + 2.0**-22


def padded(values: Sequence[FloatArray]) -> FloatArray:
    """[n, width] from lists of similarities; infinite where a list has ended."""
    table = np.full((len(values), max(map(len, values), default=0)), np.inf, dtype=np.float32)
    for row, each in zip(table, values, strict=True):
        row[: len(each)] = each
    return table


def screen_blocks(blocks: Sequence[Asked], passages: torch.Tensor, device: torch.device, *, chunk: int, kept: int) -> list[Screened]:
    """Screen the blocks against `passages` [m, dim], float32 on the CPU, of which `kept` are kept per query.

    Memory on the device: `chunk` passages, and for one block a similarity and a few bytes for each of them (0.5 GB at 256 queries, 50,000
    passages and 1,792 dimensions).

    Raises:
        MachineError: the device's similarities are further from the CPU's than rounding explains.
        RuntimeError: the device has no room, or is another process's.
    """
    screens = [_Screen(block, device, kept) for block in blocks]
    with torch.no_grad(), _full_precision():
        for start in range(0, len(passages), chunk):
            part = passages[start : start + chunk].to(device)
            for screen in screens:
                screen.add(part, start)
    return [screen.result() for screen in screens]


class _Screen:
    """One block of queries, while passages come in chunks."""

    def __init__(self, block: Asked, device: torch.device, kept: int) -> None:
        self._queries, judged, values = block
        self._device, self._kept = device, kept
        self._values = torch.from_numpy(padded(values))
        self._bound = rounding_bound(self._queries.shape[1])
        self._above = torch.zeros(self._values.shape, dtype=torch.int64, device=device)
        self._row = torch.from_numpy(np.repeat(np.arange(len(judged)), [len(places) for places in judged]))
        self._place = torch.from_numpy(np.concatenate(judged))
        self._expected = torch.from_numpy(np.concatenate(values))
        self._pairs: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def add(self, passages: torch.Tensor, start: int) -> None:
        similarities = self._queries.to(self._device) @ passages.T
        self._check(similarities, start)
        values = self._values.to(self._device)
        low, high = values - self._bound, values + self._bound
        low = low.where(self._above <= self._kept, torch.inf)  # near a passage that is not kept: of no matter
        near = torch.zeros_like(similarities, dtype=torch.bool)
        for column in range(values.shape[1]):
            above = similarities > high[:, column, None]
            near |= (similarities >= low[:, column, None]) & ~above
            self._above[:, column] += above.sum(dim=1)
        query, passage = near.nonzero(as_tuple=True)
        value = similarities[query, passage][:, None]
        self._pairs.append((query.cpu(), passage.cpu() + start, ((value >= low[query]) & (value <= high[query])).cpu()))

    def result(self) -> Screened:
        query, passage, near = (torch.cat(parts).numpy() for parts in zip(*self._pairs, strict=True))
        return Screened(above=self._above.cpu().numpy(), query=query, passage=passage, near=near)

    def _check(self, similarities: torch.Tensor, start: int) -> None:
        """Every judged passage, at its place in the product that is counted."""
        here = (self._place >= start) & (self._place < start + similarities.shape[1])
        row, column = self._row[here].to(self._device), (self._place[here] - start).to(self._device)
        apart = float((similarities[row, column].cpu() - self._expected[here]).abs().max()) if len(row) else 0.0
        if not apart <= self._bound:
            raise MachineError(
                f"similarities on {self._device} differ from the CPU's by {apart:.2g}, rounding explains {self._bound:.2g}: its products "
                "are not in full float32, or wrong. Unset NVIDIA_TF32_OVERRIDE, or search without it: scoring.search=reference"
            )


@contextlib.contextmanager
def _full_precision() -> Iterator[None]:
    """No TF32 in the products of this block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
