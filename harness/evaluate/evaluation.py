"""The tasks of a run on their way from data to record: prepared, encoded in windows, scored beside the encoding of the next window.

Texts of several tasks go through the model together, because the batch of each length is filled up with dummy rows only where no
text of that length is left: task by task, a third of a GPU's work on C-MTEB would be dummies (docs/encoding.md).
"""

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from harness.core.costs import Counters
from harness.core.dtypes import DTYPES
from harness.core.errors import EncodingError, described
from harness.core.examples import Examples
from harness.core.prompts import PromptTable, TaskPrompts
from harness.core.records import Bits, TextFigures
from harness.core.shard import Shard
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import LoadedTask
from harness.evaluate.agenda import window_bytes, windows
from harness.evaluate.encode.encoder import Encoded, Encoder, EncodingStep
from harness.evaluate.lengths import modelled_counts
from harness.evaluate.progress import Progress, window_rows
from harness.evaluate.score.scorer import run_scorer
from harness.evaluate.score.workers import Scored, ScoringJob, ScoringPool


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """A task's scores with what the record says of their making.

    `encoding`: figures of its texts. `prompts`: what stood before them. `bits`: what it was made of.
    `seconds`: per stage; of the encoding, the task's share of its window by tokens.
    """

    task: TaskSpec
    loaded: LoadedTask
    metrics: dict[str, Any]
    examples: Examples
    encoding: TextFigures
    bits: Bits
    prompts: TaskPrompts
    seconds: dict[str, float]


class Sink(Protocol):
    """Where finished tasks go."""

    def shared(self, task: TaskSpec, loaded: LoadedTask) -> bool:
        """Whether another run had the same vectors for the task, so that its scores were taken."""

    def succeeded(self, result: Evaluated) -> None:
        """A task has scores."""

    def failed(self, task: TaskSpec, error: Exception, message: str, trace: str) -> None:
        """A task has none."""

    def window(self, tasks: Sequence[TaskSpec], counters: Counters) -> None:
        """What encoding the tasks together has cost."""


@dataclass(frozen=True, kw_only=True)
class ReadTask:
    """A task that was read in so many seconds, and its texts that are to be encoded."""

    task: TaskSpec
    loaded: LoadedTask
    texts: list[str]
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """Tasks whose texts were encoded together. `row`: of each distinct text in `encoded`; `seconds`, `counters`: what it took."""

    tasks: Sequence[ReadTask]
    row: Mapping[str, int]
    encoded: Encoded
    seconds: float
    counters: Counters


def encode_windows(
    spec: RunSpec,
    tasks: Sequence[TaskSpec],
    read: Callable[[TaskSpec], ReadTask | None],
    encoder: Encoder,
    progress: Progress,
    *,
    failed: Callable[[Sequence[TaskSpec], Exception], None],
    survived: type[Exception] = Exception,
    on_step: Callable[[], None] = lambda: None,
) -> Iterator[Window]:
    """The tasks with the vectors of their texts, a window at a time; those are left out for which `read` gives None.

    Of a task that can't be read, and of one whose texts can't be encoded with an error of the type `survived`, `failed` is told, and the
    others go on. `on_step`: called while a window is encoded.
    """

    def guarded() -> Iterator[ReadTask]:
        for task in tasks:
            progress.loading(task)
            try:
                if (found := read(task)) is not None:
                    yield found
            except Exception as error:  # noqa: BLE001  the task boundary
                failed([task], error)

    def encoded(window: Sequence[ReadTask]) -> Iterator[Window]:
        started, before = time.perf_counter(), encoder.counters
        row, parts = window_rows((each.task, each.texts) for each in window)

        def report(step: EncodingStep) -> None:
            progress.encoded(parts, step)
            on_step()

        try:
            vectors = encoder.encode_counted(list(row), progress=report)
        except survived as error:
            if isinstance(error, EncodingError) and len(window) > 1:
                for each in window:  # only the tasks that have such a text fail
                    yield from encoded([each])
            else:
                failed([each.task for each in window], error)
            return
        seconds = time.perf_counter() - started
        yield Window(tasks=window, row=row, encoded=vectors, seconds=seconds, counters=encoder.counters - before)

    share = 1 / Shard.parse(spec.shard or "1/1").of
    modelled = {task.name: share * modelled_flops(task, encoder, spec.max_len) for task in tasks}
    progress.expected(weights(modelled), spec.gpu.flops_per_second(spec.dtype))
    vector_bytes = encoder.embedding_dim * DTYPES[spec.dtype].bytes
    for window in windows(guarded(), size=lambda each: len(each.texts) * vector_bytes, limit=window_bytes()):
        yield from encoded(window)
        del window  # its data is not needed while the next ones are read


