"""Say whether this machine is ready."""

from __future__ import annotations

import argparse

from harness.commands.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="what this machine has, and what `make reproduce` would do here")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.run.doctor import diagnose

    report, healthy = diagnose(arguments.overrides)
    print(report)
    return 0 if healthy else 1
