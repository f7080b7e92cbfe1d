"""Runs of one model that the public results repository keeps in several folders (`external`, and one per revision) as one run.

Every score of the merged run is one score of one folder: nothing is averaged, and the notes say which folder it came from.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.benchmarks import Benchmark
from harness.core.errors import RequestError
from harness.core.formatting import amount, few, grouped
from harness.core.records import Run, TaskRecord
from harness.read.results import SELF_REPORTED, is_revision

NEWEST = "newest"


def merge_runs(runs: Sequence[Run], prefer: str, benchmark: Benchmark) -> list[Run]:
    """The runs, those of one model and setting that lie in folders named by a revision as one, where the first of them stood.

    A score that several of the folders have is taken by `prefer`: `newest` (the highest version of mteb; self-reported ones, which state
    none, last), `external` (self-reported ones first), or a revision of the model (or how it begins) first; then by `newest`. A task with
    different scores between which that does not decide is named under `broken`.

    Raises:
        RequestError: `prefer` names no revision of any of the runs.
    """
    folders = [run for run in runs if not run.ours and run.path.is_dir() and is_revision(run.path.resolve().name)]
    groups = grouped((replace(run.header, notes=()), run) for run in folders)
    revisions = sorted({run.path.resolve().name for group in groups.values() for run in group})
    if prefer != NEWEST and not any(prefer and name.startswith(prefer) for name in [SELF_REPORTED, *revisions]):
        known = few([NEWEST, SELF_REPORTED, *(name for name in revisions if name != SELF_REPORTED)], 8)
        raise RequestError(f"--merge {prefer}: no folder of these results has this name. Choose one of: {known}")
    merged = {id(group[0]): _merged(group, prefer, benchmark) for group in groups.values() if len(group) > 1}
    absorbed = {id(run) for group in groups.values() for run in group[1:]}
    return [merged.get(id(run), run) for run in runs if id(run) not in absorbed]


def _merged(runs: Sequence[Run], prefer: str, benchmark: Benchmark) -> Run:
    root = Path(os.path.commonpath([run.path for run in runs]))
    folders = {id(run): os.path.relpath(run.path, root) for run in runs}
    merged = Run(root, runs[0].manifest, {})
    origins: dict[str, list[str]] = {folder: [] for folder in folders.values()}
    for task in (task.name for task in benchmark.tasks):
        scored = _first({id(run): run.records[task].metrics for run in runs if task in run.records}, runs, task, prefer)
        told = _first({id(run): run.reported[task] for run in runs if run.reported.get(task)}, runs, task, prefer)
        if isinstance(told, Run):
            merged.reported[task] = told.reported[task]
        if isinstance(scored, Run):
            merged.records[task] = _from_folder(scored.records[task], folders[id(scored)])
        elif problems := [scored] if scored else [run.broken[task] for run in runs if task in run.broken]:
            merged.broken[task] = "; ".join(problems)
            merged.other_definitions.update({each: other for run in runs for each, other in run.other_definitions.items() if each == task})
        if origin := next((each for each in (scored, told) if isinstance(each, Run)), None):
            origins[folders[id(origin)]].append(task)
    notes = [f"merged from {len(runs)} folders, --merge {prefer}: {_said(origins)}"]
    notes += [f"{_short(folders[id(run)])}: {note}" for run in runs for note in run.header.notes]
    return replace(merged, manifest=replace(merged.manifest, header=replace(merged.header, notes=tuple(notes))))


def _from_folder(record: TaskRecord, folder: str) -> TaskRecord:
    """The record, with its file as seen from the merged run's folder."""
    origin = record.made.origin
    if origin is None or origin.file is None:
        return record
    return replace(record, made=replace(record.made, origin=replace(origin, file=f"{folder}/{origin.file}")))


def _said(origins: Mapping[str, Sequence[str]]) -> str:
    """From which folder each task came; the tasks of the largest one are only counted."""
    by_size = sorted(origins.items(), key=lambda each: -len(each[1]))
    small = [f"{', '.join(tasks) or 'nothing'} from {_short(folder)}" for folder, tasks in by_size[1:]]
    return "; ".join([*small, *(f"the other {amount(len(tasks), 'task')} from {_short(folder)}" for folder, tasks in by_size[:1])])


def _short(folder: str) -> str:
    """The folder with a commit at its end cut to 8 digits."""
    return re.sub(r"([0-9a-f]{8})[0-9a-f]{32}$", r"\1", folder)


def _first(values: Mapping[int, Any], runs: Sequence[Run], task: str, prefer: str) -> Run | str | None:
    """The run whose value (by its id) goes first; a message where several go first and differ; None where no run has one."""
    ranks = {id(run): _rank(run, task, prefer) for run in runs if id(run) in values}
    best = [run for run in runs if id(run) in ranks and ranks[id(run)] == max(ranks.values())]
    if any(values[id(run)] != values[id(best[0])] for run in best):
        folders = " and ".join(run.path.name for run in best)
        return f"{folders} have different scores, and --merge {prefer} does not choose between them: name one of these revisions"
    return best[0] if best else None


def _rank(run: Run, task: str, prefer: str) -> tuple[int, ...]:
    """The higher the better: the folder that is preferred, then the version of mteb, of which self-reported scores state none."""
    folder, record = run.path.resolve().name, run.records.get(task)
    version = record.mteb_version if record else next((each.mteb_version for each in run.records.values()), None)
    numbers = tuple(int(number) for number in re.findall(r"\d{1,9}", version or ""))
    return (int(prefer != NEWEST and folder.startswith(prefer)), int(folder != SELF_REPORTED), *numbers[:3])
