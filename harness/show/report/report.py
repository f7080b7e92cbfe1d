"""Everything of a report, gathered from folders of results, a model card and a calibration."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.benchmarks import Benchmark
from harness.core.calibration import CALIBRATION, Calibration, read_calibration, run_calibration
from harness.core.costs import COSTS, Counters, read_costs
from harness.core.errors import InputError, RequestError
from harness.core.records import Run
from harness.core.run_files import EXAMPLES, read_manifest
from harness.read.claims.report import ClaimsReport, claims_report
from harness.read.claims.sheet import read_sheet
from harness.read.differences import SettingDifference, differences
from harness.show.report.curves import CurveSet, curve_sets
from harness.show.report.entries import Entry, read_entries, same_model
from harness.show.report.heat import HeatMap, Noise, comparable, heat_map
from harness.show.report.words import Language

if TYPE_CHECKING:
    from harness.show.report.moved import MovedExamples

DETAILED = 100
"""How many rows are shown task by task: a matrix of a thousand columns is read by nobody, and is most of the page."""


@dataclass(frozen=True)
class SettingRow:
    """A setting in which some run differs from the reference. `values`: per entry of `Settings`, reference first; None: unknown."""

    group: str
    name: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class Settings:
    """Environment and recipe of the runs of ours beside the reference's."""

    entries: tuple[Entry, ...]
    rows: tuple[SettingRow, ...]


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


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything on the page. `about`: the convention in words, by language. `detailed`: the rows that are shown task by task.

    `without_costs`: the runs of ours that have no costs.
    `offered`: a calibrated baseline of the reference's settings, where the reference has no noise bands.
    """

    benchmark: str
    convention: str
    about: Mapping[Language, str]
    entries: tuple[Entry, ...]
    detailed: tuple[Entry, ...]
    heat: HeatMap | None
    moved: tuple[MovedExamples, ...]
    curves: tuple[CurveSet, ...]
    costs: tuple[RunCost, ...]
    without_costs: tuple[Entry, ...]
    settings: Settings | None
    claims: tuple[ClaimsReport, ...]
    offered: Path | None

    @property
    def idle(self) -> tuple[str, ...]:
        """The tasks that no row has, not even as a failure."""
        columns = zip(*(entry.row.tasks for entry in self.detailed), strict=True)
        return tuple(tasks[0].task for tasks in columns if all(task.state == "missing" for task in tasks))


def build_report(
    paths: Sequence[Path],
    benchmark: Benchmark,
    *,
    convention: str | None = None,
    reference: Path | None = None,
    card: Path | None = None,
    calibration: Path | None = None,
    baselines: Path = Path("results/baselines"),
    merge: str | None = None,
    texts: bool = False,
) -> Report:
    """The report on all runs at or below the paths.

    `reference`: the run that others are compared with, shown even where it is below no path; without it the run that the calibration
    belongs to, else of the rows that another one can be compared with the one with the most scores, on the benchmark's own data first.
    `calibration`: its noise bands; without it the file that lies beside the reference's records, if one does. `baselines`: where else to
    look for one, to offer it.
    `card`: graded against every run of its model. `merge`: how the folders of a model's revisions become one run. `texts`: show those of
    the examples that moved most, where the data is at hand.

    Raises:
        RequestError: a path without a run, several runs at `reference`, an unknown convention, or a calibration of another run.
        InputError: a file can't be read.
    """
    convention = convention or benchmark.usual
    rule = benchmark.convention(convention)
    entries = read_entries([*paths, *([reference] if reference else [])], benchmark, convention=convention, merge=merge)
    noise = read_calibration(calibration, benchmark) if calibration else None
    chosen = _reference(entries, reference, noise)
    if noise is not None and (chosen is None or chosen.run is None):
        raise RequestError("a calibration needs the run that it belongs to: name it with --reference RUN")
    bands = _bands(entries, benchmark)
    if chosen and chosen.run and (calibration or _of_benchmark(chosen.run, benchmark)):  # where its own is damaged, it is an error
        own = run_calibration(chosen.run, benchmark, calibration)
        bands |= {chosen.number: Noise(calibration or chosen.run.path / CALIBRATION, own)} if own else {}
    detailed = _detailed(entries, chosen)
    ours = [entry for entry in detailed if entry.kind == "ours" and entry.row.unreadable is None]
    costs = [(entry, _run_cost(entry)) for entry in ours]
    return Report(
        benchmark=benchmark.name,
        convention=convention,
        about={"en": rule.about, "zh": rule.about_zh or rule.about},
        entries=entries,
        detailed=detailed,
        heat=heat_map(detailed, chosen, noise=bands) if chosen else None,
        moved=_moved(ours, chosen, benchmark, texts=texts),
        curves=curve_sets(detailed if len(entries) > DETAILED else entries),
        costs=tuple(cost for _, cost in costs if cost),
        without_costs=tuple(entry for entry, cost in costs if cost is None),
        settings=_settings(ours, chosen),
        offered=_calibrated_baseline(chosen, baselines) if chosen and chosen.number not in bands else None,
        claims=_claims(card, entries, benchmark, bands.get(chosen.number) if chosen else None) if card else (),
    )


def _run_cost(entry: Entry) -> RunCost | None:
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


def _moved(ours: Sequence[Entry], reference: Entry | None, benchmark: Benchmark, *, texts: bool) -> tuple[MovedExamples, ...]:
    """What moved between runs that keep examples; only then scipy is imported, which takes as long as a small report."""
    kept = [entry for entry in ours if (entry.row.path / EXAMPLES).is_dir()]
    if len(kept) < 2:
        return ()
    from harness.show.report.moved import moved_examples

    return moved_examples(kept, reference, benchmark, texts=texts)


def _detailed(entries: Sequence[Entry], reference: Entry | None) -> tuple[Entry, ...]:
    """The rows with tasks, in their order; of very many the reference and the best ones."""
    rows = [entry for entry in entries if entry.row.tasks]
    best = sorted(rows, key=lambda entry: (entry is not reference, entry.row.cells[0].value is None, -(entry.row.cells[0].value or 0)))
    kept = {entry.number for entry in best[:DETAILED]}
    return tuple(entry for entry in rows if entry.number in kept)


def _reference(entries: Sequence[Entry], path: Path | None, noise: Calibration | None) -> Entry | None:
    with_tasks = [entry for entry in entries if entry.row.tasks and entry.row.unreadable is None]
    if path is None:
        calibrated = [entry for entry in with_tasks if noise and entry.run and entry.run.manifest.run == noise.run]
        return max(calibrated or with_tasks, key=partial(_coverage, with_tasks), default=None)
    place = path.resolve()
    found = [entry for entry in with_tasks if place in (entry.row.path.resolve(), *entry.row.path.resolve().parents)]
    if len(found) != 1:
        named = ", ".join(str(entry.row.path) for entry in found[:4]) or "none that can be read"
        raise RequestError(f"--reference {path} holds {len(found)} runs ({named}): name one of them")
    return found[0]


def _coverage(entries: Sequence[Entry], entry: Entry) -> tuple[bool, bool, int]:
    """How well a row serves as the reference of others: comparable with one of them, on the benchmark's data, of many tasks."""
    scores = sum(task.score is not None for task in entry.row.tasks)
    return any(comparable(other, entry) for other in entries), entry.on_benchmark, scores


