"""`make reproduce`: the published table from its parts, the whole chain on the embedded sample, then the card's rows for real."""

import os
import time
from collections.abc import Iterator, Sequence

from harness.commands.arguments import say, show
from harness.core.benchmarks import Benchmark, load_benchmark
from harness.core.dtypes import dtype_named
from harness.core.errors import DriftError, InputError, MachineError
from harness.core.records import Run
from harness.core.run_files import read_run
from harness.evaluate.doctor import missing_inputs
from harness.evaluate.encode.device import describe_device, find_device
from harness.evaluate.here import resolve_here
from harness.evaluate.runner import execute
from harness.read.earlier_scores import published_run
from harness.read.leaderboard import Row, compare, leaderboard_row, printed_rows
from harness.read.selfcheck import deviations, setting_name
from harness.show.form import table_columns
from harness.show.leaderboard import leaderboard
from harness.show.live import show_progress
from harness.show.text import text_table

PUBLISHED_MODEL = "acge_text_embedding"


def reproduce(overrides: Sequence[str], *, quiet: bool = False) -> int:
    """Run the three stages and print what they found; `overrides` say where the real model and data are. `quiet`: no progress on stderr.

    Raises:
        DriftError: the rebuilt table is not the printed one, or the sample's scores are not the expected ones.
        MachineError: REQUIRE_REAL=1 and the card's rows can't be run here.
    """
    benchmark = load_benchmark()
    published = _published(benchmark)
    rows = printed_rows(published.path, benchmark)
    say(f"\n[1/3] the published table of {PUBLISHED_MODEL}, rebuilt from its {len(published.records)} per-task scores")
    rebuilt = _rebuild(published, rows, benchmark)
    say("\n[2/3] the whole chain on the embedded sample (tiny model, generated text): a self-check, no C-MTEB scores")
    wrong = _self_check(overrides, benchmark, quiet=quiet)
    say(f"\n[3/3] {PUBLISHED_MODEL} on C-MTEB, the card's rows on this device")
    real = _real_rows(rows, overrides, published, quiet=quiet)
    if not rebuilt:
        raise DriftError("stage 1: the table rebuilt from the per-task scores is not the card's: results/published has been changed")
    if wrong:
        raise DriftError(
            f"stage 2: {wrong} of the sample's scores are not the expected ones: don't trust scores made with this installation"
        )
    if not real and os.environ.get("REQUIRE_REAL") == "1":
        raise MachineError("stage 3: REQUIRE_REAL=1, and the card's rows were not run; see above for what is missing")
    return 0


def _rebuild(published: Run, rows: Sequence[Row], benchmark: Benchmark) -> bool:
    """Whether the per-task scores give one of the printed rows, to the last digit of every column."""
    show(leaderboard([published], benchmark))
    rebuilt = leaderboard_row(published, "cmteb", benchmark)
    compared = [compare(rebuilt, row) for row in rows]
    say("\nCompared with the rows that the card prints (= equal to the last digit, else the difference):")
    columns = table_columns("GPU", "Type", "Len", *(cell.key for cell in rebuilt.cells))
    lines = [
        [other.header.gpu, other.header.dtype, str(other.header.max_len), *map(str, comparison.cells)]
        for comparison, other in zip(compared, rows, strict=True)
    ]
    say(text_table(columns, lines))
    return any(all(cell.verdict == "=" for cell in comparison.cells) for comparison in compared)


def _settings(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The settings of the card's rows as the command line has them, the GPU apart, each once, in the order of the card."""
    headers = [row.header for row in rows if row.header.max_len and row.header.dim]
    return list(dict.fromkeys((f"dtype={dtype_named(each.dtype)}", f"max_len={each.max_len}", f"dim={each.dim}") for each in headers))


def run_sample(overrides: Sequence[str], benchmark: Benchmark, *, quiet: bool = False) -> Iterator[Run]:
    """Run the embedded sample afresh under every setting of the card's rows. Of `overrides` only `results_dir=` is used.

    Raises:
        InputError: results/published or the sample is damaged.
    """
    place = [text for text in overrides if text.startswith("results_dir=")]
    for setting in _settings(printed_rows(_published(benchmark).path, benchmark)):
        yield _run(["model=sample", "data=sample", "store=null", "overwrite=true", *setting, *place], quiet=quiet)


def _self_check(overrides: Sequence[str], benchmark: Benchmark, *, quiet: bool) -> int:
    """How many of the sample's scores are not the expected ones."""
    total, started = 0, time.perf_counter()
    for run in run_sample(overrides, benchmark, quiet=quiet):
        wrong = deviations(run, benchmark)
        total += len(wrong)
        average = leaderboard_row(run, None, benchmark).cells[0].value
        verdict = "as expected" if not wrong else f"{len(wrong)} SCORES DIFFER"
        say(
            f"  {setting_name(run):<26} {len(run.records)}/{len(benchmark.tasks)} tasks, average {average}: "
            f"{verdict} ({time.perf_counter() - started:.0f} s)",
        )
        for deviation in wrong[:10]:
            say(f"      {deviation}")
        for task, message in {**run.failed, **run.broken}.items():
            say(f"      {task}: {message}")
        started = time.perf_counter()
    return total


def _published(benchmark: Benchmark) -> Run:
    published = published_run(PUBLISHED_MODEL, benchmark)
    if published is None:
        raise InputError(f"results/published/{PUBLISHED_MODEL} is missing: restore it from version control")
    return published


def _real_rows(rows: Sequence[Row], overrides: Sequence[str], published: Run, *, quiet: bool) -> bool:
    """Run the card's rows that this device can do; whether all of what it can do has been done."""
    benchmark = load_benchmark()
    settings = _settings(rows)
    label = describe_device(find_device()).label
    problems = missing_inputs(resolve_here([*overrides, *settings[0]])[0])
    command = "make reproduce ARGS='model.path=DIR data=local data.root=DIR'"
    if label.startswith("CPU"):
        say(f"  not run: the card's rows were made on GPUs, this device is {label}. One row is about 188 PFLOP: weeks on a CPU.")
        say(f"  On a machine with a GPU: {command}, or without ARGS where the hub is reachable")
        say("\n".join(f"  also missing: {problem}" for problem in problems) or "  model and data are available here")
        return False
    if problems:
        say("\n".join(f"  not run: {problem}" for problem in problems))
        say(f"  On a machine that has them: {command}")
        return False
    runs = [_run(["experiment=card", *setting, *overrides], quiet=quiet) for setting in settings]
    show(leaderboard(runs, benchmark, against=published))
    return all(len(run.records) == len(benchmark.tasks) for run in runs)


def _run(overrides: Sequence[str], *, quiet: bool) -> Run:
    spec, device = resolve_here(overrides)
    with show_progress(quiet=quiet) as progress:
        execute(spec, device, progress)
    return read_run(spec.folder, load_benchmark(spec.benchmark))
