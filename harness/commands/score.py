"""The command `score`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BASELINES, QUIET, command, names, option, output_format, overrides, show_outcome


@command(
    option("run", type=Path, metavar="RUN", help="a run folder; its vectors are taken from the store"),
    overrides(help="benchmark=NAME, results_dir=DIR, store=DIR, model.path=DIR, data.root=DIR, workers=N"),
    option("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="only these tasks or types (default: all of the benchmark)"),
    QUIET,
    output_format,
    BASELINES,
)
def score(arguments: Namespace) -> int:
    """score a run's stored vectors by another benchmark, without running the model: score RUN benchmark=cmn_v1 [store=DIR ...]"""
    from harness.core.run_files import read_manifest

    read_manifest(arguments.run)  # what is no run is named before torch is imported

    from harness.evaluate.rescore import rescore, rescored_spec
    from harness.show.live import show_progress

    spec = rescored_spec(arguments.run, arguments.overrides, tasks=arguments.tasks)
    with show_progress(quiet=arguments.quiet) as progress:
        outcome = rescore(arguments.run, spec, progress)
    return show_outcome(spec.benchmark, outcome, arguments)
