"""A document as GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.core.words import one_line
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
