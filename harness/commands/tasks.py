"""List the benchmark's tasks."""

from __future__ import annotations

import argparse

from harness.commands.arguments import Commands, add_benchmark, add_format


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("tasks", help="print the benchmark's tasks: repository, revision, split, metrics")
    add_format(parser)
    add_benchmark(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.show.form import write_document
    from harness.show.tasks import tasks_document

    print(write_document(tasks_document(load_benchmark(arguments.benchmark)), arguments.format))
    return 0
