"""A decoder in canonical batches beside `SentenceTransformer.encode`: python benchmarks/causal.py [--layers 2 28] [--texts 64]

Random models of Qwen3-Embedding-0.6B's shape (hidden 1024, 16 heads of 128, 8 of keys, intermediate 3072), last-token pooling, left
padding; 28 layers are the whole model. One thread on a CPU, and user seconds: a shared machine moves the clock. Texts have the modelled
lengths of T2Retrieval's passages, each its own characters. Both sides encode the same texts in the same process, in turns. A ratio
above 1: the canonical encoder takes less time.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measuring import load_encoder, measure, report, say_machine, torch_threads
from sentence_transformers import SentenceTransformer
from synthetic import QWEN3, build_model, write_texts

from harness.core.benchmarks import load_benchmark
from harness.core.config import compose_config
from harness.core.spec import Dtype, ModelSpec
from harness.evaluate.encode.device import TORCH_DTYPE, find_device
from harness.evaluate.lengths import fields


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 28])
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--max-len", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32, help="of SentenceTransformer.encode")
    parser.add_argument("--dtype", choices=TORCH_DTYPE, default="fp32")
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args(arguments)
    say_machine()
    texts = _texts(chosen.texts)
    for layers in chosen.layers:
        with tempfile.TemporaryDirectory() as scratch:
            model = build_model(Path(scratch), replace(QWEN3, layers=layers))
            with torch_threads(1):
                ratios = compare(
                    model, texts, dtype=chosen.dtype, max_len=chosen.max_len, batch_size=chosen.batch_size, repeats=chosen.repeats
                )
        report(f"{layers} layers, {chosen.dtype}, {len(texts)} texts, max_len={chosen.max_len}: seconds of encode / canonical", ratios)


def compare(model: ModelSpec, texts: list[str], *, dtype: Dtype, max_len: int, batch_size: int, repeats: int) -> list[float]:
    """User seconds of `SentenceTransformer.encode` by those of the canonical encoder, per repeat; the vectors are compared first."""
    device = find_device()
    encoding = compose_config(["gpu=cpu" if device.type == "cpu" else "gpu=auto"]).gpu.encoding
    ours = load_encoder(model, dtype=dtype, max_len=max_len, encoding=encoding, device=device)
    theirs = SentenceTransformer(str(model.path), device=str(device), model_kwargs={"dtype": TORCH_DTYPE[dtype]})
    theirs.max_seq_length = max_len

    def encode() -> torch.Tensor:
        return theirs.encode(texts, batch_size=batch_size, convert_to_tensor=True, show_progress_bar=False).cpu()

    first, second = (torch.nn.functional.normalize(one().double(), dim=1) for one in (lambda: ours.encode(texts), encode))
    print(f"farthest of {len(texts)} vectors: {float((first - second).norm(dim=1).max()):.1e}", flush=True)
    ratios = []
    for _ in range(repeats):
        (_, their_cost), (_, own_cost) = measure(encode), measure(lambda: ours.encode(texts))
        print(f"encode: {their_cost}; canonical: {own_cost}", flush=True)
        ratios.append(their_cost.user / own_cost.user)
    return ratios


def _texts(count: int) -> list[str]:
    draw = np.random.default_rng(0)
    (corpus, _) = fields(load_benchmark().task("T2Retrieval"))
    return write_texts(draw.choice(corpus.tokens(draw, share=0.1), size=count), draw)


if __name__ == "__main__":
    main()
