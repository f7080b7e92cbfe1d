"""The faults that `benchmarks/power.py` plants do what their names say, and nothing of them is left afterwards."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sklearn.cluster
import torch
from runs import BENCHMARK, ROOT
from tiny_models import load_encoder

from harness.core.config import compose_config
from harness.core.errors import CanaryError, HarnessError
from harness.core.prompts import PromptTable
from harness.core.resources import SAMPLE_DIR
from harness.core.spec import DataSpec, EncodingSpec, ModelSpec
from harness.data.types import RetrievalData
from harness.evaluate import evaluation
from harness.evaluate.encode.canary.canary import canary_texts, run_canary
from harness.evaluate.encode.canonical import encoding
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.model import loading
from harness.evaluate.encode.model.loading import LoadedModel
from harness.evaluate.encode.model.locate import hash_weights
from harness.evaluate.encode.model.outline import hash_module_files
from harness.evaluate.score import adapter, reference, search, tasks
from harness.evaluate.score.adapter import EmbeddingModel

reference.load_reference()
SAMPLE = compose_config(["model=sample", "data=sample"]).model
PLACES = [
    *((encoding, "TextTokenizer"), (loading, "load_model"), (loading, "load_chain"), (evaluation, "load_task")),
    *((LoadedModel, "forward"), (LoadedModel, "fingerprint"), (EmbeddingModel, "vectors")),
    *((adapter, name) for name in ("functional", "passage_text")),
    *((tasks, name) for name in ("passage_text", "seed_generators")),
    (PromptTable, "of"),
    (sklearn.cluster, "MiniBatchKMeans"),
    *((search, name) for name in ("_normalised", "rank_judged")),
    (sys.modules["mteb.evaluation.evaluators.ClassificationEvaluator"], "LogisticRegression"),
]
"""Where faults are planted in code."""


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import faults

    return faults


@pytest.fixture
def planted(faults: ModuleType, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """The fault that the test's parameter names (`name`, or `name @ where`); the overrides it gives."""
    name, _, where = request.param.partition(" @ ")
    (fault,) = [fault for fault in faults.FAULTS if fault.name == name and where in ("", fault.where)]
    with fault.plant(SAMPLE, tmp_path) as overrides:
        yield overrides


def load(model: ModelSpec = SAMPLE, max_len: int = 64) -> CanonicalEncoder:
    encoding_spec = EncodingSpec(ladder="padded", batch_tokens=512)
    return load_encoder(model, dtype="fp32", max_len=max_len, encoding=encoding_spec, device=torch.device("cpu"))


def state() -> list[Any]:
    return [getattr(place, name) for place, name in PLACES]


def test_a_fault_is_there_while_it_is_planted_and_gone_afterwards(faults: ModuleType, tmp_path: Path) -> None:
    sound = state()
    for number, fault in enumerate(faults.FAULTS):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        with fault.plant(SAMPLE, scratch) as overrides:
            changed = [name for (place, name), before in zip(PLACES, sound, strict=True) if getattr(place, name) is not before]
            if fault.where == "code":
                assert changed, fault.name
            else:
                assert changed == []
                (path,) = [Path(text.removeprefix("model.path=")) for text in overrides]
                source = SAMPLE_DIR / "model"
                weights, modules = (
                    [read(folder) for folder in (path, source)] for read in (lambda folder: hash_weights(folder).digest, hash_module_files)
                )
                assert (weights[0] != weights[1]) + (modules[0] != modules[1]) == 1, fault.name
        assert state() == sound, fault.name


@pytest.mark.parametrize(
    "planted",
    [
        "wrong pooling (first token) @ code",
        "truncation at max_len - 1",
        "[SEP] missing",
        "vectors silently fp16",
        "one layer dropped @ code",
        "tokenizer keeps capitals",
        "one bit of one weight @ code",
        "Dense dropped @ code",
        "weights rounded to int8",
        "weights x (1 + 1e-2 N)",
        "gelu -> relu",
        "gelu by tanh",
        "positions + 1",
        "attention mask ignored",
        "truncation from the left",
    ],
    indirect=True,
)
def test_the_canary_stops_a_chain_that_is_not_the_one_of_the_folder(planted: list[str]) -> None:
    assert planted == []
    with pytest.raises(CanaryError):
        run_canary(load())


