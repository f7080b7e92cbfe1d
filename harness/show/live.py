"""What a person sees of a run that goes on, on stderr: a view with tasks, tokens per second and an ETA; in a log a line a minute."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.core.formatting import duration, one_line
from harness.core.tasks import TaskSpec
from harness.evaluate.encode.encoder import EncodingStep
from harness.evaluate.progress import Estimate, Progress, Silent, WindowPart

_SHOWN = 8  # tasks at work, at most
_LINE_SECONDS = 60.0  # between two lines of a log

State = Literal["waiting", "loading", "encoding", "scoring"]


class _Watched(Progress):
    """The tasks at work, since when, and how far they are; the run's encoding with its rate and ETA."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started = clock()
        self._estimate = Estimate(clock)
        self._states: dict[str, State] = {}
        self._since: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self._step: EncodingStep | None = None
        self._all = self._finished = self._failed = 0

    def plan(self, todo: Sequence[TaskSpec], done: Sequence[TaskSpec]) -> None:
        """Set the run's length; what is there already counts as finished."""
        self._states = {task.name: "waiting" for task in todo}
        self._all, self._finished = len(todo) + len(done), len(done)

    def expected(self, flops: Mapping[str, float], rate: float | None) -> None:
        """Start the estimate with what was modelled."""
        self._estimate.expect(flops, rate)

    def loading(self, task: TaskSpec) -> None:
        """Show the task."""
        self._enter(task.name, "loading")
        self._moved()

    def encoded(self, window: Sequence[WindowPart], step: EncodingStep) -> None:
        """Move the encoding."""
        self._estimate.update(window, step)
        self._step = step
        for part in window:
            self._shares[part.task.name] = part.share(step.read)
            if self._states.get(part.task.name) in ("waiting", "loading"):
                self._enter(part.task.name, "encoding")
        self._moved()

    def scoring(self, task: TaskSpec) -> None:
        """Show the task."""
        self._enter(task.name, "scoring")
        self._moved()

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        """Count the task."""
        self._states.pop(task.name, None)
        self._estimate.drop(task.name)
        self._finished += 1
        self._failed += score is None
        self._moved()

    def _moved(self) -> None:
        """Something has changed; a view that is drawn by a clock has nothing to do."""

    def _share(self) -> float:
        """How much of the encoding is done, 0 to 1."""
        total = self._estimate.total
        return self._estimate.done / total if total else 0.0

    def _words(self) -> list[str]:
        """Tasks, time, rate and ETA."""
        estimate, share = self._estimate, self._share()
        words = [f"{self._finished}/{self._all} tasks" + (f", {self._failed} failed" if self._failed else "")]
        words.append(duration(round(self._clock() - self._started)))
        words += ["loading and checking the model"] if not self._since else []
        if self._step is not None and estimate.total > 0:
            rate, left = estimate.tokens_per_second, estimate.seconds_left
            words += [f"{rate:,.0f} tokens/s"] if rate else []
            words += [f"eta {duration(round(left))}" if left is not None else "eta ?"] if share < 1 else ["encoded"]
        return words

    def _texts_read(self) -> str:
        step = self._step
        return f"{step.read:,} of {step.texts:,} texts read, {step.found:,} of them found in the store" if step else ""

    def _enter(self, name: str, state: State) -> None:
        if self._states.get(name) != state:
            self._states[name], self._since[name] = state, self._clock()


class Lines(_Watched):
    """A line a minute, for the log of a job: how far the run is. A run that ends sooner leaves none."""

    def __init__(self, console: Console, title: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._title = f"{one_line(title)}: " if title else ""
        self._due = self._started + _LINE_SECONDS

    def _moved(self) -> None:
        if self._clock() < self._due:
            return
        self._due = self._clock() + _LINE_SECONDS
        share = f"{100 * self._share():.0f} %" if self._estimate.done else ""  # none where all vectors are in the store
        text = self._title + ", ".join(filter(None, (share, *self._words(), self._texts_read())))
        self._console.print(Text(text), soft_wrap=True, highlight=False)


class Live(_Watched):
    """The tasks at work with how far they are, the run's encoding with its rate and ETA, and above them a line per finished task."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._console = console
        self._screen = Screen(get_renderable=self.render, console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Live:
        self._screen.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._screen.stop()

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        """A line for the task."""
        super().finished(task, score=score, error=error)
        text = f"{100 * score:7.2f}" if score is not None else one_line(f" failed: {(error or '').removeprefix(f'{task.name}: ')}")
        line = Text(f"{task.name:<30} {text}", style="" if score is not None else "red")
        self._console.print(line, highlight=False, soft_wrap=True)

    def render(self) -> RenderableType:
        """What stands below the finished tasks at this moment."""
        return Group(self._tasks(), self._run())

    def _tasks(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        busy = sorted(
            (name for name, state in self._states.items() if state != "waiting"),
            key=lambda name: (self._states[name] != "scoring", self._shares.get(name, 0.0) >= 1, self._shares.get(name, 0.0) == 0),
        )
        for name in busy[:_SHOWN]:
            state, share = self._states[name], self._shares.get(name, 0.0)
            if state == "encoding":
                text = f"{100 * share:3.0f} % read" if share < 1 else "all read"
            else:
                text = f"{state} {duration(round(self._clock() - self._since[name]))}"
            grid.add_row(name, ProgressBar(total=1.0, completed=share, width=16), text)
        if len(busy) > _SHOWN:
            grid.add_row(Text(f"and {len(busy) - _SHOWN} more"))
        return grid

    def _run(self) -> Group:
        share = self._share()
        head = Table.grid(padding=(0, 1))
        head.add_row(ProgressBar(total=1.0, completed=share, width=24), f"{100 * share:3.0f} %", *self._words())
        lines: list[RenderableType] = [head]
        if read := self._texts_read():
            lines.append(Text(read, style="dim"))
        return Group(*lines)


@contextmanager
def show_progress(title: str | None = None, *, quiet: bool = False) -> Iterator[Progress]:
    """A live view under a line with the `title`, where stderr is a terminal that can have one; elsewhere, and in a process that a launcher
    has started beside others, a line a minute after the `title`; nothing if `quiet`.

    It is in colour unless `NO_COLOR` is set.
    """
    console = Console(stderr=True)
    if quiet:
        yield Silent()
    elif _is_drawn_on(console) and multiprocessing.current_process().name == "MainProcess":
        if title:
            console.print(Text(one_line(title), style="bold"), soft_wrap=True)
        with Live(console) as live:
            yield live
    else:
        yield Lines(console, title)


@contextmanager
def show_step(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows what is being looked at, on one line of a terminal; it shows nothing elsewhere."""
    console = Console(stderr=True)
    if quiet or not _is_drawn_on(console):
        yield lambda _: None
        return
    with console.status("starting") as status:
        yield lambda step: status.update(Text(one_line(step)))


def _is_drawn_on(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal
