"""The command `index`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, benchmark_for, command, option, say
from harness.core.words import amount


@command(
    "every score of every run as one CSV: index [PATH...] [-o results/index.csv]",
    option("paths", nargs="*", type=Path, default=[Path("results")], metavar="PATH", help="folders of results, model cards (results)"),
    option("-o", "--output", type=Path, default=Path("results/index.csv"), metavar="FILE"),
    BENCHMARK,
)
def call(arguments: Namespace) -> int:
    """Write every score of every run as one CSV."""
    from harness.read.index import index_rows, write_index
    from harness.read.runs import load_runs

    benchmark = benchmark_for(arguments, *arguments.paths)
    rows = index_rows(load_runs(arguments.paths, benchmark), benchmark, beside=arguments.output.parent)
    write_index(arguments.output, rows)
    say(f"{arguments.output}: {amount(len(rows), 'row')} of {amount(len({row.run for row in rows}), 'run')}")
    return 0
