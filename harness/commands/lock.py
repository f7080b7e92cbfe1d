"""Write a model's identity into its config."""

from __future__ import annotations

import argparse

from harness.commands.arguments import Commands


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("lock", help="write a model's hub commit and the hash of its weights into its config: lock model=acge")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.evaluate.encode.model_lock import lock_model

    print(lock_model(arguments.overrides))
    return 0
