"""What a sweep costs: 3 lengths x 2 dimensions against one run at 1024: python benchmarks/sweep.py [--share 0.001]

A small seeded model reads texts with the lengths that C-MTEB is modelled to have, every n-th of them in order: a few texts cause much of
the FLOP, and a share drawn at random has too many or too few of them. They are gathered by type under the names of six STS tasks, whose
scoring costs next to nothing, so the figures are those of encoding. Every run is `runner.execute` with one store and one loaded
model, as in `python -m harness sweep max_len=512,768,1024 dim=1024,1792`. FLOP are those of the batches that ran, including dummy rows
and padding. Then: another dimension, the same run again, and the same scores from the store into another folder.

Before that, the same FLOP by arithmetic, for shares of the benchmark up to all of it: the batches of the plan, and the texts alone, without
the dummy rows and the padding that a small share has more of.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch
from measuring import Cost, measure, report, say_machine, torch_threads
from synthetic import SMALL, TINY, Shape, build_model, write_texts

from harness.core.benchmarks import load_benchmark
from harness.core.config import resolve_run
from harness.core.costs import COSTS
from harness.core.tasks import TASK_TYPES
from harness.evaluate.encode.canonical import batches
from harness.evaluate.encode.canonical.batches import run_batch
from harness.evaluate.encode.canonical.shapes import BatchShape, ShapeLadder
from harness.evaluate.encode.device import describe_device, find_device
from harness.evaluate.encode.model.loading import LoadedModel
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.here import resolve_here
from harness.evaluate.lengths import fields
from harness.evaluate.prepared import Outcome
from harness.evaluate.progress import Silent
from harness.evaluate.runner import execute

STS = ("AFQMC", "ATEC", "BQ", "LCQMC", "QBQTC", "STSB")
LENGTHS = (512, 768, 1024)
DIMS = (1024, 1792)


_NO_RECORDS = ("manifest.json", "canary.json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print FLOP and seconds, and check that repeats cost nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=0.001, help="of the benchmark's modelled texts")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own)")
    parser.add_argument("--tiny", action="store_true", help="a model that only shows that everything works")
    chosen = parser.parse_args(arguments)
    say_machine()
    for share in sorted({chosen.share, 0.01, 0.1, 1.0}):
        plan_flops(share, tiny=chosen.tiny)
    with tempfile.TemporaryDirectory() as folder, torch_threads(chosen.threads):
        bench = _Bench(Path(folder), chosen.share, tiny=chosen.tiny)
        bench.compare(chosen.repeats)
        bench.show_what_is_free()


def plan_flops(share: float, *, tiny: bool) -> None:
    """The ratio of FLOP that goes with a share of the modelled texts, by the plan of their batches."""
    draw = np.random.default_rng(0)
    counts = np.concatenate([_lengths(kind, share, draw) for kind in TASK_TYPES])
    spec, _ = resolve_here(["model=sample", "data=sample"])
    ladder, shape = ShapeLadder(spec.gpu.encoding, LENGTHS[-1]), TINY if tiny else SMALL
    added = [np.minimum(counts[counts > before], length) for before, length in itertools.pairwise([0, *LENGTHS])]
    single = np.minimum(counts, LENGTHS[-1])
    planned = sum(_planned_flops(ladder, shape, part) for part in added) / _planned_flops(ladder, shape, single)
    texts = sum(shape.flops(part) for part in added) / shape.flops(single)
    label = f"{len(counts):,} modelled texts (share {share}), {ladder.spec.ladder} ladder, {ladder.spec.batch_tokens} tokens a batch"
    print(
        f"planned FLOP of 3 lengths x 2 dims / of one run at 1024: {planned:.4f} of batches, {texts:.4f} of the texts alone; {label}",
        flush=True,
    )


def _planned_flops(ladder: ShapeLadder, shape: Shape, counts: npt.NDArray[np.int64]) -> int:
    return sum(number * shape.flops(np.full(one.rows, one.length)) for one, number in ladder.batches(counts).items())


class _Bench:
    def __init__(self, folder: Path, share: float, *, tiny: bool) -> None:
        self._folder = folder
        self._shape = TINY if tiny else SMALL
        self._model = build_model(folder / "model", self._shape)
        self._dims = (16, 48) if tiny else DIMS
        self._device = find_device()
        self._pools: dict[Path, EncoderPool] = {}
        _write_tasks(folder / "data", share)

    def compare(self, repeats: int) -> None:
        """The sweep between two single runs, so that a drift of the machine hits both."""
        self._run(self._points()[:1], "warm")
        flops, walls, users = [], [], []
        for _ in range(repeats):
            one, work = self._run(self._points()[-1:], "one")
            sweep, sweep_work = self._run(self._points(), "sweep")
            again, _ = self._run(self._points()[-1:], "one")
            single = Cost((one.wall + again.wall) / 2, (one.user + again.user) / 2)
            print(f"one run at 1024: {single}, {work / 1e12:.3f} TFLOP; the sweep: {sweep}, {sweep_work / 1e12:.3f} TFLOP", flush=True)
            flops.append(sweep_work / work)
            walls.append(sweep.wall / single.wall)
            users.append(sweep.user / single.user)
        naive = sum(self._run([point], "naive")[1] for point in self._points()[:: len(self._dims)]) * len(self._dims)
        report("FLOP of 3 lengths x 2 dims / of one run at 1024", flops, at_most=1.55)
        report("FLOP of the six runs without a store / of one run at 1024", [naive / work])
        report("wall seconds of 3 lengths x 2 dims / of one run at 1024", walls, at_most=1.65)
        report("the same in user seconds", users)

    def show_what_is_free(self) -> None:
        """Exits with an error if something was computed a second time."""
        folder = self._folder / "free"
        longest, smaller = self._points()[-1], (LENGTHS[-1], self._dims[0])
        first = self._execute(longest, folder, results="results")
        expected = {path.name: _without_seconds(path) for path in sorted(first.folder.glob("*.json")) if path.name not in _NO_RECORDS}
        second_dim = self._execute(smaller, folder, results="results")
        rerun = self._execute(longest, folder, results="results")
        elsewhere = self._execute(longest, folder, results="elsewhere")
        found = {path.name: _without_seconds(path) for path in sorted(elsewhere.folder.glob("*.json")) if path.name not in _NO_RECORDS}
        equal = sum(found.get(name) == text for name, text in expected.items())
        records = len(expected)
        print(f"\nsecond dimension: {_forwards(second_dim)} forwards")
        print(f"second run: {len(rerun.computed)} tasks computed, {len(rerun.reused)} reused")
        print(f"into an empty folder, from the store: {_forwards(elsewhere)} forwards, {equal} of {records} records byte-identical", end="")
        print(" (evaluation_time apart)")
        if _forwards(second_dim) or rerun.computed or _forwards(elsewhere) or equal != records:
            raise SystemExit("something was computed twice, or came out otherwise")

    def _points(self) -> list[tuple[int, int]]:
        return list(itertools.product(LENGTHS, self._dims))

    def _run(self, points: Sequence[tuple[int, int]], name: str) -> tuple[Cost, int]:
        """Seconds and FLOP of the points one after the other, from an empty store to the records."""
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        self._pools.pop(folder, None)
        self._pool(folder).encoder(
            self._spec(points[0], folder, results="results"), self._device
        )  # the weights are loaded before the clock
        shapes: list[BatchShape] = []

        def noted(model: LoadedModel, device: torch.device, shape: BatchShape, rows: list[Any]) -> torch.Tensor:
            shapes.append(shape)
            return run_batch(model, device, shape, rows)

        with mock.patch.object(batches, "run_batch", noted):
            cost = measure(lambda: [self._execute(point, folder, results="results") for point in points])[1]
        return cost, sum(self._shape.flops(np.full(shape.rows, shape.length)) for shape in shapes)

    def _execute(self, point: tuple[int, int], folder: Path, *, results: str) -> Outcome:
        outcome = execute(self._spec(point, folder, results=results), self._device, Silent(), encoders=self._pool(folder))
        if outcome.failed:
            raise SystemExit(f"tasks failed: {outcome.failed}")
        return outcome

    def _pool(self, folder: Path) -> EncoderPool:
        return self._pools.setdefault(folder, EncoderPool())

    def _spec(self, point: tuple[int, int], folder: Path, *, results: str) -> Any:
        info = describe_device(self._device)
        overrides = [
            *("model=folder", f"model.path={self._model.path}", "model.name=synthetic"),
            *("data=local", f"data.root={self._folder / 'data'}", "data.verify=off", f"tasks=[{','.join(STS)}]"),
            *(f"max_len={point[0]}", f"dim={point[1]}", f"store={folder / 'store'}", f"results_dir={folder / results}"),
        ]
        return resolve_run(overrides, device_name=info.label, device_memory_gib=info.memory_gib)


def _write_tasks(root: Path, share: float) -> None:
    """The texts of a type, in pairs, as an STS task; targets are random."""
    draw = np.random.default_rng(0)
    for name, kind in zip(STS, TASK_TYPES, strict=True):
        counts = _lengths(kind, share, draw)
        counts = np.concatenate([counts, counts[: len(counts) % 2 + 2]])
        texts = write_texts(np.minimum(draw.permutation(counts), 1500), draw)
        pairs = zip(texts[0::2], texts[1::2], strict=False)
        rows = [{"sentence1": one, "sentence2": two, "score": float(draw.integers(0, 2))} for one, two in pairs]
        folder = root / name
        folder.mkdir(parents=True)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{load_benchmark().task(name).split}.jsonl").write_text(lines, encoding="utf-8")


def _lengths(kind: str, share: float, draw: np.random.Generator) -> npt.NDArray[np.int64]:
    """Token counts of a share of the texts in the tasks of a type, spread evenly over all of them in order of length."""
    tasks = [task for task in load_benchmark().tasks if task.type == kind]
    counts = np.sort(np.concatenate([field.tokens(draw) for task in tasks for field in fields(task)]))
    wanted = max(2, round(len(counts) * share))
    return counts[((np.arange(wanted) + 0.5) * len(counts) / wanted).astype(np.int64)]


def _without_seconds(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if '"evaluation_time"' not in line)


def _forwards(outcome: Outcome) -> int:
    lines = [json.loads(line) for line in (outcome.folder / COSTS).read_text(encoding="utf-8").splitlines()]
    return sum(line["encoding"]["forwards"] for line in lines if "encoding" in line)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
