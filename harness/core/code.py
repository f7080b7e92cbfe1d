"""Digests of this package's own code: what was made by other code is not believed without a look."""

import contextlib
import hashlib
import inspect
import io
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.plugins import Seam

PACKAGE = Path(__file__).resolve().parent.parent

ENCODING = ("evaluate/encode",)
"""The rooms that make vectors of texts."""

SCORING = ("evaluate/score", "data", "core/prompts.py")
"""The rooms that make scores of vectors and data, and what says which texts are encoded for them."""


@cache
def code_digest(rooms: tuple[str, ...]) -> str:
    """SHA-256 over the code of the rooms (folders or files of the package), hexadecimal; comments, docstrings, empty lines do not count."""
    places = [PACKAGE / room for room in rooms]
    files = sorted(path for place in places for path in (place.rglob("*.py") if place.is_dir() else [place]))
    return _digest({path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in files})


def plugin_digest(rooms: tuple[str, ...], *kinds: tuple[Seam[Any], str]) -> str:
    """The digest of the rooms; with the file that defines its class, for each kind (by its seam and name) from outside of the package.

    Raises:
        RequestError: a seam has no kind of the name.
    """
    outside = {}
    for seam, name in kinds:
        if name not in seam.built_in:
            kind = type(seam.get(name))
            with contextlib.suppress(OSError, TypeError):  # a class that was typed into an interpreter
                path = Path(inspect.getfile(kind)).resolve()
                if not path.is_relative_to(PACKAGE):
                    outside[seam.name] = path.read_text(encoding="utf-8")
    return _digest({"rooms": code_digest(rooms), **outside}) if outside else code_digest(rooms)


def _digest(sources: dict[str, str]) -> str:
    digest = hashlib.sha256()
    for name, source in sources.items():
        digest.update(f"{name}\n{bare_code(source)}\n".encode())
    return digest.hexdigest()


def bare_code(source: str) -> str:
    """The source without comments, docstrings, empty lines and space at the ends of lines; as it is where Python finds no tokens in it.

    By text, not by syntax tree: the same on every version of Python.
    """
    lines = source.splitlines()
    statement: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
            elif token.type == tokenize.NEWLINE:
                if statement and all(each.type == tokenize.STRING and each.string[0] in "'\"rR" for each in statement):
                    first, last = statement[0].start[0], statement[-1].end[0]
                    lines[first - 1 : last] = [""] * (last - first + 1)
                statement = []
            elif token.type not in (tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
                statement.append(token)
    except (SyntaxError, tokenize.TokenError):
        return source
    return "\n".join(line.rstrip() for line in lines if line.strip())
