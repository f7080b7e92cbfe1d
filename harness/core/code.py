"""Digests of this package's own code: what was made by other code is not believed without a look."""

import ast
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
    """The source without comments, docstrings, empty lines and space at the ends of lines; as it is where it does not parse.

    By text, not by syntax tree: the same on every version of Python.
    """
    lines = source.splitlines()
    try:
        tree = ast.parse(source)
        comments = [token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT]
    except (SyntaxError, tokenize.TokenError):
        return source
    for token in comments:
        row, column = token.start
        lines[row - 1] = lines[row - 1][:column]
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for row in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                lines[row - 1] = ""
    return "\n".join(line.rstrip() for line in lines if line.strip())
