"""The commands of the gate: `calibrate`, `check`, `probe`, `baseline`."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, MERGE, Group, benchmark_for, command, names, option, output_format, overrides, say, show
from harness.core.errors import InputError, RequestError
from harness.core.formatting import amount


@command(
    option("run", type=Path, metavar="RUN", help="a run folder; its vectors are taken from the store"),
    overrides(help="store=DIR, model.path=DIR, data.root=DIR, workers=N"),
    option("--draws", type=int, default=20, metavar="N", help="how often each task is scored again, for rounding and for seeds (20)"),
    option("--parts", type=names, default="rounding,seeds,sampling", metavar="PART[,PART]", help="what to measure (all three)"),
    option("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="only these tasks or types (default: all of the run)"),
    option("-o", "--output", type=Path, metavar="FILE", help="where to write it (RUN/calibration.json)"),
)
def calibrate(arguments: Namespace) -> int:
    """measure how far a run's scores move by rounding, seeds and examples: calibrate RUN [store=DIR ...]"""
    from harness.core.calibration import CALIBRATION, write_calibration
    from harness.evaluate.calibrate.measure import calibrate
    from harness.evaluate.calibrate.request import check_output, check_parts
    from harness.show.calibration import calibration_document

    output = arguments.output or arguments.run / CALIBRATION
    check_output(output, arguments.run, parts=check_parts(arguments.parts), tasks=arguments.tasks)
    calibrated = calibrate(
        arguments.run,
        arguments.overrides,
        draws=arguments.draws,
        parts=check_parts(arguments.parts),
        tasks=arguments.tasks,
        on_task=lambda task, noise: say(f"calibrated {task.name} ({amount(len(noise), 'metric')})", file=sys.stderr),
    )
    write_calibration(output, calibrated.calibration)
    show(calibration_document(calibrated))
    say(f"written to {output}")
    return 0


@command(
    option("baseline", type=Path, metavar="BASELINE", help="a run folder, such as one of results/baselines"),
    option("candidate", type=Path, metavar="CANDIDATE", help="the run to be checked"),
    option("--calibration", type=Path, metavar="FILE", help="the baseline's tolerances (BASELINE/calibration.json)"),
    option("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="only these tasks or types of the baseline"),
    option("--main-only", action="store_true", help="fail only for the metrics that the leaderboard averages"),
    option("--allow-unlike", action="store_true", help="compare runs that differ in protocol, data, model, dtype, length or dimension"),
    option("--worse-than", type=float, metavar="POINTS", help="for a new checkpoint: fail only where a task lost more than this"),
    option("--significant", action="store_true", help="for a new checkpoint: fail only where a loss is more than chance"),
    option("--json", action="store_true", help="print JSON"),
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
    show(drift_document(report), "json" if arguments.json else "text")
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
    show(checkpoint_document(report), "json" if arguments.json else "text")
    return report.exit_code


@command(
    option("baseline", type=Path, metavar="BASELINE", help="a run folder with canary.json, such as one of results/baselines"),
    overrides(help="model.path=DIR"),
    option("--json", action="store_true", help="print JSON"),
    BENCHMARK,
)
def probe(arguments: Namespace) -> int:
    """does this machine, with this code, still encode as the baseline's did? Takes seconds and runs no task; exit code 3 if not"""
    from harness.core.calibration import run_calibration
    from harness.core.fingerprint import Fingerprint
    from harness.core.run_files import CANARY
    from harness.core.sketch import read_sketch
    from harness.read.drift.vectors import compare_vectors
    from harness.read.runs import one_run

    benchmark = benchmark_for(arguments, arguments.baseline)
    run = one_run(arguments.baseline, benchmark)
    before = read_sketch(run.path, run.manifest)
    if before is None:
        raise InputError(f"{run.path} has no {CANARY}: make the baseline again, with canary=on")
    calibration = run_calibration(run, benchmark)

    from harness.evaluate.probe import probe_model  # imports torch, so what can't be compared is named first
    from harness.show.vectors import probe_document

    probed = probe_model(run.path, arguments.overrides)
    found = compare_vectors(before, probed.sketch, (run.manifest.model or Fingerprint(), probed.setting), calibration)
    if isinstance(found, str):
        raise InputError(f"{run.path}: {found}")
    show(probe_document(run.path, found, texts=len(before.numbers), seconds=probed.seconds), "json" if arguments.json else "text")
    return 3 if found.drifted else 0


_TO = option("--to", type=Path, default=Path("results/baselines"), metavar="DIR", help="the folder of baselines (results/baselines)")


@command(
    option("run", type=Path, metavar="RUN", help="a run folder, calibrated"),
    option("--why", required=True, metavar="TEXT", help="the reason, for the log"),
    option("--name", metavar="NAME", help="the name of the baseline, a folder below the model's (default: that of the run folder)"),
    _TO,
    option("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="the tasks that it covers (default: the whole benchmark)"),
    option("--uncalibrated", action="store_true", help="accept a run without calibration.json: only identical scores will pass"),
    BENCHMARK,
)
def _accept(arguments: Namespace) -> int:
    """copy a complete run to results/baselines and log the reason"""
    from datetime import UTC, datetime

    from harness.core.baselines import write_baseline
    from harness.core.environment import git_user
    from harness.read.drift.baselines import plan_promotion
    from harness.read.runs import one_run
    from harness.show.baselines import accepted_lines
    from harness.show.drift import drift_document

    benchmark = benchmark_for(arguments, arguments.run)
    run = one_run(arguments.run, benchmark)
    accepted = plan_promotion(
        run,
        benchmark,
        to=arguments.to,
        why=arguments.why,
        who=git_user(),
        when=datetime.now(tz=UTC),
        name=arguments.name,
        tasks=arguments.tasks,
        uncalibrated=arguments.uncalibrated,
    )
    write_baseline(run.path, arguments.to, tasks=accepted.tasks, entry=accepted.entry)
    if accepted.changes:
        show(drift_document(accepted.changes))
        say("")
    say("\n".join(accepted_lines(accepted, arguments.to / accepted.entry.baseline)))
    return 0


@command(_TO, BENCHMARK, output_format)
def _list(arguments: Namespace) -> int:
    """list the baselines: who accepted each, when and why"""
    from harness.read.drift.baselines import list_baselines
    from harness.show.baselines import listed_document

    listed = list_baselines(arguments.to, arguments.benchmark)
    show(listed_document(listed), arguments.format)
    return 1 if any(each.problem for each in listed) else 0


baseline = Group("baseline", "runs to check other runs against: accept RUN --why TEXT, list", "ACTION", (_accept, _list))
