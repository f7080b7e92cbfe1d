"""The exact search against BEIR 2.2.0 and mteb 1.1.1 on data full of ties."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.core.errors import MachineError
from harness.evaluate.score import search
from harness.evaluate.score.adapter import RetrievalModel
from harness.evaluate.score.ranking import mean_metrics
from harness.evaluate.score.threads import one_thread


class TableModel:
    """A RetrievalModel whose vectors are looked up: a text is the number of its row."""

    def __init__(self, table: np.ndarray | torch.Tensor) -> None:
        self.table = table

    def encode_queries(self, queries: Sequence[str], **_: Any) -> np.ndarray | torch.Tensor:
        return self.table[[int(query) for query in queries]]

    def encode_corpus(self, corpus: Sequence[Mapping[str, str]], **_: Any) -> np.ndarray | torch.Tensor:
        return self.table[[int(passage["text"]) for passage in corpus]]


def test_the_types_of_a_search_are_known_when_it_runs() -> None:
    assert get_type_hints(search.search_queries)["model"] is RetrievalModel


def reference_metrics(corpus, queries, qrels, model, *, chunk: int) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from mteb import AbsTaskRetrieval

    class Task(AbsTaskRetrieval):
        description = {"name": "ties", "main_score": "ndcg_at_10"}  # noqa: RUF012

    task = Task()
    judged = defaultdict(dict, {query: dict(grades) for query, grades in qrels.items()})
    task.corpus, task.queries, task.relevant_docs = {"dev": corpus}, {"dev": queries}, {"dev": judged}
    task.data_loaded = True
    return task.evaluate(model, "dev", corpus_chunk_size=chunk)


def search_metrics(*arguments, chunk: int = search.CHUNK, device: str | None = None) -> dict[str, float]:
    return mean_metrics(search.search_queries(*arguments, chunk=chunk, device=torch.device(device) if device else None))


def exact_metrics(corpus, queries, qrels, model, *, chunk: int, block: int) -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "TILE", (block, 10))
        return search_metrics(corpus, queries, qrels, model, chunk=chunk)


def half_vectors(rng: np.random.Generator, rows: int, dim: int, distinct: int) -> np.ndarray:
    """Unit vectors with four entries of +-0.5: every similarity is a multiple of 0.25, exact in any order of addition."""
    base = np.zeros((distinct, dim), dtype=np.float32)
    for row in base:
        row[rng.choice(dim, 4, replace=False)] = rng.choice([-0.5, 0.5], 4)
    return base[rng.integers(distinct, size=rows)]


def make_case(rng: np.random.Generator, *, passages: int, queries: int, namesakes: bool, grades: Sequence[int]):
    """Ids in another order than sorted, texts of equal length, judgements of passages and queries that are missing."""
    ids = [f"{rng.integers(10**6)}_{index}" for index in range(passages)]
    query_ids = [ids[rng.integers(passages)] if namesakes and rng.random() < 0.5 else f"q{index}" for index in range(queries)]
    query_ids = [*dict.fromkeys(query_ids), "q_a", "q_b"]
    corpus = {key: {"text": str(row)} for row, key in enumerate(ids)}
    for key in ids[::5]:
        corpus[key]["title"] = "title"
    wanted = {key: str(passages + row) for row, key in enumerate(query_ids)}
    qrels = {}
    for key in [*query_ids[:-1], "stranger"]:
        judged = rng.choice(passages, min(passages, rng.integers(1, 8)), replace=False)
        qrels[key] = {ids[row]: int(rng.choice(grades)) for row in judged}
        if rng.random() < 0.2:
            qrels[key]["missing"] = 1
    return corpus, wanted, qrels


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    passages=st.integers(1, 120),
    chunk=st.sampled_from([7, 50, 1000]),
    block=st.sampled_from([1, 3, 256]),
    distinct=st.integers(1, 40),
    dtype=st.sampled_from([np.float32, np.float16]),
    namesakes=st.booleans(),
    grades=st.sampled_from([(1,), (0, 1), (0, 1, 2, 3), (0,), (-1, 0, 2)]),
)
def test_every_metric_equals_beir_and_mteb(seed, passages, chunk, block, distinct, dtype, namesakes, grades) -> None:
    rng = np.random.default_rng(seed)
    corpus, queries, qrels = make_case(rng, passages=passages, queries=12, namesakes=namesakes, grades=grades)
    table = half_vectors(rng, passages + len(queries), 8, distinct).astype(dtype)
    model = TableModel(table)
    assert exact_metrics(corpus, queries, qrels, model, chunk=chunk, block=block) == reference_metrics(
        corpus, queries, qrels, model, chunk=chunk
    )


@pytest.mark.parametrize(("chunk", "block"), [(1100, 5), (1500, 512), (50_000, 7)])
@pytest.mark.parametrize(("dtype", "distinct"), [(np.float32, 60), (np.float32, 2500), (np.float16, 300)])
def test_ties_at_the_thousandth_place_are_kept_as_beir_keeps_them(chunk, block, dtype, distinct) -> None:
    """More passages than are kept, similarities of at most nine levels: which ones are kept is nothing but ties."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        corpus, queries, qrels = make_case(rng, passages=2500, queries=10, namesakes=True, grades=(0, 1, 2))
        model = TableModel(half_vectors(rng, 2500 + len(queries), 16, distinct).astype(dtype))
        exact = exact_metrics(corpus, queries, qrels, model, chunk=chunk, block=block)
        assert exact == reference_metrics(corpus, queries, qrels, model, chunk=chunk)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_plain_random_vectors(dtype) -> None:
    rng = np.random.default_rng(5)
    corpus, queries, qrels = make_case(rng, passages=3000, queries=40, namesakes=False, grades=(0, 1, 2))
    model = TableModel(rng.standard_normal((3000 + len(queries), 64)).astype(dtype))
    assert search_metrics(corpus, queries, qrels, model) == reference_metrics(corpus, queries, qrels, model, chunk=50_000)


