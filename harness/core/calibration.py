"""The calibration of a run: by how much each of its metrics moves while nothing that matters has changed.

Three floors, each of its own kind and never mixed. `rounding`: other kernels, the same protocol and seeds; what a gate asks. `seeds`: other
draws of the protocol's random samples and k-means starts. `sampling`: other examples of the same kind. How they are measured:
docs/drift.md. All numbers are points, 0 to 100.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError, RequestError, unknown
from harness.core.files import atomic_write
from harness.core.formatting import shell_command
from harness.core.records import Run, TaskRecord, flat_metrics
from harness.core.tasks import TaskSpec, flat_name
from harness.core.typed import plain, read_typed

SCHEMA = 1
Size = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0)]

KernelLevel = Literal["same kernels and batch shapes", "same kernels, other batch shapes", "other kernels"]
"""What the settings of two runs have in common, of all that decides the bits of a vector."""

CALIBRATION = "calibration.json"
"""What the file is called beside the records that it belongs to."""


@dataclass(frozen=True, kw_only=True)
class Distance:
    """How far the vectors of the same texts lie apart, as shares of the vectors' length (root mean square over the texts).

    `rms`: root mean square over the texts; `farthest`: of the text that lies farthest.
    """

    rms: Annotated[float, Meta(ge=0)]
    farthest: Annotated[float, Meta(ge=0)]


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How rounding moves a metric. `tolerance`: the largest difference from the run that it explains, whichever way.

    `draws`: re-scorings with vectors jittered at the measured scale; `moved`: how many of them gave another score; `mean` and `sd` of their
    differences from the run, `largest` by size. `wide`: the largest under a multiple of that scale. `jumps`: how many jumps of the median
    size the tolerance holds, where moves are rare jumps; else 0.
    """

    tolerance: Size
    draws: Count
    moved: Count
    mean: float
    sd: Size
    largest: Size
    wide: Size
    jumps: Count = 0


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A metric over `draws` of something random: standard deviation, and the interval from `low` to `high` that holds 95 % of them."""

    draws: Count
    sd: Size
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class MetricNoise:
    """What was measured of one metric of one task; None for a floor that was not. `score`: that of the run.

    `rounding`: under other kernels, as on another device. `shapes`: under the same kernels in other batch shapes.
    """

    score: float
    rounding: Rounding | None = None
    shapes: Rounding | None = None
    seeds: Spread | None = None
    sampling: Spread | None = None


@dataclass(frozen=True, kw_only=True)
class CanaryDistances:
    """How far the canary's vectors lie from those of the same weights in double precision, and in other batch shapes, by their names."""

    double: Distance
    batch_shapes: Mapping[str, Distance]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """The floors of one run, by task and flat metric name (`cos_sim_spearman`; lookups take dotted names, too).

    `run`, `benchmark` and `weights`: digests of the run they belong to. `provenance`: how they were measured (device, versions, counts,
    seeds, the measured scale of rounding), as the file states it. `vectors`: of the canary; None where rounding was not measured.
    """

    run: str
    benchmark: str
    weights: str
    tasks: Mapping[str, Mapping[str, MetricNoise]]
    provenance: Mapping[str, Any]
    vectors: CanaryDistances | None = None
    schema: int = SCHEMA

    def tolerance(self, task: str, metric: str, *, kernels: KernelLevel = "other kernels") -> float | None:
        """By how many points rounding alone may move the metric; None where that was not measured.

        `kernels`: what two runs have in common. Where they have all, they have the same vectors, and the tighter floor holds all the more.
        """
        noise = self.noise(task, metric)
        if noise is None:
            return None
        floor = noise.rounding if kernels == "other kernels" else noise.shapes or noise.rounding
        return floor.tolerance if floor else None

    def noise(self, task: str, metric: str) -> MetricNoise | None:
        """All that was measured of the metric."""
        return self.tasks.get(task, {}).get(flat_name(metric))

    def check_belongs(self, run: Run, benchmark: Benchmark) -> None:
        """Pass the run that was calibrated.

        Raises:
            RequestError: the run is another one, of other weights, or has other scores than those that were calibrated.
        """
        for what, found, expected in (
            ("run", run.manifest.run, self.run),
            ("weights", run.manifest.weights, self.weights),
            ("benchmark table", benchmark.digest, self.benchmark),
        ):
            if found != expected:
                raise RequestError(
                    f"the calibration belongs to another {what} ({expected[:8]}) than {run.path} ({str(found)[:8]}). {_again(run)}"
                )
        for name, metrics in self.tasks.items():
            found_scores = points(run.records[name], benchmark) if name in run.records else {}
            for metric, noise in metrics.items():
                if found_scores.get(metric, noise.score) != noise.score:
                    raise RequestError(
                        f"the calibration has {noise.score!r} for {name} {metric}, and {run.path} has {found_scores[metric]!r}: "
                        f"its records were made again since. {_again(run)}"
                    )


