"""Starting processes of this package from whatever program calls it."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

_lock = threading.Lock()


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Processes that are started in the block do not import the program that calls. multiprocessing would run a script again in each of
    them, from its first line, unless it has `if __name__ == "__main__":`.
    """
    with _lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
