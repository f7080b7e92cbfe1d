"""Result files: written completely, checked when read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from runs import PUBLISHED, ROOT, manifest_of

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.files import atomic_write, scratch_folder, write_json
from harness.core.records import Made, RowHeader, TaskRecord
from harness.core.run_files import MANIFEST, find_runs, read_manifest, read_record, read_run, write_failure, write_manifest, write_record

BENCHMARK = load_benchmark()
AFQMC = BENCHMARK.task("AFQMC")
STS22 = BENCHMARK.task("STS22")
STS_METRICS = {"cos_sim": {"pearson": 0.5, "spearman": 0.25}}
HEADER = RowHeader(model="m", gpu="CPU (x)", dtype="float32", size_gb=0.65, dim=1792, max_len=512, notes=("a note",))


def record(task: str = "AFQMC", split: str = "validation", **changes: object) -> TaskRecord:
    values = {"metrics": STS_METRICS, "dataset_revision": "b44c", "evaluation_time": 1.5, "made": Made(run="d")} | changes
    return TaskRecord(task=task, split=split, **values)  # type: ignore[arg-type]


def test_a_record_is_what_mteb_1_1_1_writes_plus_one_key(tmp_path: Path) -> None:
    raw = json.loads(write_record(tmp_path, record()).read_text(encoding="utf-8"))
    assert raw.pop("harness") == {"schema": 1, "run": "d"}
    assert raw == {
        "mteb_version": "1.1.1",
        "mteb_dataset_name": "AFQMC",
        "dataset_revision": "b44c",
        "validation": {**STS_METRICS, "evaluation_time": 1.5},
    }


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    assert read_record(path, AFQMC) == record()
    assert read_record(path, AFQMC).main_score(AFQMC) == 0.25


@pytest.mark.parametrize("folder", [PUBLISHED, *find_runs(ROOT / "results" / "baselines")], ids=lambda folder: folder.name)
def test_committed_files_are_written_again_as_they_are(tmp_path: Path, folder: Path) -> None:
    run = read_run(folder, BENCHMARK)
    write_manifest(tmp_path, run.manifest)
    for each in run.records.values():
        write_record(tmp_path, each)
    assert len(run.records) == 35
    for path in tmp_path.glob("*.json"):
        assert path.read_bytes() == (folder / path.name).read_bytes(), path.name


def test_keys_that_this_version_does_not_know_stay_in_their_place(tmp_path: Path) -> None:
    """Beside the others, and inside of every section."""
    folder = find_runs(ROOT / "results" / "baselines")[0]
    raw = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) | {"future": {"key": [1, "two"]}}
    for section in (raw["header"], raw["spec"], raw["spec"]["data"], raw["model"], raw["device"]):
        section["future"] = {"key": [1, "two"]}
    write_json(tmp_path / MANIFEST, raw)
    write_manifest(tmp_path, read_manifest(tmp_path))
    assert json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8")) == raw


def test_a_long_value_is_not_quoted_whole(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["harness"]["data"] = {"verdict": "x" * 10**6}
    write_json(path, raw)
    with pytest.raises(
        InputError, match=r"AFQMC.json is no record of AFQMC \(Invalid enum value 'xxx.* \.\.\. .*\$\.data\.verdict"
    ) as caught:
        read_record(path, AFQMC)
    assert len(str(caught.value)) < 1000


def test_metrics_of_a_multilingual_task_are_found_under_its_language(tmp_path: Path) -> None:
    path = write_record(tmp_path, record("STS22", "test", metrics={"zh": STS_METRICS}))
    assert read_record(path, STS22).main_score(STS22) == 0.25


@pytest.mark.parametrize(
    ("content", "output"),
    [
        ('{"mteb_dataset_name": "AFQMC", "valid', "truncated"),
        ("[]", "no record of AFQMC"),
        ('{"mteb_dataset_name": "ATEC"}', "'ATEC'"),
        ('{"mteb_dataset_name": "AFQMC", "test": {}}', "no split 'validation'"),
        ('{"mteb_dataset_name": "AFQMC", "validation": {"cos_sim": {"pearson": 1}}}', "cos_sim.spearman"),
        ('{"mteb_dataset_name": "AFQMC", "validation": {"cos_sim": {"spearman": NaN}}}', "is no record of AFQMC"),
        ('{"mteb_dataset_name": "AFQMC", "validation": {"cos_sim": {"spearman": true}}}', "got `bool`"),
        ('{"mteb_dataset_name": "AFQMC", "harness": {"schema": 99}}', "newer harness"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused_with_the_reason(tmp_path: Path, content: str, output: str) -> None:
    path = tmp_path / "AFQMC.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"AFQMC\.json") as caught:
        read_record(path, AFQMC)
    assert output in str(caught.value)


def test_no_record_is_written_with_a_number_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_record(tmp_path, record(metrics={"cos_sim": {"spearman": float("nan")}}))
    assert list(tmp_path.iterdir()) == []


def test_a_run_lists_its_failed_and_its_broken_tasks(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    write_manifest(folder, manifest_of(HEADER, {"run": "d"}))
    write_record(folder, record())
    write_record(folder, record("STSB", "test", made=Made(run="9" * 64)))
    write_failure(folder, "ATEC", kind="InputError", message="no such file", traceback="...")
    (folder / "BQ.json").write_text("{", encoding="utf-8")
    (folder / "LCQMC.json").symlink_to("LCQMC.json")  # to itself
    run = read_run(folder, BENCHMARK)
    assert run.header == HEADER
    assert (set(run.records), run.failed, set(run.broken)) == ({"AFQMC"}, {"ATEC": "no such file"}, {"BQ", "STSB"})
    assert run.broken["STSB"].endswith("STSB.json was made by the run 99999999, the manifest beside it is of d: run the task again")
    assert find_runs(tmp_path) == [folder]


def test_a_task_that_failed_after_its_record_has_failed_until_it_succeeds(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest_of(HEADER, {"run": "d"}))
    write_record(tmp_path, record())
    write_failure(tmp_path, "AFQMC", kind="InputError", message="no such file", traceback="...")
    run = read_run(tmp_path, BENCHMARK)
    assert (run.records, run.failed) == ({}, {"AFQMC": "no such file"})
    write_record(tmp_path, record())
    run = read_run(tmp_path, BENCHMARK)
    assert (set(run.records), run.failed) == ({"AFQMC"}, {})


def test_unknown_keys_of_a_record_stay_where_they_are(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["harness"]["later"] = {"a": [1]}
    write_json(path, raw)
    write_record(tmp_path, read_record(path, AFQMC))
    assert json.loads(path.read_text(encoding="utf-8")) == raw


def test_a_success_forgets_the_failure_before_it(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest_of(HEADER))
    write_failure(tmp_path, "AFQMC", kind="InputError", message="no such file", traceback="...")
    write_record(tmp_path, record())
    assert read_run(tmp_path, BENCHMARK).failed == {}


def test_a_folder_without_a_manifest_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^there is no \S+nowhere: name a run folder$"):
        read_run(tmp_path / "nowhere", BENCHMARK)
    with pytest.raises(InputError, match="is no run folder: name one"):
        read_run(tmp_path, BENCHMARK)
    (tmp_path / "manifest.json").write_text('{"header": {"model": "m"}}', encoding="utf-8")
    with pytest.raises(InputError, match=r"no manifest.*the same command writes it again, and computes no task"):
        read_run(tmp_path, BENCHMARK)


def test_a_writer_killed_in_the_middle_leaves_the_old_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    code = (
        "import os, signal, sys; from pathlib import Path; from harness.core.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'{\"new\": '); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -9
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": 1}
    assert len(list(tmp_path.iterdir())) == 2
    with atomic_write(path) as first, atomic_write(path) as second:  # at once: the killed writer's file alone is deleted
        assert len(list(tmp_path.iterdir())) == 3
        first.write(b"1")
        second.write(b"2")
    assert list(tmp_path.iterdir()) == [path]


def test_scratch_folders_of_killed_processes_are_deleted_and_no_others(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "x-") as mine:
        killed, other = tmp_path / "x-12345678", tmp_path / "x-of-a-user"
        for path in (killed, other):
            path.mkdir()
        with scratch_folder(tmp_path, "x-") as second:
            assert sorted(tmp_path.iterdir()) == sorted([mine, second, other])
    assert list(tmp_path.iterdir()) == [other]


def test_a_block_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with atomic_write(tmp_path / "x") as stream:
            stream.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x"])
def test_a_folder_that_cannot_be_written_is_one_clear_error(place: str) -> None:
    with pytest.raises(MachineError, match=r"can't write .*another folder"), atomic_write(Path(place)) as stream:
        stream.write(b"x")


def test_a_disk_that_fills_up_leaves_the_old_file_whole_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"old": 1})
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from harness.core.errors import MachineError; from harness.core.files import write_json\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: write_json(Path(sys.argv[1]), 'x' * 100000)\n"
        "except MachineError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "can't write" in done.stdout
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]
