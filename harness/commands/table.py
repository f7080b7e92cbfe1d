"""Print the leaderboard table."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import Commands, add_benchmark, add_format
from harness.core.errors import RequestError


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("table", help="the leaderboard table of run folders")
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a run folder, or a folder that holds some")
    add_format(parser)
    parser.add_argument("--convention", default="cmteb", help="how scores are averaged")
    parser.add_argument("--tasks", action="store_true", help="every task, not only the averages")
    parser.add_argument("--against", type=Path, metavar="PATH", help="a run folder (a published one) to compare every row with")
    add_benchmark(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.leaderboard import load_rows
    from harness.show.leaderboard import table

    benchmark = load_benchmark(arguments.benchmark)
    runs = load_rows(arguments.paths, benchmark)
    against = load_rows([arguments.against], benchmark) if arguments.against else []
    if len(against) > 1:
        raise RequestError(f"--against {arguments.against} holds {len(against)} runs: name one of them")
    print(
        table(
            runs,
            benchmark,
            convention=arguments.convention,
            format=arguments.format,
            tasks=arguments.tasks,
            against=against[0] if against else None,
        )
    )
    return 0
