"""The commands that encode or score: `run`, `sweep`, `encode`, `score`, `plan`, `reproduce`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.arguments import (
    BASELINES,
    QUIET,
    command,
    name_failed,
    names,
    option,
    output_format,
    overrides,
    say,
    show,
    show_outcome,
)

if TYPE_CHECKING:
    from harness.core.spec import RunSpec
    from harness.evaluate.prepared import Outcome


@command(overrides(), QUIET, output_format, BASELINES)
def run(arguments: Namespace) -> int:
    """run tasks: run gpu=a100 dtype=fp16 max_len=512 [tasks=[TNews,STS] model=... data=...]"""
    from harness.core.config import resolve_request

    resolve_request(arguments.overrides)  # a typo is answered before torch is imported, and so is a run that is finished

    from harness.evaluate.prepared import finished_run

    finished = finished_run(arguments.overrides)
    spec, outcome = (finished.spec, finished.outcome()) if finished else _run(arguments.overrides, quiet=arguments.quiet)
    return show_outcome(spec.benchmark, outcome, arguments)


def _run(overrides: Sequence[str], *, quiet: bool) -> tuple[RunSpec, Outcome]:
    from harness.evaluate.here import resolve_here
    from harness.evaluate.plan.planning import mismatch_lines
    from harness.evaluate.runner import execute
    from harness.show.live import show_progress

    spec, device = resolve_here(overrides)
    for line in mismatch_lines(overrides):
        say(line, file=sys.stderr)
    with show_progress(quiet=quiet) as progress:
        return spec, execute(spec, device, progress)


@command(
    overrides(
        "KEY=VALUE[,VALUE...]", help="settings, listed below; hydra/launcher=joblib runs jobs side by side, slurm and ray on a cluster"
    ),
    option("--shards", type=int, default=1, metavar="N", help="encode each run in N jobs, and score it in one more"),
    QUIET,
    output_format,
)
def sweep(arguments: Namespace) -> int:
    """run several values per key: sweep dtype=bf16,fp16 max_len=512,1024, or experiment=card"""
    from harness.core.config import check_overrides

    check_overrides(arguments.overrides, sweep=True)  # a typo is answered before torch is imported

    from harness.evaluate.plan.planning import mismatch_lines
    from harness.evaluate.sweep import sweep
    from harness.show.live import show_progress
    from harness.show.summaries import sweep_document

    if not any(text.startswith("hydra/launcher=") for text in arguments.overrides):  # which may run the jobs elsewhere
        for line in mismatch_lines(arguments.overrides):
            say(line, file=sys.stderr)
    jobs = sweep(arguments.overrides, view=lambda title: show_progress(quiet=arguments.quiet, title=title), shards=arguments.shards)
    show(sweep_document(jobs), arguments.format)
    return 1 if any(job.error or job.failed for job in jobs) else 0


@command(overrides(help="what `run` takes, and shard=I/N"), QUIET)
def encode(arguments: Namespace) -> int:
    """encode one part of a run's texts into the store: encode shard=3/16 gpu=a100 dtype=fp16"""
    from harness.core.config import resolve_request

    resolve_request(arguments.overrides)  # a typo is answered before torch is imported

    from harness.evaluate.here import resolve_here
    from harness.evaluate.parts import encode_part
    from harness.show.live import show_progress
    from harness.show.summaries import part_document

    spec, device = resolve_here(arguments.overrides)
    with show_progress(quiet=arguments.quiet) as progress:
        part = encode_part(spec, device, progress)
    show(part_document(part))
    return name_failed(part.failed)


@command(
    option("run", type=Path, metavar="RUN", help="a run folder; its vectors are taken from the store"),
    overrides(help="benchmark=NAME, results_dir=DIR, store=DIR, model.path=DIR, data.root=DIR, workers=N"),
    option("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="only these tasks or types (default: all of the benchmark)"),
    QUIET,
    output_format,
    BASELINES,
)
def score(arguments: Namespace) -> int:
    """score a run's stored vectors by another benchmark, without running the model: score RUN benchmark=cmn_v1 [store=DIR ...]"""
    from harness.core.run_files import read_manifest

    read_manifest(arguments.run)  # what is no run is named before torch is imported

    from harness.evaluate.rescore import rescore, rescored_spec
    from harness.show.live import show_progress

    spec = rescored_spec(arguments.run, arguments.overrides, tasks=arguments.tasks)
    with show_progress(quiet=arguments.quiet) as progress:
        outcome = rescore(arguments.run, spec, progress)
    return show_outcome(spec.benchmark, outcome, arguments)


@command(
    overrides("KEY=VALUE[,VALUE...]"),
    option("--json", action="store_true", help="print JSON, with every figure"),
    QUIET,
)
def plan(arguments: Namespace) -> int:
    """estimate what a run or a sweep will cost; takes the same settings, and writes nothing"""
    from harness.core.config import expand_sweep

    expand_sweep(arguments.overrides)  # a typo is answered before torch is imported

    from harness.evaluate.plan.planning import make_plan
    from harness.show.live import show_step
    from harness.show.plan import plan_document

    with show_step(quiet=arguments.quiet) as on_step:
        plan = make_plan(arguments.overrides, on_step=on_step)
    show(plan_document(plan), "json" if arguments.json else "text")
    return 0


@command(overrides(help="where the model and the data are"), QUIET)
def reproduce(arguments: Namespace) -> int:
    """rebuild the published table, check the installation on the sample, run the card's rows that this device can run"""
    from harness.core.config import resolve_request

    resolve_request(arguments.overrides)  # a typo is answered before the sample is run

    from harness.commands.stages import reproduce

    return reproduce(arguments.overrides, quiet=arguments.quiet)
