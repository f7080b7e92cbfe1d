"""Run by an environment with mteb 2.26.24: `python oracle_mteb2.py DTYPE TASK...` prints what its own `evaluate` gives on `make_data`."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import mteb
import numpy as np
import torch
from datasets import Dataset, DatasetDict
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.text.reranking import OLD_FORMAT_RERANKING_TASKS, AbsTaskReranking
from mteb.models.abs_encoder import AbsEncoder
from scoring_cases import hashed_encoder, make_data

from harness.core.benchmarks import load_benchmark
from harness.core.tasks import TaskSpec
from harness.data.types import ClassificationData, ClusteringData, PairData, RerankingData, RetrievalData, TaskData
from harness.evaluate.score.threads import one_thread


class Model(AbsEncoder):
    """Unit vectors of the texts that mteb hands over, in the dtype."""

    mteb_model_meta = None

    def __init__(self, dtype: torch.dtype) -> None:
        self.raw = hashed_encoder(dtype)

    def encode(self, inputs: Any, **_: Any) -> np.ndarray:
        texts = [text for batch in inputs for text in batch["text"]]
        return torch.nn.functional.normalize(self.raw(texts), p=2, dim=1).numpy()


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


def evaluate(task: TaskSpec, dtype: torch.dtype) -> dict[str, Any]:
    own, data = mteb.get_task(task.mteb2_name), make_data(task)
    if isinstance(data, RerankingData):
        rows = [{"query": one.query, "positive": one.positive, "negative": one.negative} for one in data.samples]
        OLD_FORMAT_RERANKING_TASKS.append(task.mteb2_name)
        own._process_example = AbsTaskReranking._process_example.__get__(own)
        AbsTaskReranking.transform_old_dataset_format(own, DatasetDict({task.split: Dataset.from_list(rows)}))
    else:
        own.dataset = dataset(task, data)
    own.data_loaded = True
    found = {
        split: own.evaluate(Model(dtype), split, encode_kwargs={"batch_size": 32, "show_progress_bar": False}) for split in task.splits
    }
    scores = {split: next(iter(subsets.values())) for split, subsets in found.items()}
    assert all(own.metadata.main_score in each for each in scores.values())
    return {
        split: {name: float(value) for name, value in each.items() if isinstance(value, (int, float)) and not math.isnan(value)}
        for split, each in scores.items()
    }


if __name__ == "__main__":
    tasks = load_benchmark(sys.argv[1])
    with one_thread():
        for name in sys.argv[3:]:
            print(json.dumps({name: evaluate(tasks.task(name), getattr(torch, sys.argv[2]))}), flush=True)
