"""The benchmark as text and as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from harness.core.benchmark import TASK_TYPES, Benchmark, TaskSpec


def tasks_json(benchmark: Benchmark) -> dict[str, Any]:
    """The benchmark as plain values."""
    return {"name": benchmark.name, "digest": benchmark.digest, "tasks": [asdict(task) for task in benchmark.tasks]}


def tasks_text(benchmark: Benchmark) -> str:
    """A line per task, by type: name, repository, revision, config and split, and the size of what is evaluated."""
    lines = [f"{benchmark.name}: {len(benchmark.tasks)} tasks (sha256 {benchmark.digest[:12]})"]
    for kind in TASK_TYPES:
        tasks = [task for task in benchmark.tasks if task.type == kind]
        lines += ["", f"{kind} ({len(tasks)}), leaderboard: {tasks[0].main}"]
        lines += [f"  {task.name:<30}{task.hub:<45}{task.revision[:8]}  {_read(task):<20}{_size(task)}" for task in tasks]
    substituted = [task.name for task in benchmark.tasks if task.substitute]
    lines += ["", f"A converted revision is read, and told, where the pinned one has no readable file: {', '.join(substituted)}"]
    lines += ["Retrieval judgements come from <repository>-qrels, pinned by nobody: the commit is resolved and recorded."]
    return "\n".join(lines)


def _read(task: TaskSpec) -> str:
    return task.split if task.config == "default" else f"{task.config}/{task.split}"


def _size(task: TaskSpec) -> str:
    if task.type == "Retrieval":
        return f"{task.statistics['corpus']['rows']:,} passages, {task.statistics['queries']['rows']:,} queries"
    if task.type == "Reranking":
        figures = task.statistics[task.split]
        return f"{figures['query']['rows']:,} queries, {figures['documents']['rows']:,} candidates"
    return f"{task.statistics[task.split]['rows']:,} rows"
