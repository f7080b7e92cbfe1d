"""The command `baseline`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, Group, benchmark_for, command, names, option, output_format, say, show

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
