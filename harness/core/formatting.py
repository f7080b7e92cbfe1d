"""How numbers, lists of names and commands are written, and how text from elsewhere is made fit for one line."""

import re
import shlex
from collections.abc import Hashable, Iterable, Sequence
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
_COMMAND = re.compile(r"\A\s*::|##\[")  # GitHub's runner takes both forms, the first one at the beginning of a line only
_UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_FORMULA = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?")
_CREDENTIALS = re.compile(r'://[^/\s?#"<>]*@')


def few(names: Sequence[str], most: int = 4, between: str = ", ") -> str:
    """The first names, and dots where there are more."""
    return between.join([*names[:most], *(["..."] if len(names) > most else [])])


def counted(names: Sequence[str]) -> str:
    """How many names, and the first of them: `4 (a, b, c, ...)`."""
    return f"{len(names)} ({few(names, 3)})"


def named(names: Sequence[str], of: int, most: int = 8) -> str:
    """The names, or how many of all they are where they are more than `most`."""
    return ", ".join(names) if len(names) <= most else f"{len(names)} of the {of} tasks"


def all_named(names: Sequence[str], of: int) -> str:
    """The names, or `all 35 tasks` where they are all of several."""
    return f"all {len(names)} tasks" if len(names) == of > 1 else ", ".join(names)


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """The second ones by the first one, both in the order in which they come: reasons with their tasks."""
    groups: dict[K, list[V]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def amount(count: int, noun: str) -> str:
    """How many, with the noun in its number: `1 task`, `35 tasks`, `0 queries`."""
    plural = f"{noun.removesuffix('y')}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count} {noun if count == 1 else plural}"


def shell_command(*words: object) -> str:
    """A command of the harness to paste into a shell: `python -m harness calibrate 'my run'`."""
    return f"python -m harness {shlex.join(map(str, words))}"


def shortened(message: str, most: int = 300) -> str:
    """The message without the middle of a long value that it quotes: what it is about stands at its ends."""
    return message if len(message) <= most else f"{message[: most // 2]} ... {message[-most // 2 :]}"


def bare_name(model: str) -> str:
    """A model's name without its owner, case and punctuation, to compare names with: `acgetextembedding`, `文本向量v2`."""
    return "".join(filter(str.isalnum, model.rpartition("/")[2].lower()))


def stated(value: object) -> str | None:
    """The value as text; None for nothing and for an empty text."""
    return None if value in (None, "") else str(value)


def of_task(task: str, message: str, between: str = ":") -> str:
    """A task's message with its name before it, once: most errors of a task's data begin with it themselves."""
    return f"{task}{between} {message.removeprefix(f'{task}: ')}"


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


def unit_of(value: float) -> tuple[float, str]:
    """The largest unit that the value fills, and its letter: `(1e6, "M")`."""
    return next((unit for unit in _UNITS if value >= unit[0]), _UNITS[-1])


def scaled(value: float) -> str:
    """`1.52 P`, to be followed by what it is of."""
    unit, letter = unit_of(value)
    count = value / unit
    return f"{count:,.0f} {letter}" if count >= 100 else f"{count:.3g} {letter}"


def one_line(text: str) -> str:
    """The text without line ends, with nothing in it that a terminal or a CI system would obey (`::error ...`), and without passwords."""
    line = "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in without_passwords(text))
    return _COMMAND.sub(lambda found: f"{found[0][:-1]} {found[0][-1]}", line)


def quoted(value: object) -> str:
    """The beginning of a Python value's repr, on one line, for a message."""
    return one_line(repr(value))[:60]


def csv_cell(text: str) -> str:
    """The text as a cell on one line; with an apostrophe before what a spreadsheet would take for a formula and what is no number."""
    cell = one_line(text)
    return f"'{cell}" if cell[:1] in _FORMULA and len(cell) > 1 and not _NUMBER.fullmatch(cell) else cell


def printable(text: str) -> str:
    """The text with every line made fit by `one_line`; its line ends stay."""
    return "\n".join(map(one_line, text.split("\n")))


def without_passwords(text: str) -> str:
    """The text with `***` in place of the user and the password of every address (`https://user:password@host`)."""
    return _CREDENTIALS.sub("://***@", text)
