"""Write every score of every run as one CSV."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import Commands, add_benchmark


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("index", help="every score of every run as one CSV: index [PATH...] [-o results/index.csv]")
    parser.add_argument(
        "paths", nargs="*", type=Path, default=[Path("results")], metavar="PATH", help="folders of results, model cards (results)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("results/index.csv"), metavar="FILE")
    add_benchmark(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.index import index_rows, write_index
    from harness.read.leaderboard import load_rows

    benchmark = load_benchmark(arguments.benchmark)
    rows = index_rows(load_rows(arguments.paths, benchmark), benchmark, beside=arguments.output.parent)
    write_index(arguments.output, rows)
    print(f"{arguments.output}: {len(rows)} rows of {len({row.run for row in rows})} runs")
    return 0
