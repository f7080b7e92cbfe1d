"""Which two runs differ in one setting, so that what their scores differ in can be put down to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from harness.core.records import RowHeader, Run
from harness.read.differences import SettingDifference, differences
from harness.read.leaderboard import Row

SETTINGS = ("gpu", "dtype", "max_len", "dim")
"""The settings that a row of the leaderboard tells, by the names of its header's fields."""

_EXPECTATIONS = ("spec.gpu.name", "spec.gpu.pattern", "spec.gpu.min_memory_gib", "spec.gpu.mismatch")
"""What a run expected of its device; the device itself is compared."""

_TOLD, _BESIDE = "told by the header", "beside"


@dataclass(frozen=True)
class Factor:
    """A setting that two runs do not share. `before`, `after`: as text, `not told` where a run does not say."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name} {self.before} -> {self.after}"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run, or a row that is known only as somebody printed it (`run` is None then); `number` names it in what is told."""

    number: int
    header: RowHeader
    run: Run | None = None
    row: Row | None = None

    @property
    def setting(self) -> str:
        """Model, GPU, dtype, dim and max_len, as far as they are told."""
        header = self.header
        sizes = [f"dim {header.dim}" if header.dim else "", f"max_len {header.max_len}" if header.max_len else ""]
        return ", ".join(filter(None, (header.model, header.gpu, header.dtype, *sizes)))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two subjects. `factors`: the settings they differ in; `beside`: differences that follow from those or move no score by themselves."""

    before: Subject
    after: Subject
    factors: tuple[Factor, ...]
    beside: tuple[str, ...] = ()

    @property
    def attributed(self) -> bool:
        """Whether what differs in the scores can be put down to one setting, or (no factor) to a repetition."""
        return len(self.factors) <= 1


def pairs_of(subjects: Sequence[Subject]) -> tuple[Pair, ...]:
    """All pairs of runs, and all pairs of rows that stand in one table, in the order in which they were given."""
    return tuple(_pair(one, other) for one, other in combinations(subjects, 2) if _comparable(one, other))


def _comparable(one: Subject, other: Subject) -> bool:
    if one.row is not None and other.row is not None:
        return one.row.path == other.row.path
    return one.run is not None and other.run is not None


def _pair(one: Subject, other: Subject) -> Pair:
    told = [
        Factor(name, before, after)
        for name in ("model", *SETTINGS)
        if (before := _told(getattr(one.header, name))) != (after := _told(getattr(other.header, name)))
    ]
    if one.run is None or other.run is None:
        return Pair(before=one, after=other, factors=tuple(told))
    grouped: dict[str, list[SettingDifference]] = {}
    for each in differences(one.run, other.run):
        grouped.setdefault(_group(each), []).append(each)
    factors = {factor.name: factor for factor in told}
    for name, found in grouped.items():
        if name not in (_TOLD, _BESIDE, "kernel", *factors):
            factors[name] = Factor(name, *_told_by(found))
    kernels = grouped.get("kernel", [])
    if kernels and not {"gpu", "dtype"} & factors.keys():  # another device or dtype brings its kernels along
        factors["kernel"] = Factor("kernel", *_told_by(kernels))
    beside = [*grouped.get(_BESIDE, []), *(kernels if "kernel" not in factors else [])]
    return Pair(before=one, after=other, factors=tuple(factors.values()), beside=tuple(map(str, beside)))


def _group(each: SettingDifference) -> str:
    """The factor that a difference belongs to; `_TOLD` where the header tells it, `_BESIDE` where it moves no score by itself."""
    key = each.key.removeprefix("spec.")
    if each.key in _EXPECTATIONS or key in SETTINGS:
        return _TOLD
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


def _told_by(found: Sequence[SettingDifference]) -> tuple[str, str]:
    """Both sides of a group of differences: the value where there is one, else every key with its value."""
    if len(found) == 1 and found[0].key.startswith("spec."):
        return _told(found[0].a), _told(found[0].b)
    sides = ([(each.key.rsplit(".", 1)[-1], value) for each, value in zip(found, values, strict=True)] for values in _columns(found))
    before, after = (", ".join(f"{key} {_told(value)}" for key, value in side) for side in sides)
    return before, after


def _columns(found: Sequence[SettingDifference]) -> tuple[list[str | None], list[str | None]]:
    return [each.a for each in found], [each.b for each in found]


def _told(value: object) -> str:
    return "not told" if value in ("", None) else str(value)
