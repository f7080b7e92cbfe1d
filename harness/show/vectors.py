"""How far the canary's vectors lie from those of a baseline: a line of the drift report, and the report of `probe`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.read.drift.vectors import VectorDrift
from harness.show.form import Document, Sentences


def probe_document(baseline: Path, found: VectorDrift, *, texts: int, seconds: float) -> Document:
    """The report of a probe; the verdict stands in its last line."""
    lines = (
        f"Baseline   {baseline}",
        f"Canary     {texts} texts, encoded here in {seconds:.1f} s, the loading of the model included",
        f"{'DRIFT' if found.drifted else 'NO DRIFT'}: {vector_line(found)}",
    )
    values = {"baseline": str(baseline), "texts": texts, "seconds": seconds, **vector_values(found)}
    return Document(blocks=lambda: iter([Sentences(lines, "verbatim")]), data=lambda: values)


def vector_line(found: VectorDrift) -> str:
    """The verdict on the vectors, with the numbers behind it."""
    if found.drifted:
        return f"drifted ({found.level}): {found.why}"
    if found.limit is None:
        return f"identical to the bit ({found.level})"
    return (
        f"within rounding ({found.level}): {found.distance.rms:.1e} of the vectors' length apart, at most {found.limit.rms:.1e} expected; "
        f"the farthest text {found.distance.farthest:.1e}, at most {found.limit.farthest:.1e}"
    )


def vector_values(found: VectorDrift) -> dict[str, Any]:
    """The same as plain values."""
    return {"drifted": found.drifted, **asdict(found)}
