"""Say whether this machine is ready."""

from __future__ import annotations

import argparse

from harness.commands.arguments import Commands, add_format


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("doctor", help="what this machine has, and what `make reproduce` would do here")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    add_format(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.evaluate.doctor import diagnose
    from harness.show.doctor import doctor_document
    from harness.show.form import write_document

    diagnosis = diagnose(arguments.overrides)
    print(write_document(doctor_document(diagnosis), arguments.format))
    return 0 if diagnosis.healthy else 1
