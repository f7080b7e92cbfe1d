"""The layer of vectors: sketches keep distances, and what lies beyond rounding is drift on every kernel, whatever the scores say."""

from __future__ import annotations

import json
import math
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gates import accept, calibration_of, check, gate_run
from records import run_here
from runs import BENCHMARK

from harness.commands import main
from harness.core.calibration import Calibration, CanaryDistances, Distance, read_calibration, write_calibration
from harness.core.errors import InputError
from harness.core.fingerprint import Fingerprint
from harness.core.run_files import CANARY, read_manifest, read_run
from harness.core.sketch import NUMBERS, Floats, Sketch, distance, packed, read_sketch, sketch_rows, write_sketch
from harness.evaluate.agenda import Agenda, made_here
from harness.evaluate.encode.model import loading
from harness.evaluate.here import resolve_here
from harness.read.drift.check import check_folders, check_runs
from harness.read.drift.vectors import KERNELS_MARGIN, SHAPES_MARGIN, VectorDrift, compare_vectors
from harness.show.ci import workflow_commands, write_junit
from harness.show.drift import conclusion, drift_document
from harness.show.text import render_text

GENERATOR = np.random.default_rng(0)
VECTORS = GENERATOR.normal(size=(256, 384))
ERRORS = GENERATOR.normal(size=(256, 384))
SECOND = Distance(rms=1e-2, farthest=3e-2)
SEEN = CanaryDistances(double=Distance(rms=8e-3, farthest=2e-2), batch_shapes={"ladder=exact": Distance(rms=1e-3, farthest=4e-3)})
SETTING = Fingerprint(
    dtype="bf16", kernel="EPYC", linear="onednn", attention="sdpa:math", ladder="padded", batch_tokens=512, max_len=256, digest="d"
)
SHAPES, KERNELS = replace(SETTING, ladder="exact"), replace(SETTING, kernel="H100", digest="h")
FUSED = replace(SETTING, attention="packed triton 3.7.1 text attention 1", ladder="packed", digest="p")


def sketch(vectors: Floats = VECTORS, **changed: Any) -> Sketch:
    """A sketch of vectors, whose digest follows from them."""
    made = Sketch(texts="t", tokens="i", vectors=str(hash(vectors.tobytes())), rows=packed(sketch_rows(vectors)), second=SECOND)
    return replace(made, **changed)


def moved(by: float, texts: int = 256) -> Floats:
    """The vectors with errors of this size, root mean square over those texts that have one, as a share of their length."""
    errors = ERRORS * (np.linalg.norm(VECTORS) / np.linalg.norm(ERRORS[:texts]) * (texts / 256) ** 0.5 * by)
    errors[texts:] = 0
    return VECTORS + errors


def compared(vectors: Floats, after: Fingerprint, *, seen: CanaryDistances | None = SEEN) -> VectorDrift:
    found = compare_vectors(sketch(), sketch(vectors), (SETTING, after), calibration(seen))
    assert isinstance(found, VectorDrift)
    return found


def calibration(seen: CanaryDistances | None) -> Calibration:
    return Calibration(run="", benchmark="", weights="", tasks={}, provenance={}, vectors=seen)


def test_a_sketch_keeps_distances() -> None:
    for by in (1e-6, 1e-2, 1.0):
        assert distance(sketch().numbers, sketch(moved(by)).numbers).rms == pytest.approx(by, rel=0.1)


def test_the_projection_is_the_same_on_every_machine() -> None:
    row = sketch_rows(np.arange(1.0, 5.0)[None, :])[0]
    assert row.shape == (NUMBERS,)
    assert (row[:6] * math.sqrt(NUMBERS)).tolist() == PROJECTED


PROJECTED = [6.0, 6.0, 4.0, 8.0, 10.0, -2.0]


