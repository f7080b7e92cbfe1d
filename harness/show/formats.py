"""The formats of a few lines each: GitHub's Markdown, CSV and JSON for programs, HTML without style or script."""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from html import escape

from harness.core.formatting import csv_cell, one_line
from harness.show.form import Block, Column, Document, Grid, Heading, Sentences

_MARKS = {"plain": "", "verbatim": "", "list": "* ", "notes": "- "}


def render_markdown(document: Document) -> str:
    """The document; nothing in its values can become markup."""
    return "\n\n".join(markdown_block(block) for block in document.wide())


def markdown_block(block: Block) -> str:
    """One block."""
    match block:
        case Heading(text):
            return f"## {escape_markdown(text)}"
        case Sentences(lines, "numbered"):
            return "\n".join(f"{number}. {escape_markdown(line)}" for number, line in enumerate(lines, start=1))
        case Sentences(lines, style):
            return "\n".join(_MARKS[style] + escape_markdown(line) for line in lines)
        case Grid(columns, rows):
            return markdown_table(columns, rows)


def markdown_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """The table in GitHub's Markdown; nothing in a cell can end the cell or become markup."""
    lines = [[column.title for column in columns], *rows]
    text = ["| " + " | ".join(escape_markdown(cell) for cell in line) + " |" for line in lines]
    text.insert(1, "|" + "|".join("---:" if column.numeric else ":---" for column in columns) + "|")
    return "\n".join(text)


def escape_markdown(text: str) -> str:
    """The text as Markdown that shows it literally, on one line."""
    escaped = "".join("\\" + c if c in "\\`*[]|" else c for c in one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def render_csv(document: Document) -> str:
    """The tables, with an empty line between two of them."""
    tables = [block for block in document.wide() if isinstance(block, Grid)]
    return "\n\n".join(csv_table((column.title for column in table.columns), table.rows) for table in tables)


def render_json(document: Document) -> str:
    """All values, unrounded; what a terminal or a CI system would obey is written as JSON's escapes."""
    text = json.dumps(document.data(), indent=2, ensure_ascii=False, allow_nan=False).replace("##[", "##\\u005b")
    return "".join(c if c.isprintable() or c == "\n" else json.dumps(c)[1:-1] for c in text)


def csv_table(titles: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """The table as RFC 4180 has it, but a row is one line; plain newlines, none at the end. No cell is a formula to a spreadsheet."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(titles)
    writer.writerows(map(csv_cell, row) for row in rows)
    return stream.getvalue().removesuffix("\n")


def render_html(document: Document) -> str:
    """The document as headings, lists and tables."""
    body = "\n".join(_html(block) for block in document.wide())
    return f'<!doctype html>\n<meta charset="utf-8">\n{body}'


def _html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(one_line(text))}</h2>"
        case Sentences(lines, "plain" | "verbatim"):
            return "\n".join(f"<p>{escape(one_line(line))}</p>" for line in lines)
        case Sentences(lines, style):
            kind = "ol" if style == "numbered" else "ul"
            return f"<{kind}>" + "".join(f"<li>{escape(one_line(line))}</li>" for line in lines) + f"</{kind}>"
        case Grid(columns, rows):
            table = [_html_row("th", (column.title for column in columns)), *(_html_row("td", row) for row in rows)]
            return "<table>\n" + "\n".join(table) + "\n</table>"


def _html_row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(one_line(cell))}</{tag}>" for cell in cells) + "</tr>"
