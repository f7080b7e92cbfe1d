"""The parts of a Markdown text: its sentences, its code blocks and its tables, each with its line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass

_FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*([\w+-]*)")
# A clause is the smallest unit that a claim is made in; a dot ends one only before a space, or v1.5 would be two.
_CLAUSE_ENDS = re.compile(r"[\u3002\uff01\uff1f\uff1b\uff0c!?;\n]|,(?=\s)|\.(?=\s|$)")
_SENTENCE_ENDS = re.compile(r"[\u3002\uff01\uff1f\uff1b!?;\n]|\.(?=\s|$)")
_CELL_BORDER = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block; `line`: that of its first line of code in the text."""

    line: int
    language: str
    code: str


@dataclass(frozen=True)
class Table:
    """A table. `line`: that of its heading; the rows follow the line of dashes under it. Cells are without emphasis marks."""

    line: int
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Document:
    """A text's prose, by line number, and its code blocks; front matter, tables and markup of images are in neither."""

    prose: tuple[tuple[int, str], ...]
    blocks: tuple[CodeBlock, ...]

    def sentences(self) -> list[tuple[int, str]]:
        """Every sentence with its line."""
        return self._parts(_SENTENCE_ENDS)

    def clauses(self) -> list[tuple[int, str]]:
        """Every part of a sentence between punctuation marks, with its line."""
        return self._parts(_CLAUSE_ENDS)

    def _parts(self, ends: re.Pattern[str]) -> list[tuple[int, str]]:
        return [(number, part.strip()) for number, line in self.prose for part in ends.split(line) if part.strip()]


def parse_document(text: str) -> Document:
    """The prose and the code of a text."""
    lines, blocks = _split_code(text)
    tabular = {line for table in markdown_tables(text) for line in range(table.line, table.line + 2 + len(table.rows))}
    prose = [
        (n, line)
        for n, line in enumerate(lines, start=1)
        if line.strip() and n not in tabular and not line.lstrip().startswith(("|", "!", "<"))
    ]
    return Document(tuple((number, re.sub(r"\]\([^)]*\)", "]", line)) for number, line in prose), tuple(blocks))


def markdown_tables(text: str) -> tuple[Table, ...]:
    """The tables of a text, outside of code blocks."""
    lines = [_cells(line) for line in _split_code(text)[0]]
    return tuple(
        Table(index + 1, _bare(head), tuple(_bare(row) for row in itertools.takewhile(bool, lines[index + 2 :])))
        for index, (head, dashes) in enumerate(itertools.pairwise(lines))
        if head and len(head) == len(dashes) and all(re.fullmatch(":?-+:?", cell) for cell in dashes)
    )


def _split_code(text: str) -> tuple[list[str], list[CodeBlock]]:
    """The lines of a text, those of its front matter and of its code blocks empty, and these blocks."""
    lines, blocks, number = text.splitlines(), [], 0
    first = next((i for i, line in enumerate(lines) if line.strip("\ufeff \t")), 0)
    if lines and lines[first].strip("\ufeff \t") == "---":
        number = next((i + 1 for i in range(first + 1, len(lines)) if lines[i].rstrip() == "---"), 0)
        lines[:number] = [""] * number
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence:
            end = next((i for i in range(number + 1, len(lines)) if lines[i].strip().startswith(fence[1])), len(lines))
            blocks.append(CodeBlock(number + 2, fence[2].lower(), "\n".join(lines[number + 1 : end])))
            lines[number : end + 1] = [""] * len(lines[number : end + 1])
            number = end
        number += 1
    return lines, blocks


def _cells(line: str) -> list[str]:
    """The cells of a line of a table, whose outer borders may be missing; empty where the line is none."""
    cells = [cell.strip().replace("\\|", "|") for cell in _CELL_BORDER.split(line.strip())]
    if len(cells) < 2:
        return []
    return cells[not cells[0] : len(cells) - (not cells[-1])]


def _bare(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(cell.strip("*`_ ") for cell in cells)
