"""Scoring beside encoding: tasks are scored in processes of their own while the model goes on with the next texts.

A score is computed on one thread from generators at 42, so it is the same digits in this process and in any other.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from harness.core.errors import MachineError
from harness.core.examples import Examples
from harness.core.prompts import TaskPrompts
from harness.core.spec import ScoringSpec
from harness.core.tasks import TaskSpec
from harness.data.types import TaskData
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.scorer import Scorer
from harness.evaluate.score.seeding import SEED

_VECTORS = "vectors"


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """A task and all it needs: `vectors` [len(texts), full dimension] are the raw ones of the texts that the `scorer` asks for."""

    task: TaskSpec
    data: TaskData
    texts: Sequence[str]
    vectors: torch.Tensor
    dim: int | None
    scoring: ScoringSpec
    prompts: TaskPrompts
    scorer: Scorer
    seed: int = SEED


@dataclass(frozen=True)
class Scored:
    """The metrics of a task as mteb nests them, its examples, the SHA-256 of its raw vectors, and the wall seconds that scoring took."""

    metrics: dict[str, Any]
    examples: Examples
    vectors_sha256: str
    seconds: float


class ScoringPool:
    """Scores jobs in `workers` processes, or with none of them at once in this one. Used as a context: leaving it ends the processes.

    `device`: where large searches are counted, None for the CPU.
    """

    def __init__(self, workers: int, device: torch.device | None = None) -> None:
        self._workers = workers
        self._device = device
        self._pool: ProcessPoolExecutor | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._scratch is not None:
            self._scratch.cleanup()

    def start(self, scorer: Scorer) -> None:
        """Start the processes, so that they import what the scorer needs while the model loads; otherwise the first job starts them."""
        if self._workers:
            pool = self._started()[0]
            for _ in range(self._workers):
                pool.submit(_prepare, scorer)

    def submit(self, job: ScoringJob) -> Future[Scored]:
        """The job's result, later; an error of `Scorer.score` is the future's.

        Raises:
            MachineError: the processes have died.
        """
        if self._workers == 0:
            return _done(job, self._device)
        pool, scratch = self._started()
        self._count += 1
        path = scratch / f"{self._count}.safetensors"
        save_file({_VECTORS: job.vectors.contiguous()}, path)
        try:
            return pool.submit(_score_file, replace(job, vectors=torch.empty(0)), path, self._device)
        except BrokenProcessPool as error:
            raise dead_worker() from error

    def _started(self) -> tuple[ProcessPoolExecutor, Path]:
        """The processes, and the folder for their vectors."""
        if self._pool is None or self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="harness-scoring-")
            # spawned, not forked: a copy of a process whose threads hold locks may never wake up
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, spawn, initializer=_end_with_parent, initargs=(self._scratch.name,))
        return self._pool, Path(self._scratch.name)


def dead_worker() -> MachineError:
    """The error for processes that ended without an answer."""
    return MachineError("a scoring process died, most likely for want of memory: run again with workers=0")


def score_job(job: ScoringJob, device: torch.device | None = None) -> Scored:
    """Score in this process, with large searches on the device; raises as `Scorer.score` does."""
    started = time.perf_counter()
    row = {text: number for number, text in enumerate(job.texts)}
    model = EmbeddingModel(
        lambda texts: job.vectors[[row[text] for text in texts]],
        dim=job.dim,
        dtype=job.scoring.dtype,
        prompts=job.prompts,
        device=device,
    )
    scores = job.scorer.score(job.task, job.data, model, search=job.scoring.search, seed=job.seed)
    return Scored(scores.metrics, scores.examples, vectors_sha256(job.vectors), time.perf_counter() - started)


def vectors_sha256(vectors: torch.Tensor) -> str:
    """SHA-256 over vectors [n, dim], row by row, as they lie in memory."""
    return hashlib.sha256(vectors.contiguous().view(torch.uint8).numpy().data).hexdigest()


def _end_with_parent(scratch: str) -> None:
    """Makes this process end, and takes the vectors along, when the one that started it is killed: nobody else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="parent").start()


def _prepare(scorer: Scorer) -> None:
    """Unpickling the scorer has imported its module; one with more to import has a `prepare`."""
    if prepare := getattr(scorer, "prepare", None):
        prepare()


def _score_file(job: ScoringJob, path: Path, device: torch.device | None) -> Scored:
    vectors = load_file(path)[_VECTORS]
    path.unlink()
    return score_job(replace(job, vectors=vectors), device)


def _done(job: ScoringJob, device: torch.device | None) -> Future[Scored]:
    future: Future[Scored] = Future()
    try:
        future.set_result(score_job(job, device))
    except Exception as error:  # noqa: BLE001  handed to whoever asks for the result
        future.set_exception(error)
    return future
