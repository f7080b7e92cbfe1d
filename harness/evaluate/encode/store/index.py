"""Where stored vectors are: keys to (shard, row), looked up by the hundred thousand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.evaluate.encode.store.shards import Keys


class Index:
    """Keys to (shard, row), as sorted arrays; a new shard's are merged so that a lookup visits few arrays."""

    def __init__(self) -> None:
        self._parts: list[_Part] = []

    def add(self, keys: Keys, shard: int) -> None:
        """Takes in the keys of a shard, in the order of its rows."""
        part = _Part.of(keys, shard)
        while self._parts and len(self._parts[-1].high) <= 2 * len(part.high):
            part = _Part.merge(self._parts.pop(), part)
        self._parts.append(part)

    def forget(self, shard: int) -> None:
        """The shard's keys are not found from here on."""
        for part in self._parts:
            part.shard[part.shard == shard] = -1

    def find(self, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Shard (-1 where there is none) and row of each key."""
        shards = np.full(len(keys), -1, dtype=np.int64)
        rows = np.zeros(len(keys), dtype=np.int64)
        high, low = _halves(keys)
        for part in self._parts:
            part.find(high, low, shards, rows)
        return shards, rows


@dataclass(frozen=True)
class _Part:
    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    shard: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]

    @classmethod
    def of(cls, keys: Keys, shard: int) -> _Part:
        high, low = _halves(keys)
        return cls(high, low, np.full(len(keys), shard, dtype=np.int32), np.arange(len(keys), dtype=np.int32))._sorted()

    @classmethod
    def merge(cls, one: _Part, other: _Part) -> _Part:
        return cls(
            np.concatenate([one.high, other.high]),
            np.concatenate([one.low, other.low]),
            np.concatenate([one.shard, other.shard]),
            np.concatenate([one.row, other.row]),
        )._sorted()

    def _sorted(self) -> _Part:
        order = np.argsort(self.high, kind="stable")
        return _Part(self.high[order], self.low[order], self.shard[order], self.row[order])

    def find(
        self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], shards: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
    ) -> None:
        place = np.searchsorted(self.high, high)
        asked = np.arange(len(high))
        while len(asked):  # more than one turn only where the first halves of several keys are equal
            inside = place < len(self.high)
            asked, place = asked[inside], place[inside]
            same = self.high[place] == high[asked]
            asked, place = asked[same], place[same]
            hit = (self.low[place] == low[asked]) & (self.shard[place] >= 0)
            shards[asked[hit]] = self.shard[place[hit]]
            rows[asked[hit]] = self.row[place[hit]]
            asked, place = asked[~hit], place[~hit] + 1


def _halves(keys: Keys) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    halves = np.ascontiguousarray(keys).view(np.uint64)
    return halves[:, 0].copy(), halves[:, 1].copy()