def _bands(entries: Sequence[Entry], benchmark: Benchmark) -> dict[int, Noise]:
    """The noise bands beside the runs of ours, where they belong to the records there; by `Entry.number`."""
    found: dict[int, Noise] = {}
    for entry in entries:
        if entry.run and entry.run.ours:
            with contextlib.suppress(InputError, RequestError):  # of the reference it is an error, of another row nothing is lost
                calibration = run_calibration(entry.run, benchmark)
                found |= {entry.number: Noise(entry.run.path / CALIBRATION, calibration)} if calibration else {}
    return found


def _of_benchmark(run: Run, benchmark: Benchmark) -> bool:
    """Whether the run was made for this benchmark: a calibration holds for the one that its run was made for."""
    made_for = run.manifest.benchmark
    return made_for is None or made_for.name == benchmark.name


def _calibrated_baseline(entry: Entry, baselines: Path) -> Path | None:
    """The baseline of the entry's own settings that has noise bands."""
    if entry.run is None or entry.run.manifest.run is None:
        return None
    for path in sorted(baselines.glob(f"*/*/{CALIBRATION}")):
        with contextlib.suppress(InputError):
            if read_manifest(path.parent).run == entry.run.manifest.run and path.parent.resolve() != entry.row.path.resolve():
                return path.parent
    return None


def _settings(ours: Sequence[Entry], reference: Entry | None) -> Settings | None:
    """What differs among the runs of ours, the reference first where it is one; None where there is no pair."""
    ordered = sorted(ours, key=lambda entry: entry is not reference)
    if len(ordered) < 2 or ordered[0].run is None:
        return None
    first = ordered[0].run
    found: list[dict[str, SettingDifference]] = [
        {each.key: each for each in differences(first, entry.run)} if entry.run else {} for entry in ordered[1:]
    ]
    every = {key: each for run in found for key, each in run.items()}
    rows = [SettingRow(each.kind, key, (each.a, *(run[key].b if key in run else each.a for run in found))) for key, each in every.items()]
    return Settings(tuple(ordered), tuple(sorted(rows, key=lambda row: (row.group, row.name))))


def _claims(card: Path, entries: Sequence[Entry], benchmark: Benchmark, noise: Noise | None) -> tuple[ClaimsReport, ...]:
    """The card graded against every run of its model; by itself where there is none."""
    model = read_sheet(card, benchmark).model
    reports = []
    for entry in entries:
        if entry.run is None or entry.row.unreadable or entry.row.path.resolve() == card.resolve() or not same_model(entry, model):
            continue
        own = noise.path if noise and entry.run.manifest.run == noise.calibration.run else None
        reports.append(claims_report(card, against=entry.row.path, noise=own, benchmark=benchmark.name))
    return tuple(reports) or (claims_report(card, benchmark=benchmark.name),)
