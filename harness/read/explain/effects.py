"""The difference of two runs on the same examples: how large, how sure, whether more than chance in the choice of examples.

A metric that is a mean over examples (accuracy, v-measure, map, ndcg) has Student's paired interval over the differences of its
examples. Spearman and average precision are no means: their difference is computed anew on resamples of the pairs, the same pairs for
both runs, and the standard deviation over resamples is its standard error. Averages over tasks add the variances of their tasks, with the
degrees of freedom of Welch and Satterthwaite.

Many comparisons are corrected by Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979), tasks and averages as a
family each: a sentence is read by itself, so one wrong sentence in twenty reports is the price, not one wrong in twenty sentences; and it
holds whatever the comparisons have in common, which pairs of runs that share a run have a lot of.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.core.examples import Examples
from harness.core.folds import example_values, fold, folds
from harness.core.tasks import TaskSpec, TaskType

EffectVerdict = Literal["effect", "none found", "identical", "no interval"]

LEVEL = 0.05
"""The chance of one wrong effect or more in a family of comparisons."""
POWER = 0.8
"""How often an effect of the size called `unseen` would be found."""
RESAMPLES = 1000
"""The standard error over so many is itself good to 2 %."""
SEED = 42
MEAN = "mean"
"""The metric of an average of tasks."""

_CELLS = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A task or an average before and after, in points (0 to 100).

    `type`: None for an average over several types; `metric`: `MEAN` for an average; `units`: the examples (of an average: tasks) behind it.
    `error`: standard error of the difference, 0 where not one example differs, None where it can't be known; `freedom`: its degrees of
    freedom. `p`: corrected for the number of comparisons. `unseen`: the size that would be found in 8 of 10 such comparisons; a smaller
    one would often be missed.
    """

    of: str
    type: TaskType | None
    metric: str
    units: int
    before: float
    after: float
    error: float | None
    freedom: float
    verdict: EffectVerdict = "no interval"
    p: float | None = None
    unseen: float | None = None

    @property
    def difference(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the difference, for itself alone; None where the error can't be known."""
        if self.error is None:
            return None
        reach = self.error * (float(stats.t.ppf(1 - LEVEL / 2, self.freedom)) if self.error else 0.0)
        return self.difference - reach, self.difference + reach

    @property
    def chance(self) -> float | None:
        """The two-sided p-value for itself alone."""
        if not self.error:
            return None
        return float(2 * stats.t.sf(abs(self.difference) / self.error, self.freedom))


def task_effect(task: TaskSpec, before: Examples, after: Examples) -> Effect:
    """The effect on one task, whose examples are the same on both sides; raises as `fold` does."""
    values = [example_values(task, examples) for examples in (before, after)]
    scores = [100 * fold(task, examples) for examples in (before, after)]
    if values[0] is not None and values[1] is not None:
        differences = 100 * (values[1] - values[0])
        differences = differences[~np.isnan(differences)]
        error, units = _mean_error(differences), len(differences)
    else:
        error, units = _resampled_error(task, before, after), len(before)
    return Effect(
        of=task.name,
        type=task.type,
        metric=task.main,
        units=units,
        before=scores[0],
        after=scores[1],
        error=error,
        freedom=max(1, units - 1),
    )


def average_effect(of: str, kind: TaskType | None, members: Sequence[Effect]) -> Effect:
    """The effect on the plain mean of tasks, taken for independent of each other."""
    count = len(members)
    errors = [member.error for member in members if member.error is not None]
    variance = math.fsum(error**2 for error in errors)
    spread = math.fsum((member.error or 0.0) ** 4 / member.freedom for member in members)
    return Effect(
        of=of,
        type=kind,
        metric=MEAN,
        units=count,
        before=math.fsum(member.before for member in members) / count,
        after=math.fsum(member.after for member in members) / count,
        error=math.sqrt(variance) / count if len(errors) == count else None,
        freedom=variance**2 / spread if spread else 1,
    )


def judge(effects: Sequence[Effect]) -> tuple[Effect, ...]:
    """The effects with their verdicts, corrected as one family of comparisons."""
    tested = [index for index, effect in enumerate(effects) if effect.error]
    corrected = dict(zip(tested, holm([effects[index].chance or 0.0 for index in tested]), strict=True))
    return tuple(_judged(effect, corrected.get(index), len(tested)) for index, effect in enumerate(effects))


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    count, running = len(chances), 0.0
    adjusted = [0.0] * count
    for step, index in enumerate(sorted(range(count), key=chances.__getitem__)):
        running = max(running, min(1.0, (count - step) * chances[index]))
        adjusted[index] = running
    return adjusted


def _judged(effect: Effect, p: float | None, family: int) -> Effect:
    if effect.error is None:
        return effect
    if effect.error == 0:
        verdict: EffectVerdict = "effect" if effect.difference else "identical"
        return replace(effect, verdict=verdict)
    critical, reached = (float(stats.t.ppf(level, effect.freedom)) for level in (1 - LEVEL / (2 * family), POWER))
    found = p is not None and p <= LEVEL
    return replace(effect, verdict="effect" if found else "none found", p=p, unseen=effect.error * (critical + reached))


def _mean_error(differences: NDArray[np.float64]) -> float | None:
    if not differences.any():
        return 0.0
    return float(stats.sem(differences)) if len(differences) > 1 else None


def _resampled_error(task: TaskSpec, before: Examples, after: Examples) -> float | None:
    count = len(before)
    if all(np.array_equal(before[name], after[name]) for name in before.columns):
        return 0.0

    def statistic(drawn: NDArray[Any], axis: int) -> NDArray[np.float64]:
        rows = np.moveaxis(drawn, axis, -1).reshape(-1, count)
        return 100 * (folds(task, after, rows) - folds(task, before, rows)).reshape(np.delete(drawn.shape, axis))

    result = stats.bootstrap(
        (np.arange(count),),
        statistic,
        n_resamples=RESAMPLES,
        batch=max(1, _CELLS // count),
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng([SEED, *task.name.encode()]),
    )
    error = float(result.standard_error)
    return error if math.isfinite(error) else None  # some resample had gold scores of one value: too few pairs
