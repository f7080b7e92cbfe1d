"""What a calibration is asked for: which floors of which tasks, from how many draws, into which file; what can't be done is refused."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from harness.core.benchmarks import Benchmark
from harness.core.calibration import Calibration, run_calibration
from harness.core.errors import InputError, MachineError, RequestError, unknown
from harness.core.formatting import few, shell_command
from harness.core.records import Run
from harness.core.run_files import MANIFEST, benchmark_of, read_manifest, read_run
from harness.core.tasks import TaskSpec
from harness.evaluate.calibrate.floors import expected_false_alarms
from harness.evaluate.rebuilt import NOT_OURS

FloorName = Literal["rounding", "seeds", "sampling"]
PARTS: tuple[FloorName, ...] = get_args(FloorName)

FEWEST = 5
"""Draws of rounding below which every third check of C-MTEB raises a false alarm, or more."""


def check_draws(draws: int, parts: Sequence[FloorName]) -> None:
    """Refuse too few: of a spread, and of a tolerance whose gate would often close with nothing wrong."""
    if draws < 3:
        raise RequestError(f"--draws {draws}: a spread needs at least 3, a tolerance {FEWEST}; more draws make it tighter (20)")
    if "rounding" in parts and draws < FEWEST:
        raise RequestError(
            f"--draws {draws}: a gate with so few raises {expected_false_alarms(draws):.1g} false alarms in a check of 370 metrics "
            f"under other kernels (20 draws: {expected_false_alarms(20):.1g}). Give at least {FEWEST}, or leave rounding out with "
            "--parts seeds,sampling"
        )


def check_parts(names: Sequence[str]) -> tuple[FloorName, ...]:
    """The parts of these names, in the order of `PARTS`.

    Raises:
        RequestError: a name is no part, all of them in one message; or there is none.
    """
    wrong = [unknown("part", name, PARTS) for name in names if name not in PARTS]
    if wrong:
        raise RequestError("\n".join(wrong))
    return tuple(part for part in PARTS if part in names)


def check_output(output: Path, run: Run, benchmark: Benchmark, *, parts: Sequence[FloorName], chosen: Sequence[TaskSpec]) -> None:
    """Pass a file that can be written, and that holds no calibration of this very run with more in it: what was measured is not lost.

    Raises:
        RequestError: the file has more, is none, or lies in the folder of another run.
        MachineError: its folder can't be made.
    """
    for path in (output, part_of(output)):
        if path.exists() and not path.is_file():
            raise RequestError(f"{path} is no file, but a folder, a pipe or a device: move it away, or name another file with -o")
    if (output.parent / MANIFEST).exists() and not output.parent.samefile(run.path):
        raise RequestError(
            f"{output} is in the folder of another run than {run.path}, whose own tolerances would be lost: name another file with -o. "
            f"A baseline gets its own from the run that is promoted: {shell_command('baseline', 'accept', run.path, '--why', 'TEXT')}"
        )
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MachineError(f"can't write {output}: {error.strerror}. Name another file with -o") from error
    before = calibration_in(output, run, benchmark)
    if before is None:
        return
    measured = {task.name for task in chosen}
    kept = [noise for metrics in before.tasks.values() for noise in metrics.values()]
    lost = [name for name in before.tasks if name not in measured]
    lost += [f"all of {part}" for part in PARTS if part not in parts and any(getattr(noise, part) for noise in kept)]
    if lost:
        raise RequestError(
            f"{output} has values that this call would not measure, and they would be lost: {few(lost)}. Name another file with -o"
        )


def part_of(output: Path) -> Path:
    """Where a calibration is kept, task by task, until all of it is measured."""
    return output.with_name(f"{output.name}.part")


def calibration_in(path: Path, run: Run, benchmark: Benchmark) -> Calibration | None:
    """The calibration of the run in a file; None where there is no such file, or it is damaged or of another run."""
    with contextlib.suppress(InputError, RequestError):
        return run_calibration(run, benchmark, path)
    return None


def read_calibrated(folder: Path) -> tuple[Run, Benchmark]:
    """The run that is to be calibrated, and the benchmark whose table it was run with."""
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder: name a run folder, such as results/<model>/<run>")
    manifest, benchmark = read_manifest(folder), benchmark_of([folder])
    if manifest.spec is None:
        raise InputError(NOT_OURS.format(folder))
    named = manifest.benchmark
    if named and named.digest != benchmark.digest:
        raise InputError(
            f"{folder} was run with another table of {benchmark.name} ({str(named.digest)[:8]}, here {benchmark.digest[:8]}): run again"
        )
    return read_run(folder, benchmark), benchmark


def chosen_tasks(run: Run, benchmark: Benchmark, tasks: Sequence[str]) -> list[TaskSpec]:
    """The tasks that are to be calibrated: those of the names or types, by default all that the run has."""
    chosen = [task for task in benchmark.select(tasks) if tasks or task.name in run.records]
    absent = [task.name for task in chosen if task.name not in run.records]
    if absent or not chosen:
        raise RequestError(f"{run.path} has no record of {', '.join(absent) or 'any task'}: run these first, or name others with --tasks")
    return chosen
