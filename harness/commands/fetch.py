"""The command `fetch`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import command, overrides, say
from harness.core.errors import RequestError


@command(overrides())
def fetch(arguments: Namespace) -> int:
    """mirror the pinned data for machines without network: fetch data.root=DIR [tasks=[...]]"""
    from harness.core.benchmarks import load_benchmark
    from harness.core.config import compose_config
    from harness.data.mirror import fetch
    from harness.show.summaries import fetch_line

    config = compose_config(arguments.overrides)
    if not config.data.root:
        raise RequestError("fetch needs a folder to write: python -m harness fetch data.root=DIR [tasks=[TNews,STS]]")
    tasks = load_benchmark(config.benchmark).select(config.tasks)
    results = fetch(tasks, Path(config.data.root).expanduser(), on_task=lambda result: say(fetch_line(result)))
    return 1 if any(result.error for result in results) else 0
