"""Noise floors: the statistics by known answers, the jitter by what it must leave alone, a calibration from a run's folder to its file."""

from __future__ import annotations

import json
import math
import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from records import run_here
from scipy.stats import norm
from tiny_models import load_encoder

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.calibration import Calibration, Rounding, read_calibration, write_calibration
from harness.core.config import compose_config
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.prompts import TaskPrompts
from harness.core.run_files import read_run
from harness.core.spec import DataSpec, Dtype, EncodingSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import load_task
from harness.evaluate.calibrate import floors, measure
from harness.evaluate.calibrate.floors import COVERAGE, RESOLUTION, expected_false_alarms, expected_jumps, spread, tolerance_factor
from harness.evaluate.calibrate.jitter import Jitter, RoundingScale, measure_scale
from harness.evaluate.calibrate.measure import calibrate
from harness.evaluate.calibrate.request import check_parts
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.store.shards import open_shard, write_shard
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.score.adapter import EmbeddingModel
from harness.evaluate.score.tasks import MTEB1, planned_texts
from harness.show.calibration import calibration_document
from harness.show.text import render_text

BENCHMARK = load_benchmark()
TASKS = ("JDReview", "ThuNewsClusteringS2S", "AFQMC", "CMedQAv1", "CovidRetrieval")
POINTS = st.floats(min_value=0, max_value=100)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of a few tasks of the sample under `run`, and its vectors under `store`."""
    folder = tmp_path_factory.mktemp("calibrate")
    overrides = ["model=sample", "data=sample", "gpu=cpu", "canary=off", f"store={folder / 'store'}", f"results_dir={folder / 'results'}"]
    outcome = run_here([*overrides, f"tasks=[{','.join(TASKS)}]"])
    assert not outcome.failed
    outcome.folder.rename(folder / "run")
    return folder


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be spoilt."""
    return shutil.copytree(home / "run", tmp_path / "run")


def sample_encoder(dtype: Dtype, store: VectorStore | None = None) -> CanonicalEncoder:
    spec = compose_config(["model=sample", "data=sample"]).model
    encoding = EncodingSpec(ladder="padded", batch_tokens=512)
    return load_encoder(spec, dtype=dtype, max_len=512, encoding=encoding, device=torch.device("cpu"), store=store)


def rounding_floor(score: float, draws: list[float], wide: list[float], factor: float = 3.0) -> Rounding:
    return floors.rounding_floor(score, draws, wide, factor=factor)


# The statistics


@pytest.mark.parametrize(
    ("draws", "coverage", "confidence", "factor"),
    [
        (43, 0.90, 0.99, 2.217),  # NIST/SEMATECH e-Handbook 7.2.6.3, by Howe's formula
        (10, 0.99, 0.95, 4.433),  # Hahn and Meeker, Statistical Intervals, table A.10b (exact)
        (20, 0.99, 0.95, 3.615),
        (50, 0.95, 0.95, 2.379),
    ],
)
def test_tolerance_factors_of_the_tables(draws: int, coverage: float, confidence: float, factor: float) -> None:
    assert tolerance_factor(draws, coverage=coverage, confidence=confidence) == pytest.approx(factor, rel=3e-3)


def test_a_tolerance_holds_the_share_it_promises_as_often_as_it_promises() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(1000):
        draws = generator.normal(0.02, 0.1, size=20)
        tolerance = rounding_floor(0.0, draws.tolist(), []).tolerance
        held += norm.cdf(tolerance, 0.02, 0.1) - norm.cdf(-tolerance, 0.02, 0.1) >= COVERAGE
    assert held >= 940, "confidence 0.95, less what 1,000 repetitions can be off"


@pytest.mark.parametrize(("draws", "expected"), [(20, 0.003), (10, 0.0175), (5, 0.173), (3, 0.97)])
def test_fewer_draws_raise_more_false_alarms(draws: int, expected: float) -> None:
    assert expected_false_alarms(draws) == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("shift", [0.3, -0.3])
