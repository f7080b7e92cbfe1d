"""The command `explain`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, benchmark_for, command, option, output_format, show


@command(
    option("paths", nargs="+", type=Path, metavar="RUN", help="a run folder, a folder that holds some, or a card"),
    output_format,
    option("--examples", type=int, default=3, metavar="N", help="list the N examples of each task that moved most (3)"),
    BENCHMARK,
)
def explain(arguments: Namespace) -> int:
    """show what changing one setting did, on the same examples: explain RUN RUN ..."""
    from harness.read.explain.build import explain
    from harness.show.explain import explanation_document

    found = explain(arguments.paths, benchmark_for(arguments, *arguments.paths), examples=arguments.examples)
    show(explanation_document(found), arguments.format)
    return 0
