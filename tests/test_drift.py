"""The gate: the verdict of each difference, what is never compared, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gates import ROUNDING, calibration_of, check, gate_run, verdict
from runs import BENCHMARK, BY_HAND, HEADER, ROOT, manifest_of

from harness.commands import main
from harness.core.calibration import points, write_calibration
from harness.core.errors import InputError, RequestError
from harness.core.records import Bits, Made, Run, TaskRecord
from harness.core.run_files import read_run, write_failure, write_manifest, write_record
from harness.core.tasks import TASK_TYPES
from harness.read.drift.check import DriftReport, check_folders, check_runs
from harness.show.drift import conclusion, drift_document
from harness.show.text import render_text


def shown(report: DriftReport) -> str:
    return render_text(drift_document(report))


@pytest.fixture
def baseline(tmp_path: Path) -> Run:
    return gate_run(tmp_path / "baseline")


# Verdicts


def test_equal_scores_are_identical(baseline: Run, tmp_path: Path) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate"), tolerance=None)
    assert report.counts == {"identical": 35}
    assert report.exit_code == 0
    assert conclusion(report) == "NO DRIFT: 35 tasks, 35 identical; the canary's vectors were not compared"


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("size", "expected", "code"), [(0.2, "within noise", 0), (0.3, "drifted", 3)])
def test_the_gate_is_two_sided(baseline: Run, tmp_path: Path, sign: int, size: float, expected: str, code: int) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", {"TNews": sign * size}))
    assert (verdict(report, "TNews"), report.exit_code) == (expected, code)
    assert report.counts == {"identical": 34, expected: 1}


def test_a_difference_of_the_tolerance_itself_passes(baseline: Run, tmp_path: Path) -> None:
    candidate = gate_run(tmp_path / "candidate", {"TNews": 0.2})
    exactly = abs(points(candidate.records["TNews"], BENCHMARK)["accuracy"] - points(baseline.records["TNews"], BENCHMARK)["accuracy"])
    assert verdict(check(baseline, candidate, tolerance=exactly), "TNews") == "within noise"
    assert verdict(check(baseline, candidate, tolerance=exactly * (1 - 1e-12)), "TNews") == "drifted"


def test_without_a_calibration_only_identical_scores_pass(baseline: Run, tmp_path: Path) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", {"TNews": 1e-9}), tolerance=None)
    assert (verdict(report, "TNews"), report.exit_code) == ("drifted", 3)
    assert "no calibration, only identical scores pass" in shown(report)


def test_a_task_that_was_not_calibrated_must_be_identical(baseline: Run, tmp_path: Path) -> None:
    calibration = calibration_of(baseline, only=("TNews",))
    candidate = gate_run(tmp_path / "candidate", {"TNews": 0.1, "Waimai": 0.1})
    report = check_runs(baseline, candidate, BENCHMARK, calibration=calibration)
    assert (verdict(report, "TNews"), verdict(report, "Waimai")) == ("within noise", "drifted")
    assert any(note.startswith("not calibrated, so only identical scores pass: Amazon") for note in report.notes)


def test_another_metric_that_drifts_closes_the_gate_without_main_only(baseline: Run, tmp_path: Path) -> None:
    baseline = gate_run(tmp_path / "baseline", others={"TNews": {"f1": 0.5}})
    candidate = gate_run(tmp_path / "candidate", others={"TNews": {"f1": 0.51}})
    report = check(baseline, candidate)
    (task,) = report.failing
    assert [(cell.metric, cell.main, cell.verdict, cell.why) for cell in (task.main, *task.others)] == [
        ("accuracy", True, "identical", ""),
        ("f1", False, "drifted", ""),
    ]
    assert (task.task, report.exit_code) == ("TNews", 3)
    assert conclusion(report) == (
        "DRIFT: 35 tasks, 35 identical; in 1 of them other metrics drifted; the canary's vectors were not compared"
    )
    assert "f1" in shown(report)
    relaxed = check(baseline, candidate, main_only=True)
    assert relaxed.exit_code == 0
    assert "not counted: --main-only" in conclusion(relaxed)


@pytest.mark.parametrize("value", [float("nan"), None])
def test_another_metric_that_is_gone_or_no_number_is_missing(tmp_path: Path, value: float | None) -> None:
    baseline = gate_run(tmp_path / "baseline", others={"TNews": {"f1": 0.5}})
    candidate = gate_run(tmp_path / "candidate")
    found = candidate.records["TNews"]
    metrics = dict(found.metrics) if value is None else {**found.metrics, "f1": value}
    candidate = replace(candidate, records={**candidate.records, "TNews": replace(found, metrics=metrics)})
    report = check(baseline, candidate)
    assert [(cell.metric, cell.verdict) for cell in report.failing[0].failing] == [("f1", "missing")]
    assert report.exit_code == 3


def test_a_missing_task_closes_the_gate_and_a_failed_one_states_why(baseline: Run, tmp_path: Path) -> None:
    folder = tmp_path / "candidate"
    gate_run(folder, without=("TNews", "Waimai"))
    write_failure(folder, "Waimai", kind="MachineError", message="out of memory", traceback="")
    report = check(baseline, read_run(folder, BENCHMARK))
    assert {task.task: (task.verdict, task.main.why) for task in report.failing} == {
        "TNews": ("missing", "the candidate has no record"),
        "Waimai": ("missing", "it failed: out of memory"),
    }
    assert report.exit_code == 3
    assert "missing: it failed: out of memory (Waimai)" in shown(report)
    subset = check(baseline, read_run(folder, BENCHMARK), tasks=["STS", "JDReview"])
    assert (len(subset.tasks), subset.exit_code) == (9, 0)
    others = [task.name for task in BENCHMARK.tasks if task.type != "STS" and task.name not in ("JDReview", "TNews", "Waimai")]
    assert f"not checked, though the candidate has them: {', '.join(others)}" in subset.notes


def test_averages_are_compared_where_all_their_tasks_are(baseline: Run, tmp_path: Path) -> None:
    candidate = gate_run(tmp_path / "candidate", {"TNews": 0.9})
    report = check(baseline, candidate)
    assert [before.key for before, _ in report.averages] == ["Average", *TASK_TYPES]
    moved = {before.key: (before.value, after.value) for before, after in report.averages if before.value != after.value}
    assert moved == {"Average": (45.88, 45.9), "Classification": (50.0, 50.1)}
    some = check(baseline, candidate, tasks=["STS", "PairClassification", "TNews"])
    assert [before.key for before, _ in some.averages] == ["PairClassification", "STS"]
    less = gate_run(tmp_path / "less", without=("Ocnli",))
    assert "PairClassification" not in [before.key for before, _ in check(baseline, less).averages]
    unlike = gate_run(tmp_path / "unlike", manifest={"seed": 43})
    assert check(baseline, unlike).averages == ()
    assert {task.type for task in report.tasks} == set(TASK_TYPES)


def test_the_tolerance_is_that_of_what_the_two_kernels_have_in_common(tmp_path: Path) -> None:
    kernels = {"model.dtype": "fp16", "model.linear": "oneDNN", "model.attention": "sdpa"}
    baseline = gate_run(tmp_path / "baseline", manifest=kernels)
    noise = calibration_of(baseline, 0.5).tasks["TNews"]
    narrow = {name: replace(each, shapes=replace(ROUNDING, tolerance=0.1)) for name, each in noise.items()}
    calibration = replace(calibration_of(baseline, 0.5), tasks={"TNews": narrow})
    other = {**kernels, "model.digest": "9" * 64}
    apart = {"others": {**other, "model.kernel": "another"}, "shapes": {**other, "model.batch_tokens": 4096}}
    runs = {name: gate_run(tmp_path / name, {"TNews": 0.3}, manifest=keys) for name, keys in apart.items()}
    found = {name: check_runs(baseline, run, BENCHMARK, calibration=calibration, tasks=["TNews"]) for name, run in runs.items()}
    assert {name: report.tasks[0].main.tolerance for name, report in found.items()} == {"others": 0.5, "shapes": 0.1}
    assert {name: report.exit_code for name, report in found.items()} == {"others": 0, "shapes": 3}


def test_notes_name_the_command_the_tasks_and_the_missing_metric(tmp_path: Path) -> None:
    baseline = gate_run(tmp_path / "baseline", others={"TNews": {"f1": 0.5}})
    moved = gate_run(tmp_path / "moved", dict.fromkeys(BY_HAND, 0.1))
    bare = check(baseline, moved, tolerance=None)
    assert bare.notes[0] == f"no calibration: only identical scores pass. Make one with: python -m harness calibrate {baseline.path}"
    assert any("so every vector is: all 35 tasks moved" in note for note in bare.notes)
    assert any("so every vector is: TNews moved" in note for note in check(baseline, moved, tasks=["TNews"]).notes)
    assert any(
        "so every vector is: TNews, Waimai moved" in note
        for note in check(baseline, gate_run(tmp_path / "two", {"TNews": 0.1, "Waimai": 0.1})).notes
    )
    (lost,) = (cell for task in bare.tasks for cell in task.others if cell.verdict == "missing")
    assert lost.why == "the candidate has no f1"
    most = calibration_of(baseline, only=tuple(name for name in BY_HAND if name not in ("TNews", "Waimai")))
    notes = check_runs(baseline, gate_run(tmp_path / "same", others={"TNews": {"f1": 0.5}}), BENCHMARK, calibration=most).notes
    assert notes[0] == "not calibrated, so only identical scores pass: TNews, Waimai"


def test_a_baseline_of_some_tasks_asks_for_these(tmp_path: Path) -> None:
    baseline = gate_run(tmp_path / "baseline", without=tuple(name for name in BY_HAND if name != "TNews"))
    candidate = gate_run(tmp_path / "candidate", {"Waimai": 5.0})
    report = check(baseline, candidate)
    assert [task.task for task in report.tasks] == ["TNews"]
    assert report.exit_code == 0
    with pytest.raises(RequestError, match="has no score for Waimai, BQ: name tasks"):
        check(baseline, candidate, tasks=["Waimai", "BQ"])


# Likeness


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("benchmark.digest", "f" * 64),
        ("spec.scoring", {"dtype": "model"}),
        ("seed", 43),
        ("versions.scikit-learn", "1.9.1"),
        ("versions.mteb", "1.1.2"),
        ("spec.model", {"name": "acge", "query_instruction": "query: "}),
    ],
)
def test_another_protocol_is_not_compared_without_allow_unlike(baseline: Run, tmp_path: Path, change: str, value: object) -> None:
    candidate = gate_run(tmp_path / "candidate", manifest={change: value})
    report = check(baseline, candidate)
    assert (report.counts, report.exit_code) == ({"not comparable": 35}, 2)
    assert {task.main.why for task in report.tasks} == {"the two runs are unlike"}
    assert not any("canary" in note for note in report.notes), "nothing is said of vectors that could not be equal"
    assert "add --allow-unlike" in shown(report)
    forced = check(baseline, candidate, allow_unlike=True)
    assert (forced.counts, forced.exit_code) == ({"identical": 35}, 0)
    assert "compared all the same (--allow-unlike)" in shown(forced)


@pytest.mark.parametrize("changes", [{"model": "other"}, {"dtype": "float32"}, {"max_len": 1024}, {"dim": 768}, {"dim": None}])
def test_another_model_dtype_length_or_dimension_is_not_compared(baseline: Run, tmp_path: Path, changes: dict[str, Any]) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", header=replace(HEADER, **changes)))
    assert report.exit_code == 2
    assert [each.key for each in report.unlike] == list(changes)


def test_other_environments_are_compared_and_listed(baseline: Run, tmp_path: Path) -> None:
    changes = {"versions.torch": "2.14.0", "device.name": "NVIDIA A10", "model.weights_digest": "f" * 64, "source.commit": "1" * 40}
    report = check(baseline, gate_run(tmp_path / "candidate", {"TNews": 1.0}, manifest=changes))
    assert report.exit_code == 3
    assert {each.key for each in report.environment} == set(changes)
    assert f"differs (model): model.weights_digest: {'b' * 12} -> {'f' * 12}" in shown(report)


@pytest.mark.parametrize(
    ("data", "comparable"),
    [
        ({"TNews": {"sha256": {"part-0.parquet": "1" * 64}}}, True),  # another form of the file, verified on both sides
        ({"TNews": {"sha256": {"test.jsonl": "1" * 64}, "verdict": "unverified"}}, False),
        ({"TNews": {"sha256": {"renamed": "e" * 64}, "verdict": "unverified"}}, True),  # the same bytes
        ({"TNews": {"verdict": "not C-MTEB"}}, False),  # the same bytes, read otherwise
        ({"TNews": {"sha256": {"part-0.parquet": "1" * 64}}, "revision": {"TNews": "2" * 40}}, False),
        ({"TNews": {"sha256": {}, "verdict": "unverified"}}, True),  # no hashes on one side, the same revision on both
        ({"TNews": {"sha256": {}, "verdict": "unverified"}, "revision": {"TNews": None}}, False),
    ],
)
def test_other_data_makes_its_task_not_comparable(baseline: Run, tmp_path: Path, data: dict[str, Any], comparable: bool) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", data=data))
    assert verdict(report, "TNews") == ("identical" if comparable else "not comparable")
    assert report.exit_code == (0 if comparable else 2)
    assert report.counts["not comparable"] == (0 if comparable else 1)
    assert check(baseline, report.candidate, allow_unlike=True).exit_code == 0


def test_results_of_others_do_not_tell_enough_to_be_compared(baseline: Run, tmp_path: Path) -> None:
    write_manifest(tmp_path / "published", manifest_of(HEADER))
    for task in BENCHMARK.tasks:
        record = baseline.records[task.name]
        write_record(tmp_path / "published", replace(record, made=Made()))
    report = check(baseline, read_run(tmp_path / "published", BENCHMARK), tolerance=None)
    assert report.exit_code == 2
    assert any(each.key == "made by" for each in report.unlike)


def test_equal_vectors_leave_rounding_no_part(baseline: Run, tmp_path: Path) -> None:
    output = "no rounding explains that"
    assert output in shown(check(baseline, gate_run(tmp_path / "a", {"TNews": 0.1}))).replace("\n   ", " ")
    assert output not in shown(check(baseline, gate_run(tmp_path / "b")))
    other = gate_run(tmp_path / "c", {"TNews": 0.1}, manifest={"model.digest": "f" * 64})
    assert output not in shown(check(baseline, other))


@pytest.mark.parametrize(
    ("changes", "candidate", "layer", "tolerance"),
    [
        ({}, {}, "scoring", 0.0),
        ({"header": replace(HEADER, dim=64)}, {}, None, 0.25),
        ({}, {"sha256": {"test.jsonl": "0" * 64}, "verdict": "unverified"}, None, 0.25),
    ],
)
def test_equal_vectors_blame_the_scoring_only_where_setting_and_data_are_equal(
    tmp_path: Path, changes: dict[str, Any], candidate: dict[str, Any], layer: str | None, tolerance: float
) -> None:
    sides = [
        gate_run(tmp_path / "baseline"),
        gate_run(tmp_path / "candidate", {"TNews": 0.2}, data={"TNews": candidate} if candidate else None, **changes),
    ]
    sides = [replace(run, records={name: _of_vectors(record) for name, record in run.records.items()}) for run in sides]
    for allow_unlike in (False, True):
        found = next(task for task in check(*sides, allow_unlike=allow_unlike).tasks if task.task == "TNews")
        assert (found.layer, found.main.tolerance) == (layer, tolerance)


def _of_vectors(record: TaskRecord) -> TaskRecord:
    return replace(record, made=replace(record.made, bits=Bits(tokens="1" * 64, vectors="2" * 64)))


# Hostile inputs


def test_a_folder_is_not_checked_against_itself(baseline: Run, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(baseline.path)
    for other in (baseline.path, tmp_path / "link", baseline.path / ".." / "baseline"):
        with pytest.raises(RequestError, match="the same folder"):
            check_folders(baseline.path, other, BENCHMARK)


def doubled(path: Path) -> None:
    """The run is now two, below its path."""
    shutil.copytree(path, path.parent / "copy")
    shutil.rmtree(path)
    for name in ("1", "2"):
        shutil.copytree(path.parent / "copy", path / name)


def test_a_run_with_another_below_it_is_still_that_run(baseline: Run, tmp_path: Path) -> None:
    candidate = gate_run(tmp_path / "candidate")
    gate_run(candidate.path / "results" / "other", {"TNews": 5.0})
    assert check_folders(baseline.path, candidate.path, BENCHMARK).counts == {"identical": 35}


@pytest.mark.parametrize(
    ("spoil", "error", "output"),
    [
        (lambda path: shutil.rmtree(path), RequestError, "no run at"),
        (lambda path: (path / "manifest.json").write_text("{"), InputError, "no manifest of a run"),
        (lambda path: (path / "TNews.json").write_text('{"mteb_'), InputError, "is no record of TNews"),
        (lambda path: doubled(path), RequestError, "holds 2 runs"),
    ],
)
@pytest.mark.parametrize("side", ["baseline", "candidate"])
def test_a_damaged_side_is_one_clear_error(
    baseline: Run, tmp_path: Path, side: str, spoil: Any, error: type[Exception], output: str
) -> None:
    gate_run(tmp_path / "candidate")
    spoil(tmp_path / side)
    with pytest.raises(error, match=output):
        check_folders(tmp_path / "baseline", tmp_path / "candidate", BENCHMARK)


def test_a_path_that_is_nowhere_is_said_to_be_nowhere(baseline: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = baseline.path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"name": "cmteb35"', '"name": "cmn_v1"').replace(BENCHMARK.digest, ""))
    assert main(["check", str(tmp_path / "nowhere"), str(baseline.path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: no run at {tmp_path / 'nowhere'} (no folder, and no model card named .md)")


def test_a_sound_record_of_another_benchmark_is_not_called_broken(capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = (ROOT / "results" / "baselines" / "sample").iterdir()
    assert main(["table", "--benchmark", "cmn_v1", "--tasks", str(run)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "is of a run of cmteb35 and does not have the numbers that cmn_v1 needs" in shown
    assert f"score {run} benchmark=cmn_v1" in shown
    assert "delete it" not in shown


def test_an_empty_candidate_misses_everything(baseline: Run, tmp_path: Path) -> None:
    report = check(baseline, gate_run(tmp_path / "candidate", without=tuple(BY_HAND)))
    assert (report.counts, report.exit_code) == ({"missing": 35}, 3)


def test_an_empty_or_failed_baseline_guards_nothing(baseline: Run, tmp_path: Path) -> None:
    candidate = gate_run(tmp_path / "candidate")
    with pytest.raises(InputError, match="has no record"):
        check(gate_run(tmp_path / "empty", without=tuple(BY_HAND)), candidate, tolerance=None)
    for name in ("TNews", "Waimai"):
        (baseline.path / f"{name}.json").unlink()
        write_failure(baseline.path, name, kind="InputError", message="no data", traceback="")
    failed = read_run(baseline.path, BENCHMARK)
    with pytest.raises(InputError, match=r"TNews, Waimai failed in it\. Run these tasks again, or check the others by name with --tasks$"):
        check(failed, candidate)
    assert check(failed, candidate, tasks=["STS"]).exit_code == 0


def test_a_record_of_another_run_is_refused(baseline: Run, tmp_path: Path) -> None:
    gate_run(tmp_path / "candidate")
    gate_run(tmp_path / "other", manifest={"run": "9" * 64})
    for name in ("TNews", "Waimai"):
        shutil.copy(tmp_path / "other" / f"{name}.json", tmp_path / "candidate" / f"{name}.json")
    with pytest.raises(InputError, match=r"TNews\.json was made by the run 99999999, .*\n/\S+/Waimai\.json was made by the run 99999999"):
        check_folders(baseline.path, tmp_path / "candidate", BENCHMARK)


def test_the_calibration_beside_the_records_is_read_and_only_the_baseline_s_own(baseline: Run, tmp_path: Path) -> None:
    gate_run(tmp_path / "candidate", {"TNews": 0.2})
    write_calibration(baseline.path / "calibration.json", calibration_of(baseline))
    report = check_folders(baseline.path, tmp_path / "candidate", BENCHMARK)
    assert (report.exit_code, report.calibration) == (0, baseline.path / "calibration.json")
    other = gate_run(tmp_path / "other", manifest={"run": "9" * 64})
    with pytest.raises(RequestError, match="belongs to another run"):
        check_folders(other.path, tmp_path / "candidate", BENCHMARK, calibration=baseline.path / "calibration.json")
    moved = gate_run(tmp_path / "moved", {"Waimai": 0.1})
    with pytest.raises(RequestError, match="made again since"):
        check_folders(moved.path, tmp_path / "candidate", BENCHMARK, calibration=baseline.path / "calibration.json")
    (baseline.path / "calibration.json").write_text("{")
    with pytest.raises(InputError, match="no calibration"):
        check_folders(baseline.path, tmp_path / "candidate", BENCHMARK)


def test_folders_are_checked_as_strictly_as_runs_unless_more_is_allowed(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    baseline = gate_run(before, others={"TNews": {"f1": 0.5}})
    write_calibration(tmp_path / "other.json", calibration_of(baseline, tolerance=2.0))
    gate_run(after, {"TNews": 1.0}, others={"TNews": {"f1": 0.6}}, manifest={"seed": 43})
    strict = check_folders(before, after, BENCHMARK)
    assert (strict.exit_code, strict.allow_unlike, strict.main_only, strict.calibration) == (2, False, False, None)
    allowed = check_folders(before, after, BENCHMARK, calibration=tmp_path / "other.json", allow_unlike=True)
    assert (allowed.exit_code, allowed.allow_unlike, allowed.calibration) == (3, True, tmp_path / "other.json")
    assert [cell.metric for cell in allowed.failing[0].failing] == ["f1"]
    main = check_folders(before, after, BENCHMARK, calibration=tmp_path / "other.json", allow_unlike=True, main_only=True)
    assert (main.exit_code, main.main_only) == (0, True)


def test_the_command_and_its_exit_codes(
    baseline: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    gate_run(tmp_path / "same")
    gate_run(tmp_path / "moved", {"TNews": 1.0})
    base = str(baseline.path)
    assert main(["check", base, str(tmp_path / "same")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "NO DRIFT: 35 tasks, 35 identical; the canary's vectors were not compared"
    assert main(["check", base, str(tmp_path / "moved"), "--format", "json", "--junit", str(tmp_path / "junit.xml")]) == 3
    assert json.loads(capsys.readouterr().out)["exit_code"] == 3
    assert (tmp_path / "junit.xml").is_file()
    assert main(["check", base, str(tmp_path / "moved"), "--tasks", "STS,Waimai"]) == 0
    assert main(["check", base, str(tmp_path / "nowhere")]) == 2
    assert main(["check", base, str(tmp_path / "same"), "--calibration", str(tmp_path / "none.json")]) == 2
    assert main(["check", base, str(tmp_path / "same"), "--junit", str(tmp_path / "junit.xml" / "x")]) == 1
    assert main(["check", base, str(tmp_path / "same"), "--tasks", "TNewz"]) == 2
