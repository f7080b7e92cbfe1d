"""Is a token's row the same to the bit in every size of pack, whatever texts are beside it? Compared on the device at hand, not assumed.

The texts of the largest pack are run again in packs of every other size, in other orders and with some of them left out, through the
embeddings, a layer of each kind (those of a kind have the same shapes), the pooling and the modules behind it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch.nn.attention import sdpa_kernel

from harness.core.spec import EncodingSpec
from harness.evaluate.encode.canonical.layout import Ids, PackLayout
from harness.evaluate.encode.canonical.packed import PackedEncoder
from harness.evaluate.encode.canonical.shapes import ShapeLadder, packing
from harness.evaluate.encode.device import attention_kernel, fewer_tokens, memory_for
from harness.evaluate.encode.model.loading import LoadedModel

log = logging.getLogger(__name__)

_LARGEST_MINIMUM = 1024
"""A pack smaller than this may differ, and is filled up to the smallest that does not; if larger ones differ, texts are not packed."""


def find_ladder(model: LoadedModel, encoding: EncodingSpec, device: torch.device, *, max_len: int) -> tuple[ShapeLadder, str]:
    """The ladder of a setting for a loaded model and texts of up to `max_len` tokens, and in words what was found about packs: nothing
    where none were asked for.

    Where texts can't be packed, or a row would not be the same in every pack, the ladder is `exact`.
    """
    ladder = ShapeLadder(packing(encoding, model.packable.obstacle is None), model.max_positions)
    if encoding.ladder != "packed":
        return ladder, ""
    if not ladder.packs:
        return ladder, f"none, the ladder is exact: {model.packable.obstacle}"
    sizes = ladder.pack_sizes(max_len)
    with sdpa_kernel(attention_kernel(device, model.dtype, encoding.ladder)):
        smallest = smallest_equal(model.packed, sizes, device, vocabulary=model.vocabulary, longest=max_len)
    if smallest is None:
        log.warning("gpu.ladder=packed: on %s a row of a pack is not the same in packs of every size, so the ladder is exact", device)
        return ShapeLadder(replace(encoding, ladder="exact"), model.max_positions), "none, the ladder is exact: rows differ between packs"
    found = f"rows equal to the bit in packs of {smallest} to {sizes[-1]} tokens"
    return ShapeLadder(encoding, model.max_positions, smallest_pack=smallest), found


def smallest_equal(packed: PackedEncoder, sizes: list[int], device: torch.device, *, vocabulary: int, longest: int) -> int | None:
    """The smallest of the ascending sizes from which on every pack has rows equal to the bit; None where packs must not be used.

    `vocabulary`: token ids there are; `longest`: tokens that a text can have. Raises as `memory_for` does.
    """
    draw = np.random.default_rng(0)
    rows = _texts(draw, sizes[-1], vocabulary, longest)
    room = memory_for(f"a pack of {sizes[-1]} tokens", device, otherwise=fewer_tokens(max(longest, sizes[-1] // 2)))
    with torch.inference_mode(), _one_thread(device), room:
        expected = _Expected(packed, rows, sizes[-1], device)
        differs = torch.stack([expected.differ(_some(draw, rows, size), size) for size in sizes]).cpu().numpy()
    smallest = int(np.flatnonzero(differs)[-1]) + 1 if differs.any() else 0
    return sizes[smallest] if smallest < len(sizes) and sizes[smallest] <= max(_LARGEST_MINIMUM, sizes[0]) else None


def _texts(draw: np.random.Generator, tokens: int, vocabulary: int, longest: int) -> list[Ids]:
    """Texts of all lengths, as many of 8 tokens as of 80, that fill a pack; some of them short enough for the smallest."""
    rows, left = [], tokens
    while left > 0:
        length = min(left, longest, int(np.exp(draw.uniform(0, np.log(longest + 1)))))
        rows.append(draw.integers(0, vocabulary, size=length, dtype=np.int32))
        left -= length
    return rows


def _some(draw: np.random.Generator, rows: list[Ids], tokens: int) -> list[int]:
    """Places of texts that fit into a pack together, in a random order."""
    order = draw.permutation(len(rows))
    chosen: list[int] = []
    for place in order.tolist():
        if len(rows[place]) <= tokens:
            chosen.append(place)
            tokens -= len(rows[place])
    return chosen


class _Expected:
    """The rows of the largest pack."""

    def __init__(self, packed: PackedEncoder, rows: list[Ids], size: int, device: torch.device) -> None:
        self._packed, self._rows, self._device = packed, rows, device
        layout = packed.lay_out(rows, size, device)
        self._states, self._vectors = self._run(layout)
        starts = np.empty(len(rows), dtype=np.int64)
        starts[layout.order.cpu().numpy()] = layout.starts.cpu().numpy()
        self._tokens = [np.arange(start, start + len(row)) for start, row in zip(starts.tolist(), rows, strict=True)]

    def differ(self, chosen: list[int], size: int) -> torch.Tensor:
        """Whether any number differs when these texts alone are run, in a pack of this size; a scalar on the device."""
        layout = self._packed.lay_out([self._rows[place] for place in chosen], size, self._device)
        states, vectors = self._run(layout)
        in_pack = [chosen[place] for place in layout.order.tolist()]
        tokens = torch.from_numpy(np.concatenate([self._tokens[place] for place in in_pack])).to(self._device)
        texts = torch.tensor(chosen, device=self._device)
        return (states[: layout.real] != self._states[tokens]).any() | (vectors != self._vectors[texts]).any()

    def _run(self, layout: PackLayout) -> tuple[torch.Tensor, torch.Tensor]:
        """States and vectors as whole numbers, so that bits are compared."""
        states = self._packed.states(layout, few_layers=True)
        return _bits(states), _bits(self._packed.vectors(states, layout))


def _bits(numbers: torch.Tensor) -> torch.Tensor:
    return numbers.view(torch.int32 if numbers.element_size() == 4 else torch.int16)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On a CPU a batch runs on one thread."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
