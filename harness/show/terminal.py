"""Summaries on a terminal: headings bold, failures red."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.core.words import printable

_HEADINGS = ("Model ", "Task ", "Texts ")


def show(text: str, console: Console | None = None) -> None:
    """Print a summary on stdout; on a terminal the headings of its tables are bold, what failed is red and what is missing dim.

    `NO_COLOR` leaves the bold type.
    """
    console, text = console or Console(highlight=False), printable(text)
    if not console.is_terminal:
        print(text, file=console.file)
        return
    for line in text.splitlines():
        console.print(Text(line, style=_style(line)), soft_wrap=True, highlight=False)


def _style(line: str) -> str:
    if "FAILED" in line or "failed: " in line:
        return "red"
    return "bold" if line.startswith(_HEADINGS) else "dim" if line.endswith("missing") else ""
