"""Who made a score: its authors, others who ran the model again, or we."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from harness.core.records import TaskRecord

Trust = Literal["self-reported", "re-run by others", "ours"]


def origin(record: TaskRecord) -> Mapping[str, Any]:
    """Who made an imported score with what: `trust`, `form`, `file`, `model_revision`; empty for a record that was not imported."""
    found = record.harness.get("origin")
    return found if isinstance(found, Mapping) else {}


def trust_of(record: TaskRecord) -> Trust:
    """Who made the score of any record."""
    return trust_in(record.harness)


def trust_in(harness: Mapping[str, Any]) -> Trust:
    """What the part of ours in a result file says of who made its score."""
    origin = harness.get("origin")
    told = origin.get("trust") if isinstance(origin, Mapping) else None
    known: tuple[Trust, ...] = get_args(Trust)
    return next((trust for trust in known if trust == told), "self-reported" if harness.get("source") else "ours")


def few(names: Sequence[str]) -> str:
    """How many names, and the first of them: `4 (a, b, c, ...)`."""
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
