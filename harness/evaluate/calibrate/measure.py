"""Calibrates a run: its data and vectors again, its scores again, then under other roundings, other seeds, other examples."""

import itertools
import json
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.benchmarks import Benchmark
from harness.core.calibration import Calibration, MetricNoise, Rounding, Spread, metric_points, points, write_calibration
from harness.core.code import ENCODING, SCORING, plugin_digest
from harness.core.errors import InputError, RequestError
from harness.core.examples import Examples, units
from harness.core.folds import folds
from harness.core.prompts import PromptTable
from harness.core.records import Run
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec, flat_name
from harness.core.typed import plain
from harness.data.sources import SOURCES, load_task
from harness.data.types import LoadedTask
from harness.evaluate.calibrate.floors import (
    CONFIDENCE,
    COVERAGE,
    RESOLUTION,
    rounding_floor,
    spread,
    tolerance_factor,
)
from harness.evaluate.calibrate.jitter import TEXTS, Jitter, RoundingScale, canary_distances, measure_scale
from harness.evaluate.calibrate.request import (
    PARTS,
    FloorName,
    calibration_in,
    check_draws,
    check_output,
    chosen_tasks,
    part_of,
    read_calibrated,
)
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.prompting import run_prompts
from harness.evaluate.rebuilt import canonical_encoder, check_setting, rebuilt_spec
from harness.evaluate.score.scorer import SCORERS, run_scorer, scorer_name
from harness.evaluate.score.seeding import SEED
from harness.evaluate.score.workers import Scored, ScoringJob, ScoringPool

WIDE, LESS_WIDE, WIDEST = 10.0, 3.0, 0.05
"""The multiple of the rounding scale under which jumps are looked for that are too rare to be seen at the scale itself: the larger one,
unless vectors would move by more than a twentieth of their length. Ten times the error of bf16 makes another model, whose scores say
nothing of jumps."""

