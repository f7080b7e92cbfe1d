"""Small random data for every type of task, with exact ties; the layout in which mteb's own load_data finds it; a cheap pure encoder."""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from harness.core.tasks import TaskSpec
from harness.data.types import (
    ClassificationData,
    ClusteringData,
    LabelledTexts,
    PairData,
    RerankingData,
    RerankingSample,
    RetrievalData,
    TaskData,
)

RAW_DIM = 24


@functools.cache
def hashed_encoder(dtype: torch.dtype) -> Callable[[Sequence[str]], torch.Tensor]:
    """A text's vector from its hash and that of its first two characters, so that texts of one topic are near each other."""

    @functools.cache
    def vector(text: str) -> torch.Tensor:
        parts = [int.from_bytes(hashlib.blake2b(part.encode(), digest_size=7).digest()) for part in (text, text[:2])]
        own, topic = (torch.randn(RAW_DIM, generator=torch.Generator().manual_seed(part)) for part in parts)
        return 3 * (0.6 * own + topic)

    return lambda texts: torch.stack([vector(text) for text in texts]).to(dtype)


def _words(draw: random.Random, topic: int, count: int) -> str:
    return chr(0x4E00 + topic) * 2 + "".join(chr(0x5000 + draw.randrange(300)) for _ in range(count))


def make_data(task: TaskSpec) -> TaskData:
    """Data of the task's type; about one text in six repeats another."""
    draw = random.Random(task.name)
    pool = [_words(draw, topic, draw.randrange(1, 12)) for topic in range(12) for _ in range(6)]

    def text(topic: int | None = None) -> str:
        if draw.random() < 0.17:
            return draw.choice(pool)
        return _words(draw, draw.randrange(12) if topic is None else topic, draw.randrange(1, 12))

    if task.type == "Classification":
        classes = 2 if task.name in {"JDReview", "OnlineShopping", "Waimai"} else 4
        names: list[int | str] = [f"label_{label}" for label in range(classes)] if "Massive" in task.name else list(range(classes))

        def labelled(rows: int) -> LabelledTexts:
            labels = [draw.randrange(classes) for _ in range(rows)]
            return LabelledTexts([text(label) for label in labels], [names[label] for label in labels])

        return ClassificationData(labelled(240), labelled(70), tuple(labelled(50) for _ in task.splits[1:]))
    if task.type == "Clustering":
        sets = []
        for _ in range(3):
            labels = [draw.randrange(4) for _ in range(90)]
            sets.append(
                LabelledTexts([text(label) for label in labels], [label if "CLS" in task.name else f"c{label}" for label in labels])
            )
        return ClusteringData(sets)
    if task.type in {"PairClassification", "STS"}:
        rows = [(topic := draw.randrange(12), text(topic), text(draw.choice([topic, draw.randrange(12)]))) for _ in range(80)]
        same = [first[0] == second[0] for _, first, second in rows]
        if task.type == "PairClassification":
            target = [float(alike) for alike in same]
        else:
            target = [float(alike) + draw.choice([0.0, 1.0, 2.5]) for alike in same]
        return PairData([first for _, first, _ in rows], [second for _, _, second in rows], target)
    if task.type == "Reranking":
        samples = []
        for _ in range(30):
            topic = draw.randrange(12)
            positive = [text(topic) for _ in range(draw.randrange(4))]
            negative = [text() for _ in range(draw.randrange(9))]
            samples.append(RerankingSample(text(topic), positive, negative + positive[:1] if draw.random() < 0.5 else negative))
        return RerankingData(samples)
    corpus = {f"p{index}": text() for index in range(150)}
    corpus |= {f"q{index}": text() for index in range(3)}  # a passage that is called as a query is
    queries = {f"q{index}": text() for index in range(25)}
    qrels = {
        query: {passage: draw.choice([1, 1, 2, 0]) for passage in draw.sample(list(corpus), draw.randrange(1, 5))}
        for query in list(queries)[:-2]  # two queries without judgements
    }
    titles = {key: text() for key in list(corpus)[::3]} if task.name == "T2Retrieval" else {}
    return RetrievalData(corpus, queries, qrels, titles)


def tied_retrieval(seed: int) -> RetrievalData:
    """A search among copies: 1,300 passages of at most 40 texts, so that ties stand at every cut-off, the last one too."""
    draw = random.Random(seed)
    pool = [_words(draw, draw.randrange(8), draw.randrange(1, 6)) for _ in range(draw.choice([10, 40]))]
    corpus = {f"{draw.choice('pq')}{index}": draw.choice(pool) for index in range(draw.choice([150, 1300]))}
    queries = {f"q{index}": draw.choice(pool) for index in range(draw.choice([3, 25]))}
    qrels = {query: dict.fromkeys(draw.sample(list(corpus), draw.randrange(1, 6)), 1) for query in queries}
    return RetrievalData(corpus, queries, qrels, {})


def write_hub_folders(root: Path, task: TaskSpec, data: TaskData) -> None:
    """The task's repositories as Parquet folders below `root`, where `load_dataset("C-MTEB/...")` finds them from there."""
    folder = root / task.hub
    match data:
        case ClassificationData():
            tables = {"train": _labelled(data.train), task.split: _labelled(data.test)}
        case ClusteringData():
            tables = {task.split: {"sentences": [one.texts for one in data.sets], "labels": [one.labels for one in data.sets]}}
        case PairData() if task.type == "PairClassification":
            tables = {task.split: {"sent1": [data.first], "sent2": [data.second], "labels": [[int(label) for label in data.target]]}}
        case PairData():
            tables = {task.split: {"sentence1": data.first, "sentence2": data.second, "score": data.target}}
        case RerankingData():
            columns = ("query", "positive", "negative")
            tables = {task.split: {column: [getattr(sample, column) for sample in data.samples] for column in columns}}
        case RetrievalData():
            tables = {
                part: {"id": list(table), "text": list(table.values())}
                for part, table in (("corpus", data.corpus), ("queries", data.queries))
            }
            judged = [(query, passage, grade) for query, grades in data.qrels.items() for passage, grade in grades.items()]
            assert task.qrels is not None
            _write(
                root / task.qrels.hub, {task.split: dict(zip(("qid", "pid", "score"), map(list, zip(*judged, strict=True)), strict=True))}
            )
    if task.language:
        tables |= {"validation": tables["test"]} if task.type == "Classification" else {}  # mteb 1.1.1 evaluates both
        files = "".join(f"  - split: {split}\n    path: data/{split}-*.parquet\n" for split in tables)
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(f"---\nconfigs:\n- config_name: {task.language}\n  data_files:\n{files}---\n")
    _write(folder, tables)


def _labelled(table: LabelledTexts) -> dict[str, list]:
    return {"text": table.texts, "label": table.labels}


def _write(folder: Path, tables: dict[str, dict[str, list]]) -> None:
    (folder / "data").mkdir(parents=True)
    for split, columns in tables.items():
        pq.write_table(pa.table(columns), folder / "data" / f"{split}-00000-of-00001.parquet")
