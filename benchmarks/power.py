"""What the checks detect: planted faults, and clean repeats that must pass: python benchmarks/power.py [--repeats 100]

A run of a few tasks of every type is calibrated and becomes the baseline. Then each fault of `faults.py` is planted, and the
table states which check detects it: loading (an error before any text), the canary, the gate (`python -m harness check`), or none; and what
differs in its manifest. A fault is beyond the floor if any metric moves by more than the calibration's tolerance. Afterwards the same
run is repeated clean: tasks in another order, in parts, interrupted and resumed, on other threads, in other processes, in other batch
shapes, under other instruction sets, with an empty, a half-filled, a full store or none. Every repeat must pass all three layers. The exit
is an error if a fault beyond the floor is not detected, or a clean repeat does not pass.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from distances import ENVIRONMENTS
from faults import FAULTS, FILL, Fault
from measuring import ROOT, real_data, say_machine, torch_threads

from harness.core.benchmarks import load_benchmark
from harness.core.calibration import CALIBRATION, run_calibration, write_calibration
from harness.core.config import compose_config, resolve_run
from harness.core.errors import CanaryError, HarnessError
from harness.core.fingerprint import Fingerprint
from harness.core.resources import SAMPLE_DIR
from harness.core.run_files import read_run
from harness.core.sketch import write_sketch
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.evaluate.calibrate.measure import calibrate
from harness.evaluate.encode.canary.canary import canary_texts, run_canary, sketch_texts
from harness.evaluate.encode.device import describe_device, find_device
from harness.evaluate.encode.model.locate import find_model
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.here import resolve_here
from harness.evaluate.progress import Silent
from harness.evaluate.runner import execute
from harness.evaluate.score import reference
from harness.read.drift.check import DriftReport, check_runs

BENCHMARK = load_benchmark()
SAMPLE_TASKS = (
    *("JDReview", "MassiveIntentClassification", "CLSClusteringP2P", "ThuNewsClusteringS2S", "Ocnli", "CMedQAv2", "T2Reranking"),
    *("TNews", "EcomRetrieval", "T2Retrieval", "DuRetrieval", "QBQTC", "STS22"),
)
REAL_TASKS = ("STSB", "Ocnli")
SCIKIT_LEARN = "1.9.1"
INSTRUCTION = "检索相关文章"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table of faults and the count of false alarms; exits with an error if a fault passes or a repeat fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=100, help="clean repeats")
    parser.add_argument(
        "--faults", nargs="*", default=[""], metavar="WORD", help="only faults whose name has one of the words; none for none"
    )
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16"), default="fp32")
    parser.add_argument("--model", choices=("sample", "minilm"), default="sample", help="minilm: on real data (CMTEB_DATA)")
    parser.add_argument("--tasks", nargs="+", help="instead of a few of every type")
    parser.add_argument("--draws", type=int, default=20, help="of the calibration")
    parser.add_argument("--into", metavar="FILE", help=argparse.SUPPRESS)  # the run of another environment, in a process of its own
    chosen = parser.parse_args(arguments)
    if chosen.into:
        _run_elsewhere(json.loads(Path(chosen.into).read_text(encoding="utf-8")))
        return
    say_machine()
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), chosen)
        slipped = bench.show_faults(chosen.faults)
        alarms = bench.show_repeats(chosen.repeats)
    if slipped or alarms:
        raise SystemExit(f"{slipped} faults beyond the floor slipped through, {alarms} clean repeats did not pass")


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A fault and what detected it. `gate`: on the kernels of the baseline. `vectors` and `scores`: what these layers would say of the same
    run on other kernels. `compared`: there are scores; `main` of the main ones moved, by at most `largest` points, and `cells` metrics
    beyond the floor of other kernels."""

    fault: Fault
    load: str
    canary: str
    gate: str
    vectors: str
    scores: str
    manifest: str
    compared: bool
    main: int
    largest: float
    cells: int

    @property
    def caught(self) -> bool:
        return bool(self.load or self.canary or self.gate)

    @property
    def slipped(self) -> bool:
        return self.cells > 0 and not self.gate


