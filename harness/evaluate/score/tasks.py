"""Scores of a task: its data in a fresh task object of mteb 1.1.1, its metrics as mteb nests them, the examples behind them."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.errors import InputError, RequestError
from harness.core.examples import Examples
from harness.core.prompts import TaskPrompts
from harness.core.tasks import TaskSpec, known_tasks
from harness.data.types import ClassificationData, ClusteringData, PairData, RerankingData, RetrievalData, TaskData, passage_text
from harness.evaluate.score.adapter import EmbeddingModel, RerankingModel, RetrievalModel
from harness.evaluate.score.observed import evaluate_observed, query_examples
from harness.evaluate.score.ranking import mean_metrics
from harness.evaluate.score.reference import check_scoring_packages, fresh_task, quiet_reference
from harness.evaluate.score.scorable import refuse_unscorable
from harness.evaluate.score.search import search_queries
from harness.evaluate.score.seeding import SEED, preserved_random_state, seed_generators
from harness.evaluate.score.threads import one_thread


@dataclass(frozen=True)
class TaskScores:
    """A task's metrics, 0 to 1, nested as in mteb 1.1.1's JSON (under the language where it does), plain floats; and its examples."""

    metrics: dict[str, Any]
    examples: Examples


def planned_texts(task: TaskSpec, data: TaskData, prompts: TaskPrompts, *, seed: int = SEED) -> list[str]:
    """The distinct texts that `Mteb1.score` will ask the model for, in the order of the data.

    Of the training texts of a Classification task these are only the rows that its experiments sample.
    """
    match data:
        case ClassificationData():
            texts = _after(prompts.text, [*_sampled_texts(task, data, seed), *data.test.texts])
        case ClusteringData():
            texts = _after(prompts.text, (text for one in data.sets for text in one.texts))
        case PairData():
            texts = _after(prompts.text, [*data.first, *data.second])
        case RerankingData():
            texts = [
                text
                for _, sample in data.scored
                for text in (f"{prompts.query}{sample.query}", *_after(prompts.passage, sample.candidates))
            ]
        case RetrievalData():
            passages = (passage_text(passage) for passage in data.passages().values())
            texts = [*_after(prompts.query, data.queries.values()), *_after(prompts.passage, passages)]
    return list(dict.fromkeys(texts))


def _after(prompt: str, texts: Iterable[str]) -> list[str]:
    return [f"{prompt}{text}" for text in texts]


class Mteb1:
    """The scorer of mteb 1.1.1 and C_MTEB 1.1.1 behind the seam."""

    imports = ("harness.evaluate.score.imported",)
    """What a scoring process imports before its first job."""

    def refuse_unknown(self, tasks: Iterable[TaskSpec]) -> None:
        """Pass tasks that mteb has, with its facts; those in `configs/tasks.yaml` are known, so that mteb need not be imported for them.

        Raises:
            RequestError: mteb does not know a task, or scores it by other facts than the benchmark's, which would count for nothing.
        """
        with quiet_reference():
            for task in tasks:
                if (own := known_tasks()["tasks"].get(task.name)) is None:
                    fresh_task(task)
                    continue
                drawn = [key for key in ("n_experiments", "samples_per_label") if getattr(task, key) not in (None, own.get(key))]
                wrong = [*(key for key in ("type", "language") if getattr(task, key) != own.get(key)), *drawn]
                if len(task.splits) > 1 or wrong:
                    found = f"{wrong[0]}: {own.get(wrong[0])}" if wrong else "one split"
                    raise RequestError(f"{task.name} has {found} in mteb 1.1.1: correct the benchmark, or let it say scorer: mteb2")

    def texts(self, task: TaskSpec, data: TaskData, prompts: TaskPrompts, *, seed: int = SEED) -> list[str]:
        """The texts, see `planned_texts`; data on which no score is defined is refused here, before a text is encoded."""
        refuse_unscorable(task, data, "mteb1")
        return planned_texts(task, data, prompts, seed=seed)

    def score(self, task: TaskSpec, data: TaskData, model: EmbeddingModel, *, seed: int = SEED) -> TaskScores:
        """All metrics of the task's split, and what every example contributed to them.

        The result is a function of the arguments alone: every task starts from a fresh task object and from generators at 42, as in the
        card's script, and the caller finds its generators as it left them. Any other `seed` is another protocol: it tells how much hangs
        on 42.

        Raises:
            InputError: no score is defined on this data (labels of one class, constant scores, nothing to rank).
            RequestError: `dim` is larger than the model's.
            EncodingError: a vector has no direction.
            MachineError: the scoring packages are not the pinned ones.
        """
        check_scoring_packages()
        refuse_unscorable(task, data, "mteb1")
        if model.search == "exact" and isinstance(data, RetrievalData):
            columns = search_queries(data.passages(), data.queries, data.qrels, RetrievalModel(model), device=model.device)
            return TaskScores(mean_metrics(columns), query_examples(data, columns))
        with preserved_random_state(), quiet_reference(), one_thread():
            metrics, examples = _evaluate(task, data, model, seed=seed)
        plain: dict[str, Any] = _plain(metrics)
        refuse_undefined(task, plain)
        return TaskScores(plain, examples)


MTEB1 = Mteb1()


def _evaluate(task: TaskSpec, data: TaskData, model: EmbeddingModel, *, seed: int) -> tuple[Mapping[str, Any], Examples]:
    reference = fresh_task(task)
    if isinstance(data, RetrievalData):
        # C_MTEB's own defaultdict: mteb's MRR looks up queries without a judgement and divides by the number of keys afterwards.
        qrels = defaultdict(dict, {query: dict(grades) for query, grades in data.qrels.items()})
        reference.corpus, reference.queries, reference.relevant_docs = (
            {task.split: part} for part in (data.passages(), data.queries, qrels)
        )
    else:
        dataset = _dataset(task, data)
        reference.dataset = {task.language: dataset} if task.language else dataset
    reference.data_loaded = True
    seed_generators(seed)
    encoder: Any = model
    if isinstance(data, RetrievalData | RerankingData):
        encoder = RetrievalModel(model) if isinstance(data, RetrievalData) else RerankingModel(model)
    evaluators: dict[str, Any] = {"seed": seed} if task.kind.random else {}  # mteb hands it on to every evaluator it makes
    return evaluate_observed(task, data, lambda: reference.evaluate(encoder, task.split, **evaluators))


def _dataset(task: TaskSpec, data: TaskData) -> dict[str, Any]:
    """The splits in the columns of mteb, as lists: the lazy columns of `datasets` are read row by row (3.65 s a pass over 53,360 rows)."""
    match data:
        case ClassificationData():
            return {
                "train": {"text": list(data.train.texts), "label": list(data.train.labels)},
                task.split: {"text": list(data.test.texts), "label": list(data.test.labels)},
            }
        case ClusteringData():
            return {task.split: [{"sentences": list(one.texts), "labels": list(one.labels)} for one in data.sets]}
        case PairData() if task.type == "PairClassification":
            return {task.split: [{"sent1": list(data.first), "sent2": list(data.second), "labels": [int(label) for label in data.target]}]}
        case PairData():
            return {task.split: {"sentence1": list(data.first), "sentence2": list(data.second), "score": list(data.target)}}
        case RerankingData():
            samples = [{"query": one.query, "positive": list(one.positive), "negative": list(one.negative)} for one in data.samples]
            return {task.split: samples}
        case RetrievalData():
            raise AssertionError(task.name)


def _sampled_texts(task: TaskSpec, data: ClassificationData, seed: int) -> list[str]:
    """The training rows of all experiments, drawn by mteb's own sampler; each evaluator seeds the generators before the next draw."""
    with preserved_random_state():
        reference = fresh_task(task)
        texts: list[str] = []
        indices = None
        for _ in range(reference.n_experiments):
            seed_generators(seed)
            drawn, _, indices = reference._undersample_data(data.train.texts, data.train.labels, reference.samples_per_label, indices)
            texts += drawn
    return texts


def _plain(value: Any) -> Any:
    """Numbers as Python floats: numpy 2 leaves thresholds in float16 and float32, which JSON does not take."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return float(value)


def refuse_undefined(task: TaskSpec, metrics: Mapping[str, Any], path: str = "") -> None:
    """Pass metrics that are numbers; raises InputError for one that is NaN or infinite."""
    for key, value in metrics.items():
        if isinstance(value, Mapping):
            refuse_undefined(task, value, f"{path}{key}.")
        elif not math.isfinite(value):
            cause = "all pairs have the same similarity" if task.type == "STS" else "the vectors do not tell the texts apart"
            raise InputError(
                f"{task.name}: {path}{key} is {value}: {cause}. Check that the model and its tokenizer fit the language of the data."
            )
