"""The path of the script on the model card: `SentenceTransformer.encode` with its batch sizes, inside the tasks of mteb 1.1.1.

It gets the data in memory, as plain lists: reading is not counted here, and the lazy columns of `datasets` 5, which cost seconds
per task, are not counted either.
"""

from __future__ import annotations

import contextlib
import functools
import io
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from harness.core.spec import Dtype, ModelSpec
from harness.core.tasks import TaskSpec
from harness.data.types import ClassificationData, ClusteringData, PairData, RerankingData, RetrievalData, TaskData
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.model.locate import find_model
from harness.evaluate.score.reference import fresh_task, quiet_reference


class CardRetrievalModel:
    """`RetrievalModel` of the card: batches of 512, numpy vectors."""

    def __init__(self, encoder: SentenceTransformer) -> None:
        self._encoder = encoder

    def encode_queries(self, queries: list[str], **_: Any) -> np.ndarray:
        return self._encode([f"{query}" for query in queries])

    def encode_corpus(self, corpus: list[dict[str, str]], **_: Any) -> np.ndarray:
        return self._encode(["{} {}".format(passage.get("title", ""), passage["text"]).strip() for passage in corpus])

    @torch.no_grad()
    def _encode(self, texts: list[str]) -> np.ndarray:
        return self._encoder.encode(texts, batch_size=512, normalize_embeddings=True, convert_to_numpy=True)


def load_seed_model(spec: ModelSpec, *, dtype: Dtype, max_len: int, device: str) -> SentenceTransformer:
    """The model as the card's script makes it: normalising, cut at `max_len`."""
    model = SentenceTransformer(str(find_model(spec).folder), device=device, local_files_only=True).to(TORCH_DTYPE[dtype])
    model.max_seq_length = max_len
    model.encode = functools.partial(model.encode, normalize_embeddings=True, show_progress_bar=False)
    return model


class TokenCount:
    """Tokens, padding included, that went through a model since this object was made."""

    def __init__(self, model: SentenceTransformer) -> None:
        self.tokens = 0
        model[0].register_forward_pre_hook(self._add, with_kwargs=True)

    def _add(self, _: Any, arguments: tuple[Any, ...], __: Any) -> None:
        self.tokens += arguments[0]["input_ids"].numel()


def without_computing(model: SentenceTransformer) -> None:
    """Makes the model return random vectors, so that its tokens can be counted."""
    generator = torch.Generator().manual_seed(0)

    def forward(features: dict[str, Any], **_: Any) -> dict[str, Any]:
        rows = len(features["input_ids"])
        return {**features, "sentence_embedding": torch.randn(rows, model.get_embedding_dimension() or 1, generator=generator)}

    model[0].forward = forward
    for module in list(model)[1:]:
        module.forward = lambda features, **_: features


def prepare_task(task: TaskSpec, data: TaskData) -> Any:
    """A task object of mteb filled with the data."""
    reference = fresh_task(task)
    if isinstance(data, RetrievalData):
        qrels = defaultdict(dict, {query: dict(grades) for query, grades in data.qrels.items()})
        corpus = {
            key: {"title": data.titles[key], "text": text} if key in data.titles else {"text": text} for key, text in data.corpus.items()
        }
        reference.corpus, reference.queries, reference.relevant_docs = ({task.split: part} for part in (corpus, data.queries, qrels))
    else:
        dataset = _columns(task, data)
        reference.dataset = {task.language: dataset} if task.language else dataset
    reference.data_loaded = True
    return reference


def run_task(reference: Any, task: TaskSpec, model: SentenceTransformer) -> dict[str, Any]:
    """The task's metrics."""
    encoder = CardRetrievalModel(model) if task.type == "Retrieval" else model
    with quiet_reference(), contextlib.redirect_stderr(io.StringIO()):
        metrics: dict[str, Any] = reference.evaluate(encoder, task.split)
    return metrics


def _columns(task: TaskSpec, data: TaskData) -> dict[str, Any]:
    match data:
        case ClassificationData():
            tables = {"train": data.train, task.split: data.test}
            return {split: {"text": list(table.texts), "label": list(table.labels)} for split, table in tables.items()}
        case ClusteringData():
            return {task.split: [{"sentences": list(one.texts), "labels": list(one.labels)} for one in data.sets]}
        case PairData() if task.type == "PairClassification":
            return {task.split: [{"sent1": data.first, "sent2": data.second, "labels": [int(label) for label in data.target]}]}
        case PairData():
            return {task.split: {"sentence1": data.first, "sentence2": data.second, "score": data.target}}
        case RerankingData():
            rows = [{"query": one.query, "positive": list(one.positive), "negative": list(one.negative)} for one in data.samples]
            return {task.split: rows}
        case _:
            raise AssertionError(task.name)
