"""A run as the hub keeps evaluation results in a model's repository: `.eval_results/<Task>.yaml`, a list of entries each.

The format: hub-docs, `docs/hub/eval-results.md`. Names and scale are those of mteb 2.26.24 (`TaskResult._to_hf_benchmark_result`): an entry
per split, `TNews_default_validation`, and one for the task where all splits and languages of mteb 2 are there; percent, rounded to 5
digits. The hub shows an entry on a leaderboard only where the data set's repository is registered as a benchmark there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError, RequestError
from harness.core.files import atomic_write
from harness.core.formatting import few, stated
from harness.show.export.model_index import dump
from harness.show.export.mteb2 import missing_splits, nearest_metric, split_metrics
from harness.show.export.selection import Exported, Selection

FOLDER = ".eval_results"
_MTEB = "https://github.com/embeddings-benchmark/mteb/"


@dataclass(frozen=True)
class EvalResults:
    """The files that were written, and the tasks that mteb 2 scores by a metric that the run does not have."""

    paths: tuple[Path, ...]
    left_out: tuple[str, ...]


def write_eval_results(selection: Selection, benchmark: Benchmark, folder: Path) -> EvalResults:
    """Write a file per task into `folder/.eval_results`.

    Raises:
        RequestError: a score was made on other data: an entry has no place to say so.
        InputError: no task has the metric that mteb 2 calls its main score.
    """
    foreign = [each.task.name for each in selection.tasks if not each.on_benchmark]
    if foreign:
        raise RequestError(
            f"{few(foreign)}: scores on other data would be listed under the benchmark's repository; `export mteb --other-data` labels them"
        )
    files = {each.task.mteb2_name: eval_entries(each, selection, benchmark) for each in selection.tasks}
    left_out = tuple(name for name, entries in files.items() if not entries)
    if len(left_out) == len(files):
        raise InputError(f"{selection.run.path} has no main score that mteb 2 knows")
    paths = []
    for name in files.keys() - set(left_out):
        path = folder / FOLDER / f"{name}.yaml"
        with atomic_write(path) as stream:
            stream.write(dump(files[name]).encode())
        paths.append(path)
    return EvalResults(tuple(sorted(paths)), left_out)


def eval_entries(each: Exported, selection: Selection, benchmark: Benchmark) -> list[dict[str, Any]]:
    """The entries of one task, as `huggingface_hub.eval_result_entries_to_yaml` gives them; none where it lacks mteb 2's main metric."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    task, record, scores = each.task, each.record, split_metrics(each)
    if not scores or nearest_metric(each):
        return []
    mains = {f"{task.mteb2_name}_{task.language or 'default'}_{split}": metrics["main_score"] for split, metrics in scores.items()}
    if not task.language and not missing_splits(each):
        mains[task.mteb2_name] = sum(metrics["main_score"] for metrics in scores.values()) / len(scores)
    setting = {**selection.run.header.setting, "mteb": record.mteb_version, "benchmark": benchmark.name}
    notes = ", ".join(f"{name} {text}" for name, value in setting.items() if (text := stated(value)))
    return eval_result_entries_to_yaml(
        [
            EvalResultEntry(
                dataset_id=task.hub,
                task_id=name,
                value=round(100 * value, 5),
                dataset_revision=record.dataset_revision,
                source_url=_MTEB,
                source_name="C-MTEB reproduction harness" if record.made.trust == "ours" else record.made.trust,
                notes=notes,
            )
            for name, value in mains.items()
        ]
    )
