"""Text that came from elsewhere, made fit to be printed on one line."""

from __future__ import annotations

import unicodedata


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
