"""Accept and list baselines."""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.arguments import Commands, add_benchmark, names


def add_parser(commands: Commands) -> None:
    """Add the command."""
    baseline = commands.add_parser("baseline", help="the runs that others are checked against: accept RUN --why TEXT, list")
    actions = baseline.add_subparsers(required=True, metavar="ACTION")
    accept = actions.add_parser("accept", help="copy a complete run to results/baselines and log the reason")
    accept.add_argument("run", type=Path, metavar="RUN", help="a run folder, calibrated at best")
    accept.add_argument("--why", required=True, metavar="TEXT", help="the reason, for the log")
    accept.add_argument("--name", metavar="NAME", help="the baseline's folder below the model's (that of the run)")
    accept.add_argument("--to", type=Path, default=Path("results/baselines"), metavar="DIR")
    accept.add_argument("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="what it is to cover, not the whole benchmark")
    add_benchmark(accept)
    accept.set_defaults(command=_accept)
    listing = actions.add_parser("list", help="the baselines, and who accepted them why")
    listing.add_argument("--to", type=Path, default=Path("results/baselines"), metavar="DIR")
    add_benchmark(listing)
    listing.set_defaults(command=_baselines)


def _accept(arguments: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from harness.core.benchmark import load_benchmark
    from harness.core.environment import git_user
    from harness.read.drift.baselines import accept_baseline
    from harness.read.leaderboard import one_run
    from harness.show.baselines import accepted_lines
    from harness.show.drift import drift_document
    from harness.show.text import render_text

    benchmark = load_benchmark(arguments.benchmark)
    accepted = accept_baseline(
        one_run(arguments.run, benchmark),
        benchmark,
        to=arguments.to,
        why=arguments.why,
        who=git_user(),
        when=datetime.now(tz=UTC),
        name=arguments.name,
        tasks=arguments.tasks,
    )
    if accepted.changes:
        print(f"{render_text(drift_document(accepted.changes))}\n")
    print("\n".join(accepted_lines(accepted)))
    return 0


def _baselines(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.drift.baselines import list_baselines
    from harness.show.baselines import listed_lines

    listed = list_baselines(arguments.to, load_benchmark(arguments.benchmark))
    print("\n".join(listed_lines(listed)))
    return 1 if any(each.problem for each in listed) else 0