@settings(max_examples=200)
@given(
    values=st.lists(st.sampled_from([-0.0, 0.0, 0.1, 0.25, 0.5, 0.7, 1.0]) | st.floats(-1, 1, width=32), min_size=1, max_size=60),
    judged=st.sets(st.integers(0, 59), max_size=6),
    without=st.integers(-1, 59),
    kept=st.integers(1, 20),
    chunk=st.integers(1, 60),
    namesakes=st.sampled_from(["first", "last"]),
)
def test_ranks_are_counted_or_left_to_ties(values, judged, without, kept, chunk, namesakes) -> None:
    """Against the definition; the passages come in chunks of any size."""
    row = np.array(values, dtype=np.float32)
    places = [place for place in judged if place < len(row)]
    without = without if without < len(row) else -1
    passages = torch.from_numpy(row)[:, None]
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.setattr(search, "KEPT", kept)
        block = search._block(torch.ones(1, 1), passages, [np.array(places, dtype=np.int64)], np.array([without]))
        (ranks,) = block.ranks(*block.compared(passages, chunk), namesakes)
    others = np.arange(len(row)) != without
    expected = [1 + int((row[others] > row[place]).sum()) for place in places]
    among = expected if namesakes == "first" else [1 + int((row > row[place]).sum()) for place in places]
    expected = [0 if place == without or found > kept else rank for place, rank, found in zip(places, expected, among, strict=True)]
    tied = any(rank and (row == row[place]).sum() > 1 for place, rank in zip(places, expected, strict=True))
    assert (None if ranks is None else ranks.tolist()) == (None if tied else expected)


