"""The command `tasks`."""

from argparse import Namespace

from harness.commands.arguments import BENCHMARK, command, output_format, show


@command(output_format, BENCHMARK)
def tasks(arguments: Namespace) -> int:
    """print the benchmark's tasks: repository, revision, split, metrics"""
    from harness.core.benchmarks import DEFAULT, load_benchmark
    from harness.show.tasks import tasks_document

    show(tasks_document(load_benchmark(arguments.benchmark or DEFAULT)), arguments.format)
    return 0
