"""The command `table`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, CONVENTION, MERGE, benchmark_for, command, option, output_format, show


@command(
    option("paths", nargs="+", type=Path, metavar="PATH", help="a run folder, or a folder that holds some"),
    output_format,
    CONVENTION,
    option("--tasks", action="store_true", help="every task, not only the averages"),
    option("--against", type=Path, metavar="PATH", help="a run folder (a published one) to compare every row with"),
    MERGE,
    BENCHMARK,
)
def table(arguments: Namespace) -> int:
    """print the leaderboard table of run folders"""
    from harness.read.runs import load_runs, one_run
    from harness.show.leaderboard import leaderboard

    benchmark = benchmark_for(arguments, *arguments.paths)
    runs = load_runs(arguments.paths, benchmark, merge=arguments.merge)
    against = one_run(arguments.against, benchmark, merge=arguments.merge) if arguments.against else None
    show(leaderboard(runs, benchmark, convention=arguments.convention, tasks=arguments.tasks, against=against), arguments.format)
    return 0
