"""As their makers ran them: the texts that go into the tokenizer, beside what mteb 2.26.24's own wrappers send for the same models."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from test_export_mteb2 import mteb2  # noqa: F401  a fixture

from harness.core.benchmarks import load_benchmark
from harness.core.config import compose_config
from harness.data.types import PairData, RetrievalData
from harness.evaluate.encode.model.own import OwnSettings
from harness.evaluate.prompting import run_prompts
from harness.evaluate.score.tasks import planned_texts

ROOT = Path(__file__).resolve().parent.parent
EXPECTED = ROOT / "tests" / "golden" / "as_made.json"
BENCHMARK = load_benchmark()
QUERY, PASSAGE, PAIR = "北京有哪些大学", "北京大学创办于1898年。", ("天气很好", "今天晴天")

ORACLE = """
import json, sys
sys.path[:0] = ["scripts", "."]
import mteb, registry
from mteb.types import PromptType
registry.sentence_transformers.SentenceTransformer = registry.Recorder
names, query, passage, pair = json.loads(sys.argv[1])
sent = {}
for name in names:
    meta = registry.MODEL_REGISTRY[name]
    wrapper = meta.loader(name, revision=meta.revision, **meta.loader_kwargs)
    wrapper.mteb_model_meta = meta
    sent[name] = {}
    for role, task, kind, texts in (
        ("query", "T2Retrieval", PromptType.query, [query]), ("passage", "T2Retrieval", PromptType.document, [passage]),
        ("pair", "STSB", None, pair),
    ):
        metadata = mteb.get_task(task).metadata
        wrapper.encode(registry.Inputs([{"text": texts}]), task_metadata=metadata, hf_split="test", hf_subset="default", prompt_type=kind)
        sent[name][role] = wrapper.model.sent
print(json.dumps(sent, ensure_ascii=False))
"""
"""Asks mteb's wrapper of each model for one query, one passage and one pair; a recorder stands where sentence-transformers would."""


def expected() -> dict[str, dict[str, list[str]]]:
    return json.loads(EXPECTED.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", expected())
def test_the_texts_are_those_that_mteb_2_sends(name: str) -> None:
    prompts = run_prompts(compose_config([f"model={name}"]), OwnSettings())
    retrieval, sts = BENCHMARK.task("T2Retrieval"), BENCHMARK.task("STSB")
    found = RetrievalData(corpus={"p": PASSAGE}, titles={}, queries={"q": QUERY}, qrels={"q": {"p": 1}})
    query, passage = planned_texts(retrieval, found, prompts.of(retrieval))
    pair = planned_texts(sts, PairData(PAIR[:1], PAIR[1:], [3.0]), prompts.of(sts))
    assert {"query": [query], "passage": [passage], "pair": pair} == expected()[name]


def ask(python: Path, *command: str) -> str:
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(python), "-W", "ignore", *command], capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_mteb_2_still_sends_them(mteb2: tuple[Path, float]) -> None:  # noqa: F811
    assert json.loads(ask(mteb2[0], "-c", ORACLE, json.dumps([list(expected()), QUERY, PASSAGE, PAIR]))) == expected()


@pytest.mark.slow
def test_the_registry_is_what_mteb_2_says(mteb2: tuple[Path, float], tmp_path: Path) -> None:  # noqa: F811
    ask(mteb2[0], "scripts/registry.py", str(tmp_path / "models.json"))
    assert (tmp_path / "models.json").read_bytes() == (ROOT / "configs" / "models.json").read_bytes()
