"""The embedded sample: what its script makes on every processor, with every unusual shape that the code must handle, with margins that no
rounding crosses, and with no part that a fault could skip unseen."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from tiny_models import load_encoder

from harness.core.benchmarks import load_benchmark
from harness.core.config import compose_config
from harness.core.prompts import TaskPrompts
from harness.core.resources import SAMPLE_DIR
from harness.core.spec import DataSpec, EncodingSpec
from harness.core.tasks import TASK_TYPES, TaskSpec
from harness.data.sources import load_task
from harness.data.types import ClassificationData, RerankingData, RetrievalData, TaskData
from harness.evaluate.encode.canary.canary import canary_texts
from harness.evaluate.encode.encoder import Encoded
from harness.evaluate.score import tasks as scoring
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.search import TILE

ROOT = Path(__file__).resolve().parent.parent
BENCHMARK = load_benchmark()
DATA = {task.name: load_task(task, DataSpec(source="sample", verify="label")).data for task in BENCHMARK.tasks}
Planted = Callable[[str], contextlib.AbstractContextManager[object]]
ROUNDING = {"fp32": 1e-6, "fp16": 1e-3, "bf16": 8e-3}
"""Relative size of what kernels of other processors change in a vector, per dtype."""


MODEL = compose_config(["model=sample", "data=sample"]).model


def texts_of(task: TaskSpec, data: TaskData) -> list[str]:
    return scoring.planned_texts(task, data, TaskPrompts())


def encode(texts: Sequence[str], max_len: int = 1024) -> Encoded:
    encoding = EncodingSpec(ladder="padded", batch_tokens=512)
    return load_encoder(MODEL, dtype="fp32", max_len=max_len, encoding=encoding, device=torch.device("cpu")).encode_counted(texts)


@pytest.fixture(scope="module")
def encoded() -> tuple[dict[str, int], Encoded]:
    """The row of every text of the sample, and their raw vectors in fp32 at max_len 1024."""
    texts = list(dict.fromkeys(text for task in BENCHMARK.tasks for text in texts_of(task, DATA[task.name])))
    return {text: row for row, text in enumerate(texts)}, encode(texts)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Planted:
    """A function: the name of a fault of `benchmarks/faults.py` -> the context in which it is active."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import faults

    def plant(name: str) -> contextlib.AbstractContextManager[object]:
        (fault,) = [fault for fault in faults.FAULTS if fault.name == name]
        return fault.plant(MODEL, tmp_path)

    return plant


def main_scores(row: dict[str, int], vectors: torch.Tensor, tasks: Sequence[TaskSpec] = BENCHMARK.tasks) -> dict[str, float]:
    model = EmbeddingModel(lambda texts: vectors[[row[text] for text in texts]], dim=None, dtype="float32")
    scores = {}
    for task in tasks:
        found = scoring.MTEB1.score(task, DATA[task.name], model).metrics
        node = found[task.language] if task.language else found
        for key in task.main.split("."):
            node = node[key]
        scores[task.name] = node
    return scores


ANOTHER_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
}
"""The libraries then compute as on a processor without AVX2, fused products and AVX-512."""


