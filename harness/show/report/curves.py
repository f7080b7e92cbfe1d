"""Runs that differ in their dimension alone (the Matryoshka curve), or in their sequence length alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.core.formatting import grouped
from harness.show.report.entries import Entry

Axis = Literal["dim", "max_len"]
AXES: tuple[Axis, ...] = ("dim", "max_len")


@dataclass(frozen=True)
class Point:
    """A run on a curve: its `dim` or `max_len`, and the averages by `Cell.key` (None: a hole)."""

    x: int
    entry: Entry
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Line:
    """Runs that differ in one setting alone, by that setting. `label`: what they have in common, as far as it tells lines apart."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class CurveSet:
    """All curves over one setting, on the benchmark's data or on other data: their scores share no axis."""

    axis: Axis
    on_benchmark: bool
    lines: tuple[Line, ...]


def curve_sets(entries: Sequence[Entry]) -> tuple[CurveSet, ...]:
    """The curves that the entries make, an axis without any left out.

    Two rows are on one line when all that is known of them is equal but for the axis: of runs of ours the spec, the weights, the
    packages and the kernel; of others the header. A line has at least two values of its axis. A row without any average is on none.
    """
    sets = []
    for axis in AXES:
        placed = [entry for entry in entries if _x(entry, axis) is not None and any(cell.value is not None for cell in entry.row.cells)]
        groups = grouped((_recipe(entry, axis), entry) for entry in placed)
        drawn = [group for group in groups.values() if len({_x(entry, axis) for entry in group}) > 1]
        labels = [_label(group[0], axis) for group in drawn]
        lines = []
        for group, label in zip(drawn, labels, strict=True):
            ordered = sorted(group, key=lambda entry: (_x(entry, axis) or 0, entry.number))
            points = (Point(_x(entry, axis) or 0, entry, {cell.key: cell.value for cell in entry.row.cells}) for entry in ordered)
            lines.append(Line(f"{label} (#{group[0].number}…)" if labels.count(label) > 1 else label, tuple(points)))
        for on_benchmark in (True, False):
            own = tuple(line for line in lines if line.points[0].entry.on_benchmark == on_benchmark)
            sets += [CurveSet(axis, on_benchmark, own)] if own else []
    return tuple(sets)


def _x(entry: Entry, axis: Axis) -> int | None:
    return entry.row.header.dim if axis == "dim" else entry.row.header.max_len


def _recipe(entry: Entry, axis: Axis) -> str:
    """Everything that is stated of an entry except its place on the axis, as text."""
    header = entry.row.header
    known: dict[str, Any] = {
        "ours": entry.kind == "ours",
        "model": header.model,
        "gpu": header.gpu,
        "dtype": header.dtype,
        "data": entry.row.identity,
    }
    known |= {each: _x(entry, each) for each in AXES if each != axis}
    if entry.kind == "ours" and entry.run is not None:
        manifest = entry.run.manifest
        spec = {key: value for key, value in manifest.spec.identity().items() if key != axis} if manifest.spec else {}
        kernel = manifest.model.kernel if manifest.model else None
        known |= {"spec": spec, "weights": manifest.weights, "kernel": kernel, "versions": manifest.versions}
    return json.dumps(known, sort_keys=True, default=str)


def _label(entry: Entry, axis: Axis) -> str:
    """What the row of an entry tells of its line."""
    header = entry.row.header
    other, fixed = ("max_len", header.max_len) if axis == "dim" else ("dim", header.dim)
    parts = [header.model, header.gpu, header.dtype, "" if fixed is None else f"{other} {fixed}"]
    return " · ".join(part for part in parts if part)
