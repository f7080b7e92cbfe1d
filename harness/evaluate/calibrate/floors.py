"""From draws of a score to its floor: the statistics of calibration, free of models and files. Everything in points, 0 to 100."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import beta, chi2, norm, poisson, t

from harness.core.calibration import Rounding, Spread

COVERAGE = 0.99999
"""The share of future differences that a tolerance is to hold. C-MTEB has some 370 metrics: together one false alarm in some 270 checks
under other kernels, if their populations are normal."""

CONFIDENCE = 0.95
"""How sure it is to hold that share, given that the draws themselves were few."""

RESOLUTION = 1e-9
"""What sums of doubles in another order come to: the tolerance of a metric that no draw has moved."""


def tolerance_factor(draws: int, *, coverage: float = COVERAGE, confidence: float = CONFIDENCE) -> float:
    """How many standard deviations beside the mean of so many draws hold `coverage` of their normal population with that confidence.

    The two-sided tolerance factor of Howe (1969), "Two-sided tolerance limits for normal populations - some improvements", JASA 64, as in
    the NIST/SEMATECH e-Handbook of Statistical Methods, 7.2.6.3.
    """
    degrees = draws - 1
    return math.sqrt(degrees * (1 + 1 / draws) * norm.ppf((1 + coverage) / 2) ** 2 / chi2.ppf(1 - confidence, degrees))


def expected_false_alarms(draws: int, metrics: int = 370) -> float:
    """How many metrics of a check under other kernels are beyond their tolerance with nothing wrong, if their populations are normal.

    A future difference over the standard deviation of so few draws has Student's distribution, whose tails are heavier the fewer they are.
    """
    return float(metrics * 2 * t.sf(tolerance_factor(draws) / math.sqrt(1 + 1 / draws), draws - 1))


def rounding_floor(score: float, draws: Sequence[float], wide: Sequence[float], *, factor: float) -> Rounding:
    """How rounding moves a metric that the run has at `score`: from `draws` at its scale, and from `wide` ones at `factor` times it.

    The tolerance is a bound for one future difference: mean and `tolerance_factor` standard deviations, at least the largest difference
    seen. Where fewer than half the draws moved, moves are rare jumps (an example that crosses a threshold) and no normal population:
    then the tolerance is at least as many jumps as one future difference can have (`expected_jumps`), of the median size of those seen;
    but since a wide draw may be many jumps at once, no more than the largest of these, or three of the smallest.
    """
    differences, beyond = (np.asarray(values, dtype=np.float64) - score for values in (draws, wide))
    moved = int((differences != 0).sum())
    mean, deviation, largest = float(differences.mean()), float(differences.std(ddof=1)), float(np.abs(differences).max())
    bounds = [abs(mean) + tolerance_factor(len(draws)) * deviation, largest, RESOLUTION]
    jumps, seen = 0, np.abs(differences if moved else beyond)
    if 2 * moved < len(draws) and seen.any():
        jumps = expected_jumps(moved, len(draws), int((beyond != 0).sum()), len(wide), factor=factor)
        sizes = seen[seen != 0]
        bounds.append(min(jumps * float(np.median(sizes)), max(float(np.abs(beyond).max(initial=0.0)), 3 * float(sizes.min()))))
    return Rounding(
        tolerance=_upwards(max(bounds)),
        draws=len(draws),
        moved=moved,
        mean=_brief(mean),
        sd=_brief(deviation),
        largest=_brief(largest),
        wide=_brief(float(np.abs(beyond).max(initial=0.0))),
        jumps=jumps,
    )


def expected_jumps(moved: int, draws: int, wide_moved: int, wide: int, *, factor: float) -> int:
    """How many jumps hold `COVERAGE` of future differences, if jumps are rare and independent (Poisson).

    Their rate is bounded twice with `CONFIDENCE`, from the share of draws that moved (Clopper and Pearson 1934), and the smaller bound
    counts: from the draws, and from the wide ones, whose rate is `factor` times as high, since as many more near-ties lie within reach.
    """
    bounds = [_highest_rate(moved, draws)]
    if wide:
        bounds.append(_highest_rate(wide_moved, wide) / factor)
    return int(poisson.ppf(COVERAGE, min(bounds)))


def _highest_rate(moved: int, draws: int) -> float:
    """The highest rate of jumps in one draw under which so few of the draws move is not surprising."""
    share = float(beta.ppf(CONFIDENCE, moved + 1, draws - moved)) if moved < draws else 1.0
    return -math.log1p(-share) if share < 1 else math.inf


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """The standard deviation of the values, and the 2.5th and 97.5th of their percentiles."""
    low, high = np.quantile(values, [0.025, 0.975])
    return Spread(draws=len(values), sd=_brief(float(np.std(values, ddof=1))), low=_brief(float(low)), high=_brief(float(high)))


def _upwards(value: float) -> float:
    """The next number of three digits that is not smaller."""
    power = 10.0 ** (2 - math.floor(math.log10(value)))
    rounded = _brief(math.ceil(value * power) / power)
    return rounded if rounded >= value else math.nextafter(value, math.inf)


def _brief(value: float) -> float:
    """Six digits: the file is for people, too."""
    return float(f"{value:.6g}")
