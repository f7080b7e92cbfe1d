"""How similar the sample's texts are to the sample's encoder, and the margins that every score of the sample is built on.

Kernels of another CPU or another dtype move a cosine by up to 0.01 (bfloat16; measured in tests/test_sample.py). So a pair, a
candidate or a passage is kept only where no score depends on a difference below `GAP`, in every `VIEW`. The encoder runs in float64, where
processors agree to 1e-14; its states are then rounded to a grid, so what is kept is the same on all of them (`sample_grid`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sample_grid import Array, agreed, unit
from sample_model import COARSE
from sentence_transformers import SentenceTransformer

GAP = 0.024
VIEWS = tuple((max_len, dim) for max_len in (512, 768, 1024) for dim in (1792, 1024))
"""The settings (max_len, dim) under which every margin holds."""
WHOLE = VIEWS.index((1024, 1792))
"""The view that sees most of a text."""


class Measure:
    """Unit vectors of texts, one per view, on a grid, computed once per text."""

    def __init__(self, model: Path) -> None:
        transformer, pooling, dense = SentenceTransformer(str(model), device="cpu", local_files_only=True).double()
        self._encoder = SentenceTransformer(modules=[transformer, pooling], device="cpu")
        self._weight, self._bias = (each.detach().numpy() for each in (dense.linear.weight, dense.linear.bias))
        self._states: dict[tuple[str, int], Array] = {}

    def vectors(self, texts: Sequence[str]) -> Array:
        """Unit vectors (views, texts, 1792), zero beyond a view's dim."""
        stacked = np.zeros((len(VIEWS), len(texts), len(self._bias)))
        for number, (max_len, dim) in enumerate(VIEWS):
            stacked[number, :, :dim] = unit(self._pooled(texts, max_len) @ self._weight[:dim].T + self._bias[:dim])
        return stacked

    def cosines(self, first: Sequence[str], second: Sequence[str]) -> Array:
        """Cosines of every `first` with every `second` (views, first, second)."""
        return cosines(self.vectors(first), self.vectors(second))

    def cosine(self, first: str, second: str) -> Array:
        """The cosine of one pair, per view."""
        return self.cosines([first], [second])[:, 0, 0]

    def _pooled(self, texts: Sequence[str], max_len: int) -> Array:
        """What the Dense layer takes, on a grid: all that follows is exact."""
        keys = [(text, max_len if len(text) > VIEWS[0][0] - 2 else VIEWS[0][0]) for text in texts]
        new = sorted({key for key in keys if key not in self._states})
        if new:
            self._encoder.max_seq_length = max_len
            with torch.inference_mode():
                encoded = self._encoder.encode([text for text, _ in new], batch_size=32, show_progress_bar=False)
            self._states |= dict(zip(new, agreed(encoded, COARSE), strict=True))
        return np.stack([self._states[key] for key in keys])


def cosines(first: Array, second: Array) -> Array:
    """Products of unit vectors, per view."""
    return np.stack([one @ two.T for one, two in zip(first, second, strict=True)])


def clear(scores: Array, grades: Sequence[int], texts: Sequence[str], *, depth: int | None = None) -> bool:
    """Whether rounding can't change how `scores` (views, items) rank items of unequal grade, grade 0 being irrelevant.

    Two such items are `GAP` apart or have the same text (they tie exactly). With `depth`, what lies `GAP` below the `depth`-th best score
    may be in any order.
    """
    grade = np.asarray(grades)
    for view in scores:
        floor = -np.inf if depth is None else np.sort(view)[::-1][min(depth, len(view)) - 1] - GAP
        for item in np.flatnonzero(grade):
            rivals = (np.abs(view - view[item]) < GAP) & (grade != grade[item])
            if view[item] < floor:
                rivals &= view >= floor
            if any(texts[rival] != texts[item] for rival in np.flatnonzero(rivals)):
                return False
    return True
