"""Scoring beside encoding: tasks are scored in processes of their own while the model goes on with the next texts.

A score is computed on one thread from generators at 42, so it is the same digits in this process and in any other. The processes are
forked from one that has imported what scoring needs and has done nothing else; it stays for the next run of a sweep. Vectors travel in a
file without a name. So whatever ends this process, the kernel ends the others and frees the files.
"""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import pickle
import queue
import signal
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import IO, Any

import numpy as np
import torch

from harness.core.errors import MachineError
from harness.core.examples import Examples
from harness.core.processes import end_with_asking, without_main
from harness.core.prompts import TaskPrompts
from harness.core.spec import ScoringSpec
from harness.core.tasks import TaskSpec
from harness.data.types import TaskData
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.scorer import Scorer
from harness.evaluate.score.seeding import SEED

_PROCESSES = multiprocessing.get_context("forkserver")
_SOCKET_PATH = 107  # bytes, of Linux
_FORKED = "harness.evaluate.score.forked"


@dataclass(frozen=True, kw_only=True)
class ScoringJob:
    """A task and all it needs: `vectors` [len(texts), full dimension] are the raw ones of the texts that the `scorer` asks for;
    `similarity` is the model's own."""

    task: TaskSpec
    data: TaskData
    texts: Sequence[str]
    vectors: torch.Tensor
    dim: int | None
    scoring: ScoringSpec
    prompts: TaskPrompts
    scorer: Scorer
    similarity: str = "cosine"
    seed: int = SEED


@dataclass(frozen=True)
class Scored:
    """The metrics of a task as mteb nests them, its examples, the SHA-256 of its raw vectors, and the wall seconds that scoring took."""

    metrics: dict[str, Any]
    examples: Examples
    vectors_sha256: str
    seconds: float


def _check_socket_paths() -> None:
    """multiprocessing puts its sockets into a folder in TMPDIR, and the path of a socket has 107 bytes at most."""
    folder = tempfile.gettempdir()
    longest = _SOCKET_PATH - len("/pymp-12345678/listener-12345678")
    if len(os.fsencode(folder)) > longest:
        raise MachineError(
            f"TMPDIR={folder} is too long for the sockets of scoring processes: name one of {longest} bytes at most, or set workers=0"
        )


class ScoringPool:
    """Scores jobs in `workers` processes, or with none of them at once in this one. Used as a context: leaving it ends the processes.

    `device`: where large searches are counted, None for the CPU. Raises MachineError where processes can't be reached from here.
    """

    def __init__(self, workers: int, device: torch.device | None = None) -> None:
        if workers:
            _check_socket_paths()
        self._workers = workers
        self._device = device
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="scoring") if workers else None  # each waits for a process
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        self._all: list[_Worker] = []
        self._left = False
        self._of_main = False

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._end_all()
            self._threads.shutdown()
            self._end_all()  # those that were being started

    def start(self, scorer: Scorer) -> None:
        """Start the processes, so that they import what the scorer needs while the model loads; otherwise the first job starts them."""
        self._of_main = type(scorer).__module__ == "__main__"
        if self._threads is not None:
            _PROCESSES.set_forkserver_preload([_FORKED, __name__, *getattr(scorer, "imports", ())])
            for _ in range(self._workers):
                self._threads.submit(lambda: self._idle.put(self._new()))

    def submit(self, job: ScoringJob) -> Future[Scored]:
        """The job's result, later; an error of `Scorer.score` is the future's, and MachineError where two processes died of the job.

        Raises:
            MachineError: there is no room for the vectors.
        """
        if self._threads is None:
            return _done(job, self._device)
        vectors = _nameless_file(job.vectors)
        empty = torch.empty(0, dtype=job.vectors.dtype)
        request = replace(job, vectors=empty), job.vectors.shape, self._device
        future = self._threads.submit(self._score_apart, job.task.name, request, vectors)
        future.add_done_callback(lambda _: vectors.close())
        return future

    def _new(self) -> _Worker:
        with contextlib.nullcontext() if self._of_main else without_main():
            worker = _Worker()
        self._all.append(worker)
        return worker

    def _end_all(self) -> None:
        for worker in list(self._all):
            worker.end()

    def _score_apart(self, task: str, request: _Request, vectors: IO[bytes]) -> Scored:
        """The job in a process; once more in a new one where it dies, since the kernel may have chosen it for another's hunger."""
        pickled = pickle.dumps(request)
        try:
            worker = self._idle.get_nowait()
        except queue.Empty:
            worker = self._new()
        for _ in range(2):
            try:
                outcome = worker.ask(pickled, vectors)
            except (EOFError, OSError) as error:
                ended = worker.end()
                if self._left:
                    raise MachineError("scoring was stopped") from error
                worker = self._new()
                continue
            self._idle.put(worker)
            if isinstance(outcome, Scored):
                return outcome
            raise outcome
        self._idle.put(worker)
        raise MachineError(
            f"{task}: the scoring process died, and so did a second one ({ended}), most likely because memory ran out. Run again with "
            "fewer workers=, or workers=0"
        )


