"""What a run has cost: `costs.jsonl` in its folder. Costs differ from run to run and records must not, so they have a file of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.core.errors import InputError, MachineError, unread
from harness.core.files import open_regular, open_to_append
from harness.core.typed import convert, parse, plain

COSTS = "costs.jsonl"


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What encoding has cost; subtract an earlier value to know what lay between.

    `distinct`: different token id sequences, counted per call; `real_tokens`: theirs. `found`: of these, in the store. `tokens`: through
    the model, padding and dummy rows among them, and `flops` what they took (`work`). `cut`: texts that `max_len` shortened. Seconds of
    tokenising overlap those of encoding.
    """

    texts: int = 0
    distinct: int = 0
    found: int = 0
    forwards: int = 0
    tokens: int = 0
    flops: int = 0
    real_tokens: int = 0
    cut: int = 0
    tokenize_seconds: float = 0.0
    encode_seconds: float = 0.0
    store_seconds: float = 0.0

    @property
    def texts_per_second(self) -> float | None:
        """Distinct texts that went through the model per second of encoding; None where none did."""
        computed = self.distinct - self.found
        return computed / self.encode_seconds if computed and self.encode_seconds else None

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens through the model per second of encoding, padding among them; None where there were none."""
        return self.tokens / self.encode_seconds if self.tokens and self.encode_seconds else None

    @property
    def padding(self) -> float | None:
        """The share of the tokens through the model that no text needed, 0 to 1; None where some texts came from the store."""
        return 1 - self.real_tokens / self.tokens if self.tokens and not self.found else None

    def __add__(self, other: Counters) -> Counters:
        return Counters(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def __sub__(self, other: Counters) -> Counters:
        return Counters(**{name: value - getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True)
class PeakMemory:
    """The most memory that was held at once, in GiB: by this process (not by those that score beside it), by torch on the GPU."""

    process_gib: float
    device_gib: float | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run has cost: the counters of its encoding, seconds of scoring, and seconds of waiting for scores alone."""

    encoding: Counters = field(default_factory=Counters)
    scoring_seconds: float = 0.0
    waiting_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CanaryCost:
    """Seconds of the canary."""

    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CostLine:
    """One line of the file; what it is about is not None.

    `canary`: before the first text. `encoding`: of the window of `tasks` that were encoded together. `seconds`: of one task, by stage
    (`loading`, `encoding`, `scoring`). `shared_with`: the run whose scores a task took. `run` and `memory`: at a run's end.
    """

    tasks: tuple[str, ...] | None = None
    canary: CanaryCost | None = None
    encoding: Counters | None = None
    seconds: Mapping[str, float] | None = None
    shared_with: str | None = None
    run: Cost | None = None
    memory: PeakMemory | None = None


def append_cost(folder: Path, line: CostLine) -> None:
    """Append the line to the costs of the run in the folder; raises MachineError where that can't be done."""
    text = json.dumps({key: value for key, value in plain(line).items() if value is not None})
    try:
        with open_to_append(folder / COSTS) as stream:
            stream.write(f"{text}\n".encode())
    except OSError as error:
        raise MachineError(f"can't write {folder / COSTS}: {error.strerror}. Move it away, or make room there") from error


def read_costs(folder: Path) -> tuple[list[CostLine], int]:
    """The lines of the run in the folder, and how many others are none: the last one of a killed run may be cut short."""
    try:
        with open_regular(folder / COSTS) as stream:
            texts = stream.read().splitlines()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise InputError(unread(folder / COSTS, error)) from error
    lines = []
    for text in texts:
        try:
            lines.append(convert(parse(text), CostLine))
        except ValueError:
            continue
    return lines, len(texts) - len(lines)