@pytest.mark.parametrize("passages", [900, 1001, 1002, 2500])
def test_without_ties_nothing_is_followed(monkeypatch: pytest.MonkeyPatch, passages) -> None:
    """Fewer passages than are kept, just as many, more, in one chunk and in several: every rank is counted, and BEIR's."""
    rng = np.random.default_rng(passages)
    corpus, queries, qrels = make_case(rng, passages=passages, queries=30, namesakes=True, grades=(0, 1, 2))
    model = TableModel(rng.standard_normal((passages + len(queries), 64)).astype(np.float32))
    monkeypatch.setattr(search, "_offered", lambda *_: pytest.fail("a query was left to ties"))
    for chunk in (1100, 50_000):
        exact = search_metrics(corpus, queries, qrels, model, chunk=chunk)
        assert exact == reference_metrics(corpus, queries, qrels, model, chunk=chunk)


def test_counted_and_followed_queries_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of the passages are there twice: some queries have a tie at a judged passage, and go BEIR's way; the others are counted."""
    rng = np.random.default_rng(8)
    corpus, queries, qrels = make_case(rng, passages=2400, queries=300, namesakes=True, grades=(1, 2))
    table = rng.standard_normal((2400 + len(queries), 64)).astype(np.float32)
    table[1800:2400] = table[:600]
    followed = []
    offered = search._offered
    monkeypatch.setattr(search, "_offered", lambda rows, *rest: followed.append(len(rows)) or offered(rows, *rest))
    model = TableModel(table)
    assert search_metrics(corpus, queries, qrels, model, chunk=1100) == reference_metrics(corpus, queries, qrels, model, chunk=1100)
    assert 30 < sum(followed) < 270


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_every_dtype_of_a_model_equals_beir_on_ties(dtype) -> None:
    rng = np.random.default_rng(9)
    corpus, queries, qrels = make_case(rng, passages=2500, queries=20, namesakes=True, grades=(0, 1, 2))
    model = TableModel(torch.from_numpy(half_vectors(rng, 2500 + len(queries), 16, 300)).to(dtype))
    assert search_metrics(corpus, queries, qrels, model, chunk=1500) == reference_metrics(corpus, queries, qrels, model, chunk=1500)


