"""A run: plan what is left to do, then task by task: load, encode, score, write. What is finished is neither lost nor computed again."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from harness.core import environment
from harness.core.benchmarks import MTEB_VERSIONS, Benchmark
from harness.core.config import device_matches
from harness.core.costs import CanaryCost, Cost, CostLine, Counters, PeakMemory, append_cost
from harness.core.dtypes import DTYPES
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.examples import Examples, write_examples
from harness.core.files import atomic_write, open_to_append
from harness.core.fingerprint import DeviceInfo
from harness.core.records import BenchmarkName, Made, Manifest, ModelName, RowHeader, ScoredWith, TaskRecord
from harness.core.run_files import read_manifest, write_failure, write_manifest, write_record
from harness.core.sketch import Sketch, read_sketch, refuse_other_model, write_sketch
from harness.core.spec import ModelSpec, RunSpec
from harness.core.tasks import TaskSpec
from harness.core.typed import plain
from harness.data.sources import SOURCES
from harness.data.types import LoadedTask
from harness.evaluate.agenda import Agenda, code_of
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device, peak_memory
from harness.evaluate.encode.encoder import ENCODERS, Checked, Encoder
from harness.evaluate.encode.model.own import OwnSettings
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.evaluation import Evaluated, Evaluation
from harness.evaluate.prepared import Outcome, prepare
from harness.evaluate.progress import Progress
from harness.evaluate.prompting import prompt_notes, unused_settings
from harness.evaluate.score.scorer import refuse_similarity, run_scorer
from harness.evaluate.score.seeding import SEED
from harness.evaluate.score.workers import ScoringPool

UNCHECKED = {"verdict": "off"}
"""What the manifest says of a model that was not checked before the run."""


def execute(spec: RunSpec, device: torch.device, progress: Progress, *, encoders: EncoderPool | None = None) -> Outcome:
    """Run what of `spec` has no valid record yet, and write the records. `encoders`: weights that are loaded already.

    Raises:
        RequestError: another run is writing the folder, or the folder holds records of other weights or packages.
        InputError, MachineError: the model can't be loaded, or the folder can't be written. A task's own errors become its record.
        CanaryError: the model does not encode as it should.
    """
    if spec.shard:
        raise RequestError(f"shard={spec.shard}: a run needs all texts; `python -m harness encode` puts a part into the store")
    prepared = prepare(spec)
    spec, agenda, todo = prepared.spec, prepared.agenda, prepared.agenda.todo
    progress.plan(todo, prepared.done)
    SOURCES.get(spec.data.source)
    if prepared.finished:
        return prepared.outcome()
    scorer = run_scorer(spec)
    scorer.refuse_unknown(todo)
    refuse_similarity(spec, todo, prepared.own.similarity)
    with _exclusive(spec.folder), ScoringPool(_workers(spec, device, len(todo)), None if device.type == "cpu" else device) as pool:
        pool.start(scorer)
        encoders = encoders or EncoderPool()
        encoder = encoders.encoder(spec, device)
        if spec.dim is not None and spec.dim > encoder.embedding_dim:
            raise RequestError(f"dim={spec.dim}: {spec.model.name} has {encoder.embedding_dim} dimensions; give at most that, or dim=null")
        if spec.dim == encoder.embedding_dim:  # of a model whose file does not state them: the run of all dimensions
            return execute(replace(spec, dim=None), device, progress, encoders=encoders)
        notes = (*prompt_notes(spec, prepared.prompts), *unused_settings(spec, prepared.own))
        manifest = _manifest(spec, prepared.benchmark, encoder, describe_device(device), prepared.own, notes)
        agenda.refuse_other_origin(manifest)
        checked = encoders.check(spec, device)
        sketch = checked.sketch if checked else None
        if sketch and prepared.done:
            refuse_other_model(spec.folder, sketch)
        found: dict[str, Any] = UNCHECKED
        further = [f"the model was not checked before the run (model.kind={spec.model.kind} has no check)"] if spec.canary else []
        if checked:
            found, further = {**checked.found, **({"sketch": sketch.digest} if sketch else {})}, [*checked.notes]
        header = replace(manifest.header, notes=(*manifest.header.notes, *further))
        _open_folder(spec, prepared.benchmark, replace(manifest, header=header, canary=found))
        write_sketch(spec.folder, sketch)
        sink = _Records(agenda, prepared.benchmark, encoder, progress)
        sink.checked(checked)
        evaluation = Evaluation(spec, prepared.prompts, encoder, pool, sink, progress, similarity=prepared.own.similarity)
        evaluation.run(todo)
        return prepared.outcome(sink.errors, sink.finish(evaluation.waited, peak_memory(device)))


class _Records:
    """The sink of a run: scores and errors become files of its folder as they come."""

    def __init__(self, agenda: Agenda, benchmark: Benchmark, encoder: Encoder, progress: Progress) -> None:
        self._agenda = agenda
        self._spec = agenda.spec
        self._benchmark = benchmark
        self._progress = progress
        own = self._fingerprint = encoder.fingerprint
        self._model = ModelName(
            name=self._spec.model.name,
            commit=own.commit,
            weights_digest=own.weights_digest,
            files_digest=ENCODERS.get(self._spec.model.kind).files_digest(self._spec.model),
        )
        self._code = code_of(self._spec)
        self._cost = Cost()
        self._sketch: Sketch | None = None
        self.errors: dict[str, str] = {}

    def shared(self, task: TaskSpec, loaded: LoadedTask) -> bool:
        """Take the scores of a run that differs in `max_len` alone, where neither cuts a text of the task: the vectors are the same."""
        found = self._agenda.shared(task, loaded, self._fingerprint.digest)
        if found is None or not self._has_this_model(found.folder):
            return False
        made = replace(found.record.made, run=self._spec.digest)
        self._write(task, replace(found.record, made=made), found.examples)
        append_cost(self._spec.folder, CostLine(tasks=(task.name,), shared_with=found.folder.name))
        return True

    def _has_this_model(self, folder: Path) -> bool:
        """Whether the scores in a folder are of the model that runs: hashes of weights say so, and of a served model the canary of both."""
        if self._fingerprint.weights_sha256:
            return True
        with contextlib.suppress(InputError):
            if self._sketch is not None and read_sketch(folder) is not None:
                refuse_other_model(folder, self._sketch)
                return True
        return False

    def succeeded(self, result: Evaluated) -> None:
        """Write the record and the line of its costs."""
        made = Made(
            run=self._spec.digest,
            benchmark=BenchmarkName(name=self._benchmark.name, digest=self._benchmark.digest),
            model=self._model,
            data=result.loaded.provenance,
            encoding=result.encoding,
            prompts=result.prompts.stated(),
            scoring=ScoredWith(**asdict(self._spec.scoring), dim=self._spec.dim, seed=SEED),
            code=self._code,
            bits=result.bits,
            versions=environment.scoring_versions(),
        )
        record = TaskRecord(
            task=result.task.name,
            split=result.task.split,
            metrics=result.metrics,
            dataset_revision=result.loaded.provenance.revision,
            evaluation_time=round(sum(result.seconds.values()), 2),
            mteb_version=MTEB_VERSIONS.get(self._benchmark.scorer),
            made=made,
        )
        self._write(result.task, record, result.examples)
        seconds = {key: round(value, 3) for key, value in result.seconds.items()}
        append_cost(self._spec.folder, CostLine(tasks=(result.task.name,), seconds=seconds))
        self._cost = replace(self._cost, scoring_seconds=self._cost.scoring_seconds + result.seconds["scoring"])

    def failed(self, task: TaskSpec, error: BaseException, message: str, trace: str) -> None:
        """Write the error."""
        self.errors[task.name] = message
        write_failure(self._spec.folder, task.name, kind=type(error).__name__, message=message, traceback=trace)

    def checked(self, checked: Checked | None) -> None:
        """Write the line of the check's seconds, and keep its sketch."""
        if checked is not None:
            self._sketch = checked.sketch
            append_cost(self._spec.folder, CostLine(canary=CanaryCost(seconds=checked.seconds)))

    def window(self, tasks: Sequence[TaskSpec], counters: Counters) -> None:
        """Write the line of what encoding has cost."""
        append_cost(self._spec.folder, CostLine(tasks=tuple(task.name for task in tasks), encoding=counters))
        self._cost = replace(self._cost, encoding=self._cost.encoding + counters)

    def finish(self, waited: float, memory: PeakMemory) -> Cost:
        """What the run has cost in all, written too."""
        self._cost = replace(self._cost, waiting_seconds=waited)
        append_cost(self._spec.folder, CostLine(run=self._cost, memory=memory))
        return self._cost

    def _write(self, task: TaskSpec, record: TaskRecord, examples: Examples) -> None:
        """Examples first: a record never stands without them."""
        write_examples(self._spec.folder, task, examples)
        write_record(self._spec.folder, record)
        self._progress.finished(task, score=record.main_score(task), error=None)


