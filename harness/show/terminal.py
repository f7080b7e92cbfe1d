"""Summaries on a terminal: headings bold, failures red."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.text import Text

from harness.show.form import Document
from harness.show.text import render_text

_HEADINGS = ("Model ", "Task ", "Texts ")


def with_highlights(document: Document) -> Document:
    """The document, `highlighted` as text."""
    return replace(document, own={"text": lambda: highlighted(render_text(document))})


def highlighted(text: str, console: Console | None = None) -> str:
    """A summary for stdout; for a terminal the headings of its tables are bold, what failed is red and what is missing dim.

    `NO_COLOR` leaves the bold type.
    """
    console = console or Console(highlight=False)
    if not console.is_terminal:
        return text
    with console.capture() as shown:
        for line in text.splitlines():
            console.print(Text(line, style=_style(line)), soft_wrap=True, highlight=False)
    return shown.get().removesuffix("\n")


def _style(line: str) -> str:
    if "FAILED" in line or "failed: " in line:
        return "red"
    return "bold" if line.startswith(_HEADINGS) else "dim" if line.endswith("missing") else ""
