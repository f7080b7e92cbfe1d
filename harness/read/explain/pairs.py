"""Finds pairs of runs that differ in one setting, so that a difference of their scores is an effect of that setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.core.formatting import grouped, stated
from harness.core.records import RowHeader, Run
from harness.read.differences import SettingDifference, differences
from harness.read.leaderboard import Row

SETTINGS = ("gpu", "dtype", "max_len", "dim")
"""The settings that a row of the leaderboard states, by the names of its header's fields."""

_EXPECTATIONS = ("spec.gpu.name", "spec.gpu.pattern", "spec.gpu.min_memory_gib", "spec.gpu.mismatch")
"""What a run expected of its device; the device itself is compared."""

_HEADER, _BESIDE = "stated by the header", "beside"


@dataclass(frozen=True)
class Factor:
    """A setting that two runs do not share. `before`, `after`: as text, `not stated` where a run does not state it."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name} {self.before} -> {self.after}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run, or a row of a printed table (`run` is None then); `number` names it in the text."""

    number: int
    header: RowHeader
    run: Run | None = None
    row: Row | None = None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two subjects. `factors`: the settings they differ in; `beside`: differences that follow from those or move no score by themselves."""

    before: Subject
    after: Subject
    factors: tuple[Factor, ...]
    beside: tuple[str, ...] = ()

    @property
    def attributed(self) -> bool:
        """Whether one setting (or, without a factor, a repetition) explains the difference of the scores."""
        return len(self.factors) <= 1


def pair_of_runs(before: Run, after: Run) -> Pair:
    """Two runs as a pair, numbered 1 and 2."""
    return _pair(*(Subject(number=number, header=run.header, run=run) for number, run in enumerate((before, after), start=1)))


def pairs_of(subjects: Sequence[Subject]) -> tuple[Pair, ...]:
    """All pairs of runs, and all pairs of rows that stand in one table, in the order in which they were given."""
    return tuple(_pair(one, other) for one, other in combinations(subjects, 2) if _comparable(one, other))


def _comparable(one: Subject, other: Subject) -> bool:
    if one.row is not None and other.row is not None:
        return one.row.path == other.row.path
    return one.run is not None and other.run is not None


def _pair(one: Subject, other: Subject) -> Pair:
    header = [
        Factor(name, before or "not stated", after or "not stated")
        for name in ("model", *SETTINGS)
        if (before := stated(getattr(one.header, name))) != (after := stated(getattr(other.header, name)))
    ]
    if one.run is None or other.run is None:
        return Pair(before=one, after=other, factors=tuple(header))
    groups = grouped((_group(each), each) for each in differences(one.run, other.run))
    factors = {factor.name: factor for factor in header}
    for name, found in groups.items():
        if name not in (_HEADER, _BESIDE, "kernel", *factors):
            factors[name] = _factor(name, found)
    kernels = groups.get("kernel", [])
    if kernels and not {"gpu", "dtype"} & factors.keys():  # another device or dtype brings its kernels along
        factors["kernel"] = _factor("kernel", kernels)
    beside = [*groups.get(_BESIDE, []), *(kernels if "kernel" not in factors else [])]
    return Pair(before=one, after=other, factors=tuple(factors.values()), beside=tuple(map(str, beside)))


def _group(each: SettingDifference) -> str:
    """The factor that a difference belongs to; `_HEADER` where the header states it, `_BESIDE` where it moves no score by itself."""
    key = each.key.removeprefix("spec.")
    if each.key in _EXPECTATIONS or key in SETTINGS:
        return _HEADER
    if each.kind == "source" or key.startswith("machine."):
        return _BESIDE
    if key.startswith("versions."):
        return "packages"
    if key.startswith("data."):
        return "data"
    if each.kind == "device":
        return "gpu"
    if each.kind in ("kernel", "model"):
        return each.kind
    return key


def _factor(name: str, found: Sequence[SettingDifference]) -> Factor:
    """A group of differences as one: the value where there is one, else every key with its value."""
    if len(found) == 1 and found[0].key.startswith("spec."):
        return Factor(name, *(stated(value) or "not stated" for value in (found[0].a, found[0].b)))
    keys = [each.key.rsplit(".", 1)[-1] for each in found]
    sides = [[each.a for each in found], [each.b for each in found]]
    return Factor(name, *(", ".join(f"{key} {value or 'not stated'}" for key, value in zip(keys, side, strict=True)) for side in sides))