RESAMPLES = 1000
"""Bootstrap resamples of a task's examples."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """A calibration and what it took: `forwards` for vectors that the store did not have, `measuring` for other batch shapes."""

    calibration: Calibration
    benchmark: Benchmark
    forwards: int
    measuring: int


@dataclass(frozen=True, kw_only=True)
class _Setup:
    """What all tasks of a calibration share."""

    run: Run
    benchmark: Benchmark
    spec: RunSpec
    prompts: PromptTable
    similarity: str
    encoder: CanonicalEncoder
    pool: ScoringPool
    parts: Sequence[FloorName]
    draws: int
    scale: RoundingScale | None


def calibrate(
    folder: Path,
    overrides: Sequence[str] = (),
    *,
    draws: int = 20,
    parts: Sequence[FloorName] = PARTS,
    tasks: Sequence[str] = (),
    output: Path | None = None,
    on_task: Callable[[TaskSpec, Mapping[str, MetricNoise]], None] = lambda task, noise: None,
) -> Calibrated:
    """The noise floors of a run, from its data and the store of its vectors.

    `output`: the file to write. What is measured is kept in `<output>.part`, task by task, until all is: where a call was stopped, or the
    disk was full, the same call goes on from there.

    `overrides`: where things are (`harness.evaluate.rebuilt.PLACES`). `draws`: re-scorings for rounding under other kernels, as
    many for the same kernels, half as many at a multiple of the scale, and as many for seeds. `tasks`: names or types, by default all
    that the run has.

    Raises:
        RequestError: an unknown part, task or key, too few draws, a folder that is no run, tasks that the run does not have, or as
            `check_output` does.
        InputError: the data, the weights or the store's vectors are not the run's, or its vectors give other scores than its records have.
        MachineError: this machine or its packages are not those of the run, or a file can't be written.
    """
    check_draws(draws, parts)
    run, benchmark = read_calibrated(folder)
    chosen = chosen_tasks(run, benchmark, tasks)
    if output:
        check_output(output, run, benchmark, parts=parts, chosen=chosen)
    spec = rebuilt_spec(folder, run.manifest, overrides, tasks=tuple(task.name for task in chosen))
    encoder = canonical_encoder(folder, spec, EncoderPool(), to="calibrated")
    check_setting(encoder, folder, run.manifest)
    ENCODERS.get(spec.model.kind).prove_store(encoder)  # before a vector of it is read, or one is added
    own = ENCODERS.get(spec.model.kind).own_settings(spec.model)
    prompts = run_prompts(spec, own)
    scale, vectors, measuring = None, None, 0
    if "rounding" in parts:
        scale, measuring = measure_scale(encoder, own_texts(spec, prompts, chosen))
        vectors, further = canary_distances(encoder)
        measuring += further
    with ScoringPool(spec.workers or 0) as pool:
        setup = _Setup(
            run=run,
            benchmark=benchmark,
            spec=spec,
            prompts=prompts,
            similarity=own.similarity,
            encoder=encoder,
            pool=pool,
            parts=parts,
            draws=draws,
            scale=scale,
        )
        found: dict[str, Mapping[str, MetricNoise]] = {}
        calibration = Calibration(
            run=run.manifest.run or "",
            benchmark=benchmark.digest,
            weights=encoder.fingerprint.weights_digest,
            tasks=found,
            provenance=_provenance(setup),
            vectors=vectors,
        )
        part = part_of(output) if output else None
        before = _measured_before(part, setup, calibration)
        for task in chosen:
            found[task.name] = before.get(task.name) or _calibrate_task(setup, task)
            if part and task.name not in before:
                write_calibration(part, calibration)
            on_task(task, found[task.name])
    if output and part:
        write_calibration(output, calibration)
        part.unlink(missing_ok=True)
    return Calibrated(calibration=calibration, benchmark=benchmark, forwards=encoder.counters.forwards, measuring=measuring)


def _measured_before(part: Path | None, setup: _Setup, now: Calibration) -> Mapping[str, Mapping[str, MetricNoise]]:
    """The tasks that a call measured in the very same way before it was stopped."""
    before = calibration_in(part, setup.run, setup.benchmark) if part else None
    return before.tasks if before and replace(before, tasks={}) == replace(now, tasks={}) else {}


def own_texts(spec: RunSpec, prompts: PromptTable, tasks: Sequence[TaskSpec]) -> list[str]:
    """Texts of all tasks alike, drawn at random: rounding depends on their length and kind."""
    texts: list[str] = []
    generator = np.random.default_rng(SEED)
    for position, task in enumerate(tasks):
        planned = run_scorer(spec).texts(task, load_task(task, spec.data).data, prompts.of(task))
        share = (TEXTS - len(texts)) // (len(tasks) - position)
        texts += [planned[row] for row in generator.choice(len(planned), size=min(share, len(planned)), replace=False)]
    return list(dict.fromkeys(texts))


def _calibrate_task(setup: _Setup, task: TaskSpec) -> dict[str, MetricNoise]:
    loaded = load_task(task, setup.spec.data)
    _check_data(setup.run, task, loaded)
    scorer = run_scorer(setup.spec)
    prompts = setup.prompts.of(task)
    texts = scorer.texts(task, loaded.data, prompts)
    job = ScoringJob(
        task=task,
        data=loaded.data,
        texts=texts,
        vectors=setup.encoder.encode(texts),
        dim=setup.spec.dim,
        scoring=setup.spec.scoring,
        prompts=prompts,
        scorer=scorer,
        similarity=setup.similarity,
    )
    scored = setup.pool.submit(job).result()
    scores = points(setup.run.records[task.name], setup.benchmark)
    _check_scores(setup.run, task, scores, metric_points(scored.metrics, task))
    rounding, shapes = _rounding(setup, job, scores) if setup.scale else ({}, {})
    seeds = _seeds(setup, job) if "seeds" in setup.parts and task.kind.random else {}
    sampling = _sampling(task, scored.examples) if "sampling" in setup.parts else {}
    return {
        metric: MetricNoise(
            score=score, rounding=rounding.get(metric), shapes=shapes.get(metric), seeds=seeds.get(metric), sampling=sampling.get(metric)
        )
        for metric, score in scores.items()
    }


def _rounding(setup: _Setup, job: ScoringJob, scores: Mapping[str, float]) -> tuple[dict[str, Rounding], dict[str, Rounding]]:
    """The floors under other kernels, and under the same ones in other batch shapes: there the draws of the former are the wide ones."""
    assert setup.scale is not None
    jitter, near = Jitter(job.vectors, setup.scale), setup.scale.near / setup.scale.used if setup.scale.used else 0.0

    def drawn(count: int, *, factor: float, words: str) -> dict[str, list[float]]:
        jobs = (replace(job, vectors=jitter.draw(f"{SEED} {job.task.name} {words}{number}", factor=factor)) for number in range(count))
        return _points_by_metric(job.task, _scored(setup, jobs))

    draws = drawn(setup.draws, factor=1.0, words="")
    multiple = _multiple(setup.scale)
    jumps = drawn(_wide(setup.draws), factor=multiple, words="wide ")
    close = drawn(setup.draws, factor=near, words="near ") if near else {metric: [score] * setup.draws for metric, score in scores.items()}
    others = {metric: rounding_floor(score, draws[metric], jumps[metric], factor=multiple) for metric, score in scores.items()}
    factor = 1 / near if near else math.inf
    return others, {metric: rounding_floor(score, close[metric], draws[metric], factor=factor) for metric, score in scores.items()}


def _seeds(setup: _Setup, job: ScoringJob) -> dict[str, Spread]:
    """The scores under other seeds; training texts that no run has sampled yet are encoded."""
    seeds = _other_seeds(setup.draws)
    wanted = itertools.chain.from_iterable(job.scorer.texts(job.task, job.data, job.prompts, seed=seed) for seed in seeds)
    known = set(job.texts)
    further = [text for text in dict.fromkeys(wanted) if text not in known]
    wider = replace(
        job, texts=[*job.texts, *further], vectors=torch.cat([job.vectors, setup.encoder.encode(further)]) if further else job.vectors
    )
    drawn = _points_by_metric(job.task, _scored(setup, (replace(wider, seed=seed) for seed in seeds)))
    return {metric: spread(values) for metric, values in drawn.items()}


def _sampling(task: TaskSpec, examples: Examples) -> dict[str, Spread]:
    """Bootstrap over the task's examples; nothing where there is one alone."""
    count = units(task, examples)
    if count < 2:
        return {}
    rows = np.random.default_rng([SEED, count]).integers(0, count, size=(RESAMPLES, count))
    found = {}
    for metric in task.metrics:
        try:
            values = 100 * folds(task, examples, rows, metric)
        except RequestError:
            continue  # average precision of a task with more than two classes
        defined = values[np.isfinite(values)]
        if len(defined) >= RESAMPLES // 2:
            found[flat_name(metric)] = spread(defined)
    return found


