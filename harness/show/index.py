"""The index of every score, for pandas or a spreadsheet."""

from collections.abc import Iterable
from dataclasses import astuple, fields

from harness.read.index import IndexRow
from harness.show.formats import csv_table


def index_csv(rows: Iterable[IndexRow]) -> str:
    """The rows as CSV, one line each; None is an empty cell, and a number has all its digits."""
    cells = (["" if cell is None else str(cell) for cell in astuple(row)] for row in rows)
    return csv_table((field.name for field in fields(IndexRow)), cells)
