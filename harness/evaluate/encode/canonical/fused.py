"""Kernels for texts that lie end to end in one batch, in Triton: attention within each text, residual add with LayerNorm, mean pooling.

A row of each comes from its own text alone, by a sequence of operations that the text's length fixes: which texts share the batch, and how
many, changes no bit. Half precision on a GPU; on CPU tensors they run in Triton's interpreter (`TRITON_INTERPRET=1`), slowly.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from harness.evaluate.encode.canonical.kernels import Kernels, Reach
from harness.evaluate.encode.canonical.layout import BlockSize, PackLayout

VERSION = 3
"""Changes with what these kernels compute, so that stored vectors of other bits have other names."""

_LOG2_E = 1.4426950408889634  # exp2 is the hardware's own


@triton.jit
def _step(
    total, norm, largest, query, keys, values, row, column, done, length, scale,
    key_row: tl.constexpr, value_row: tl.constexpr, before: tl.constexpr, after: tl.constexpr, masked: tl.constexpr,
):  # fmt: skip
    """Takes the queries through the block of keys that begins at `done`: sums of weighted values, sums of weights, largest scores."""
    if masked:
        key_place = done + column
        inside = key_place < length
        seen = inside[None, :]
        if after >= 0:
            seen = seen & (key_place[None, :] <= row[:, None] + after)
        if before >= 0:
            seen = seen & (key_place[None, :] >= row[:, None] - before)
        key = tl.load(keys + done * key_row, mask=inside[None, :], other=0.0)
        scores = tl.where(seen, tl.dot(query, key) * scale, -float("inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        base = larger
        if before >= 0:  # a query may see no key of its first block
            base = tl.where(larger == -float("inf"), 0.0, larger)
        weights = tl.exp2(scores - base[:, None])
        shrink = tl.exp2(largest - base)
        value = tl.load(values + done * value_row, mask=inside[:, None], other=0.0)
    else:
        scores = tl.dot(query, tl.load(keys + done * key_row))
        larger = tl.maximum(largest, tl.max(scores, 1) * scale)
        weights = tl.exp2(scores * scale - larger[:, None])
        shrink = tl.exp2(largest - larger)
        value = tl.load(values + done * value_row)
    total = total * shrink[:, None] + tl.dot(weights.to(value.dtype), value)
    return total, norm * shrink + tl.sum(weights, 1), larger


@triton.jit
def _attention(
    queries, keys, values, out, starts, lengths, blocks, scale, query_head, key_head, value_head,
    query_row: tl.constexpr, key_row: tl.constexpr, value_row: tl.constexpr, heads: tl.constexpr, head_dim: tl.constexpr,
    shared: tl.constexpr, before: tl.constexpr, after: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, one: tl.constexpr,
):  # fmt: skip
    """A program takes `rows` queries of one text and head through the keys that they reach, `columns` at a time (`one`: in a single step).

    `before`, `after`: as in `Reach`, -1 for all. `shared`: heads of queries with the same keys. The strides are of rows and of heads.
    """
    text = tl.load(blocks + 2 * tl.program_id(0))
    first = tl.load(blocks + 2 * tl.program_id(0) + 1)
    start, length = tl.load(starts + text).to(tl.int64), tl.load(lengths + text)
    head = tl.program_id(1).to(tl.int64)
    row, column, place = first + tl.arange(0, rows), tl.arange(0, columns), tl.arange(0, head_dim)
    base = queries + start * query_row + head * query_head
    query = tl.load(base + row[:, None] * query_row + place[None, :], mask=row[:, None] < length, other=0.0)
    keys += start * key_row + head // shared * key_head + column[None, :] * key_row + place[:, None]
    values += start * value_row + head // shared * value_head + column[:, None] * value_row + place[None, :]
    total = tl.zeros((rows, head_dim), dtype=tl.float32)
    norm = tl.zeros((rows,), dtype=tl.float32)
    largest = tl.full((rows,), -float("inf"), dtype=tl.float32)
    if one:
        total, norm, largest = _step(
            total, norm, largest, query, keys, values, row, column, 0, length, scale, key_row, value_row, before, after, True
        )  # fmt: skip
    elif before < 0:  # blocks that all of the queries see first, without a mask
        high = length
        if after >= 0:
            high = tl.minimum(length, first + rows + after)
        whole = length // columns * columns
        if after >= 0:
            whole = tl.minimum(length, first + 1 + after) // columns * columns
        for done in range(0, whole, columns):
            total, norm, largest = _step(
                total, norm, largest, query, keys, values, row, column, done, length, scale, key_row, value_row, before, after, False
            )  # fmt: skip
        for done in range(whole, high, columns):
            total, norm, largest = _step(
                total, norm, largest, query, keys, values, row, column, done, length, scale, key_row, value_row, before, after, True
            )  # fmt: skip
    else:
        high = length
        if after >= 0:
            high = tl.minimum(length, first + rows + after)
        low = tl.maximum(first - before, 0) // columns * columns
        for done in range(low, high, columns):
            total, norm, largest = _step(
                total, norm, largest, query, keys, values, row, column, done, length, scale, key_row, value_row, before, after, True
            )  # fmt: skip
    target = out + ((start + row[:, None]) * heads + head) * head_dim + place[None, :]
    tl.store(target, (total / norm[:, None]).to(out.dtype.element_ty), mask=row[:, None] < length)


@triton.jit
def _add_norm(
    inputs, residual, weight, bias, out, epsilon, width: tl.constexpr, block: tl.constexpr, adds: tl.constexpr
):  # fmt: skip
    """A program makes one row: the sum, rounded as torch rounds it, then LayerNorm over the row in fp32."""
    column = tl.arange(0, block)
    inside = column < width
    row = tl.program_id(0).to(tl.int64) * width
    numbers = tl.load(inputs + row + column, mask=inside, other=0.0).to(tl.float32)
    if adds:
        other = tl.load(residual + row + column, mask=inside, other=0.0).to(tl.float32)
        numbers = (numbers + other).to(out.dtype.element_ty).to(tl.float32)
    apart = tl.where(inside, numbers - tl.sum(numbers, 0) / width, 0.0)
    scale = 1 / tl.sqrt(tl.sum(apart * apart, 0) / width + epsilon)
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(out + row + column, (apart * scale * factor + shift).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _mean(states, starts, lengths, out, width, rows: tl.constexpr, columns: tl.constexpr):
    """A program adds up `columns` numbers of each token of a text, `rows` tokens at a time, in fp32."""
    start, length = tl.load(starts + tl.program_id(0)).to(tl.int64), tl.load(lengths + tl.program_id(0))
    row, column = tl.arange(0, rows), tl.program_id(1) * columns + tl.arange(0, columns)
    inside = column < width
    base = states + (start + row[:, None]) * width + column[None, :]
    total = tl.zeros((columns,), dtype=tl.float32)
    for done in range(0, length, rows):
        tokens = tl.load(base + done * width, mask=(row[:, None] + done < length) & inside[None, :], other=0.0)
        total += tl.sum(tokens.to(tl.float32), 0)
    mean = (total / length).to(out.dtype.element_ty)
    tl.store(out + tl.program_id(0).to(tl.int64) * width + column, mean, mask=inside)


def stages(size: BlockSize, head_dim: int) -> int:
    """Blocks of keys that are loaded ahead, so few that wide heads fit into the shared memory of an A10 (99 KiB)."""
    return max(1, min(size.stages, 256 // head_dim))


class FusedKernels(Kernels):
    """The same by Triton, for heads of 16, 32, 64, 128 or 256 numbers."""

    name = f"triton {triton.__version__} text attention {VERSION}"

    def attention(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackLayout, *, reach: Reach, scale: float
    ) -> torch.Tensor:
        """As `Kernels` says."""
        tokens, heads, head_dim = query.shape
        query, key, value = (part if part.stride(2) == 1 else part.contiguous() for part in (query, key, value))
        out = torch.empty((tokens, heads, head_dim), dtype=query.dtype, device=query.device)
        out[layout.real :].zero_()
        for size, blocks in layout.blocks:
            _attention[(len(blocks), heads)](
                *(query, key, value, out, layout.starts, layout.lengths, blocks, scale * _LOG2_E),
                *(query.stride(1), key.stride(1), value.stride(1)),
                query_row=query.stride(0),
                key_row=key.stride(0),
                value_row=value.stride(0),
                heads=heads,
                head_dim=head_dim,
                shared=heads // key.shape[1],
                before=-1 if reach.before is None else reach.before,
                after=-1 if reach.after is None else reach.after,
                rows=size.rows,
                columns=size.columns,
                one=size.one,
                num_warps=size.warps,
                num_stages=stages(size, head_dim),
            )
        return out

    def add_norm(self, inputs: torch.Tensor, residual: torch.Tensor | None, norm: torch.nn.LayerNorm) -> torch.Tensor:
        """LayerNorm of the sum, [tokens, hidden]; of the inputs alone without a `residual`."""
        out = torch.empty_like(inputs)
        width = inputs.shape[1]
        _add_norm[(len(inputs),)](
            *(inputs, inputs if residual is None else residual, norm.weight, norm.bias, out, norm.eps),
            width=width,
            block=triton.next_power_of_2(width),
            adds=residual is not None,
            num_warps=4,
        )
        return out

    def mean(self, states: torch.Tensor, layout: PackLayout) -> torch.Tensor:
        """The mean of each text's tokens, [texts, hidden]."""
        texts, width = len(layout.lengths), states.shape[1]
        out = torch.empty((texts, width), dtype=states.dtype, device=states.device)
        _mean[(texts, triton.cdiv(width, 128))](states, layout.starts, layout.lengths, out, width, rows=32, columns=128, num_warps=4)
        return out
