"""What was accepted as a baseline, and the list of baselines."""

from __future__ import annotations

from collections.abc import Sequence

from harness.core.calibration import CALIBRATION
from harness.core.words import one_line
from harness.read.drift.baselines import LOG, Accepted, Listed


def listed_lines(listed: Sequence[Listed]) -> list[str]:
    """A line per baseline, and one per promotion below it, the latest first."""
    lines = []
    for each in listed:
        state = f"{len(each.run.records)} tasks, {'calibrated' if each.calibrated else 'NOT CALIBRATED'}" if each.run else ""
        problem = f"CAN'T SERVE: {each.problem}" if each.problem else ""
        lines.append(f"{each.path}: {'; '.join(part for part in (state, problem) if part)}")
        for entry in reversed(each.entries):
            change = f"{entry.replaces[:8]} -> {entry.scores[:8]}" if entry.replaces else f"first, {entry.scores[:8]}"
            lines.append(one_line(f"   {entry.date[:10]}  {entry.who or 'unknown'}: {entry.why} ({change})"))
        if not each.entries:
            lines.append(f"   no line in {LOG}: it was not made by `baseline accept`")
    return lines or ["no baseline yet: python -m harness baseline accept RUN --why TEXT"]


def accepted_lines(accepted: Accepted) -> list[str]:
    """What was done, for a terminal."""
    entry = accepted.entry
    replaced = f"replaces {entry.replaces[:8]}" if entry.replaces else "the first of its name"
    lines = [f"accepted {entry.baseline}: {entry.tasks} tasks, scores {entry.scores[:8]}, {replaced}; written to {accepted.folder}"]
    if not entry.calibrated:
        lines.append(
            f"it has no {CALIBRATION}, so only identical scores will pass: run python -m harness calibrate on the run, and accept it again"
        )
    return lines
