"""Plain tables of strings: aligned for a terminal, Markdown, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.core.words import display_width, one_line

TERMINAL_WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column. `short`: its heading on a terminal. `shrinks_to`: the width down to which a terminal may cut it; None: never cut."""

    title: str
    short: str
    numeric: bool = False
    shrinks_to: int | None = None


def text_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """The table for a terminal, `TERMINAL_WIDTH` columns wide at most as long as cutting names can do it.

    Wide characters (CJK) count as two columns. Numbers are aligned at the decimal point and never cut. A name that is cut ends in `~`:
    the usual ellipsis is one column wide on some terminals and two on others.
    """
    body = [[one_line(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        if column.numeric:
            for row, cell in zip(body, _aligned([row[index] for row in body]), strict=True):
                row[index] = cell
    lines = [[column.short for column in columns], *body]
    widths = [max(display_width(line[index]) for line in lines) for index in range(len(columns))]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= TERMINAL_WIDTH else 1
    widths = _shrunk(columns, widths, TERMINAL_WIDTH - gap * (len(widths) - 1))
    return "\n".join(
        (" " * gap).join(_fitted(cell, width, column.numeric) for cell, width, column in zip(line, widths, columns, strict=True)).rstrip()
        for line in lines
    )


def markdown_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """The table in GitHub's Markdown; nothing in a cell can end the cell or become markup."""
    lines = [[column.title for column in columns], *rows]
    text = ["| " + " | ".join(escape_markdown(cell) for cell in line) + " |" for line in lines]
    text.insert(1, "|" + "|".join("---:" if column.numeric else ":---" for column in columns) + "|")
    return "\n".join(text)


def csv_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """The table as RFC 4180 has it, but a row is one line; plain newlines, none at the end."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.title for column in columns])
    writer.writerows([one_line(cell) for cell in row] for row in rows)
    return stream.getvalue().removesuffix("\n")


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it literally, on one line."""
    escaped = "".join("\\" + c if c in "\\`*[]|" else c for c in one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def paragraph(text: str, *, indent: int) -> str:
    """The text wrapped between words to the width of the terminal, all lines but the first indented."""
    lines = [""]
    for word in one_line(text).split():
        if lines[-1].strip() and display_width(lines[-1]) + 1 + display_width(word) > TERMINAL_WIDTH:
            lines.append(" " * indent + word)
        else:
            lines[-1] += f" {word}" if lines[-1].strip() else word
    return "\n".join(lines)


def _aligned(cells: list[str]) -> list[str]:
    """The cells with as much space behind the number as its missing decimals take."""
    decimals = [len(cell.partition(".")[2]) for cell in cells]
    most = max(decimals, default=0)
    return [cell + " " * (most - own) if own else cell for cell, own in zip(cells, decimals, strict=True)]


def _shrunk(columns: Sequence[Column], widths: list[int], room: int) -> list[int]:
    """The widths after as much has been cut from the columns that may be cut, the last one first, as makes all fit."""
    widths = list(widths)
    for index in reversed(range(len(columns))):
        least = columns[index].shrinks_to
        if least is not None:
            widths[index] = min(widths[index], max(least, widths[index] - max(0, sum(widths) - room)))
    return widths


def _fitted(cell: str, width: int, numeric: bool) -> str:
    if display_width(cell) > width:
        while display_width(cell) > width - 1:
            cell = cell[:-1]
        cell += "~"
    padding = " " * (width - display_width(cell))
    return padding + cell if numeric else cell + padding
