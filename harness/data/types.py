"""A task's data, typed, whatever source it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Label = int | str
Verdict = Literal["verified", "unverified", "not C-MTEB"]
"""`verified`: every known statistic agrees; `unverified`: not compared; `not C-MTEB`: compared and different, or the sample."""


@dataclass(frozen=True)
class Table:
    """Rows as columns of equal length, with where they came from (a path or `repo@revision/file`) for messages."""

    columns: Mapping[str, list[Any]]
    origin: str

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and their labels, of equal length."""

    texts: list[str]
    labels: list[Label]


@dataclass(frozen=True)
class ClassificationData:
    """The training pool that samples are drawn from, and the evaluated split."""

    train: LabelledTexts
    test: LabelledTexts


@dataclass(frozen=True)
class ClusteringData:
    """The sets that are clustered one by one."""

    sets: list[LabelledTexts]


@dataclass(frozen=True)
class PairData:
    """Pairs with a binary label (PairClassification) or a graded score (STS), three lists of equal length."""

    first: list[str]
    second: list[str]
    target: list[float]


@dataclass(frozen=True)
class RerankingSample:
    """A query with its relevant and its irrelevant candidates."""

    query: str
    positive: list[str]
    negative: list[str]


@dataclass(frozen=True)
class RerankingData:
    """The samples in the order of the file."""

    samples: list[RerankingSample]


@dataclass(frozen=True)
class RetrievalData:
    """`corpus` and `queries` map an id to its text; `titles` to the title of the passages that have one.

    `qrels` maps a query id to the passages judged for it and their grade.
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    titles: dict[str, str] = field(default_factory=dict)


TaskData = ClassificationData | ClusteringData | PairData | RerankingData | RetrievalData


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a task's data came from, as every record tells it.

    `repository` and `revision`: what was read (None where it did not come from the hub, or where a local folder does not say).
    `pinned_revision`: what the benchmark table asks for; `substituted` where another one was read in its place.
    `sha256`: per file name. `mismatches`: the statistics that differ, one sentence each.
    `notes`: what else a reader must know of the data: a substitution, oddities that the pinned data is known to have.
    """

    source: str
    verdict: Verdict
    repository: str | None
    revision: str | None
    pinned_revision: str
    qrels_revision: str | None
    substituted: bool
    sha256: dict[str, str]
    mismatches: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadedTask:
    """A task's data with its provenance."""

    data: TaskData
    provenance: Provenance
