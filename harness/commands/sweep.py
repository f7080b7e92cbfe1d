"""The command `sweep`."""

import sys
from argparse import Namespace

from harness.commands.arguments import QUIET, command, option, output_format, overrides, say, show


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
    from harness.evaluate.sweep import no_view, sweep
    from harness.show.live import show_progress
    from harness.show.summaries import sweep_document

    if not any(text.startswith("hydra/launcher=") for text in arguments.overrides):  # which may run the jobs elsewhere
        for line in mismatch_lines(arguments.overrides):
            say(line, file=sys.stderr)
    jobs = sweep(arguments.overrides, view=no_view if arguments.quiet else show_progress, shards=arguments.shards)
    show(sweep_document(jobs), arguments.format)
    return 1 if any(job.error or job.failed for job in jobs) else 0
