"""Check a run against a baseline."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from harness.commands.arguments import Commands, add_benchmark, names


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("check", help="did a score drift? check BASELINE CANDIDATE; exit code 3 if one did, 2 if they are unlike")
    parser.add_argument("baseline", type=Path, metavar="BASELINE", help="a run folder, such as one of results/baselines")
    parser.add_argument("candidate", type=Path, metavar="CANDIDATE", help="the run to be checked")
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="the baseline's tolerances (BASELINE/calibration.json)")
    parser.add_argument("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="only these tasks or types of the baseline")
    parser.add_argument("--main-only", action="store_true", help="only the metrics that the leaderboard averages close the gate")
    parser.add_argument("--allow-unlike", action="store_true", help="compare across protocol, data, model, dtype, length or dimension")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML, too")
    add_benchmark(parser)
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.read.drift.check import check_folders
    from harness.show.ci import append_summary, workflow_commands, write_junit
    from harness.show.drift import drift_document
    from harness.show.form import write_document

    report = check_folders(
        arguments.baseline,
        arguments.candidate,
        load_benchmark(arguments.benchmark),
        calibration=arguments.calibration,
        tasks=arguments.tasks,
        allow_unlike=arguments.allow_unlike,
        main_only=arguments.main_only,
    )
    print(write_document(drift_document(report), "json" if arguments.json else "text"))
    for line in workflow_commands(os.environ, report):
        print(line, file=sys.stderr)
    append_summary(os.environ, report)
    if arguments.junit:
        write_junit(arguments.junit, report)
    return report.exit_code
