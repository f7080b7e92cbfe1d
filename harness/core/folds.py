"""Metrics as folds over examples: of all of them, what the record says; of a resample, what the metric would have been on it.

A resample is counted, not gathered: how often each example was drawn is a weight, and an example of weight 2 counts exactly as two equal
ones. So the sorting behind average precision and ranks is done once for all resamples. Spearman and average precision are not means of
anything per pair; they are computed anew on each resample.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import InputError, RequestError, unknown
from harness.core.examples import Examples, units
from harness.core.tasks import TYPES, TaskSpec, TaskType

Floats = NDArray[np.float64]
_Fold = Callable[[Floats], Floats]
"""Counts [b, n] of n examples in b resamples -> the metric of each, [b]."""

_CELLS = 8_000_000
"""Counts held at once (64 MB)."""


def fold(task: TaskSpec, examples: Examples, metric: str | None = None, rows: NDArray[np.integer[Any]] | None = None) -> float:
    """The metric, 0 to 1, of the examples, or of those in `rows` ([m] integers). `metric`: dotted as in the record, default the main.

    On all examples it is the record's number to 1e-9 (Retrieval: before BEIR rounds it to 5 digits). NaN where the metric is not defined
    on the resample (gold scores all equal).

    Raises:
        RequestError: there is no such metric per example.
        InputError: the examples are not of the task's type.
    """
    drawn = np.arange(len(examples)) if rows is None else rows
    return float(folds(task, examples, drawn[None, :], metric)[0])


def folds(task: TaskSpec, examples: Examples, rows: NDArray[np.integer[Any]], metric: str | None = None) -> Floats:
    """The metric of each of b resamples, [b]; `rows`: [b, m], the examples drawn. Raises as `fold` does."""
    count = units(task, examples)
    wanted = metric or task.main
    known = dict(_FOLDS[task.type](task, examples))
    if wanted not in known:
        raise RequestError(unknown(f"metric of {task.name} with a value per example", wanted, known))
    step = max(1, _CELLS // count)
    return np.concatenate([known[wanted](_counts(rows[start : start + step], count)) for start in range(0, len(rows), step)])


def refuse_foreign(task: TaskSpec, examples: Examples, score: float, *, where: Path) -> None:
    """Pass examples that come to the main score (0 to 1) of the record that they stand beside, in the folder `where`.

    Raises:
        InputError: they come to another one: examples and record are of two computations.
    """
    folded = fold(task, examples)
    if not abs(folded - score) < 1e-5:  # BEIR rounds to 5 digits
        raise InputError(f"{where}: the examples of {task.name} come to {folded:.6f}, the record says {score:.6f}: run the task again")


def example_values(task: TaskSpec, examples: Examples) -> Floats | None:
    """What each example contributes to the main metric, [n], which is their mean (of those that are not NaN); None where it is no mean.
    Raises as `fold` does."""
    units(task, examples)
    if task.main == "accuracy" and "split" in examples.columns:
        return accuracies(examples) * _weights(examples)
    found = dict(_FOLDS[task.type](task, examples)).get(task.main)
    return found.values if isinstance(found, _Mean) else None


def accuracies(examples: Examples) -> Floats:
    """The share of the experiments that were right about each text."""
    experiments = [examples[name] for name in examples.columns if name.startswith("prediction_")]
    return np.asarray(np.mean([examples["label"] == predicted for predicted in experiments], axis=0))


def _weights(examples: Examples) -> Floats:
    """What makes the mean over the texts the mean over the splits, which may be of unlike length."""
    lengths = np.bincount(examples["split"])
    weights: Floats = (len(examples) / len(lengths) / lengths)[examples["split"]]
    return weights


def _counts(rows: NDArray[np.integer[Any]], count: int) -> Floats:
    flat = rows + count * np.arange(len(rows))[:, None]
    return np.bincount(flat.ravel(), minlength=count * len(rows)).reshape(len(rows), count).astype(np.float64)


def _of_ranked_samples(task: TaskSpec, examples: Examples) -> Iterator[tuple[str, _Fold]]:
    precision, rank = ("map_at_1000", "mrr_at_10") if "_at_" in task.main else ("map", "mrr")
    yield precision if task.main == rank else task.main, _Mean(examples["ap"])
    yield rank, _Mean(examples["rr_at_10"])


def _of_queries(_: TaskSpec, examples: Examples) -> Iterator[tuple[str, _Fold]]:
    yield from ((_metric_of_queries(name), _Mean(examples[name])) for name in examples.columns if "_at_" in name)


def _metric_of_queries(column: str) -> str:
    family, cutoff = column.split("_at_")
    return f"{({'ap': 'map', 'rr': 'mrr'}).get(family, family)}_at_{cutoff}"


class _Mean:
    """The mean over the examples that have a value."""

    def __init__(self, values: NDArray[Any]) -> None:
        self.values = np.asarray(values, dtype=np.float64)
        self._counted = ~np.isnan(self.values)

    def __call__(self, counts: Floats) -> Floats:
        drawn = counts[:, self._counted]
        return _over(drawn @ self.values[self._counted], drawn.sum(axis=1))


def _of_splits(examples: Examples) -> dict[str, _Fold]:
    """The metrics of the task's split; where it has several, the means over them, each weighing the same."""
    if "split" not in examples.columns:
        return _of_predictions(examples)
    rows = [np.flatnonzero(examples["split"] == split) for split in np.unique(examples["split"])]
    parts = [_of_predictions(Examples({name: column[each] for name, column in examples.columns.items()})) for each in rows]

    def mean(metric: str) -> _Fold:
        return lambda counts: np.mean([part[metric](counts[:, each]) for part, each in zip(parts, rows, strict=True)], axis=0)

    return {metric: mean(metric) for metric in parts[0]}


