"""What mteb's evaluators work out per example and keep to themselves, overheard while they work, so that nothing is scored twice."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from harness.core.examples import Examples, make_examples
from harness.core.tasks import TaskSpec, TaskType
from harness.data.types import ClassificationData, ClusteringData, PairData, RerankingData, RetrievalData, TaskData
from harness.evaluate.score.ranking import CUTOFFS, reciprocal_ranks

_EVALUATORS = "mteb.evaluation.evaluators"


@dataclass(frozen=True)
class Call:
    """One call of a function: its positional arguments and what it returned."""

    arguments: tuple[Any, ...]
    result: Any


def evaluate_observed(task: TaskSpec, data: TaskData, evaluate: Callable[[], Mapping[str, Any]]) -> tuple[Mapping[str, Any], Examples]:
    """What `evaluate` returns, and the examples that its evaluators went through on the way."""
    module, owner, name = _OVERHEARD[task.type]
    place = import_module(module)
    with _calls(getattr(place, owner) if owner else place, name) as calls:
        if not isinstance(data, RetrievalData):
            metrics = evaluate()
            return metrics, _examples(task, data, calls)
        with _calls(import_module("beir.retrieval.evaluation"), "mrr") as mrr:  # (qrels, passages found, cut-offs)
            metrics = evaluate()
    [trec], [reciprocal] = calls, mrr
    return metrics, query_examples(data, _query_columns(list_queries(data), trec.result, *reciprocal.arguments[:2]))


_OVERHEARD: dict[TaskType, tuple[str, str | None, str]] = {
    "Classification": (f"{_EVALUATORS}.ClassificationEvaluator", None, "accuracy_score"),  # (labels, predictions), once an experiment
    "Clustering": (f"{_EVALUATORS}.ClusteringEvaluator", "ClusteringEvaluator", "__call__"),
    "PairClassification": (f"{_EVALUATORS}.PairClassificationEvaluator", "PairClassificationEvaluator", "_compute_metrics"),
    "Reranking": (f"{_EVALUATORS}.RerankingEvaluator", "RerankingEvaluator", "_compute_metrics_instance"),
    "Retrieval": ("pytrec_eval", "RelevanceEvaluator", "evaluate"),
    "STS": (f"{_EVALUATORS}.STSEvaluator", None, "spearmanr"),  # (gold, similarities), once per similarity
}
"""Module, class and function whose calls hold a type's values per example."""


@contextlib.contextmanager
def _calls(owner: Any, name: str) -> Iterator[list[Call]]:
    """The calls of `owner.name` inside the block; it does what it did."""
    original = inspect.getattr_static(owner, name)
    static = isinstance(original, staticmethod)
    function = original.__func__ if isinstance(original, staticmethod) else original
    calls: list[Call] = []

    @functools.wraps(function)
    def recording(*arguments: Any, **keywords: Any) -> Any:
        result = function(*arguments, **keywords)
        calls.append(Call(arguments, result))
        return result

    setattr(owner, name, staticmethod(recording) if static else recording)
    try:
        yield calls
    finally:
        setattr(owner, name, original)


def _examples(task: TaskSpec, data: ClassificationData | ClusteringData | PairData | RerankingData, calls: Sequence[Call]) -> Examples:
    match data:
        case ClassificationData():
            columns = {f"prediction_{number}": call.arguments[1] for number, call in enumerate(calls)}
            texts = data.test.texts
            return make_examples(range(len(texts)), ([text] for text in texts), {"label": data.test.labels, **columns})
        case ClusteringData():
            sets = [one.texts for one in data.sets]
            columns = {"size": [len(one) for one in sets], "v_measure": [call.result["v_measure"] for call in calls]}
            return make_examples(range(len(sets)), sets, columns)
        case PairData():
            return _pairs(task, data, calls)
        case RerankingData():
            columns = {"ap": [call.result["ap"] for call in calls], "rr_at_10": [call.result["mrr"] for call in calls]}
            return make_examples(
                (number for number, _ in data.scored),
                ([sample.query, *sample.candidates] for _, sample in data.scored),
                {name: _floats(values) for name, values in columns.items()},
            )


def _pairs(task: TaskSpec, data: PairData, calls: Sequence[Call]) -> Examples:
    texts = list(zip(data.first, data.second, strict=True))
    if task.type == "STS":
        similarities = [call.arguments[1] for call in calls]
        target: dict[str, Any] = {"gold": _floats(data.target)}
    else:
        # (similarities, labels, whether more is more alike)
        similarities = [_floats(call.arguments[0]) * (1 if call.arguments[2] else -1) for call in calls]
        target = {"label": [int(label) for label in data.target]}
    named = dict(zip(task.kind.similarities, map(_floats, similarities), strict=True))
    return make_examples(range(len(texts)), texts, {**target, **named})


def list_queries(data: RetrievalData) -> list[str]:
    """The queries in the order of the data; then those that are only judged, for which nothing is searched and MRR counts a 0."""
    return [*data.queries, *(query for query in data.qrels if query not in data.queries)]


def query_examples(data: RetrievalData, columns: Mapping[str, Any]) -> Examples:
    """A table of Retrieval from columns in the order of `list_queries`."""
    queries = list_queries(data)
    return make_examples(range(len(queries)), [(data.queries.get(query, ""),) for query in queries], {"query": queries, **columns})


def _query_columns(
    queries: Sequence[str],
    evaluated: Mapping[str, Mapping[str, float]],
    judged: Mapping[str, Mapping[str, int]],
    found: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """trec_eval's values of the queries that it evaluated, NaN for the others; the reciprocal ranks of all."""
    columns: dict[str, Any] = {}
    for cutoff in CUTOFFS:
        for name, theirs in {"ndcg": "ndcg_cut", "ap": "map_cut", "recall": "recall", "precision": "P"}.items():
            columns[f"{name}_at_{cutoff}"] = _floats([evaluated.get(query, {}).get(f"{theirs}_{cutoff}", np.nan) for query in queries])
    return {**columns, **reciprocal_ranks(np.array([_first_relevant(found.get(q, {}), judged.get(q, {})) for q in queries]))}


def _first_relevant(scores: Mapping[str, float], grades: Mapping[str, int]) -> int:
    """The first relevant passage's rank in a stable sort by score, as BEIR's `mrr` has it and does not tell; 0 where none is kept."""
    ranked = sorted(scores.items(), key=lambda item: item[1], reverse=True)[: CUTOFFS[-1]]
    return next((rank for rank, (passage, _) in enumerate(ranked, start=1) if grades.get(passage, 0) > 0), 0)


def _floats(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.asarray(values, dtype=np.float64)
