"""The tasks of a run on their way from data to record: prepared, encoded in windows, scored beside the encoding of the next window.

Texts of several tasks go through the model together, because the batch of each length is filled up with dummy rows only where no
text of that length is left: task by task, a third of a GPU's work on C-MTEB would be dummies (docs/encoding.md).
"""

from __future__ import annotations

import hashlib
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from harness.core.costs import Counters
from harness.core.errors import EncodingError, described
from harness.core.examples import Examples
from harness.core.prompts import PromptTable, TaskPrompts
from harness.core.records import Bits, TextFigures
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import LoadedTask
from harness.evaluate.agenda import window_bytes, windows
from harness.evaluate.encode.encoder import Encoded, Encoder, EncodingStep
from harness.evaluate.lengths import modelled_counts
from harness.evaluate.progress import Progress, WindowPart, window_rows
from harness.evaluate.score.scorer import run_scorer
from harness.evaluate.score.workers import Scored, ScoringJob, ScoringPool

T = TypeVar("T")


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

    def failed(self, task: TaskSpec, error: BaseException, message: str, trace: str) -> None:
        """A task has none."""

    def window(self, tasks: Sequence[TaskSpec], counters: Counters) -> None:
        """What encoding the tasks together has cost."""


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    task: TaskSpec
    loaded: LoadedTask
    texts: list[str]
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scoring:
    prepared: _Prepared
    encoding: TextFigures
    tokens_sha256: str
    seconds: float
    future: Future[Scored]


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
        self._scoring: list[_Scoring] = []
        self.waited = 0.0  # seconds for scores, when there was nothing left to encode

    def run(self, tasks: Sequence[TaskSpec]) -> None:
        """Evaluate the tasks; whatever one of them dies of, the others go on."""
        modelled = weights({task.name: modelled_flops(task, self._encoder) for task in tasks})
        self._progress.expected(modelled, self._spec.gpu.flops_per_second(self._spec.dtype))
        for window in windows(self._prepared(tasks), size=self._vector_bytes, limit=window_bytes()):
            self._encode(window)
        started = time.perf_counter()
        self._collect(wait=True)
        self.waited = time.perf_counter() - started

    def _guarded(self, task: TaskSpec, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except Exception as error:  # noqa: BLE001  the task boundary: an error becomes the task's record
            self._fail(task, error)
            return None

    def _fail(self, task: TaskSpec, error: BaseException) -> None:
        message = described(error)
        trace = "".join(traceback.format_exception(error))
        self._sink.failed(task, error, message, trace)
        self._progress.finished(task, score=None, error=message)

    def _prepared(self, tasks: Sequence[TaskSpec]) -> Iterator[_Prepared]:
        for task in tasks:
            self._progress.loading(task)
            prepared = self._guarded(task, lambda task=task: self._prepare(task))  # type: ignore[misc]
            if prepared is not None:
                yield prepared

    def _prepare(self, task: TaskSpec) -> _Prepared | None:
        started = time.perf_counter()
        loaded = load_task(task, self._spec.data)
        if self._sink.shared(task, loaded):
            return None
        texts = self._scorer.texts(task, loaded.data, self._prompts.of(task))
        return _Prepared(task=task, loaded=loaded, texts=texts, seconds=time.perf_counter() - started)

    def _vector_bytes(self, prepared: _Prepared) -> int:
        return len(prepared.texts) * self._encoder.vector_bytes

    def _encode(self, window: Sequence[_Prepared]) -> None:
        """Encode the texts of the window in one go, and hand its tasks on to scoring."""
        started, before = time.perf_counter(), self._encoder.counters
        tasks = [prepared.task for prepared in window]
        row, parts = window_rows((prepared.task, prepared.texts) for prepared in window)
        try:
            encoded = self._encoder.encode_counted(list(row), progress=lambda step: self._step(parts, step))
        except EncodingError as error:
            if len(window) == 1:
                self._fail(window[0].task, error)
            else:  # only the tasks that have such a text fail
                for prepared in window:
                    self._encode([prepared])
            return
        except Exception as error:  # noqa: BLE001  the task boundary
            for prepared in window:
                self._fail(prepared.task, error)
            return
        seconds = time.perf_counter() - started
        self._sink.window(tasks, self._encoder.counters - before)
        for prepared in window:
            rows = np.fromiter((row[text] for text in prepared.texts), dtype=np.int64, count=len(prepared.texts))
            self._guarded(prepared.task, lambda prepared=prepared, rows=rows: self._score(prepared, encoded, rows, seconds))  # type: ignore[misc]
            self._collect(wait=False)

    def _step(self, parts: Sequence[WindowPart], step: EncodingStep) -> None:
        self._progress.encoded(parts, step)
        self._collect(wait=False)

    def _score(self, prepared: _Prepared, encoded: Encoded, rows: np.ndarray[Any, np.dtype[np.int64]], seconds: float) -> None:
        job = ScoringJob(
            task=prepared.task,
            data=prepared.loaded.data,
            texts=prepared.texts,
            vectors=encoded.vectors.index_select(0, torch.from_numpy(rows)),
            dim=self._spec.dim,
            scoring=self._spec.scoring,
            prompts=self._prompts.of(prepared.task),
            scorer=self._scorer,
            similarity=self._similarity,
        )
        tokens, cut = encoded.tokens[rows], encoded.cut[rows]
        share = seconds * int(tokens.sum()) / max(1, int(encoded.tokens.sum()))
        figures = TextFigures(texts=len(rows), tokens=int(tokens.sum()), longest=int(tokens.max(initial=0)), cut=int(cut.sum()))
        self._progress.scoring(prepared.task)
        future = self._pool.submit(job)
        ids = "" if encoded.ids is None else hashlib.sha256(encoded.ids[rows].data).hexdigest()
        self._scoring.append(_Scoring(prepared=prepared, encoding=figures, tokens_sha256=ids, seconds=share, future=future))

    def _collect(self, *, wait: bool) -> None:
        """Bring home what has been scored; with `wait`, all of it."""
        ready = [scoring for scoring in self._scoring if wait or scoring.future.done()]
        self._scoring = [scoring for scoring in self._scoring if scoring not in ready]
        for scoring in ready:
            prepared = scoring.prepared
            try:
                scored = scoring.future.result()
            except Exception as error:  # noqa: BLE001  the task boundary
                self._fail(prepared.task, error)
                continue
            seconds = {"loading": prepared.seconds, "encoding": scoring.seconds, "scoring": scored.seconds}
            result = Evaluated(
                task=prepared.task,
                loaded=prepared.loaded,
                metrics=scored.metrics,
                examples=scored.examples,
                encoding=scoring.encoding,
                bits=Bits(tokens=scoring.tokens_sha256, vectors=scored.vectors_sha256),
                prompts=self._prompts.of(prepared.task),
                seconds=seconds,
            )
            self._sink.succeeded(result)


def modelled_flops(task: TaskSpec, encoder: Encoder) -> float:
    """The FLOP that the known statistics let expect of a task; 0 without statistics."""
    return float(encoder.text_flops(np.minimum(modelled_counts(task), encoder.max_len)).sum())


def weights(flops: Mapping[str, float]) -> dict[str, float]:
    """The work per task in FLOP, with the mean of the known ones for a task without statistics."""
    known = [value for value in flops.values() if value]
    return {name: value or (sum(known) / len(known) if known else 1.0) for name, value in flops.items()}