def _of_predictions(examples: Examples) -> dict[str, _Fold]:
    """Accuracy, macro F1 and (two classes) average precision of hard predictions, each the mean over the experiments."""
    label = examples["label"]
    experiments = [examples[name] for name in examples.columns if name.startswith("prediction_")]
    known: dict[str, _Fold] = {
        "accuracy": _Mean(accuracies(examples)),
        "f1": _mean_of([_macro_f1(label, predicted) for predicted in experiments]),
    }
    if set(np.unique(label)) <= {0, 1}:
        known["ap"] = _mean_of([_average_precision(label, predicted) for predicted in experiments])
    return known


def _mean_of(parts: list[_Fold]) -> _Fold:
    return lambda counts: np.mean([part(counts) for part in parts], axis=0)


def _macro_f1(label: NDArray[Any], predicted: NDArray[Any]) -> _Fold:
    """As scikit-learn: over the classes that are among the labels or the predictions of the resample."""
    classes = np.unique(np.concatenate([label, predicted]))
    true, guessed = ((each[:, None] == classes).astype(np.float64) for each in (label, predicted))

    def macro(counts: Floats) -> Floats:
        total = counts @ (true + guessed)
        return _over(_over(2 * (counts @ (true * guessed)), total).sum(axis=1), (total > 0).sum(axis=1))

    return macro


def _of_labelled_pairs(examples: Examples) -> Iterator[tuple[str, _Fold]]:
    label = examples["label"]
    best: dict[str, list[_Fold]] = {"accuracy": [], "f1": [], "ap": []}
    similarities, mteb2 = TYPES["PairClassification"].similarities, "similarity" in examples.columns  # that of the model, in mteb 2 alone
    for name in (*similarities, "similarity") if mteb2 else similarities:
        thresholds = _best_threshold(label, examples[name], parts_equals=not mteb2)
        folded = {"ap": _average_precision(label, examples[name]), **thresholds}
        for metric, part in folded.items():
            yield f"{name}.{metric}", part
            if metric in best:
                best[metric].append(part)
    for metric, parts in best.items():
        yield f"max.{metric}", lambda counts, parts=parts: np.max([part(counts) for part in parts], axis=0)  # type: ignore[misc]


def _average_precision(label: NDArray[Any], score: NDArray[Any]) -> _Fold:
    """As scikit-learn's `average_precision_score`: equal scores are one threshold; 0 without a positive."""
    order = np.argsort(-score, kind="stable")
    positive = (label[order] == 1).astype(np.float64)
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))

    def precision(counts: Floats) -> Floats:
        drawn = counts[:, order]
        hits = np.cumsum(drawn * positive, axis=1)[:, ends]
        gained = np.diff(hits, axis=1, prepend=0.0)
        return _over((gained * _over(hits, np.cumsum(drawn, axis=1)[:, ends])).sum(axis=1), hits[:, -1])

    return precision


