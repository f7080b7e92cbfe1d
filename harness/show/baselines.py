"""What was accepted as a baseline, and the list of baselines."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.core.baselines import LOG
from harness.core.calibration import CALIBRATION
from harness.core.formatting import amount, one_line
from harness.read.drift.baselines import Listed, Promotion
from harness.show.form import Block, Document, Sentences, grid, number_columns, table_columns


def listed_document(listed: Sequence[Listed]) -> Document:
    """Every baseline with its promotions, the latest first; what can't serve, and why."""
    return Document(
        blocks=lambda: _listed_blocks(listed),
        data=lambda: {
            "baselines": [
                {
                    "path": str(each.path),
                    "tasks": len(each.run.records) if each.run else 0,
                    "calibrated": each.calibrated,
                    "problem": each.problem or None,
                    "entries": list(map(asdict, each.entries)),
                }
                for each in listed
            ]
        },
    )


def _listed_blocks(listed: Sequence[Listed]) -> Iterator[Block]:
    rows, lines = [], [f"{each.path}: CAN'T BE USED: {each.problem}" for each in listed if each.problem]
    for each in listed:
        latest = (each.entries[-1].date[:10], each.entries[-1].scores[:8]) if each.entries else ("", "")
        if each.run:
            rows.append((str(each.path), str(len(each.run.records)), "yes" if each.calibrated else "NO", *latest))
        for entry in reversed(each.entries):
            change = f"{entry.replaces[:8]} -> {entry.scores[:8]}" if entry.replaces else f"first, {entry.scores[:8]}"
            lines.append(f"{entry.date[:10]}  {entry.baseline}, {entry.who or 'unknown'}: {entry.why} ({change})")
        lines += [] if each.entries else [f"{each.path}: no line in {LOG}: it was not made by `baseline accept`"]
    if rows:
        yield grid(table_columns("Baseline", *number_columns("Tasks"), "Calibrated", "Accepted", "Scores"), rows)
    yield Sentences(
        tuple(map(one_line, lines)) or ("no baseline yet: python -m harness baseline accept RUN --why TEXT",), "list" if lines else "plain"
    )


def accepted_lines(accepted: Promotion, folder: Path) -> list[str]:
    """What was done, for a terminal. `folder`: where the baseline is."""
    entry = accepted.entry
    replaced = f"replaces {entry.replaces[:8]}" if entry.replaces else "the first of its name"
    lines = [f"no longer in the baseline: {', '.join(accepted.dropped)}"] if accepted.dropped else []
    tasks = amount(entry.tasks, "task")
    lines.append(f"accepted {entry.baseline}: {tasks}, scores {entry.scores[:8]}, {replaced}; written to {folder}")
    if not entry.calibrated:
        lines.append(
            f"it has no {CALIBRATION} for all its tasks, so for the others only identical scores will pass: run python -m harness "
            "calibrate on the run, and accept it again"
        )
    return lines
