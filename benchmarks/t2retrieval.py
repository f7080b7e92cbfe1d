"""Exact search of T2Retrieval's size in bounded memory: python benchmarks/t2retrieval.py [--passages 118605 --queries 22812 --dim 1792]

Random vectors, in a separate process; judged passages lie nearer to their query, so that they are found. Its peak memory minus the vectors
is what search, texts, Python and packages take. With --device cuda the GPU counts; --compare does it all on the CPU too, and stops unless
every value of every query is equal. On an H100 with 16 cores, within 60 s: python benchmarks/t2retrieval.py --device cuda --compare
Needs torch, numpy and threadpoolctl, and of the harness only its source.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measuring import report

from harness.evaluate.score.ranking import mean_metrics
from harness.evaluate.score.search import search_queries

GOAL_GIB = 4
INSIDE = "BENCH_T2RETRIEVAL_INSIDE"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=118_605)
    parser.add_argument("--queries", type=int, default=22_812)
    parser.add_argument("--dim", type=int, default=1792)
    parser.add_argument("--dtype", choices=list(DTYPES), default="fp32", help="of the vectors and of the products")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    parser.add_argument("--device", choices=("cuda", "cpu"), help="where passages are counted (default: in the products of the CPU)")
    parser.add_argument("--compare", action="store_true", help="with --device: search without it too, and compare all values")
    chosen = parser.parse_args(arguments)
    if INSIDE in os.environ:
        torch.set_num_threads(chosen.threads or torch.get_num_threads())
        search(chosen)
        return
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("needs a CUDA device, torch sees none: not measured")
        return
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "no GPU used"
    print(f"machine: {name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}", flush=True)
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = [sys.executable, str(Path(__file__).resolve()), *given]
    subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=True)


def search(chosen: argparse.Namespace) -> None:
    """One search over random vectors, or one with and one without the device; and the peak memory of the process."""
    model = _Vectors(chosen.passages, chosen.queries, chosen.dim, DTYPES[chosen.dtype])
    case = model.corpus, model.asked, model.qrels, model
    before = _peak_gib()
    device = torch.device(chosen.device) if chosen.device else None
    columns, seconds = _timed(*case, device)
    size = model.rows.nbytes / 2**30
    print(f"{chosen.passages:,} x {chosen.queries:,} x {chosen.dim} in {chosen.dtype}, counted on {chosen.device or 'no device'}: ", end="")
    print(f"{seconds:.1f} s, {2 * model.rows[: chosen.passages].numel() * chosen.queries / seconds / 1e9:.0f} GFLOP/s; ", end="")
    print(f"vectors {size:.2f} GiB, before the search {before:.2f} GiB, peak {_peak_gib():.2f} GiB", end="")
    if chosen.device == "cuda":
        print(f", on the GPU {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB", end="")
    print(f"; ndcg_at_10 {mean_metrics(columns)['ndcg_at_10']}", flush=True)
    report("peak memory beyond the vectors, GiB", [_peak_gib() - size], at_most=GOAL_GIB)
    if chosen.compare and device is not None:
        again, plain = _timed(*case, None)
        for name, column in again.items():
            np.testing.assert_array_equal(columns[name], column, err_msg=name)
        print(
            f"without the device {plain:.1f} s: {plain / seconds:.1f}x; all {len(again)} values of {len(model.asked):,} queries are equal"
        )


def _timed(corpus: Any, asked: Any, qrels: Any, model: Any, device: torch.device | None) -> tuple[dict[str, Any], float]:
    started = time.perf_counter()
    columns = search_queries(corpus, asked, qrels, model, device=device)
    return columns, time.perf_counter() - started


class _Vectors:
    """Texts that are numbers of rows, and vectors for them; the five judged passages of a query have cosines of .05 to .3 with it."""

    def __init__(self, passages: int, queries: int, dim: int, dtype: torch.dtype) -> None:
        draw, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
        self.corpus = {f"p{number}": {"text": str(number)} for number in range(passages)}
        self.asked = {f"q{number}": str(passages + number) for number in range(queries)}
        self.rows = torch.empty(passages + queries, dim, dtype=dtype)
        for part in self.rows.split(4096):
            part.copy_(torch.randn(len(part), dim, generator=generator))
        self.qrels: dict[str, dict[str, int]] = {}
        for number, query in enumerate(self.asked):
            judged = draw.choice(passages, size=min(5, passages), replace=False)
            self.qrels[query] = {f"p{place}": 1 for place in judged}
            pull = torch.from_numpy(draw.uniform(0.05, 0.3, size=(len(judged), 1))).to(dtype)
            self.rows[torch.from_numpy(judged)] += pull * self.rows[passages + number]

    def encode_queries(self, queries: Sequence[str]) -> torch.Tensor:
        return self.rows[torch.tensor([int(query) for query in queries])]

    def encode_corpus(self, corpus: Sequence[Mapping[str, str]]) -> torch.Tensor:
        return self.rows[torch.tensor([int(passage["text"]) for passage in corpus])]


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
