"""Kernels for texts that lie end to end in one batch, in Triton: attention within each text, residual add with LayerNorm, mean pooling.

A row of each comes from its own text alone, by a sequence of operations that the text's length fixes: which texts share the batch, and how
many, changes no bit. Half precision on a GPU; on CPU tensors they run in Triton's interpreter (`TRITON_INTERPRET=1`), slowly.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from harness.evaluate.encode.layout import PackLayout

VERSION = 2
"""Changes with what these kernels compute, so that stored vectors of other bits have other names."""


@triton.jit
def _attention(
    qkv, out, starts, lengths, blocks, scale,
    hidden: tl.constexpr, head_dim: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, one: tl.constexpr,
):  # fmt: skip
    """A program takes `rows` queries of one text and head through all of its keys, `columns` at a time (`one`: in a single step)."""
    text = tl.load(blocks + 2 * tl.program_id(0))
    first = tl.load(blocks + 2 * tl.program_id(0) + 1)
    start, length = tl.load(starts + text).to(tl.int64), tl.load(lengths + text)
    head = tl.program_id(1) * head_dim
    row, column, place = first + tl.arange(0, rows), tl.arange(0, columns), tl.arange(0, head_dim)
    base = qkv + start * 3 * hidden + head
    query = tl.load(base + row[:, None] * 3 * hidden + place[None, :], mask=row[:, None] < length, other=0.0)
    keys = base + hidden + column[None, :] * 3 * hidden + place[:, None]
    values = base + 2 * hidden + column[:, None] * 3 * hidden + place[None, :]
    total = tl.zeros((rows, head_dim), dtype=tl.float32)
    norm = tl.zeros((rows,), dtype=tl.float32)
    largest = tl.full((rows,), -float("inf"), dtype=tl.float32)
    whole = 0
    if not one:  # whole blocks of keys first, without a mask
        whole = length // columns * columns
        for done in range(0, whole, columns):
            scores = tl.dot(query, tl.load(keys + done * 3 * hidden))
            larger = tl.maximum(largest, tl.max(scores, 1) * scale)
            weights = tl.exp2(scores * scale - larger[:, None])
            shrink = tl.exp2(largest - larger)
            value = tl.load(values + done * 3 * hidden)
            total = total * shrink[:, None] + tl.dot(weights.to(value.dtype), value)
            norm = norm * shrink + tl.sum(weights, 1)
            largest = larger
    if one or whole < length:
        column += whole
        key = tl.load(keys + whole * 3 * hidden, mask=column[None, :] < length, other=0.0)
        scores = tl.where(column[None, :] < length, tl.dot(query, key) * scale, -float("inf"))
        larger = tl.maximum(largest, tl.max(scores, 1))
        weights = tl.exp2(scores - larger[:, None])
        shrink = tl.exp2(largest - larger)
        value = tl.load(values + whole * 3 * hidden, mask=column[:, None] < length, other=0.0)
        total = total * shrink[:, None] + tl.dot(weights.to(value.dtype), value)
        norm = norm * shrink + tl.sum(weights, 1)
    target = out + (start + row[:, None]) * hidden + head + place[None, :]
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


class FusedKernels:
    """What `packed.Kernels` asks for, for heads of 16, 32, 64 or 128 numbers."""

    name = f"triton {triton.__version__} text attention {VERSION}"

    def attention(self, qkv: torch.Tensor, layout: PackLayout, heads: int) -> torch.Tensor:
        """[tokens, hidden] of queries, keys and values [tokens, 3 * hidden]; rows that belong to no text are 0."""
        hidden = qkv.shape[1] // 3
        out = torch.empty((len(qkv), hidden), dtype=qkv.dtype, device=qkv.device)
        out[layout.real :].zero_()
        scale = (hidden // heads) ** -0.5 * 1.4426950408889634  # log2(e): exp2 is the hardware's own
        for size, blocks in layout.blocks:
            _attention[(len(blocks), heads)](
                *(qkv, out, layout.starts, layout.lengths, blocks, scale),
                hidden=hidden,
                head_dim=hidden // heads,
                rows=size.rows,
                columns=size.columns,
                one=size.one,
                num_warps=size.warps,
                num_stages=size.stages,
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
