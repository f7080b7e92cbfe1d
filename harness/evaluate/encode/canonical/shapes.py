"""Which batch shape a text runs in: a function of its own token count and nothing else.

Three ladders. `exact`: one length per token count, so no padding and no mask. `padded`: token counts rounded up in steps that double
with the length (1 to 32, 2 to 64, 4 to 128, 8 to 256, ...: less than 1/16 padding), with a mask wherever the step is above 1, be it needed
or not.
A batch always has the rows of its shape; dummy rows fill the last one. `packed`: texts of all lengths lie end to end in one batch,
in the order in which they come; it is filled up to the next multiple of 64 tokens (`packed`, `proof`).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from harness.core.spec import EncodingSpec

IntArray = npt.NDArray[np.int64]

_FINEST = 32  # a step is 1/32 of the power of two that is not below the count
_PACK_STEP = 64
SMALLEST_PACK = 128  # below, cuBLAS splits long sums, and a row has other bits


@dataclass(frozen=True, slots=True)
class BatchShape:
    """`rows` texts of `length` tokens each; `masked` where shorter texts share the shape."""

    rows: int
    length: int
    masked: bool

    @property
    def tokens(self) -> int:
        """Tokens that a batch of this shape puts through the model."""
        return self.rows * self.length


@dataclass(frozen=True, slots=True)
class Pack:
    """Texts of all lengths end to end; `tokens` with those that fill it up."""

    tokens: int


Batch = BatchShape | Pack


def packing(encoding: EncodingSpec, possible: bool) -> EncodingSpec:
    """The setting that a model runs in: `exact` where `packed` is asked for and is not possible."""
    return encoding if possible or encoding.ladder != "packed" else replace(encoding, ladder="exact")


class ShapeLadder:
    """The shapes of an encoding setting for a model whose position table carries `positions` tokens.

    The table bounds the ladder and `max_len` does not: a text has the same shape under every `max_len` that does not cut it.
    """

    def __init__(self, spec: EncodingSpec, positions: int, *, smallest_pack: int = SMALLEST_PACK) -> None:
        self.spec = spec
        self.positions = positions
        self._smallest_pack = smallest_pack

    @property
    def packs(self) -> bool:
        """Whether texts of all lengths share batches."""
        return self.spec.ladder == "packed"

    def pack_sizes(self, max_len: int) -> list[int]:
        """The tokens of every pack there can be of texts of up to `max_len` tokens, ascending."""
        largest = -(-max(self.spec.batch_tokens, max_len, self._smallest_pack) // _PACK_STEP) * _PACK_STEP
        return list(range(self._smallest_pack, largest + 1, _PACK_STEP))

    def fits(self, tokens: int, more: int) -> bool:
        """Whether a text of `more` tokens goes into a pack that has so many."""
        return not tokens or tokens + more <= self.spec.batch_tokens

    def pack(self, tokens: int) -> Pack:
        """The pack for texts of so many tokens together."""
        return Pack(max(self._smallest_pack, -(-tokens // _PACK_STEP) * _PACK_STEP))

    def batch(self, count: int) -> Batch:
        """The batch in which a text of `count` tokens runs when it is alone."""
        return self.pack(count) if self.packs else self.shape(count)

    def shape(self, count: int) -> BatchShape:
        """The shape for a text of `count` tokens, specials included (1 to `positions`); of a text in a pack, its own."""
        if self.packs:
            return BatchShape(rows=1, length=count, masked=False)
        step = self._step(count)
        length = min(-(-count // step) * step, self.positions)
        return BatchShape(rows=max(1, self.spec.batch_tokens // length), length=length, masked=step > 1)

    def plan(self, counts: IntArray) -> tuple[int, int]:
        """Forward passes of texts of these token counts, each run once, in one go, packed in this order; and tokens of the batches."""
        if self.packs:
            packs = self._packs(counts)
            return len(packs), sum(pack.tokens for pack in packs)
        batches = self.batches(counts)
        return sum(batches.values()), sum(shape.tokens * number for shape, number in batches.items())

    def batches(self, counts: IntArray) -> dict[BatchShape, int]:
        """How many batches of each shape run texts of these token counts, each once, in one go."""
        texts_of: dict[BatchShape, int] = {}
        values, numbers = np.unique(counts, return_counts=True)
        for count, number in zip(values.tolist(), numbers.tolist(), strict=True):
            shape = self.shape(count)
            texts_of[shape] = texts_of.get(shape, 0) + number
        return {shape: -(-number // shape.rows) for shape, number in texts_of.items()}

    def _packs(self, counts: IntArray) -> list[Pack]:
        ends = np.cumsum(counts)
        packs, start, before = [], 0, 0
        while start < len(counts):
            end = max(start + 1, int(np.searchsorted(ends, before + self.spec.batch_tokens, side="right")))
            packs.append(self.pack(int(ends[end - 1]) - before))
            start, before = end, int(ends[end - 1])
        return packs

    def lengths(self, counts: IntArray) -> IntArray:
        """The length of the shape for each of the token counts."""
        values, places = np.unique(counts, return_inverse=True)
        return np.array([self.shape(count).length for count in values.tolist()], dtype=np.int64)[places]

    def _step(self, count: int) -> int:
        if self.spec.ladder == "exact":
            return 1
        return max(1, (1 << (count - 1).bit_length()) // _FINEST)
