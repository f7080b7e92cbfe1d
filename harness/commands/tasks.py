"""List the benchmark's tasks."""

from __future__ import annotations

import argparse
import json

from harness.commands.arguments import Commands, add_benchmark


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("tasks", help="print the benchmark's tasks: repository, revision, split, metrics")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    add_benchmark(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.show.tasks import tasks_json, tasks_text

    benchmark = load_benchmark(arguments.benchmark)
    print(json.dumps(tasks_json(benchmark), ensure_ascii=False, indent=2) if arguments.format == "json" else tasks_text(benchmark))
    return 0
