"""The scorer of mteb 2.26.24, by which the live leaderboard is scored: `scorer: mteb2` of a benchmark.

That package can't be installed beside mteb 1.1.1, so what it does is written down here, type by type, with the same calls to scikit-learn
and scipy; `tests/test_mteb2_scorer.py` compares with the package itself. Metrics have mteb 1.1.1's nesting (`cos_sim.ap`, `max.accuracy`).
Where it differs from mteb 1.1.1: vectors are cut to `dim` and not normalised, candidates and passages are ranked by the model's own
similarity (cosine or dot), `max` counts the model's own similarity too, thresholds never part equal similarities, candidates are
stripped and ranked as a search, searches go through the corpus in its order, and a task may have several splits, whose scores are averaged.
Not computed: nAUC (abstention), and the lists of single experiments.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import RequestError
from harness.core.examples import Examples, make_examples
from harness.core.prompts import TaskPrompts
from harness.core.tasks import TaskSpec
from harness.data.types import ClassificationData, ClusteringData, Label, LabelledTexts, PairData, RerankingData, RetrievalData, TaskData
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.pairs import correlations, pair_similarities, threshold_metrics
from harness.evaluate.score.ranked import candidate_texts, judged_queries, rerank, retrieve
from harness.evaluate.score.reference import quiet_reference
from harness.evaluate.score.scorable import refuse_unscorable
from harness.evaluate.score.seeding import SEED, preserved_random_state
from harness.evaluate.score.tasks import TaskScores, planned_texts, refuse_undefined
from harness.evaluate.score.threads import one_thread

Scores = tuple[dict[str, Any], Examples]

_EXPERIMENTS, _SAMPLES = 10, 8
"""What a Classification task draws that states no numbers of its own."""
_BATCH = 500
"""Texts per step of k-means."""


class Mteb2:
    """The scorer of mteb 2.26.24 behind the seam."""

    similarities = ("cosine", "dot")
    """Of a model's own; for the others of sentence-transformers (euclidean, manhattan) mteb 2 has no similarity of pairs."""

    def refuse_unknown(self, tasks: Iterable[TaskSpec]) -> None:
        """Pass tasks that mteb 2 has as one language and one mean.

        Raises:
            RequestError: a task is one of several languages, which mteb 2 scores by another rule.
        """
        if nested := [task.name for task in tasks if task.language]:
            raise RequestError(f"{', '.join(nested)}: scorer mteb2 knows no tasks of several languages; score them with benchmark=cmteb35")

    def texts(self, task: TaskSpec, data: TaskData, prompts: TaskPrompts, *, seed: int = SEED) -> list[str]:
        """The distinct texts that `score` asks for; data on which no score is defined is refused, before a text is encoded."""
        refuse_unscorable(task, data, "mteb2")
        match data:
            case ClassificationData():
                drawn = [data.train.texts[row] for rows in _draws(task, data.train.labels, seed) for row in rows]
                texts = [f"{prompts.text}{text}" for text in (*drawn, *(text for part in data.parts for text in part.texts))]
            case RerankingData():
                texts = candidate_texts(data, prompts)
            case RetrievalData():
                return planned_texts(task, replace(data, queries=judged_queries(data)), prompts, seed=seed)
            case _:
                return planned_texts(task, data, prompts, seed=seed)
        return list(dict.fromkeys(texts))

    def score(self, task: TaskSpec, data: TaskData, model: EmbeddingModel, *, seed: int = SEED) -> TaskScores:
        """All metrics of the task and its examples. `model.search` changes nothing: there is one search, whose memory is bounded.

        Raises:
            InputError: no score is defined on this data.
            EncodingError: a vector has no direction.
        """
        refuse_unscorable(task, data, "mteb2")
        with preserved_random_state(), quiet_reference(), one_thread():
            metrics, examples = _score(task, data, model.sliced(), seed)
        refuse_undefined(task, metrics)
        return TaskScores(metrics, examples)


MTEB2 = Mteb2()


def _score(task: TaskSpec, data: TaskData, model: EmbeddingModel, seed: int) -> Scores:
    match data:
        case ClassificationData():
            return _classify(task, data, model, seed)
        case ClusteringData():
            return _cluster(data, model, seed)
        case PairData():
            return _compare(task, data, model)
        case RerankingData():
            return rerank(task, data, model)
        case RetrievalData():
            return retrieve(task, data, model)


