"""The command `index`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, benchmark_for, command, option, say
from harness.core.formatting import amount


@command(
    option("paths", nargs="*", type=Path, default=[Path("results")], metavar="PATH", help="folders of results, model cards (results)"),
    option("-o", "--output", type=Path, default=Path("results/index.csv"), metavar="FILE"),
    BENCHMARK,
)
def index(arguments: Namespace) -> int:
    """write every score of every run as one CSV: index [PATH...] [-o results/index.csv]"""
    from harness.core.files import atomic_write
    from harness.read.index import index_rows
    from harness.read.runs import load_runs
    from harness.show.index import index_csv

    benchmark = benchmark_for(arguments, *arguments.paths)
    rows = index_rows(load_runs(arguments.paths, benchmark), benchmark, beside=arguments.output.parent)
    with atomic_write(arguments.output) as stream:
        stream.write(f"{index_csv(rows)}\n".encode())
    say(f"{arguments.output}: {amount(len(rows), 'row')} of {amount(len({row.run for row in rows}), 'run')}")
    return 0
