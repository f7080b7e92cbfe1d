"""Where stored vectors are: keys to (shard, row), looked up by the hundred thousand."""

import numpy as np
import numpy.typing as npt

from harness.evaluate.encode.store.shards import Keys


class Index:
    """Keys to (shard, row), as arrays that are sorted by the first half of the key when something is looked up for the first time."""

    def __init__(self) -> None:
        self._high, self._low = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64)
        self._shard, self._row = np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
        self._added: list[tuple[Keys, int]] = []

    def add(self, keys: Keys, shard: int) -> None:
        """Takes in the keys of a shard, in the order of its rows."""
        self._added.append((keys, shard))

    def forget(self, shard: int) -> None:
        """The shard's keys are not found from here on."""
        self._sort()
        self._shard[self._shard == shard] = -1

    def find(self, keys: Keys) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Shard (-1 where there is none) and row of each key."""
        self._sort()
        shards = np.full(len(keys), -1, dtype=np.int64)
        rows = np.zeros(len(keys), dtype=np.int64)
        high, low = _halves(keys)
        place = np.searchsorted(self._high, high)
        asked = np.arange(len(high))
        while len(asked):  # more than one turn only where the first halves of several keys are equal
            inside = place < len(self._high)
            asked, place = asked[inside], place[inside]
            same = self._high[place] == high[asked]
            asked, place = asked[same], place[same]
            hit = (self._low[place] == low[asked]) & (self._shard[place] >= 0)
            shards[asked[hit]] = self._shard[place[hit]]
            rows[asked[hit]] = self._row[place[hit]]
            asked, place = asked[~hit], place[~hit] + 1
        return shards, rows

    def _sort(self) -> None:
        if not self._added:
            return
        keys, numbers = zip(*self._added, strict=True)
        self._added.clear()
        high, low = _halves(np.concatenate(keys))
        high = np.concatenate([self._high, high])
        order = np.argsort(high, kind="stable")
        self._high, self._low = high[order], np.concatenate([self._low, low])[order]
        shards = np.repeat(np.array(numbers, dtype=np.int32), [len(each) for each in keys])
        rows = np.concatenate([np.arange(len(each), dtype=np.int32) for each in keys])
        self._shard, self._row = np.concatenate([self._shard, shards])[order], np.concatenate([self._row, rows])[order]


def _halves(keys: Keys) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    halves = np.ascontiguousarray(keys).view(np.uint64)
    return halves[:, 0].copy(), halves[:, 1].copy()
