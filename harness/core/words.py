"""Small words that several wings print, and text from elsewhere made fit for one line."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

SHORT_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
SHORT_IDENTITIES = {"verified": "ok", "unverified": "?", "self-reported": "self", "not C-MTEB": "no"}


def few(names: Sequence[str], most: int = 4, between: str = ", ") -> str:
    """The first names, and dots where there are more."""
    return between.join([*names[:most], *(["..."] if len(names) > most else [])])


def named(names: Sequence[str], of: int, most: int = 8) -> str:
    """The names, or how many of all they are where they are more than `most`."""
    return ", ".join(names) if len(names) <= most else f"{len(names)} of the {of} tasks"


def bare_name(model: str) -> str:
    """A model's name without its owner, case and punctuation, to compare names with: `acgetextembedding`."""
    return "".join(c for c in model.rpartition("/")[2].lower() if c in "0123456789abcdefghijklmnopqrstuvwxyz")


def stated(value: object) -> str | None:
    """The value as text; None for nothing and for an empty text."""
    return None if value in (None, "") else str(value)


def duration(seconds: float | None) -> str:
    """`8 s`, `8.0 s` of a float, `1:05`, `2 h 05 m`; `?` where unknown."""
    if seconds is None:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if isinstance(seconds, float) and 0 < seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} m"


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


def counted(names: Sequence[str]) -> str:
    """How many names, and the first of them: `4 (a, b, c, ...)`."""
    return f"{len(names)} ({few(names, 3)})"
