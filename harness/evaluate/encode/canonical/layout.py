"""Where the texts of a pack lie: token ids end to end, the shorter texts first, padded at the end to a total that was proven."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Ids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class BlockSize:
    """How attention takes a text: `rows` queries at a time against `columns` keys at a time, or all keys in `one` step."""

    rows: int
    columns: int
    one: bool
    warps: int
    stages: int


_SIZES = {  # by the number of a text's tokens, and by nothing else: it decides the bits
    16: BlockSize(16, 16, True, 1, 1),
    32: BlockSize(32, 32, True, 1, 1),
    64: BlockSize(64, 64, True, 4, 1),
}
_LONG = BlockSize(64, 64, False, 4, 3)
"""The fastest of those tried on an H200 (docs/performance.md)."""


@dataclass(frozen=True)
class PackLayout:
    """A pack on its device.

    `ids`, `positions`: [total] of tokens; 0 where no text is. `starts`, `lengths`: [texts], by ascending length. `groups`: texts of each
    length, as (length, number). `blocks`: of each size, [blocks, 2] of a text and its first query. `order`: [texts], the pack's texts as
    places in the rows that it was made of. `real`: tokens that belong to a text.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    starts: torch.Tensor
    lengths: torch.Tensor
    groups: tuple[tuple[int, int], ...]
    blocks: tuple[tuple[BlockSize, torch.Tensor], ...]
    order: torch.Tensor
    real: int


def lay_out(rows: Sequence[Ids], total: int, device: torch.device, *, padding: int | None = None) -> PackLayout:
    """The rows as a pack of `total` tokens; one copy to the device, not waited for. `padding`: as `positions_of` takes it."""
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    order = np.argsort(counts, kind="stable")
    lengths = counts[order].astype(np.int32)
    starts = np.zeros(len(rows), dtype=np.int32)
    np.cumsum(lengths[:-1], out=starts[1:])
    real = int(lengths.sum())
    ids, positions = np.zeros(total, dtype=np.int32), np.zeros(total, dtype=np.int32)
    ids[:real] = np.concatenate([rows[place] for place in order.tolist()])
    positions[:real] = positions_of(ids[:real], starts, lengths, padding)
    values, numbers = np.unique(lengths, return_counts=True)
    blocks = _blocks(lengths)
    parts = [ids, positions, starts, lengths, order.astype(np.int32), *(block.reshape(-1) for _, block in blocks)]
    pieces = _to_device(parts, device)
    return PackLayout(
        ids=pieces[0],
        positions=pieces[1],
        starts=pieces[2],
        lengths=pieces[3],
        groups=tuple(zip(values.tolist(), numbers.tolist(), strict=True)),
        blocks=tuple((size, piece.view(-1, 2)) for (size, _), piece in zip(blocks, pieces[5:], strict=True)),
        order=pieces[4],
        real=real,
    )


def positions_of(ids: Ids, starts: Ids, lengths: Ids, padding: int | None) -> Ids:
    """The position of each token in its text, from 0; in RoBERTa from `padding` + 1, and a token of this id, which a text may hold, has the
    position `padding` and is not counted (transformers 5.23, `create_position_ids_from_input_ids`)."""
    counted = np.ones(len(ids), dtype=np.int32) if padding is None else (ids != padding).astype(np.int32)
    so_far = np.cumsum(counted, dtype=np.int32)
    places = so_far - np.repeat(so_far[starts] - counted[starts], lengths)
    positions: Ids = places - 1 if padding is None else places * counted + np.int32(padding)
    return positions


def _to_device(parts: Sequence[Ids], device: torch.device) -> list[torch.Tensor]:
    """All in one copy, each from 16 bytes on: Triton compiles a kernel anew for pointers that are not."""
    apart = [np.zeros(-len(part) % 4, dtype=np.int32) for part in parts]
    flat = torch.from_numpy(np.concatenate([piece for pair in zip(parts, apart, strict=True) for piece in pair]))
    if device.type == "cuda":
        flat = flat.pin_memory().to(device, non_blocking=True)
    sizes = [len(part) + len(more) for part, more in zip(parts, apart, strict=True)]
    return [piece[: len(part)] for piece, part in zip(torch.split(flat, sizes), parts, strict=True)]


def _blocks(lengths: Ids) -> list[tuple[BlockSize, Ids]]:
    edges = [0, *np.searchsorted(lengths, list(_SIZES), side="right").tolist(), len(lengths)]
    parts = zip([*_SIZES.values(), _LONG], edges, edges[1:], strict=False)
    return [(size, blocks_of(lengths[low:high], low, size)) for size, low, high in parts if low < high]


def blocks_of(lengths: Ids, first_text: int, size: BlockSize) -> Ids:
    """[blocks, 2] of a text and its first query, for texts of ascending lengths; longer ones first, so the last to finish are short."""
    texts = np.arange(len(lengths), dtype=np.int32)[::-1]
    number = -(-lengths[texts] // size.rows)
    text = np.repeat(texts, number)
    first = (np.arange(len(text)) - np.repeat(np.cumsum(number) - number, number)) * size.rows
    return np.stack([text + first_text, first], axis=1).astype(np.int32)
