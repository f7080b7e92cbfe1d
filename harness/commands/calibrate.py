"""The command `calibrate`."""

import sys
from argparse import Namespace
from pathlib import Path

from harness.commands.arguments import command, names, option, output_format, overrides, say, show
from harness.core.formatting import amount


@command(
    option("run", type=Path, metavar="RUN", help="a run folder; its vectors are taken from the store"),
    overrides(help="store=DIR, model.path=DIR, data.root=DIR, workers=N"),
    option("--draws", type=int, default=20, metavar="N", help="how often each task is scored again, for rounding and for seeds (20)"),
    option("--parts", type=names, default="rounding,seeds,sampling", metavar="PART[,PART]", help="what to measure (all three)"),
    option("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="only these tasks or types (default: all of the run)"),
    option("-o", "--output", type=Path, metavar="FILE", help="where to write it (RUN/calibration.json)"),
    output_format,
)
def calibrate(arguments: Namespace) -> int:
    """measure how far a run's scores move by rounding, seeds and examples: calibrate RUN [store=DIR ...]"""
    from harness.core.calibration import CALIBRATION
    from harness.evaluate.calibrate.measure import calibrate
    from harness.evaluate.calibrate.request import check_parts
    from harness.show.calibration import calibration_document

    output = arguments.output or arguments.run / CALIBRATION
    calibrated = calibrate(
        arguments.run,
        arguments.overrides,
        draws=arguments.draws,
        parts=check_parts(arguments.parts),
        tasks=arguments.tasks,
        output=output,
        on_task=lambda task, noise: say(f"calibrated {task.name} ({amount(len(noise), 'metric')})", file=sys.stderr),
    )
    show(calibration_document(calibrated), arguments.format)
    say(f"written to {output}", file=sys.stderr)
    return 0
