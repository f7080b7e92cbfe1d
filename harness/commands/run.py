"""The command `run`."""

from __future__ import annotations

import sys
from argparse import Namespace

from harness.commands.arguments import QUIET, command, overrides, say


@command(
    "run tasks: run gpu=a100 dtype=fp16 max_len=512 [tasks=[TNews,STS] model=... data=...]",
    overrides(),
    QUIET,
)
def call(arguments: Namespace) -> int:
    """Run tasks and show the scores."""
    from harness.core.config import check_request

    check_request(arguments.overrides)  # a typo is answered before torch is imported

    from harness.evaluate.here import resolve_here
    from harness.evaluate.runner import execute
    from harness.show.console import outcome_summary, show
    from harness.show.live import show_progress

    spec, device = resolve_here(arguments.overrides)
    with show_progress(quiet=arguments.quiet) as progress:
        outcome = execute(spec, device, progress)
    show(outcome_summary(spec, outcome))
    for name, message in outcome.failed.items():
        say(f"error: {name}: {message}", file=sys.stderr)
    return 1 if outcome.failed else 0
