"""What runs have cost, from the lines that the runner appends to `costs.jsonl` as it goes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from harness.core.costs import COSTS, Counters, read_costs
from harness.show.report.entries import Entry


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run has cost, over all its sittings. `path`: the file that says so, with `damaged` lines that do not parse.

    `canary_seconds` went into checking the model before the run. `shared`: tasks whose scores came from a run that differs in `max_len`
    alone. `memory_gib`, `device_memory_gib`: the peak of the process and of the device, None where unknown.
    """

    entry: Entry
    path: Path
    encoding: Counters
    scoring_seconds: float
    waiting_seconds: float
    canary_seconds: float
    shared: int
    damaged: int
    memory_gib: float | None
    device_memory_gib: float | None


def run_cost(entry: Entry) -> RunCost | None:
    """The costs of an entry's run, summed over its lines; None where it has none.

    Encoding is on a line per window, scoring on one per task, so an interrupted run has the costs of what it did, too. A line that does not
    parse (the last one of a killed run) is counted as `damaged`, never guessed.
    """
    if entry.run is None or not (path := entry.run.path / COSTS).is_file():
        return None
    lines, damaged = read_costs(entry.run.path)
    memory = [line.memory for line in lines if line.memory]
    return RunCost(
        entry=entry,
        path=path,
        encoding=sum((line.encoding for line in lines if line.encoding), Counters()),
        scoring_seconds=math.fsum(line.seconds.get("scoring", 0.0) for line in lines if line.seconds),
        waiting_seconds=math.fsum(line.run.waiting_seconds for line in lines if line.run),
        canary_seconds=math.fsum(line.canary.seconds for line in lines if line.canary),
        shared=sum(line.shared_with is not None for line in lines),
        damaged=damaged,
        memory_gib=max((peak.process_gib for peak in memory), default=None),
        device_memory_gib=max((peak.device_gib for peak in memory if peak.device_gib is not None), default=None),
    )
