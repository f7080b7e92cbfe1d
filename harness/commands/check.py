"""The command `check`."""

import os
import sys
from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, MERGE, benchmark_for, command, names, option, output_format, show
from harness.core.errors import RequestError


@command(
    option("baseline", type=Path, metavar="BASELINE", help="a run folder, such as one of results/baselines"),
    option("candidate", type=Path, metavar="CANDIDATE", help="the run to be checked"),
    option("--calibration", type=Path, metavar="FILE", help="the baseline's tolerances (BASELINE/calibration.json)"),
    option("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="only these tasks or types of the baseline"),
    option("--main-only", action="store_true", help="fail only for the metrics that the leaderboard averages"),
    option("--allow-unlike", action="store_true", help="compare runs that differ in protocol, data, model, dtype, length or dimension"),
    option("--worse-than", type=float, metavar="POINTS", help="for a new checkpoint: fail only where a task lost more than this"),
    option("--significant", action="store_true", help="for a new checkpoint: fail only where a loss is more than chance"),
    output_format,
    option("--junit", type=Path, metavar="FILE", help="also write a JUnit XML file"),
    MERGE,
    BENCHMARK,
)
def check(arguments: Namespace) -> int:
    """did a score drift? check BASELINE CANDIDATE; exit code 3 if one did, 2 if the runs can't be compared"""
    from harness.read.drift.check import check_folders
    from harness.show.ci import append_summary, workflow_commands, write_junit
    from harness.show.drift import drift_document
    from harness.show.streams import writing

    if arguments.significant or arguments.worse_than is not None:
        return _check_checkpoint(arguments)
    report = check_folders(
        arguments.baseline,
        arguments.candidate,
        benchmark_for(arguments, arguments.baseline, arguments.candidate),
        calibration=arguments.calibration,
        tasks=arguments.tasks,
        allow_unlike=arguments.allow_unlike,
        main_only=arguments.main_only,
        merge=arguments.merge,
    )
    show(drift_document(report), arguments.format)
    with writing(sys.stderr) as stderr:
        for line in workflow_commands(os.environ, report):
            print(line, file=stderr)  # GitHub is to obey these
    append_summary(os.environ, report)
    if arguments.junit:
        write_junit(arguments.junit, report)
    return report.exit_code


def _check_checkpoint(arguments: Namespace) -> int:
    from harness.read.drift.checkpoint import judge_checkpoint
    from harness.show.checkpoint import checkpoint_document

    others = ("calibration", "main_only", "allow_unlike", "junit")
    if wrong := [f"--{name.replace('_', '-')}" for name in others if getattr(arguments, name)]:
        raise RequestError(f"{' and '.join(wrong)} can't be combined with --worse-than or --significant: leave one of the two out")
    report = judge_checkpoint(
        arguments.baseline,
        arguments.candidate,
        benchmark_for(arguments, arguments.baseline, arguments.candidate),
        limit=arguments.worse_than,
        significant=arguments.significant,
        tasks=arguments.tasks,
        merge=arguments.merge,
    )
    show(checkpoint_document(report), arguments.format)
    return report.exit_code
