"""A whole run against the path of the card's script, on real data with a real model: python benchmarks/whole_run.py [--tasks AFQMC ...]

Both sides read the same rows and have the same threads. The harness side is `runner.execute` with an empty store: reading and checking
the data, encoding, storing, scoring, writing records; without the canary, because the script has none. The other side starts
from data in memory. Loading the model does not count on either side.
In a repeat the harness runs between the two halves of the other side, so that a drift of the machine hits both.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from measuring import Cost, measure, real_data, report, say_machine, torch_threads
from seed_path import TokenCount, load_seed_model, prepare_task, run_task

from harness.core.benchmarks import load_benchmark
from harness.core.config import resolve_run
from harness.core.costs import COSTS
from harness.core.run_files import read_record
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import RetrievalData, TaskData
from harness.evaluate.encode.device import describe_device, find_device
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.progress import Silent
from harness.evaluate.runner import execute

NOTHING_REPEATS = ("AFQMC", "LCQMC", "STSB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds of both sides and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=real_data(), help="folder of real data (default: CMTEB_DATA)")
    parser.add_argument("--sets", nargs="+", choices=("unrepeated", "all"), default=["unrepeated", "all"], help="which tasks")
    parser.add_argument("--tasks", nargs="+", help="some other choice of tasks")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--max-len", type=int, default=256)
    parser.add_argument("--threads", type=int, help="torch threads of both sides (default: torch's own)")
    chosen = parser.parse_args(arguments)
    say_machine()
    if chosen.data is None:
        print("needs real evaluation data: name its folder by --data or CMTEB_DATA: not measured")
        return
    with torch_threads(chosen.threads):
        bench = _Bench(chosen.data, chosen.max_len)
        if chosen.tasks:
            bench.compare(chosen.tasks, chosen.repeats, at_least=None)
            return
        if "unrepeated" in chosen.sets:
            bench.compare(NOTHING_REPEATS, chosen.repeats, at_least=1.0)
        if "all" in chosen.sets:
            bench.compare([task.name for task in bench.known], chosen.repeats, at_least=2.0)


class _Bench:
    def __init__(self, data: Path, max_len: int) -> None:
        self._overrides = [
            f"data.root={data}",
            "data=local",
            "data.verify=off",
            "model=minilm",
            "dtype=fp32",
            f"max_len={max_len}",
            "canary=off",
        ]
        self._device = find_device()
        self._pool = EncoderPool()
        spec = self._spec(Path("results"), [])
        self._seed_model = load_seed_model(spec.model, dtype=spec.dtype, max_len=max_len, device=str(self._device))
        self._seed_tokens = TokenCount(self._seed_model)
        self.known = [task for task in load_benchmark().tasks if any((data / name).is_dir() for name in _folders(task))]
        self._data: dict[str, TaskData] = {}
        self._spec_data = spec.data
        self._warm_up(data)

    def compare(self, names: Sequence[str], repeats: int, *, at_least: float | None) -> None:
        tasks = load_benchmark().select(names)
        print(f"\n{len(tasks)} tasks: {', '.join(task.name for task in tasks)}")
        walls, users, ratios = [], [], []
        for _ in range(repeats):
            middle = len(tasks) // 2
            self._seed_tokens.tokens = 0
            first, seed_cost = self._run_seed(tasks[:middle])
            records, counters, cost = self._run_harness(tasks)
            second, more = self._run_seed(tasks[middle:])
            seed_cost += more
            walls.append(seed_cost.wall / cost.wall)
            users.append(seed_cost.user / cost.user)
            apart = {task.name: abs({**first, **second}[task.name] - records[task.name]) for task in tasks}
            worst = max(apart, key=lambda name: apart[name])
            tokens = self._seed_tokens.tokens
            print(f"script: {seed_cost}, {tokens:,} tokens; ", end="")
            print(f"harness: {cost}, {counters['tokens']:,} tokens in {counters['forwards']} forwards, ", end="")
            print(f"tokens / distinct real tokens {counters['tokens'] / counters['real_tokens']:.4f}; ", end="")
            print(f"main scores at most {apart[worst]:.1e} apart ({worst})", flush=True)
            ratios.append(tokens / counters["tokens"])
        report("seconds of the script / of the harness, wall", walls, at_least=at_least)
        report("seconds of the script / of the harness, user", users, at_least=at_least)
        report("tokens through the model, the script's / the harness's", ratios)

    def _run_seed(self, tasks: Sequence[TaskSpec]) -> tuple[dict[str, float], Cost]:
        scores, total = {}, Cost(0, 0)
        for task in tasks:
            reference = prepare_task(task, self._load(task))
            metrics, cost = measure(lambda task=task, reference=reference: run_task(reference, task, self._seed_model))
            scores[task.name] = _main_score(task, metrics)
            total += cost
            print(f"  script, {task.name}: {cost}", flush=True)
        return scores, total

    def _run_harness(self, tasks: Sequence[TaskSpec]) -> tuple[dict[str, float], dict[str, int], Cost]:
        with tempfile.TemporaryDirectory() as folder:
            spec = self._spec(Path(folder), [task.name for task in tasks])
            self._pool.encoder(spec, self._device)
            outcome, cost = measure(lambda: execute(spec, self._device, Silent(), encoders=self._pool))
            if outcome.failed:
                raise SystemExit(f"tasks failed: {outcome.failed}")
            scores = {task.name: read_record(outcome.folder / f"{task.name}.json", task).main_score(task) for task in tasks}
            lines = [json.loads(line) for line in (outcome.folder / COSTS).read_text().splitlines()]
            windows = [line["encoding"] for line in lines if "encoding" in line]
            return scores, {key: sum(window[key] for window in windows) for key in ("forwards", "tokens", "real_tokens")}, cost

    def _spec(self, folder: Path, names: Sequence[str]) -> RunSpec:
        info = describe_device(self._device)
        overrides = [*self._overrides, f"tasks=[{','.join(names)}]", f"store={folder / 'store'}", f"results_dir={folder / 'results'}"]
        return resolve_run(overrides, device_name=info.label, device_memory_gib=info.memory_gib)

    def _load(self, task: TaskSpec) -> TaskData:
        if task.name not in self._data:
            self._data[task.name] = load_task(task, self._spec_data).data
        return self._data[task.name]

    def _warm_up(self, data: Path) -> None:
        """Imports and first calls do not count: both sides run a few texts before the clock starts."""
        texts = [f"预热 {number}" for number in range(64)]
        with tempfile.TemporaryDirectory() as folder:
            self._pool.encoder(self._spec(Path(folder), []), self._device).encode(texts)
        self._seed_model.encode(texts)
        for kind in {task.type: task for task in self.known}.values():
            prepare_task(kind, RetrievalData({}, {}, {}) if kind.type == "Retrieval" else self._load(kind))


def _folders(task: TaskSpec) -> tuple[str, ...]:
    return (*task.names, task.hub.split("/")[-1])


def _main_score(task: TaskSpec, metrics: Any) -> float:
    for key in ([task.language] if task.language else []) + task.main.split("."):
        metrics = metrics[key]
    return float(metrics)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
