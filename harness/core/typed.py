"""JSON into typed values: what does not fit is one error that says where, and nothing is converted on the way.

msgspec does the work: it is strict (a string is no number, NaN and 1e400 are no JSON), and reads thousands of records in a second.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from harness.core.errors import InputError, unread
from harness.core.files import open_regular
from harness.core.formatting import shortened

T = TypeVar("T")
_LONG_NUMBER, _DIGITS_AS_0 = b"0" * 300, bytes.maketrans(b"123456789", b"000000000")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def parse(data: bytes | str) -> Any:
    """The JSON value.

    Raises:
        ValueError: it is no JSON, is cut off, is nested thousands of levels deep, or holds a number that Python has no float for.
    """
    refuse_long_numbers(data)
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from error


def refuse_long_numbers(data: bytes | str) -> None:
    """Raise ValueError for a whole number that no float holds: to Python it is a number like others, until something divides it. A text
    may have as many digits as it likes.
    """
    digits = (data.encode(errors="replace") if isinstance(data, str) else data).translate(_DIGITS_AS_0)
    if _LONG_NUMBER in digits and _LONG_NUMBER in _STRING.sub(b"", digits):
        raise ValueError("a number has 300 digits or more, more than a float holds")


def convert(raw: Any, kind: type[T]) -> T:
    """The plain value as an object of a dataclass (or of `dict[str, float]` and the like). Keys that the class or its sections do not have
    go to its field `extra`, where it has one.

    Raises:
        ValueError: a key is missing, or a value has another type or lies outside of its range; the message says where.
    """
    try:
        made = msgspec.convert(raw, kind)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        raise ValueError(shortened(str(error))) from error
    if not is_dataclass(kind) or "extra" not in kind.__dataclass_fields__:
        return made
    beyond = _beyond(raw, msgspec.to_builtins(made))
    return replace(made, extra=beyond) if beyond or made.extra else made  # type: ignore[attr-defined, type-var]


def _beyond(raw: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """What the first has and the second has not, as deep as both are mappings."""
    unlike = (key for key, value in raw.items() if isinstance(value, dict) and isinstance(known.get(key), dict) and value != known[key])
    inner = {key: _beyond(raw[key], known[key]) for key in unlike}
    return {key: inner.get(key, value) for key, value in raw.items() if key not in known or inner.get(key)}


def plain(value: Any) -> dict[str, Any]:
    """A dataclass as `convert` takes it: plain values, tuples as lists, `extra` beside the others. What a file left out stays left out."""
    made: dict[str, Any] = msgspec.to_builtins(value)
    extra = made.pop("extra", {})
    return merged(made, extra)


def merged(values: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Both, section by section."""
    found = {**values}
    for key, value in extra.items():
        own = found.get(key)
        found[key] = merged(own, value) if isinstance(own, dict) and isinstance(value, dict) else value
    return found


def leaves(value: Mapping[str, Any], separator: str = ".") -> Iterator[tuple[str, Any]]:
    """What nested mappings hold that is none, by the path of its keys: `spec.model.name`."""
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from ((f"{key}{separator}{path}", leaf) for path, leaf in leaves(each, separator))
        else:
            yield key, each


def read_object(path: Path, *, what: str, remedy: str, schema: int | None = None) -> dict[str, Any]:
    """The JSON object in a file. `what` and `remedy` stand in the message: `FILE is no <what> (...): <remedy>`.

    Raises:
        InputError: the file can't be read, is no JSON object, or its `schema` is newer than the one given.
    """
    try:
        with open_regular(path) as stream:
            raw = parse(stream.read())
        if not isinstance(raw, dict):
            raise ValueError(f"found {type(raw).__name__}, expected an object")
        found = raw.get("schema", schema)
        if schema is not None and (isinstance(found, bool) or not isinstance(found, int)):
            raise ValueError(f"its schema is {found!r:.40}, expected a whole number")
    except (OSError, ValueError) as error:
        raise InputError(unread(path, error) or f"{path} is no {what} ({error}): {remedy}") from error
    if schema is not None and found > schema:  # type: ignore[operator]
        raise InputError(f"{path} was written by a newer harness (schema {found}, this one reads {schema}): upgrade")
    return raw


def read_typed(path: Path, kind: type[T], *, what: str, remedy: str, schema: int | None = None) -> T:
    """The object of a dataclass that a JSON file holds; raises as `read_object`, and where the values do not fit the class."""
    raw = read_object(path, what=what, remedy=remedy, schema=schema)
    try:
        return convert(raw, kind)
    except ValueError as error:
        raise InputError(f"{path} is no {what} ({error}): {remedy}") from error
