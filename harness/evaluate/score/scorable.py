"""Data on which no score is defined, or none that means anything: refused before a text is encoded, whatever source it came from."""

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Literal

from harness.core.errors import InputError
from harness.core.formatting import few
from harness.core.tasks import TaskSpec, TaskType
from harness.data.types import ClassificationData, ClusteringData, Label, LabelledTexts, PairData, RerankingData, RetrievalData, TaskData

ScorerName = Literal["mteb1", "mteb2"]


def refuse_unscorable(task: TaskSpec, data: TaskData, scorer: ScorerName) -> None:
    """Pass data that the package behind the scorer (mteb 1.1.1 or 2.26.24) can score.

    Raises:
        InputError: one class only, an empty table, constant gold scores, nothing to rank or to find, training labels that no test text has,
            two classes of which none is 1; or data of another task's type.
    """
    problem = _mismatch(task, data) or _problem(task, data, scorer)
    if problem:
        raise InputError(f"{task.name}: {problem}. Correct the data, or leave the task out")


_DATA: dict[TaskType, type[TaskData]] = {
    "Classification": ClassificationData,
    "Clustering": ClusteringData,
    "PairClassification": PairData,
    "Reranking": RerankingData,
    "Retrieval": RetrievalData,
    "STS": PairData,
}


def _mismatch(task: TaskSpec, data: TaskData) -> str | None:
    expected = _DATA[task.type]
    return None if isinstance(data, expected) else f"found {type(data).__name__}, expected {expected.__name__} for a {task.type} task"


def _problem(task: TaskSpec, data: TaskData, scorer: ScorerName) -> str | None:
    match data:
        case ClassificationData():
            parts = zip(task.splits, data.parts, strict=True)
            return next(filter(None, (_unlearnable(data.train, part, split, scorer) for split, part in parts)), None)
        case ClusteringData():
            if not data.sets:
                return "there is no set to cluster"
            return next(filter(None, (_few_labels(one, f"set {number}") for number, one in enumerate(data.sets, start=1))), None)
        case PairData() if task.type == "PairClassification":
            found = set(data.target)
            return None if found == {0, 1} else f"found the pair labels {sorted(found)[:5]}, expected 0 and 1, both"
        case PairData():
            return _uncorrelated(data)
        case RerankingData():
            return None if data.scored else "no sample has both a relevant and an irrelevant candidate"
        case RetrievalData():
            return _unsearchable(data, scorer)


def _few_labels(table: LabelledTexts, where: str) -> str | None:
    kinds = {str if isinstance(label, str) else int if isinstance(label, Integral) else type(label) for label in table.labels}
    if len(kinds) > 1 or not kinds <= {str, int} or any(isinstance(label, bool) for label in table.labels):
        return f"found the labels {_shown(set(table.labels))} in {where}, expected integers or text, the same in every row"
    labels = sorted(map(str, set(table.labels)))
    return None if len(labels) > 1 else f"found labels of one class ({', '.join(labels) or 'no row'}) in {where}, expected two or more"


def _unlearnable(train: LabelledTexts, test: LabelledTexts, split: str, scorer: ScorerName) -> str | None:
    one_class = _few_labels(train, "the training split") or _few_labels(test, f"the {split} split")
    if one_class:
        return one_class
    labels, found = set(train.labels), set(test.labels)
    strange = found - labels
    if strange == found:
        return f"no label of the {split} split ({_shown(strange)}) is among those of the training split ({_shown(labels)})"
    # of two classes both packages compute average precision, mteb 1 of two in training and mteb 2 in the test; 1 is scikit-learn's positive
    if scorer == "mteb1" and len(labels) == 2:
        if labels != {0, 1}:
            return f"found the two labels {sorted(map(str, labels))}, expected 0 and 1"
        return f"found the label {min(map(str, strange))} in the {split} split, which is not in the training split" if strange else None
    if scorer == "mteb2" and len(found) == 2 and 1 not in found:
        return f"found the two labels {_shown(found)} in the {split} split, and mteb 2 computes the average precision of 1"
    return None


def _shown(labels: Iterable[Label]) -> str:
    """The first labels, as they are written in Python: a number and its text are two labels."""
    return few(sorted(map(repr, labels)), 3)


def _uncorrelated(data: PairData) -> str | None:
    if not all(map(math.isfinite, data.target)):
        return "a gold score is NaN or infinite"
    if len(set(data.target)) < 2:
        return "the gold scores have fewer than two values, so no correlation is defined"
    if len({frozenset(pair) if pair[0] != pair[1] else None for pair in zip(data.first, data.second, strict=True)}) < 2:
        return "all pairs are of the same two texts, or each of a text with itself, so every model finds them equally alike"
    return None


def _unsearchable(data: RetrievalData, scorer: ScorerName) -> str | None:
    if not data.corpus:
        return "the corpus is empty"
    if scorer == "mteb1" and len(data.queries) < 2:
        return f"found {len(data.queries)} queries, expected two or more (BEIR 2.2.0 can't search for one)"
    if not any(data.qrels.get(query) for query in data.queries):
        return "no query has a judged passage"
    if not any(grade > 0 for query in data.queries for grade in data.qrels.get(query, {}).values()):
        return "every judgement is 0, so no passage is right and every score would be 0"
    return None
