"""The commands about what a run needs: `fetch`, `store`, `lock`, `doctor`, `models`, `tasks`."""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.arguments import BENCHMARK, command, option, output_format, overrides, say, show
from harness.core.errors import RequestError

if TYPE_CHECKING:
    from harness.evaluate.encode.store.store import VectorStore


@command(overrides())
def fetch(arguments: Namespace) -> int:
    """mirror the pinned data for machines without network: fetch data.root=DIR [tasks=[...]]"""
    from harness.core.benchmarks import load_benchmark
    from harness.core.config import compose_config
    from harness.data.mirror import fetch
    from harness.show.summaries import fetch_line

    config = compose_config(arguments.overrides)
    if not config.data.root:
        raise RequestError("fetch needs a folder to write: python -m harness fetch data.root=DIR [tasks=[TNews,STS]]")
    tasks = load_benchmark(config.benchmark).select(config.tasks)
    results = fetch(tasks, Path(config.data.root).expanduser(), on_task=lambda result: say(fetch_line(result)))
    return 1 if any(result.error for result in results) else 0


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


@command(overrides())
def lock(arguments: Namespace) -> int:
    """write a model's hub commit and the hash of its weights into its config: lock model=acge"""
    from harness.evaluate.encode.model.lock import lock_model

    say(lock_model(arguments.overrides))
    return 0


@command(overrides(), output_format)
def doctor(arguments: Namespace) -> int:
    """check what this machine has, and what `make reproduce` would do here"""
    from harness.evaluate.doctor import diagnose
    from harness.show.doctor import doctor_document

    diagnosis = diagnose(arguments.overrides)
    show(doctor_document(diagnosis), arguments.format)
    return 0 if diagnosis.healthy else 1


@command(option("word", nargs="?", metavar="WORD", help="only those with this word in their name or architecture"), output_format)
def models(arguments: Namespace) -> int:
    """print the models that model=NAME takes: kind, size, prompts, revision"""
    from harness.core.resources import config_names
    from harness.show.models import models_document

    show(models_document(arguments.word, config_names("model")), arguments.format)
    return 0


@command(output_format, BENCHMARK)
def tasks(arguments: Namespace) -> int:
    """print the benchmark's tasks: repository, revision, split, metrics"""
    from harness.core.benchmarks import DEFAULT, load_benchmark
    from harness.show.tasks import tasks_document

    show(tasks_document(load_benchmark(arguments.benchmark or DEFAULT)), arguments.format)
    return 0
