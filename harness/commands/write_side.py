"""The commands that compute: run, sweep, fetch, lock, reproduce and what looks at the machine and the store."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from harness.core.errors import RequestError


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Enter them into the parser."""
    run = commands.add_parser("run", help="run tasks: run gpu=a100 dtype=fp16 max_len=512 [tasks=[TNews,STS] model=... data=...]")
    run.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="a key of configs/config.yaml")
    run.add_argument("--quiet", action="store_true", help="no progress on stderr")
    run.set_defaults(command=_run)

    sweep = commands.add_parser("sweep", help="several values per key: sweep dtype=bf16,fp16 max_len=512,1024, or experiment=card")
    sweep.add_argument("overrides", nargs="*", metavar="KEY=VALUE[,VALUE...]", help="hydra/launcher=joblib runs jobs side by side")
    sweep.add_argument("--quiet", action="store_true", help="no progress on stderr")
    sweep.set_defaults(command=_sweep)

    calibrate = commands.add_parser("calibrate", help="measure by how much a run's scores move on their own: calibrate RUN [store=DIR ...]")
    calibrate.add_argument("run", type=Path, metavar="RUN", help="a run folder; its vectors are taken from the store")
    calibrate.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="store=DIR, model.path=DIR, data.root=DIR, workers=N")
    calibrate.add_argument("--draws", type=int, default=20, metavar="N", help="re-scorings per task for rounding, and for seeds")
    calibrate.add_argument("--parts", type=_names, default="rounding,seeds,sampling", metavar="PART[,PART]", help="which floors to measure")
    calibrate.add_argument("--tasks", type=_names, default=[], metavar="TASK[,TASK]", help="tasks or types, not all of the run")
    calibrate.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write it (RUN/calibration.json)")
    calibrate.set_defaults(command=_calibrate)

    plan = commands.add_parser("plan", help="what a run or a sweep will cost, before it does; takes what they take, and writes nothing")
    plan.add_argument("overrides", nargs="*", metavar="KEY=VALUE[,VALUE...]", help="plan gpu=a100 dtype=fp16 max_len=512,1024")
    plan.add_argument("--json", action="store_true", help="every figure, for programs")
    plan.add_argument("--quiet", action="store_true", help="no progress on stderr")
    plan.set_defaults(command=_plan)

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
    reproduce.add_argument("--quiet", action="store_true", help="no progress on stderr")
    reproduce.set_defaults(command=_reproduce)


def _run(arguments: argparse.Namespace) -> int:
    from harness.run.here import resolve_here
    from harness.run.progress import show_progress
    from harness.run.runner import execute
    from harness.show.console import outcome_summary, show

    spec, device = resolve_here(arguments.overrides)
    with show_progress(quiet=arguments.quiet) as progress:
        outcome = execute(spec, device, progress)
    show(outcome_summary(spec, outcome))
    for name, message in outcome.failed.items():
        print(f"error: {name}: {message}", file=sys.stderr)
    return 1 if outcome.failed else 0


def _sweep(arguments: argparse.Namespace) -> int:
    from harness.run.sweep import sweep
    from harness.show.console import show, sweep_summary

    jobs = sweep(arguments.overrides, quiet=arguments.quiet)
    show(sweep_summary(jobs))
    return 1 if any(job.error or job.failed for job in jobs) else 0


def _names(text: str) -> list[str]:
    """What an option with several values takes: one word, so that none of the arguments behind it is taken for a further value."""
    return text.split(",")


def _calibrate(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.core.calibration import CALIBRATION, write_calibration
    from harness.run.calibrate.measure import calibrate, check_parts
    from harness.show.calibration import calibrated_summary

    calibrated = calibrate(
        arguments.run,
        arguments.overrides,
        draws=arguments.draws,
        parts=check_parts(arguments.parts),
        tasks=arguments.tasks,
        on_task=lambda task, noise: print(f"calibrated {task.name} ({len(noise)} metrics)", file=sys.stderr, flush=True),
    )
    output = arguments.output or arguments.run / CALIBRATION
    write_calibration(output, calibrated.calibration)
    print(f"{calibrated_summary(calibrated, load_benchmark(calibrated.benchmark))}\nwritten to {output}")
    return 0


def _plan(arguments: argparse.Namespace) -> int:
    from harness.run.plan.planning import make_plan
    from harness.run.progress import show_step
    from harness.show.plan import plan_json, plan_text

    with show_step(quiet=arguments.quiet) as on_step:
        plan = make_plan(arguments.overrides, on_step=on_step)
    print(json.dumps(plan_json(plan), indent=2, ensure_ascii=False, allow_nan=False) if arguments.json else plan_text(plan))
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.core.config import compose_config
    from harness.data.mirror import fetch
    from harness.show.console import fetch_line

    config = compose_config(arguments.overrides)
    if not config.data.root:
        raise RequestError("fetch needs a folder to write: python -m harness fetch data.root=DIR [tasks=[TNews,STS]]")
    tasks = load_benchmark(config.benchmark).select(config.tasks)
    results = fetch(tasks, Path(config.data.root).expanduser(), on_task=lambda result: print(fetch_line(result), flush=True))
    return 1 if any(result.error for result in results) else 0


def _store(arguments: argparse.Namespace) -> int:
    from harness.run.encode.store import VectorStore
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


def _lock(arguments: argparse.Namespace) -> int:
    from harness.commands.lock import lock_model

    print(lock_model(arguments.overrides))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from harness.commands.doctor import diagnose

    report, healthy = diagnose(arguments.overrides)
    print(report)
    return 0 if healthy else 1


def _reproduce(arguments: argparse.Namespace) -> int:
    from harness.commands.reproduce import reproduce

    return reproduce(arguments.overrides, quiet=arguments.quiet)
