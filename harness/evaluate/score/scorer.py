"""The seam of scorers: by whose definitions vectors become metrics. A benchmark names its scorer.

A scorer is one object, registered under the name that `scorer:` of a benchmark has (docs/extending.md): `SCORERS.register("mine", Mine())`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from harness.core.benchmarks import load_benchmark
from harness.core.errors import RequestError
from harness.core.plugins import Seam
from harness.core.prompts import TaskPrompts
from harness.core.spec import Settings
from harness.core.tasks import TaskSpec
from harness.data.types import TaskData
from harness.evaluate.score.seeding import SEED

if TYPE_CHECKING:  # a finished run is answered without torch
    from harness.evaluate.score.adapter import EmbeddingModel
    from harness.evaluate.score.tasks import TaskScores


class Scorer(Protocol):
    """Scores tasks. It goes to scoring processes with `pickle`, so its class must be importable there. One that compares vectors by the
    model's own similarity (`model.similarity`) names those that it can, as `similarities`."""

    def refuse_unknown(self, tasks: Iterable[TaskSpec]) -> None:
        """Pass tasks that it can score, before anything is encoded.

        Raises:
            RequestError: it does not know one of them.
        """

    def texts(self, task: TaskSpec, data: TaskData, prompts: TaskPrompts, *, seed: int = SEED) -> list[str]:
        """The distinct texts that `score` will ask the model for, with the prompts before them."""
        ...

    def score(self, task: TaskSpec, data: TaskData, model: EmbeddingModel, *, seed: int = SEED) -> TaskScores:
        """All metrics that the task's spec names, and the examples behind them: their fold must come to the main metric.

        Raises:
            InputError: no score is defined on this data.
        """
        ...


SCORERS: Seam[Scorer] = Seam(
    "scorers",
    {
        "mteb1": "harness.evaluate.score.tasks:MTEB1",
        "mteb2": "harness.evaluate.score.mteb2:MTEB2",
        "pairs": "harness.evaluate.score.cross:PAIRS",
    },
)
"""The scorers that a benchmark may name."""


def run_scorer(spec: Settings) -> Scorer:
    """The scorer of a run; raises as `scorer_name` does, and RequestError for a scorer that is not known."""
    return SCORERS.get(scorer_name(spec))


def refuse_similarity(spec: Settings, tasks: Iterable[TaskSpec], similarity: str) -> None:
    """Pass a model whose own similarity the run's scorer knows, or has no task to ask for.

    Raises:
        RequestError: it does not know it.
    """
    known = getattr(run_scorer(spec), "similarities", None)
    compared = [task.name for task in tasks if task.type not in ("Classification", "Clustering")]
    if known is not None and similarity not in known and compared:
        raise RequestError(
            f"{spec.model.name} compares vectors by {similarity} (similarity_fn_name in its config_sentence_transformers.json), and scorer "
            f"{scorer_name(spec)} knows {' and '.join(known)}, as mteb 2.26.24 does of pairs: add tasks=[Classification,Clustering], which "
            "compare none, or score with benchmark=cmteb35, by cosine"
        )


def scorer_name(spec: Settings) -> str:
    """The name of a run's scorer: its benchmark's, or the one of pairs where the model is a reranker.

    Raises:
        RequestError: the benchmark is not known, or a reranker is asked for metrics that are not mteb 1.1.1's.
    """
    scorer = load_benchmark(spec.benchmark).scorer
    if spec.model.kind != RERANKER_KIND:
        return scorer
    if scorer != "mteb1":
        raise RequestError(f"benchmark={spec.benchmark} scores by {scorer}; pairs are scored by the definitions of mteb1 alone")
    return "pairs"


RERANKER_KIND = "reranker"
"""The kind of encoders whose vectors are scores of pairs."""
