"""Text on a terminal: headings bold, what is wrong red."""

from rich.console import Console
from rich.text import Text

_HEADINGS = ("Model ", "Task ", "Texts ")
_WRONG = ("DRIFT: ", "WORSE: ", "NOT COMPARABLE: ", "+  ", "-  ", "!  ")
"""How lines of the gate begin: its verdict, and tasks that drifted, are missing or not comparable."""


def highlighted(text: str, console: Console | None = None) -> str:
    """Text for stdout; for a terminal the headings of tables are bold, what failed or drifted is red and what is missing dim.

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
    if "FAILED" in line or "failed: " in line or line.startswith(_WRONG):
        return "red"
    return "bold" if line.lstrip().startswith(_HEADINGS) else "dim" if line.endswith("missing") else ""
