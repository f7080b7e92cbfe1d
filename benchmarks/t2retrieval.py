"""Exact search of T2Retrieval's size in bounded memory: python benchmarks/t2retrieval.py [--passages 118605 --queries 22812 --dim 1792]

Random vectors, in a separate process. Its peak memory minus the vectors is what search, texts, Python and packages take.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import report, say_machine, torch_threads

from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.score.adapter import EmbeddingModel, RetrievalModel
from harness.evaluate.score.search import search_metrics

GOAL_GIB = 4
INSIDE = "BENCH_T2RETRIEVAL_INSIDE"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=118_605)
    parser.add_argument("--queries", type=int, default=22_812)
    parser.add_argument("--dim", type=int, default=1792)
    parser.add_argument("--dtype", choices=list(TORCH_DTYPE), default="fp32", help="of the vectors and of the products")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    chosen = parser.parse_args(arguments)
    if INSIDE in os.environ:
        with torch_threads(chosen.threads):
            search(chosen.passages, chosen.queries, chosen.dim, TORCH_DTYPE[chosen.dtype])
        return
    say_machine()
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = [sys.executable, str(Path(__file__).resolve()), *given]
    subprocess.run(command, env=os.environ | {INSIDE: "1"}, check=True)


def search(passages: int, queries: int, dim: int, dtype: torch.dtype) -> None:
    """One search over random vectors, and the peak memory of the process."""
    draw = np.random.default_rng(0)
    corpus = {f"p{number}": {"text": f"passage {number}"} for number in range(passages)}
    asked = {f"q{number}": f"query {number}" for number in range(queries)}
    qrels = {query: {f"p{number}": 1 for number in draw.choice(passages, size=5, replace=False)} for query in asked}
    generator = torch.Generator().manual_seed(0)
    vectors = torch.empty(passages + queries, dim, dtype=dtype)
    for start in range(0, len(vectors), 4096):
        vectors[start : start + 4096] = torch.randn(len(vectors[start : start + 4096]), dim, generator=generator)

    def rows(texts: Sequence[str]) -> torch.Tensor:
        kinds = ((text[0] == "q") * passages + int(text.rpartition(" ")[2]) for text in texts)
        return vectors[torch.tensor(list(kinds))]

    model = RetrievalModel(EmbeddingModel(rows, dim=None, dtype="model"))
    before = _peak_gib()
    started = time.perf_counter()
    metrics = search_metrics(corpus, asked, qrels, model)
    seconds = time.perf_counter() - started
    size = vectors.nbytes / 2**30
    products = 2 * passages * queries * dim
    print(f"{passages:,} x {queries:,} x {dim} in {dtype}: {seconds:.1f} s, {products / seconds / 1e9:.0f} GFLOP/s; ", end="")
    print(f"vectors {size:.2f} GiB, before the search {before:.2f} GiB, peak {_peak_gib():.2f} GiB; ndcg_at_10 {metrics['ndcg_at_10']}")
    report("peak memory beyond the vectors, GiB", [_peak_gib() - size], at_most=GOAL_GIB)


def _peak_gib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
