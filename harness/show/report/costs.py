"""What runs have cost, from the lines that the runner appends to `costs.jsonl` as it goes."""

from __future__ import annotations

import math

from harness.core.costs import COSTS, Counters, read_costs
from harness.show.report.model import Entry, RunCost


def run_cost(entry: Entry) -> RunCost | None:
    """The costs of an entry's run, summed over its lines; None where it has none.

    Encoding is on a line per window, scoring on one per task, so an interrupted run has the costs of what it did, too. A line that does not
    parse (the last one of a killed run) is counted as `damaged`, never guessed.
    """
    if entry.run is None or not (path := entry.run.path / COSTS).is_file():
        return None
    lines, damaged = read_costs(entry.run.path)
    encoding = sum((line.encoding for line in lines if line.encoding), Counters())
    memory = [line.memory for line in lines if line.memory]
    return RunCost(
        entry=entry,
        path=path,
        encode_seconds=encoding.encode_seconds,
        scoring_seconds=math.fsum(line.seconds.get("scoring", 0.0) for line in lines if line.seconds),
        waiting_seconds=math.fsum(line.run.waiting_seconds for line in lines if line.run),
        tokenize_seconds=encoding.tokenize_seconds,
        canary_seconds=math.fsum(line.canary.seconds for line in lines if line.canary),
        texts=encoding.texts,
        distinct=encoding.distinct,
        found=encoding.found,
        tokens=encoding.tokens,
        real_tokens=encoding.real_tokens,
        shared=sum(line.shared_with is not None for line in lines),
        damaged=damaged,
        memory_gib=max((peak.process_gib for peak in memory), default=None),
        device_memory_gib=max((peak.device_gib for peak in memory if peak.device_gib is not None), default=None),
    )
