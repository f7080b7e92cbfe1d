"""One part of a run's vectors goes into the shared store (`python -m harness encode shard=3/16`); a run then finds them there.

Nothing is scored, and no run folder is written: any number of parts are encoded at once, on as many machines of one kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from harness.core.benchmarks import load_benchmark
from harness.core.costs import Counters
from harness.core.errors import EncodingError, RequestError, described
from harness.core.prompts import PromptTable
from harness.core.shard import Shard
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.evaluate.agenda import Agenda, made_here, window_bytes, windows
from harness.evaluate.encode.encoder import ENCODERS, Encoder
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.evaluation import modelled_flops, weights
from harness.evaluate.progress import Progress, window_rows
from harness.evaluate.prompting import run_prompts
from harness.evaluate.score.scorer import run_scorer


@dataclass(frozen=True, kw_only=True)
class EncodedPart:
    """What encoding a part came to. `failed`: task -> error; their texts may be missing in the store."""

    shard: Shard
    store: Path
    tasks: tuple[str, ...]
    failed: dict[str, str]
    cost: Counters


def encode_part(spec: RunSpec, device: torch.device, progress: Progress, *, encoders: EncoderPool | None = None) -> EncodedPart:
    """Encode the texts of `spec.shard` of every task that has no record yet; without a shard, all of them.

    Raises:
        RequestError: there is no store to put vectors into.
        InputError, MachineError: the model can't be loaded, or the store can't be written. A task's own errors are in the result.
        CanaryError: the model does not encode as it should.
    """
    if spec.store is None:
        raise RequestError("encode puts vectors into the store, and store=null keeps none: give store=DIR, a folder that the run sees too")
    shard = Shard.parse(spec.shard or "1/1")
    selected = load_benchmark(spec.benchmark).select(spec.tasks)
    prompts = run_prompts(spec, ENCODERS.get(spec.model.kind).own_settings(spec.model))
    agenda = Agenda(spec, selected, made_with=lambda: made_here(spec))
    progress.plan(agenda.todo, [task for task in selected if task.name in agenda.done])
    if not agenda.todo:
        return EncodedPart(shard=shard, store=spec.store, tasks=(), failed={}, cost=Counters())
    encoders = encoders or EncoderPool(store_required=True)
    encoder = encoders.encoder(spec, device)
    if spec.canary:
        encoders.check(spec, device)
    else:
        encoders.prove_store(spec, device)
    before, part = encoder.counters, _Part(agenda, prompts, shard, encoder, progress)
    part.encode()
    done = tuple(task.name for task in agenda.todo if task.name not in part.failed)
    return EncodedPart(shard=shard, store=spec.store, tasks=done, failed=part.failed, cost=encoder.counters - before)


class _Part:
    """The texts of a part, task by task; a task that can't be read or encoded stops no other."""

    def __init__(self, agenda: Agenda, prompts: PromptTable, shard: Shard, encoder: Encoder, progress: Progress) -> None:
        self._agenda = agenda
        self._spec = agenda.spec
        self._prompts = prompts
        self._shard = shard
        self._encoder = encoder
        self._progress = progress
        self.failed: dict[str, str] = {}

    def encode(self) -> None:
        """All texts of the part are in the store when this returns, those of failed tasks apart."""
        flops = {task.name: modelled_flops(task, self._encoder) / self._shard.of for task in self._agenda.todo}
        self._progress.expected(weights(flops), self._spec.gpu.flops_per_second(self._spec.dtype))
        for window in windows(self._read(), size=lambda task: len(task[1]) * self._encoder.vector_bytes, limit=window_bytes()):
            self._encode(window)

    def _read(self) -> Iterator[tuple[TaskSpec, list[str]]]:
        for task in self._agenda.todo:
            self._progress.loading(task)
            try:
                yield task, self._texts(task)
            except Exception as error:  # noqa: BLE001  the task boundary
                self._fail(task, error)

    def _texts(self, task: TaskSpec) -> list[str]:
        loaded = load_task(task, self._spec.data)
        if self._agenda.shared(task, loaded, self._encoder.fingerprint.digest):
            return []
        texts = run_scorer(self._spec).texts(task, loaded.data, self._prompts.of(task))
        return [text for text in texts if self._shard.has(text)]

    def _encode(self, window: Sequence[tuple[TaskSpec, list[str]]]) -> None:
        row, parts = window_rows(window)
        try:
            self._encoder.encode_counted(list(row), progress=lambda step: self._progress.encoded(parts, step))
        except EncodingError as error:
            if len(window) == 1:
                self._fail(window[0][0], error)
            else:  # only the tasks that have such a text fail
                for each in window:
                    self._encode([each])

    def _fail(self, task: TaskSpec, error: Exception) -> None:
        self.failed[task.name] = message = described(error)
        self._progress.finished(task, score=None, error=message)
