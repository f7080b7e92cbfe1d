"""Exact search in bounded memory, with the results of BEIR 2.2.0's `DenseRetrievalExactSearch` down to its ties.

BEIR multiplies all queries with 50,000 passages at a time, and merges with a Python heap per query. Here queries come in blocks too, and
where a judged passage stands is counted. That is BEIR's result wherever no other passage has a judged passage's similarity.
For the other queries, and for all in half precision, where ties are the rule, BEIR's way is followed, with sorted integers instead of the
heap: passages sorted by length (longest first), `torch.topk` of 1,001 per chunk (which of several equal similarities at its edge it takes
is its own affair, a function of the row), the heap's order by (similarity, id), the passage called as the query dropped.

A similarity is a pure function of its two vectors (on one kind of CPU): every matrix product has one shape, runs on one thread, and zero
rows fill the last one. In BEIR's the last bit depends on the number of queries, of passages, and of cores.

A device counts most passages of a large search in float32 (`screening`); the result is the CPU's, to the bit. Half precision stays on the
CPU: there BEIR's ties are followed, which takes the CPU's own rounding of every similarity.
"""

from __future__ import annotations

import heapq
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from harness.evaluate.score.adapter import RetrievalModel
from harness.evaluate.score.ranking import CUTOFFS, Ranks, query_values
from harness.evaluate.score.screening import FloatArray, IntArray, Screened, padded, screen_blocks
from harness.evaluate.score.threads import one_thread

KEPT = CUTOFFS[-1]
"""Passages kept per query."""
CHUNK = 50_000
"""Passages per `torch.topk`: BEIR's `corpus_chunk_size` as mteb 1.1.1 sets it."""
TILE = (256, 2000)
"""Queries and passages per matrix product."""
ENCODED = 8192
"""Passages encoded and normalised at a time."""
WORTH_A_DEVICE = 10**11
"""Products of two numbers in a search that is worth starting a device for: some seconds of one core."""
DROPPED = np.iinfo(np.int64).min
Namesakes = Literal["first", "last", "kept"]


