"""The tasks of a benchmark."""

from collections.abc import Iterator
from dataclasses import asdict

from harness.core.benchmarks import Benchmark
from harness.core.tasks import TASK_TYPES, TaskSpec
from harness.show.form import Block, Document, Sentences, grid, table_columns

_COLUMNS = table_columns("Task", "Type", "Main metric", "Repository", "Revision", "Split", "Size")


def tasks_document(benchmark: Benchmark) -> Document:
    """A line per task, by type: name, repository, revision, config and split, and the size of what is evaluated."""
    tasks = benchmark.tasks
    return Document(
        blocks=lambda: _blocks(benchmark),
        data=lambda: {
            "name": benchmark.name,
            "title": benchmark.title,
            "digest": benchmark.digest,
            "tasks": [asdict(task) for task in tasks],
        },
    )


def _blocks(benchmark: Benchmark) -> Iterator[Block]:
    yield Sentences((f"{benchmark.name}: {benchmark.title} (sha256 {benchmark.digest[:12]})",))
    for kind in TASK_TYPES:
        if of_type := [task for task in benchmark.tasks if task.type == kind]:
            yield Sentences(tuple(_of_type(kind, of_type)), "verbatim", width="narrow")
    rows = ((task.name, task.type, task.main, task.hub, task.revision, _read(task), _size(task)) for task in benchmark.tasks)
    yield grid(_COLUMNS, rows, width="wide")
    notes = []
    if substituted := [task.name for task in benchmark.tasks if task.substitute]:
        notes.append(f"A converted revision is read and recorded where the pinned one has no readable file: {', '.join(substituted)}")
    if any(task.type == "Retrieval" for task in benchmark.tasks):
        notes.append(
            "Retrieval judgements come from <repository>-qrels. Nobody pinned a revision of it: the commit that is read is recorded."
        )
    yield Sentences(tuple(notes), "verbatim")


def _of_type(kind: str, tasks: list[TaskSpec]) -> list[str]:
    lines = [f"  {task.name:<30}{task.hub:<45}{task.revision[:8]}  {_read(task):<20}{_size(task)}" for task in tasks]
    return [f"{kind} ({len(tasks)}), leaderboard: {tasks[0].main}", *lines]


def _read(task: TaskSpec) -> str:
    return task.split if task.config == "default" else f"{task.config}/{task.split}"


def _size(task: TaskSpec) -> str:
    if not task.statistics:
        return "size not known"
    match task.type:
        case "Retrieval":
            counted = {"passages": task.statistics["corpus"], "queries": task.statistics["queries"]}
        case "Reranking":
            counted = {"queries": task.statistics[task.split]["query"], "candidates": task.statistics[task.split]["documents"]}
        case _:
            counted = {"rows": task.statistics[task.split]}
    return ", ".join(f"{figures['rows']:,} {what}" for what, figures in counted.items())
