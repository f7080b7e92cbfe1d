"""The examples that moved most from one run to others: what stands behind a cell of the heat map."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from harness.core.benchmarks import Benchmark
from harness.core.errors import HarnessError
from harness.core.examples import Examples, text_digest
from harness.core.formatting import shell_command
from harness.core.records import Run
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.data.types import ClassificationData, ClusteringData, PairData, RerankingData, TaskData
from harness.read.explain.build import KnownExamples, shared_examples
from harness.read.explain.moved import Move, most_moved
from harness.read.explain.pairs import Factor, pair_of_runs
from harness.show.report.entries import Entry, best_first

EXAMINED = 8
"""How many runs are looked at, those of the highest average: every example of a hundred runs takes minutes to read."""
_SHOWN = 3
_LONGEST = 160


@dataclass(frozen=True, kw_only=True)
class MovedExamples:
    """What moved from the base to the entry, by task.

    `factors`: the settings in which they differ; `command`: shows more, where they differ in one setting at most. `texts`: the beginning of
    an example's texts, by task and `Move.index`, where they were asked for.
    """

    base: Entry
    entry: Entry
    factors: tuple[Factor, ...]
    command: str | None
    tasks: Mapping[str, tuple[Move, ...]]
    texts: Mapping[tuple[str, int], tuple[str, ...]]


def moved_examples(entries: Sequence[Entry], reference: Entry | None, benchmark: Benchmark, *, texts: bool) -> tuple[MovedExamples, ...]:
    """The examples that moved most between the base (the reference if it is among the entries, else the best of them) and the others, on
    the same data.

    `entries`: runs of ours that keep examples. `texts`: read those from the data, where it lies here and is still what was scored.
    """
    known: KnownExamples = {}
    ordered = best_first(entries)
    base = reference if reference is not None and reference in ordered else ordered[0]
    found = [_moved(base, entry, benchmark, known, texts=texts) for entry in [each for each in ordered if each is not base][:EXAMINED]]
    return tuple(sorted((each for each in found if each.tasks), key=lambda each: each.entry.number))


def _moved(base: Entry, entry: Entry, benchmark: Benchmark, known: KnownExamples, *, texts: bool) -> MovedExamples:
    before, after = base.run, entry.run
    assert before is not None  # both are runs of ours
    assert after is not None
    tasks: dict[str, tuple[Move, ...]] = {}
    told: dict[tuple[str, int], tuple[str, ...]] = {}
    for task in benchmark.tasks:
        if entry.score(task.name) is None or task.name not in before.records or task.name not in after.records:
            continue
        if (both := shared_examples(before, after, task, known)) and (moves := most_moved(task, *both, count=_SHOWN)):
            tasks[task.name] = moves
            told |= dict(_texts(before, task, both[0], moves)) if texts else {}
    pair = pair_of_runs(before, after)
    command = shell_command("explain", before.path, after.path, "--examples", 10) if pair.attributed else None
    return MovedExamples(base=base, entry=entry, factors=pair.factors, command=command, tasks=tasks, texts=told)


def _texts(run: Run, task: TaskSpec, examples: Examples, moves: Sequence[Move]) -> Iterator[tuple[tuple[str, int], tuple[str, ...]]]:
    """The texts of the examples, of those whose digest is the one that was scored."""
    if run.manifest.spec is None:
        return
    with suppress(HarnessError):  # the data is not here any more
        data = load_task(task, run.manifest.spec.data, present=True).data
        digests = dict(zip(map(int, examples["index"]), map(str, examples["digest"]), strict=True))
        for move in moves:
            texts = _texts_of(data, move)
            if texts and text_digest(texts) == digests[move.index]:
                yield (task.name, move.index), tuple(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…" for text in texts[:2])


def _texts_of(data: TaskData, move: Move) -> Sequence[str]:
    with suppress(IndexError, KeyError):
        match data:
            case ClassificationData():
                return [data.test.texts[move.index]]
            case ClusteringData():
                return data.sets[move.index].texts
            case PairData():
                return [data.first[move.index], data.second[move.index]]
            case RerankingData():
                sample = data.samples[move.index]
                return [sample.query, *sample.candidates]
            case _:
                return [data.queries[move.key]]
    return ()
