"""What a run need not compute: its own valid records, and those of runs that differ in `max_len` alone and cut no text of the task."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.core import environment
from harness.core.errors import InputError
from harness.core.examples import Examples, read_examples
from harness.core.folds import refuse_foreign
from harness.core.records import TaskRecord, find_runs, read_manifest, read_record
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.data.types import LoadedTask

LARGEST_WINDOW = 8 * 2**30
"""Bytes of raw vectors that are kept in memory at most; C-MTEB has 6.4 GB of acge's in half precision."""


def window_bytes() -> int:
    """Bytes of raw vectors that a run on this machine keeps in memory at once. No bit of a vector depends on it."""
    return min(LARGEST_WINDOW, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def valid_records(spec: RunSpec, tasks: Sequence[TaskSpec], benchmark: str) -> list[tuple[TaskSpec, TaskRecord]]:
    """The tasks with a record of this very run, these packages and the `benchmark` of that digest; a damaged or foreign file is none. The
    weights are not compared.

    Nor is a record whose examples are gone, or are not those that it was made of: what can't be explained later is computed again.
    """
    found: list[tuple[TaskSpec, TaskRecord]] = []
    for task in tasks:
        try:
            record, _ = read_scores(spec.folder, task)
        except InputError:
            continue
        made = record.made
        own = made.run == spec.digest and made.benchmark is not None and made.benchmark.digest == benchmark
        if own and made.versions == environment.scoring_versions():
            found.append((task, record))
    return found


def of_weights(records: Sequence[tuple[TaskSpec, TaskRecord]], digest: str) -> list[TaskSpec]:
    """The tasks of those records that were made with the weights."""
    return [task for task, record in records if record.made.model and record.made.model.weights_digest == digest]


def read_scores(folder: Path, task: TaskSpec) -> tuple[TaskRecord, Examples]:
    """A task's record and its examples.

    Raises:
        InputError: one of them is missing or damaged, or they are of two computations.
    """
    record, examples = read_record(folder / f"{task.name}.json", task), read_examples(folder, task)
    refuse_foreign(task, examples, record.main_score(task), where=folder)
    return record, examples


def runs_of_other_lengths(spec: RunSpec, digest: str) -> list[Path]:
    """Run folders beside this one, of the same vectors (`Fingerprint.digest`) and the same spec but for `max_len`."""
    found = []
    for folder in find_runs(spec.folder.parent):
        try:
            manifest = read_manifest(folder)
        except InputError:
            continue
        same_vectors = manifest.model is not None and manifest.model.digest == digest
        if folder != spec.folder and same_vectors and manifest.spec is not None and spec.equal_but(manifest.spec, "max_len"):
            found.append(folder)
    return found


def shared_scores(spec: RunSpec, task: TaskSpec, loaded: LoadedTask, runs: Sequence[Path]) -> tuple[TaskRecord, Examples, Path] | None:
    """The record, examples and folder of the first of the `runs` (of other lengths) that cuts no text of the task, nor does this one:
    the vectors are the same. None where there is none."""
    for folder in runs:
        try:
            record, examples = read_scores(folder, task)
        except InputError:
            continue
        made = record.made
        uncut = made.encoding is not None and made.encoding.cut == 0 and made.encoding.longest <= spec.max_len
        if uncut and made.data == loaded.provenance and made.versions == environment.scoring_versions():
            return record, examples, folder
    return None