@pytest.mark.parametrize("planted", ["one layer dropped @ files", "one bit of one weight @ files"], indirect=True)
def test_the_canary_cannot_see_files_that_are_consistently_wrong(planted: list[str]) -> None:
    path = planted[0].removeprefix("model.path=")
    encoder = load(replace(SAMPLE, path=path))
    assert run_canary(encoder).rows_differing == 0
    sound = load().fingerprint
    assert encoder.fingerprint.digest != sound.digest  # the manifest shows it, and no vector is mixed with sound ones


@pytest.mark.parametrize("planted", ["weights silently fp16", "Dense dropped @ files"], indirect=True)
def test_loading_refuses_what_contradicts_the_request(planted: list[str]) -> None:
    path = planted[0].removeprefix("model.path=") if planted else None
    with pytest.raises(HarnessError, match=r"dtype=fp32 asks for|the config says 1792"):
        load(replace(SAMPLE, path=path))


@pytest.mark.parametrize("planted", ["truncation at max_len - 1"], indirect=True)
def test_one_token_short_cuts_long_texts_only(planted: list[str]) -> None:
    assert planted == []
    counts = load(max_len=32).tokenizer.tokenize(canary_texts()).counts
    assert counts.max() == 31


def retrieval(task: str) -> RetrievalData:
    data = evaluation.load_task(BENCHMARK.task(task), DataSpec(source="sample", verify="label")).data
    assert isinstance(data, RetrievalData)
    return data


SOUND = retrieval("EcomRetrieval")


@pytest.mark.parametrize("planted", ["ties in the other order"], indirect=True)
def test_other_ids_reverse_their_order_and_change_nothing_else(planted: list[str]) -> None:
    assert planted == []
    renamed = retrieval("EcomRetrieval")
    assert [renamed.corpus[key] for key in sorted(renamed.corpus)] == [SOUND.corpus[key] for key in sorted(SOUND.corpus, reverse=True)]
    judged = [
        sorted(
            (data.queries[query], data.corpus[passage], grade) for query, grades in data.qrels.items() for passage, grade in grades.items()
        )
        for data in (renamed, SOUND)
    ]
    assert judged[0] == judged[1]
    assert len(set(renamed.queries) & set(renamed.corpus)) == len(set(SOUND.queries) & set(SOUND.corpus))


@pytest.mark.parametrize("planted", ["two corpus ids swapped"], indirect=True)
def test_swapped_ids_are_two(planted: list[str]) -> None:
    assert planted == []
    swapped = retrieval("EcomRetrieval")
    assert sum(swapped.corpus[key] != text for key, text in SOUND.corpus.items()) == 2
    assert sorted(swapped.corpus.values()) == sorted(SOUND.corpus.values())


@pytest.mark.parametrize("planted", ["slice after normalisation"], indirect=True)
def test_slicing_last_keeps_directions_and_loses_lengths(planted: list[str]) -> None:
    assert planted == []
    raw = torch.tensor([[3.0, 4.0, 12.0]])
    model = EmbeddingModel(lambda texts: raw, dim=2, dtype="float32")
    assert model.vectors(["x"]).tolist() == [pytest.approx([3 / 13, 4 / 13])]


@pytest.mark.slow
def test_the_benchmark_catches_what_it_plants_and_lets_clean_repeats_pass() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "power.py"), "--tasks", "EcomRetrieval", "QBQTC"]
    done = subprocess.run([*command, "--faults", "title", "--repeats", "4", "--draws", "5"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\| title dropped \| code \| 1 of 2", done.stdout, flags=re.MULTILINE)
    assert "1 faults, 1 caught" in done.stdout
    assert "4 clean repeats" in done.stdout
    assert ": 0 false alarms;" in done.stdout
