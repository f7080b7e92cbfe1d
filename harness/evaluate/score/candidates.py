"""The passages that may be among a query's best, found by comparing with a rising floor instead of by selecting.

What a metric needs is where the judged passages stand. A passage that alone has its similarity stands right below those above it, whatever
`torch.topk` and a heap do with equals; so it is enough to count them, and only passages above the floor need to be looked at.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

_NO_FLOOR = np.float32(-np.inf)
_SAMPLED = 32  # one passage in so many says where the floor of the first ones may lie
_STRETCHES = 32  # neighbours are of like length, and may be of like similarity: the sample comes from all over the row
_CROWD = 4  # times `count`: so many at or above the floor are ties


class Candidates:
    """Of the passages offered to one query: those whose similarity is at least that of the `count`-th best so far, and maybe others.

    `floor`: what `count` of the passages offered first may reach (`sample_floors`); no result depends on it.
    """

    def __init__(self, count: int, floor: np.float32) -> None:
        self._count = count
        self._first_floor = floor
        self._values: NDArray[np.float32] = np.empty(0, dtype=np.float32)
        self._places: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._crowded = False  # so many tie at the floor that none is kept

    def offer(self, similarities: NDArray[np.float32], start: int, reached: NDArray[np.bool_]) -> None:
        """Offers the passages from place `start` on, in ascending order. `reached`: room for as many booleans, to be overwritten."""
        if self._crowded:
            return
        columns = _at_least(self._floor(), similarities, reached)
        if len(self._values) < self._count and len(columns) < self._count:
            floor = _kth_best(similarities, self._count) if len(similarities) > self._count else _NO_FLOOR
            columns = _at_least(floor, similarities, reached)
        self._values = np.concatenate([self._values, similarities.take(columns)])
        self._places = np.concatenate([self._places, columns + start])
        if len(self._values) > _CROWD * self._count:
            self._drop()

    @property
    def kept(self) -> int:
        """How many passages are held at the moment."""
        return len(self._values)

    def ranks(self, judged: NDArray[np.int64], *, without: int) -> NDArray[np.int64] | None:
        """The ranks of the passages at these places among all that were offered, but for the passage at `without` (-1: none), which has 0.

        A passage that is below `count` others has 0 or a rank above `count`. None where ties have a say: another passage has the similarity
        of a judged one.
        """
        ranks = np.zeros(len(judged), dtype=np.int64)
        if self._crowded or not len(self._values):
            return None
        at = self._places.searchsorted(judged)
        found = self._places.take(at, mode="clip") == judged
        values = self._values.take(at[found])
        ascending = np.sort(self._values)
        below = ascending.searchsorted(values, side="right")
        if (below - ascending.searchsorted(values) > 1).any():
            return None
        ranks[found] = len(ascending) + 1 - below
        if without >= 0:
            dropped = self._values[self._places == without]
            ranks[found] -= (dropped > values[:, None]).sum(axis=1)
            ranks[judged == without] = 0
        return ranks

    def _floor(self) -> np.float32:
        return _kth_best(self._values, self._count) if len(self._values) >= self._count else self._first_floor

    def _drop(self) -> None:
        kept = self._values >= self._floor()
        self._crowded = bool(kept.sum() > _CROWD * self._count)
        kept &= not self._crowded
        self._values, self._places = self._values[kept], self._places[kept]


def sample_floors(similarities: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Per query what about `count` of its similarities, and a few more, are or exceed; from a sample of [queries, passages]."""
    queries, passages = similarities.shape
    stretch = passages // _STRETCHES
    stretches = similarities[:, : stretch * _STRETCHES].reshape(queries, _STRETCHES, stretch)
    sample = stretches[:, :, : stretch // _SAMPLED].reshape(queries, -1)
    expected = sample.shape[1] * count / passages
    rank = math.ceil(expected + 3 * math.sqrt(expected))
    if rank >= sample.shape[1]:
        return np.full(queries, _NO_FLOOR)
    return np.partition(sample, -rank, axis=1)[:, -rank]


def _at_least(floor: np.float32, similarities: NDArray[np.float32], reached: NDArray[np.bool_]) -> NDArray[np.int64]:
    columns: NDArray[np.int64] = np.greater_equal(similarities, floor, out=reached).nonzero()[0]
    return columns


def _kth_best(similarities: NDArray[np.float32], count: int) -> np.float32:
    return np.float32(np.partition(similarities, -count)[-count])
