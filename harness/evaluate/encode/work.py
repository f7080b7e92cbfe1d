"""Floating-point operations of encoding, from the sizes of a model: what plans count, progress bars go by and rates are measured in.

Counted are the matrix products of a transformer (causal or not), a multiplication and an addition as two: 2 per weight and token,
4 * hidden per layer and pair of tokens for attention's two products, and the Dense layers once a text. acge's shape (24 layers,
hidden 1024, intermediate 4096) takes 604 M + 98 k * length per token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from harness.evaluate.encode.canonical.shapes import BatchShape, IntArray, ShapeLadder


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What decides the cost of a forward pass, summed over all layers: `weights` of the linear ones, `attended`: widths of the queries.

    `dense`: inputs and outputs of the Dense layers behind the pooling. `packs`: whether texts of all lengths can share batches.
    """

    weights: int = 0
    attended: int = 0
    dense: tuple[tuple[int, int], ...] = ()
    packs: bool = True

    @classmethod
    def of_bert(cls, layers: int, hidden: int, intermediate: int, dense: tuple[tuple[int, int], ...] = ()) -> Architecture:
        """That of a BERT of these sizes."""
        return cls(weights=layers * (4 * hidden**2 + 2 * hidden * intermediate), attended=layers * hidden, dense=dense)

    def text_flops(self, lengths: IntArray) -> IntArray:
        """FLOP of one text of each length in tokens."""
        per_text = sum(2 * inputs * outputs for inputs, outputs in self.dense)
        flops: IntArray = lengths * (2 * self.weights + 4 * self.attended * lengths) + per_text
        return flops

    def batch_flops(self, shape: BatchShape) -> int:
        """FLOP of a full batch, padding and dummy rows among them."""
        return shape.rows * int(self.text_flops(np.array([shape.length]))[0])

    def flops(self, ladder: ShapeLadder, counts: IntArray) -> int:
        """FLOP of texts of these token counts, each run once, in one go; what fills up a pack, a token in 500, is not counted."""
        if ladder.packs:
            return int(self.text_flops(counts).sum())
        return sum(self.batch_flops(shape) * number for shape, number in ladder.batches(counts).items())


def architecture_of(transformer: Any, dense: Sequence[tuple[int, int]]) -> Architecture:
    """The sizes of a model of transformers, whose numbers may be on no device: the weights of all its linear layers but its pooler's,
    and the width of the queries of all layers in which a token attends to each of its text. `dense`: as in `Architecture`."""
    config = transformer.config
    linear = [layer for name, layer in transformer.named_modules() if isinstance(layer, nn.Linear) and not name.startswith("pooler.")]
    attending = config.num_hidden_layers - list(getattr(config, "layer_types", None) or ()).count("linear_attention")
    width = config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)
    return Architecture(weights=sum(layer.weight.numel() for layer in linear), attended=attending * width, dense=tuple(dense))


class Forecast:
    """FLOP that a call of `encode` will take: known for the texts that were read, estimated from characters for those that were not.

    `characters`: of each text of the call. A Han character is about one token; what is wrong with that is corrected by what was read.
    """

    def __init__(self, architecture: Architecture, characters: IntArray, *, max_len: int) -> None:
        self._architecture = architecture
        self._guessed = np.concatenate([[0], np.cumsum(architecture.text_flops(np.minimum(characters + 2, max_len)))])
        self._rows: dict[BatchShape, int] = {}
        self._real = 0
        self._filled = 0  # with the dummy rows of batches that are not full yet
        self._read = 0

    def read(self, texts: int) -> None:
        """So many of the call's texts, from its beginning, have been looked up; those that must run go to `add`."""
        self._read = texts

    def add(self, shape: BatchShape) -> None:
        """A sequence of this shape will run."""
        rows = self._rows.get(shape, 0)
        batch = self._architecture.batch_flops(shape)
        self._rows[shape] = rows + 1
        self._real += batch // shape.rows
        self._filled += batch if rows % shape.rows == 0 else 0

    @property
    def planned(self) -> int:
        """FLOP of the whole call."""
        unread = int(self._guessed[-1] - self._guessed[self._read])
        return self._filled + round(self._real * unread / max(1, int(self._guessed[self._read])))
