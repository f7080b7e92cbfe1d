"""What a calibration measured."""

from __future__ import annotations

from dataclasses import asdict

from harness.core.benchmarks import Benchmark
from harness.evaluate.calibrate.measure import Calibrated
from harness.read.leaderboard import printed
from harness.show.form import Block, Column, Document, Grid, Sentences

_COLUMNS = (
    Column(title="Task", short="Task"),
    Column(title="Metric", short="Metric"),
    Column(title="Score", short="Score", numeric=True),
    Column(title="Rounding: tolerance", short="Rounding", numeric=True),
    Column(title="moved", short="moved"),
    Column(title="Seeds: sd", short="Seeds sd", numeric=True),
    Column(title="Sampling: sd", short="Sampling sd", numeric=True),
)


def calibration_document(calibrated: Calibrated, benchmark: Benchmark) -> Document:
    """The main metric of every task with its three floors, how rounding was measured, and what it took."""
    calibration, rows = calibrated.calibration, []
    for task in benchmark.tasks:
        noise = calibration.noise(task.name, task.main)
        if noise:
            rounding, seeds, sampling = noise.rounding, noise.seeds, noise.sampling
            rows.append(
                (
                    *(task.name, task.main, printed(noise.score)),
                    f"{rounding.tolerance:.3g}" if rounding else "",
                    f"{rounding.moved}/{rounding.draws}" if rounding else "",
                    f"{seeds.sd:.3g}" if seeds else "",
                    f"{sampling.sd:.3g}" if sampling else "",
                )
            )
    blocks: list[Block] = [Grid(_COLUMNS, tuple(rows)), Sentences(tuple(_scale_lines(calibrated)))]
    return Document(blocks=lambda: blocks, data=lambda: asdict(calibrated))


def _scale_lines(calibrated: Calibrated) -> list[str]:
    lines = []
    rounding = calibrated.calibration.provenance.get("rounding")
    if rounding:
        scale = rounding["scale"]
        shapes = ", ".join(f"{value:.2g} with {name}" for name, value in scale["to_other_batch_shapes"].items())
        lines.append(
            f"rounding: vectors are {scale['to_double_precision']:.2g} of their length from double precision ({scale['texts']} texts), "
            f"{shapes}; jittered by {scale['used']:.2g}"
        )
    lines.append(
        f"{calibrated.forwards:,} forward passes for vectors that were not in the store, {calibrated.measuring:,} to measure rounding"
    )
    return lines
