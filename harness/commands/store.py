"""The command `store`."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.arguments import command, option, output_format, say, show
from harness.core.errors import RequestError

if TYPE_CHECKING:
    from harness.evaluate.encode.store.store import VectorStore


@command(
    option("action", choices=("info", "verify", "prune"), help="info: a row per model; verify: read all vectors; prune: delete some"),
    option("--path", type=Path, default=Path("store"), metavar="DIR", help="the folder that runs name with store= (store)"),
    option("--model", metavar="NAME", help="prune: all vectors of the model"),
    option("--unused-days", type=float, metavar="N", help="prune: vectors that no run has opened for N days"),
    output_format,
)
def store(arguments: Namespace) -> int:
    """look at the vectors that runs share: info; verify reads all of them; prune deletes"""
    from harness.evaluate.encode.store.store import VectorStore
    from harness.show.summaries import pruned_document, store_document

    if not arguments.path.is_dir():
        raise RequestError(f"no vector store at {arguments.path}: runs make one where store= says; name it with --path DIR")
    if arguments.unused_days is not None and not (math.isfinite(arguments.unused_days) and arguments.unused_days >= 0):
        raise RequestError(f"--unused-days {arguments.unused_days}: expected a number of days, 0 or more")
    store = VectorStore(arguments.path)
    if arguments.action == "prune":
        show(pruned_document(store.prune(model=arguments.model, unused_days=arguments.unused_days)), arguments.format)
        return _left_out(store)
    damaged = store.verify() if arguments.action == "verify" else []
    settings = store.info()
    show(store_document(settings, damaged, verified=arguments.action == "verify"), arguments.format)
    return 1 if _left_out(store) or (arguments.action == "verify" and any(setting.damaged for setting in settings)) else 0


def _left_out(store: VectorStore) -> int:
    """Name the settings that could not be looked at; the exit code."""
    undescribed = store.undescribed()
    for why in undescribed:
        say(f"error: {why}", file=sys.stderr)
    return 1 if undescribed else 0
