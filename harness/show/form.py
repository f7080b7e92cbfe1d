"""What every command shows, before it is text: headings, sentences and tables, and the formats that write them.

A subject (the leaderboard, an explanation, ...) makes a `Document` from its values. A `Reporter` writes any document in one format.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from harness.core.plugins import Seam
from harness.core.tasks import SHORT_TYPES

Style = Literal["plain", "list", "notes", "numbered", "verbatim"]
"""How sentences are set: one below the other, with bullets, as the notes under a table, with numbers, or not wrapped at all."""

Width = Literal["any", "narrow", "wide"]
"""Where a block is shown: everywhere, only on a terminal of 100 columns, or everywhere else."""


@dataclass(frozen=True)
class Column:
    """A column. `short`: its heading on a terminal, the title itself where none is given. `shrinks_to`: the width down to which a terminal
    may cut it; None: never cut."""

    title: str
    short: str = ""
    numeric: bool = False
    shrinks_to: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "short", self.short or self.title)  # the class is frozen


@dataclass(frozen=True)
class Heading:
    """The title of what follows."""

    text: str
    width: Width = "any"
    tight: bool = False


@dataclass(frozen=True)
class Sentences:
    """One line of text each. `tight`: a terminal shows no empty line before the block."""

    lines: tuple[str, ...]
    style: Style = "plain"
    width: Width = "any"
    tight: bool = False


@dataclass(frozen=True)
class Grid:
    """A table."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    width: Width = "any"
    tight: bool = False


Block = Heading | Sentences | Grid


def grid(columns: Iterable[Column], rows: Iterable[Iterable[str]], *, width: Width = "any", tight: bool = False) -> Grid:
    """A table of any iterables."""
    return Grid(tuple(columns), tuple(map(tuple, rows)), width, tight)


def table_columns(*columns: str | Column) -> tuple[Column, ...]:
    """Columns, of which a title alone is one of text that a terminal shows whole."""
    return tuple(Column(each) if isinstance(each, str) else each for each in columns)


def number_columns(*titles: str) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(title, numeric=True) for title in titles)


def type_columns(types: Iterable[str]) -> tuple[Column, ...]:
    """Columns of the averages of types of task."""
    return tuple(Column(key, SHORT_TYPES.get(key, key), numeric=True) for key in types)


@dataclass(frozen=True, kw_only=True)
class Document:
    """One subject, ready to be written. `data`: all its values, unrounded, for programs. `own`: formats that the subject writes itself."""

    blocks: Callable[[], Iterable[Block]]
    data: Callable[[], Any]
    own: Mapping[str, Callable[[], str]] = field(default_factory=dict)

    def wide(self) -> Iterator[Block]:
        """The blocks of a format whose lines have no limit, empty ones left out."""
        return (block for block in self.blocks() if block.width != "narrow" and not is_empty(block))


class Reporter(Protocol):
    """An output format: a document in, its text out, without a newline at the end."""

    def __call__(self, document: Document, /) -> str:
        """Write the document."""


BUILT_IN = {
    "text": "harness.show.text:render_text",
    "md": "harness.show.formats:render_markdown",
    "csv": "harness.show.formats:render_csv",
    "json": "harness.show.formats:render_json",
    "latex": "harness.show.latex:render_latex",
    "html": "harness.show.formats:render_html",
}
REPORTERS: Seam[Reporter] = Seam("formats", BUILT_IN)
"""The output formats by name. A package adds one by the entry point group `harness.formats`, a program by `REPORTERS.register`."""


def format_names() -> list[str]:
    """The names of all formats, those of this package first."""
    return [*BUILT_IN, *(name for name in REPORTERS.names() if name not in BUILT_IN)]


def write_document(document: Document, format: str) -> str:  # noqa: A002  the option's name
    """The document in that format, without a newline at the end.

    Raises:
        RequestError: an unknown format.
    """
    reporter = REPORTERS.get(format)
    own = document.own.get(format)
    return own() if own else reporter(document)


def is_empty(block: Block) -> bool:
    """Whether nothing of the block would be shown."""
    return isinstance(block, Sentences) and not block.lines
