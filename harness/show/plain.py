"""A document for programs: its tables as CSV, its values as JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence

from harness.core.words import one_line
from harness.show.form import Column, Document, Grid


def render_csv(document: Document) -> str:
    """The tables, with an empty line between two of them."""
    return "\n\n".join(csv_table(block.columns, block.rows) for block in document.wide() if isinstance(block, Grid))


def render_json(document: Document) -> str:
    """All values, unrounded."""
    return json.dumps(document.data(), indent=2, ensure_ascii=False, allow_nan=False)


def csv_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """The table as RFC 4180 has it, but a row is one line; plain newlines, none at the end."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.title for column in columns])
    writer.writerows([one_line(cell) for cell in row] for row in rows)
    return stream.getvalue().removesuffix("\n")