_Request = tuple[ScoringJob, torch.Size, torch.device | None]
"""A job without its vectors, their shape, and the device of large searches."""


class _Worker:
    """A scoring process and the pipe to it."""

    def __init__(self) -> None:
        self._pipe, theirs = _PROCESSES.Pipe()
        self._process = _PROCESSES.Process(target=_serve, args=(theirs,), daemon=True, name="scoring")
        self._process.start()
        theirs.close()

    def ask(self, request: bytes, vectors: IO[bytes]) -> Scored | Exception:
        """What comes of the pickled request whose vectors are in the open file; EOFError or OSError where the process dies of it."""
        send_handle(self._pipe, vectors.fileno(), self._process.pid)
        self._pipe.send_bytes(request)
        answer: Scored | Exception = pickle.loads(self._pipe.recv_bytes())  # noqa: S301  of a process of ours
        return answer

    def end(self) -> str:
        """Ends the process unless it has ended, and says how it did."""
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def score_job(job: ScoringJob, device: torch.device | None = None) -> Scored:
    """Score in this process, with large searches on the device; raises as `Scorer.score` does."""
    started = time.perf_counter()
    row = {text: number for number, text in enumerate(job.texts)}
    model = EmbeddingModel(
        lambda texts: job.vectors[[row[text] for text in texts]],
        dim=job.dim,
        dtype=job.scoring.dtype,
        prompts=job.prompts,
        search=job.scoring.search,
        device=device,
        similarity=job.similarity,
    )
    scores = job.scorer.score(job.task, job.data, model, seed=job.seed)
    return Scored(scores.metrics, scores.examples, vectors_sha256(job.vectors), time.perf_counter() - started)


def vectors_sha256(vectors: torch.Tensor) -> str:
    """SHA-256 over vectors [n, dim], row by row, as they lie in memory."""
    return hashlib.sha256(vectors.contiguous().view(torch.uint8).numpy().data).hexdigest()


def _nameless_file(vectors: torch.Tensor) -> IO[bytes]:
    """The vectors, row by row, in a file that the kernel frees when nobody has it open.

    Raises:
        MachineError: the disk has no room for it.
    """
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115  open until the job is done
        file.write(vectors.contiguous().view(torch.uint8).numpy().data)
        file.flush()
    except OSError as error:
        raise MachineError(
            f"can't write {vectors.nbytes / 2**30:.1f} GiB of vectors to {tempfile.gettempdir()}: {error.strerror}. Free disk space, name "
            "another folder with TMPDIR=, or run with workers=0"
        ) from error
    return file


def _serve(pipe: Connection) -> None:
    """A scoring process: jobs one after the other, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asks ends this one
    end_with_asking()
    while True:
        try:
            handle, request = recv_handle(pipe), pipe.recv_bytes()
        except EOFError:
            return
        pipe.send_bytes(_answer(request, handle))


def _answer(request: bytes, vectors: int) -> bytes:
    """Scored, or the exception, pickled."""
    try:
        with os.fdopen(vectors, "rb") as file:
            job, shape, device = pickle.loads(request)  # noqa: S301  of a process of ours
            kept = torch.from_numpy(np.memmap(file, dtype=np.uint8, mode="c"))
        return pickle.dumps(score_job(replace(job, vectors=kept.view(job.vectors.dtype).view(shape)), device))
    except Exception as error:  # noqa: BLE001  handed to whoever asks for the result
        error.add_note(f"in a scoring process:\n{traceback.format_exc()}")
        try:
            return pickle.dumps(error)
        except Exception:  # noqa: BLE001  somebody's exception, which has no pickle
            return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def _done(job: ScoringJob, device: torch.device | None) -> Future[Scored]:
    future: Future[Scored] = Future()
    try:
        future.set_result(score_job(job, device))
    except Exception as error:  # noqa: BLE001  handed to whoever asks for the result
        future.set_exception(error)
    return future
