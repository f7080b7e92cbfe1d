"""Run several settings."""

from __future__ import annotations

import argparse

from harness.commands.arguments import Commands, add_quiet


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("sweep", help="several values per key: sweep dtype=bf16,fp16 max_len=512,1024, or experiment=card")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE[,VALUE...]", help="hydra/launcher=joblib runs jobs side by side")
    add_quiet(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.evaluate.sweep import sweep
    from harness.show.console import show, sweep_summary
    from harness.show.live import show_progress

    jobs = sweep(arguments.overrides, view=lambda title: show_progress(quiet=arguments.quiet, title=title))
    show(sweep_summary(jobs))
    return 1 if any(job.error or job.failed for job in jobs) else 0
