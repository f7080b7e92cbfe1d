"""Which scores of a run may leave under the benchmark's name, and what must be said of them."""

from dataclasses import dataclass

from harness.core.benchmarks import Benchmark
from harness.core.errors import RequestError
from harness.core.formatting import amount, named
from harness.core.records import Run, TaskRecord
from harness.core.run_files import MANIFEST
from harness.core.tasks import TaskSpec
from harness.read.leaderboard import TaskScore, leaderboard_row

OTHER_DATA = "not C-MTEB"
"""The label of a score that was made on other data than the benchmark's, as the leaderboard has it."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A task with its record. `source`: where the data came from, if it was not the benchmark's; None where it was."""

    task: TaskSpec
    record: TaskRecord
    source: str | None

    @property
    def on_benchmark(self) -> bool:
        """Whether the score may stand under the benchmark's name."""
        return self.source is None


@dataclass(frozen=True)
class Selection:
    """What is exported, by name as mteb's own tools order it, and what a reader must know: left out tasks, doubtful data."""

    run: Run
    tasks: tuple[Exported, ...]
    notes: tuple[str, ...]


def select_scores(run: Run, benchmark: Benchmark, *, other_data: bool) -> Selection:
    """The scores of a run that can be exported.

    `other_data`: those that were made on other data than the benchmark's, too; whoever writes them must label them.

    Raises:
        RequestError: nothing is left.
    """
    scores = {score.task: score for score in leaderboard_row(run, "unrounded", benchmark).tasks}
    scored = {name: score for name, score in scores.items() if score.state == "scored"}
    foreign = [name for name, score in scored.items() if score.identity == OTHER_DATA]
    chosen = sorted(name for name in scored if other_data or name not in foreign)
    if not chosen:
        raise RequestError(_nothing(run, scores, foreign))
    sources = {name: data.source if (data := run.records[name].made.data) else None for name in foreign}
    tasks = tuple(
        Exported(task=benchmark.task(name), record=run.records[name], source=(sources[name] or "other") if name in foreign else None)
        for name in chosen
    )
    return Selection(run, tasks, tuple(_notes(scores, tasks, foreign, other_data=other_data)))


def _nothing(run: Run, scores: dict[str, TaskScore], foreign: list[str]) -> str:
    if foreign:
        return (
            f"{run.path} has no score on C-MTEB's data ({len(foreign)} on other data): they would be read as C-MTEB scores of the model. "
            "Add --other-data to export them under names that say so"
        )
    why = next((score.message for score in scores.values() if score.message), run.broken.get(MANIFEST, "no record"))
    return f"{run.path} has no score to export ({why}): name a run with finished tasks"


def _notes(scores: dict[str, TaskScore], tasks: tuple[Exported, ...], foreign: list[str], *, other_data: bool) -> list[str]:
    notes = []
    without = {state: [name for name, score in scores.items() if score.state == state] for state in ("missing", "failed", "broken")}
    if any(without.values()):
        count = len(scores) - sum(map(len, without.values()))
        reasons = "; ".join(f"{state}: {named(names, len(scores))}" for state, names in without.items() if names)
        notes.append(f"partial: {count} of {amount(len(scores), 'task')} have a score; {reasons}")
    if foreign:
        what = "exported under names that say so" if other_data else "left out, --other-data exports them under names that say so"
        notes.append(f"{OTHER_DATA}: {named(foreign, len(scores))}: {what}")
    unverified = [each.task.name for each in tasks if scores[each.task.name].identity == "unverified"]
    if unverified:
        notes.append(f"the data was not compared with the benchmark's known figures: {named(unverified, len(scores))}")
    substituted = [each.task.name for each in tasks if scores[each.task.name].substituted]
    if substituted:
        notes.append(f"another revision of the data was read than the pinned one, and is exported as such: {', '.join(substituted)}")
    others = sorted({each.record.made.trust for each in tasks} - {"ours"})
    if others:
        notes.append(f"not run by this harness: {' and '.join(others)}")
    return notes
