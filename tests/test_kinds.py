"""A kind of encoder from outside of the package: registered, run, recorded, resumed, and named wherever it shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from records import run_here

from harness.core.benchmarks import load_benchmark
from harness.core.costs import Counters
from harness.core.errors import RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.run_files import read_run
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.data.sources import Source
from harness.evaluate.encode.encoder import ENCODERS, Encoded, EncoderKind, OnStep
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.here import resolve_here
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.prepared import Outcome

BENCHMARK = load_benchmark()


class LetterEncoder:
    """Counts characters by their code, modulo `dim`."""

    embedding_dim = 64
    fingerprint = Fingerprint(digest="letters", weights_digest="none")

    def __init__(self, max_len: int) -> None:
        self.max_len = max_len
        self.counters = Counters()

    def text_flops(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return counts

    def encode_counted(self, texts: Sequence[str], *, progress: OnStep | None = None) -> Encoded:
        del progress
        vectors = torch.zeros(len(texts), self.embedding_dim)
        for row, text in enumerate(texts):
            for letter in text[: self.max_len]:
                vectors[row, ord(letter) % self.embedding_dim] += 1
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        self.counters += Counters(texts=len(texts), forwards=1)
        return Encoded(vectors, np.minimum(lengths, self.max_len), lengths > self.max_len)


class Letters(EncoderKind):
    def weights_digest(self, model: ModelSpec) -> str:
        return "none"

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> None:
        return None

    def encoder(
        self, weights: None, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> LetterEncoder:
        return LetterEncoder(max_len)


def test_a_kind_or_a_source_that_lacks_a_method_is_named_where_it_is_made() -> None:
    lacking = {name: getattr(Letters, name) for name in ("weights_digest", "load")}
    with pytest.raises(TypeError, match=r"abstract method '?encoder'?"):
        type("Kind", (EncoderKind,), lacking)()
    with pytest.raises(TypeError, match=r"abstract method '?load'?"):
        type("Nowhere", (Source,), {})()


@pytest.fixture(autouse=True)
def _letters() -> Iterator[None]:
    ENCODERS.register("letters", Letters())
    yield
    ENCODERS.unregister("letters")


def request(tmp_path: Path, *overrides: str) -> list[str]:
    places = [f"results_dir={tmp_path / 'results'}", "store=null"]
    return ["model=sample", "model.kind=letters", "model.name=letters", "data=sample", "gpu=cpu", "tasks=[STSB]", *places, *overrides]


def run(tmp_path: Path, *overrides: str) -> Outcome:
    return run_here(request(tmp_path, *overrides))


def test_a_kind_from_outside_runs_a_task_is_resumed_and_named(tmp_path: Path) -> None:
    outcome = run(tmp_path)
    assert (outcome.computed, outcome.failed) == (("STSB",), {})
    done = read_run(outcome.folder, BENCHMARK)
    assert 0.2 < (done.records["STSB"].main_score(BENCHMARK.task("STSB")) or 0) < 1
    assert "encoder of kind letters, not canonical" in done.header.notes
    assert any("not checked" in note for note in done.header.notes)
    assert done.manifest.model.digest == "letters"
    assert run(tmp_path).reused == ("STSB",)


def test_a_plan_of_a_kind_that_gives_none_estimates_by_characters(tmp_path: Path) -> None:
    (plan,) = make_plan(request(tmp_path)).runs
    assert any("model.kind=letters" in text for text in plan.obstacles)
    assert plan.tasks[0].basis == "characters"


def test_an_unknown_kind_and_a_taken_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"unknown encoder 'lettres': did you mean letters"):
        run(tmp_path, "model.kind=lettres")
    with pytest.raises(RequestError, match="is taken"):
        ENCODERS.register("canonical", Letters())


def test_the_kind_is_part_of_the_identity_unless_it_is_the_canonical_one(tmp_path: Path) -> None:
    plain, named, other = (
        resolve_here(request(tmp_path, f"model.kind={kind}" if kind else "model.name=letters"), "cpu")[0]
        for kind in ("", "canonical", "letters")
    )
    assert "kind" not in named.identity()["model"]
    assert named.digest != other.digest == plain.digest