class _Bench:
    def __init__(self, folder: Path, chosen: argparse.Namespace) -> None:
        self._folder = folder
        self._device = find_device()
        self._tasks = tuple(chosen.tasks or (SAMPLE_TASKS if chosen.model == "sample" else REAL_TASKS))
        # a copy of the sample's, since a run leaves checksums in a folder of data
        data = shutil.copytree(SAMPLE_DIR / "data", folder / "data") if chosen.model == "sample" else real_data()
        if data is None:
            raise SystemExit("no real data: set CMTEB_DATA, or leave out --model minilm")
        max_len, dim = (512, 1024) if chosen.model == "sample" else (256, 256)
        model = find_model(compose_config([f"model={chosen.model}"]).model).folder  # as a folder, since some faults alter a copy
        self._basic = [
            *(
                f"model={chosen.model}",
                f"model.path={model}",
                "data=local",
                f"data.root={data}",
                "data.verify=label",
                f"dtype={chosen.dtype}",
            ),
            *(f"max_len={max_len}", f"dim={dim}", f"model.query_instruction='{INSTRUCTION}'", "canary=off", "workers=0"),
        ]
        self._pool = EncoderPool()
        self._unequal, self._levels = 0, Counter[str]()
        self._baseline = self._run("baseline", [f"store={folder / 'full'}"])
        started = time.perf_counter()
        places = [f"store={folder / 'full'}", f"data.root={data}", f"model.path={model}"]
        calibrated = calibrate(self._baseline, places, draws=chosen.draws, parts=["rounding"])
        write_calibration(self._baseline / CALIBRATION, calibrated.calibration)
        encoder = self._pool.encoder(self._spec([]), self._device)
        write_sketch(self._baseline, run_canary(encoder).sketch)  # type: ignore[arg-type]
        floors = [noise.rounding for metrics in calibrated.calibration.tasks.values() for noise in metrics.values() if noise.rounding]
        widest = max(floor.tolerance for floor in floors)
        print(
            f"baseline: {chosen.model} in {chosen.dtype}, max_len {max_len}, dim {dim}, {len(self._tasks)} tasks, {len(floors)} metrics; "
            f"calibrated with {chosen.draws} draws in {time.perf_counter() - started:.0f} s, tolerances up to {widest:.2g} points",
            flush=True,
        )

    def show_faults(self, words: Sequence[str]) -> int:
        """Plant them one by one; returns how many moved a metric beyond its floor and passed the gate."""
        has_dense = "Dense" in " ".join(self._pool.encoder(self._spec([]), self._device).fingerprint.modules)
        faults = [fault for fault in FAULTS if any(word in fault.name for word in words) and (has_dense or "Dense" not in fault.name)]
        rows = []
        for row in self._judged(faults, scikit=any(word in _SCIKIT.name for word in words)):
            if not rows:
                print("\n| fault | in | main scores moved | canary | gate | vectors elsewhere | scores elsewhere | the manifest tells |")
                print("|---|---|---|---|---|---|---|---|")
            rows.append(row)
            print(f"| {' | '.join(_cells(row, len(self._tasks)))} |", flush=True)
        if not rows:
            return 0
        beyond = [row for row in rows if row.cells]
        print(
            f"\n{len(rows)} faults, {sum(row.caught for row in rows)} caught. {len(beyond)} move a metric beyond its floor, the gate stops "
            f"{sum(not row.slipped for row in beyond)} of these; {sum(bool(row.load) for row in rows)} end before the first text, and the "
            f"canary stops {sum(bool(row.canary) for row in rows)}",
            flush=True,
        )
        return sum(row.slipped for row in rows)

    def show_repeats(self, repeats: int) -> int:
        """Repeat the run without a fault; returns how many repeats the gate or the canary stopped."""
        draw, alarms, ways = random.Random(0), 0, Counter[str]()
        started = time.perf_counter()
        for number in range(repeats):
            way = _Way.drawn(draw, number, self._tasks)
            reason = self._repeat(number, way)
            ways.update(way.words())
            if reason:
                alarms += 1
                print(f"FALSE ALARM in repeat {number} ({', '.join(way.words())}): {reason}", flush=True)
        if repeats:
            counts, levels = (", ".join(f"{count} {word}" for word, count in sorted(each.items())) for each in (ways, self._levels))
            print(
                f"\n{repeats} clean repeats ({counts}; judged as {levels}): {alarms} false alarms; {self._unequal} metrics not identical; "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )
        return alarms

    def _spec(self, overrides: Sequence[str], tasks: Sequence[str] = ()) -> RunSpec:
        info = describe_device(self._device)
        everything = [*self._basic, f"tasks=[{','.join(tasks or self._tasks)}]", "store=null", *overrides]
        return resolve_run(everything, device_name=info.label, device_memory_gib=info.memory_gib)

    def _run(self, name: str, overrides: Sequence[str], pool: EncoderPool | None = None, *, whole: bool = True) -> Path:
        spec = self._spec([f"results_dir={self._folder / 'results' / name}", *overrides])
        outcome = execute(spec, self._device, Silent(), encoders=pool)
        if whole and outcome.failed:
            raise SystemExit(f"{name}: {outcome.failed}")
        return spec.folder

    def _judged(self, faults: Sequence[Fault], *, scikit: bool) -> Iterator[Judged]:
        for number, fault in enumerate(faults):
            yield self._judge(number, fault)
        if scikit:
            yield self._scikit_learn()

    def _judge(self, number: int, fault: Fault) -> Judged:
        scratch = self._folder / f"fault-{number}"
        scratch.mkdir()
        load = canary = ""
        with contextlib.redirect_stderr(None), fault.plant(self._spec([]).model, scratch) as given:
            overrides = [text for text in given if not text.startswith(FILL)]
            for text in given:
                if text.startswith(FILL):
                    self._run(f"fill-{number}", [*overrides, f"model.path={text.removeprefix(FILL)}"])
            try:
                pool = EncoderPool()
                try:
                    run_canary(pool.encoder(self._spec(overrides), self._device))
                except CanaryError as error:
                    canary = _findings(error)
                candidate = self._run(f"fault-{number}", overrides, pool, whole=False)
                encoder = pool.encoder(self._spec(overrides), self._device)
                write_sketch(candidate, sketch_texts(encoder, canary_texts(), encoder.apart().encode(canary_texts())))
            except (HarnessError, RuntimeError) as error:  # RuntimeError: torch refuses what the fault makes
                load, candidate = _short(str(error)), None
        if candidate is None:
            return _judged(fault, load, canary, None, None)
        return _judged(fault, load, canary, self._check(candidate), self._check(candidate, elsewhere=True))

    def _check(self, candidate: Path, *, unlike: bool = False, elsewhere: bool = False) -> DriftReport:
        """The report on a run; `elsewhere`: as if it had run on other kernels."""
        before, after = (read_run(folder, BENCHMARK) for folder in (self._baseline, candidate))
        if elsewhere:
            other = replace(after.manifest.model or Fingerprint(), kernel="another", digest="another")
            after = replace(after, manifest=replace(after.manifest, model=other))
        calibration = run_calibration(before, BENCHMARK)
        return check_runs(before, after, BENCHMARK, calibration=calibration, allow_unlike=unlike)

    def _scikit_learn(self) -> Judged:
        """The run with another scikit-learn, in a process that imports it first; loading refuses it until the pin is removed there."""
        packages = self._folder / "packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages), f"scikit-learn=={SCIKIT_LEARN}"]
        subprocess.run(pip, check=True)
        place = [f"results_dir={self._folder / 'results' / 'scikit-learn'}"]
        folder, path = self._spec(place).folder, {"PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
        printed = [self._in_another_process(place, path, lifted=lifted) for lifted in (False, True)]
        judged = _judged(_SCIKIT, "", "", self._check(folder), None)
        loose = _judged(_SCIKIT, printed[0], "", self._check(folder, unlike=True), None)
        return Judged(
            fault=_SCIKIT, load=_short(printed[0]), canary="", gate=judged.gate or loose.gate, vectors="", scores="",
            manifest=judged.manifest,
            compared=True, main=loose.main, largest=loose.largest, cells=loose.cells,
        )  # fmt: skip

    def _in_another_process(self, overrides: Sequence[str], environment: Mapping[str, str], *, lifted: bool = False) -> str:
        """Run everything in a process of another environment; the last line that it prints. `lifted`: without the pin of scikit-learn."""
        order = self._folder / "elsewhere.json"
        everything = [*self._basic, f"tasks=[{','.join(self._tasks)}]", "store=null", *overrides]
        order.write_text(json.dumps({"overrides": everything, "lifted": lifted}), encoding="utf-8")
        command = [sys.executable, str(Path(__file__)), "--into", str(order)]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(ROOT), **environment}, capture_output=True, text=True, check=False
        )
        return done.stdout.strip().splitlines()[-1] if done.returncode == 0 else done.stderr[-300:]

    def _repeat(self, number: int, way: _Way) -> str:
        """The reason why the gate or the canary did not pass, or nothing."""
        overrides = [f"results_dir={self._folder / 'results' / f'repeat-{number}'}", f"workers={way.workers}", *way.shapes]
        if way.kernels:
            self._in_another_process([*overrides, "canary=on"], way.kernels)
            return self._passes(self._spec(overrides).folder)
        store = self._folder / f"store-{number}"
        if way.store == "half":
            self._run(f"half-{number}", [f"store={store}", f"tasks=[{','.join(self._tasks[::2])}]"], self._pool)
        if way.store != "none":
            overrides.append(f"store={self._folder / 'full' if way.store == 'full' else store}")
        pool, checked = EncoderPool(), number % 5 == 0
        with torch_threads(way.threads):
            for part in way.parts:
                spec = self._spec([*overrides, f"canary={'on' if checked else 'off'}"], part)
                try:
                    if way.interrupted:
                        with contextlib.suppress(KeyboardInterrupt):
                            execute(spec, self._device, _Interrupting(), encoders=pool)
                    execute(spec, self._device, Silent(), encoders=pool)
                except HarnessError as error:
                    return _short(str(error))
            if not checked:
                encoder = pool.encoder(spec, self._device)
                write_sketch(spec.folder, sketch_texts(encoder, canary_texts(), encoder.apart().encode(canary_texts())))
        return self._passes(spec.folder)

    def _passes(self, folder: Path) -> str:
        """The gate's message on a clean run, or nothing."""
        report = self._check(folder)
        self._levels[report.kernels] += 1
        if report.vectors is None:
            return "the canary's vectors were not compared"
        self._unequal += sum(cell.verdict != "identical" for task in report.tasks for cell in (task.main, *task.others))
        return _gate(report) or ("" if len(report.tasks) == len(self._tasks) else "tasks are missing")


