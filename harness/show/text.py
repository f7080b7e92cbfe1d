"""A document as text: as wide as the terminal or `COLUMNS` says, else 100 columns, but for names in a file, which nothing cuts."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from harness.core.dtypes import dtype_named
from harness.core.formatting import one_line, printable
from harness.core.tasks import SHORT_TYPES
from harness.show.form import Block, Column, Document, Grid, Heading, Sentences, Style, is_empty

TERMINAL_WIDTH = 100
_NARROWEST = 40
_NAME_SPACES = 3  # a cell of more words is a sentence
_LONGEST_LINE = 400  # of a table in a file
_SHORT_IDENTITIES = {"verified": "ok", "unverified": "?", "self-reported": "self", "not C-MTEB": "no"}
_MAKER_NAMES = ("NVIDIA ", "TESLA ", "Tesla ", "GeForce ")


def text_width() -> int:
    """How wide text is: `COLUMNS`, the terminal's own width, or `TERMINAL_WIDTH` where there is neither."""
    return max(_NARROWEST, _stated_width() or TERMINAL_WIDTH)


def _stated_width() -> int | None:
    stated = os.environ.get("COLUMNS", "")
    if stated.isdecimal() and int(stated) > 0:
        return int(stated)
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def render_text(document: Document) -> str:
    """The document for a terminal."""
    text = ""
    for block in document.blocks():
        if block.width != "wide" and not is_empty(block):
            text += ("" if not text else "\n" if block.tight else "\n\n") + _block(block)
    return printable(text)  # a wrapped line may begin with what was harmless within one


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"{text}\n{'-' * min(text_width(), len(text))}"
        case Sentences(lines, style):
            return "\n".join(_sentence(line, number, style) for number, line in enumerate(lines, start=1))
        case Grid(columns, rows):
            return text_table(columns, briefly(columns, rows))


def _sentence(line: str, number: int, style: Style) -> str:
    match style:
        case "verbatim":
            return line
        case "list":
            return paragraph(f"* {line}", indent=2)
        case "numbered":
            return paragraph(f"{number}. {line}", indent=3)
        case _:
            return paragraph(line, indent=3)


def text_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """The table, as wide as the text at most as long as cutting names can do it; names that differ still differ when they are cut.

    Wide characters (CJK) count as two columns. Numbers are aligned at the decimal point and never cut. A name is cut in its middle, where
    it has a `~`: the usual ellipsis is one column wide on some terminals and two on others. In a file only very long names are cut.
    """
    body = [[one_line(cell) for cell in row] for row in rows]
    for index, column in enumerate(columns):
        if column.numeric:
            for row, cell in zip(body, _aligned([row[index] for row in body]), strict=True):
                row[index] = cell
    lines = [[column.short for column in columns], *body]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
    gap = 2 if sum(widths) + 2 * (len(widths) - 1) <= text_width() else 1
    room = text_width() if _stated_width() else max(text_width(), _LONGEST_LINE)
    widths = _shrunk(columns, lines, widths, room - gap * (len(widths) - 1))
    return "\n".join(
        (" " * gap).join(_fitted(cell, width, column.numeric) for cell, width, column in zip(line, widths, columns, strict=True)).rstrip()
        for line in lines
    )


def paragraph(text: str, *, indent: int) -> str:
    """The text wrapped between words to the width of the terminal, all lines but the first indented."""
    lines = [""]
    for word in one_line(text).split():
        if lines[-1].strip() and cell_len(lines[-1]) + 1 + cell_len(word) > text_width():
            lines.append(" " * indent + word)
        else:
            lines[-1] += f" {word}" if lines[-1].strip() else word
    return "\n".join(lines)


def _aligned(cells: list[str]) -> list[str]:
    """The cells with as much space behind the number as its missing decimals take."""
    decimals = [len(cell.partition(".")[2]) for cell in cells]
    most = max(decimals, default=0)
    return [cell + " " * (most - own) if own else cell for cell, own in zip(cells, decimals, strict=True)]


def _shrunk(columns: Sequence[Column], lines: Sequence[Sequence[str]], widths: list[int], room: int) -> list[int]:
    """The widths after as much has been cut from the columns that may be cut, the last one first, as makes all fit."""
    widths = list(widths)
    for index in reversed(range(len(columns))):
        least, excess = columns[index].shrinks_to, sum(widths) - room
        if least is not None and excess > 0:
            cells = {line[index] for line in lines}
            wanted = min(widths[index], max(least, widths[index] - excess))
            widths[index] = next(
                (width for width in range(wanted, widths[index]) if len({_cut(cell, width) for cell in cells}) == len(cells)), widths[index]
            )
    return widths


def _cut(cell: str, width: int) -> str:
    """The cell in so many columns, with a `~` where something is left out: of a name its middle, of a sentence its end."""
    if cell_len(cell) <= width:
        return cell
    tail = 0 if cell.count(" ") > _NAME_SPACES else (width - 1) // 3  # names differ at their ends
    head = width - 1 - tail
    first, last = cell[:head], cell[len(cell) - tail :] if tail else ""
    while cell_len(first) > head:
        first = first[:-1]
    while cell_len(last) > tail:
        last = last[1:]
    return f"{first}~{last}"


def _fitted(cell: str, width: int, numeric: bool) -> str:
    cell = _cut(cell, width)
    padding = " " * (width - cell_len(cell))
    return padding + cell if numeric else cell + padding


def briefly(columns: Sequence[Column], lines: Iterable[Sequence[str]]) -> list[list[str]]:
    """The lines as a terminal has room for them: A100 for NVIDIA TESLA A100, fp16 for float16, and so on by the title of the column."""
    return [[_brief(column, cell) for column, cell in zip(columns, line, strict=True)] for line in lines]


def _brief(column: Column, cell: str) -> str:
    """The cell in the few letters that a terminal has room for; names that are nobody's abbreviation stay as they are."""
    match column.title:
        case "GPU":
            for maker in _MAKER_NAMES:
                cell = cell.removeprefix(maker)
            return cell
        case "tensor-type":
            return dtype_named(cell) or cell
        case "Type":
            return SHORT_TYPES.get(cell, cell)
        case "Data":
            verdict = cell.rstrip("*")
            return _SHORT_IDENTITIES.get(verdict, verdict) + cell[len(verdict) :]
        case _:
            return "n/c" if column.numeric and cell == "not comparable" else cell
