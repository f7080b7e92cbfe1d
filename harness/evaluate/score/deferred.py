"""Packages that another package imports and does not use: imported when they are used.

mteb 1.1.1 imports sentence_transformers for the models of others, and datasets to download; both together cost more than all the rest
that scoring needs. They are there for whoever does use them.
"""

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import Any


@contextlib.contextmanager
def deferred_imports(*names: str) -> Iterator[None]:
    """Inside the block `import` of these modules gives stand-ins, which import the module when something of it is called or looked into.

    A module that is imported already is used as it is. After the block everyone imports the modules themselves.
    """
    stand_ins = {name: _Module(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


class _Module(ModuleType):
    """A module whose attributes are looked up when they are used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Attribute(self.__name__, name)


class _Attribute:
    """What a module has under a name: a class, a function or a module."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(import_module(self._module), self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._real()(*arguments, **keywords)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())