class Evaluation:
    """Evaluates tasks with one encoder, whose model compares vectors by `similarity`; each ends in the `sink`, as scores or as an error."""

    def __init__(
        self,
        spec: RunSpec,
        prompts: PromptTable,
        encoder: Encoder,
        pool: ScoringPool,
        sink: Sink,
        progress: Progress,
        *,
        similarity: str,
    ) -> None:
        self._spec = spec
        self._prompts = prompts
        self._similarity = similarity
        self._scorer = run_scorer(spec)
        self._encoder = encoder
        self._pool = pool
        self._sink = sink
        self._progress = progress
        self._scoring: list[tuple[TaskSpec, Future[Scored], Callable[[Scored], Evaluated]]] = []
        self.waited = 0.0  # seconds for scores, when there was nothing left to encode

    def run(self, tasks: Sequence[TaskSpec]) -> None:
        """Evaluate the tasks; whatever one of them dies of, the others go on."""
        encoded = encode_windows(
            self._spec, tasks, self._prepare, self._encoder, self._progress, failed=self._fail, on_step=lambda: self._collect(wait=False)
        )
        for window in encoded:
            self._sink.window([each.task for each in window.tasks], window.counters)
            for each in window.tasks:
                try:
                    self._score(each, window)
                except Exception as error:  # noqa: BLE001  the task boundary
                    self._fail([each.task], error)
                self._collect(wait=False)
            del window, each  # its vectors are not needed while the next ones are made
        started = time.perf_counter()
        self._collect(wait=True)
        self.waited = time.perf_counter() - started

    def _fail(self, tasks: Sequence[TaskSpec], error: Exception) -> None:
        message = described(error)
        trace = "".join(traceback.format_exception(error))
        for task in tasks:
            self._sink.failed(task, error, message, trace)
            self._progress.finished(task, score=None, error=message)

    def _prepare(self, task: TaskSpec) -> ReadTask | None:
        started = time.perf_counter()
        loaded = load_task(task, self._spec.data)
        if self._sink.shared(task, loaded):
            return None
        texts = self._scorer.texts(task, loaded.data, self._prompts.of(task))
        return ReadTask(task=task, loaded=loaded, texts=texts, seconds=time.perf_counter() - started)

    def _score(self, prepared: ReadTask, window: Window) -> None:
        encoded = window.encoded
        rows = np.fromiter((window.row[text] for text in prepared.texts), dtype=np.int64, count=len(prepared.texts))
        prompts = self._prompts.of(prepared.task)
        job = ScoringJob(
            task=prepared.task,
            data=prepared.loaded.data,
            texts=prepared.texts,
            vectors=encoded.vectors.index_select(0, torch.from_numpy(rows)),
            dim=self._spec.dim,
            scoring=self._spec.scoring,
            prompts=prompts,
            scorer=self._scorer,
            similarity=self._similarity,
        )
        tokens, cut = encoded.tokens[rows], encoded.cut[rows]
        share = window.seconds * int(tokens.sum()) / max(1, int(encoded.tokens.sum()))
        figures = TextFigures(texts=len(rows), tokens=int(tokens.sum()), longest=int(tokens.max(initial=0)), cut=int(cut.sum()))
        self._progress.scoring(prepared.task)
        future = self._pool.submit(job)
        ids = "" if encoded.ids is None else hashlib.sha256(encoded.ids[rows].data).hexdigest()

        def evaluated(scored: Scored) -> Evaluated:
            return Evaluated(
                task=prepared.task,
                loaded=prepared.loaded,
                metrics=scored.metrics,
                examples=scored.examples,
                encoding=figures,
                bits=Bits(tokens=ids, vectors=scored.vectors_sha256),
                prompts=prompts,
                seconds={"loading": prepared.seconds, "encoding": share, "scoring": scored.seconds},
            )

        self._scoring.append((prepared.task, future, evaluated))

    def _collect(self, *, wait: bool) -> None:
        """Bring home what has been scored; with `wait`, all of it."""
        ready = [scoring for scoring in self._scoring if wait or scoring[1].done()]
        self._scoring = [scoring for scoring in self._scoring if scoring not in ready]
        for task, future, evaluated in ready:
            try:
                scored = future.result()
            except Exception as error:  # noqa: BLE001  the task boundary
                self._fail([task], error)
                continue
            self._sink.succeeded(evaluated(scored))


def modelled_flops(task: TaskSpec, encoder: Encoder, max_len: int) -> float:
    """The FLOP that the known statistics let expect of a task; 0 without statistics."""
    return float(encoder.text_flops(np.minimum(modelled_counts(task), max_len)).sum())


def weights(flops: Mapping[str, float]) -> dict[str, float]:
    """The work per task in FLOP, with the mean of the known ones for a task without statistics."""
    known = [value for value in flops.values() if value]
    return {name: value or (sum(known) / len(known) if known else 1.0) for name, value in flops.items()}
