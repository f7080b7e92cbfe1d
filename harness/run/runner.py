"""A run: plan what is left to do, then task by task: load, encode, score, write. What is finished is neither lost nor computed again."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from harness.core import environment
from harness.core.benchmark import Benchmark, TaskSpec, load_benchmark
from harness.core.config import device_matches
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.examples import Examples, write_examples
from harness.core.files import atomic_write
from harness.core.records import (
    MANIFEST,
    RowHeader,
    TaskRecord,
    read_manifest,
    write_failure,
    write_manifest,
    write_record,
)
from harness.core.spec import Dtype, ModelSpec, RunSpec
from harness.data.types import LoadedTask
from harness.run.agenda import as_json, of_weights, runs_of_other_lengths, shared_scores, valid_records
from harness.run.encode.device import TORCH_DTYPE, DeviceInfo, PeakMemory, describe_device, peak_memory
from harness.run.encode.encoder import ENCODERS, Checked, Counters, Encoder
from harness.run.encode.pool import EncoderPool
from harness.run.evaluation import Evaluated, Evaluation, Progress
from harness.run.score.seeding import SEED
from harness.run.score.workers import ScoringPool

COSTS = "costs.jsonl"
"""A line per canary, per window of tasks that were encoded together, per task that was scored, and per run. Appended to."""

UNCHECKED = {"verdict": "off"}
"""What the manifest says of a model that was not checked before the run."""

CARD_DTYPES: dict[Dtype, str] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
"""How model cards spell what `dtype=` takes."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a run has cost: the counters of its encoding, seconds of scoring, and seconds of waiting for scores alone."""

    encoding: Counters = field(default_factory=Counters)
    scoring_seconds: float = 0.0
    waiting_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to: names of tasks; `failed` maps a task to its error."""

    folder: Path
    computed: tuple[str, ...]
    reused: tuple[str, ...]
    failed: dict[str, str]
    cost: Cost


def execute(spec: RunSpec, device: torch.device, progress: Progress, *, encoders: EncoderPool | None = None) -> Outcome:
    """Run what of `spec` has no valid record yet, and write the records. `encoders`: weights that are loaded already.

    Raises:
        RequestError: another run is writing the folder, or the folder holds records of other weights or packages.
        InputError, MachineError: the model can't be loaded, or the folder can't be written. A task's own errors become its record.
        CanaryError: the model does not encode as it should.
    """
    benchmark = load_benchmark(spec.benchmark)
    selected = benchmark.select(spec.tasks)
    done = [] if spec.overwrite else _done(spec, selected)
    todo = [task for task in selected if task not in done]
    progress.plan(todo, done)
    failed: dict[str, str] = {}
    cost = Cost()
    if todo:
        with _exclusive(spec.folder):
            encoders = encoders or EncoderPool()
            encoder = encoders.encoder(spec, device)
            if spec.dim is not None and spec.dim > encoder.embedding_dim:
                raise RequestError(
                    f"dim={spec.dim}: {spec.model.name} has {encoder.embedding_dim} dimensions; give at most that, or dim=null"
                )
            header, content = _manifest(spec, benchmark, encoder, describe_device(device))
            if not spec.overwrite and (spec.folder / MANIFEST).is_file():
                refuse_other_origin(spec.folder, content)
            checked = encoders.check(spec, device) if spec.canary else None
            if spec.canary and checked is None:
                note = f"the model was not checked before the run (model.kind={spec.model.kind} has no check)"
                header = replace(header, notes=(*header.notes, note))
            _open_folder(spec, header, content | {"canary": as_json(checked.found) if checked else UNCHECKED})
            sink = _Records(spec, benchmark, encoder, progress)
            sink.checked(checked)
            with ScoringPool(_workers(spec, device)) as pool:
                evaluation = Evaluation(spec, encoder, pool, sink, progress)
                evaluation.run(todo)
            failed, cost = sink.errors, sink.finish(evaluation.waited, peak_memory(device))
    return Outcome(
        folder=spec.folder,
        computed=tuple(task.name for task in todo if task.name not in failed),
        reused=tuple(task.name for task in done),
        failed=failed,
        cost=cost,
    )


def _done(spec: RunSpec, tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
    """The tasks with a valid record of this run and of these weights, which are hashed only where there is a record."""
    records = valid_records(spec, tasks)
    return of_weights(records, ENCODERS.get(spec.model.kind).weights_digest(spec.model)) if records else []


class _Records:
    """The sink of a run: scores and errors become files of its folder as they come."""

    def __init__(self, spec: RunSpec, benchmark: Benchmark, encoder: Encoder, progress: Progress) -> None:
        self._spec = spec
        self._benchmark = benchmark
        self._progress = progress
        fingerprint = encoder.fingerprint
        self._model = {"commit": fingerprint.commit, "weights_digest": fingerprint.weights_digest}
        self._siblings = runs_of_other_lengths(spec, encoder.fingerprint.digest)
        self._cost = Cost()
        self.errors: dict[str, str] = {}

    def shared(self, task: TaskSpec, loaded: LoadedTask) -> bool:
        """Take the scores of a run that differs in `max_len` alone, where neither cuts a text of the task: the vectors are the same."""
        found = shared_scores(self._spec, task, loaded, self._siblings)
        if found is None:
            return False
        record, examples, folder = found
        self._write(task, replace(record, harness={**record.harness, "run": self._spec.digest}), examples)
        self._append_cost({"tasks": [task.name], "shared_with": folder.name})
        return True

    def succeeded(self, result: Evaluated) -> None:
        """Write the record and the line of its costs."""
        harness = {
            "run": self._spec.digest,
            "benchmark": {"name": self._benchmark.name, "digest": self._benchmark.digest},
            "model": {"name": self._spec.model.name, **self._model},
            "data": asdict(result.loaded.provenance),
            "encoding": result.encoding,
            "scoring": {**asdict(self._spec.scoring), "dim": self._spec.dim, "seed": SEED},
            "versions": environment.scoring_versions(),
        }
        record = TaskRecord(
            task=result.task.name,
            split=result.task.split,
            metrics=result.metrics,
            dataset_revision=result.loaded.provenance.revision,
            evaluation_time=round(sum(result.seconds.values()), 2),
            harness=harness,
        )
        self._write(result.task, record, result.examples)
        self._append_cost({"tasks": [result.task.name], "seconds": {key: round(value, 3) for key, value in result.seconds.items()}})
        self._cost = replace(self._cost, scoring_seconds=self._cost.scoring_seconds + result.seconds["scoring"])

    def failed(self, task: TaskSpec, error: BaseException, message: str, trace: str) -> None:
        """Write the error."""
        self.errors[task.name] = message
        write_failure(self._spec.folder, task.name, kind=type(error).__name__, message=message, traceback=trace)

    def checked(self, checked: Checked | None) -> None:
        """Write the line of the check's seconds."""
        if checked is not None:
            self._append_cost({"canary": {"seconds": checked.seconds}})

    def window(self, tasks: Sequence[TaskSpec], counters: Counters) -> None:
        """Write the line of what encoding has cost."""
        self._append_cost({"tasks": [task.name for task in tasks], "encoding": asdict(counters)})
        self._cost = replace(self._cost, encoding=self._cost.encoding + counters)

    def finish(self, waited: float, memory: PeakMemory) -> Cost:
        """What the run has cost in all, written too."""
        self._cost = replace(self._cost, waiting_seconds=waited)
        self._append_cost({"run": asdict(self._cost), "memory": asdict(memory)})
        return self._cost

    def _write(self, task: TaskSpec, record: TaskRecord, examples: Examples) -> None:
        """Examples first: a record never stands without them."""
        write_examples(self._spec.folder, task, examples)
        write_record(self._spec.folder, record)
        self._progress.finished(task, score=record.main_score(task), error=None)

    def _append_cost(self, cost: dict[str, Any]) -> None:
        """Costs differ from run to run, records must not: they go to a file of their own."""
        with (self._spec.folder / COSTS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(cost) + "\n")


