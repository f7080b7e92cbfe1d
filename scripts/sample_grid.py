"""Arithmetic that has the same result on every processor.

Numbers lie on a grid (multiples of a power of two) so coarse that products and sums of them are exact in float64. Then it does not matter
in which order a library adds, how wide its registers are, or whether it fuses products with sums. Else only + - * / and the square root are
used, which IEEE 754 rounds in one way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
BITS = 20
"""Of the grid of vectors of length 1: products of two have 40 bits, and their sums are below 2."""
EDGE = 1e-12
"""How far two processors' results of one computation in float64 lie apart at most; most are below 1e-14."""


def on_grid(values: Array, bits: int = BITS) -> Array:
    """The nearest multiples of `2**-bits`."""
    return np.round(values * 2.0**bits) / 2.0**bits


def agreed(values: Array, bits: int) -> Array:
    """The nearest multiples of `2**-bits` of what a library computed, the same for every processor.

    Raises:
        ValueError: a value lies so near to the middle of two that another processor could round it the other way.
    """
    scaled = values * 2.0**bits
    if (np.abs(np.abs(scaled - np.floor(scaled)) - 0.5) < EDGE * 2.0**bits).any():
        raise ValueError("a value could be rounded otherwise on another processor: choose another seed")
    return on_grid(values, bits)


def above(values: Array, limit: float, slack: float) -> NDArray[np.bool_]:
    """Which values are above the limit, the same for every processor where their results lie less than `slack` apart.

    Raises:
        ValueError: a value is nearer to the limit.
    """
    if (np.abs(values - limit) < slack).any():
        raise ValueError(f"a value lies too near to {limit} to say on which side of it every processor sees it: choose another seed")
    return values > limit


def normal(rng: np.random.Generator, *shape: int) -> Array:
    """Nearly normal numbers, the sum of twelve uniform ones: NumPy's own take logarithms, which processors round in several ways."""
    return (rng.integers(0, 2**16, (12, *shape)).sum(axis=0) - 6 * (2**16 - 1)) / 2.0**16


def unit(rows: Array) -> Array:
    """The rows scaled to length 1, on the grid."""
    rows = on_grid(rows, 16)
    return on_grid(rows / np.sqrt((rows * rows).sum(axis=-1, keepdims=True)))


def orthonormal(columns: Array) -> Array:
    """An orthonormal basis of the columns (Gram and Schmidt), on the grid."""
    basis = np.zeros_like(columns)
    for number, column in enumerate(on_grid(columns).T):
        basis[:, number] = unit(column - basis @ on_grid(basis.T @ column))
    return basis
