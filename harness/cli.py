"""The command line: `python -m harness COMMAND`. Parses, calls, prints; what is done is done elsewhere."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import HarnessError, RequestError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 ok, 1 failure, 2 bad request, 3 drift, 130 interrupted."""
    arguments = _parse(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: every finished task is kept, the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Options may stand among the KEY=VALUE arguments, where argparse alone would not take the ones that follow."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    if any(text.startswith("-") for text in rest) or (rest and not hasattr(arguments, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m harness", description="Reproduce C-MTEB scores, explain what moves them, guard them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run tasks: run gpu=a100 dtype=fp16 max_len=512 [tasks=[TNews,STS] model=... data=...]")
    run.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="a key of configs/config.yaml")
    run.add_argument("--quiet", action="store_true", help="no progress on stderr")
    run.set_defaults(command=_run)

    sweep = commands.add_parser("sweep", help="several values per key: sweep dtype=bf16,fp16 max_len=512,1024, or experiment=card")
    sweep.add_argument("overrides", nargs="*", metavar="KEY=VALUE[,VALUE...]", help="hydra/launcher=joblib runs jobs side by side")
    sweep.add_argument("--quiet", action="store_true", help="no progress on stderr")
    sweep.set_defaults(command=_sweep)

    tasks = commands.add_parser("tasks", help="print the benchmark's tasks: repository, revision, split, metrics")
    tasks.add_argument("--format", choices=("text", "json"), default="text")
    tasks.add_argument("--benchmark", default="cmteb35")
    tasks.set_defaults(command=_tasks)

    table = commands.add_parser("table", help="the leaderboard table of run folders")
    table.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a run folder, or a folder that holds some")
    table.add_argument("--format", choices=("text", "md", "csv", "json"), default="text")
    table.add_argument("--convention", default="cmteb", help="how scores are averaged")
    table.add_argument("--tasks", action="store_true", help="every task, not only the averages")
    table.add_argument("--against", type=Path, metavar="PATH", help="a run folder (a published one) to compare every row with")
    table.add_argument("--benchmark", default="cmteb35")
    table.set_defaults(command=_table)

    claims = commands.add_parser("claims", help="check a model card against itself, and --against a run: claims README.md")
    claims.add_argument("card", type=Path, metavar="CARD", help="the README.md of a model, or a folder of results")
    claims.add_argument("--against", type=Path, metavar="RUN", help="a run folder, published records, or mteb's own result files")
    claims.add_argument("--noise", type=Path, metavar="FILE", help="JSON {task: {metric: tolerance in points}}")
    claims.add_argument("--format", choices=("text", "md", "json"), default="text")
    claims.add_argument("--benchmark", default="cmteb35")
    claims.set_defaults(command=_claims)

    fetch = commands.add_parser("fetch", help="mirror the pinned data for machines without network: fetch data.root=DIR [tasks=[...]]")
    fetch.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    fetch.set_defaults(command=_fetch)

    store = commands.add_parser("store", help="the vectors that runs share: info; verify reads all of them; prune deletes")
    store.add_argument("action", choices=("info", "verify", "prune"))
    store.add_argument("--path", type=Path, default=Path("store"), metavar="DIR", help="the folder that runs name with store= (store)")
    store.add_argument("--model", metavar="NAME", help="prune: all vectors of the model")
    store.add_argument("--unused-days", type=float, metavar="N", help="prune: vectors that no run has opened for N days")
    store.set_defaults(command=_store)

    lock = commands.add_parser("lock", help="write a model's hub commit and the hash of its weights into its config: lock model=acge")
    lock.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    lock.set_defaults(command=_lock)

    doctor = commands.add_parser("doctor", help="what this machine has, and what `make reproduce` would do here")
    doctor.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    doctor.set_defaults(command=_doctor)

    reproduce = commands.add_parser("reproduce", help="the published table, the self-check on the sample, the rows this device can do")
    reproduce.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="where the model and the data are")
    reproduce.set_defaults(command=_reproduce)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from harness.config import resolve_run
    from harness.console import outcome_summary
    from harness.encoding.device import describe_device, find_device
    from harness.progress import show_progress
    from harness.runner import device_label, execute

    device = find_device()
    info = describe_device(device)
    spec = resolve_run(arguments.overrides, device_name=device_label(info), device_memory_gib=info.memory_gib)
    with show_progress(sample=spec.data.source == "sample", quiet=arguments.quiet) as progress:
        outcome = execute(spec, device, progress)
    print(outcome_summary(spec, outcome))
    for name, message in outcome.failed.items():
        print(f"error: {name}: {message}", file=sys.stderr)
    return 1 if outcome.failed else 0


