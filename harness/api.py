"""The Python API for notebooks and scripts: run, read, check and explain, on the same rooms as the command line (docs/api.md).

Scores in data frames are points, 0 to 100, unrounded. Errors are those of `harness.core.errors`; nothing is printed.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from harness.core.benchmarks import Benchmark, load_benchmark
from harness.core.calibration import points
from harness.core.errors import InputError, RequestError
from harness.core.examples import read_examples
from harness.core.formatting import amount, few, quoted
from harness.core.overrides import override
from harness.core.records import Run
from harness.core.run_files import benchmark_of, read_run
from harness.read import runs as readers
from harness.read.leaderboard import identity_of, leaderboard_row

if TYPE_CHECKING:
    import pandas

    from harness.read.drift.check import DriftReport
    from harness.read.explain.build import Explanation


class Runs(Sequence[Run]):
    """Runs, published results and model cards, in the order in which they were named."""

    def __init__(self, runs: Iterable[Run], benchmark: Benchmark) -> None:
        self._runs = [_of_type(run, Run, "a run: load_runs reads them") for run in _listed(runs)]
        self.benchmark = _of_type(benchmark, Benchmark, "a benchmark: load_runs finds it")

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        return Runs(self._runs[index], self.benchmark) if isinstance(index, slice) else self._runs[index]

    def __repr__(self) -> str:
        lines = (f"  {run.path}: {len(run.records)} of {amount(len(self.benchmark.tasks), 'task')}" for run in self._runs)
        return "\n".join([f"{amount(len(self), 'run')} of {self.benchmark.name}", *lines])

    def scores(self) -> pandas.DataFrame:
        """Every metric of every task of every run, a row each.

        Columns: `run` (its path), `model`, `gpu`, `dtype`, `max_len`, `dim`, `task`, `type`, `metric` (flat name: `cos_sim_spearman`),
        `main` (whether the leaderboard averages it), `score` in points, `identity` (whether the data was the benchmark's: scores of
        `not C-MTEB` data, the sample's among them, are no C-MTEB scores), `trust` (who made the score).
        """
        import pandas

        return pandas.DataFrame(self._score_rows())

    def table(self, convention: str | None = None) -> pandas.DataFrame:
        """The leaderboard: a row per run, its averages in points as the convention has them; an average with a missing task is NaN.

        `identity`: the least certain one of its scores, as in `scores`; `trust`: who made them.

        `convention`: None is the benchmark's usual one.

        Raises:
            RequestError: an unknown convention.
        """
        import pandas

        _of_type(convention, str | None, f"the name of a convention ({', '.join(self.benchmark.conventions)}), or None")
        rows = []
        for run in self._runs:
            row = leaderboard_row(run, convention, self.benchmark, among=list(self))
            trust = ", ".join(sorted({record.made.trust for record in run.records.values()})) or None
            about = {"identity": row.identity, "trust": trust}
            rows.append(
                {**self._setting(run), **about, **{cell.title: math.nan if cell.value is None else cell.value for cell in row.cells}}
            )
        return pandas.DataFrame(rows)

    def examples(self, task: str) -> pandas.DataFrame:
        """What each example of the task contributed, a row per run and example; the columns are in docs/explain.md.

        Runs that keep no examples of the task (published results) are left out.

        Raises:
            RequestError: the benchmark has no such task.
            InputError: no run keeps examples of it.
        """
        import pandas

        spec, *others = self.benchmark.select([task])
        if others:
            raise RequestError(f"{task} is a type of tasks: name one of {spec.name}, {few([other.name for other in others])}")
        found = []
        for run in self._runs:
            try:
                columns = read_examples(run.path, spec).columns
            except InputError:
                continue
            found.append(pandas.DataFrame({"run": str(run.path), **columns}))
        if not found:
            raise InputError(f"no run keeps examples of {spec.name}: run the task with this harness")
        return pandas.concat(found, ignore_index=True)

    def _score_rows(self) -> Iterator[dict[str, Any]]:
        for run in self._runs:
            for task in (task for task in self.benchmark.tasks if task.name in run.records):
                record = run.records[task.name]
                of_it = {**self._setting(run), "task": task.name, "type": task.type}
                about = {"identity": identity_of(record), "trust": record.made.trust}
                for metric, score in points(record, self.benchmark).items():
                    yield {**of_it, "metric": metric, "main": metric == task.flat_main, "score": score, **about}

    def _setting(self, run: Run) -> dict[str, Any]:
        return {"run": str(run.path), "model": run.header.model, **run.header.setting}


T = TypeVar("T")
Place = str | Path | Run | Runs
"""A folder or model card, a run that was read from one, or the runs of `load_runs` where they are one."""


_ONE_RUN = threading.Lock()
"""Hydra's state, torch's number of threads and the generators that scoring seeds belong to the process."""


def run(*overrides: str, **settings: Any) -> Run:
    """Run tasks as `python -m harness run` does, and read the run: `harness.run(model="sample", data="sample", tasks=["STSB"])`.

    `settings`: keys of `configs/config.yaml` with Python values; `overrides`: KEY=VALUE words, for keys with a dot (`gpu.mismatch=warn`).
    Tasks that failed are in `Run.failed`; finished tasks are not computed again. What the batches of another `gpu=` cost here is a warning.
    Runs of several threads go one after the other.

    Raises:
        RequestError: an unknown key, choice or value, all of them in one message.
        InputError, MachineError, CanaryError: the model or the data can't be had, or do not behave as they should.
    """
    from harness.evaluate.here import resolve_here
    from harness.evaluate.plan.planning import mismatch_lines
    from harness.evaluate.progress import Silent
    from harness.evaluate.runner import execute

    if strange := [word for word in overrides if not isinstance(word, str)]:
        raise RequestError(f"{quoted(strange[0])} is no KEY=VALUE word: give settings by name, harness.run(model=..., tasks=[...])")
    given = [override(key, value) for key, value in settings.items()]
    if "tasks=[]" in given:
        raise RequestError("tasks=[] names no task: leave it out to run all tasks of the benchmark")
    words = [*overrides, *given]
    with _ONE_RUN:
        spec, device = resolve_here(words)
        for line in mismatch_lines(words):
            warnings.warn(line, stacklevel=2)
        return read_run(execute(spec, device, Silent()).folder, load_benchmark(spec.benchmark))


def load_runs(*paths: Place | Iterable[Place], benchmark: str | Path | None = None, merge: str | None = None) -> Runs:
    """All runs at or below the paths, or those of a list: run folders, published records, result files of mteb, model cards (.md).

    `benchmark`: its name or file; None is the one that the runs name.
    `merge`: `newest`, `external` or a revision: whose score goes first where the folders of one model become one run (docs/cards.md).

    Raises:
        RequestError: a path without a run.
        InputError: no run can be read.
    """
    places = [_path(place) for path in paths for place in ([path] if isinstance(path, str | Path | Run) else _listed(path))]
    named = _of_type(benchmark, str | Path | None, "the name or the file of a benchmark, or None")
    table = benchmark_of(places, None if named is None else str(named))
    _of_type(merge, str | None, "newest, external, a revision, or None")
    return Runs(readers.load_runs(places, table, merge=merge), table)


def check(baseline: Place, candidate: Place, *, calibration: str | Path | None = None, tasks: Iterable[str] = ()) -> DriftReport:
    """Whether a score drifted, as `python -m harness check` says; `exit_code` is 3 if one did, 2 if the runs are unlike, else 0.

    Raises:
        RequestError: a path without a run or with several, or a calibration of another run.
        InputError: a file of one side is damaged.
    """
    from harness.read.drift.check import check_folders

    file = _of_type(calibration, str | Path | None, "the path of a calibration.json, or None")
    before, after = _path(baseline), _path(candidate)
    names = [tasks] if isinstance(tasks, str) else list(_listed(tasks, "a list of task names"))
    return check_folders(before, after, benchmark_of([before, after]), calibration=None if file is None else Path(file), tasks=names)


def explain(*runs: Place, examples: int = 3) -> Explanation:
    """What changing one setting did, pair by pair on the same examples, as `python -m harness explain` says.

    Raises:
        RequestError: a path without a run, or fewer than two runs or printed rows in all.
        InputError: so many runs are damaged that no pair is left; others are in `Explanation.unreadable`.
    """
    from harness.read.explain import build

    places = [_path(run) for run in runs]
    return build.explain(places, benchmark_of(places), examples=_of_type(examples, Integral, "a number of examples"))


def render(value: DriftReport | Explanation | Runs, format: str = "text") -> str:  # noqa: A002  the option's name
    """A report, an explanation or the leaderboard of runs as the commands print it, in any format of `--format`.

    Raises:
        RequestError: an unknown format, or a value that no command prints.
    """
    from harness.read.drift.check import DriftReport
    from harness.read.explain.build import Explanation
    from harness.show import drift, explain, leaderboard
    from harness.show.form import format_names, write_document

    _of_type(format, str, f"the name of a format: {', '.join(format_names())}")
    match value:
        case DriftReport():
            return write_document(drift.drift_document(value), format)
        case Explanation():
            return write_document(explain.explanation_document(value), format)
        case Runs():
            return write_document(leaderboard.leaderboard(list(value), value.benchmark), format)
    raise RequestError(f"render takes what check, explain and load_runs give, found {type(value).__name__}")


def _of_type(value: T, kind: Any, expected: str) -> T:
    """The value; raises RequestError where it is of another type than `kind`, which the message calls `expected`."""
    if isinstance(value, kind):
        return value
    raise RequestError(f"{quoted(value)} is {type(value).__name__}, expected {expected}")


def _listed(places: Any, expected: str = "a path, a run, or a list of them") -> Iterable[Any]:
    """What a list holds; raises RequestError for what is none."""
    items: Iterable[Any] = _of_type(places, Iterable, expected)
    return items


def _path(place: object) -> Path:
    """Where a run is; raises RequestError for what names none, or several."""
    if isinstance(place, Runs):
        if len(place) != 1:
            raise RequestError(f"{len(place)} runs where one is expected: take one of them, runs[0]")
        place = place[0]
    found: Any = _of_type(place, str | Path | Run, "a path or a run")
    return found.path if isinstance(found, Run) else Path(found)
