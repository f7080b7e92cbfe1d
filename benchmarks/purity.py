"""Are vectors equal to the bit, whatever else is encoded? python benchmarks/purity.py [--texts 400]

The same texts shuffled, in two calls, every text twice, in shards that other processes encode, and resumed from a store that had half of
them. In each dtype; on the GPU if there is one, else on the CPU; with each ladder.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from measuring import load_encoder, report, say_machine
from synthetic import TINY, Shape, build_model, write_texts

from harness.core.benchmarks import load_benchmark
from harness.core.spec import Dtype, EncodingSpec, Ladder, ModelSpec
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.device import TORCH_DTYPE, find_device
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.lengths import fields

MAX_LEN = 512
SHAPE = Shape(layers=2, hidden=128, heads=4, intermediate=512, dim=256)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the share of rows that are equal; exits with an error if one is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=400, help="of the lengths that C-MTEB is modelled to have")
    parser.add_argument("--tiny", action="store_true", help="a model that only shows that everything works")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--ladders", nargs="+", choices=get_args(Ladder), help="one after the other (default: all that the device has)")
    chosen = parser.parse_args(arguments)
    say_machine()
    device = find_device(chosen.device)
    draw = np.random.default_rng(0)
    every = np.concatenate([field.tokens(draw, share=0.001) for task in load_benchmark().tasks for field in fields(task)])
    texts = write_texts(np.minimum(draw.permutation(every)[: chosen.texts], 1500), draw)
    tokens = 512 if device.type == "cpu" else 16384
    ladders = ("exact", "padded", "packed") if device.type == "cpu" else ("exact", "packed")
    settings = [EncodingSpec(ladder=ladder, batch_tokens=tokens) for ladder in chosen.ladders or ladders]
    worst = 1.0
    with tempfile.TemporaryDirectory() as folder:
        model = build_model(Path(folder) / "model", TINY if chosen.tiny else SHAPE)
        for setting in settings:
            for dtype in TORCH_DTYPE:
                worst = min(worst, compare(texts, _Setting(model, dtype, setting, device), Path(folder)))
    if worst < 1:
        raise SystemExit("vectors depend on what is around them")


class _Setting:
    """The arguments of an encoder, small enough to send to another process."""

    def __init__(self, model: ModelSpec, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> None:
        self.model, self.dtype, self.encoding, self.device = model, dtype, encoding, device

    def load(self, store: VectorStore | None = None) -> CanonicalEncoder:
        return load_encoder(self.model, dtype=self.dtype, max_len=MAX_LEN, encoding=self.encoding, device=self.device, store=store)


def compare(texts: list[str], setting: _Setting, folder: Path) -> float:
    """The share of rows with equal bits, over all ways."""
    encoder = setting.load()
    expected = encoder.encode(texts)
    shares = []
    for way, vectors in _ways(texts, setting, encoder, folder):
        equal = (vectors.view(torch.uint8) == expected.view(torch.uint8)).all(dim=1)
        shares.append(float(equal.double().mean()))
        if shares[-1] < 1:
            print(f"  {way}: {int((~equal).sum())} of {len(texts)} rows differ")
    label = f"{setting.device.type}, {setting.dtype}, {setting.encoding.ladder}"
    report(f"rows equal to the bit under {len(shares)} ways, {label}", shares, at_least=1.0)
    return min(shares)


def _ways(texts: list[str], setting: _Setting, encoder: CanonicalEncoder, folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    half = len(texts) // 2
    order = np.random.default_rng(1).permutation(len(texts)).tolist()
    shuffled = torch.empty_like(encoder.encode(texts[:1]).expand(len(texts), -1))
    shuffled[order] = encoder.encode([texts[index] for index in order])
    yield "shuffled", shuffled
    yield "in two calls", torch.cat([encoder.encode(texts[:half]), encoder.encode(texts[half:])])
    yield "every text twice", encoder.encode([text for text in texts for _ in range(2)])[1::2]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        shards = [texts[0::2], texts[1::2]]
        sharded = torch.empty_like(shuffled)
        for start, part in enumerate(pool.map(_encode_shard, shards, [setting, setting])):
            sharded[start::2] = torch.from_numpy(part).view(TORCH_DTYPE[setting.dtype])
        yield "in shards", sharded
    store = VectorStore(folder / f"store-{setting.dtype}-{setting.encoding.ladder}")
    setting.load(store).encode(texts[:half])
    resumed = setting.load(store)
    yield "resumed", resumed.encode(texts)
    if resumed.counters.found < len(set(texts[:half])):
        raise SystemExit(f"the store gave {resumed.counters.found} vectors, it had {half}")


def _encode_shard(texts: list[str], setting: _Setting) -> np.ndarray:
    return setting.load().encode(texts).view(torch.uint8).numpy()


if __name__ == "__main__":
    main()