def test_draws_that_all_move_one_way_widen_the_tolerance_by_their_mean(shift: float) -> None:
    floor = rounding_floor(50.0, [50.0 + shift + 0.001 * (-1) ** number for number in range(20)], [])
    assert floor.tolerance == pytest.approx(0.3 + tolerance_factor(20) * 0.001 * math.sqrt(20 / 19), abs=1e-3)


def test_what_no_draw_moves_has_the_resolution_of_doubles() -> None:
    floor = rounding_floor(71.24, [71.24] * 20, [71.24] * 10)
    assert (floor.tolerance, floor.moved, floor.sd, floor.largest, floor.wide) == (RESOLUTION, 0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("moved", "wide_moved", "factor", "jumps"),
    [
        (0, 10, 3.0, 4),  # at most 0.15 in a draw, from 0 of 20: P(more than 4) = 6e-7, P(more than 3) = 2e-5
        (0, 0, 3.0, 3),  # 0 of 10 at three times the scale: at most 0.1
        (0, 2, 3.0, 4),
        (1, 10, 3.0, 4),
        (9, 10, 3.0, 8),
        (0, 9, 50.0, 3),
        (0, 10, math.inf, 4),  # all of them moved, so they bound nothing
        (0, 9, math.inf, 0),
    ],
)
def test_how_many_jumps_one_difference_can_have(moved: int, wide_moved: int, factor: float, jumps: int) -> None:
    assert expected_jumps(moved, 20, wide_moved, 10, factor=factor) == jumps


def test_a_jump_too_rare_for_the_draws_is_worth_a_few_of_those_seen_in_wide_ones() -> None:
    floor = rounding_floor(50.0, [50.0] * 20, [50.0] * 7 + [50.1, 50.1, 46.0])
    assert (floor.jumps, floor.moved, floor.wide) == (4, 0, 4.0)
    assert floor.tolerance == pytest.approx(4 * 0.1, rel=0.01), "and not the largest, which is several jumps at once"


def test_wide_draws_that_are_many_jumps_at_once_count_no_more_than_the_largest() -> None:
    floor = rounding_floor(50.0, [50.0] * 20, [49.0 - number / 10 for number in range(10)])
    assert floor.tolerance == pytest.approx(3.0, rel=0.01), "three of the smallest; the largest is 1.9, and four medians would be 5.8"


def test_the_tolerance_holds_jumps_as_rare_as_they_are_estimated() -> None:
    generator = np.random.default_rng(3)
    beyond = 0
    for _ in range(300):
        rate = generator.uniform(0.001, 0.5)
        draws, wide, future = (generator.poisson(rate * factor, size=size) for factor, size in ((1, 20), (3, 10), (1, 100)))
        floor = rounding_floor(50.0, (50.0 + 0.1 * draws).tolist(), (50.0 + 0.1 * wide).tolist())
        beyond += int((0.1 * future > floor.tolerance + 1e-9).sum()) if floor.jumps else 0
    assert beyond <= 9, "5 of 30,000 checks of a metric that jumps rarely"


def test_wide_draws_widen_nothing_where_the_draws_themselves_move() -> None:
    steady = rounding_floor(50.0, [50.0 + 0.001 * (-1) ** number for number in range(20)], [51.0, 49.0])
    assert steady.tolerance == pytest.approx(tolerance_factor(20) * 0.001 * math.sqrt(20 / 19), rel=0.01)


@pytest.mark.parametrize(("moved", "counts"), [(9, True), (10, False), (11, False)])
def test_wide_draws_count_where_fewer_than_half_of_the_draws_moved(moved: int, counts: bool) -> None:
    floor = rounding_floor(50.0, [50.001] * moved + [50.0] * (20 - moved), [50.0] * 9 + [53.0])
    assert (floor.jumps > 0) == counts
    assert (floor.draws, floor.moved, floor.mean, floor.largest, floor.wide) == (20, moved, pytest.approx(0.001 * moved / 20), 0.001, 3.0)


