"""Retrieval after the matrix products, against BEIR and mteb 1.1.1: python benchmarks/retrieval.py [--passages 100000 --queries 2000]

Both sides take the similarities from one matrix in memory, so no product is counted, and must come to equal metrics. The clock starts
when the first product is asked for, after the texts have been sorted and encoded. The ratio that has a goal covers everything from then on:
BEIR's `torch.topk`, heaps and metrics against the harness's counting and metrics. The harness calls `topk` only for queries with ties; so
the other ratio is against its whole time too, and leaves out `topk` on BEIR's side alone. One thread by default: with more, BEIR's heaps
stay on one.
"""

from __future__ import annotations

import argparse
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from measuring import Cost, report, say_machine, seconds, torch_threads

from harness.core.benchmarks import load_benchmark
from harness.evaluate.score import search
from harness.evaluate.score.adapter import EmbeddingModel, RetrievalModel
from harness.evaluate.score.ranking import mean_metrics
from harness.evaluate.score.reference import fresh_task, quiet_reference

DIM = 2  # of the stand-in vectors; the similarities do not come from them
STEP = 1e-5  # radians from a number to the next one
QUERY = "query"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds of both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="torch threads of both sides")
    chosen = parser.parse_args(arguments)
    say_machine()
    with torch_threads(chosen.threads):
        compare(_Case(chosen.passages, chosen.queries), chosen.repeats)


class _Case:
    """Passages, queries, judgements and all similarities, in the order in which both sides ask for them."""

    def __init__(self, passages: int, queries: int) -> None:
        draw = np.random.default_rng(0)
        self.corpus = {f"p{number}": {"text": "字" * int(size)} for number, size in enumerate(draw.integers(10, 60, size=passages))}
        self.queries = {f"q{number}": f"{QUERY} {number}" for number in range(queries)}
        generator = torch.Generator().manual_seed(0)
        self.similarities = torch.randn(queries, passages, generator=generator).mul_(0.1)
        self.qrels: dict[str, dict[str, int]] = {}
        ids = sorted(self.corpus, key=lambda key: len(self.corpus[key]["text"]), reverse=True)
        for row, query in enumerate(self.queries):
            columns = draw.choice(passages, size=int(draw.integers(1, 10)), replace=False)
            self.similarities[row, torch.from_numpy(columns)] += float(draw.uniform(0.1, 0.4))
            self.qrels[query] = {ids[column]: int(draw.integers(1, 3)) for column in columns}


def compare(case: _Case, repeats: int) -> None:
    """Runs both sides interleaved and prints; stops if a metric differs."""
    walls, users, rest = [], [], []
    tiny = _Case(2_000, 10)
    _since_products(_beir, tiny)  # imports do not count
    _since_products(_harness, tiny)
    for _ in range(repeats):
        with _Topk() as topk:
            reference, beir = _since_products(_beir, case)
        found, own = _since_products(_harness, case)
        if found != reference:
            raise SystemExit(f"metrics differ: {found} against {reference}")
        walls.append(beir.wall / own.wall)
        users.append(beir.user / own.user)
        rest.append((beir.user - topk.spent.user) / own.user)
        print(f"BEIR: {beir}, of it topk {topk.spent.user:.2f} s user; harness: {own}; {len(found)} metrics equal", flush=True)
    size = f"{len(case.corpus):,} x {len(case.queries):,}"
    report(f"everything after the products, user seconds, {size}", users, at_least=30)
    report(f"everything after the products, wall seconds, {size}", walls)
    report(f"the same without BEIR's topk, user seconds, {size}", rest)


def _since_products(side: Callable[[_Case, Callable[[], None]], dict[str, float]], case: _Case) -> tuple[dict[str, float], Cost]:
    marks: list[Cost] = []
    metrics = side(case, lambda: marks.append(seconds()))
    return metrics, seconds() - marks[0]


def _beir(case: _Case, on_product: Callable[[], None]) -> dict[str, float]:
    """`AbsTaskRetrieval.evaluate` of mteb 1.1.1 with BEIR's search, the product replaced by the matrix."""
    task = load_benchmark().task("DuRetrieval")
    reference = fresh_task(task)
    reference.corpus, reference.queries, reference.relevant_docs = ({task.split: part} for part in (case.corpus, case.queries, case.qrels))
    reference.data_loaded = True
    columns = iter(range(0, len(case.corpus), search.CHUNK))

    def products(_: Any, passages: Any) -> torch.Tensor:
        on_product()
        start = next(columns)
        return case.similarities[:, start : start + len(passages)]

    with quiet_reference(), mock.patch("beir.retrieval.search.dense.exact_search.cos_sim", products):
        metrics: dict[str, float] = reference.evaluate(_StandIn(), task.split)
    return metrics


def _harness(case: _Case, on_product: Callable[[], None]) -> dict[str, float]:
    model = RetrievalModel(EmbeddingModel(_Numbered(), dim=None, dtype="float32"))
    whole = len(case.corpus) * DIM * torch.float32.itemsize

    def products(queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
        on_product()
        rows = _numbers_of(queries)
        first, last = int(rows[0]), int(rows[-1])
        asked = case.similarities[first : last + 1] if last - first == len(rows) - 1 else case.similarities[rows]
        if passages.untyped_storage().nbytes() != whole:  # picked ones
            return asked.index_select(1, _numbers_of(passages))
        column = passages.storage_offset() // DIM
        return asked[:, column : column + len(passages)]

    with mock.patch.object(search, "similarities", products):
        return mean_metrics(search.search_queries(case.corpus, case.queries, case.qrels, model))


class _StandIn:
    """A DRESModel whose vectors are not used."""

    def encode_queries(self, queries: Sequence[str], **_: Any) -> np.ndarray:
        return _constant(queries).numpy()

    def encode_corpus(self, corpus: Sequence[Mapping[str, str]], **_: Any) -> np.ndarray:
        return _constant(corpus).numpy()


def _constant(texts: Sequence[Any]) -> torch.Tensor:
    return torch.ones(len(texts), DIM)


class _Numbered:
    """Makes vectors whose angle is a number: of a query the one in its text, of a passage its place in the search."""

    def __init__(self) -> None:
        self._passages = 0

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        numbers = []
        for text in texts:
            numbers.append(float(text.rpartition(" ")[2]) if text.startswith(QUERY) else float(self._passages))
            self._passages += not text.startswith(QUERY)
        angles = torch.tensor(numbers, dtype=torch.float64).mul_(STEP)
        return torch.stack([angles.cos(), angles.sin()], dim=1).float()


def _numbers_of(vectors: torch.Tensor) -> torch.Tensor:
    return torch.atan2(vectors[:, 1], vectors[:, 0]).div_(STEP).round_().to(torch.int64)


class _Topk(contextlib.AbstractContextManager["_Topk"]):
    """The time during which any thread was inside `torch.topk`."""

    def __init__(self) -> None:
        self.spent = Cost(0, 0)
        self._inside = 0
        self._since = Cost(0, 0)
        self._lock = threading.Lock()

    def __enter__(self) -> _Topk:
        plain = torch.topk

        def timed(*arguments: Any, **options: Any) -> Any:
            with self._counted():
                return plain(*arguments, **options)

        self._patch = mock.patch.object(torch, "topk", timed)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._since = seconds()
        yield
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self.spent += seconds() - self._since


if __name__ == "__main__":
    main()
