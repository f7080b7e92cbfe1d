"""Say what changing one setting did."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import Commands, add_benchmark, add_format
from harness.core.errors import RequestError


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("explain", help="what changing one setting did, on the same examples: explain RUN RUN ...")
    parser.add_argument("paths", nargs="+", type=Path, metavar="RUN", help="a run folder, a folder that holds some, or a card")
    add_format(parser)
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="list the N examples of each task that moved most (3)")
    add_benchmark(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.explain.build import explain
    from harness.show.explain import render

    if arguments.examples < 0:
        raise RequestError(f"--examples {arguments.examples}: expected 0 (none) or more")
    told = explain(arguments.paths, load_benchmark(arguments.benchmark), examples=arguments.examples)
    print(render(told, arguments.format))
    return 0
