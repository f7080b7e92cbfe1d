"""Is this the data that the published scores were computed on? The known figures of every table, counted and compared.

The figures were counted by mteb 2.26. Text length is `len()` of the text. The passages of its retrieval and reranking tasks are title and
text joined by a space and stripped, which leaves a text without title as it is unless it begins or ends with white space; either count
is accepted for passages, all four figures of it together. Reranking is counted over the samples that have both positive and negative
candidates, as mteb drops the others before it scores.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from harness.core.tasks import TaskSpec
from harness.data.types import (
    ClassificationData,
    ClusteringData,
    LabelledTexts,
    PairData,
    RerankingData,
    RetrievalData,
    TaskData,
    passage_text,
)

Figures = dict[str, Any]
"""Known figures of a table: a number, or column -> figure -> number (`rows`, `chars`, `min`, `max`, `unique`; a count per label)."""

_RELATIVE = 1e-6
_SHOWN = 3


def count_figures(task: TaskSpec, data: TaskData) -> dict[str, Figures]:
    """The figures of each table, under the names that `task.statistics` uses."""
    if isinstance(data, ClassificationData):
        parts = dict(zip(("train", *task.splits), (data.train, *data.parts), strict=True))
        return {split: _labelled(part, "text", "label") for split, part in parts.items()}
    if isinstance(data, ClusteringData):
        texts = list(chain.from_iterable(group.texts for group in data.sets))
        labels = list(chain.from_iterable(group.labels for group in data.sets))
        return {task.split: _labelled(LabelledTexts(texts, labels), "sentences", "labels")}
    if isinstance(data, PairData):
        return {task.split: _pairs(task, data)}
    if isinstance(data, RerankingData):
        return {task.split: _reranking(data)}
    return _retrieval(data)


def compare_figures(task: TaskSpec, data: TaskData) -> tuple[str, ...]:
    """Every known figure that the data does not have, a sentence each; empty when all agree."""
    found = count_figures(task, data)
    mismatches = list(_differences(task.statistics, found, ()))
    if mismatches and isinstance(data, (RetrievalData, RerankingData)):
        stripped = _with_joined_passages(task, data, found)
        mismatches = min(mismatches, list(_differences(task.statistics, stripped, ())), key=len)
    return tuple(mismatches)


def _labelled(rows: LabelledTexts, text: str, label: str) -> Figures:
    return {"rows": len(rows.texts), text: _texts(rows.texts), label: _histogram(rows.labels)}


def _pairs(task: TaskSpec, data: PairData) -> Figures:
    first, second, target = task.columns
    figures: Figures = {
        "rows": len(data.first),
        first: _texts(data.first),
        second: _texts(data.second),
        "unique_pairs": len(set(zip(data.first, data.second, strict=True))),
    }
    if task.type == "PairClassification":
        figures[target] = _histogram(data.target)
    else:
        figures[target] = {"min": min(data.target), "mean": math.fsum(data.target) / len(data.target), "max": max(data.target)}
    return figures


def _reranking(data: RerankingData) -> Figures:
    documents = _documents(data)
    return {
        "query": {"rows": len(data.scored), **_texts(sample.query for _, sample in data.scored)},
        "documents": {"rows": len(documents), **_texts(documents)},
        "positive": {"rows": sum(len(sample.positive) for _, sample in data.scored)},
    }


def _documents(data: RerankingData) -> list[str]:
    return [text for _, sample in data.scored for text in sample.candidates]


def _retrieval(data: RetrievalData) -> dict[str, Figures]:
    per_query = [len(grades) for grades in data.qrels.values()]
    return {
        "corpus": {"rows": len(data.corpus), **_texts(data.corpus.values())},
        "queries": {"rows": len(data.queries), **_texts(data.queries.values())},
        "qrels": {"rows": sum(per_query), "min_per_query": min(per_query), "max_per_query": max(per_query)},
    }


def _with_joined_passages(task: TaskSpec, data: RetrievalData | RerankingData, found: Mapping[str, Figures]) -> dict[str, Figures]:
    """The figures with passages counted as title and text, joined and stripped."""
    if isinstance(data, RetrievalData):
        passages = [passage_text(passage) for passage in data.passages().values()]
        return {**found, "corpus": {"rows": len(passages), **_texts(passages)}}
    passages = [text.strip() for text in _documents(data)]
    return {task.split: {**found[task.split], "documents": {"rows": len(passages), **_texts(passages)}}}


def _texts(texts: Iterable[str]) -> Figures:
    texts = list(texts)
    lengths = list(map(len, texts))
    return {"chars": sum(lengths), "min": min(lengths), "max": max(lengths), "unique": len(set(texts))}


def _histogram(labels: Sequence[Any]) -> Figures:
    return {str(label): count for label, count in Counter(labels).items()}


def _differences(known: Mapping[str, Any], found: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[str]:
    if path and path[-1] in ("label", "labels"):
        yield from _label_differences(known, found, path)
        return
    for name, expected in known.items():
        value = found.get(name)
        if isinstance(expected, Mapping):
            yield from _differences(expected, value if isinstance(value, Mapping) else {}, (*path, name))
        elif value is None or not math.isclose(value, expected, rel_tol=_RELATIVE if isinstance(expected, float) else 0.0):
            yield f"{' '.join(path)}: {name} {_number(value)}, expected {_number(expected)}"


def _label_differences(known: Mapping[str, int], found: Mapping[str, int], path: tuple[str, ...]) -> Iterable[str]:
    wrong = [label for label in {**known, **found} if known.get(label, 0) != found.get(label, 0)]
    if wrong:
        shown = "; ".join(f"{label!r} {found.get(label, 0):,} times, expected {known.get(label, 0):,}" for label in wrong[:_SHOWN])
        more = f"; and {len(wrong) - _SHOWN} more labels" if len(wrong) > _SHOWN else ""
        yield f"{' '.join(path)}: {shown}{more}"


def _number(value: Any) -> str:
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
