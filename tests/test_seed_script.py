"""The script on the model card itself, run on the embedded sample as its author would run it, and the harness: the same scores.

The script stays as it is. It is made runnable in two places, both in libraries: mteb's `json.dump` learns numpy's small floats (trap b2
of docs/protocol.md), and the data lies where `load_dataset` finds it offline, in Parquet (b4).
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from real_data import SEED_CARD
from safetensors.torch import save_file
from scoring_cases import write_hub_folders
from tiny_models import load_encoder

from harness.core.benchmarks import load_benchmark
from harness.core.prompts import TaskPrompts
from harness.core.resources import SAMPLE_DIR
from harness.core.spec import DataSpec, EncodingSpec, ModelSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import RetrievalData, TaskData
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.tasks import MTEB1, planned_texts

pytestmark = pytest.mark.slow

MAX_LEN = 512
TASKS = load_benchmark().tasks
DRIVER = """
import functools, json, runpy, sys, types
import mteb
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

script, vectors, *arguments = sys.argv[1:]
sys.modules["mteb.evaluation.MTEB"].json = types.SimpleNamespace(dump=functools.partial(json.dump, default=float))
if vectors:  # in the place of the model's modules; what SentenceTransformer.encode does with their output stays its own
    import torch
    table = load_file(vectors + ".safetensors")["raw"]
    row = {text: number for number, text in enumerate(json.load(open(vectors + ".json")))}
    SentenceTransformer.preprocess = lambda self, inputs, **_: {"row": torch.tensor([row[text] for text in inputs])}
    SentenceTransformer.forward = lambda self, features, **_: {"sentence_embedding": table[features["row"]]}
sys.argv = [script, *arguments]
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python block of the card that evaluates."""
    if SEED_CARD is None:
        pytest.skip("no seed card: set SEED_CARD=FILE")
    blocks = re.findall(r"```python\n(.*?)```", SEED_CARD.read_text(encoding="utf-8"), flags=re.DOTALL)
    (block,) = [block for block in blocks if "DRESModel" in block]
    path = tmp_path_factory.mktemp("script") / "script.py"
    path.write_text(block, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, TaskData]]:
    """The sample as the harness reads it, and a folder with the same rows where mteb's own load_data finds them."""
    folder = tmp_path_factory.mktemp("hub")
    loaded = {task.name: load_task(task, DataSpec(source="sample", verify="off")).data for task in TASKS}
    for task in TASKS:
        write_hub_folders(folder, task, titled(loaded[task.name]))
    return folder, loaded


def titled(data: TaskData) -> TaskData:
    """The same passages with their titles in their texts: C_MTEB's loader reads no titles."""
    if not isinstance(data, RetrievalData):
        return data
    corpus = {key: f"{data.titles[key]} {text}" if key in data.titles else text for key, text in data.corpus.items()}
    return replace(data, corpus=corpus, titles={})


def selected(types: Sequence[str]) -> list[TaskSpec]:
    return [task for task in TASKS if not types or task.type in types]


@pytest.fixture(scope="module")
def encoder() -> CanonicalEncoder:
    """The sample's model as the harness runs it, in the card's dtype."""
    spec = ModelSpec(name="sample", path=str(SAMPLE_DIR / "model"))
    ladder = EncodingSpec(ladder="padded", batch_tokens=512)
    return load_encoder(spec, dtype="fp16", max_len=MAX_LEN, encoding=ladder, device=torch.device("cpu"))


def run_script(script: Path, data: Path, results: Path, *, vectors: Path | str, types: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Task -> metrics of the evaluated split, from the JSON files that mteb wrote. `vectors`: of all texts, or "" for the script's own."""
    driver = results.with_suffix(".py")
    driver.write_text(DRIVER, encoding="utf-8")
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": f"{results}.cache"}
    environment = os.environ | offline | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    arguments = ["--model_name_or_path", SAMPLE_DIR / "model", "--output_dir", results, "--max_len", str(MAX_LEN)]
    arguments += ["--task_type", " ".join(types)] if types else []  # mteb asks `type in task_types`, of a string here
    command = [sys.executable, "-W", "ignore", driver, script, vectors, *arguments]
    done = subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    metrics = {}
    for task in selected(types):
        metrics[task.name] = json.loads((results / f"{task.name}.json").read_text(encoding="utf-8"))[task.split]
        del metrics[task.name]["evaluation_time"]
    return metrics


def test_the_script_gives_the_scores_of_the_harness(script: Path, sample, encoder: CanonicalEncoder, tmp_path: Path) -> None:
    """With the same raw vectors, every metric of all 35 tasks is equal, in half precision with its ties."""
    folder, data = sample
    texts = list(dict.fromkeys(text for task in TASKS for text in planned_texts(task, data[task.name], TaskPrompts())))
    raw = encoder.encode(texts)
    save_file({"raw": raw}, tmp_path / "vectors.safetensors")
    (tmp_path / "vectors.json").write_text(json.dumps(texts), encoding="utf-8")
    expected = run_script(script, folder, tmp_path / "zh_results", vectors=tmp_path / "vectors")
    row = {text: number for number, text in enumerate(texts)}
    model = EmbeddingModel(lambda wanted: raw[[row[text] for text in wanted]], dim=None, dtype="model")
    for task in TASKS:
        assert MTEB1.score(task, data[task.name], model).metrics == expected[task.name], task.name


def test_the_script_in_its_own_batches_differs_by_padding_noise_alone(
    script: Path, sample, encoder: CanonicalEncoder, tmp_path: Path
) -> None:
    """The script as it is against the harness in canonical batch shapes: padding noise stays below the margins of the sample."""
    folder, data = sample
    types = ("Reranking", "Retrieval", "STS")
    expected = run_script(script, folder, tmp_path / "zh_results", vectors="", types=types)
    model = EmbeddingModel(encoder.encode, dim=None, dtype="model")
    for task in selected(types):
        ours, theirs = (
            functools.reduce(dict.__getitem__, [*([task.language] if task.language else []), *task.main.split(".")], metrics)
            for metrics in (MTEB1.score(task, data[task.name], model).metrics, expected[task.name])
        )
        assert ours == pytest.approx(theirs, abs=1e-6), task.name