def _workers(spec: RunSpec, device: torch.device, tasks: int) -> int:
    """Scoring processes: as asked, but never more than tasks; else beside a GPU a quarter of the cores, and none on a CPU, where the
    model has use for all of them."""
    if spec.workers is not None:
        return min(spec.workers, tasks)
    return 0 if device.type == "cpu" else min(max(1, len(os.sched_getaffinity(0)) // 4), tasks)


def _manifest(
    spec: RunSpec, benchmark: Benchmark, encoder: Encoder, device: DeviceInfo, own: OwnSettings, notes: tuple[str, ...]
) -> Manifest:
    """What a run is and runs with."""
    fingerprint = encoder.fingerprint
    header = RowHeader(
        model=spec.model.name,
        gpu=device.label,
        dtype=DTYPES[spec.dtype].card,
        size_gb=round(fingerprint.parameters * TORCH_DTYPE[spec.dtype].itemsize / 1e9, 2),
        dim=spec.dim or encoder.embedding_dim,
        max_len=spec.max_len,
        notes=(*_notes(spec, device), *notes),
    )
    return Manifest(
        header=header,
        run=spec.digest,
        spec=spec.settings,
        benchmark=BenchmarkName(name=benchmark.name, digest=benchmark.digest),
        model=fingerprint,
        device=device,
        versions=environment.scoring_versions(),
        lock_differences=environment.lock_differences(),
        source=environment.source_revision(),
        machine=environment.machine(),
        seed=SEED,
        own_settings=plain(own),
    )


def _open_folder(spec: RunSpec, benchmark: Benchmark, manifest: Manifest) -> None:
    """Write the manifest, with what an earlier one has that this version does not know, `spec.yaml`, and the file of an own benchmark."""
    with contextlib.suppress(InputError):
        manifest = replace(manifest, extra=read_manifest(spec.folder).extra)
    write_manifest(spec.folder, manifest)
    with atomic_write(spec.folder / "spec.yaml") as stream:
        stream.write(yaml.safe_dump(spec.identity(), allow_unicode=True, sort_keys=True).encode())
    if benchmark.path is not None:
        with atomic_write(spec.folder / f"{benchmark.name}.yaml") as stream:
            stream.write(benchmark.path.read_bytes())


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
        changed = ", ".join(f"{name} {found or 'missing'} instead of {locked}" for name, (found, locked) in differences.items())
        notes.append(f"packages differ from the lock: {changed}")
    return tuple(notes)


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """The folder for this process alone; the kernel frees it when the process ends, however it ends. A run that wrote nothing leaves none.

    Raises:
        RequestError: another process has it.
        MachineError: the folder can't be made, or its file system has no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = open_to_append(folder / ".lock")
    except OSError as error:
        raise MachineError(f"can't write {folder}: {error.strerror}. Correct its permissions, or name another results_dir=DIR") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):  # somebody has it: flock(2) says the first, NFS either
                raise MachineError(
                    f"the file system of {folder} refuses locks ({error.strerror}), so two runs could write into it at once: mount it with "
                    "locks (NFS: version 4, or version 3 with lockd and without `nolock`), or name a results_dir=DIR on another one"
                ) from error
            raise RequestError(f"another run is writing {folder}: wait for it, or name another results_dir=DIR") from error
        with contextlib.suppress(OSError):
            for leftover in folder.rglob(".*.tmp"):  # of a run that was killed: nobody else writes here
                leftover.unlink()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if [path.name for path in folder.iterdir()] == [".lock"]:
                    (folder / ".lock").unlink()
                    folder.rmdir()
                    folder.parent.rmdir()  # of the model, where this was its only run
