"""The command `run`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.commands.arguments import BASELINES, QUIET, command, output_format, overrides, say, show_outcome
from harness.core.errors import RequestError

if TYPE_CHECKING:
    from harness.core.spec import RunSpec
    from harness.evaluate.prepared import Outcome


@command(overrides(), QUIET, output_format, BASELINES)
def run(arguments: Namespace) -> int:
    """run tasks: run gpu=a100 dtype=fp16 max_len=512 [tasks=[TNews,STS] model=... data=...]"""
    from harness.core.config import expand_sweep, resolve_request

    resolve_request(arguments.overrides)  # a typo is answered before torch is imported, and so is a run that is finished
    if any(text.startswith("experiment=") for text in arguments.overrides) and len(expand_sweep(arguments.overrides)) > 1:
        raise RequestError("an experiment has several runs: give it to `python -m harness sweep`, or name one of them (row=fp16_512)")

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
