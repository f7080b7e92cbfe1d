"""Reproduce the published results as far as this machine can."""

from __future__ import annotations

import argparse

from harness.commands.arguments import Commands, add_quiet


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("reproduce", help="the published table, the self-check on the sample, the rows this device can do")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="where the model and the data are")
    add_quiet(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.commands.stages import reproduce

    return reproduce(arguments.overrides, quiet=arguments.quiet)