def search_queries(
    corpus: Mapping[str, Mapping[str, str]],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    model: RetrievalModel,
    *,
    chunk: int = CHUNK,
    device: torch.device | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The values of every query at six cut-offs, unrounded (`query_values`); after the queries, those that are judged but not among them.

    Memory beyond the vectors of the corpus and the queries: per thread of torch 256 similarities for each of `chunk` passages (51 MB in
    float32), and about as much again where ties are followed; on a `device` what `screen_blocks` says.
    """
    ids = sorted(corpus, key=lambda key: len(corpus[key].get("title", "") + corpus[key].get("text", "")), reverse=True)
    names = list(queries)
    found = rank_judged(ids, corpus, queries, qrels, model, chunk=chunk, device=device)
    values = query_values(found, [qrels.get(name, {}) for name in names])
    unasked = len(qrels.keys() - queries.keys())
    return {name: np.append(column, np.full(unasked, 0.0 if name.startswith("rr_") else np.nan)) for name, column in values.items()}


def rank_judged(
    ids: Sequence[str],
    corpus: Mapping[str, Mapping[str, str]],
    queries: Mapping[str, str],
    qrels: Mapping[str, Mapping[str, int]],
    model: RetrievalModel,
    *,
    chunk: int = CHUNK,
    namesakes: Namesakes = "first",
    device: torch.device | None = None,
    normalised: bool = True,
) -> Ranks:
    """Where the judged passages of every query came to stand. `ids`: the passages in the order in which they are searched, in chunks.

    `namesakes`: what becomes of the passage that is called as the query: dropped before the best are kept, after, or kept like any other.
    `device`: what a large search in float32 is counted on, None for this CPU; only where vectors are `normalised`, so that products are
    cosines.

    Raises:
        MachineError: the device's products are wrong.
    """
    position = {key: index for index, key in enumerate(ids)}
    by_id = np.empty(len(ids), dtype=np.int64)
    by_id[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    ready = _normalised if normalised else torch.as_tensor
    passages = _corpus_matrix([corpus[key] for key in ids], model, ready)
    names = list(queries)
    vectors = ready(model.encode_queries([queries[name] for name in names]))
    judged = _judged(names, position, qrels)
    own = np.array([-1 if namesakes == "kept" else position.get(name, -1) for name in names])

    def asked_block(rows: IntArray) -> _Block:
        return _block(vectors[rows[0] : rows[-1] + 1], passages, [judged.places_of(row) for row in rows], own[rows])

    def count_block(block: _Block) -> list[IntArray | None]:
        return block.ranks(*block.compared(passages, chunk), namesakes)

    def decide_block(block: _Block, screened: Screened) -> list[IntArray | None]:
        return block.ranks(*block.decided(screened, passages), namesakes)

    def follow_block(rows: IntArray) -> tuple[list[IntArray], IntArray]:
        called = np.where(own[rows] < 0, -1, by_id[own[rows]])
        dropped = called if namesakes == "first" else np.full(len(rows), -1)
        offered = _offered(vectors[torch.from_numpy(rows)], passages, by_id, dropped, chunk)
        return _followed(offered, [by_id[judged.places_of(row)] for row in rows], called)

    ranks: list[IntArray | None] = [None] * len(names)
    with one_thread() as threads, ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        if vectors.dtype == torch.float32:
            blocks = list(pool.map(asked_block, _blocks(np.arange(len(names)))))
            screened = _screened(blocks, passages, device, chunk) if device is not None else None
            counted = pool.map(count_block, blocks) if screened is None else pool.map(decide_block, blocks, screened)
            ranks = list(itertools.chain.from_iterable(counted))
        tied = np.flatnonzero([rank is None for rank in ranks])
        followed = list(pool.map(follow_block, _blocks(tied)))
    return judged.ranked(ranks, followed)


def similarities(queries: torch.Tensor, passages: torch.Tensor) -> torch.Tensor:
    """The dot products of at most 256 queries with all passages, [queries, passages], in the dtype of the vectors.

    Call it on one thread (`one_thread`): then an element's bits depend on its two vectors alone, not on their places or neighbours.
    """
    rows = _filled(queries, TILE[0])
    products = torch.empty((TILE[0], math.ceil(len(passages) / TILE[1]) * TILE[1]), dtype=queries.dtype)
    for start in range(0, len(passages), TILE[1]):
        torch.mm(rows, _filled(passages[start : start + TILE[1]], TILE[1]).T, out=products[:, start : start + TILE[1]])
    return products[: len(queries), : len(passages)]


@dataclass(frozen=True)
class _Judged:
    """The passages of the corpus that are relevant to a query: one entry each, ordered by the query's number."""

    query: IntArray
    place: IntArray
    grade: IntArray
    bounds: IntArray

    def places_of(self, query: int) -> IntArray:
        return self.place[self.bounds[query] : self.bounds[query + 1]]

    def ranked(self, counted: Sequence[IntArray | None], followed: Sequence[tuple[list[IntArray], IntArray]]) -> Ranks:
        """The ranks of all queries; those that were not counted are the rows of `followed`."""
        replayed = itertools.chain.from_iterable(ranks for ranks, _ in followed)
        rank = np.concatenate([next(replayed) if ranks is None else ranks for ranks in counted])
        ranks, grades = _tabled(self.query, rank, self.grade, rows=len(counted))
        first = ranks[:, :1].sum(axis=1)
        first[[ranks is None for ranks in counted]] = np.concatenate([np.empty(0, dtype=np.int64), *(part for _, part in followed)])
        return Ranks(ranks, grades, first)


def _judged(names: Sequence[str], position: Mapping[str, int], qrels: Mapping[str, Mapping[str, int]]) -> _Judged:
    entries = [
        (query, position[key], grade)
        for query, name in enumerate(names)
        for key, grade in qrels.get(name, {}).items()
        if grade > 0 and key in position
    ]
    query, place, grade = np.array(entries, dtype=np.int64).reshape(-1, 3).T.copy()
    return _Judged(query, place, grade, np.searchsorted(query, np.arange(len(names) + 1)))


def _blocks(rows: IntArray) -> list[IntArray]:
    return [rows[start : start + TILE[0]] for start in range(0, len(rows), TILE[0])]


def _filled(vectors: torch.Tensor, rows: int) -> torch.Tensor:
    return vectors if len(vectors) == rows else functional.pad(vectors, (0, 0, 0, rows - len(vectors)))


def _corpus_matrix(passages: Sequence[Mapping[str, str]], model: RetrievalModel, ready: Callable[[Any], torch.Tensor]) -> torch.Tensor:
    parts = (ready(model.encode_corpus(passages[start : start + ENCODED])) for start in range(0, len(passages), ENCODED))
    first = next(parts)
    matrix = torch.empty((len(passages), first.shape[1]), dtype=first.dtype)
    matrix[: len(first)] = first
    row = len(first)
    for part in parts:
        matrix[row : row + len(part)] = part
        row += len(part)
    return matrix


def _normalised(vectors: np.ndarray | torch.Tensor) -> torch.Tensor:
    """As BEIR's `cos_sim` does once more, in the dtype of the vectors."""
    return functional.normalize(torch.as_tensor(vectors), p=2, dim=1)


@dataclass(frozen=True)
class _Block:
    """A block of `queries` [n, dim]; per query its judged passages with their similarities, and its namesake (-1: none) with its own."""

    queries: torch.Tensor
    judged: Sequence[IntArray]
    values: Sequence[FloatArray]
    own: IntArray
    own_values: FloatArray

    def compared(self, passages: torch.Tensor, chunk: int) -> tuple[list[IntArray], list[IntArray]]:
        """Per query, for each of its judged passages: how many of all passages are above it, and how many are equal, itself among them."""
        above, equal = self._zeros(), self._zeros()
        for start in range(0, len(passages), chunk):
            scores = similarities(self.queries, passages[start : start + chunk]).numpy()
            for query, row in enumerate(scores):
                values = self.values[query]
                near = row[row >= values.min(initial=np.inf)]
                above[query] += (near > values[:, None]).sum(axis=1)
                equal[query] += (near == values[:, None]).sum(axis=1)
        return above, equal

    def decided(self, screened: Screened, passages: torch.Tensor) -> tuple[list[IntArray], list[IntArray]]:
        """What `compared` gives, from products with the near passages alone; `above` may be too low where it is over `KEPT`."""
        values = padded(self.values)
        kept = screened.above <= KEPT
        near = screened.near & kept[screened.query]
        pairs = np.flatnonzero(near.any(axis=1))
        query, near = screened.query[pairs], near[pairs]
        place, column = np.unique(screened.passage[pairs], return_inverse=True)
        exact = similarities(self.queries, passages[torch.from_numpy(place)]).numpy()[query, column][:, None]
        above, equal = screened.above.copy(), np.zeros_like(screened.above)
        np.add.at(above, query, near & (exact > values[query]))
        np.add.at(equal, query, near & (exact == values[query]))
        return self._cut(above), self._cut(equal)

    def ranks(self, above: Sequence[IntArray], equal: Sequence[IntArray], namesakes: Namesakes) -> list[IntArray | None]:
        """Per query the ranks of its judged passages, 0 where one is not kept; None where another passage has a kept one's similarity.

        The rank is one more than the number of passages above: none needs to be selected for it. The query's namesake is not counted.
        """
        ranks: list[IntArray | None] = []
        for query, places in enumerate(self.judged):
            among_all = 1 + above[query]
            rank = among_all - (self.own_values[query] > self.values[query])
            rank[((rank if namesakes == "first" else among_all) > KEPT) | (places == self.own[query])] = 0
            ranks.append(None if (equal[query][rank > 0] > 1).any() else rank)
        return ranks

    def _cut(self, counts: IntArray) -> list[IntArray]:
        return [row[: len(values)] for row, values in zip(counts, self.values, strict=True)]

    def _zeros(self) -> list[IntArray]:
        return [np.zeros(len(each), dtype=np.int64) for each in self.values]


def _block(queries: torch.Tensor, passages: torch.Tensor, judged: Sequence[IntArray], own: IntArray) -> _Block:
    scores = similarities(queries, passages[torch.from_numpy(np.concatenate(judged))]).numpy()
    bounds = np.cumsum([0, *map(len, judged)])
    values = [row[start:end] for row, (start, end) in zip(scores, itertools.pairwise(bounds), strict=True)]
    named = (own >= 0).any()
    own_scores = np.diagonal(similarities(queries, passages[torch.from_numpy(own)]).numpy()) if named else np.zeros(len(own), np.float32)
    return _Block(queries, judged, values, own, np.where(own < 0, -np.inf, own_scores).astype(np.float32))


def _screened(blocks: Sequence[_Block], passages: torch.Tensor, device: torch.device, chunk: int) -> Iterable[Screened] | None:
    """The blocks as the device counts them. None where that is not worth it, or the device has no room: the CPU comes to the same ranks."""
    if sum(len(block.queries) for block in blocks) * passages.numel() < WORTH_A_DEVICE:
        return None
    asked = [(block.queries, block.judged, block.values) for block in blocks]
    try:
        return screen_blocks(asked, passages, device, chunk=chunk, kept=KEPT)
    except RuntimeError as error:
        warnings.warn(f"the search goes on without {device}, with equal scores: {str(error).partition(chr(10))[0]}", stacklevel=2)
        return None


def _offered(queries: torch.Tensor, passages: torch.Tensor, by_id: IntArray, own: IntArray, chunk: int) -> IntArray:
    """[queries, offered] keys of the passages that BEIR puts on each query's heap, in its order; `DROPPED` for the query's namesake.

    A key is the similarity (as an integer of the same order) in the upper half and the passage's place among the sorted ids in
    the lower: keys compare as BEIR's (similarity, id) and, descending, are in trec_eval's order.
    """
    keys = []
    for start in range(0, len(passages), chunk):
        scores = similarities(queries, passages[start : start + chunk])
        values, columns = torch.topk(scores, min(KEPT + 1, scores.shape[1]), dim=1, largest=True, sorted=False)
        lower = by_id[start + columns.numpy()]
        keys.append(np.where(lower == own[:, None], DROPPED, (_ordered(values) << 32) | lower))
    return np.concatenate(keys, axis=1)


def _ordered(values: torch.Tensor) -> IntArray:
    """Integers that compare as the floats do (-0.0 as 0.0)."""
    bits = (values.float() + 0.0).numpy().view(np.int32)
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64)


