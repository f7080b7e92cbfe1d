"""A model of acge's shape, or of Qwen3-Embedding-0.6B's, with random weights on a GPU, against the path of the card's script:
python benchmarks/gpu.py [--every 16] [--model qwen3]

Texts have the lengths that C-MTEB is modelled to have, at full size: all texts of every 16th token count, so that the batches of a length
fill up as in a whole run. The other side calls `SentenceTransformer.encode` per field with the batch sizes of mteb and the card.
Encoding only, tokenising included, vectors on the CPU at the end. The share of the matrix-product rate counts the FLOP of the real tokens,
against a product of 8192 x 8192 x 8192 timed in the same run. Each ladder runs beside the script, and its vectors are compared with those
of the script's model in fp32 on a few texts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from measuring import NO_DEVICE, Cost, load_encoder, measure, report, say_machine
from seed_path import load_seed_model
from sentence_transformers import SentenceTransformer
from synthetic import SHAPES, build_model, write_texts
from torch.nn.functional import normalize

from harness.core.benchmarks import load_benchmark
from harness.core.config import resolve_run
from harness.core.costs import Counters
from harness.core.spec import EncodingSpec, Ladder, ModelSpec, RunSpec
from harness.core.tasks import TaskType
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device
from harness.evaluate.lengths import fields

BATCH_SIZE: dict[TaskType, int] = {
    "Classification": 32,
    "Clustering": 32,
    "PairClassification": 32,
    "Reranking": 512,
    "Retrieval": 512,
    "STS": 64,
}
"""Of mteb 1.1.1's evaluators; of Retrieval the card's script, of Reranking mteb's own."""

