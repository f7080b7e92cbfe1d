"""The parts of a Markdown text: its sentences, its code blocks and its tables (in HTML, too), each with its line."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

_FENCE = re.compile(r"\s*(`{3,}|~{3,})\s*([\w+-]*)")
# A clause is the smallest unit that a claim is made in; a dot ends one only before a space, or v1.5 would be two.
_CLAUSE_ENDS = re.compile(r"[\u3002\uff01\uff1f\uff1b\uff0c!?;\n]|,(?=\s)|\.(?=\s|$)")
_SENTENCE_ENDS = re.compile(r"[\u3002\uff01\uff1f\uff1b!?;\n]|\.(?=\s|$)")
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_QUOTED = re.compile(r"^(\s*>)+")
_NOTE = re.compile(r"<(sup|sub)\b.*?</\1>", re.IGNORECASE)  # the number of a footnote
_TAG = re.compile(r"</?(a|b|br|center|code|del|div|em|font|i|mark|p|small|span|strong|u)\b[^>]*>", re.IGNORECASE)
_HTML_TABLE = re.compile(r"<table\b.*?</table>", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block; `line`: that of its first line of code in the text."""

    line: int
    language: str
    code: str


@dataclass(frozen=True)
class Table:
    """A table. `line`: that of its heading; `lines`: those of its rows. Cells are without emphasis, tags and the numbers of footnotes."""

    line: int
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def turned(self) -> Table:
        """The table with a row for each of its columns but the first, which is the heading."""
        head, *rows = zip(self.head, *self.rows, strict=False)
        return Table(self.line, head, tuple(rows), (self.line,) * len(rows))


@dataclass(frozen=True)
class Document:
    """A text's prose, by line number, its code blocks and its tables; front matter and markup of images are in none of them."""

    prose: tuple[tuple[int, str], ...]
    blocks: tuple[CodeBlock, ...]
    tables: tuple[Table, ...]

    def sentences(self) -> list[tuple[int, str]]:
        """Every sentence with its line."""
        return self._parts(_SENTENCE_ENDS)

    def clauses(self) -> list[tuple[int, str]]:
        """Every part of a sentence between punctuation marks, with its line."""
        return self._parts(_CLAUSE_ENDS)

    def _parts(self, ends: re.Pattern[str]) -> list[tuple[int, str]]:
        return [(number, part.strip()) for number, line in self.prose for part in ends.split(line) if part.strip()]


def parse_document(text: str) -> Document:
    """The prose, the code and the tables of a text."""
    (lines, blocks), tables = _split_code(text), markdown_tables(text)
    tabular = {line for table in tables for line in (table.line, table.line + 1, *table.lines)}
    prose = [
        (n, line)
        for n, line in enumerate(lines, start=1)
        if line.strip() and n not in tabular and not line.lstrip().startswith(("|", "!", "<"))
    ]
    return Document(tuple((number, re.sub(r"\]\([^)]*\)", "]", line)) for number, line in prose), tuple(blocks), tables)


def markdown_tables(text: str) -> tuple[Table, ...]:
    """The tables of a text, outside of code blocks: those of Markdown, then those of HTML."""
    plain = _split_code(text)[0]
    lines = [_cells(line) for line in plain]
    found = []
    for index, (head, dashes) in enumerate(itertools.pairwise(lines)):
        if head and len(head) == len(dashes) and all(re.fullmatch(":?-+:?", cell) for cell in dashes):
            rows = [_bare(row) for row in itertools.takewhile(bool, lines[index + 2 :])]
            found.append(Table(index + 1, _bare(head), tuple(rows), tuple(range(index + 3, index + 3 + len(rows)))))
    return (*found, *_html_tables("\n".join(plain)))


def _html_tables(text: str) -> Iterator[Table]:
    for match in _HTML_TABLE.finditer(text):
        reader = _HtmlRows()
        reader.feed(match[0])
        rows = [(line, _bare(cells)) for line, cells in reader.rows if cells]
        if rows:
            above = text.count("\n", 0, match.start())
            lines = [above + line for line, _ in rows]
            yield Table(lines[0], rows[0][1], tuple(cells for _, cells in rows[1:]), tuple(lines[1:]))


class _HtmlRows(HTMLParser):
    """`rows`: the cells of each row of an HTML table, with its line."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append((self.getpos()[0], []))
        elif tag in ("td", "th") and self.rows:
            self.rows[-1][1].append("")
        elif self.rows and self.rows[-1][1]:
            self.rows[-1][1][-1] += f"<{tag}>"

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("table", "thead", "tbody", "tr", "td", "th") and self.rows and self.rows[-1][1]:
            self.rows[-1][1][-1] += f"</{tag}>"

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1][1]:
            self.rows[-1][1][-1] += data


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
    cells = [cell.strip().replace("\\|", "|") for cell in _CELL_BORDER.split(_QUOTED.sub("", line).strip())]
    if len(cells) < 2:
        return []
    return cells[not cells[0] : len(cells) - (not cells[-1])]


def _bare(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(_TAG.sub("", _NOTE.sub("", cell)).strip("*`_ \n\t") for cell in cells)
