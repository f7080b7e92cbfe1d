"""Retrieval and Reranking as mteb 2.26.24 scores them: `search_wrappers.py`, `retrieval_metrics.py`, `text/reranking.py`.

Both are searches there: candidates are passages of a corpus of their own, ranked by the model's similarity (cosine or dot) in float32, at
most 1,000 a query; equal similarities by the passage's id, descending; means over the queries, rounded to 5 digits but for the reciprocal
ranks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.core.examples import Examples, make_examples
from harness.core.prompts import TaskPrompts
from harness.core.tasks import TaskSpec
from harness.data.types import RerankingData, RerankingSample, RetrievalData
from harness.evaluate.score.adapter import EmbeddingModel, RetrievalModel
from harness.evaluate.score.pairs import compared_vectors
from harness.evaluate.score.ranking import Ranks, query_values
from harness.evaluate.score.search import KEPT, Namesakes, rank_judged

CUTOFFS = (1, 3, 5, 10, 20, 100, 1000)

_NAMESAKES_COUNT = frozenset({"DuRetrieval", "CovidRetrieval", "CmedqaRetrieval"})
"""Tasks in which a passage that is called as the query counts like any other; in the other five mteb 2 drops it from what was found."""


def candidate_texts(data: RerankingData, prompts: TaskPrompts) -> list[str]:
    """The texts of the samples that count, in the order of the data; candidates are stripped, as mteb 2 does with passages."""
    return [
        text
        for _, sample in data.scored
        for text in (f"{prompts.query}{sample.query}", *(f"{prompts.passage}{each}" for each in _candidates(sample)))
    ]


def judged_queries(data: RetrievalData) -> dict[str, str]:
    """The queries that are searched for: those with a judgement, of whatever grade."""
    return {key: text for key, text in data.queries.items() if data.qrels.get(key)}


def rerank(task: TaskSpec, data: RerankingData, model: EmbeddingModel) -> tuple[dict[str, Any], Examples]:
    """The metrics of ranked candidates. Samples without a relevant or without an irrelevant candidate do not count."""
    samples = [sample for _, sample in data.scored]
    asked = model.encode_after(model.prompts.query, [sample.query for sample in samples], convert_to_tensor=True)
    queries = compared_vectors(asked, model.similarity)
    ranks = np.zeros((len(samples), max(len(sample.positive) for sample in samples)), dtype=np.int64)
    for row, (sample, query) in enumerate(zip(samples, queries, strict=True)):
        candidates = model.encode_after(model.prompts.passage, _candidates(sample), convert_to_tensor=True)
        vectors = compared_vectors(candidates, model.similarity)
        ranks[row, : len(sample.positive)] = _ranks_of_first(query[None] @ vectors.T, len(sample.positive))
    ranks = np.where(ranks > 0, ranks, KEPT + 1)
    ranks.sort(axis=1)
    ranks[ranks > KEPT] = 0
    found = Ranks(ranks, (ranks > 0).astype(np.int64), ranks[:, 0])
    judged = [{str(number): 1 for number in range(len(sample.positive))} for sample in samples]
    values = query_values(found, judged, cutoffs=CUTOFFS)
    columns = {"ap": values["ap_at_1000"], "rr_at_10": values["rr_at_10"]}
    return _means(values), make_examples((number for number, _ in data.scored), ([one.query, *one.candidates] for one in samples), columns)


def retrieve(task: TaskSpec, data: RetrievalData, model: EmbeddingModel) -> tuple[dict[str, Any], Examples]:
    """The metrics of an exact search. Queries without a judgement are not searched for."""
    queries = judged_queries(data)
    corpus = data.passages()
    namesakes: Namesakes = "kept" if task.name in _NAMESAKES_COUNT else "last"
    dot = model.similarity == "dot"
    device = None if dot else model.device  # what rounds to what is known of unit vectors
    wide = _Wide(model)
    found = rank_judged(list(corpus), corpus, queries, data.qrels, wide, namesakes=namesakes, device=device, normalised=not dot)
    # equal similarities by id, so the first relevant passage is the first of the ranks
    first = found.ranks[:, 0] if found.ranks.shape[1] else np.zeros(len(queries), dtype=np.int64)
    values = query_values(Ranks(found.ranks, found.grades, first), [data.qrels[key] for key in queries], cutoffs=CUTOFFS)
    numbers = [number for number, key in enumerate(data.queries) if key in queries]
    return _means(values), make_examples(numbers, ([text] for text in queries.values()), {"query": list(queries), **values})


class _Wide(RetrievalModel):
    """Vectors in float32, whatever dtype is scored: mteb 2 widens before it searches."""

    def encode_queries(self, queries: Sequence[str], **_: Any) -> torch.Tensor:
        """The vectors of the queries, [n, dim]; raises as `EmbeddingModel.encode` does."""
        return torch.as_tensor(super().encode_queries(queries)).float()

    def encode_corpus(self, corpus: Sequence[Mapping[str, str]], **_: Any) -> torch.Tensor:
        """The vectors of the passages, [n, dim]; raises as `EmbeddingModel.encode` does."""
        return torch.as_tensor(super().encode_corpus(corpus)).float()


def _candidates(sample: RerankingSample) -> list[str]:
    return [each.strip() for each in sample.candidates]


def _ranks_of_first(similarities: torch.Tensor, count: int) -> NDArray[np.int64]:
    """The ranks of the first `count` of the candidates [1, n]; 0 for those that are not among the 1,000 that are kept.

    Of equal ones the later counts as better, irrelevant ones (which come after the relevant) before relevant: mteb 2 names them
    `apositive_..._00000` and `negative_..._00000`, and trec_eval sorts ids in descending order.
    """
    kept = torch.topk(similarities, min(KEPT, similarities.shape[1]), dim=1)
    values, places = kept.values[0].numpy(), kept.indices[0].numpy()
    order = np.lexsort((-places, -values))
    ranks = np.zeros(similarities.shape[1], dtype=np.int64)
    ranks[places[order]] = np.arange(1, len(order) + 1)
    return ranks[:count]


def _means(values: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """The metrics by mteb 2's names; sums are added left to right, as its own are."""
    metrics: dict[str, float] = {}
    for k in CUTOFFS:
        means = {name: float(np.cumsum(values[f"{name}_at_{k}"])[-1]) / len(values["rr_at_1"]) for name in _NAMES}
        metrics |= {f"{ours}_at_{k}": means[name] if name == "rr" else round(means[name], 5) for name, ours in _NAMES.items()}
        metrics[f"hit_rate_at_{k}"] = round(float(np.mean(values[f"precision_at_{k}"] > 0)), 5)
    return {**metrics, "accuracy": metrics["recall_at_1"]}


_NAMES = {"ndcg": "ndcg", "ap": "map", "recall": "recall", "precision": "precision", "rr": "mrr"}