def _followed(offered: IntArray, judged: Sequence[IntArray], own: IntArray) -> tuple[list[IntArray], IntArray]:
    """Per query the ranks of its judged passages (places among the sorted ids), 0 where one is not kept; and its `Ranks.first`."""
    best = np.sort(offered, axis=1)[:, ::-1][:, :KEPT]
    called = (best & 0xFFFFFFFF) == own[:, None]
    if called.any():  # the namesake was kept, and is dropped from what was
        best = np.sort(np.where(called, DROPPED, best), axis=1)[:, ::-1]
    query = np.repeat(np.arange(len(judged)), [len(passages) for passages in judged])
    passage = np.concatenate(judged)
    same = ((best[query] & 0xFFFFFFFF) == passage[:, None]) & (best[query] != DROPPED)
    rank = np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0)
    ranks, _ = _tabled(query, rank, rank, rows=len(judged))
    return np.split(rank, np.searchsorted(query, np.arange(1, len(judged)))), _first_ranks(offered, best, ranks)


def _tabled(query: IntArray, rank: IntArray, grade: IntArray, *, rows: int) -> tuple[IntArray, IntArray]:
    """`Ranks.ranks` and `Ranks.grades` from lists with an entry per judged passage."""
    kept = rank > 0
    query, rank, grade = query[kept], rank[kept], grade[kept]
    order = np.lexsort((rank, query))
    query, rank, grade = query[order], rank[order], grade[order]
    column = np.arange(len(query)) - np.searchsorted(query, query)
    ranks, grades = (np.zeros((rows, int(column.max(initial=-1)) + 1), dtype=np.int64) for _ in range(2))
    ranks[query, column], grades[query, column] = rank, grade
    return ranks, grades


