"""What a person sees while a run goes on: tasks, tokens per second and an ETA on a terminal, nothing elsewhere; always on stderr."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.core.benchmark import TaskSpec
from harness.run.encode.encoder import EncodingStep

_SHOWN = 8  # tasks at work, at most
_MEMORY = 60.0  # seconds that a rate is taken over
_TRUSTED = 3.0  # seconds of measuring after which what was measured is believed

State = Literal["waiting", "loading", "encoding", "scoring"]


@dataclass(frozen=True)
class WindowPart:
    """A task of a window of tasks that are encoded together: of the window's distinct texts, `start` to `end` are those that no task
    before it has."""

    task: TaskSpec
    start: int
    end: int

    def share(self, read: int) -> float:
        """How much of the part lies among the first `read` texts of the window, 0 to 1."""
        if self.end == self.start:
            return float(read >= self.end)
        return min(1.0, max(0.0, (read - self.start) / (self.end - self.start)))


class Silent:
    """A run that tells nothing while it goes on."""

    def plan(self, todo: Sequence[TaskSpec], done: Sequence[TaskSpec]) -> None:
        """Nothing is shown."""

    def expected(self, flops: Mapping[str, float], rate: float | None) -> None:
        """Nothing is shown."""

    def loading(self, task: TaskSpec) -> None:
        """Nothing is shown."""

    def encoded(self, window: Sequence[WindowPart], step: EncodingStep) -> None:
        """Nothing is shown."""

    def scoring(self, task: TaskSpec) -> None:
        """Nothing is shown."""

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        """Nothing is shown."""


class Estimate:
    """Work done, work in all and when it ends, in FLOP: modelled for what is not read yet, and corrected by what was.

    The tasks ahead are expected to be off by the factor by which those so far were; the rate is that of the last minute, and before
    anything is measured the one expected of the device. Times are of `clock`, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._modelled: Mapping[str, float] = {}
        self._expected_rate: float | None = None
        self._ahead: set[str] = set()
        self._past = 0.0  # FLOP of the windows that are through
        self._step: EncodingStep | None = None
        self._window: Sequence[WindowPart] = ()
        self._marks: deque[tuple[float, float, int]] = deque()  # time, FLOP and tokens of the window

    def expect(self, modelled: Mapping[str, float], rate: float | None) -> None:
        """What the statistics say of each task that is to be encoded, and the FLOP per second expected of the device, if any are."""
        self._modelled, self._expected_rate, self._ahead = modelled, rate, set(modelled)

    def drop(self, task: str) -> None:
        """The task needs no encoding after all."""
        self._ahead.discard(task)

    def update(self, window: Sequence[WindowPart], step: EncodingStep) -> None:
        """Take in how far a window has come."""
        if window is not self._window:
            self._past += self._step.done if self._step else 0
            self._marks = deque([(self._clock(), 0.0, 0)])
            self._window = window
            self._ahead -= {part.task.name for part in window}
        self._step = step
        self._marks.append((self._clock(), step.done, step.tokens))
        while len(self._marks) > 2 and self._marks[-1][0] - self._marks[1][0] > _MEMORY:
            self._marks.popleft()

    @property
    def done(self) -> float:
        """FLOP that were computed."""
        return self._past + (self._step.done if self._step else 0)

    @property
    def total(self) -> float:
        """FLOP in all, computed and expected."""
        known = self._past + (self._step.planned if self._step else 0)
        ahead = sum(self._modelled[name] for name in self._ahead)
        behind = sum(self._modelled.values()) - ahead
        return known + ahead * (known / behind if behind and known else 1.0)

    @property
    def tokens_per_second(self) -> float | None:
        """Real tokens through the model, of late; None while too little is measured."""
        seconds, _, tokens = self._of_late()
        return tokens / seconds if seconds >= _TRUSTED else None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until everything is encoded; None while nothing is known of the rate."""
        seconds, flops, _ = self._of_late()
        rate = flops / seconds if seconds >= _TRUSTED and flops else self._expected_rate
        return max(0.0, self.total - self.done) / rate if rate else None

    def _of_late(self) -> tuple[float, float, int]:
        if len(self._marks) < 2:
            return 0.0, 0.0, 0
        (began, flops, tokens), (ended, more, most) = self._marks[0], self._marks[-1]
        return ended - began, more - flops, most - tokens


class Live:
    """The tasks at work with how far they are, the run's encoding with its rate and ETA, and above them a line per finished task."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._started = clock()
        self._estimate = Estimate(clock)
        self._states: dict[str, State] = {}
        self._since: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self._step: EncodingStep | None = None
        self._all = self._finished = self._failed = 0
        self._screen = Screen(get_renderable=self.render, console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Live:
        self._screen.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._screen.stop()

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

    def encoded(self, window: Sequence[WindowPart], step: EncodingStep) -> None:
        """Move the encoding."""
        self._estimate.update(window, step)
        self._step = step
        for part in window:
            self._shares[part.task.name] = part.share(step.read)
            if self._states.get(part.task.name) in ("waiting", "loading"):
                self._enter(part.task.name, "encoding")

    def scoring(self, task: TaskSpec) -> None:
        """Show the task."""
        self._enter(task.name, "scoring")

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        """A line for the task."""
        self._states.pop(task.name, None)
        self._estimate.drop(task.name)
        self._finished += 1
        self._failed += score is None
        told = f"{100 * score:7.2f}" if score is not None else f" failed: {error}"
        line = Text(f"{task.name:<30} {told}", style="" if score is not None else "red")
        self._console.print(line, highlight=False, soft_wrap=True)

    def render(self) -> RenderableType:
        """What stands below the finished tasks at this moment."""
        return Group(self._tasks(), self._run())

    def _enter(self, name: str, state: State) -> None:
        if self._states.get(name) != state:
            self._states[name], self._since[name] = state, self._clock()

    def _tasks(self) -> Table:
        grid = Table.grid(padding=(0, 1))
        busy = sorted(
            (name for name, state in self._states.items() if state != "waiting"),
            key=lambda name: (self._states[name] != "scoring", self._shares.get(name, 0.0) >= 1, self._shares.get(name, 0.0) == 0),
        )
        for name in busy[:_SHOWN]:
            state, share = self._states[name], self._shares.get(name, 0.0)
            if state == "encoding":
                told = f"{100 * share:3.0f} % read" if share < 1 else "all read"
            else:
                told = f"{state} {_duration(self._clock() - self._since[name])}"
            grid.add_row(name, ProgressBar(total=1.0, completed=share, width=16), told)
        if len(busy) > _SHOWN:
            grid.add_row(Text(f"and {len(busy) - _SHOWN} more"))
        return grid

    def _run(self) -> Group:
        estimate, step = self._estimate, self._step
        total, done = estimate.total, estimate.done
        head = Table.grid(padding=(0, 1))
        words = [f"{self._finished}/{self._all} tasks" + (f", {self._failed} failed" if self._failed else "")]
        words.append(_duration(self._clock() - self._started))
        words += ["loading and checking the model"] if not self._since else []
        if step is not None and total > 0:
            rate, left = estimate.tokens_per_second, estimate.seconds_left
            words += [f"{rate:,.0f} tokens/s"] if rate is not None else []
            words += [f"eta {_duration(left)}" if left is not None else "eta ?"] if done < total else ["encoded"]
        head.add_row(ProgressBar(total=max(total, 1.0), completed=done, width=24), f"{100 * done / total if total else 0:3.0f} %", *words)
        lines: list[RenderableType] = [head]
        if step is not None:
            lines.append(Text(f"{step.read:,} of {step.texts:,} texts read, {step.found:,} of them found in the store", style="dim"))
        return Group(*lines)


@contextmanager
def show_progress(*, quiet: bool, title: str | None = None) -> Iterator[Silent | Live]:
    """A live view under a line with the `title`, when stderr is a terminal that can have one and `quiet` is off.

    It is in colour unless `NO_COLOR` is set.
    """
    console = Console(stderr=True)
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield Silent()
        return
    if title:
        console.print(Text(title, style="bold"), soft_wrap=True)
    with Live(console) as live:
        yield live


@contextmanager
def show_step(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function that shows what is being looked at, on one line of a terminal; it shows nothing where `show_progress` would not."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal or console.is_dumb_terminal:
        yield lambda _: None
        return
    with console.status("looking around") as status:
        yield lambda step: status.update(Text(step))


def _duration(seconds: float) -> str:
    """`8 s`, `1:05`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
