"""What a run leaves behind: one JSON per task in mteb 1.1.1's own form, one manifest; written whole, read with suspicion.

A run folder holds `manifest.json`, `spec.yaml`, `<Task>.json` for every finished task and `errors/<Task>.json` for every task that
failed and has not succeeded since. `<Task>.json` is what mteb 1.1.1 writes (`mteb_version`, `mteb_dataset_name`, `dataset_revision`,
split -> metrics with `evaluation_time`) plus the key `harness`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.core.benchmark import Benchmark, TaskSpec
from harness.core.errors import InputError
from harness.core.files import write_json

SCHEMA = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True, kw_only=True)
class RowHeader:
    """What the leaderboard says of a run beside its scores, in the words of the card's table.

    `dtype` as the card writes it (`float16`); `size_gb`: parameters times bytes of the dtype the weights are kept in, 10^9 bytes...
    None where unknown; `notes`: whatever a reader must know before believing the row (sample data, another device, substituted revisions).
    """

    model: str
    gpu: str
    dtype: str
    size_gb: float | None
    dim: int | None
    max_len: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """One task's scores. `metrics`: the split's metrics as mteb 1.1.1 nests them (under the language where it does), 0 to 1.

    `dataset_revision`: the commit that was read; None where the source does not say. `evaluation_time`: seconds.
    `harness`: everything of ours (data provenance, encoding counters, versions), empty in records that others made.
    """

    task: str
    split: str
    metrics: Mapping[str, Any]
    dataset_revision: str | None
    evaluation_time: float | None
    mteb_version: str | None = "1.1.1"
    harness: Mapping[str, Any] = field(default_factory=dict)

    def metric(self, task: TaskSpec, path: str) -> float:
        """The metric at a dotted path (`cos_sim.spearman`), looked up under the task's language where it has one.

        Raises:
            InputError: the record has no finite number there.
        """
        value: Any = self.metrics.get(task.language, self.metrics) if task.language else self.metrics
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise InputError(f"the record of {task.name} has no number at {path} (found {value!r}): run the task again")
        return float(value)

    def main_score(self, task: TaskSpec) -> float:
        """The metric that the leaderboard averages, 0 to 1."""
        return self.metric(task, task.main)


def flat_metrics(metrics: Mapping[str, Any], task: TaskSpec) -> dict[str, float]:
    """The numbers of a record, 0 to 1, under their flat names (`cos_sim_spearman`)."""
    inner = metrics.get(task.language, metrics) if task.language else metrics
    flat: dict[str, float] = {}
    for name, value in inner.items():
        group = {f"{name}_{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {name: value}
        flat |= {key: float(each) for key, each in group.items() if isinstance(each, (int, float)) and not isinstance(each, bool)}
    return flat


@dataclass(frozen=True)
class Run:
    """A folder of records, as the read side sees it. `broken`: files that are no usable record, and why."""

    path: Path
    header: RowHeader
    records: dict[str, TaskRecord]
    failed: dict[str, str]
    broken: dict[str, str]
    manifest: Mapping[str, Any]


def write_record(folder: Path, record: TaskRecord) -> Path:
    """Write `<Task>.json` and forget the task's earlier failure; the path that was written."""
    path = folder / f"{record.task}.json"
    write_json(
        path,
        {
            "mteb_version": record.mteb_version,
            "mteb_dataset_name": record.task,
            "dataset_revision": record.dataset_revision,
            record.split: {**record.metrics, "evaluation_time": record.evaluation_time},
            "harness": {"schema": SCHEMA, **record.harness},
        },
    )
    (folder / "errors" / f"{record.task}.json").unlink(missing_ok=True)
    return path


def write_failure(folder: Path, task: str, *, kind: str, message: str, traceback: str) -> Path:
    """Write `errors/<Task>.json`; the path that was written."""
    path = folder / "errors" / f"{task}.json"
    write_json(path, {"mteb_dataset_name": task, "error": kind, "message": message, "traceback": traceback})
    return path