def _scored(setup: _Setup, jobs: Iterable[ScoringJob]) -> Iterator[Scored]:
    """The jobs' results in their order; no more jobs are in memory than there are processes, and one that waits."""
    waiting: deque[Future[Scored]] = deque()
    for job in jobs:
        waiting.append(setup.pool.submit(job))
        if len(waiting) > (setup.spec.workers or 0):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _points_by_metric(task: TaskSpec, scored: Iterable[Scored]) -> dict[str, list[float]]:
    by_metric: dict[str, list[float]] = {}
    for each in scored:
        for metric, value in metric_points(each.metrics, task).items():
            by_metric.setdefault(metric, []).append(value)
    return by_metric


def _check_data(run: Run, task: TaskSpec, loaded: LoadedTask) -> None:
    before = run.records[task.name].made.data
    if before is None or before.sha256 != loaded.provenance.sha256:
        raise InputError(f"{task.name}: the data here is not the data of {run.path}: give its folder with data.root=DIR, or run again")


def _check_scores(run: Run, task: TaskSpec, before: Mapping[str, float], now: Mapping[str, float]) -> None:
    for metric, score in before.items():
        if now.get(metric) != score:
            raise InputError(
                f"{task.name}: scoring the vectors again gives {now.get(metric)} for {metric}, the record has {score}: the record, the "
                f"store or the code has changed since. Run the task again: overwrite=true tasks=[{task.name}] ({run.path})"
            )


def _wide(draws: int) -> int:
    return -(-draws // 2)


def _multiple(scale: RoundingScale) -> float:
    return WIDE if WIDE * scale.used <= WIDEST else LESS_WIDE


def _other_seeds(draws: int) -> list[int]:
    return list(range(SEED + 1, SEED + 1 + draws))


def _provenance(setup: _Setup) -> dict[str, Any]:
    """How everything was measured; nothing in it changes from one time to the next."""
    manifest, scale = setup.run.manifest, setup.scale
    found: dict[str, Any] = {
        "run": setup.run.path.resolve().name,
        "model": setup.run.header.model,
        "dtype": setup.run.header.dtype,
        "device": plain(manifest.device) if manifest.device else None,
        "kernel": manifest.model.kernel if manifest.model else None,
        "versions": manifest.versions,
        "harness": (manifest.source or {}).get("version"),
        "code": plugin_digest(
            (*ENCODING, *SCORING, "evaluate/calibrate"), (SCORERS, scorer_name(setup.spec)), (SOURCES, setup.spec.data.source)
        ),
    }
    if scale:
        found["rounding"] = {
            "draws": setup.draws,
            "wide_draws": _wide(setup.draws),
            "wide": _multiple(scale),
            "coverage": COVERAGE,
            "confidence": CONFIDENCE,
            "factor": round(tolerance_factor(setup.draws), 4),
            "resolution": RESOLUTION,
            "seed": SEED,
            "scale": {
                "texts": scale.texts,
                "used": float(f"{scale.used:.4g}"),
                "to_double_precision": float(f"{scale.rounding:.4g}"),
                "to_other_batch_shapes": {name: float(f"{value:.4g}") for name, value in scale.kernels.items()},
                "to_double_precision_of_unrounded_weights": float(f"{scale.full_precision:.4g}"),
            },
        }
    if "seeds" in setup.parts:
        found["seeds"] = {"draws": setup.draws, "seeds": _other_seeds(setup.draws)}
    if "sampling" in setup.parts:
        found["sampling"] = {"resamples": RESAMPLES, "seed": SEED}
    return dict(json.loads(json.dumps(found)))  # as a file gives it back
