"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from harness.show.form import format_names

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def names(text: str) -> list[str]:
    """The values of an option that takes several, in one word: `TNews,STS`."""
    return text.split(",")


def add_benchmark(parser: argparse.ArgumentParser) -> None:
    """`--benchmark`."""
    parser.add_argument("--benchmark", default="cmteb35")


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """`--quiet`."""
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")


def add_format(parser: argparse.ArgumentParser) -> None:
    """`--format`: any format there is."""
    parser.add_argument("--format", choices=format_names(), default="text")
