"""What tells rows of one table apart that have one name and one setting in its columns."""

import os
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace

from harness.core.formatting import grouped
from harness.read.differences import distinctions
from harness.read.leaderboard import Row, rounded


def told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows; where several have one header, with the settings in which they differ; where that is nothing, with as much of their
    paths as differs, or with a number."""
    headers = [replace(row.header, notes=(), size_gb=row.header.size_gb and rounded(row.header.size_gb)) for row in rows]
    unlike, beside = [""] * len(rows), [""] * len(rows)
    for places in _equal(range(len(rows)), headers):
        ours = {place: manifest for place in places if (manifest := rows[place].manifest)}
        for place, text in zip(ours, distinctions(list(ours.values())), strict=True):
            unlike[place] = text
        for group in _equal(places, unlike):
            folders = [str(rows[place].path.resolve()) for place in group]
            common = os.path.commonpath(folders)
            named = len(set(folders)) == len(group)
            for number, (place, folder) in enumerate(zip(group, folders, strict=True), start=1):
                beside[place] = os.path.relpath(folder, common) if named else str(number)
    return [replace(row, unlike=settings, place=place) for row, settings, place in zip(rows, unlike, beside, strict=True)]


def _equal(places: Iterable[int], values: Sequence[Hashable]) -> list[list[int]]:
    """The places whose values are equal, where those are several."""
    return [group for group in grouped((values[place], place) for place in places).values() if len(group) > 1]
