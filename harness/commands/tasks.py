"""The command `tasks`."""

from __future__ import annotations

from argparse import Namespace

from harness.commands.arguments import BENCHMARK, command, output_format, show


@command("print the benchmark's tasks: repository, revision, split, metrics", output_format, BENCHMARK)
def call(arguments: Namespace) -> int:
    """List the benchmark's tasks."""
    from harness.core.benchmarks import DEFAULT, load_benchmark
    from harness.show.tasks import tasks_document

    show(tasks_document(load_benchmark(arguments.benchmark or DEFAULT)), arguments.format)
    return 0
