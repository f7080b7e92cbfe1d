"""`fetch`: a mirror is complete or not there, whatever kills the process; its bytes are checked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from fakehub import FakeHub, commit_of, gzipped, json_lines, parquet, running

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, MachineError, RequestError
from harness.core.files import sha256_file
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.mirror import FetchResult, fetch
from harness.data.sources import load_task
from harness.data.types import ClassificationData, PairData, RetrievalData

ROOT = Path(__file__).resolve().parent.parent
AFQMC_FILE = "data/validation-00000-of-00001-aa.parquet"
BQ_FILES = ["data/test-00000-of-00002-bb.parquet", "data/test-00001-of-00002-cc.parquet"]
CHILD = """
import sys
from pathlib import Path
from harness.core.benchmarks import load_benchmark
from harness.data.mirror import fetch

for result in fetch([load_benchmark().task(name) for name in sys.argv[2:]], Path(sys.argv[1])):
    print(result.task, result.status, result.error)
"""
KILLED_AT_RENAME = """
import os, signal, pathlib
real, calls = pathlib.Path.rename, []
def rename(self, target):
    calls.append(target)
    if len(calls) == {number}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
pathlib.Path.rename = rename
"""


def tasks(*names: str) -> list[TaskSpec]:
    return [load_benchmark().task(name) for name in names]


def read(name: str, root: Path) -> tuple[object, object]:
    loaded = load_task(*tasks(name), DataSpec(source="local", root=str(root), verify="label"))
    return loaded.data, loaded.provenance


def start(code: str, root: Path, *names: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, str(root), *names]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def visible(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("."))


def hidden(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name.startswith(".") and path.is_dir())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """AFQMC in one file, BQ in two shards, CovidRetrieval with judgements at an unpinned commit."""
    fake = FakeHub()
    afqmc, bq, covid = tasks("AFQMC", "BQ", "CovidRetrieval")
    fake.add(afqmc.hub, afqmc.revision, {AFQMC_FILE: parquet({"sentence1": ["甲", "丙"], "sentence2": ["乙", "丁"], "score": [1, 0]})})
    shards = [parquet({"sentence1": [one], "sentence2": [two], "score": [score]}) for one, two, score in (("一", "二", 0), ("三", "四", 1))]
    fake.add(bq.hub, bq.revision, dict(zip(BQ_FILES, shards, strict=True)))
    tables = {"corpus": {"id": ["d"], "text": ["段"]}, "queries": {"id": ["q"], "text": ["问"]}}
    fake.add(covid.hub, covid.revision, {f"data/{name}-00000-of-00001.parquet": parquet(table) for name, table in tables.items()})
    qrels = {"data/dev-00000-of-00001.parquet": parquet({"qid": ["q"], "pid": ["d"], "score": [1]})}
    fake.add("C-MTEB/CovidRetrieval-qrels", commit_of("qrels"), qrels)
    with running(fake):
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "CMTEB_DATA"):
            monkeypatch.delenv(name, raising=False)
        yield fake


def test_a_mirror_is_read_where_there_is_no_hub(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "mirror"
    seen: list[FetchResult] = []
    results = fetch(tasks("AFQMC", "BQ", "CovidRetrieval"), root, on_task=seen.append)
    assert results == seen
    assert [(result.task, result.status, result.error) for result in results] == [
        ("AFQMC", "fetched", None),
        ("BQ", "fetched", None),
        ("CovidRetrieval", "fetched", None),
    ]
    assert visible(root) == ["AFQMC", "BQ", "CovidRetrieval"]
    assert hidden(root) == []
    assert sorted(path.name for path in (root / "BQ").iterdir()) == [
        "mirror.json",
        "test-00000-of-00002.parquet",
        "test-00001-of-00002.parquet",
    ]
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "another home"))
    asked = len(hub.requests)
    assert read("AFQMC", root)[0] == PairData(["甲", "丙"], ["乙", "丁"], [1, 0])
    assert read("BQ", root)[0] == PairData(["一", "三"], ["二", "四"], [0, 1])
    loaded = load_task(*tasks("CovidRetrieval"), DataSpec(source="local", root=str(root), verify="label"))
    assert loaded.data == RetrievalData({"d": "段"}, {"q": "问"}, {"q": {"d": 1}})
    spec = tasks("CovidRetrieval")[0]
    provenance = loaded.provenance
    assert (provenance.source, provenance.repository, provenance.revision) == ("local", spec.hub, spec.revision)
    assert (provenance.qrels_revision, provenance.substituted, provenance.verdict) == (commit_of("qrels"), False, "not C-MTEB")
    assert provenance.sha256 == {
        f"{table}.parquet": sha256_file(root / "CovidRetrieval" / f"{table}.parquet") for table in ("corpus", "queries", "qrels")
    }
    assert len(hub.requests) == asked


@pytest.mark.parametrize(
    "files",
    [
        {
            f"default/test/000{place}.parquet": parquet({"sentence1": [one], "sentence2": ["乙"], "score": [1]})
            for place, one in enumerate("甲丙")
        },
        {"test.json.gz": gzipped(json.dumps([{"sentence1": one, "sentence2": "乙", "score": 1} for one in "甲丙"]).encode())},
    ],
    ids=["converted", "array"],
)
def test_every_layout_of_the_hub_can_be_mirrored(hub: FakeHub, tmp_path: Path, files: dict[str, bytes]) -> None:
    (bq,) = tasks("BQ")
    hub.repositories[bq.hub][bq.revision] = files
    assert fetch([bq], tmp_path)[0].status == "fetched"
    assert read("BQ", tmp_path)[0] == PairData(["甲", "丙"], ["乙", "乙"], [1, 1])


def test_what_is_there_and_whole_is_not_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    fetch(tasks("AFQMC", "CovidRetrieval"), root)
    hub.add("C-MTEB/CovidRetrieval-qrels", commit_of("moved"), {})
    asked = len(hub.requests)
    (root / ".AFQMC.abcd_123" / "old").mkdir(parents=True)  # of a process that was killed when the task was in its place
    results = fetch(tasks("AFQMC", "CovidRetrieval"), root)
    assert [result.status for result in results] == ["present", "present"]
    assert hidden(root) == []
    assert results[1].provenance is not None
    assert results[1].provenance.qrels_revision == commit_of("qrels")
    assert len(hub.requests) == asked


def test_a_substitution_is_carried_over(hub: FakeHub, tmp_path: Path) -> None:
    spec = tasks("STS22")[0]
    assert spec.substitute is not None
    rows = [{"sentence1": "a", "sentence2": "b", "score": score, "lang": lang} for score, lang in ((1.5, "zh"), (2.0, "zh"), (3.0, "en"))]
    hub.add(spec.hub, spec.revision, {"sts22.py": b"raise SystemExit"})
    hub.add(spec.hub, str(spec.substitute.revision), {"test.jsonl": json_lines(rows)})
    fetch([spec], tmp_path / "mirror")
    loaded = load_task(spec, DataSpec(source="local", root=str(tmp_path / "mirror"), verify="label"))
    assert loaded.data == PairData(["a", "a"], ["b", "b"], [1.5, 2.0])
    assert (loaded.provenance.substituted, loaded.provenance.revision) == (True, spec.substitute.revision)
    assert "in place of" in loaded.provenance.notes[0]


def test_an_archive_is_mirrored_as_it_is(hub: FakeHub, tmp_path: Path) -> None:
    spec = tasks("MassiveIntentClassification")[0]
    rows = [{"partition": part, "intent": label, "scenario": "s", "utt": part + label} for part in ("train", "test") for label in "ab"]
    sink = BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as tar:
        member = tarfile.TarInfo("1.0/data/zh-CN.jsonl")
        member.size = len(json_lines(rows))
        tar.addfile(member, BytesIO(json_lines(rows)))
    hub.add(spec.hub, spec.revision, {"amazon-massive-dataset-1.0.tar.gz": sink.getvalue()})
    fetch([spec], tmp_path / "mirror")
    data = read(spec.name, tmp_path / "mirror")[0]
    assert isinstance(data, ClassificationData)
    assert (data.train.texts, data.test.labels) == (["traina", "trainb"], ["a", "b"])


def test_killed_in_the_middle_of_a_download_and_resumed(hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    hub.stall_path = BQ_FILES[0]  # the last to be asked for
    child = start(CHILD, root, "AFQMC", "BQ")
    assert hub.stalling.wait(timeout=60), child.communicate()
    child.kill()
    assert child.wait() == -signal.SIGKILL
    child.communicate()
    assert visible(root) == ["AFQMC"]
    assert read("AFQMC", root)[0] == PairData(["甲", "丙"], ["乙", "丁"], [1, 0])
    with pytest.raises(InputError, match=r"no folder BQ or C-MTEB/BQ in .*python -m harness fetch"):
        read("BQ", root)
    hub.release.set()
    before = len(hub.downloads())
    assert [result.status for result in fetch(tasks("AFQMC", "BQ"), root)] == ["present", "fetched"]
    assert [path.rsplit("/", 1)[1] for path in hub.downloads()[before:]] == [
        BQ_FILES[0].rsplit("/", 1)[1]
    ]  # what was finished is not asked for again
    assert read("BQ", root)[0] == PairData(["一", "三"], ["二", "四"], [0, 1])


@pytest.mark.parametrize(("outdated", "number", "left"), [(False, 1, []), (True, 1, ["AFQMC"]), (True, 2, [])])
def test_killed_while_publishing(hub: FakeHub, tmp_path: Path, outdated: bool, number: int, left: list[str]) -> None:
    root = tmp_path / "mirror"
    if outdated:
        fetch(tasks("AFQMC"), root)
        (root / "AFQMC" / "validation.parquet").write_bytes(b"damaged")
    child = start(KILLED_AT_RENAME.format(number=number) + CHILD, root, "AFQMC")
    output = child.communicate()
    assert child.returncode == -signal.SIGKILL, output
    assert visible(root) == left
    assert hidden(root) != []
    assert [result.status for result in fetch(tasks("AFQMC"), root)] == ["fetched"]
    assert hidden(root) == []
    assert read("AFQMC", root)[0] == PairData(["甲", "丙"], ["乙", "丁"], [1, 0])


def test_two_processes_into_one_root(hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    children = [start(CHILD, root, "AFQMC", "BQ", "CovidRetrieval") for _ in range(2)]
    for child in children:
        output, errors = child.communicate()
        assert child.returncode == 0, errors
        assert "failed" not in output
    assert visible(root) == ["AFQMC", "BQ", "CovidRetrieval"]
    assert hidden(root) == []
    assert [result.status for result in fetch(tasks("AFQMC", "BQ", "CovidRetrieval"), root)] == ["present"] * 3


def test_a_damaged_file_is_named_and_fetched_again(hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    fetch(tasks("BQ"), root)
    damaged = root / "BQ" / "test-00001-of-00002.parquet"
    content = bytearray(damaged.read_bytes())
    content[10] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read("BQ", root)
    assert f"{damaged}: damaged: its sha256 is {sha256_file(damaged)}, expected " in str(caught.value)
    assert f"python -m harness fetch data.root={root} tasks=BQ" in str(caught.value)
    assert [result.status for result in fetch(tasks("BQ"), root)] == ["fetched"]
    assert read("BQ", root)[0] == PairData(["一", "三"], ["二", "四"], [0, 1])


@pytest.mark.parametrize("damage", ["missing file", "damaged manifest", "another revision"])
def test_a_mirror_that_is_not_whole_or_not_the_pinned_one(hub: FakeHub, tmp_path: Path, damage: str) -> None:
    root = tmp_path / "mirror"
    fetch(tasks("AFQMC"), root)
    manifest = root / "AFQMC" / "mirror.json"
    if damage == "missing file":
        (root / "AFQMC" / "validation.parquet").unlink()
    elif damage == "damaged manifest":
        manifest.write_text(manifest.read_text()[:40])
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "pinned_revision": commit_of("older")}))
    with pytest.raises(InputError, match="fetch"):
        read("AFQMC", root)
    assert [result.status for result in fetch(tasks("AFQMC"), root)] == ["fetched"]
    assert read("AFQMC", root)[0] == PairData(["甲", "丙"], ["乙", "丁"], [1, 0])


def test_a_file_that_was_added_to_a_mirror_is_not_read(hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    fetch(tasks("AFQMC"), root)
    (root / "AFQMC" / "validation.jsonl").write_bytes(b"")
    assert read("AFQMC", root)[0] == PairData(["甲", "丙"], ["乙", "丁"], [1, 0])


@pytest.mark.parametrize("folder", ["CMedQAv1", "CMedQAv1-reranking"])
def test_a_folder_of_somebody_else_is_left_alone(hub: FakeHub, tmp_path: Path, folder: str) -> None:
    mine = tmp_path / "mirror" / folder / "test.jsonl"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(RequestError, match=r"was not made by fetch .*name an empty data\.root=DIR"):
        fetch(tasks("AFQMC", "CMedQAv1"), tmp_path / "mirror")
    assert mine.read_text() == "mine"
    assert visible(tmp_path / "mirror") == [folder]
    assert hub.requests == []


def test_a_task_the_hub_can_not_give_fails_alone(hub: FakeHub, tmp_path: Path) -> None:
    del hub.repositories["C-MTEB/AFQMC"]
    hub.status[BQ_FILES[1]] = 503
    results = fetch(tasks("AFQMC", "BQ", "CovidRetrieval"), tmp_path / "mirror")
    assert [(result.task, result.status) for result in results] == [("AFQMC", "failed"), ("BQ", "failed"), ("CovidRetrieval", "fetched")]
    assert "has no repository C-MTEB/AFQMC" in str(results[0].error)
    assert "503" in str(results[1].error)
    assert visible(tmp_path / "mirror") == ["CovidRetrieval"]


def test_unreadable_data_is_not_mirrored(hub: FakeHub, tmp_path: Path) -> None:
    afqmc = tasks("AFQMC")[0]
    hub.add(afqmc.hub, afqmc.revision, {AFQMC_FILE: parquet({"sentence1": ["甲"]})})
    (result,) = fetch([afqmc], tmp_path / "mirror")
    assert result.status == "failed"
    assert "column 'sentence2', 'score' is missing" in str(result.error)
    assert not (tmp_path / "mirror" / "AFQMC").exists()


def test_a_hub_out_of_reach_ends_it_at_once(hub: FakeHub, tmp_path: Path) -> None:
    hub.status["api"] = 502
    with pytest.raises(MachineError, match="HF_ENDPOINT"):
        fetch(tasks("AFQMC", "BQ"), tmp_path / "mirror")
    assert sum("/api/" in path for _, path in hub.requests) == 2  # the first task, and whether the hub answers at all


def test_a_root_that_can_not_be_written(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"can't write .*name another data\.root"):
        fetch(tasks("AFQMC"), tmp_path / "file" / "mirror")
    assert hub.requests == []  # refused before anything is downloaded
