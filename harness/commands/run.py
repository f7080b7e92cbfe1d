"""The command `run`."""

from __future__ import annotations

import sys
from argparse import Namespace

from harness.commands.arguments import BASELINES, QUIET, command, output_format, overrides, say
from harness.core.words import of_task


@command(
    "run tasks: run gpu=a100 dtype=fp16 max_len=512 [tasks=[TNews,STS] model=... data=...]",
    overrides(),
    QUIET,
    output_format,
    BASELINES,
)
def call(arguments: Namespace) -> int:
    """Run tasks and show the scores."""
    from harness.core.config import check_request, device_matches

    check_request(arguments.overrides)  # a typo is answered before torch is imported

    from harness.evaluate.encode.device import describe_device
    from harness.evaluate.here import resolve_here
    from harness.evaluate.runner import execute
    from harness.show.console import show
    from harness.show.form import write_document
    from harness.show.live import show_progress
    from harness.show.outcome import outcome_document

    spec, device = resolve_here(arguments.overrides)
    if not device_matches(spec.gpu, (info := describe_device(device)).label, info.memory_gib):
        from harness.evaluate.plan.planning import make_plan
        from harness.show.plan import mismatch_line

        if line := mismatch_line(make_plan(arguments.overrides).runs[0], info.label):
            say(line, file=sys.stderr)
    with show_progress(quiet=arguments.quiet) as progress:
        outcome = execute(spec, device, progress)
    show(write_document(outcome_document(spec.benchmark, outcome, baselines=arguments.baselines), arguments.format))
    for name, message in outcome.failed.items():
        say(f"error: {of_task(name, message)}", file=sys.stderr)
    return 1 if outcome.failed else 0