def _workers(spec: RunSpec, device: torch.device) -> int:
    """Scoring processes: as asked; else beside a GPU a quarter of the cores, and none on a CPU, where the model has use for all of them."""
    if spec.workers is not None:
        return spec.workers
    return 0 if device.type == "cpu" else max(1, (os.cpu_count() or 4) // 4)


def _manifest(spec: RunSpec, benchmark: Benchmark, encoder: Encoder, device: DeviceInfo) -> tuple[RowHeader, dict[str, Any]]:
    """The row's header, and what a run is and runs with."""
    fingerprint = encoder.fingerprint
    header = RowHeader(
        model=spec.model.name or "",
        gpu=device.label,
        dtype=CARD_DTYPES[spec.dtype],
        size_gb=round(fingerprint.parameters * TORCH_DTYPE[spec.dtype].itemsize / 1e9, 2),
        dim=spec.dim or encoder.embedding_dim,
        max_len=spec.max_len,
        notes=_notes(spec, device),
    )
    content: dict[str, Any] = {
        "run": spec.digest,
        "spec": spec.identity(),
        "benchmark": {"name": benchmark.name, "digest": benchmark.digest},
        "model": fingerprint.as_dict(),
        "device": asdict(device),
        "versions": environment.scoring_versions(),
        "lock_differences": environment.lock_differences(),
        "source": environment.source_revision(),
        "machine": environment.machine(),
        "seed": SEED,
    }
    return header, as_json(content)


def _open_folder(spec: RunSpec, header: RowHeader, content: dict[str, Any]) -> None:
    """Write the manifest and `spec.yaml`."""
    write_manifest(spec.folder, header, content)
    with atomic_write(spec.folder / "spec.yaml") as stream:
        stream.write(yaml.safe_dump(as_json(spec.identity()), allow_unicode=True, sort_keys=True).encode())


def refuse_other_origin(folder: Path, content: dict[str, Any]) -> None:
    """Records in one folder are of one origin.

    Raises:
        RequestError: the folder's records were made with other weights, packages, or on another device.
    """
    try:
        before = read_manifest(folder)
    except InputError:
        return  # a damaged manifest is written anew; every record tells its own run, weights and versions
    changed = [
        f"{key}.{name}: {before.get(key, {}).get(name)} there, {value} here"
        for key in ("model", "versions", "device")
        for name, value in content[key].items()
        if before.get(key, {}).get(name) != value and not isinstance(value, dict)
    ]
    has_records = any(path.name != MANIFEST for path in folder.glob("*.json"))
    if changed and has_records:
        raise RequestError(
            f"{folder} holds records of another origin:\n  " + "\n  ".join(changed) + "\n"
            "Add overwrite=true to compute them again, or name another results_dir=DIR (another model.name= for other weights)"
        )


def _notes(spec: RunSpec, device: DeviceInfo) -> tuple[str, ...]:
    notes = []
    if spec.data.source == "sample":
        notes.append("embedded sample: not C-MTEB scores")
    if spec.data.verify == "off":
        notes.append("data identity not verified (data.verify=off)")
    if not device_matches(spec.gpu, device.label, device.memory_gib):
        notes.append(f"gpu={spec.gpu.name} was expected, {device.label} was used (gpu.mismatch=warn)")
    if spec.model.kind != ModelSpec.kind:
        notes.append(f"encoder of kind {spec.model.kind}, not canonical")
    if not spec.canary:
        notes.append("the model was not checked before the run (canary=off)")
    differences = environment.lock_differences()
    if differences:
        told = ", ".join(f"{name} {found or 'missing'} instead of {locked}" for name, (found, locked) in differences.items())
        notes.append(f"packages differ from the lock: {told}")
    return tuple(notes)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """The folder for this process alone; the kernel frees it when the process ends, however it ends.

    Raises:
        RequestError: another process has it.
        MachineError: the folder can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("ab")
    except OSError as error:
        raise MachineError(f"can't write {folder}: {error.strerror}. Mend its permissions, or name another results_dir=DIR") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RequestError(f"another run is writing {folder}: wait for it, or name another results_dir=DIR") from error
        yield
