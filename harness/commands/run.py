"""Run tasks and show the scores."""

from __future__ import annotations

import argparse
import sys

from harness.commands.arguments import Commands, add_quiet


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("run", help="run tasks: run gpu=a100 dtype=fp16 max_len=512 [tasks=[TNews,STS] model=... data=...]")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="a key of configs/config.yaml")
    add_quiet(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.evaluate.here import resolve_here
    from harness.evaluate.runner import execute
    from harness.show.console import outcome_summary, show
    from harness.show.live import show_progress

    spec, device = resolve_here(arguments.overrides)
    with show_progress(quiet=arguments.quiet) as progress:
        outcome = execute(spec, device, progress)
    show(outcome_summary(spec, outcome))
    for name, message in outcome.failed.items():
        print(f"error: {name}: {message}", file=sys.stderr)
    return 1 if outcome.failed else 0
