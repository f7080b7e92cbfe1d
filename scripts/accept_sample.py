"""Accept what the sample gives on this machine: as its baseline, and as the expected scores of the self-check.

python scripts/accept_sample.py baseline --why "REASON"     # results/baselines/sample, with its calibration and its canary's vectors
python scripts/accept_sample.py expected [--draws 10]       # results/expected/sample.json and tolerances.json

For the baseline, the commands of docs/drift.md are run, with 20 draws by default. For the expected scores, every setting of the card's
rows is run. Then, per dtype, vectors are jittered as far as another device may round them (docs/drift.md) and scored again. A metric that
follows the vectors themselves moves, and gets the tolerance of these draws: a Pearson correlation, or a threshold, which is the similarity
of a single pair. What counts ranks or hits does not move, because the sample's texts leave margins.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.commands import main
from harness.commands.stages import run_sample
from harness.core.benchmarks import Benchmark, load_benchmark
from harness.core.dtypes import dtype_named
from harness.core.files import write_json
from harness.core.records import Run
from harness.core.typed import leaves
from harness.data.sources import load_task
from harness.evaluate.calibrate.floors import rounding_floor
from harness.evaluate.calibrate.jitter import Jitter, measure_scale
from harness.evaluate.calibrate.measure import own_texts
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.here import resolve_here
from harness.evaluate.prompting import run_prompts
from harness.evaluate.score.scorer import run_scorer
from harness.evaluate.score.workers import ScoringJob, ScoringPool
from harness.read.selfcheck import STRICT, Tolerances, expected_file, setting_name, tolerances_file


def accept() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("baseline", "expected"))
    parser.add_argument("--draws", type=int, help="re-scorings of jittered vectors (baseline: 20, expected: 10 per dtype)")
    parser.add_argument("--why", help="the reason, for the log of baselines")
    chosen = parser.parse_args()
    if (chosen.what == "baseline") != bool(chosen.why):
        parser.error("--why belongs to a baseline, which needs it")
    return _baseline(chosen.why, chosen.draws or 20) if chosen.why else _expected(chosen.draws or 10)


def _baseline(why: str, draws: int) -> int:
    with tempfile.TemporaryDirectory() as scratch:
        store = f"store={scratch}/store"
        code = main(["run", "model=sample", "data=sample", "gpu=cpu", store, f"results_dir={scratch}/results"])
        run = next(map(str, Path(scratch, "results", "sample").iterdir()))
        code = code or main(["calibrate", run, store, "--draws", str(draws)])
        return code or main(["baseline", "accept", run, "--why", why])


def _expected(draws: int) -> int:
    benchmark = load_benchmark()
    with tempfile.TemporaryDirectory() as scratch:
        runs = list(run_sample([f"results_dir={scratch}"], benchmark))
    longest = {run.header.dtype: run for run in sorted(runs, key=lambda run: run.header.max_len or 0)}
    scores = {
        setting_name(run): {
            name: {metric: float(value) for metric, value in leaves(record.metrics)} for name, record in run.records.items()
        }
        for run in runs
    }
    write_json(expected_file(), scores)
    write_json(tolerances_file(), {dtype: dict(_tolerances(run, benchmark, draws)) for dtype, run in longest.items()})
    print(f"{expected_file().parent}: {len(runs)} settings")
    return 0


def _tolerances(run: Run, benchmark: Benchmark, draws: int) -> Iterator[tuple[str, Tolerances]]:
    """By task, how far rounding moves the metrics of a run of the sample that it moves at all."""
    dtype = dtype_named(run.header.dtype)
    spec, device = resolve_here(["model=sample", "data=sample", "store=null", f"dtype={dtype}", f"max_len={run.header.max_len}"])
    encoder = EncoderPool().encoder(spec, device)
    prompts = run_prompts(spec, ENCODERS.get(spec.model.kind).own_settings(spec.model))
    scorer = run_scorer(spec)
    scale, _ = measure_scale(encoder, own_texts(spec, prompts, benchmark.tasks))  # type: ignore[arg-type]
    print(f"{dtype}: jittered by {scale.used:.2g} of the vectors' length")
    with ScoringPool(0) as pool:
        for task in benchmark.tasks:
            data, own = load_task(task, spec.data).data, prompts.of(task)
            texts = scorer.texts(task, data, own)
            jitter = Jitter(encoder.encode(texts), scale)
            drawn: dict[str, list[float]] = {}
            for number in range(draws):
                vectors = jitter.draw(f"self-check {task.name} {number}")
                job = ScoringJob(
                    task=task, data=data, texts=texts, vectors=vectors, dim=None, scoring=spec.scoring, prompts=own, scorer=scorer
                )
                for metric, value in leaves(pool.submit(job).result().metrics):
                    drawn.setdefault(metric, []).append(float(value))
            floors = {
                metric: rounding_floor(float(value), drawn[metric], [], factor=1.0)
                for metric, value in leaves(run.records[task.name].metrics)
            }
            found = {metric: floor.tolerance for metric, floor in floors.items() if floor.tolerance > STRICT}
            if task.main in found:
                print(f"{dtype}: rounding moves {task.name} {task.main} by up to {floors[task.main].largest:.2g}")
            if found:
                yield task.name, found


if __name__ == "__main__":
    sys.exit(accept())
