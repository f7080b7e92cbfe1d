"""Tables into a task's typed data. What is refused here is the form; data that has no score is refused by the scorer."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.errors import InputError
from harness.core.formatting import few
from harness.core.tasks import TaskSpec, TaskType
from harness.data.tables import Kind, Schema
from harness.data.types import (
    ClassificationData,
    ClusteringData,
    LabelledTexts,
    PairData,
    RerankingData,
    RerankingSample,
    RetrievalData,
    Table,
    TaskData,
)

_KINDS: dict[str, Kind] = {
    "text": "text",
    "label": "label",
    "sentences": "texts",
    "labels": "labels",
    "sent1": "texts",
    "sent2": "texts",
    "sentence1": "text",
    "sentence2": "text",
    "query": "text",
    "positive": "texts",
    "negative": "texts",
    "id": "id",
    "qid": "id",
    "pid": "id",
    "pids": "texts",
    "title": "text",
}
_SCORE: dict[str, Kind] = {"STS": "number", "Retrieval": "grade", "Reranking": "grade"}
_RANKED_COLUMNS = {"corpus": ("id", "text"), "queries": ("id", "text"), "top_ranked": ("qid", "pids"), "qrels": ("qid", "pid", "score")}
_SHOWN = 3


@dataclass(frozen=True)
class Parsed:
    """A task's data. `doubts`: what the original packages pass over in silence, a sentence each: only the pinned data may have any."""

    data: TaskData
    doubts: tuple[str, ...] = ()


def table_schema(task: TaskSpec, table: str) -> Schema:
    """What the columns of the task's table must hold; a corpus may have titles."""
    names = _RANKED_COLUMNS[table] if task.type == "Reranking" and table in _RANKED_COLUMNS else task.table_columns(table)
    columns = {name: _SCORE[task.type] if name == "score" else _KINDS[name] for name in names}
    optional = frozenset({"title"} if table == "corpus" else ())
    columns |= dict.fromkeys(optional, _KINDS["title"])
    return Schema(columns, optional, parallel=task.type in ("Clustering", "PairClassification"))


def parse_task(task: TaskSpec, tables: Mapping[str, Table]) -> Parsed:
    """The task's data from its tables (`task.tables`, or those of a Reranking as mteb 2 keeps it), which have been read under
    `table_schema`. Empty texts are data like others.

    Raises:
        InputError: pairs in more than one row, labels of a pair task other than 0 and 1, labels of another type than those trained on.
    """
    if tables.keys() == _RANKED_COLUMNS.keys():
        return _ranked(*(tables[name] for name in _RANKED_COLUMNS))
    return _PARSERS[task.type](*(tables[name] for name in task.tables))


def _classification(train: Table, *tests: Table) -> Parsed:
    kinds = {type(label).__name__: table.origin for table in (train, *tests) for label in table.columns["label"]}
    if len(kinds) > 1:
        found = ", ".join(f"{kind} in {origin}" for kind, origin in kinds.items())
        raise InputError(f"column 'label': found {found}, expected one type: a label is never equal to one of another type")
    pool, test, *further = (LabelledTexts(table.columns["text"], table.columns["label"]) for table in (train, *tests))
    data = ClassificationData(pool, test, tuple(further))
    doubts = (
        _doubt(table, "labels are not in the training split", set(part.labels) - set(pool.labels))
        for table, part in zip(tests, data.parts, strict=True)
    )
    return Parsed(data, tuple(itertools.chain.from_iterable(doubts)))


def _clustering(table: Table) -> Parsed:
    sets = zip(table.columns["sentences"], table.columns["labels"], strict=True)
    return Parsed(ClusteringData([LabelledTexts(*pair) for pair in sets]))


def _pairs(table: Table) -> Parsed:
    if len(table) != 1:
        raise InputError(f"{table.origin}: found {len(table)} rows, expected one row of lists: mteb scores the first row and no other")
    first, second, labels = (table.columns[name][0] for name in ("sent1", "sent2", "labels"))
    wrong = next((position for position, label in enumerate(labels) if type(label) is not int or label not in (0, 1)), None)
    if wrong is not None:
        raise InputError(f"{table.origin}, column 'labels': found {labels[wrong]!r} as item {wrong + 1}, expected 0 or 1")
    return Parsed(PairData(first, second, labels))


def _sts(table: Table) -> Parsed:
    return Parsed(PairData(table.columns["sentence1"], table.columns["sentence2"], table.columns["score"]))


def _reranking(table: Table) -> Parsed:
    columns = (table.columns[name] for name in ("query", "positive", "negative"))
    return Parsed(RerankingData([RerankingSample(*row) for row in zip(*columns, strict=True)]))


