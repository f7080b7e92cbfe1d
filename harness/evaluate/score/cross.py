"""Reranking by a model that scores pairs: the scores take the place of similarities, and the metrics are C_MTEB's own."""

from collections.abc import Iterable, Sequence

import numpy as np

from harness.core.errors import RequestError
from harness.core.examples import make_examples
from harness.core.prompts import TaskPrompts
from harness.core.tasks import TaskSpec
from harness.data.types import RerankingData, RerankingSample, TaskData
from harness.evaluate.encode.whole.pairs import pair_text
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.scorable import refuse_unscorable
from harness.evaluate.score.seeding import SEED
from harness.evaluate.score.tasks import TaskScores


class PairScorer:
    """The scorer (`score.scorer.Scorer`) of runs whose encoder scores pairs: a "vector" has one number, the score of its pair."""

    def refuse_unknown(self, tasks: Iterable[TaskSpec]) -> None:
        """Pass Reranking tasks.

        Raises:
            RequestError: another one is asked for.
        """
        if other := sorted({task.type for task in tasks if task.type != "Reranking"}):
            raise RequestError(f"a reranker scores pairs and gives no vectors for {', '.join(other)}: add tasks=[Reranking]")

    def texts(self, task: TaskSpec, data: TaskData, prompts: TaskPrompts, *, seed: int = SEED) -> list[str]:
        """The distinct pairs, each as one text; data with nothing to rank is refused, before a text is encoded."""
        del seed
        return list(dict.fromkeys(text for _, sample in _scored(task, data) for text in _pairs(sample, prompts)))

    def score(self, task: TaskSpec, data: TaskData, model: EmbeddingModel, *, seed: int = SEED) -> TaskScores:
        """`map` and `mrr` as C_MTEB 1.1.1 computes them from a cross-encoder's scores.

        Raises:
            InputError: there is nothing to rank.
        """
        del seed
        from C_MTEB.tasks.Reranking import ChineseRerankingEvaluator

        samples = _scored(task, data)
        texts = [text for _, sample in samples for text in _pairs(sample, model.prompts)]
        scores = model.raw(texts)[:, 0].double().numpy()
        evaluator = ChineseRerankingEvaluator([])
        precisions, ranks, start = [], [], 0
        for _, sample in samples:
            relevant = [True] * len(sample.positive) + [False] * len(sample.negative)
            own = scores[start : start + len(relevant)]
            start += len(relevant)
            precisions.append(float(evaluator.ap_score(relevant, own)))
            ranks.append(float(evaluator.mrr_at_k_score(relevant, np.argsort(-own), evaluator.mrr_at_k)))
        rows = ([sample.query, *sample.candidates] for _, sample in samples)
        examples = make_examples((number for number, _ in samples), rows, {"ap": np.array(precisions), "rr_at_10": np.array(ranks)})
        return TaskScores({"map": float(np.mean(precisions)), "mrr": float(np.mean(ranks))}, examples)


def _scored(task: TaskSpec, data: TaskData) -> list[tuple[int, RerankingSample]]:
    refuse_unscorable(task, data, "mteb1")
    assert isinstance(data, RerankingData)
    return data.scored


def _pairs(sample: RerankingSample, prompts: TaskPrompts) -> Sequence[str]:
    return [pair_text(f"{prompts.query}{sample.query}", f"{prompts.passage}{candidate}") for candidate in sample.candidates]


PAIRS = PairScorer()