@dataclass(frozen=True, kw_only=True)
class _Way:
    """How a clean repeat is run. `parts`: the tasks of each of several runs into one folder. `shapes`: overrides of batch shapes.
    `kernels`: variables that choose other kernels, in a process of its own and in one part; empty for this process."""

    parts: tuple[tuple[str, ...], ...]
    store: str
    threads: int
    workers: int
    interrupted: bool
    shapes: tuple[str, ...]
    kernels: Mapping[str, str]

    @staticmethod
    def drawn(draw: random.Random, number: int, tasks: Sequence[str]) -> _Way:
        order = draw.sample(tasks, len(tasks))
        cut = sorted(draw.sample(range(1, len(order)), draw.randrange(min(3, len(order)))))
        return _Way(
            parts=tuple(tuple(order[start:end]) for start, end in zip([0, *cut], [*cut, len(order)], strict=True)),
            store=("none", "empty", "half", "full")[number % 4],
            threads=draw.choice((1, 2, 3)),
            workers=2 if number % 10 == 3 else 0,
            interrupted=draw.random() < 0.3,
            shapes=draw.choice(((), ("gpu.ladder=exact",), ("gpu.batch_tokens=96",), ("gpu.ladder=exact", "gpu.batch_tokens=4096"))),
            kernels=ENVIRONMENTS[number // 10 % len(ENVIRONMENTS)] if number % 10 == 7 else {},
        )

    def words(self) -> list[str]:
        if self.kernels:
            return [f"under {key}={value}" for key, value in self.kernels.items()]
        return [
            *(f"with a store: {self.store}", f"on {self.threads} threads", *self.shapes),
            *(["in parts"] if len(self.parts) > 1 else []),
            *(["scored in 2 processes"] if self.workers else []),
            *(["interrupted"] if self.interrupted else []),
        ]


class _Interrupting(Silent):
    """Ctrl-C is pressed when the first task is done."""

    def finished(self, task: TaskSpec, *, score: float | None, error: str | None) -> None:
        raise KeyboardInterrupt


_SCIKIT = Fault(name=f"scikit-learn {SCIKIT_LEARN}", where="packages", plant=lambda _model, _scratch: contextlib.nullcontext([]))


def _judged(fault: Fault, load: str, canary: str, report: DriftReport | None, elsewhere: DriftReport | None) -> Judged:
    """`elsewhere`: the report as if the run had been on other kernels; None where the two would be the same."""
    away = elsewhere or report
    cells = [cell for task in away.tasks for cell in (task.main, *task.others)] if away else []
    moved = [abs(cell.points) for cell in cells if cell.main and cell.points]
    differing = [*report.unlike, *report.environment] if report else []
    keys = [each.key for each in differing if each.key.partition(".")[0] in ("model", "versions", "spec")]
    return Judged(
        fault=fault,
        load=load,
        canary=canary,
        gate=_gate(report) if report else "",
        vectors=_vectors(elsewhere) if elsewhere else "",
        scores=f"drift in {len(elsewhere.failing)} of {len(elsewhere.tasks)}" if elsewhere and elsewhere.failing else "",
        manifest=", ".join(keys),
        compared=report is not None,
        main=len(moved),
        largest=max(moved, default=0.0),
        cells=sum(cell.verdict in ("drifted", "missing") for cell in cells),
    )


def _cells(row: Judged, tasks: int) -> list[str]:
    """The row's cells as the table shows them."""
    moved = f"{row.main} of {tasks}, by up to {row.largest:.3g}" if row.main else "none"
    if not row.compared:
        return [row.fault.name, row.fault.where, "", f"loading: {row.load}" if row.load else row.canary, "", "", "", row.manifest]
    gate = row.gate or ("**passes it**" if row.cells else row.fault.silent or "nothing moves on this data")
    return [row.fault.name, row.fault.where, moved, row.canary, gate, row.vectors, row.scores, row.manifest]


def _gate(report: DriftReport) -> str:
    """The gate's message, or nothing if the run passes."""
    if report.exit_code == 0:
        return ""
    if report.unlike:
        return "refuses to compare"
    layers = sorted(
        {task.layer or "scores" for task in report.failing} | ({"canary"} if report.vectors and report.vectors.drifted else set())
    )
    return f"drift in {len(report.failing)} of {len(report.tasks)} ({', '.join(layers)})"


def _vectors(report: DriftReport) -> str:
    """The distance of the canaries, and whether it is drift."""
    if report.vectors is None:
        return ""
    found = report.vectors
    return f"{'drift' if found.drifted else 'within rounding'}: {found.distance.rms:.1e}, farthest {found.distance.farthest:.1e}"


def _findings(error: CanaryError) -> str:
    """The subjects of the canary's findings."""
    return ", ".join(line.strip().partition(":")[0] for line in str(error).splitlines()[1:-1])


def _short(message: str) -> str:
    line = message.splitlines()[0]
    return line if len(line) < 90 else f"{line[:87]}..."


def _run_elsewhere(order: dict[str, Any]) -> None:
    """The run in this process, which has other packages; prints why it is refused, or where its records are."""
    spec, device = resolve_here(order["overrides"])
    pins = {"scikit-learn": SCIKIT_LEARN} if order["lifted"] else {}
    with mock.patch.dict(reference.SCORING_PINS, pins):
        outcome = execute(spec, device, Silent())
    print(next(iter(outcome.failed.values())) if outcome.failed else spec.folder)


if __name__ == "__main__":
    main()
