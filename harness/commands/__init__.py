# PYTHON_ARGCOMPLETE_OK: argcomplete looks for this word in programs before it runs them
"""The command line: `python -m harness COMMAND`. A module per command; they import what they need when they are called."""

import argparse
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from harness.commands.arguments import Parser, say
from harness.core.errors import HarnessError, MachineError
from harness.show.streams import forget, open_closed

COMMANDS = (
    *("run", "sweep", "encode", "score", "calibrate", "plan", "fetch", "store", "lock", "doctor", "reproduce"),
    *("models", "tasks", "table", "claims", "check", "probe", "baseline", "report", "explain", "export", "index"),
)
"""The commands, in the order of `--help`; each is in the module of its name."""

_COLLECT_AFTER = 50_000
"""New objects before Python looks for cycles: decoded files have none. With its own 700 a report of 1,000 runs takes 1.3 times as long."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 ok, 1 failure, 2 bad request, 3 drift, 130 interrupted.

    SIGTERM ends a command as Ctrl-C does, so that a job of a cluster loses nothing; then the process dies of it.
    """
    gc.set_threshold(_COLLECT_AFTER)
    open_closed()
    try:
        arguments = _parse(argv)
    except MachineError as error:  # what `--version` says can't be written
        _tell(f"error: {error}")
        return error.exit_code
    command: Callable[[argparse.Namespace], int] = arguments.command
    with contextlib.suppress(ValueError):  # not in the main thread
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
    try:
        return command(arguments)
    except HarnessError as error:
        _tell(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt as ended:
        _tell(_interrupted(arguments))
        if isinstance(ended, _Terminated):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        return 130
    except BrokenPipeError:
        forget(sys.stdout)
        forget(sys.stderr)
        return 0
    except OSError as error:  # of a place that no message of ours names
        if not _has_folder():
            _tell("error: the working directory was deleted: change to one that is there (cd DIR)")
            return MachineError.exit_code
        if error.filename is None:
            raise
        _tell(f"error: {error.filename}: {error.strerror}. Correct its name or its permissions, or free disk space")
        return MachineError.exit_code


def _has_folder() -> bool:
    """Whether the working directory is still there."""
    with contextlib.suppress(FileNotFoundError):
        return bool(Path.cwd())
    return False


def _tell(last: str) -> None:
    """The last words on stderr; where it can't be written, too, the exit code has to say it."""
    with contextlib.suppress(MachineError, BrokenPipeError):
        say(last, file=sys.stderr)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came."""


def _terminate(*_: object) -> None:
    raise _Terminated


def _interrupted(arguments: argparse.Namespace) -> str:
    """What Ctrl-C leaves behind."""
    if "store=null" in getattr(arguments, "overrides", []):
        return (
            "interrupted: every finished task is kept; with store=null the vectors of the others are lost, and their texts are encoded "
            "again. With store=DIR the same command would go on from there"
        )
    if arguments.invoked == "encode":
        return "interrupted: the vectors so far are in the store, the same command goes on from there"
    return "interrupted: every finished task is kept, the same command goes on from there"


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options may stand among the KEY=VALUE arguments, where argparse alone would not take the ones that follow."""
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks what could come next
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options=False)
    words = sys.argv[1:] if argv is None else argv
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(2)
    arguments, rest = parser.parse_known_args(words)
    if rest and not hasattr(arguments, "overrides"):
        parser.error(f"unrecognized arguments: {' '.join(rest)}. `python -m harness {arguments.invoked} --help` has what it takes")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from harness.core.environment import SCORING_PINS, scoring_versions, source_revision

        source, found = source_revision(), scoring_versions()
        commit = f" ({source['commit'][:12]}{', changed' if source['dirty'] else ''})" if source["commit"] else ""
        say(f"cmteb-harness {source['version']}{commit}\n" + "\n".join(f"{name} {found[name]}" for name in (*SCORING_PINS, "torch")))
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m harness", description="Reproduce C-MTEB scores, explain what moves them, guard them.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version of the harness and of what defines scores")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        getattr(import_module(f"{__name__}.{name}"), name).add_to(commands)
    return parser
