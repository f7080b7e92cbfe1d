"""Which block sizes suit the attention kernel of packs? python benchmarks/attention.py, on a GPU with Triton

Milliseconds for 16,384 tokens in texts of one length each (16 heads of 64 numbers, bf16), summed over the lengths named; and of packs of
random texts in other orders, with texts left out, how many texts had other bits than in the first pack: that must be none.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from measuring import NO_DEVICE, say_machine

from harness.evaluate.encode.canonical.kernels import Kernels, Reach
from harness.evaluate.encode.canonical.layout import BlockSize, PackLayout, blocks_of, lay_out

TOKENS, HEADS, HEAD_DIM = 16_384, 16, 64

_CANDIDATES: dict[tuple[int, ...], list[BlockSize]] = {
    (4, 8, 16): [BlockSize(16, 16, True, warps, 1) for warps in (1, 2)],
    (20, 24, 32): [BlockSize(32, 32, True, warps, 1) for warps in (1, 2)],
    (40, 48, 64): [BlockSize(64, 64, True, warps, 1) for warps in (2, 4)],
    (70, 100, 128): [BlockSize(128, 128, True, 4, 1), BlockSize(64, 128, True, 4, 1), BlockSize(64, 64, False, 4, 3)],
    (150, 200, 256, 400, 512): [BlockSize(64, 64, False, 4, stages) for stages in (1, 2, 3, 4)] + [BlockSize(128, 64, False, 8, 3)],
    (700, 900, 1024): [BlockSize(64, 64, False, 4, stages) for stages in (1, 2, 3)] + [BlockSize(128, 64, False, 8, 3)],
}
"""Lengths -> sizes that are tried for them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each group of lengths and size; exits with an error where a text's bits depend on its pack."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(arguments)
    say_machine()
    if not torch.cuda.is_available():
        print(NO_DEVICE)
        return
    from harness.evaluate.encode.canonical.fused import FusedKernels  # needs Triton

    device, kernels = torch.device("cuda"), FusedKernels()
    torch.manual_seed(0)
    qkv = torch.randn(TOKENS, 3, HEADS, HEAD_DIM, device=device, dtype=torch.bfloat16)
    worst = 0
    for lengths, sizes in _CANDIDATES.items():
        for size in sizes:
            layouts = [_layout(np.full(TOKENS // length, length), size, device) for length in lengths]
            times = [_milliseconds(lambda layout=layout: _attend(kernels, qkv, layout)) for layout in layouts]  # type: ignore[misc]
            differing = _differing(kernels, qkv, size, lengths)
            worst += differing
            print(f"{', '.join(map(str, lengths))} tokens, {size}: {sum(times):.3f} ms, {differing} texts with other bits", flush=True)
    if worst:
        raise SystemExit("a text's bits depend on what is beside it")


def _layout(lengths: npt.NDArray[np.int64], size: BlockSize, device: torch.device) -> PackLayout:
    """A pack of texts of these lengths, in ascending order, all taken in blocks of one size."""
    layout = lay_out([np.zeros(length, dtype=np.int32) for length in lengths.tolist()], TOKENS, device)
    blocks = torch.from_numpy(blocks_of(np.sort(lengths).astype(np.int32), 0, size)).to(device)
    return replace(layout, blocks=((size, blocks),))


def _attend(kernels: Kernels, qkv: torch.Tensor, layout: PackLayout) -> torch.Tensor:
    query, key, value = qkv.unbind(1)
    return kernels.attention(query, key, value, layout, reach=Reach(), scale=HEAD_DIM**-0.5)


def _differing(kernels: Kernels, qkv: torch.Tensor, size: BlockSize, lengths: tuple[int, ...]) -> int:
    draw = np.random.default_rng(0)
    every = np.sort(draw.integers(min(lengths), max(lengths) + 1, size=TOKENS // max(lengths)))
    texts = [qkv[start : start + length].clone() for start, length in zip(draw.integers(0, TOKENS - 1024, len(every)), every, strict=True)]
    expected: dict[int, torch.Tensor] = {}
    differing = 0
    for turn in range(12):
        chosen = np.flatnonzero(draw.random(len(every)) < (0.5 if turn % 3 == 2 else 1))
        chosen = draw.permutation(chosen)
        chosen = chosen[np.argsort(every[chosen], kind="stable")]
        real = int(every[chosen].sum())
        pack = torch.randn_like(qkv)
        pack[:real] = torch.cat([texts[place] for place in chosen])
        out = _attend(kernels, pack, _layout(every[chosen], size, qkv.device))
        for place, rows in zip(chosen.tolist(), torch.split(out[:real], every[chosen].tolist()), strict=True):
            differing += not torch.equal(expected.setdefault(place, rows), rows)
    return differing


def _milliseconds(action: Callable[[], object], times: int = 20) -> float:
    action()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(times):
        action()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / times


if __name__ == "__main__":
    main()
