"""A task's data, typed, whatever source it came from."""

from collections.abc import Mapping, Sized
from dataclasses import dataclass, field
from typing import Any

from harness.core.errors import InputError
from harness.core.records import Provenance

Label = int | str


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

    def __post_init__(self) -> None:
        """Raises InputError as `PairData` does."""
        _refuse_unequal(texts=self.texts, labels=self.labels)


@dataclass(frozen=True)
class ClassificationData:
    """The training pool that samples are drawn from, and the evaluated split; `further`: the other ones of a task that has several."""

    train: LabelledTexts
    test: LabelledTexts
    further: tuple[LabelledTexts, ...] = ()

    @property
    def parts(self) -> tuple[LabelledTexts, ...]:
        """All evaluated splits, in the order of the task."""
        return (self.test, *self.further)


@dataclass(frozen=True)
class ClusteringData:
    """The sets that are clustered one by one."""

    sets: list[LabelledTexts]


@dataclass(frozen=True)
class PairData:
    """Pairs with a binary label (PairClassification) or a graded score (STS), three lists of equal length.

    Raises:
        InputError: the lists are of unequal length.
    """

    first: list[str]
    second: list[str]
    target: list[float]

    def __post_init__(self) -> None:
        """Raises InputError."""
        _refuse_unequal(first=self.first, second=self.second, target=self.target)


@dataclass(frozen=True)
class RerankingSample:
    """A query with its relevant and its irrelevant candidates."""

    query: str
    positive: list[str]
    negative: list[str]

    @property
    def candidates(self) -> list[str]:
        """All candidates, the relevant ones first."""
        return [*self.positive, *self.negative]


@dataclass(frozen=True)
class RerankingData:
    """The samples in the order of the file."""

    samples: list[RerankingSample]

    @property
    def scored(self) -> list[tuple[int, RerankingSample]]:
        """The samples that count, with their numbers: those with a relevant and an irrelevant candidate."""
        return [(number, sample) for number, sample in enumerate(self.samples) if sample.positive and sample.negative]


@dataclass(frozen=True)
class RetrievalData:
    """`corpus` and `queries` map an id to its text; `titles` to the title of the passages that have one.

    `qrels` maps a query id to the passages judged for it and their grade.
    """

    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    titles: dict[str, str] = field(default_factory=dict)

    def passages(self) -> dict[str, dict[str, str]]:
        """Passages as C_MTEB hands them over: no title where the data has none."""
        return {
            key: {"title": self.titles[key], "text": text} if key in self.titles else {"text": text} for key, text in self.corpus.items()
        }


def passage_text(passage: Mapping[str, str]) -> str:
    """What is encoded for a passage, its prompt apart: title and text joined and stripped, as in the card's script."""
    return f"{passage.get('title', '')} {passage['text']}".strip()


def _refuse_unequal(**columns: Sized) -> None:
    if len(set(map(len, columns.values()))) > 1:
        raise InputError(f"found {', '.join(f'{len(column)} {name}' for name, column in columns.items())}, expected as many of each")


TaskData = ClassificationData | ClusteringData | PairData | RerankingData | RetrievalData


@dataclass(frozen=True)
class LoadedTask:
    """A task's data with its provenance."""

    data: TaskData
    provenance: Provenance