@pytest.mark.parametrize(
    ("after", "by", "drifted"),
    [
        (SETTING, 0.0, False),
        (SETTING, 1e-7, True),
        (SHAPES, 0.9 * SHAPES_MARGIN * 1e-3, False),
        (SHAPES, 1.1 * SHAPES_MARGIN * 1e-3, True),
        (KERNELS, 0.9 * KERNELS_MARGIN * math.sqrt(2) * 8e-3, False),
        (KERNELS, 1.1 * KERNELS_MARGIN * math.sqrt(2) * 8e-3, True),
        (FUSED, 0.9 * KERNELS_MARGIN * math.sqrt(2) * 8e-3, False),
    ],
)
def test_how_far_vectors_may_lie_follows_from_what_is_equal(after: Fingerprint, by: float, drifted: bool) -> None:
    assert compared(moved(by), after).drifted == drifted


def test_without_a_calibration_the_second_chain_says_what_to_expect() -> None:
    limit = compared(VECTORS, SHAPES, seen=None).limit
    assert limit is not None
    assert limit.rms == pytest.approx(KERNELS_MARGIN * math.sqrt(2) * SECOND.rms)


def test_one_text_that_lies_far_is_enough() -> None:
    found = compared(moved(0.1, texts=1), KERNELS)
    assert found.distance.rms < 1e-2
    assert "farthest text" in found.why


def test_other_token_ids_are_drift_on_any_kernel() -> None:
    found = compare_vectors(sketch(), sketch(tokens="j"), (SETTING, KERNELS), None)
    assert isinstance(found, VectorDrift)
    assert "token ids" in found.why


def test_in_fp32_two_chains_of_equal_bits_leave_room_for_other_kernels() -> None:
    before, after = (replace(each, dtype="fp32") for each in (SETTING, KERNELS))
    baseline = sketch(second=Distance(rms=0.0, farthest=0.0))
    found = [compare_vectors(baseline, sketch(moved(by)), (before, after), None) for by in (1e-6, 1e-5)]
    assert [each.drifted for each in found if isinstance(each, VectorDrift)] == [False, True]


def test_other_texts_and_vectors_that_move_by_themselves_are_not_compared() -> None:
    for changed in ({"texts": "other"}, {"floor": 0.001}):
        assert isinstance(compare_vectors(sketch(), sketch(**changed), (SETTING, SETTING), None), str)


@pytest.mark.parametrize(
    "content", ["", "{}", '{"texts": 1}', json.dumps({"texts": "", "tokens": "", "vectors": "", "rows": "x"}), '{"schema": 99}']
)
def test_a_damaged_sketch_is_one_error(tmp_path: Path, content: str) -> None:
    (tmp_path / CANARY).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=CANARY):
        read_sketch(tmp_path)


def test_a_sketch_comes_back_from_its_file_and_a_run_without_one_leaves_none(tmp_path: Path) -> None:
    write_sketch(tmp_path, sketch())
    assert read_sketch(tmp_path) == sketch()
    write_sketch(tmp_path, None)
    assert read_sketch(tmp_path) is None


def test_a_calibration_keeps_the_distances(tmp_path: Path) -> None:
    run = gate_run(tmp_path / "run")
    write_calibration(tmp_path / "c.json", replace(calibration_of(run), vectors=SEEN))
    assert read_calibration(tmp_path / "c.json", BENCHMARK).vectors == SEEN


@pytest.fixture
def pair(tmp_path: Path) -> list[Any]:
    """A baseline and a candidate of equal scores on other kernels, whose vectors lie too far apart."""
    setting = {"model.dtype": "bf16", "model.linear": "onednn"}
    runs = [gate_run(tmp_path / name, manifest={**setting, "model.kernel": name, "model.digest": name}) for name in ("before", "after")]
    for run, vectors in zip(runs, (VECTORS, moved(0.1)), strict=True):
        write_sketch(run.path, sketch(vectors))
    return runs


def test_vectors_beyond_rounding_close_the_gate_whatever_the_scores(pair: list[Any], tmp_path: Path) -> None:
    report = check(*pair)
    assert (report.exit_code, report.failing) == (3, ())
    assert "the canary's vectors drifted" in conclusion(report)
    message = render_text(drift_document(report))
    assert re.search(r"canary: drifted \(other kernels\): (9\.\de-02|1\.0e-01) of the vectors' length apart", message)
    write_junit(tmp_path / "j.xml", report)
    assert 'failures="1"' in (tmp_path / "j.xml").read_text()
    assert "canary::drifted" in workflow_commands({"GITHUB_ACTIONS": "true"}, report)[0]
    wide = replace(calibration_of(pair[0]), vectors=replace(SEEN, double=Distance(rms=0.1, farthest=1.0)))
    assert check_runs(*pair, BENCHMARK, calibration=wide).exit_code == 0


