"""Runs from end to end on a tiny model and small folders: what is written, resumed, refused, and what survives a failure."""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import multiprocessing
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import write_rows

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.run_files import read_run
from harness.core.spec import RunSpec
from harness.evaluate import evaluation
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.encoder import Encoded
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.here import resolve_here
from harness.evaluate.prepared import Outcome
from harness.evaluate.progress import Silent
from harness.evaluate.runner import execute

BENCHMARK = load_benchmark()
TASKS = ["STSB", "Ocnli", "JDReview"]

Run = Callable[..., Outcome]
Spec = Callable[..., RunSpec]


@pytest.fixture
def spec_of(tiny_model: Path, tiny_data: Path, tmp_path: Path) -> Spec:
    """A function: overrides -> the spec of a run on the tiny model and data; later overrides win."""

    def resolve(*overrides: str) -> RunSpec:
        basic = [
            *("model=folder", f"model.path={tiny_model}", "data=local", f"data.root={tiny_data}", "data.verify=label", "gpu=cpu"),
            *("gpu.batch_tokens=64", "max_len=32", f"tasks=[{','.join(TASKS)}]", f"results_dir={tmp_path / 'results'}", "store=null"),
            "canary=off",  # tests/test_canary.py
        ]
        return resolve_here([*basic, *overrides], "cpu")[0]

    return resolve


@pytest.fixture
def run(spec_of: Spec) -> Run:
    def go(*overrides: str, **keywords: Any) -> Outcome:
        return execute(spec_of(*overrides), torch.device("cpu"), keywords.pop("progress", Silent()), **keywords)

    return go