def _best_threshold(label: NDArray[Any], score: NDArray[Any], *, parts_equals: bool) -> dict[str, _Fold]:
    """As `find_best_acc_and_threshold` and `find_best_f1_and_threshold`: every cut of the sorted pairs but the one after the last.

    `parts_equals`: equal scores are cut, too, in the order of the data (mteb 1.1.1), or never (mteb 2.26.24).
    """
    order = np.argsort(-score, kind="stable")
    positive = label[order] == 1
    ends = np.append(np.diff(score[order]) != 0, True)

    def cuts(counts: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Hits and pairs above the best cut within each example's copies (none where it was not drawn), all positives, all pairs."""
        drawn = counts[:, order]
        hits, above = np.cumsum(drawn * positive, axis=1), np.cumsum(drawn, axis=1)
        positives, total = hits[:, -1:], above[:, -1:]
        if not parts_equals:
            return hits, np.where(ends & (above > 0) & (above < total), above, 0.0), positives, total
        # a positive is best cut off after its last copy (never after the last pair of all), a negative after its first
        last = above == total
        hits = np.where(positive, hits - last, hits)
        above = np.where(positive, above - last, above - drawn + 1)
        return hits, np.where((drawn > 0) & (above < total), above, 0.0), positives, total

    def accuracy(counts: Floats) -> Floats:
        hits, above, positives, total = cuts(counts)
        correct = np.where(above > 0, hits + (total - positives) - (above - hits), 0.0)
        return np.asarray(correct.max(axis=1) / total[:, 0])

    def at_best_f1(counts: Floats) -> tuple[Floats, Floats, Floats]:
        hits, above, positives, _ = cuts(counts)
        precision, recall = _over(hits, above), _over(hits, positives) * (above > 0)
        f1 = _over(2 * precision * recall, precision + recall)  # in mteb's order of operations: equal maxima are told apart by it
        best = np.argmax(f1, axis=1)[:, None]
        taken = (np.take_along_axis(each, best, axis=1)[:, 0] for each in (f1, precision, recall))
        return next(taken), next(taken), next(taken)

    return {
        "accuracy": accuracy,
        "f1": lambda counts: at_best_f1(counts)[0],
        "precision": lambda counts: at_best_f1(counts)[1],
        "recall": lambda counts: at_best_f1(counts)[2],
    }


def _of_graded_pairs(examples: Examples) -> Iterator[tuple[str, _Fold]]:
    gold = examples["gold"].astype(np.float64)
    for name in TYPES["STS"].similarities:
        yield f"{name}.spearman", _spearman(gold, examples[name])
        yield f"{name}.pearson", _pearson(gold, examples[name])


def _spearman(one: Floats, other: Floats) -> _Fold:
    first, second = _ranks(one), _ranks(other)
    return lambda counts: _correlation(first(counts), second(counts), counts)


def _pearson(one: Floats, other: Floats) -> _Fold:
    # centred and scaled once, so that large scores lose no digits; neither moves a correlation
    first, second = ((each - each.mean()) / (each.std() or 1.0) for each in (one, other))
    return lambda counts: _correlation(first[None, :], second[None, :], counts)


def _ranks(values: Floats) -> _Fold:
    """Counts -> the average ranks of each example within each resample, [b, n]; equal values share theirs."""
    order = np.argsort(values, kind="stable")
    new = np.append(True, np.diff(values[order]) != 0)
    starts, group = np.flatnonzero(new), np.cumsum(new) - 1
    place = np.empty_like(group)
    place[order] = group

    def average_ranks(counts: Floats) -> Floats:
        weight = np.add.reduceat(counts[:, order], starts, axis=1)
        ranks: Floats = (np.cumsum(weight, axis=1) - (weight - 1) / 2)[:, place]
        return ranks

    return average_ranks


def _correlation(one: Floats, other: Floats, counts: Floats) -> Floats:
    total = counts.sum(axis=1, keepdims=True)
    first = one - (counts * one).sum(axis=1, keepdims=True) / total
    second = other - (counts * other).sum(axis=1, keepdims=True) / total
    product, left, right = ((counts * a * b).sum(axis=1) for a, b in ((first, second), (first, first), (second, second)))
    spread = np.sqrt(left * right)
    correlation: Floats = np.divide(product, spread, out=np.full(len(product), np.nan), where=spread > 0)
    return correlation


def _over(numerator: Floats, divisor: NDArray[Any]) -> Floats:
    """Their quotient; 0 where the divisor is."""
    quotient: Floats = np.divide(numerator, divisor, out=np.zeros(np.broadcast(numerator, divisor).shape), where=np.asarray(divisor) > 0)
    return quotient


_FOLDS: Mapping[TaskType, Callable[[TaskSpec, Examples], Mapping[str, _Fold] | Iterator[tuple[str, _Fold]]]] = {
    "Classification": lambda _, examples: _of_splits(examples),
    "Clustering": lambda _, examples: {"v_measure": _Mean(examples["v_measure"])},
    "PairClassification": lambda _, examples: _of_labelled_pairs(examples),
    "Reranking": _of_ranked_samples,
    "Retrieval": _of_queries,
    "STS": lambda _, examples: _of_graded_pairs(examples),
}
"""The metrics of each type as folds over its examples."""
