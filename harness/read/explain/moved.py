"""The examples that a setting moved most."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from harness.core.examples import Examples
from harness.core.folds import accuracies
from harness.core.tasks import TaskSpec


@dataclass(frozen=True, kw_only=True)
class Move:
    """An example before and after. `index`: its place in the data, from 0; `key`: a query's id, else the digest of its texts.

    `measure`: what `before` and `after` are. Of a pair the rank of its similarity among all (1: the most alike), which is all that its
    metric sees of it; of a text the share of the experiments that were right; else the example's own metric, 0 to 1. `about`: its label
    or gold score, its similarities.
    """

    index: int
    key: str
    measure: str
    before: float
    after: float
    about: str


def most_moved(task: TaskSpec, before: Examples, after: Examples, *, count: int) -> tuple[Move, ...]:
    """The examples that moved furthest, at most `count`, the first in the data where they moved as far; none that stayed where it was."""
    measured = [_measured(task, examples) for examples in (before, after)]
    distance = np.nan_to_num(np.abs(measured[1] - measured[0]))
    order = np.argsort(-distance, kind="stable")[:count]
    return tuple(
        Move(
            index=int(before["index"][row]),
            key=str(before[task.kind.key][row]),
            measure=task.kind.measure,
            before=float(measured[0][row]),
            after=float(measured[1][row]),
            about=_about(task, before, after, int(row)),
        )
        for row in order
        if distance[row] > 0
    )


def _measured(task: TaskSpec, examples: Examples) -> NDArray[np.float64]:
    if task.kind.similarities:
        return np.asarray(rankdata(-examples["cos_sim"]))
    column = task.kind.contribution
    return np.asarray(examples[column], dtype=np.float64) if column else accuracies(examples)


def _about(task: TaskSpec, before: Examples, after: Examples, row: int) -> str:
    values = {name: before[name][row] for name in before.columns}
    return task.kind.about.format(**values, after=after["cos_sim"][row] if task.kind.similarities else "")
