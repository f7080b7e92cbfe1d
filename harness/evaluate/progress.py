"""How far a run has come: what it reports as it goes on, and when it will end."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.core.tasks import TaskSpec
from harness.evaluate.encode.encoder import EncodingStep

_MEMORY = 60.0  # seconds that a rate is taken over
_TRUSTED = 3.0  # seconds of measuring after which what was measured is believed


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


def window_rows(texts: Iterable[tuple[TaskSpec, Sequence[str]]]) -> tuple[dict[str, int], list[WindowPart]]:
    """The distinct texts of tasks that are encoded together, each with its row, and the part of every task."""
    row: dict[str, int] = {}
    parts = []
    for task, own in texts:
        start = len(row)
        for text in own:
            row.setdefault(text, len(row))
        parts.append(WindowPart(task, start, len(row)))
    return row, parts


class Progress:
    """What a run reports while it goes on; nothing is shown where a subclass does not."""

    def plan(self, todo: Sequence[TaskSpec], done: Sequence[TaskSpec]) -> None:
        """What is left to do and what is not."""

    def expected(self, flops: Mapping[str, float], rate: float | None) -> None:
        """FLOP that the known statistics let expect of each task, and the FLOP per second that are expected of the device, if any are."""

    def loading(self, task: TaskSpec) -> None:
        """The task's data is being read."""

    def encoded(self, window: Sequence[WindowPart], step: EncodingStep) -> None:
        """So far has the encoding of the window come."""

    def scoring(self, task: TaskSpec) -> None:
        """The task's vectors are there, its scores are being computed."""

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        """A task has a record: its main score (0 to 1), or its error."""


class Silent(Progress):
    """A run that shows nothing while it goes on."""


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