def test_metrics_by_hand() -> None:
    """Similarities to q: a 1, b and c 0.5, d 0; relevant: c (grade 1) and d (grade 2). trec_eval puts c before b (ids descending)."""
    table = np.array(
        [[1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5], [0.5, -0.5, 0.5, 0.5], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=np.float32
    )
    corpus = {key: {"text": str(row)} for row, key in enumerate("abcd")}
    metrics = search_metrics(corpus, {"q": "4", "r": "5"}, {"q": {"c": 1, "d": 2, "b": 0}}, TableModel(table))
    assert metrics["precision_at_1"] == 0
    assert metrics["precision_at_3"] == 0.33333
    assert metrics["recall_at_3"] == 0.5
    assert metrics["map_at_5"] == 0.5  # (1/2 + 2/4) / 2
    assert metrics["ndcg_at_3"] == 0.23981  # (1 / log2 3) / (2 / log2 2 + 1 / log2 3)
    assert metrics["ndcg_at_5"] == 0.56721  # (1 / log2 3 + 2 / log2 5) / the same
    assert metrics["mrr_at_1"] == 0
    assert metrics["mrr_at_3"] in {0.25, 0.16667}  # 1/2 or 1/3, whichever of b and c the heap holds first, over two queries


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("dim", [64, 1792])
def test_a_similarity_depends_on_its_two_vectors_alone(dtype, dim) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, passages = (
        torch.nn.functional.normalize(torch.randn(rows, dim, generator=generator), dim=1).to(dtype) for rows in (256, 2300)
    )
    places, rows = torch.randperm(2300, generator=generator), torch.randperm(256, generator=generator)
    before = torch.get_num_threads()
    with one_thread() as threads:
        assert threads == before
        everything = search.similarities(queries, passages)
        shuffled = search.similarities(queries[rows[:9]], passages[places[:777]])
        alone = search.similarities(queries[5:6], passages[3:4])
    assert torch.equal(shuffled, everything[rows[:9]][:, places[:777]])
    assert torch.equal(alone, everything[5:6, 3:4])
    assert torch.get_num_threads() == before
    torch.testing.assert_close(everything, queries @ passages.T)


def test_metrics_do_not_depend_on_the_thread_count() -> None:
    rng = np.random.default_rng(6)
    corpus, queries, qrels = make_case(rng, passages=1500, queries=600, namesakes=True, grades=(0, 1, 2))
    model = TableModel(rng.standard_normal((1500 + len(queries), 48)).astype(np.float32))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(search_metrics(corpus, queries, qrels, model))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def screen_passages(patch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Every search is worth a device, and the device sees changed passages."""
    screen = search.screen_blocks
    patch.setattr(search, "WORTH_A_DEVICE", 0)
    patch.setattr(search, "screen_blocks", lambda blocks, passages, *rest, **named: screen(blocks, change(passages), *rest, **named))


def near_vectors(rng: np.random.Generator, rows: int, dim: int, step: float) -> np.ndarray:
    """A few directions, each many times, changed by about `step`: similarities as near to each other as rounding is, or equal."""
    base = rng.standard_normal((8, dim)).astype(np.float32)[rng.integers(8, size=rows)]
    return (base + step * rng.standard_normal((rows, dim)) * (rng.random((rows, 1)) < 0.7)).astype(np.float32)


@pytest.mark.parametrize("namesakes", ["first", "last", "kept"])
@pytest.mark.parametrize(("step", "chunk"), [(1e-1, 500), (1e-4, 700), (1e-6, 50_000), (3e-8, 64)])
def test_counting_on_a_device_gives_the_ranks_of_the_cpu(step: float, chunk: int, namesakes: search.Namesakes) -> None:
    """The device here is the CPU, with passages changed in their last bits: its products round otherwise, as those of a GPU do."""
    rng = np.random.default_rng(7)
    corpus, queries, qrels = make_case(rng, passages=1500, queries=30, namesakes=True, grades=(0, 1, 2))
    model = TableModel(near_vectors(rng, 1500 + len(queries), 96, step))
    asked = list(corpus), corpus, queries, qrels, model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "TILE", (16, 100))
        patch.setattr(search, "KEPT", 400)
        plain = search.rank_judged(*asked, chunk=chunk, namesakes=namesakes)
        changed = 1 + 1e-6 * torch.from_numpy(rng.standard_normal((1500, 96)).astype(np.float32))
        screen_passages(patch, lambda passages: passages * changed)
        found = search.rank_judged(*asked, chunk=chunk, namesakes=namesakes, device=torch.device("cpu"))
    for ours, theirs in zip(vars(found).values(), vars(plain).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (plain.ranks > 0).any()


def test_of_a_device_only_what_is_near_is_multiplied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    corpus, queries, qrels = make_case(rng, passages=4000, queries=20, namesakes=False, grades=(1,))
    model = TableModel(rng.standard_normal((4000 + len(queries), 64)).astype(np.float32))
    plain = search_metrics(corpus, queries, qrels, model)
    sizes: list[int] = []
    product = search.similarities
    monkeypatch.setattr(search, "similarities", lambda asked, passages: sizes.append(len(passages)) or product(asked, passages))
    monkeypatch.setattr(search, "WORTH_A_DEVICE", 0)
    assert search_metrics(corpus, queries, qrels, model, device="cpu") == plain
    assert sum(sizes) < 400


def test_a_device_with_wrong_products_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose driver was told to multiply in TF32: ten bits of mantissa."""
    rng = np.random.default_rng(3)
    corpus, queries, qrels = make_case(rng, passages=300, queries=5, namesakes=False, grades=(1,))
    table = rng.standard_normal((300 + len(queries), 64)).astype(np.float32)
    screen_passages(monkeypatch, lambda passages: passages.to(torch.bfloat16).float())
    with pytest.raises(MachineError, match="rounding explains"):
        search_metrics(corpus, queries, qrels, TableModel(table), device="cpu")
