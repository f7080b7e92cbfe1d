"""A document as one HTML page without style or script; every character of the data is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from harness.show.form import Block, Document, Grid, Heading, Sentences


def render_html(document: Document) -> str:
    """The document as headings, lists and tables."""
    body = "\n".join(_block(block) for block in document.wide())
    return f'<!doctype html>\n<meta charset="utf-8">\n{body}'


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Sentences(lines, "plain" | "verbatim"):
            return "\n".join(f"<p>{escape(line)}</p>" for line in lines)
        case Sentences(lines, style):
            kind = "ol" if style == "numbered" else "ul"
            return f"<{kind}>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + f"</{kind}>"
        case Grid(columns, rows):
            table = [_row("th", (column.title for column in columns)), *(_row("td", row) for row in rows)]
            return "<table>\n" + "\n".join(table) + "\n</table>"


def _row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
