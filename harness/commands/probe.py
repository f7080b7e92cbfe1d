"""The command `probe`."""

from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import BENCHMARK, benchmark_for, command, option, output_format, overrides, show
from harness.core.errors import InputError


@command(
    option("baseline", type=Path, metavar="BASELINE", help="a run folder with canary.json, such as one of results/baselines"),
    overrides(help="model.path=DIR"),
    output_format,
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
        raise InputError(f"{run.path} has no {CANARY}: name a run of this harness that was made with canary=on")
    calibration = run_calibration(run, benchmark)

    from harness.evaluate.probe import probe_model  # imports torch, so what can't be compared is named first
    from harness.show.drift import probe_document

    probed = probe_model(run.path, arguments.overrides)
    found = compare_vectors(before, probed.sketch, (run.manifest.model or Fingerprint(), probed.setting), calibration)
    if isinstance(found, str):
        raise InputError(f"{run.path}: {found}")
    show(probe_document(run.path, found, texts=len(before.numbers), seconds=probed.seconds), arguments.format)
    return 3 if found.drifted else 0
