"""Look at the stored vectors, verify them, delete them."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import Commands
from harness.core.errors import RequestError


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("store", help="the vectors that runs share: info; verify reads all of them; prune deletes")
    parser.add_argument("action", choices=("info", "verify", "prune"))
    parser.add_argument("--path", type=Path, default=Path("store"), metavar="DIR", help="the folder that runs name with store= (store)")
    parser.add_argument("--model", metavar="NAME", help="prune: all vectors of the model")
    parser.add_argument("--unused-days", type=float, metavar="N", help="prune: vectors that no run has opened for N days")
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.evaluate.encode.store import VectorStore
    from harness.show.console import pruned_summary, store_summary

    if not arguments.path.is_dir():
        raise RequestError(f"no vector store at {arguments.path}: runs make one where store= says; name it with --path DIR")
    store = VectorStore(arguments.path)
    if arguments.action == "prune":
        print(pruned_summary(store.prune(model=arguments.model, unused_days=arguments.unused_days)))
        return 0
    damaged = store.verify() if arguments.action == "verify" else []
    print(store_summary(store.info(), damaged, verified=arguments.action == "verify"))
    return 1 if damaged else 0
