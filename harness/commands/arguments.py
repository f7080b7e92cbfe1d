"""How a command is declared, and the options that several commands share."""

from __future__ import annotations

import sys
from argparse import Action, ArgumentError, ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harness.commands.settings import complete_setting, settings_help
from harness.core.errors import unknown
from harness.core.formatting import of_task, printable
from harness.show.form import Document, format_names, write_document
from harness.show.streams import writing

if TYPE_CHECKING:
    from harness.core.benchmarks import Benchmark
    from harness.evaluate.prepared import Outcome

Option = Callable[[ArgumentParser], object]
"""Adds one argument to a parser."""


class Parser(ArgumentParser):
    """argparse's parser, whose help may end in text that is made only where it is asked for; it says what a mistyped word may mean."""

    details: Callable[[], str] | None = None

    def format_help(self) -> str:
        """The usage and the arguments, then the details."""
        return super().format_help() + (f"\n{self.details()}\n" if self.details else "")

    def _check_value(self, action: Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise ArgumentError(action, unknown(str(action.metavar or action.dest).lower(), str(value), action.choices))

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments and the words that none of them takes: settings, which may stand behind options. An unknown option is an error."""
        found, rest = super().parse_known_args(args, namespace)
        for text in rest:
            if text.startswith("-"):
                setting = ". A setting is KEY=VALUE, without dashes: max_len=512" if self.details else ""
                self.error(unknown("option", text.partition("=")[0], self._option_string_actions) + setting)
        return found, rest


@dataclass(frozen=True)
class Command:
    """A command: the function that does it and gives the exit code, and its arguments in their order. The function's name is the command's,
    its docstring is the line in the list of commands."""

    call: Callable[[Namespace], int]
    options: tuple[Option, ...]

    def add_to(self, commands: Any) -> None:
        """Add it to the subparsers of a parser."""
        name = self.call.__name__.strip("_").replace("_", "-")
        parser = commands.add_parser(name, help=self.call.__doc__)
        for add in self.options:
            add(parser)
        parser.set_defaults(command=self.call, invoked=name)


@dataclass(frozen=True)
class Group:
    """A command that has commands of its own. `metavar`: what they are called."""

    name: str
    help: str
    metavar: str
    commands: tuple[Command, ...]

    def add_to(self, commands: Any) -> None:
        """Add all of it to the subparsers of a parser."""
        actions = commands.add_parser(self.name, help=self.help).add_subparsers(required=True, metavar=self.metavar)
        for command in self.commands:
            command.add_to(actions)


def command(*options: Option) -> Callable[[Callable[[Namespace], int]], Command]:
    """Makes a command of the function that does it."""
    return lambda call: Command(call, options)


def option(*flags: str, **settings: Any) -> Option:
    """An argument, as `ArgumentParser.add_argument` takes it."""
    return lambda parser: parser.add_argument(*flags, **settings)


def overrides(metavar: str = "KEY=VALUE", **settings: Any) -> Option:
    """Any number of settings of configs/config.yaml; the command's help lists them all."""

    def add(parser: ArgumentParser) -> None:
        action = parser.add_argument(
            "overrides", nargs="*", default=[], metavar=metavar, **({"help": "a setting, listed below"} | settings)
        )
        action.completer = complete_setting  # type: ignore[attr-defined]
        if isinstance(parser, Parser):
            parser.details = settings_help

    return add


def names(text: str) -> list[str]:
    """The values of an option that takes several, in one word: `TNews,STS`."""
    return text.split(",")


def output_format(parser: ArgumentParser, default: str = "text") -> None:
    """`--format`: any format there is; Markdown has two names."""
    parser.add_argument("--format", type=_format, choices=format_names(), default=default, help=f"how it is printed ({default})")


def _format(name: str) -> str:
    return "md" if name == "markdown" else name


BENCHMARK = option("--benchmark", metavar="NAME", help="the name of a benchmark, or its file (default: that of the runs)")
CONVENTION = option("--convention", metavar="NAME", help="how scores are averaged (default: as usual for the benchmark)")
BASELINES = option("--baselines", type=Path, default=Path("results/baselines"), metavar="DIR", help="the folder of baselines")
MERGE = option(
    "--merge",
    metavar="newest|external|REVISION",
    help="merge the folders of a model's revisions into one row; of several scores take this folder's",
)
QUIET = option("--quiet", action="store_true", help="no progress on stderr")


def benchmark_for(arguments: Namespace, *paths: Path) -> Benchmark:
    """The benchmark of `--benchmark`, else that of the runs at the paths."""
    from harness.core.run_files import benchmark_of

    return benchmark_of(paths, arguments.benchmark)


def show_outcome(benchmark: str, outcome: Outcome, arguments: Namespace) -> int:
    """Show what a run came to, and the errors of failed tasks on stderr; the exit code."""
    from harness.show.outcome import outcome_document

    show(outcome_document(benchmark, outcome, baselines=arguments.baselines), arguments.format)
    return name_failed(outcome.failed)


def name_failed(failed: Mapping[str, str]) -> int:
    """Show the errors of failed tasks on stderr; the exit code."""
    for name, message in failed.items():
        say(f"error: {of_task(name, message)}", file=sys.stderr)
    return 1 if failed else 0


def show(document: Document, format: str = "text") -> None:  # noqa: A002  the option's name
    """Print the document in that format."""
    text = write_document(document, format)
    if format == "text" and sys.stdout.isatty():
        from harness.show.terminal import highlighted

        text = highlighted(text)
    with writing() as stdout:
        print(text, file=stdout)


def say(text: str, *, file: TextIO | None = None) -> None:
    """Print lines (on stdout) in which nothing that a file or a server wrote can act on a terminal or a CI system."""
    with writing(file) as stream:
        print(printable(text), file=stream)