def test_a_candidate_without_a_canary_is_told(pair: list[Any]) -> None:
    write_sketch(pair[1].path, None)
    report = check(*pair)
    assert report.exit_code == 0
    assert "Run it with canary=on" in report.notes[-1]
    assert conclusion(report).endswith("; the canary's vectors were not compared")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one task of the sample in bf16, with the canary."""
    folder = tmp_path_factory.mktemp("vectors")
    outcome = run_here([*SAMPLE, f"results_dir={folder}"])
    assert not outcome.failed
    return outcome.folder


SAMPLE = ("model=sample", "data=sample", "gpu=cpu", "dtype=bf16", "max_len=64", "tasks=[STSB]", "store=null")


def test_a_probe_of_an_unchanged_machine_finds_equal_bits(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", str(home)]) == 0
    assert "NO DRIFT: identical to the bit" in capsys.readouterr().out


def test_a_probe_finds_a_fault_that_was_planted(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    load = loading.load_chain

    def damaged(*arguments: Any) -> Any:
        chain = load(*arguments)
        next(chain.parameters()).data.mul_(1.01)
        return chain

    monkeypatch.setattr(loading, "load_chain", damaged)
    assert main(["probe", str(home), "--format", "json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert (found["drifted"], found["level"]) == (True, "same kernels and batch shapes")


def test_a_probe_refuses_the_calibration_of_another_run(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(home, tmp_path / "run")
    write_calibration(tmp_path / "run" / "calibration.json", calibration(SEEN))
    assert main(["probe", str(tmp_path / "run")]) == 2
    assert "the calibration belongs to another run" in capsys.readouterr().err


def test_a_sketch_with_fewer_rows_than_its_texts_is_damaged() -> None:
    with pytest.raises(InputError, match="256 and 8 rows for the same texts"):
        compared(VECTORS[:8], SETTING)


def test_a_probe_needs_a_canary_to_compare_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probe", str(gate_run(tmp_path / "run").path)]) == 1
    assert "canary=on" in capsys.readouterr().err


def test_a_sketch_is_no_record_that_would_stay(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home, tmp_path / home.parent.name / home.name)
    spec = resolve_here([*SAMPLE, f"results_dir={tmp_path}"], "cpu")[0]
    (spec.folder / "STSB.json").unlink()
    manifest = replace(read_manifest(spec.folder), versions={"torch": "another"})
    Agenda(spec, BENCHMARK.select(["STSB"]), made_with=lambda: made_here(spec)).refuse_other_origin(manifest)


def test_a_finished_run_without_its_canary_is_given_it_and_computes_nothing(home: Path, tmp_path: Path) -> None:
    found = tmp_path / home.parent.name / home.name
    shutil.copytree(home, found)
    write_sketch(found, None)
    spec = [*SAMPLE, f"results_dir={tmp_path}"]
    assert run_here([*spec, "canary=off"]).computed == ()
    assert read_sketch(found) is None
    assert run_here(spec).computed == ()
    assert read_sketch(found) == read_sketch(home)


def test_a_run_leaves_its_canary_and_a_baseline_takes_it_along(home: Path, tmp_path: Path) -> None:
    found = read_sketch(home)
    assert found is not None
    assert found.second is not None
    assert 1e-3 < found.second.rms < 6e-2
    run = read_run(home, BENCHMARK)
    _, folder = accept(run, tmp_path, tasks=["STSB"])
    assert read_sketch(folder) == found
    report = check_folders(folder, home, BENCHMARK)
    assert report.vectors is not None
    assert (report.vectors.distance.farthest, report.vectors.why) == (0, "")
    other = check_runs(run, replace(run, path=tmp_path), BENCHMARK, calibration=None)
    assert other.vectors is None
