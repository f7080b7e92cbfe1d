"""Token counts of C-MTEB at full size, modelled from the statistics in `configs/tasks.yaml`: no text of it is needed.

Characters of a field are log-normal, clipped to its shortest and longest text, with its mean; sigma is what makes the longest of so many
draws likely, capped at 1.1 (a few outliers of 40,000 characters and more would decide it otherwise). Tokens are r * characters + 2, r
normal around 0.88 (0.94 in fields of short texts) with deviation 0.08: a Chinese WordPiece makes one token of a Han character, and fewer
of Latin words and numbers. Untruncated token counts so modelled are plans of what can't be read, weights of a progress bar, and the mix of
lengths in the benchmarks.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.core.tasks import TaskSpec

_SIGMA_CAP = 1.1
_SHORT = 40  # characters on average


@dataclass(frozen=True, kw_only=True)
class Field:
    """Texts of one column of a task: how many are fed, how many of them are distinct, and their characters."""

    task: TaskSpec
    name: str
    texts: int
    distinct: int
    mean: float
    shortest: int
    longest: int

    def tokens(self, draw: np.random.Generator, *, share: float = 1.0) -> npt.NDArray[np.int64]:
        """Untruncated token counts, specials included, of a share of the distinct texts."""
        chars = self._characters(draw, max(1, round(self.distinct * share)))
        rate = draw.normal(tokens_per_character(self.mean), 0.08, size=len(chars))
        return np.maximum(3, np.rint(rate * chars).astype(np.int64) + 2)

    def characters(self, draw: np.random.Generator) -> npt.NDArray[np.int64]:
        """Characters of the distinct texts."""
        return self._characters(draw, self.distinct).astype(np.int64)

    def _characters(self, draw: np.random.Generator, count: int) -> npt.NDArray[np.float64]:
        return np.clip(draw.lognormal(*self._parameters(), size=count), max(1, self.shortest), self.longest)

    def _parameters(self) -> tuple[float, float]:
        """mu and sigma: log(longest / mean) = sigma * z - sigma^2 / 2, z the normal quantile of the longest of so many draws."""
        z = statistics.NormalDist().inv_cdf(1 - 1 / (self.distinct + 1))
        under_root = z * z - 2 * math.log(max(1.0, self.longest / self.mean))
        sigma = min(_SIGMA_CAP, z - math.sqrt(under_root)) if under_root > 0 else _SIGMA_CAP
        return math.log(self.mean) - sigma * sigma / 2, sigma


def fields(task: TaskSpec) -> Iterator[Field]:
    """What a run encodes of the task; of training texts only the rows that the experiments sample."""
    for table, figures in task.statistics.items():
        if table == "qrels":
            continue
        columns = {table: figures} if "chars" in figures else figures
        for name, column in columns.items():
            if isinstance(column, Mapping) and "chars" in column:
                yield _field(task, table, name, column, rows=column.get("rows", figures.get("rows", 0)), labels=figures.get("label", {}))


def tokens_per_character(mean: float) -> float:
    """The rate in fields of so many characters on average, specials apart."""
    return 0.94 if mean < _SHORT else 0.88


def estimated_counts(texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Untruncated token counts, specials included, by the rate for the characters of these texts."""
    characters = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    rate = tokens_per_character(characters.mean() if len(texts) else 0.0)
    counts: npt.NDArray[np.int64] = np.rint(rate * characters).astype(np.int64) + 2
    return counts


def modelled_bytes(task: TaskSpec) -> int:
    """Bytes of all texts of the task's tables at 3 a character, as UTF-8 has Han: an upper bound, of which Parquet takes about half."""
    tables = [figures for table, figures in task.statistics.items() if table != "qrels"]
    columns = [column for figures in tables for column in (figures, *figures.values()) if isinstance(column, Mapping)]
    return 3 * sum(int(column["chars"]) for column in columns if "chars" in column)


def modelled_counts(task: TaskSpec) -> npt.NDArray[np.int64]:
    """Untruncated token counts, specials included, of the distinct texts of each field; the same ones at every call.

    Texts that several fields or tasks share are invisible in the statistics: they are counted in each. Empty for a task without statistics.
    """
    draw = np.random.default_rng(list(task.name.encode()))
    return np.concatenate([np.zeros(0, dtype=np.int64), *(field.tokens(draw) for field in fields(task))])


def _field(task: TaskSpec, table: str, name: str, column: Mapping[str, Any], *, rows: int, labels: Mapping[str, int]) -> Field:
    texts, distinct = rows, column["unique"]
    if table == "train" and task.n_experiments and task.samples_per_label:
        drawn = [(size, min(size, task.samples_per_label)) for size in labels.values()]
        texts = sum(size for _, size in drawn) * task.n_experiments
        ever = sum(size * (1 - (1 - part / size) ** task.n_experiments) for size, part in drawn)
        distinct = round(ever * column["unique"] / rows)
    return Field(
        task=task,
        name=f"{table}.{name}",
        texts=texts,
        distinct=min(distinct, texts),
        mean=column["chars"] / rows,
        shortest=column["min"],
        longest=column["max"],
    )
