"""A C-MTEB reproduction harness: `python -m harness` on the command line, these functions in Python (docs/api.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Runs, check, explain, load_runs, render, run

__all__ = ["Runs", "check", "explain", "load_runs", "render", "run"]


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for: a command that prints a table needs no part of it."""
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    from harness import api

    return getattr(api, name)
