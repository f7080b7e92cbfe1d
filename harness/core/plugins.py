"""Seams: named kinds of one thing, from this package, from a program that registers its own, or from an installed package.

A package offers a kind by an entry point in the group `harness.<seam>`:

    [project.entry-points."harness.encoders"]
    mine = "my_package.encoder:MyKind"
"""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Generic, TypeVar

from harness.core.errors import RequestError, unknown

T = TypeVar("T")


class Seam(Generic[T]):
    """The kinds that plug in at one place, by name. `built_in`: `module:attribute` of each; imported when it is asked for."""

    def __init__(self, name: str, built_in: Mapping[str, str]) -> None:
        self.name = name
        self.built_in = built_in
        self._registered: dict[str, T] = {}

    def register(self, name: str, kind: T) -> None:
        """Adds a kind.

        Raises:
            RequestError: another one has the name.
        """
        if self._registered.get(name, kind) is not kind or (name in self.names() and name not in self._registered):
            raise RequestError(f"{self.name}: the name {name!r} is taken: choose another one")
        self._registered[name] = kind

    def unregister(self, name: str) -> None:
        """Takes a registered kind away."""
        del self._registered[name]

    def names(self) -> list[str]:
        """The names of all kinds."""
        return sorted({*self._registered, *(point.name for point in self._points())})

    def get(self, name: str) -> T:
        """The kind of the name.

        Raises:
            RequestError: there is none.
        """
        if name in self._registered:
            return self._registered[name]
        for point in self._points():
            if point.name == name:
                loaded: T = point.load()
                return loaded
        raise RequestError(unknown(self.name.removesuffix("s"), name, self.names()))

    def _points(self) -> Iterator[EntryPoint]:
        """Those of this package first: where one of them is asked for, nothing is looked for elsewhere."""
        group = f"harness.{self.name}"
        yield from (EntryPoint(name, value, group) for name, value in self.built_in.items())
        yield from _points_of(group, tuple(sys.path))


@cache  # reading those of all installed packages takes longer than most commands that ask for names
def _points_of(group: str, path: tuple[str, ...]) -> EntryPoints:
    return entry_points(group=group)