def _draws(task: TaskSpec, labels: Sequence[Label], seed: int) -> list[list[int]]:
    """The training rows of each experiment: the first so many of each label, in an order that every experiment shuffles once more."""
    order, draws = list(range(len(labels))), list[list[int]]()
    for _ in range(task.n_experiments or _EXPERIMENTS):
        np.random.RandomState(seed).shuffle(order)
        count: dict[Label, int] = {}
        draws.append([])
        for row in order:
            if count.get(labels[row], 0) < (task.samples_per_label or _SAMPLES):
                draws[-1].append(row)
                count[labels[row]] = count.get(labels[row], 0) + 1
    return draws


def _classify(task: TaskSpec, data: ClassificationData, model: EmbeddingModel, seed: int) -> Scores:
    """Logistic regressions on the drawn texts; the metrics are means over the experiments, then over the splits."""
    from sklearn.linear_model import LogisticRegression

    draws = _draws(task, data.train.labels, seed)
    classifiers = []
    for rows in draws:
        vectors = model.encode([data.train.texts[row] for row in rows])
        classifiers.append(LogisticRegression(max_iter=100, random_state=seed).fit(vectors, [data.train.labels[row] for row in rows]))
    predictions = [[each.predict(model.encode(part.texts)) for each in classifiers] for part in data.parts]
    by_split = {
        split: _mean([_classification_metrics(part, predicted) for predicted in guesses])
        for split, part, guesses in zip(task.splits, data.parts, predictions, strict=True)
    }
    metrics: dict[str, Any] = _mean(list(by_split.values()))
    if len(by_split) > 1:
        metrics |= by_split
    texts = [text for part in data.parts for text in part.texts]
    columns: dict[str, Any] = {"label": [label for part in data.parts for label in part.labels]}
    if len(data.parts) > 1:
        columns["split"] = np.repeat(np.arange(len(data.parts)), [len(part.texts) for part in data.parts])
    for number in range(len(draws)):
        columns[f"prediction_{number}"] = np.concatenate([guesses[number] for guesses in predictions])
    return metrics, make_examples(range(len(texts)), ([text] for text in texts), columns)


def _classification_metrics(part: LabelledTexts, predicted: NDArray[Any]) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score, precision_score, recall_score

    right = part.labels
    metrics = {"accuracy": accuracy_score(right, predicted)}
    for name, score in {"f1": f1_score, "precision": precision_score, "recall": recall_score}.items():
        metrics[name] = score(right, predicted, average="macro", zero_division=0)
        metrics[f"{name}_weighted"] = score(right, predicted, average="weighted", zero_division=0)
    if len(set(right)) == 2:
        metrics["ap"] = average_precision_score(right, predicted, average="macro")
        metrics["ap_weighted"] = average_precision_score(right, predicted, average="weighted")
    return {name: float(value) for name, value in metrics.items()}


def _mean(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}


def _cluster(data: ClusteringData, model: EmbeddingModel, seed: int) -> Scores:
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import v_measure_score

    values = []
    for one in data.sets:
        clusters = MiniBatchKMeans(n_clusters=len(set(one.labels)), batch_size=_BATCH, n_init="auto", random_state=seed)
        clusters.fit(model.encode(one.texts))
        values.append(float(v_measure_score(one.labels, clusters.labels_)))
    metrics = {"v_measure": float(np.mean(values)), "v_measure_std": float(np.std(values))}
    columns: dict[str, Any] = {"size": [len(one.texts) for one in data.sets], "v_measure": values}
    return metrics, make_examples(range(len(values)), [one.texts for one in data.sets], columns)


def _compare(task: TaskSpec, data: PairData, model: EmbeddingModel) -> Scores:
    similarities = pair_similarities(model.encode(data.first), model.encode(data.second), model.similarity)
    texts = list(zip(data.first, data.second, strict=True))
    metrics: dict[str, Any]
    columns: dict[str, Any]
    if task.type == "STS":
        metrics, columns = correlations(data.target, similarities), {"gold": np.asarray(data.target, dtype=np.float64)}
    else:
        labels = np.asarray(data.target, dtype=np.int64)
        metrics, columns = threshold_metrics(labels, similarities), {"label": labels}
    return metrics, make_examples(range(len(texts)), texts, {**columns, **similarities})
