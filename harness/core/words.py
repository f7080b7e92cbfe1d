"""Small words that several wings print, and text from elsewhere made fit for one line."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

SHORT_TYPES = {
    "Average": "Avg",
    "Classification": "Clas",
    "Clustering": "Clus",
    "PairClassification": "Pair",
    "Reranking": "Rank",
    "Retrieval": "Retr",
}
"""Averages and types of task as a terminal has room for them; other names stay as they are."""
SHORT_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
SHORT_IDENTITIES = {"verified": "ok", "unverified": "?", "self-reported": "self", "not C-MTEB": "no"}


def few(names: Sequence[str], most: int = 4, between: str = ", ") -> str:
    """The first names, and dots where there are more."""
    return between.join([*names[:most], *(["..."] if len(names) > most else [])])


def display_width(text: str) -> int:
    """How many columns of a terminal the text takes: two for a wide character, none for a combining one."""
    return sum(_character_width(character) for character in text)


def one_line(text: str) -> str:
    """The text without line ends, and with nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