@given(score=POINTS, draws=st.lists(POINTS, min_size=3, max_size=30), wide=st.lists(POINTS, max_size=15))
def test_a_tolerance_passes_every_draw_it_was_made_of(score: float, draws: list[float], wide: list[float]) -> None:
    floor = rounding_floor(score, draws, wide)
    assert all(abs(draw - score) <= floor.tolerance for draw in draws)
    assert floor.tolerance >= RESOLUTION


def test_a_spread_by_hand() -> None:
    found = spread([10.0, 20.0, 30.0, 40.0, 50.0])
    assert (found.draws, found.sd, found.low, found.high) == (5, 15.8114, 11.0, 49.0)  # sd: sqrt(1000 / 4); 2.5 % of the way to each end


# The jitter


def scale_of(errors: torch.Tensor) -> RoundingScale:
    return RoundingScale(errors=errors, length=1.0, texts=len(errors), rounding=0.0, kernels={}, full_precision=0.0, used=0.0)


def test_equal_vectors_stay_equal_and_others_do_not() -> None:
    vectors = torch.randn(40, 16, generator=torch.Generator().manual_seed(1))[[*range(20), *range(20)]]
    drawn = Jitter(vectors, scale_of(1e-3 * torch.randn(64, 16))).draw("a")
    assert torch.equal(drawn[:20], drawn[20:])
    assert not torch.equal(drawn, vectors)


def test_a_draw_is_a_function_of_its_seed() -> None:
    vectors = torch.randn(10, 16)
    jitter = Jitter(vectors, scale_of(1e-3 * torch.randn(64, 16)))
    assert torch.equal(jitter.draw("a"), jitter.draw("a"))
    assert not torch.equal(jitter.draw("a"), jitter.draw("b"))


def test_draws_have_the_size_and_the_directions_of_the_measured_errors() -> None:
    generator = torch.Generator().manual_seed(2)
    errors = torch.zeros(256, 16)
    errors[:, :4] = 1e-3 * torch.randn(256, 4, generator=generator)  # a last layer of rank 4
    vectors = 7 * torch.nn.functional.normalize(torch.randn(5000, 16, generator=generator), dim=1)
    for factor in (1.0, 10.0):
        noise = Jitter(vectors, scale_of(errors)).draw("a", factor=factor) - vectors
        rms, measured = noise.norm(dim=1).square().mean().sqrt(), errors.norm(dim=1).square().mean().sqrt()
        assert float(rms / measured) == pytest.approx(factor, rel=0.05)
        assert float(noise[:, 4:].abs().max()) < 1e-6, "no noise where no kernel makes any"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_draws_are_rounded_to_the_dtype(dtype: torch.dtype) -> None:
    drawn = Jitter(torch.randn(8, 16).to(dtype), scale_of(1e-2 * torch.randn(64, 16))).draw("a")
    assert drawn.dtype == dtype


def test_the_measured_scale_grows_with_the_coarseness_of_the_dtype() -> None:
    texts = planned(BENCHMARK.task("AFQMC").name)[:32]
    scales = {dtype: measure_scale(sample_encoder(dtype), texts)[0] for dtype in ("fp32", "fp16", "bf16")}  # type: ignore[arg-type]
    used = [scales[dtype].used for dtype in ("fp32", "fp16", "bf16")]
    assert 1e-8 < used[0] < 1e-5 < used[1] < 1e-2 < 10 * used[2] < 1
    for scale in scales.values():
        assert scale.used >= max(math.sqrt(2) * scale.rounding, *scale.kernels.values())
        assert float(scale.errors.norm(dim=1).square().mean().sqrt()) == pytest.approx(scale.used * scale.length, rel=1e-3)
    assert scales["fp32"].full_precision == scales["fp32"].rounding, "no weight was rounded"


