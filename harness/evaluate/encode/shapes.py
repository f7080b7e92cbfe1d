"""Which batch shape a text runs in: a function of its own token count and nothing else.

Two ladders. `exact`: one length per token count, so no padding and no mask. `padded`: token counts rounded up in steps that double
with the length (1 to 32, 2 to 64, 4 to 128, 8 to 256, ...: less than 1/16 padding), with a mask wherever the step is above 1, be it needed
or not.
A batch always has the rows of its shape; dummy rows fill the last one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.spec import EncodingSpec

IntArray = npt.NDArray[np.int64]

_FINEST = 32  # a step is 1/32 of the power of two that is not below the count


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


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a set of texts costs, by arithmetic. `tokens` go through the model for `real_tokens` of the texts."""

    texts: int
    real_tokens: int
    forwards: int
    tokens: int


class ShapeLadder:
    """The shapes of an encoding setting for a model whose position table carries `positions` tokens.

    The table bounds the ladder and `max_len` does not: a text has the same shape under every `max_len` that does not cut it.
    """

    def __init__(self, spec: EncodingSpec, positions: int) -> None:
        self.spec = spec
        self.positions = positions

    def shape(self, count: int) -> BatchShape:
        """The shape for a text of `count` tokens, specials included (1 to `positions`)."""
        step = self._step(count)
        length = min(-(-count // step) * step, self.positions)
        return BatchShape(rows=max(1, self.spec.batch_tokens // length), length=length, masked=step > 1)

    def plan(self, counts: IntArray) -> Plan:
        """The cost of running texts of these token counts, each once, in one go."""
        forwards = self.batches(counts)
        return Plan(
            texts=len(counts),
            real_tokens=int(counts.sum()),
            forwards=sum(forwards.values()),
            tokens=sum(shape.tokens * number for shape, number in forwards.items()),
        )

    def batches(self, counts: IntArray) -> dict[BatchShape, int]:
        """How many batches of each shape run texts of these token counts, each once, in one go."""
        texts_of: dict[BatchShape, int] = {}
        values, numbers = np.unique(counts, return_counts=True)
        for count, number in zip(values.tolist(), numbers.tolist(), strict=True):
            shape = self.shape(count)
            texts_of[shape] = texts_of.get(shape, 0) + number
        return {shape: -(-number // shape.rows) for shape, number in texts_of.items()}

    def lengths(self, counts: IntArray) -> IntArray:
        """The length of the shape for each of the token counts."""
        values, places = np.unique(counts, return_inverse=True)
        return np.array([self.shape(count).length for count in values.tolist()], dtype=np.int64)[places]

    def _step(self, count: int) -> int:
        if self.spec.ladder == "exact":
            return 1
        return max(1, (1 << (count - 1).bit_length()) // _FINEST)