FieldTexts = list[tuple[int, list[str]]]
"""Batch size and texts of each field."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds, the ratio, and the share of the matrix-product rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=16, help="token counts apart whose texts are encoded")
    parser.add_argument("--share", type=float, default=1.0, help="of the benchmark's modelled texts")
    parser.add_argument("--max-len", type=int, default=1024)
    parser.add_argument("--dtype", choices=list(TORCH_DTYPE), default="bf16")
    parser.add_argument("--batch-tokens", type=int, help="of the harness (default: as configs/gpu/ has it for the device)")
    parser.add_argument(
        "--ladders", nargs="+", choices=get_args(Ladder), default=["exact", "packed"], help="of the harness, one after the other"
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only shows that everything works")
    parser.add_argument("--model", choices=SHAPES, default="acge", help="whose shape; the tiny ones only show that everything works")
    chosen = parser.parse_args(arguments)
    say_machine()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print(NO_DEVICE)
        return
    device, shape = torch.device(chosen.device), SHAPES[chosen.model]
    texts, counts = _modelled_texts(chosen.every, chosen.share, chosen.max_len)
    print(f"{len(counts):,} texts, {counts.sum() / 1e6:.2f} M tokens, {shape.flops(counts) / 1e12:.1f} TFLOP, {chosen.dtype}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(Path(folder), shape)
        info = describe_device(device)
        overrides = ["gpu=auto", "model=folder", f"model.path={model.path}", f"max_len={chosen.max_len}", f"dtype={chosen.dtype}"]
        overrides += [f"gpu.batch_tokens={chosen.batch_tokens}"] if chosen.batch_tokens else []
        spec = resolve_run(overrides, device_name=info.label, device_memory_gib=info.memory_gib)
        settings = [replace(spec.gpu.encoding, ladder=ladder) for ladder in chosen.ladders]
        encoders = [_load(model, spec, encoding, device) for encoding in settings]
        seed_model = load_seed_model(model, dtype=spec.dtype, max_len=spec.max_len, device=chosen.device)
        few = [text for _, part in texts for text in part[:3]]
        exact = load_seed_model(model, dtype="fp32", max_len=spec.max_len, device=chosen.device).encode(few, convert_to_tensor=True).cpu()
    _seed(seed_model, [(32, part[:64]) for _, part in texts])  # kernels are chosen and memory is taken before the clock
    for encoder in encoders:
        encoder.encode([text for _, part in texts for text in part[:8]])
        encoder.counters = Counters()
    rounds = [
        _round(encoders, seed_model, texts, device, TORCH_DTYPE[spec.dtype], 256 if "tiny" in chosen.model else 8192)
        for _ in range(chosen.repeats)
    ]
    for number, encoder in enumerate(encoders):
        label = f"{encoder.fingerprint.ladder}, {chosen.dtype}"
        report(f"tokens through the model / distinct real tokens, {label}", [encoder.counters.tokens / encoder.counters.real_tokens])
        report(f"seconds of the script / of the harness, {label}", [each.script.wall / each.harness[number].wall for each in rounds])
        shares = [shape.flops(counts) / each.harness[number].wall / each.rate for each in rounds]
        report(f"share of the {chosen.dtype} matrix-product rate, {label}", shares)
        tokenising = encoder.counters.tokenize_seconds / chosen.repeats
        print(f"tokenising, in a thread beside it: {tokenising:.1f} s of {rounds[-1].harness[number].wall:.1f} s", flush=True)
        distance = (normalize(encoder.encode(few).float()) - normalize(exact)).norm(dim=1).median()
        print(f"distance to fp32, median of {len(few)} texts, {label}: {float(distance):.2e}", flush=True)


@dataclass(frozen=True, kw_only=True)
class _Round:
    """Both sides, one after the other, and FLOP per second of a matrix product between them."""

    script: Cost
    harness: list[Cost]
    rate: float


def _load(model: ModelSpec, spec: RunSpec, encoding: EncodingSpec, device: torch.device) -> CanonicalEncoder:
    encoder, cost = measure(lambda: load_encoder(model, dtype=spec.dtype, max_len=spec.max_len, encoding=encoding, device=device))
    own = encoder.fingerprint
    print(f"{encoding}: {own.attention}; packs: {own.packs or 'none asked for'}; loaded and proven in {cost.wall:.1f} s", flush=True)
    return encoder


def _round(
    encoders: Sequence[CanonicalEncoder],
    seed_model: SentenceTransformer,
    texts: FieldTexts,
    device: torch.device,
    dtype: torch.dtype,
    size: int,
) -> _Round:
    rate = _matmul_rate(device, dtype, size)
    harness = [_harness(encoder, texts) for encoder in encoders]
    script = measure(lambda: _seed(seed_model, texts))[1]
    sides = "; ".join(f"harness, {encoder.fingerprint.ladder}: {cost}" for encoder, cost in zip(encoders, harness, strict=True))
    print(f"script: {script}; {sides}; {dtype} matrix product {rate / 1e12:.2f} TFLOP/s", flush=True)
    return _Round(script=script, harness=harness, rate=rate)


def _modelled_texts(every: int, share: float, max_len: int) -> tuple[FieldTexts, np.ndarray]:
    """Texts by field, and their token counts after truncation."""
    draw = np.random.default_rng(0)
    texts: FieldTexts = []
    counts = []
    for task in load_benchmark().tasks:
        for field in fields(task):
            every_count = field.tokens(draw, share=share)
            cut = np.minimum(every_count, max_len)
            kept = cut % every == 0
            texts.append((BATCH_SIZE[task.type], write_texts(np.minimum(every_count[kept], 2 * max_len), draw)))
            counts.append(cut[kept])
    return [(size, part) for size, part in texts if part], np.concatenate(counts)


def _harness(encoder: CanonicalEncoder, texts: FieldTexts) -> Cost:
    """A whole run encodes everything in one or two windows; so does this."""
    together = [text for _, part in texts for text in part]
    return measure(lambda: encoder.encode(together))[1]


def _seed(model: SentenceTransformer, texts: FieldTexts) -> None:
    for size, part in texts:
        model.encode(part, batch_size=size, convert_to_numpy=True)


def _matmul_rate(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP per second of the best of several products."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(10):
            left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, (time.perf_counter() - started) / 10)
    return 2 * size**3 / best


if __name__ == "__main__":
    main()
