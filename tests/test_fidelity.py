"""The metrics of the harness are those of mteb 1.1.1 and C_MTEB called as the card's script calls them: all of them, exactly."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scoring_cases import hashed_encoder, make_data, write_hub_folders

from harness.core.benchmarks import load_benchmark
from harness.core.spec import DataSpec
from harness.data.sources import load_task
from harness.data.types import RetrievalData
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.tasks import MTEB1, planned_texts
from harness.evaluate.score.threads import one_thread

TASKS = load_benchmark().tasks
DTYPES = [pytest.param(torch.float32, "float32", id="fp32"), pytest.param(torch.float16, "model", id="fp16-model")]
ONE_OF_EACH = ["Waimai", "CLSClusteringS2S", "Ocnli", "CMedQAv1", "T2Retrieval", "STS22"]


class Recorder:
    """The encoder, and every text it was asked for."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.encode, self.asked = hashed_encoder(dtype), []

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        self.asked += texts
        return self.encode(texts)


class ScriptEncoder:
    """`encode` of the SentenceTransformer in the card's script: normalised, numpy unless a tensor is asked for."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.raw = hashed_encoder(dtype)

    def encode(self, sentences: Sequence[str], convert_to_tensor: bool = False, **_: Any) -> np.ndarray | torch.Tensor:
        vectors = torch.nn.functional.normalize(self.raw(list(sentences)), p=2, dim=1)
        return vectors if convert_to_tensor else (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()


class ScriptRetrievalModel:
    """`RetrievalModel` of the card's script."""

    def __init__(self, encoder: ScriptEncoder) -> None:
        self.encoder = encoder

    def encode_queries(self, queries: list[str], **_: Any) -> np.ndarray:
        return self.encoder.encode([f"{query}" for query in queries])

    def encode_corpus(self, corpus: list[dict[str, str]], **_: Any) -> np.ndarray:
        return self.encoder.encode(["{} {}".format(doc.get("title", ""), doc["text"]).strip() for doc in corpus])


def run_reference(task, data, dtype: torch.dtype, folder: Path) -> dict[str, Any]:
    """mteb with its own load_data, as the card's script has it (and without an output folder, where numpy 2 breaks its JSON)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import C_MTEB.tasks  # noqa: F401
        import datasets
        from mteb import MTEB

        write_hub_folders(folder, task, data)
        encoder = ScriptEncoder(dtype)
        with one_thread(), contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
            evaluation = MTEB(tasks=[task.name], task_langs=["zh", "zh-CN"])
            evaluation.tasks = evaluation.tasks[:1]
            if isinstance(data, RetrievalData) and data.titles:  # mteb's loader of these tasks drops titles
                evaluation.tasks[0].load_data()
                for key, title in data.titles.items():
                    evaluation.tasks[0].corpus[task.split][key]["title"] = title
            result = evaluation.run(ScriptRetrievalModel(encoder) if task.type == "Retrieval" else encoder, output_folder=None, verbosity=0)
    metrics = result[task.name][task.split]
    metrics.pop("evaluation_time")
    return metrics


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_bfloat16_is_scored_as_sentence_transformers_hands_it_over(name: str, tmp_path: Path) -> None:
    task = load_benchmark().task(name)
    data = make_data(task)
    model = EmbeddingModel(hashed_encoder(torch.bfloat16), dim=None, dtype="model", search="reference")
    assert MTEB1.score(task, data, model).metrics == run_reference(task, data, torch.bfloat16, tmp_path)


@pytest.mark.parametrize(("dtype", "scoring"), DTYPES)
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_metrics_on_the_sample_equal_those_of_mteb(task, dtype: torch.dtype, scoring, tmp_path: Path) -> None:
    compare(task, load_task(task, DataSpec(source="sample", verify="off")).data, dtype, scoring, tmp_path)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_metrics_on_random_data_equal_those_of_mteb(task, tmp_path: Path) -> None:
    """With what the sample lacks: titles, queries without judgements, a passage with a query's id, samples without a candidate."""
    compare(task, make_data(task), torch.float16, "model", tmp_path)


def compare(task, data, dtype: torch.dtype, scoring, tmp_path: Path) -> None:
    encoder = Recorder(dtype)
    model, exact = (EmbeddingModel(encoder, dim=None, dtype=scoring, search=search) for search in ("reference", "exact"))
    metrics = MTEB1.score(task, data, model).metrics
    assert metrics == run_reference(task, data, dtype, tmp_path)
    assert json.loads(json.dumps(metrics)) == metrics  # plain floats: numpy 2's float16 thresholds stop mteb's own json.dump
    if task.type == "Retrieval":
        assert MTEB1.score(task, data, exact).metrics == metrics
    assert set(planned_texts(task, data, model.prompts)) == set(encoder.asked)