def points(record: TaskRecord, benchmark: Benchmark) -> dict[str, float]:
    """The metrics of a record that the benchmark names, by flat name, in points."""
    return metric_points(record.metrics, benchmark.task(record.task))


def metric_points(metrics: Mapping[str, Any], task: TaskSpec) -> dict[str, float]:
    """The metrics that the benchmark names, by flat name, in points; `metrics` as mteb nests them, 0 to 1."""
    return {name: 100 * value for name, value in flat_metrics(metrics, task).items() if name in task.flat_metrics}


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write the file, a line per metric, whole or not at all; raises MachineError where that can't be done."""
    head = {"schema": SCHEMA, "run": calibration.run, "benchmark": calibration.benchmark, "weights": calibration.weights}
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append(f'"provenance": {json.dumps(dict(calibration.provenance), indent=1, allow_nan=False)}')
    if calibration.vectors:
        lines.append(f'"vectors": {json.dumps(plain(calibration.vectors), indent=1, allow_nan=False)}')
    tasks = []
    for task, metrics in calibration.tasks.items():
        lines_of_task = ",\n".join(f"  {json.dumps(metric)}: {_noise_json(noise)}" for metric, noise in metrics.items())
        tasks.append(f" {json.dumps(task)}: {{\n{lines_of_task}\n }}")
    lines.append('"tasks": {\n' + ",\n".join(tasks) + "\n}")
    with atomic_write(path) as stream:
        stream.write(("{\n" + ",\n".join(lines) + "\n}\n").encode())


def read_calibration(path: Path, benchmark: Benchmark) -> Calibration:
    """The calibration in a file.

    Raises:
        InputError: the file is truncated, of a newer schema, or has a value that is not allowed (NaN, a negative tolerance).
        RequestError: there is no such file, or it names tasks or metrics that the benchmark does not have.
    """
    if not path.is_file():
        raise RequestError(f"there is no file {path}: name a calibration.json, which `python -m harness calibrate RUN` makes")
    remedy = "make it again with: python -m harness calibrate RUN"
    calibration = read_typed(path, Calibration, what="calibration", remedy=remedy, schema=SCHEMA)
    for task, metrics in calibration.tasks.items():
        for metric, noise in metrics.items():
            for spread in (noise.seeds, noise.sampling):
                if spread and spread.low > spread.high:
                    interval = f"its interval ends ({spread.high}) before it begins ({spread.low})"
                    raise InputError(f"{path} is no calibration ({task} {metric}: {interval}): {remedy}")
    if calibration.vectors is not None and not calibration.vectors.batch_shapes:
        raise InputError(f"{path} is no calibration (its vectors were compared in no other batch shape): {remedy}")
    _refuse_unknown(path, calibration, benchmark)
    return calibration


def run_calibration(run: Run, benchmark: Benchmark, path: Path | None = None) -> Calibration | None:
    """The calibration of a run: the file at `path`, else the one beside its records; None where there is none.

    Raises:
        InputError, RequestError: as `read_calibration` and `Calibration.check_belongs` do.
    """
    if path is None and not (run.path / CALIBRATION).is_file():
        return None
    calibration = read_calibration(path or run.path / CALIBRATION, benchmark)
    calibration.check_belongs(run, benchmark)
    return calibration


def _noise_json(noise: MetricNoise) -> str:
    return json.dumps({key: value for key, value in asdict(noise).items() if value is not None}, allow_nan=False)


def _refuse_unknown(path: Path, calibration: Calibration, benchmark: Benchmark) -> None:
    known = {task.name: task.flat_metrics for task in benchmark.tasks}
    wrong = [unknown("task", task, known) for task in calibration.tasks if task not in known]
    wrong += [
        f"{task}: {unknown('metric', metric, sorted(known[task]))}"
        for task, metrics in calibration.tasks.items()
        if task in known
        for metric in metrics
        if metric not in known[task]
    ]
    if wrong:
        raise RequestError("\n".join(f"{path}: {message}" for message in wrong))


def _again(run: Run) -> str:
    return f"Calibrate it: {shell_command('calibrate', run.path)}, or name its own file with --calibration FILE"