def test_a_fault_does_not_pass_for_rounding() -> None:
    encoder = sample_encoder("fp32")
    with torch.no_grad():
        next(encoder.model.transformer.parameters()).mul_(1.01)
    with pytest.raises(InputError, match="something else is wrong"):
        measure_scale(encoder, planned("AFQMC")[:32])


def planned(name: str) -> list[str]:
    task = BENCHMARK.task(name)

    return planned_texts(task, load_task(task, DataSpec(source="sample", verify="label")).data, TaskPrompts())


# Other seeds


@pytest.mark.parametrize("name", ["JDReview", "ThuNewsClusteringS2S", "MassiveIntentClassification"])
def test_42_is_the_protocol_and_another_seed_is_not(name: str) -> None:
    task = BENCHMARK.task(name)
    data = load_task(task, DataSpec(source="sample", verify="label")).data
    encoder = sample_encoder("fp32")
    model = EmbeddingModel(encoder.encode, dim=None, dtype="float32")
    scores = [MTEB1.score(task, data, model, **seed).metrics for seed in ({}, {"seed": 42}, {"seed": 43}, {"seed": 43})]
    assert scores[0] == scores[1]
    assert scores[2] == scores[3]
    assert scores[0] != scores[2]


# From a run to its file


def test_a_calibration_takes_no_forward_pass_and_is_the_same_every_time(home: Path, tmp_path: Path) -> None:
    done = calibrate(home / "run", [f"store={home / 'store'}"], draws=5)
    assert done.forwards == 0
    again = calibrate(home / "run", ["store=null", "workers=0"], draws=5, parts=["seeds"], tasks=["JDReview"])
    assert again.forwards > 0
    run = read_run(home / "run", BENCHMARK)
    done.calibration.check_belongs(run, BENCHMARK)
    write_calibration(tmp_path / "c.json", done.calibration)
    assert read_calibration(tmp_path / "c.json", BENCHMARK).tasks == done.calibration.tasks
    for name in TASKS:
        task = BENCHMARK.task(name)
        noise = done.calibration.noise(name, task.main)
        assert noise is not None
        assert noise.score == 100 * run.records[name].main_score(task)
        assert noise.rounding is not None
        assert noise.rounding.tolerance < 1e-3, "the sample leaves margins"
        assert noise.sampling is not None
        assert noise.sampling.low < noise.score < noise.sampling.high
        assert (noise.seeds is not None) == (task.type in ("Classification", "Clustering"))
    pearson = done.calibration.tolerance("AFQMC", "cos_sim.pearson")
    assert pearson is not None
    assert RESOLUTION < pearson < 0.01, "it follows the vectors themselves"
    assert again.calibration.noise("JDReview", "accuracy").seeds == done.calibration.noise("JDReview", "accuracy").seeds
    message = render_text(calibration_document(done))
    assert "0 forward passes" in message
    assert "false alarms (" in message
    assert "JDReview" in message