@pytest.mark.slow
@pytest.mark.parametrize("environment", [{}, ANOTHER_PROCESSOR], ids=["here", "another processor"])
def test_the_committed_sample_is_what_its_script_makes(environment: dict[str, str]) -> None:
    command = [sys.executable, ROOT / "scripts" / "make_sample.py", "--check"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_no_rounding_of_a_kernel_moves_a_main_score(encoded: tuple[dict[str, int], Encoded]) -> None:
    row, made = encoded
    expected = main_scores(row, made.vectors)
    assert all(0.3 < score < 0.999 for score in expected.values())
    for seed, (dtype, size) in enumerate(ROUNDING.items()):
        noise = torch.randn(made.vectors.shape, generator=torch.Generator().manual_seed(seed))
        scores = main_scores(row, made.vectors * (1 + size * noise))
        moved = {name: (expected[name], score) for name, score in scores.items() if abs(score - expected[name]) > 1e-6}
        assert moved == {}, dtype


def test_texts_cross_every_length_of_the_card(encoded: tuple[dict[str, int], Encoded]) -> None:
    _, made = encoded
    assert [(made.tokens > length).any() for length in (512, 768)] == [True, True]
    assert made.cut.any()  # at 1,024
    assert (made.tokens == 2).any()  # an empty text is [CLS] [SEP]


def test_all_types_are_there_and_small() -> None:
    assert {task.type for task in BENCHMARK.tasks} == set(TASK_TYPES)
    assert sum(path.stat().st_size for path in SAMPLE_DIR.rglob("*") if path.is_file()) < 3e6


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        ("segment ids 1 for 0", 0.1),
        ("LayerNorm weights ignored", 0.1),
        ("LayerNorm biases ignored", 0.01),
        ("weights rounded to fp16", 1e-4),
        ("weights rounded to int8", 0.01),
        ("attention mask ignored", 0.1),
    ],
)
def test_no_part_of_the_model_can_be_skipped_unseen(planted: Planted, fault: str, least: float) -> None:
    """`least`: how far the canary's vectors move, root mean square, as a share of their length; kernels in bf16 differ by 0.01."""
    sound = encode(canary_texts(), 128).vectors
    with planted(fault):
        moved = encode(canary_texts(), 128).vectors
    assert (moved - sound).norm() / sound.norm() > least


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("k-means with ten starts", "CLSClusteringP2P"),
        ("k-means in batches of 1,024", "ThuNewsClusteringS2S"),
        ("logistic regression with ten iterations", "TNews"),
        ("passages beyond 2,000 lost", "DuRetrieval"),
        ("blocks of 256 queries mixed", "DuRetrieval"),
    ],
)
def test_no_part_of_scoring_can_change_unseen(encoded: tuple[dict[str, int], Encoded], planted: Planted, fault: str, name: str) -> None:
    row, made = encoded
    tasks = [BENCHMARK.task(name)]
    sound = main_scores(row, made.vectors, tasks)
    with planted(fault):
        assert abs(main_scores(row, made.vectors, tasks)[name] - sound[name]) > 1e-3


@pytest.mark.parametrize(
    ("fault", "name"), [("tokenizer keeps capitals", "LCQMC"), ("tokenizer keeps accents", "STSB"), ("title dropped", "EcomRetrieval")]
)
def test_no_letter_and_no_title_can_be_lost_unseen(planted: Planted, fault: str, name: str) -> None:
    task = BENCHMARK.task(name)

    def score() -> float:
        texts = list(dict.fromkeys(texts_of(task, DATA[name])))
        return main_scores({text: row for row, text in enumerate(texts)}, encode(texts).vectors, [task])[name]

    sound = score()
    with planted(fault):
        assert abs(score() - sound) > 1e-3


def test_texts_have_capitals_accents_and_full_width_letters_in_every_type() -> None:
    for kind in TASK_TYPES:
        text = " ".join(text for task in BENCHMARK.tasks if task.type == kind for text in texts_of(task, DATA[task.name]))
        assert [bool(set(text) & set(marks)) for marks in ("ABCDE", "éáöè", "ＡＰＩＬ")] == [True] * 3, kind


def test_copies_make_exact_ties_and_one_search_takes_several_blocks() -> None:
    retrieval = [data for data in DATA.values() if isinstance(data, RetrievalData)]
    assert any(len(set(data.corpus.values())) < len(data.corpus) for data in retrieval)
    du = DATA["DuRetrieval"]
    assert isinstance(du, RetrievalData)
    assert len(du.queries) > TILE[0]
    searched_last = sorted(du.corpus, key=lambda key: len(du.corpus[key]), reverse=True)[TILE[1] :]
    assert {passage for grades in du.qrels.values() for passage in grades} & set(searched_last)
    assert any(data.titles for data in retrieval)
    assert any(set(data.queries) & set(data.corpus) for data in retrieval)
    reranking = [data for data in DATA.values() if isinstance(data, RerankingData)]
    assert any(len({*s.positive, *s.negative}) < len(s.positive) + len(s.negative) for data in reranking for s in data.samples)


def test_tasks_share_texts_as_the_real_ones_do() -> None:
    intent, scenario = DATA["MassiveIntentClassification"], DATA["MassiveScenarioClassification"]
    assert isinstance(intent, ClassificationData)
    assert isinstance(scenario, ClassificationData)
    assert intent.test.texts == scenario.test.texts
    du, covid = DATA["DuRetrieval"], DATA["CovidRetrieval"]
    assert isinstance(du, RetrievalData)
    assert isinstance(covid, RetrievalData)
    assert set(du.corpus.values()) & set(covid.corpus.values())
