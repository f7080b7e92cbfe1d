"""Mirror the pinned data."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import Commands
from harness.core.errors import RequestError


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("fetch", help="mirror the pinned data for machines without network: fetch data.root=DIR [tasks=[...]]")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.core.config import compose_config
    from harness.data.mirror import fetch
    from harness.show.console import fetch_line

    config = compose_config(arguments.overrides)
    if not config.data.root:
        raise RequestError("fetch needs a folder to write: python -m harness fetch data.root=DIR [tasks=[TNews,STS]]")
    tasks = load_benchmark(config.benchmark).select(config.tasks)
    results = fetch(tasks, Path(config.data.root).expanduser(), on_task=lambda result: print(fetch_line(result), flush=True))
    return 1 if any(result.error for result in results) else 0
