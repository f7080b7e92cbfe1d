"""Retrieval metrics from ranks, vectorised, with the digits of pytrec_eval and of BEIR's loops.

Every per-query value is built by the same additions in the same order as in trec_eval 9 (m_ndcg_cut.c, m_map_cut.c, m_P.c, m_recall.c), and
summed over queries one by one as BEIR 2.2.0 does, so that the sums have equal bits and round to equal digits.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CUTOFFS = (1, 3, 5, 10, 100, 1000)
"""BEIR's `k_values`; the last is also how many passages it keeps per query."""


@dataclass(frozen=True)
class Ranks:
    """Where the relevant passages of each of n queries came to stand.

    `ranks`: [n, h] integers, 1 for the best passage, ascending, 0 where a query has fewer than h relevant passages among those kept.
    `grades`: [n, h], their grades. `first`: [n], the rank of the first relevant passage for MRR (0: none kept), which differs from
    `ranks[:, 0]` where passages tie, since mteb's MRR breaks ties by the order of BEIR's heap and trec_eval by the passage's id.
    """

    ranks: NDArray[np.int64]
    grades: NDArray[np.int64]
    first: NDArray[np.int64]


def query_values(found: Ranks, judged: Sequence[Mapping[str, int]], *, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, NDArray[np.float64]]:
    """`ndcg_at_k`, `ap_at_k`, `recall_at_k`, `precision_at_k` of each query, [n], unrounded; then `rr_at_k`.

    `judged`: the grades by passage of the same n queries. A query without any has a reciprocal rank (0) alone, as in BEIR; else NaN.
    """
    ideal_grades = _padded([sorted((grade for grade in grades.values() if grade > 0), reverse=True) for grades in judged])
    relevant = (ideal_grades > 0).sum(axis=1)
    ranks = np.where(found.ranks > 0, found.ranks, CUTOFFS[-1] + 1)
    discount = np.array([math.inf, *(math.log2(rank + 1) for rank in range(1, max(CUTOFFS[-1], ideal_grades.shape[1]) + 2))])
    order = np.arange(1, ranks.shape[1] + 1)
    gains = _prefix_sums(np.where(found.ranks > 0, found.grades, 0) / discount[ranks])
    precisions = _prefix_sums(np.where(found.ranks > 0, order / ranks, 0.0))
    ideal = _prefix_sums(ideal_grades / discount[1 : ideal_grades.shape[1] + 1])
    rows = np.arange(len(ranks))
    uncounted = np.array([not grades for grades in judged])
    columns: dict[str, NDArray[np.float64]] = {}
    for k in cutoffs:
        hits = (ranks <= k).sum(axis=1)
        values = {
            "ndcg": _quotient(gains[rows, hits], ideal[rows, np.minimum(relevant, k)]),
            "ap": _quotient(precisions[rows, hits], relevant),
            "recall": _quotient(hits, relevant),
            "precision": hits / k,
        }
        columns |= {f"{name}_at_{k}": np.where(uncounted, np.nan, value) for name, value in values.items()}
    return columns | reciprocal_ranks(found.first, cutoffs=cutoffs)


def reciprocal_ranks(first: NDArray[np.int64], *, cutoffs: Sequence[int] = CUTOFFS) -> dict[str, NDArray[np.float64]]:
    """`rr_at_k` of queries whose first relevant passage has these ranks (0: none kept)."""
    return {f"rr_at_{k}": np.where((first > 0) & (first <= k), 1.0 / np.maximum(first, 1), 0.0) for k in cutoffs}


def mean_metrics(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """`ndcg_at_k`, `map_at_k`, `recall_at_k`, `precision_at_k`, `mrr_at_k`: the means of `query_values`, rounded to 5 digits as BEIR does.

    The columns have a row for every query that is searched or judged: mteb divides the reciprocal ranks by their number.
    """
    metrics: dict[str, float] = {}
    for k in CUTOFFS:
        for name, column in {"ndcg": "ndcg", "map": "ap", "recall": "recall", "precision": "precision", "mrr": "rr"}.items():
            values = columns[f"{column}_at_{k}"]
            counted = values[~np.isnan(values)]
            metrics[f"{name}_at_{k}"] = round(_sum_in_order(counted) / len(counted), 5)
    return metrics


def _padded(rows: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    table = np.zeros((len(rows), max(map(len, rows), default=0)), dtype=np.int64)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
    return table


def _prefix_sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """[n, h] -> [n, h + 1]: column j is the sum of the first j terms, added left to right."""
    return np.concatenate([np.zeros((len(terms), 1)), np.cumsum(terms, axis=1)], axis=1)


def _quotient(numerator: NDArray[np.float64] | NDArray[np.int64], divisor: NDArray[np.float64] | NDArray[np.int64]) -> NDArray[np.float64]:
    """Their quotient; 0 where the divisor is (a query whose judgements are all of grade 0)."""
    return np.divide(numerator, divisor, out=np.zeros(len(numerator)), where=divisor > 0)


def _sum_in_order(values: NDArray[np.float64]) -> float:
    """Left to right: numpy's own sum adds pairwise, which rounds otherwise."""
    return float(np.cumsum(values)[-1]) if len(values) else 0.0