def _sweep(arguments: argparse.Namespace) -> int:
    from harness.console import sweep_summary
    from harness.sweep import sweep

    jobs = sweep(arguments.overrides, quiet=arguments.quiet)
    print(sweep_summary(jobs))
    return 1 if any(job.error or job.failed for job in jobs) else 0


def _tasks(arguments: argparse.Namespace) -> int:
    from harness.benchmark import load_benchmark
    from harness.listing import tasks_json, tasks_text

    benchmark = load_benchmark(arguments.benchmark)
    print(json.dumps(tasks_json(benchmark), ensure_ascii=False, indent=2) if arguments.format == "json" else tasks_text(benchmark))
    return 0


def _table(arguments: argparse.Namespace) -> int:
    from harness.benchmark import load_benchmark
    from harness.leaderboard import load_rows
    from harness.rendering import table

    benchmark = load_benchmark(arguments.benchmark)
    runs = load_rows(arguments.paths, benchmark)
    against = load_rows([arguments.against], benchmark) if arguments.against else []
    if len(against) > 1:
        raise RequestError(f"--against {arguments.against} holds {len(against)} runs: name one of them")
    print(
        table(
            runs,
            benchmark,
            convention=arguments.convention,
            format=arguments.format,
            tasks=arguments.tasks,
            against=against[0] if against else None,
        )
    )
    return 0


def _claims(arguments: argparse.Namespace) -> int:
    from harness.claims.report import claims_report, render_claims

    report = claims_report(arguments.card, against=arguments.against, noise=arguments.noise, benchmark=arguments.benchmark)
    print(render_claims(report, arguments.format))
    return report.exit_code


def _fetch(arguments: argparse.Namespace) -> int:
    from harness.benchmark import load_benchmark
    from harness.config import compose_config
    from harness.console import fetch_line
    from harness.data.mirror import fetch

    config = compose_config(arguments.overrides)
    if not config.data.root:
        raise RequestError("fetch needs a folder to write: python -m harness fetch data.root=DIR [tasks=[TNews,STS]]")
    tasks = load_benchmark(config.benchmark).select(config.tasks)
    results = fetch(tasks, Path(config.data.root).expanduser(), on_task=lambda result: print(fetch_line(result), flush=True))
    return 1 if any(result.error for result in results) else 0


def _store(arguments: argparse.Namespace) -> int:
    from harness.console import pruned_summary, store_summary
    from harness.encoding.store import VectorStore

    if not arguments.path.is_dir():
        raise RequestError(f"no vector store at {arguments.path}: runs make one where store= says; name it with --path DIR")
    store = VectorStore(arguments.path)
    if arguments.action == "prune":
        print(pruned_summary(store.prune(model=arguments.model, unused_days=arguments.unused_days)))
        return 0
    damaged = store.verify() if arguments.action == "verify" else []
    print(store_summary(store.info(), damaged, verified=arguments.action == "verify"))
    return 1 if damaged else 0


def _lock(arguments: argparse.Namespace) -> int:
    from harness.locking import lock_model

    print(lock_model(arguments.overrides))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from harness.doctor import diagnose

    report, healthy = diagnose(arguments.overrides)
    print(report)
    return 0 if healthy else 1


def _reproduce(arguments: argparse.Namespace) -> int:
    from harness.reproduce import reproduce

    return reproduce(arguments.overrides)
