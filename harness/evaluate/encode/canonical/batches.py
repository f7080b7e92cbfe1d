"""Runs full batches of one shape on the device, and brings their vectors home in blocks."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.core.errors import MachineError
from harness.evaluate.encode.canonical.layout import Ids
from harness.evaluate.encode.canonical.shapes import Batch, BatchShape, IntArray, Pack, ShapeLadder
from harness.evaluate.encode.device import fewer_tokens, memory_for
from harness.evaluate.encode.model.loading import LoadedModel

Deliver = Callable[[IntArray, torch.Tensor, bool], None]
Devices = tuple[Callable[[Batch, list[Ids]], torch.Tensor], int]
"""What runs a batch as `run_batch` does, on whichever of several devices is free, and how many threads may call it at once."""

_VECTOR = 64  # numbers that torch takes at once: two vectors of AVX-512, in half precision
_BLOCK_BYTES = 64 * 2**20  # vectors left on the device before they are copied


@dataclass(frozen=True)
class _Row:
    slot: int
    ids: Ids


@dataclass(frozen=True)
class _Running:
    batch: Batch
    rows: list[_Row]
    vectors: Future[torch.Tensor]


class BatchQueue:
    """Collects token id sequences by batch shape, and starts a batch as soon as its rows are there; packs them where the ladder says so.

    On a CPU a batch runs on one thread, and as many batches at once as torch has threads: small products gain little from more threads
    and lose much where the machine is shared, and oneDNN's bf16 products come out in other bits on another number of them. With
    `devices`, a batch goes to whichever of them is free.

    `deliver(slots, vectors, finite)` gets the vectors on the CPU with the slots they were added under; `finite` is False where one of them
    holds NaN or infinity. `forwards`, `tokens` and `flops` count what went through the model, `done` the real tokens among them.
    """

    def __init__(
        self, model: LoadedModel, device: torch.device, ladder: ShapeLadder, deliver: Deliver, devices: Devices | None = None
    ) -> None:
        self._model = model
        self._ladder = ladder
        self._pack: list[_Row] = []
        self._packed = 0
        self._deliver = deliver
        self._waiting: dict[BatchShape, list[_Row]] = {}
        self._running: deque[_Running] = deque()
        self._pool: ThreadPoolExecutor | None = None
        self._threads = torch.get_num_threads()
        self._run: Callable[[Batch, list[Ids]], torch.Tensor]
        self._run, self._width = devices or (partial(run_batch, model, device), self._threads)
        self._in_threads = devices is not None or device.type == "cpu"
        self._slots: list[int] = []
        self._blocks: list[torch.Tensor] = []
        self._bytes = 0
        self.forwards = 0
        self.tokens = 0
        self.flops = 0
        self.done = 0

    def __enter__(self) -> BatchQueue:
        if self._in_threads:
            torch.set_num_threads(1)
            self._pool = ThreadPoolExecutor(self._width, thread_name_prefix="encode", initializer=torch.set_num_threads, initargs=(1,))
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            torch.set_num_threads(self._threads)
        del self._deliver  # its object may hold this queue, and gigabytes of vectors: no circle that waits for the garbage collector

    def add(self, shape: BatchShape, slot: int, ids: Ids) -> bool:
        """Adds a sequence to the batch of its shape, or to the pack; True when a batch was full, and started."""
        if self._ladder.packs:
            return self._add_to_pack(_Row(slot, ids))
        rows = self._waiting.setdefault(shape, [])
        rows.append(_Row(slot, ids))
        if len(rows) < shape.rows:
            return False
        self._start(shape, self._waiting.pop(shape))
        return True

    def _add_to_pack(self, row: _Row) -> bool:
        full = not self._ladder.fits(self._packed, len(row.ids))
        if full:
            self._start_pack()
        self._pack.append(row)
        self._packed += len(row.ids)
        return full

    def _start_pack(self) -> None:
        self._start(self._ladder.pack(self._packed), self._pack)
        self._pack, self._packed = [], 0

    def finish(self) -> None:
        """Runs what waits, filled up with dummy rows, and delivers everything."""
        if self._pack:
            self._start_pack()
        for shape in sorted(self._waiting, key=lambda shape: -shape.length):
            self._start(shape, self._waiting[shape])
        self._waiting.clear()
        while self._running:
            self._take()
        self._flush()

    def _start(self, batch: Batch, rows: list[_Row]) -> None:
        ids = [row.ids for row in rows]
        vectors: Future[torch.Tensor]
        if self._pool is not None:
            vectors = self._pool.submit(self._run, batch, ids)
        else:
            vectors = Future()
            vectors.set_result(self._run(batch, ids))
        self._running.append(_Running(batch, rows, vectors))
        if len(self._running) > 2 * self._width or self._pool is None:
            self._take()

    def _take(self) -> None:
        running = self._running.popleft()
        vectors = running.vectors.result()
        counts = np.array([len(row.ids) for row in running.rows], dtype=np.int64)
        self.forwards += 1
        self.tokens += running.batch.tokens
        if isinstance(running.batch, Pack):
            self.flops += int(self._model.architecture.text_flops(counts).sum())
        else:
            self.flops += self._model.architecture.batch_flops(running.batch)
        self.done += int(counts.sum())
        self._slots.extend(row.slot for row in running.rows)
        self._blocks.append(vectors)
        self._bytes += vectors.nbytes
        if self._bytes >= _BLOCK_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._blocks:
            return
        block = torch.cat(self._blocks)
        finite = bool(torch.isfinite(block).all())
        self._deliver(np.array(self._slots, dtype=np.int64), block.cpu(), finite)
        self._slots.clear()
        self._blocks.clear()
        self._bytes = 0


@torch.inference_mode()
def run_batch(model: LoadedModel, device: torch.device, batch: Batch, rows: list[Ids]) -> torch.Tensor:
    """Vectors [len(rows), embedding_dim] on the device: of at most `batch.rows` sequences that belong to the shape, or of a pack of them.

    Raises:
        MachineError: the device has not the memory; the message has a `batch_tokens` that may do.
    """
    what = f"a pack of {batch.tokens} tokens" if isinstance(batch, Pack) else f"a batch of {batch.rows} texts of {batch.length} tokens"
    with memory_for(what, device, otherwise=fewer_tokens(max(batch.tokens // 2, *map(len, rows)))):
        try:
            return _run_pack(model, device, batch, rows) if isinstance(batch, Pack) else _run_shape(model, device, batch, rows)
        except RuntimeError as error:
            if "No available kernel" not in str(error):
                raise
            raise MachineError(
                f"the attention kernel of this setting can't run {model.spec.name} in {model.dtype} on {device}: "
                "set gpu.ladder=padded, or another dtype"
            ) from error


def _run_pack(model: LoadedModel, device: torch.device, pack: Pack, rows: list[Ids]) -> torch.Tensor:
    layout = model.packed.lay_out(rows, pack.tokens, device)
    return model.packed.vectors(model.packed.states(layout), layout)


def _run_shape(model: LoadedModel, device: torch.device, shape: BatchShape, rows: list[Ids]) -> torch.Tensor:
    number = _whole_rows(model.config, shape) if device.type == "cpu" else shape.rows
    ids = np.zeros((number, shape.length), dtype=np.int64)
    real = np.zeros((number, shape.length), dtype=bool) if shape.masked else None
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        if real is not None:
            real[index, : len(row)] = True
    ids[len(rows) :] = ids[0]  # dummy rows repeat a real one: a row that is all padding would only make NaN
    if real is not None:
        real[len(rows) :] = real[0]
    mask = None if real is None else _to_device(real, device)
    return model.forward(_to_device(ids, device), mask)[: len(rows)]


def _whole_rows(config: Any, shape: BatchShape) -> int:
    """The rows of a batch on a CPU, so many more than its shape's that silu, sigmoid and softplus run over whole vectors of the processor:
    torch 2.13 computes what is left at a tensor's end by other code, and a text in the last rows would have other bits there."""
    widths = (getattr(config, name, None) or 0 for name in ("intermediate_size", "linear_num_value_heads"))
    step = _VECTOR // math.gcd(_VECTOR, shape.length * math.gcd(*widths))
    return -(-shape.rows // step) * step


def check_memory(model: LoadedModel, device: torch.device, ladder: ShapeLadder, max_len: int) -> None:
    """Runs the longest batch once on a GPU, and that of the shortest texts, so that a budget too large is said before hours are spent:
    linear attention fills every text up to 64 tokens (Qwen3.5 in transformers 5.23).

    Raises:
        MachineError: it does not fit; the message has the largest halving of `batch_tokens` that does.
    """
    if device.type != "cuda":
        return
    wanted = budget = ladder.spec.batch_tokens
    while True:
        smaller = ShapeLadder(replace(ladder.spec, batch_tokens=budget), ladder.positions)
        batch = smaller.pack(max(budget, max_len)) if smaller.packs else smaller.shape(max_len)
        rows = max(1, budget // max_len) if smaller.packs else 1
        try:
            run_batch(model, device, batch, [np.zeros(max_len, dtype=np.int32)] * rows)
            if not smaller.packs:
                run_batch(model, device, smaller.shape(1), [np.zeros(1, dtype=np.int32)])
            torch.cuda.synchronize(device)
        except MachineError:
            torch.cuda.empty_cache()
            if batch.tokens // 2 < max_len:
                raise
            budget = batch.tokens // 2
        else:
            break
    if budget != wanted:
        raise MachineError(
            f"{device} does not have enough memory for batches of {wanted} tokens: run with gpu.batch_tokens={budget}, which fits"
        )


def _to_device(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
