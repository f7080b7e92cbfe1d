"""Batches on several devices at once: a process for each, which has the model loaded and runs the batches that it is sent.

Which device runs a batch changes no bit of it: the shapes are those of one device, and each process must name the same kernels and give the
same bits for a first batch. A process that dies loses the batch that it was at; the others run it, and all that follow.
"""

import logging
import multiprocessing
import queue
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import torch
from torch.nn.attention import sdpa_kernel

from harness.core.errors import HarnessError, MachineError, RequestError
from harness.core.processes import end_with_asking, without_main
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.batches import run_batch
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.canonical.layout import Ids
from harness.evaluate.encode.canonical.shapes import Batch
from harness.evaluate.encode.device import TORCH_DTYPE, attention_kernel, kernel_identity
from harness.evaluate.encode.model.loading import LoadedModel, load_model
from harness.evaluate.encode.model.locate import find_model

ALL = "all"
_AHEAD = 2  # batches that a GPU's process has at once: one runs while the next one is copied

log = logging.getLogger(__name__)


def find_devices(names: Sequence[str], main: torch.device) -> list[torch.device]:
    """The devices of `devices=`: `all`, or a list of them (`[0,1]`, `[cuda:0,cuda:1]`, `[cpu,cpu]`). `main` is where a run without it is.

    Raises:
        RequestError: there is no such device, or it is of another kind than `main`.
    """
    if list(names) == [ALL]:
        if main.type == "cpu":
            return [main] * torch.get_num_threads()
        return [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    found = []
    for name in names:
        try:
            device = torch.device("cuda", int(name)) if name.isdecimal() else torch.device(name)
        except RuntimeError as error:
            raise RequestError(f"devices=[{','.join(names)}]: {name} is no device: give `all`, or a list as [0,1] or [cpu,cpu]") from error
        if device.type != main.type or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
            here = f"{torch.cuda.device_count()} GPUs" if main.type == "cuda" else "no GPU, so give [cpu,cpu]"
            raise RequestError(f"devices=[{','.join(names)}]: there is no device {name} for this run; it has {here}")
        found.append(main if device.index is None else device)
    return found


@dataclass(frozen=True, eq=False)
class _Lane:
    """A way to a device: one batch at a time."""

    device: torch.device
    process: BaseProcess
    connection: Connection
    dtype: torch.dtype

    def run(self, batch: Batch, rows: list[Ids]) -> torch.Tensor:
        """Vectors [len(rows), embedding_dim]; EOFError or OSError where the process is gone."""
        self.connection.send((batch, rows))
        answer = self.connection.recv()
        if isinstance(answer, HarnessError):
            raise answer
        return torch.from_numpy(answer).view(self.dtype).reshape(len(rows), -1)


class DeviceProcesses:
    """Processes on devices, started when they are first needed; they end with this process. `run` may be called by several threads."""

    def __init__(self, encoder: CanonicalEncoder, devices: Sequence[torch.device]) -> None:
        self._encoder = encoder
        self._main = encoder.device
        self._devices = devices
        self._free: queue.Queue[_Lane | None] = queue.Queue()
        self._alive: set[_Lane] = set()
        self._started = False

    @property
    def width(self) -> int:
        """Batches that run at once."""
        return len(self._devices) * (_AHEAD if self._main.type == "cuda" else 1)

    def stop(self) -> None:
        """End the processes; nothing runs after that."""
        for lane in self._alive:
            lane.connection.close()
        for lane in self._alive:
            lane.process.join(5)

    def start(self) -> None:
        """Start the processes that do not run yet, and compare a batch of each with this process's own.

        Raises:
            MachineError: a device is of another kind, or has not the memory.
        """
        if self._started:
            return
        self._started = True
        context = multiprocessing.get_context("spawn")
        lanes = []
        for device in self._devices:
            ours, theirs = zip(*(context.Pipe() for _ in range(_AHEAD if device.type == "cuda" else 1)), strict=True)
            task = (self._encoder.model.spec, self._encoder.model.dtype, self._encoder.ladder.spec, str(device), theirs)
            process = context.Process(target=_serve, args=task, name=f"encode on {device}", daemon=True)
            with without_main():
                process.start()
            for end in theirs:
                end.close()  # so that its death is the end of the pipe
            lanes += [_Lane(device, process, end, TORCH_DTYPE[self._encoder.model.dtype]) for end in ours]
        first = (np.arange(min(48, self._encoder.model.max_positions), dtype=np.int32) * 7919) % self._encoder.model.vocabulary
        expected = self._encoder.run(first).cpu()  # of one text, of tokens spread over the vocabulary
        for lane in lanes:
            self._check(lane, first, expected)
            self._alive.add(lane)
            self._free.put(lane)

    def run(self, batch: Batch, rows: list[Ids]) -> torch.Tensor:
        """Vectors [len(rows), embedding_dim] on the CPU, by whichever device is free.

        Raises:
            MachineError: the device has not the memory, or no process is left.
        """
        while True:
            lane = self._free.get()
            if lane is None:
                self._free.put(None)
                raise MachineError("every encoding process died, most likely because memory ran out: name fewer devices=, or leave it out")
            try:
                vectors = lane.run(batch, rows)
            except (EOFError, OSError):
                self._bury(lane)
                continue
            except HarnessError:
                self._free.put(lane)
                raise
            self._free.put(lane)
            return vectors

    def _bury(self, lane: _Lane) -> None:
        lane.process.join(5)
        self._alive.discard(lane)
        log.warning(
            "the encoding process on %s died (exit code %s); %d of %d go on, and run its batch",
            *(lane.device, lane.process.exitcode, len({each.process for each in self._alive}), len(self._devices)),
        )
        if not self._alive:
            self._free.put(None)

    def _check(self, lane: _Lane, first: Ids, expected: torch.Tensor) -> None:
        try:
            kernel = lane.connection.recv()
            if isinstance(kernel, HarnessError):
                raise kernel
            found = lane.run(self._encoder.ladder.batch(len(first)), [first])
        except (EOFError, OSError) as error:
            raise MachineError(f"the encoding process on {lane.device} died while it loaded the model: see its message above") from error
        own = kernel_identity(self._main)
        if kernel != own:
            raise MachineError(f"devices=: {lane.device} is not like {self._main}, so its vectors have other bits:\n  {kernel}\n  {own}")
        if not torch.equal(found.view(torch.uint8), expected.view(torch.uint8)):
            raise MachineError(f"devices=: {lane.device} gives other bits than {self._main} for the same batch: leave it out, and test it")


def _serve(spec: ModelSpec, dtype: Dtype, encoding: EncodingSpec, name: str, connections: Sequence[Connection]) -> None:
    """The process of a device: loads the model, then answers batches until the other end is gone."""
    end_with_asking()  # also while it loads
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all processes of a terminal; this one ends when its pipe does
    device = torch.device(name)
    _compute_on(device)
    try:
        model = load_model(find_model(spec), spec, dtype=dtype, device=device)
        greeting: Any = kernel_identity(device)
    except HarnessError as error:
        model, greeting = None, error
    for connection in connections:
        connection.send(greeting)
    if model is None:
        return
    with sdpa_kernel(attention_kernel(device, dtype, encoding.ladder)):
        threads = [threading.Thread(target=_answer, args=(model, device, connection)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _answer(model: LoadedModel, device: torch.device, connection: Connection) -> None:
    _compute_on(device)
    while True:
        try:
            batch, rows = connection.recv()
        except (EOFError, OSError):
            return
        answer: Any
        try:
            answer = run_batch(model, device, batch, rows).cpu().contiguous().view(torch.uint8).numpy()
        except HarnessError as error:
            answer = error
        except Exception as error:  # noqa: BLE001  whoever waits for the answer gets one
            answer = HarnessError(f"the encoding process on {device} failed: {type(error).__name__}: {error}")
        try:
            connection.send(answer)
        except OSError:
            return


def _compute_on(device: torch.device) -> None:
    """Make the device this thread's own: each begins on the first GPU, and Triton runs there. On a CPU its batches run on one core."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    else:
        torch.cuda.set_device(device)