def test_a_store_that_a_calibration_fills_serves_runs_and_one_of_other_vectors_is_refused(home: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    asked = {"draws": 5, "parts": ["seeds"], "tasks": ["JDReview"]}
    assert calibrate(home / "run", [f"store={store}"], **asked).forwards > 0
    places = [f"results_dir={tmp_path / 'results'}", f"store={store}"]
    outcome = run_here(["model=sample", "data=sample", "gpu=cpu", "canary=off", "tasks=[JDReview]", *places])
    assert outcome.cost.encoding.forwards == 0
    (proof,) = store.glob("*/*.proof")
    shard, keys = open_shard(proof, dim=1792, dtype="fp32")
    vectors = shard.vectors().clone()
    proof.unlink()
    write_shard(proof.parent, keys, vectors + 1, "fp32", suffix=".proof")
    with pytest.raises(InputError, match="other bits"):
        calibrate(home / "run", [f"store={store}"], **asked)


def test_only_the_parts_that_were_asked_for(home: Path) -> None:
    found = calibrate(home / "run", [f"store={home / 'store'}"], parts=check_parts(["sampling"]), tasks=["AFQMC"])
    noise = found.calibration.noise("AFQMC", "cos_sim.spearman")
    assert noise is not None
    assert (noise.rounding, noise.seeds) == (None, None)
    assert noise.sampling is not None
    assert found.measuring == 0
    assert found.calibration.tolerance("AFQMC", "cos_sim.spearman") is None


def test_bootstrap_and_theory_agree_on_a_mean(home: Path) -> None:
    """Precision at 1 is a mean of zeros and ones over queries: its standard error is known."""
    found = calibrate(home / "run", [f"store={home / 'store'}"], parts=["sampling"], tasks=["CovidRetrieval"])
    noise = found.calibration.noise("CovidRetrieval", "precision_at_1")
    assert noise is not None
    assert noise.sampling is not None
    share, queries = (
        noise.score / 100,
        len(load_task(BENCHMARK.task("CovidRetrieval"), DataSpec(source="sample", verify="label")).data.queries),
    )  # type: ignore[union-attr]
    assert noise.sampling.sd == pytest.approx(100 * math.sqrt(share * (1 - share) / queries), rel=0.1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"draws": 2, "parts": ["seeds"]}, RequestError, "at least 3"),
        ({"draws": 3}, RequestError, r"raises 1 false alarms in a check of 370 metrics .* at least 5"),
        ({"tasks": ["TNews"]}, RequestError, "no record of TNews"),
        ({"tasks": ["TNewz"]}, RequestError, "did you mean TNews"),
        ({"overrides": ["dtype=fp16"]}, RequestError, "the run's settings come from its manifest"),
        ({"overrides": ["store"]}, RequestError, "is not KEY=VALUE"),
        ({"overrides": ["workers=x"]}, RequestError, "could not be converted to Integer"),
        ({"overrides": ["workers=-1"]}, RequestError, "give a number of processes"),
    ],
)
def test_a_wrong_request_is_refused(home: Path, arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        calibrate(home / "run", **arguments)  # type: ignore[arg-type]


def test_unknown_parts_are_reported_at_once() -> None:
    with pytest.raises(RequestError, match="did you mean rounding") as error:
        check_parts(["roundin", "seedz"])
    assert "seedz" in str(error.value)


def test_a_record_that_its_vectors_do_not_give_is_refused(home: Path, run: Path) -> None:
    path = run / "AFQMC.json"
    record = json.loads(path.read_text())
    record["validation"]["cos_sim"]["spearman"] += 1e-6
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="scoring the vectors again gives"):
        calibrate(run, [f"store={home / 'store'}"], parts=["sampling"], tasks=["AFQMC"])


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        (("model", "weights_digest"), InputError, "the weights here"),
        (("model", "digest"), MachineError, "made under another setting"),
        (("versions", "torch"), MachineError, "torch: x there"),
        (("benchmark", "digest"), InputError, "another table"),
    ],
)
def test_a_run_of_another_setting_is_refused(home: Path, run: Path, keys: tuple[str, str], error: type[Exception], message: str) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    manifest[keys[0]][keys[1]] = "x"
    (run / "manifest.json").write_text(json.dumps(manifest))
    for path in run.glob("*.json"):  # the records name the same weights
        path.write_text(path.read_text().replace(read_weights(home), "x") if keys[1] == "weights_digest" else path.read_text())
    with pytest.raises(error, match=message):
        calibrate(run, [f"store={home / 'store'}"], parts=["sampling"], tasks=["AFQMC"])


def read_weights(home: Path) -> str:
    return str(json.loads((home / "run" / "manifest.json").read_text())["model"]["weights_digest"])


