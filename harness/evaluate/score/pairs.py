"""Metrics of pairs as mteb 2.26.24 has them: `pair_classification_evaluator.py`, `pair_classification.py`, `sts.py`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats = NDArray[np.float64]


def pair_similarities(first: Any, second: Any, own: str = "cosine") -> dict[str, Floats]:
    """How alike the vectors [n, dim] of each pair are, [n], the more the larger.

    `similarity`: the model's `own`, cosine or dot, as torch computes it in float32.
    """
    from sklearn.metrics.pairwise import paired_cosine_distances, paired_euclidean_distances, paired_manhattan_distances

    one, other = (compared_vectors(each, own) for each in (first, second))
    found = {
        "cos_sim": 1 - paired_cosine_distances(first, second),
        "manhattan": -paired_manhattan_distances(first, second),
        "euclidean": -paired_euclidean_distances(first, second),
        "dot": [np.dot(left, right) for left, right in zip(first, second, strict=True)],
        "similarity": (one * other).sum(dim=-1).numpy(),
    }
    return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}


def compared_vectors(vectors: Any, similarity: str) -> torch.Tensor:
    """The vectors [n, dim] in float32, as mteb 2 widens them, whose dot products are the `similarity`: cosine or dot."""
    wide = torch.as_tensor(vectors).float()
    return wide if similarity == "dot" else functional.normalize(wide, p=2, dim=1)


def correlations(gold: Sequence[float], similarities: Mapping[str, Floats]) -> dict[str, Any]:
    """Pearson and Spearman correlation for each similarity but `dot`; those of the model's own stand outermost.

    mteb 2 maps the gold scores to 0 to 1 first, which no correlation depends on.
    """
    from scipy.stats import pearsonr, spearmanr

    found = {
        name: {"pearson": float(pearsonr(gold, values)[0]), "spearman": float(spearmanr(gold, values)[0])}
        for name, values in similarities.items()
        if name != "dot"
    }
    return {**found.pop("similarity"), **found}


def threshold_metrics(labels: NDArray[np.int64], similarities: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    """Accuracy, F1 (with its precision and recall) and average precision by each similarity, and `max`, the best of each."""
    found = {name: _threshold_metrics(labels, values) for name, values in similarities.items()}
    return {**found, "max": {metric: max(each[metric] for each in found.values()) for metric in next(iter(found.values()))}}


def _threshold_metrics(labels: NDArray[np.int64], values: Floats) -> dict[str, float]:
    """At the best cut of the sorted pairs; equal similarities are never parted, and there is no cut after the last pair."""
    from sklearn.metrics import average_precision_score

    order = np.argsort(-values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order]) != 0)
    hits = np.cumsum(labels[order])[cuts]
    positives, above = int(labels.sum()), cuts + 1
    correct = hits + (len(labels) - positives) - (above - hits)
    precision, recall = hits / above, hits / positives
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros(len(cuts)), where=hits > 0)
    best = int(f1.argmax()) if len(cuts) and f1.max() > 0 else None
    return {
        "accuracy": float((correct / len(labels)).max(initial=0)),
        "f1": 0.0 if best is None else float(f1[best]),
        "precision": 0.0 if best is None else float(precision[best]),
        "recall": 0.0 if best is None else float(recall[best]),
        "ap": float(average_precision_score(labels, values)),
    }
