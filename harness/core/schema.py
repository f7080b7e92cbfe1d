"""The schema of `configs/`, as Hydra wants it, derived from `harness.core.spec`: a key or a value outside of it is refused.

Hydra's structured configs know neither `Literal` nor tuples, and can't change a frozen dataclass. So each class of the spec becomes a
mutable one with enumerations and lists, and the values that Hydra composes become the spec again.
"""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from omegaconf import MISSING

from harness.core.spec import READ, YAML_TYPE, RunSpec

T = TypeVar("T")


def schema_of(kind: Any) -> Any:
    """The structured config of a class of the spec; fields without a default, and those with choices, are mandatory."""
    return _published(dataclasses.make_dataclass(f"{kind.__name__}Schema", _fields_of(kind)))


def schema_keys(schema: Any, prefix: str = "") -> dict[str, list[str]]:
    """The dotted keys of a structured config, each with its choices; none where they are not listed in the spec."""
    keys: dict[str, list[str]] = {}
    for item in dataclasses.fields(schema):
        kind, key = item.type, f"{prefix}{item.name}"
        if dataclasses.is_dataclass(kind):
            keys |= schema_keys(kind, f"{key}.")
        elif isinstance(kind, type) and issubclass(kind, Enum):
            keys[key] = [each.value for each in kind]
        else:
            keys[key] = ["true", "false"] if kind is bool else []
    return keys


def from_plain(kind: type[T], values: Mapping[str, Any]) -> T:
    """An object of a class of the spec, from the plain values of its structured config."""
    types = get_type_hints(kind)
    made = {}
    for item in dataclasses.fields(kind):  # type: ignore[arg-type]
        wanted: Any = types[item.name]
        if READ in item.metadata:
            made[item.name] = item.metadata[READ](values[item.name])
        elif dataclasses.is_dataclass(wanted):
            made[item.name] = from_plain(wanted, values if item.metadata.get("inline") else values[item.name])  # type: ignore[arg-type]
        else:
            made[item.name] = _spec_value(wanted, values[item.name])
    return kind(**made)


def _published(made: T) -> T:
    """The class, as an attribute of this module. Launchers send configurations to other processes and pickle such a class by its name.
    Pickled by its value it would come back with another `dataclasses.MISSING`, and spoil the class that is here.
    """
    made.__module__ = __name__
    globals()[made.__name__] = made  # type: ignore[attr-defined]
    return made


def _fields_of(kind: Any) -> list[tuple[str, Any, Any]]:
    types = get_type_hints(kind)
    found: list[tuple[str, Any, Any]] = []
    for item in dataclasses.fields(kind):
        wanted = types[item.name]
        if READ in item.metadata:
            found.append((item.name, item.metadata.get(YAML_TYPE, str | None), None))
        elif not dataclasses.is_dataclass(wanted):
            found.append((item.name, *_yaml_field(f"{kind.__name__}_{item.name}", wanted, item.default)))
        elif item.metadata.get("inline"):
            found += _fields_of(wanted)
        else:
            nested = schema_of(wanted)
            found.append((item.name, nested, dataclasses.field(default_factory=nested)))
    return found


def _yaml_field(name: str, wanted: Any, default: Any) -> tuple[Any, Any]:
    """Type and default of a field of the structured config; an empty text may be written as null, too."""
    optional = NoneType in get_args(wanted) or default == ""
    plain = next((one for one in get_args(wanted) if one is not NoneType), wanted) if NoneType in get_args(wanted) else wanted
    if get_origin(plain) is Literal:
        plain, default = _published(Enum(name, {choice: choice for choice in get_args(plain)})), MISSING
    elif get_origin(plain) is tuple:
        plain = list[str]
    elif plain is Path:
        plain = str
    return (plain | None if optional else plain), MISSING if default is dataclasses.MISSING else default or None if optional else default


def _spec_value(wanted: Any, value: Any) -> Any:
    if wanted is str:
        return value or ""
    if wanted is Path or Path in get_args(wanted):
        return Path(value).expanduser() if value else None
    return tuple(value) if get_origin(wanted) is tuple else value


RunConfig = schema_of(RunSpec)
"""The schema of `configs/config.yaml`; its values are there, not here."""
