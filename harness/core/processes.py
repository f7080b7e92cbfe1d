"""Starting processes of this package from whatever program calls it, and ending them with it."""

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

_lock = threading.Lock()
_PR_SET_PDEATHSIG = 1  # of Linux


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


def end_with(parent: int) -> None:
    """Let the kernel kill this process when the one that started it ends, however it ends. `parent`: the process id of that one."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            os._exit(1)


def end_with_asking() -> None:
    """Let the kernel of Linux kill this process of multiprocessing when the one that asked for it ends, however busy both are: a pipe
    between them closes then. (The one that started it may be another, which lives on.)
    """
    asking = multiprocessing.parent_process()
    assert asking is not None
    if sys.platform == "linux":
        fcntl.fcntl(asking.sentinel, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(asking.sentinel, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(asking.sentinel, fcntl.F_SETFL, fcntl.fcntl(asking.sentinel, fcntl.F_GETFL) | os.O_ASYNC)
    if not asking.is_alive():
        os._exit(1)
