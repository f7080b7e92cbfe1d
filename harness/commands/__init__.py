"""The command line: `python -m harness COMMAND`. One module per command, whose `call` does it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from harness.commands.arguments import say
from harness.core.errors import HarnessError

COMMANDS = (
    *("run", "sweep", "encode", "calibrate", "plan", "fetch", "store", "lock", "doctor", "reproduce"),
    *("tasks", "table", "claims", "check", "baseline", "report", "explain", "export", "index"),
)
"""The modules of the commands, in the order of `--help`."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 ok, 1 failure, 2 bad request, 3 drift, 130 interrupted."""
    arguments = _parse(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except HarnessError as error:
        say(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted: every finished task is kept, the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options may stand among the KEY=VALUE arguments, where argparse alone would not take the ones that follow."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if any(text.startswith("-") for text in rest) or (rest and not hasattr(arguments, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness", description="Reproduce C-MTEB scores, explain what moves them, guard them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").call.add_to(commands, name)
    return parser
