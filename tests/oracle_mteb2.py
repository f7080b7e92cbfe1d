"""Run by an environment with mteb 2.26.24: `python oracle_mteb2.py BENCHMARK DTYPE SIMILARITY DIM TASK...` prints what its own `evaluate`
gives on `make_data` for a SentenceTransformer without a Normalize module. With the folder of a model in the place of DTYPE, for that one on
the data of the sample.
For TASK:SEED on `tied_retrieval`, with similarities by products of one shape: in those that mteb 2 makes, equal passages have other last
bits by where they stand, and no order among them is right.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import mteb
import torch
from datasets import Dataset, DatasetDict
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.text.reranking import OLD_FORMAT_RERANKING_TASKS, AbsTaskReranking
from mteb.models import SentenceTransformerEncoderWrapper
from scoring_cases import hashed_encoder, make_data, tied_retrieval
from sentence_transformers import SentenceTransformer

from harness.core.benchmarks import load_benchmark
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import ClassificationData, ClusteringData, PairData, RerankingData, RetrievalData, TaskData
from harness.evaluate.score.search import TILE
from harness.evaluate.score.threads import one_thread


class Hashed(torch.nn.Module):
    """The only module of a chain: raw vectors of texts, in the dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.raw = hashed_encoder(dtype)

    def preprocess(self, texts: list[str], prompt: str | None = None, **_: Any) -> dict[str, Any]:
        return {"sentence_embedding": self.raw([f"{prompt or ''}{text}" for text in texts])}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        return features


class OneShape(SentenceTransformerEncoderWrapper):
    """Similarities of which each is a function of its two vectors alone: every product has the shape of the harness's."""

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        filled = [
            torch.nn.functional.pad(torch.as_tensor(each), (0, 0, 0, most - len(each)))
            for each, most in zip((embeddings1, embeddings2), TILE, strict=True)
        ]
        return super().similarity(*filled)[: len(embeddings1), : len(embeddings2)]


def dataset(task: TaskSpec, data: TaskData) -> Any:
    match data:
        case ClassificationData():
            parts = zip(("train", *task.splits), (data.train, *data.parts), strict=True)
            return DatasetDict({split: Dataset.from_dict({"text": part.texts, "label": part.labels}) for split, part in parts})
        case ClusteringData():
            return {task.split: Dataset.from_list([{"sentences": one.texts, "labels": one.labels} for one in data.sets])}
        case PairData() if task.type == "PairClassification":
            columns = {"sentence1": data.first, "sentence2": data.second, "labels": [int(label) for label in data.target]}
            return {task.split: Dataset.from_dict(columns)}
        case PairData():
            return {task.split: Dataset.from_dict({"sentence1": data.first, "sentence2": data.second, "score": data.target})}
        case RerankingData():
            return None
        case RetrievalData():
            corpus = [{"id": key, "text": text, "title": data.titles.get(key, "")} for key, text in data.corpus.items()]
            queries = [{"id": key, "text": text} for key, text in data.queries.items() if key in data.qrels]  # as its loader does
            split = RetrievalSplitData(
                corpus=Dataset.from_list(corpus),
                queries=Dataset.from_list(queries),
                relevant_docs={key: dict(grades) for key, grades in data.qrels.items()},
                top_ranked=None,
            )
            return {"default": {task.split: split}}


def evaluate(task: TaskSpec, data: TaskData, wrapped: SentenceTransformerEncoderWrapper) -> dict[str, Any]:
    own = mteb.get_task(task.mteb2_name)
    if isinstance(data, RerankingData):
        rows = [{"query": one.query, "positive": one.positive, "negative": one.negative} for one in data.samples]
        OLD_FORMAT_RERANKING_TASKS.append(task.mteb2_name)
        own._process_example = AbsTaskReranking._process_example.__get__(own)
        AbsTaskReranking.transform_old_dataset_format(own, DatasetDict({task.split: Dataset.from_list(rows)}))
    else:
        own.dataset = dataset(task, data)
    own.data_loaded = True
    found = {split: own.evaluate(wrapped, split, encode_kwargs={"batch_size": 32, "show_progress_bar": False}) for split in task.splits}
    scores = {split: next(iter(subsets.values())) for split, subsets in found.items()}
    assert all(own.metadata.main_score in each for each in scores.values())
    return {
        split: {name: float(value) for name, value in each.items() if isinstance(value, (int, float)) and not math.isnan(value)}
        for split, each in scores.items()
    }


if __name__ == "__main__":
    benchmark, what, similarity, dim, *names = sys.argv[1:]
    folder, dim = Path(what), int(dim) or None
    if folder.is_dir():
        model = SentenceTransformer(str(folder), device="cpu", truncate_dim=dim)
        model.max_seq_length = 512
    else:
        model = SentenceTransformer(modules=[Hashed(getattr(torch, what))], device="cpu", truncate_dim=dim, similarity_fn_name=similarity)
    with one_thread():
        for name in names:
            task_name, _, seed = name.partition(":")
            spec = load_benchmark(benchmark).task(task_name)
            own = make_data if not folder.is_dir() else lambda spec: load_task(spec, DataSpec(source="sample")).data
            found = tied_retrieval(int(seed)) if seed else own(spec)
            wrapped = OneShape(model) if seed else SentenceTransformerEncoderWrapper(model)
            print(json.dumps({name: evaluate(spec, found, wrapped)}), flush=True)