def _ranked(corpus: Table, queries: Table, top_ranked: Table, qrels: Table) -> Parsed:
    """Samples as C-MTEB has them: candidates in the order of their ids, by which mteb 2 breaks ties."""
    passages = _texts_of(corpus)
    grades = _judgements(qrels)
    candidates = dict(zip(top_ranked.columns["qid"], top_ranked.columns["pids"], strict=True))
    lost = sorted({passage for listed in candidates.values() for passage in listed} - passages.keys())
    asked = dict(zip(queries.columns["id"], queries.columns["text"], strict=True))
    unlisted = sorted(key for key in asked.keys() & grades.keys() if key not in candidates)
    if lost or unlisted:
        what = f"candidate {lost[0]!r} is not in the corpus table" if lost else f"query {unlisted[0]!r} has no candidates"
        raise InputError(f"{top_ranked.origin}: {what} ({len(lost) or len(unlisted)} such)")
    twice = _repeated(top_ranked.columns["qid"]) | {query for query, listed in candidates.items() if _repeated(listed)}
    samples, outside, out_of_order = [], set(), set()
    for key, text in asked.items():
        if key not in grades:
            continue  # mteb 2 asks no query without a judgement
        relevant = {passage for passage, grade in grades[key].items() if grade > 0}
        listed = sorted(candidates[key])
        positive, negative = ([each for each in listed if (each in relevant) is wanted] for wanted in (True, False))
        outside |= relevant - set(listed)
        out_of_order |= {key} if positive and negative and positive[-1] > negative[0] else set()
        samples.append(RerankingSample(text, [passages[each] for each in positive], [passages[each] for each in negative]))
    doubts = (
        *_doubt(qrels, "relevant passages are no candidates of their query", outside),
        *_doubt(top_ranked, "queries have relevant candidates that ties would not put behind the others", out_of_order),
        *_doubt(qrels, "grades are neither 0 nor 1", {grade for each in grades.values() for grade in each.values()} - {0, 1}),
        *_doubt(top_ranked, "queries are listed twice, or list a candidate twice", twice),
        *_ambiguous(corpus, queries, qrels, asked, grades),
    )
    return Parsed(RerankingData(samples), doubts)


def _texts_of(corpus: Table) -> dict[str, str]:
    """Passages by id, with their titles before them."""
    titles = corpus.columns.get("title") or [""] * len(corpus)
    rows = zip(corpus.columns["id"], titles, corpus.columns["text"], strict=True)
    return {key: f"{title} {text}" if title else text for key, title, text in rows}


def _judgements(qrels: Table) -> dict[str, dict[str, int]]:
    judged: dict[str, dict[str, int]] = {}
    for query, passage, grade in zip(*(qrels.columns[name] for name in ("qid", "pid", "score")), strict=True):
        judged.setdefault(query, {})[passage] = grade
    return judged


def _retrieval(corpus: Table, queries: Table, qrels: Table) -> Parsed:
    texts = dict(zip(corpus.columns["id"], corpus.columns["text"], strict=True))
    titles = dict(zip(corpus.columns["id"], corpus.columns["title"], strict=True)) if "title" in corpus.columns else {}
    questions = dict(zip(queries.columns["id"], queries.columns["text"], strict=True))
    judged = _judgements(qrels)
    passages = {passage for grades in judged.values() for passage in grades}
    doubts = (
        *_ambiguous(corpus, queries, qrels, questions, judged),
        *_doubt(qrels, "passages are not in the corpus table", passages - texts.keys()),
        *_doubt(qrels, "queries have no judgement", questions.keys() - judged.keys()),
    )
    return Parsed(RetrievalData(texts, questions, judged, {key: title for key, title in titles.items() if title}), doubts)


def _ambiguous(corpus: Table, queries: Table, qrels: Table, asked: Mapping[str, str], judged: Mapping[str, Any]) -> tuple[str, ...]:
    pairs = list(zip(qrels.columns["qid"], qrels.columns["pid"], strict=True))
    return (
        *_doubt(corpus, "passage ids are given twice (the last one counts)", _repeated(corpus.columns["id"])),
        *_doubt(queries, "query ids are given twice (the last one counts)", _repeated(queries.columns["id"])),
        *_doubt(qrels, "pairs are judged twice (the last judgement counts)", _repeated(pairs)),
        *_doubt(qrels, "queries are not in the queries table", judged.keys() - asked.keys()),
    )


_PARSERS: dict[TaskType, Callable[..., Parsed]] = {
    "Classification": _classification,
    "Clustering": _clustering,
    "PairClassification": _pairs,
    "Reranking": _reranking,
    "Retrieval": _retrieval,
    "STS": _sts,
}
"""What makes a type's data of its tables, in the order of `TaskSpec.tables`."""


def _repeated(keys: list[Any]) -> set[Any]:
    return {key for key, count in Counter(keys).items() if count > 1}


def _doubt(table: Table, what: str, keys: Iterable[Any]) -> tuple[str, ...]:
    found = sorted(map(str, keys))
    if not found:
        return ()
    return (f"{table.origin}: {len(found)} {what}: {few(found, _SHOWN)}",)