def _first_ranks(offered: IntArray, best: IntArray, ranks: IntArray) -> IntArray:
    """Each query's first relevant rank in a stable sort by similarity of BEIR's heap, as mteb's MRR has it; 0 where none was kept.

    Only where a relevant passage shares the similarity of irrelevant ones does the heap's order matter; there it is replayed.
    """
    if not ranks.shape[1]:
        return np.zeros(len(best), dtype=np.int64)
    rows = np.flatnonzero(ranks[:, 0])
    level = best[rows, ranks[rows, 0] - 1] >> 32
    above = ((best[rows] >> 32) > level[:, None]).sum(axis=1)
    equal = ((best[rows] >> 32) == level[:, None]).sum(axis=1)
    hits = ((ranks[rows] > above[:, None]) & (ranks[rows] <= (above + equal)[:, None])).sum(axis=1)
    first = np.zeros(len(best), dtype=np.int64)
    first[rows] = above + 1
    for index in np.flatnonzero(hits < equal):
        row = rows[index]
        wanted = set(best[row, ranks[row][ranks[row] > 0] - 1].tolist())
        tied = [key for key in _heap(offered[row].tolist()) if key >> 32 == level[index]]
        first[row] += next(place for place, key in enumerate(tied) if key in wanted)
    return first


def _heap(offered: list[int]) -> list[int]:
    """BEIR's heap at the end of its search, in the order of its list."""
    heap: list[int] = []
    for key in offered:
        if key != DROPPED:
            if len(heap) < KEPT:
                heapq.heappush(heap, key)
            else:
                heapq.heappushpop(heap, key)
    return heap