def test_other_data_is_refused(home: Path, run: Path) -> None:
    path = run / "AFQMC.json"
    record = json.loads(path.read_text())
    record["harness"]["data"]["sha256"] = {"validation.jsonl.gz": "0" * 64}
    path.write_text(json.dumps(record))
    with pytest.raises(InputError, match="is not the data of"):
        calibrate(run, [f"store={home / 'store'}"], parts=["sampling"], tasks=["AFQMC"])


def test_what_was_measured_before_the_disk_was_full_is_not_measured_again(home: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []
    really = measure._calibrate_task

    def counted(setup: object, task: TaskSpec) -> object:
        measured.append(task.name)
        return really(setup, task)  # type: ignore[arg-type]

    def go(seeds: int = 20, on_task: Callable[..., None] = lambda task, noise: None) -> Calibration:
        return calibrate(run, [f"store={home / 'store'}"], draws=seeds, **asked, output=output, on_task=on_task).calibration  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "_calibrate_task", counted)
    both, output = ["CMedQAv1", "AFQMC"], run / "calibration.json"
    asked = {"parts": ["sampling", "seeds"], "tasks": both}
    part, (soft, hard) = run / "calibration.json.part", resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(MachineError, match=r"can't write .*calibration\.json\.part: File too large\. Free disk space"):
            go(on_task=lambda task, noise: resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (measured, part.exists(), output.exists()) == (both, True, False)
    kept = part.read_bytes()
    found = go()
    assert measured[2:] == both[1:]
    assert (read_calibration(output, BENCHMARK), part.exists()) == (found, False)
    whole = output.read_bytes()
    go()
    assert (measured[3:], output.read_bytes()) == (both, whole)
    part.write_bytes(kept)
    go(seeds=7)  # measured otherwise
    assert measured[5:] == both


def test_the_command_writes_the_file_beside_the_records(
    home: Path, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [f"store={home / 'store'}", "--tasks", "AFQMC", "--parts", "sampling", "--format", "json"]
    assert main(["calibrate", str(run), *arguments]) == 0
    printed = capsys.readouterr()
    assert f"written to {run / 'calibration.json'}" in printed.err
    shown, written = json.loads(printed.out)["tasks"], json.loads((run / "calibration.json").read_text())["tasks"]
    assert shown["AFQMC"]["cos_sim_spearman"]["sampling"] == written["AFQMC"]["cos_sim_spearman"]["sampling"]
    assert read_calibration(run / "calibration.json", BENCHMARK).noise("AFQMC", "cos_sim.spearman").sampling is not None
    before = (run / "calibration.json").read_bytes()
    capsys.readouterr()
    assert main(["calibrate", str(run), f"store={home / 'store'}", "--tasks", "AFQMC", "--parts", "seeds"]) == 2
    assert "has values that this call would not measure, and they would be lost: all of sampling" in capsys.readouterr().err
    assert (run / "calibration.json").read_bytes() == before
    assert (
        main(["calibrate", str(run), *arguments, "-o", str(tmp_path)]) == main(["calibrate", str(run), *arguments, "-o", "/dev/null"]) == 2
    )
    assert main(["calibrate", str(run), *arguments, "-o", "/proc/nowhere/x.json"]) == 1
    (tmp_path / "noise.json.part").mkdir()
    assert main(["calibrate", str(run), *arguments, "-o", str(tmp_path / "noise.json")]) == 2
    baseline = shutil.copytree(run, tmp_path / "baselines" / "sample" / run.name)
    assert main(["calibrate", str(run), *arguments, "-o", str(baseline / "calibration.json")]) == 2
    assert (baseline / "calibration.json").read_bytes() == before
    said = capsys.readouterr().err
    assert "noise.json.part is no file, but a folder" in said
    assert f"{baseline / 'calibration.json'} is in the folder of another run than {run}" in said
    assert "calibrated AFQMC" not in said
    assert main(["calibrate", str(tmp_path / "nowhere")]) == 2
    assert main(["calibrate", str(tmp_path)]) == 1
