"""Measure how much a run's scores move on their own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.commands.arguments import Commands, names


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("calibrate", help="measure by how much a run's scores move on their own: calibrate RUN [store=DIR ...]")
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder; its vectors are taken from the store")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="store=DIR, model.path=DIR, data.root=DIR, workers=N")
    parser.add_argument("--draws", type=int, default=20, metavar="N", help="re-scorings per task for rounding, and for seeds")
    parser.add_argument("--parts", type=names, default="rounding,seeds,sampling", metavar="PART[,PART]", help="which floors to measure")
    parser.add_argument("--tasks", type=names, default=[], metavar="TASK[,TASK]", help="tasks or types, not all of the run")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to write it (RUN/calibration.json)")
    parser.set_defaults(command=_call)


def _call(arguments: argparse.Namespace) -> int:
    from harness.core.benchmark import load_benchmark
    from harness.core.calibration import CALIBRATION, write_calibration
    from harness.evaluate.calibrate.measure import calibrate, check_parts
    from harness.show.calibration import calibration_document
    from harness.show.text import render_text

    calibrated = calibrate(
        arguments.run,
        arguments.overrides,
        draws=arguments.draws,
        parts=check_parts(arguments.parts),
        tasks=arguments.tasks,
        on_task=lambda task, noise: print(f"calibrated {task.name} ({len(noise)} metrics)", file=sys.stderr, flush=True),
    )
    output = arguments.output or arguments.run / CALIBRATION
    write_calibration(output, calibrated.calibration)
    print(f"{render_text(calibration_document(calibrated, load_benchmark(calibrated.benchmark)))}\nwritten to {output}")
    return 0
