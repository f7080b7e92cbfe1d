"""What runs have cost, from the lines that the runner appends to `costs.jsonl` as it goes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from harness.show.report.model import Entry, RunCost

COSTS = "costs.jsonl"


def run_cost(entry: Entry) -> RunCost | None:
    """The costs of an entry's run, summed over its lines; None where it has none.

    Encoding is on a line per window, scoring on one per task, so an interrupted run tells what it did, too. A line that does not parse (the
    last one of a killed run) is counted as `damaged`, never guessed.
    """
    if entry.run is None or not (path := entry.run.path / COSTS).is_file():
        return None
    lines, damaged = _lines(path.read_text(encoding="utf-8", errors="replace").splitlines())
    encoding = [_part(line, "encoding") for line in lines]
    memory = [_part(line, "memory") for line in lines]
    return RunCost(
        entry=entry,
        path=path,
        encode_seconds=_sum(encoding, "encode_seconds"),
        scoring_seconds=_sum((_part(line, "seconds") for line in lines), "scoring"),
        waiting_seconds=_sum((_part(line, "run") for line in lines), "waiting_seconds"),
        tokenize_seconds=_sum(encoding, "tokenize_seconds"),
        canary_seconds=_sum((_part(line, "canary") for line in lines), "seconds"),
        texts=int(_sum(encoding, "texts")),
        distinct=int(_sum(encoding, "distinct")),
        found=int(_sum(encoding, "found")),
        tokens=int(_sum(encoding, "tokens")),
        real_tokens=int(_sum(encoding, "real_tokens")),
        shared=sum("shared_with" in line for line in lines),
        damaged=damaged,
        memory_gib=_peak(memory, "process_gib"),
        device_memory_gib=_peak(memory, "device_gib"),
    )


def _lines(texts: Iterable[str]) -> tuple[list[Mapping[str, Any]], int]:
    lines: list[Mapping[str, Any]] = []
    damaged = 0
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict):
            lines.append(line)
        else:
            damaged += 1
    return lines, damaged


def _part(line: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = line.get(key)
    return part if isinstance(part, Mapping) else {}


def _numbers(parts: Iterable[Mapping[str, Any]], key: str) -> list[float]:
    found = [part.get(key) for part in parts]
    return [float(n) for n in found if isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n)]


def _sum(parts: Iterable[Mapping[str, Any]], key: str) -> float:
    return math.fsum(_numbers(parts, key))


def _peak(parts: Iterable[Mapping[str, Any]], key: str) -> float | None:
    return max(_numbers(parts, key), default=None)
