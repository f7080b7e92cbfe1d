"""What a calibration measured."""

from harness.core.typed import plain
from harness.evaluate.calibrate.floors import expected_false_alarms
from harness.evaluate.calibrate.measure import Calibrated
from harness.read.leaderboard import printed
from harness.show.form import Column, Document, Sentences, grid, table_columns

_COLUMNS = table_columns(
    *("Task", "Metric", Column("Score", numeric=True), Column("Rounding: tolerance", "Rounding", numeric=True), "moved"),
    *(Column("Seeds: sd", "Seeds sd", numeric=True), Column("Sampling: sd", "Sampling sd", numeric=True)),
)


def calibration_document(calibrated: Calibrated) -> Document:
    """The main metric of every task with its three floors, how rounding was measured, and what it took."""
    rows = []
    for task in calibrated.benchmark.tasks:
        if noise := calibrated.calibration.noise(task.name, task.main):
            rounding = noise.rounding
            tolerance = (f"{rounding.tolerance:.3g}", f"{rounding.moved}/{rounding.draws}") if rounding else ("", "")
            deviations = (f"{floor.sd:.3g}" if floor else "" for floor in (noise.seeds, noise.sampling))
            rows.append((task.name, task.main, printed(noise.score), *tolerance, *deviations))
    blocks = (grid(_COLUMNS, rows), Sentences(tuple(_scale_lines(calibrated))))
    return Document(blocks=lambda: blocks, data=lambda: plain(calibrated.calibration))


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
        metrics = sum(noise.rounding is not None for task in calibrated.calibration.tasks.values() for noise in task.values())
        alarms = expected_false_alarms(rounding["draws"], metrics)
        lines.append(f"a check under other kernels raises {alarms:.1g} false alarms ({metrics} metrics, {rounding['draws']} draws)")
    lines.append(
        f"{calibrated.forwards:,} forward passes for vectors that were not in the store, {calibrated.measuring:,} to measure rounding"
    )
    return lines