def contents(folder: Path) -> dict[str, Any]:
    """The records of a run without the one number that may differ."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name != "manifest.json":
            raw = json.loads(path.read_text(encoding="utf-8"))
            for value in raw.values():
                if isinstance(value, dict):
                    value.pop("evaluation_time", None)
            found[path.name] = raw
    return found


def test_a_run_leaves_a_record_per_task_and_a_manifest_that_states_its_origin(run: Run) -> None:
    outcome = run()
    assert (outcome.computed, outcome.reused, outcome.failed) == (("JDReview", "Ocnli", "STSB"), (), {})
    output = read_run(outcome.folder, BENCHMARK)
    assert set(output.records) == set(TASKS)
    manifest = output.manifest
    assert manifest.model.weights_sha256
    assert manifest.model.dtype == "fp32"
    assert manifest.versions["scikit-learn"] == "1.8.0"
    assert manifest.source["version"]
    assert manifest.model.flags is not None
    assert output.header.gpu.startswith("CPU (")
    record = output.records["STSB"]
    assert record.made.data.verdict == "not C-MTEB"
    assert record.made.data.sha256
    assert (outcome.folder / "spec.yaml").read_text(encoding="utf-8").startswith("benchmark: cmteb35")


def test_two_runs_write_the_same_records(run: Run, tmp_path: Path) -> None:
    first = run(f"results_dir={tmp_path / 'one'}")
    np.random.seed(7)  # noqa: NPY002  another state of the world
    second = run(f"results_dir={tmp_path / 'two'}")
    assert contents(first.folder) == contents(second.folder)


def test_scores_depend_neither_on_order_nor_on_which_tasks_run(run: Run, tmp_path: Path) -> None:
    together = contents(run(f"results_dir={tmp_path / 'together'}").folder)
    for task in reversed(TASKS):
        outcome = run(f"results_dir={tmp_path / 'apart'}", f"tasks=[{task}]")
    assert contents(outcome.folder) == together


def test_a_resumed_run_computes_only_what_has_no_valid_record(run: Run) -> None:
    folder = run().folder
    (folder / "STSB.json").write_text('{"mteb_dataset_name": "STSB", "te', encoding="utf-8")
    (folder / "Ocnli.json").unlink()
    before = (folder / "JDReview.json").stat()
    outcome = run()
    assert (outcome.computed, outcome.reused) == (("Ocnli", "STSB"), ("JDReview",))
    assert (folder / "JDReview.json").stat().st_mtime_ns == before.st_mtime_ns
    assert run().computed == ()


def test_overwrite_runs_everything_again(run: Run) -> None:
    run()
    assert run("overwrite=true").computed == ("JDReview", "Ocnli", "STSB")


def test_a_record_of_another_run_is_not_taken_for_this_one(run: Run) -> None:
    outcome = run("tasks=[STSB]")
    raw = json.loads((outcome.folder / "STSB.json").read_text(encoding="utf-8"))
    raw["harness"]["run"] = "0" * 64
    (outcome.folder / "STSB.json").write_text(json.dumps(raw), encoding="utf-8")
    assert run("tasks=[STSB]").computed == ("STSB",)


def test_a_store_and_a_second_dimension_cost_no_forward_pass(run: Run, tmp_path: Path) -> None:
    store = f"store={tmp_path / 'store'}"
    full = run(store)
    again = run(store, f"results_dir={tmp_path / 'again'}")
    half = run(store, "dim=24")
    assert contents(full.folder) == contents(again.folder) == contents(run(f"results_dir={tmp_path / 'bare'}").folder)

    assert full.cost.encoding.forwards > 0
    assert (again.cost.encoding.forwards, half.cost.encoding.forwards) == (0, 0)
    last = json.loads((again.folder / "costs.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    assert last["run"]["encoding"]["found"] == full.cost.encoding.distinct
    assert read_run(half.folder, BENCHMARK).header.dim == 24


def test_a_pool_loads_weights_once_and_gives_the_same_records(run: Run, tmp_path: Path) -> None:
    pool = EncoderPool()
    for max_len in (8, 32):
        pooled = run(f"max_len={max_len}", f"results_dir={tmp_path / 'pooled'}", encoders=pool)
        alone = run(f"max_len={max_len}", f"results_dir={tmp_path / 'alone'}")
        assert contents(pooled.folder) == contents(alone.folder)


def test_a_run_deletes_what_a_killed_one_left_half_written(run: Run) -> None:
    folder = run("tasks=[STSB]").folder
    left = [folder / ".Ocnli.json.abc.tmp", folder / "errors" / ".x.json.abc.tmp"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"{")
    assert run("tasks=[Ocnli]").computed == ("Ocnli",)
    assert not any(path.exists() for path in left)


def test_scoring_processes_give_the_same_records(run: Run, tmp_path: Path) -> None:
    apart = run("workers=2", f"results_dir={tmp_path / 'apart'}")
    assert apart.failed == {}
    assert contents(apart.folder) == contents(run("workers=0").folder)


def test_windows_give_the_same_records_and_leave_the_memory_before_the_next(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run()
    kept: list[list[str]] = []
    made: list[weakref.ref[torch.Tensor]] = []
    encode = CanonicalEncoder.encode_counted

    def watched(encoder: CanonicalEncoder, texts: list[str], **keywords: Any) -> Encoded:
        kept.append([f"window {number}" for number, vectors in enumerate(made) if vectors() is not None])
        encoded = encode(encoder, texts, **keywords)
        made.append(weakref.ref(encoded.vectors))
        return encoded

    monkeypatch.setattr(CanonicalEncoder, "encode_counted", watched)
    monkeypatch.setattr(evaluation, "window_bytes", lambda: 1)
    gc.disable()  # gigabytes must not wait for it
    try:
        windows = run(f"results_dir={tmp_path / 'windows'}")
    finally:
        gc.enable()
    assert kept == [[]] * len(TASKS)
    assert contents(windows.folder) == contents(whole.folder)


def test_no_more_scoring_processes_start_than_tasks_are_left(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    start = multiprocessing.get_context("forkserver").Process.start
    monkeypatch.setattr(multiprocessing.get_context("forkserver").Process, "start", lambda self: (started.append(self), start(self))[1])
    run("tasks=[STSB,Ocnli]", "workers=5")
    assert 1 <= len(started) <= 2


def test_tasks_without_a_cut_text_share_their_score_across_max_len(run: Run, tmp_path: Path) -> None:
    long = run("max_len=32")
    shared = run("max_len=31")
    lines = [json.loads(line) for line in (shared.folder / "costs.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["shared_with"] for line in lines if "shared_with" in line] == [long.folder.name] * len(TASKS)
    assert shared.cost.encoding.forwards == 0
    alone = run("max_len=31", f"results_dir={tmp_path / 'alone'}")
    assert contents(shared.folder) == contents(alone.folder)
    record = read_run(shared.folder, BENCHMARK).records["STSB"]
    assert record.made.encoding.cut == 0
    assert record.made.encoding.longest == 30


def test_a_max_len_that_cuts_texts_is_computed_for_itself(run: Run) -> None:
    run("max_len=32")
    cut = run("max_len=5", "tasks=[STSB]")
    assert read_run(cut.folder, BENCHMARK).records["STSB"].made.encoding.cut > 0
    assert "shared_with" not in (cut.folder / "costs.jsonl").read_text(encoding="utf-8")


def test_a_task_that_fails_becomes_an_error_and_the_others_go_on(run: Run, tiny_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "broken"
    root.mkdir()
    for task in TASKS:
        (root / task).symlink_to(tiny_data / task)
    (root / "Ocnli").unlink()
    write_rows(root / "Ocnli" / "validation.jsonl", [{"sent1": ["一"], "labels": [1]}])
    outcome = run(f"data.root={root}")
    assert set(outcome.failed) == {"Ocnli"}
    assert "sent2" in outcome.failed["Ocnli"]
    assert outcome.computed == ("JDReview", "STSB")
    output = read_run(outcome.folder, BENCHMARK)
    assert (output.failed.keys(), set(output.records)) == ({"Ocnli"}, {"JDReview", "STSB"})


def test_weights_that_overflow_name_the_task_and_the_text_and_write_no_score(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    hot = copy_model(tiny_model, tmp_path / "hot", lambda weights: weights.mul_(1e4))
    outcome = run(f"model.path={hot}", "dtype=fp16")
    assert set(outcome.failed) == set(TASKS)
    assert all("text 0" in message and "dtype=bf16" in message for message in outcome.failed.values())
    assert list(outcome.folder.glob("[A-Z]*.json")) == []


def copy_model(source: Path, target: Path, change: Callable[[torch.Tensor], Any]) -> Path:
    shutil.copytree(source, target)
    for path in target.rglob("*.safetensors"):
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        for tensor in tensors.values():
            if tensor.is_floating_point():
                change(tensor)
        save_file(tensors, path, metadata={"format": "pt"})
    return target


def test_records_of_other_weights_are_not_mixed_in(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    run("tasks=[STSB]")
    other = copy_model(tiny_model, tmp_path / "other", lambda weights: weights.mul_(1.5))
    named = (f"model.path={other}", f"model.name={tiny_model.name}")
    with pytest.raises(RequestError, match=r"(?s)another origin.*overwrite=true") as caught:
        run(*named)
    assert "model.weights_digest" in str(caught.value)
    assert run(*named, "overwrite=true", "tasks=[STSB]").failed == {}


def test_two_checkpoints_of_one_folder_name_stand_in_one_table(
    run: Run, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run("tasks=[STSB]", "dim=48")
    assert (first.folder, "dimfull" in first.folder.name) == (run("tasks=[STSB]").folder, True)  # 48 are all of its dimensions
    other = copy_model(tiny_model, tmp_path / tiny_model.name, lambda weights: weights.mul_(1.5))
    second = run(f"model.path={other}", "tasks=[STSB]")
    assert (first.computed, second.computed) == (("STSB",), ("STSB",))
    assert run(f"model.path={other}", "tasks=[STSB]").reused == ("STSB",)
    assert run("tasks=[STSB]").reused == ("STSB",)
    digest = read_run(second.folder, BENCHMARK).manifest.weights
    assert digest
    assert main(["table", str(tmp_path / "results"), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["header"]["model"] for row in rows] == [tiny_model.name, f"{tiny_model.name}-{digest[:8]}"]


def test_a_finished_run_is_not_handed_out_for_other_weights(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    run("tasks=[STSB,Ocnli]")
    other = copy_model(tiny_model, tmp_path / "other", lambda weights: weights.mul_(1.5))
    with pytest.raises(RequestError, match="another origin"):
        run(f"model.path={other}", f"model.name={tiny_model.name}", "tasks=[STSB,Ocnli]")
    with pytest.raises(RequestError, match="is missing"):
        run(f"model.path={tmp_path / 'gone' / tiny_model.name}", "tasks=[STSB]")


def test_records_of_two_weights_never_stand_in_one_row(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    run("tasks=[STSB,Ocnli]")
    other = copy_model(tiny_model, tmp_path / tiny_model.name, lambda weights: weights.mul_(1.5))
    outcome = run(f"model.path={other}", "tasks=[STSB]", "overwrite=true")
    output = read_run(outcome.folder, BENCHMARK)
    assert set(output.records) == {"STSB"}
    assert "other weights" in output.broken["Ocnli"]
    assert run(f"model.path={other}", "tasks=[STSB,Ocnli]").computed == ("Ocnli",)


def test_more_dimensions_than_the_model_has_are_refused_before_anything_is_written(run: Run, spec_of: Spec) -> None:
    with pytest.raises(RequestError, match="48 dimensions"):
        run("dim=49")
    assert not (spec_of("dim=49").folder / "manifest.json").exists()


def test_a_model_without_its_vocabulary_is_refused(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    bare = copy_model(tiny_model, tmp_path / "bare", lambda weights: weights)
    for name in ("tokenizer.json", "vocab.txt"):
        (bare / name).unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"tokenizer|vocabulary"):
        run(f"model.path={bare}")


def test_two_runs_do_not_write_one_folder_at_once(run: Run, spec_of: Spec) -> None:
    folder = spec_of().folder
    folder.mkdir(parents=True)
    with (folder / ".lock").open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(RequestError, match="another run is writing"):
            run()
    assert run().failed == {}


def test_a_file_system_without_locks_is_not_taken_for_another_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(MachineError, match="refuses locks"):
        run()


@pytest.mark.parametrize("place", ["/proc/results", "/dev/null/results"])
def test_results_that_cannot_be_written_are_one_clear_error(run: Run, place: str) -> None:
    with pytest.raises(MachineError, match="results_dir=DIR"):
        run(f"results_dir={place}")


def test_a_longer_max_len_than_the_model_carries_is_refused_before_anything_is_written(run: Run, spec_of: Spec) -> None:
    with pytest.raises(RequestError, match="64"):
        run("max_len=65")
    assert not (spec_of("max_len=65").folder / "manifest.json").exists()


def test_pickled_weights_are_refused(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    pickled = copy_model(tiny_model, tmp_path / "pickled", lambda weights: weights)
    for path in pickled.rglob("*.safetensors"):
        torch.save(load_file(path), path.with_name("pytorch_model.bin"))
        path.unlink()
    with pytest.raises(InputError, match="allow_pickle=true"):
        run(f"model.path={pickled}")


def test_a_mismatched_device_that_was_allowed_marks_the_table(run: Run) -> None:
    outcome = run("gpu=a100", "gpu.mismatch=warn", "tasks=[STSB]")
    notes = read_run(outcome.folder, BENCHMARK).header.notes
    assert any("gpu=a100 was expected" in note for note in notes)


def test_a_model_that_does_not_load_leaves_no_folder(run: Run, tiny_model: Path, tmp_path: Path) -> None:
    broken = copy_model(tiny_model, tmp_path / "broken", lambda weights: weights)
    (broken / "config.json").write_text("{}")
    with pytest.raises(InputError):
        run(f"model.path={broken}")
    assert not list((tmp_path / "results").glob("broken*"))
