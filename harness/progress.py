"""What a person sees while a run goes on: bars with an ETA on a terminal, nothing elsewhere; always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from harness.benchmark import TaskSpec


class Silent:
    """A run that tells nothing while it goes on."""

    def plan(self, todo: Sequence[TaskSpec], done: Sequence[TaskSpec]) -> None:
        """Nothing is shown."""

    def encoded(self, tasks: Sequence[TaskSpec], tokens: int, planned: int) -> None:
        """Nothing is shown."""

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        """Nothing is shown."""


class Live:
    """Two bars, encoding by what the tasks have to read and tasks that are finished, and a line per finished task."""

    def __init__(self, console: Console, *, sample: bool) -> None:
        self._sample = sample
        self._bars = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("eta"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._encoding = self._bars.add_task("loading", total=None)
        self._tasks = self._bars.add_task("tasks", total=None)
        self._weights: dict[str, float] = {}
        self._past = 0.0
        self._window: tuple[str, ...] = ()

    def __enter__(self) -> Live:
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def plan(self, todo: Sequence[TaskSpec], done: Sequence[TaskSpec]) -> None:
        """Set the run's length; say what is there already."""
        self._weights = {task.name: 1.0 if self._sample else known_characters(task) for task in todo}
        self._bars.update(self._encoding, total=sum(self._weights.values()))
        self._bars.update(self._tasks, total=len(todo) + len(done), completed=len(done))

    def encoded(self, tasks: Sequence[TaskSpec], tokens: int, planned: int) -> None:
        """Move the encoding by the tokens that went through the model."""
        names = tuple(task.name for task in tasks)
        if names != self._window:
            self._past += sum(self._weights[name] for name in self._window)
            self._window = names
        weight = sum(self._weights[name] for name in names)
        told = names[0] if len(names) == 1 else f"{len(names)} tasks"
        share = tokens / planned if planned else 1.0
        self._bars.update(self._encoding, completed=self._past + share * weight, description=f"encoding {told}")

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        """A line for the task."""
        self._bars.advance(self._tasks)
        told = f"{100 * score:7.2f}" if score is not None else f" failed: {error}"
        self._bars.console.print(f"{task.name:<30} {told}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def show_progress(*, sample: bool, quiet: bool) -> Iterator[Silent | Live]:
    """Bars when stderr is a terminal and `quiet` is off."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield Silent()
        return
    with Live(console, sample=sample) as live:
        yield live


def known_characters(task: TaskSpec) -> float:
    """The characters that the known statistics count in the task's evaluated tables: what its encoding time goes by."""
    tables = [figures for table, figures in task.statistics.items() if table not in ("train", "qrels")]
    columns = [value for figures in tables for value in (figures, *figures.values()) if isinstance(value, dict)]
    return float(sum(column["chars"] for column in columns if isinstance(column.get("chars"), int)))


def warn(message: str) -> None:
    """A line on stderr."""
    print(message, file=sys.stderr)