def read_record(path: Path, task: TaskSpec) -> TaskRecord:
    """The record in the file, with a finite main score.

    Raises:
        InputError: the file is truncated, of another task, of a newer schema, or lacks the split or the main score.
    """
    remedy = "delete it and run the task again"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read as JSON ({error}): {remedy}") from error
    if not isinstance(raw, dict) or raw.get("mteb_dataset_name") not in task.names:
        found = raw.get("mteb_dataset_name") if isinstance(raw, dict) else type(raw).__name__
        raise InputError(f"{path} is no record of {task.name} (mteb_dataset_name: {found!r}): {remedy}")
    ours = raw.get("harness") or {}
    if not isinstance(ours, dict) or not isinstance(ours.get("schema", SCHEMA), int):
        raise InputError(f"{path} has something foreign under 'harness' ({ours!r:.80}): {remedy}")
    if ours.get("schema", SCHEMA) > SCHEMA:
        raise InputError(f"{path} was written by a newer harness (schema {ours['schema']}, this one reads {SCHEMA}): upgrade")
    scores = raw.get(task.split)
    if not isinstance(scores, dict):
        raise InputError(f"{path} has no split {task.split!r}: {remedy}")
    metrics = {key: value for key, value in scores.items() if key != "evaluation_time"}
    record = TaskRecord(
        task=task.name,
        split=task.split,
        metrics=metrics,
        dataset_revision=raw.get("dataset_revision"),
        evaluation_time=scores.get("evaluation_time"),
        mteb_version=raw.get("mteb_version"),
        harness={key: value for key, value in ours.items() if key != "schema"},
    )
    try:
        record.main_score(task)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return record


def write_manifest(folder: Path, header: RowHeader, content: Mapping[str, Any]) -> None:
    """Write `manifest.json`: the row header and whatever identifies the environment."""
    write_json(folder / MANIFEST, {"schema": SCHEMA, "header": asdict(header), **content})


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        raw["header"] = asdict(parse_header(raw["header"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no manifest of a run ({error!r}): name a run folder, or run again with overwrite=true") from error
    return dict(raw)


def parse_header(raw: Any) -> RowHeader:
    """The row header that a file holds.

    Raises:
        TypeError, ValueError: it is something else.
    """
    header = RowHeader(**{**raw, "notes": tuple(raw["notes"])})
    if not all(isinstance(text, str) for text in (header.model, header.gpu, header.dtype, *header.notes)):
        raise ValueError(f"model, gpu, dtype and notes must be text: {header}")
    for number, kind in ((header.size_gb, (int, float)), (header.dim, int), (header.max_len, int)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, kind) or not 0 <= number < 1e12):
            raise ValueError(f"size_gb, dim and max_len must be numbers: {header}")
    return header


def read_run(folder: Path, benchmark: Benchmark) -> Run:
    """All records of a run folder; a damaged one is named under `broken`, never counted.

    Raises:
        InputError: the folder has no usable manifest.
    """
    manifest = read_manifest(folder)
    records: dict[str, TaskRecord] = {}
    failed: dict[str, str] = {}
    broken: dict[str, str] = {}
    for task in benchmark.tasks:
        path = folder / f"{task.name}.json"
        if path.is_file():
            try:
                records[task.name] = _of_this_run(read_record(path, task), manifest, path)
            except InputError as error:
                broken[task.name] = str(error)
        error_path = folder / "errors" / f"{task.name}.json"
        if task.name not in records and error_path.is_file():
            failed[task.name] = _failure_message(error_path)
    return Run(folder, RowHeader(**manifest["header"]), records, failed, broken, manifest)


def find_runs(path: Path) -> list[Path]:
    """The run folders at or below a path, sorted; those named by their manifest."""
    return sorted(manifest.parent for manifest in path.rglob(MANIFEST))


def _of_this_run(record: TaskRecord, manifest: Mapping[str, Any], path: Path) -> TaskRecord:
    """The record, unless it tells of other weights than the manifest beside it."""
    weights = [part.get("weights_digest") for part in (record.harness.get("model"), manifest.get("model")) if isinstance(part, Mapping)]
    if len(weights) == 2 and weights[0] != weights[1]:
        raise InputError(f"{path} was made with other weights than the run's manifest says: run the task again")
    return record


def _failure_message(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["message"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"failed; {path} is damaged too"
