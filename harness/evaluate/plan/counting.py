"""Arithmetic of a run: its windows, its distinct sequences, what the store has, the batches that are left. Runs no model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from harness.core.costs import Counters
from harness.evaluate.agenda import windows
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.store.index import Index
from harness.evaluate.encode.store.shards import Keys
from harness.evaluate.encode.store.stored import SettingReader
from harness.evaluate.plan.texts import TaskTexts
from harness.evaluate.plan.values import Amount

Mask = npt.NDArray[np.bool_]
Counts = list[tuple[int, Amount]]
"""Of each task, the sequences that the store has, and what must run."""
CostOf = Callable[[IntArray], tuple[Counters, IntArray]]
"""`EncoderKind.cost` of texts of these token counts, by the model of a run."""


@dataclass
class Shelf:
    """Names of the vectors that a run of the plan finds: those in the store, and those that it and the runs before it put there.

    `on_disk`: None where the store is empty, switched off, or can't be looked into. `keeps`: whether anything is kept. `untouched`:
    whether nothing was added to what is on the disk.
    """

    on_disk: SettingReader | None
    keeps: bool
    untouched: bool = True
    _added: Index = field(default_factory=Index)

    def contains(self, names: Keys) -> Mask:
        """Which of the names [n, 16] are found."""
        found: Mask = self._added.find(names)[0] >= 0
        return found | self.on_disk.contains(names) if self.on_disk is not None else found

    def add(self, names: Keys) -> None:
        """Vectors of these names are put."""
        if self.keeps and len(names):
            self.untouched = False
            self._added.add(names, 0)

    def apart(self) -> Shelf:
        """The store as it is on the disk, for a run by itself."""
        return Shelf(self.on_disk, self.keeps)


def tally(tasks: Iterable[TaskTexts], *, cost_of: CostOf, shelf: Shelf, vector_bytes: int, limit: int) -> tuple[Counts, Counters]:
    """What encoding the tasks costs, each and together, in windows of at most `limit` bytes of vectors, as a run makes them."""
    counts: Counts = []
    cost = Counters()
    for window in windows(tasks, size=lambda texts: len(texts) * vector_bytes, limit=limit):
        found, window_cost = _tally_window(window, cost_of, shelf)
        counts += found
        cost += window_cost
    return counts, cost


def _tally_window(window: Sequence[TaskTexts], cost_of: CostOf, shelf: Shelf) -> tuple[Counts, Counters]:
    texts = np.concatenate([task.texts for task in window])
    names = np.concatenate([task.names for task in window])
    counts = np.concatenate([task.counts for task in window])
    cut = np.concatenate([task.cut for task in window])

    once = _firsts(texts)
    distinct = once[_firsts(_as_one(names[once]))]
    stored = shelf.contains(names[distinct])
    missing = distinct[~stored]
    shelf.add(names[missing])

    tokens = counts[missing]
    cost, flops = cost_of(tokens)
    cost += Counters(
        texts=len(once),
        distinct=len(distinct),
        found=int(stored.sum()),
        real_tokens=int(counts[distinct].sum()),
        cut=int(cut[once].sum()),
    )
    ends = np.cumsum([len(task) for task in window])  # of the tasks' places, which `distinct` and `missing` keep in order
    kept, run = (np.searchsorted(places, [0, *ends]) for places in (distinct, missing))
    tasks = []
    for number in range(len(window)):
        mine, seen = (slice(*bounds[number : number + 2]) for bounds in (run, kept))
        left = Amount(texts=len(tokens[mine]), tokens=int(tokens[mine].sum()), flops=int(flops[mine].sum()))
        tasks.append((int(stored[seen].sum()), left))
    return tasks, cost


def _firsts(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The places of the first of each value, in order."""
    places: npt.NDArray[np.int64] = np.sort(np.unique(values, return_index=True)[1])
    return places


def _as_one(names: Keys) -> npt.NDArray[np.int64]:
    """Names as one number each, [n]: half of a name, by which two in two million are confused once in ten million plans."""
    halves: npt.NDArray[np.int64] = np.ascontiguousarray(names).view(np.int64)[:, 0]
    return halves
