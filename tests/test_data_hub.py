"""`data=hub` against a hub on loopback: pinned revisions, substitution, offline mode, and a hub that fails in every way."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from fakehub import FakeHub, commit_of, gzipped, json_lines, parquet, running

from harness.core.benchmarks import load_benchmark
from harness.core.errors import HarnessError, InputError, MachineError
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.hub import hub_settings, hub_status, resolve_commit
from harness.data.sources import load_task
from harness.data.types import ClassificationData, LoadedTask, PairData, RerankingData, RerankingSample, RetrievalData

ROOT = Path(__file__).resolve().parent.parent
STS = {"sentence1": ["甲", "丙"], "sentence2": ["乙", ""], "score": [1, 0]}
STS_DATA = PairData(["甲", "丙"], ["乙", ""], [1, 0])
AFQMC_FILE = "data/validation-00000-of-00001-0123456789abcdef.parquet"
SCRIPT = b"raise SystemExit('a loading script was run')\n"
HINTS = ("HF_ENDPOINT", "python -m harness fetch data.root=DIR", "data=local data.root=DIR")


CMN = load_benchmark("cmn_v1")


def task(name: str) -> TaskSpec:
    return load_benchmark().task(name)


def load(name: str) -> LoadedTask:
    return load_task(task(name), DataSpec(source="hub", verify="label"))


def failure(name: str, kind: type[HarnessError]) -> str:
    with pytest.raises(kind) as caught:
        load(name)
    assert all(hint in str(caught.value) for hint in HINTS), str(caught.value)
    return str(caught.value)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    fake = FakeHub()
    with running(fake):
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield fake


def add_sts(hub: FakeHub) -> bytes:
    content = parquet(STS)
    files = {"README.md": b"card", AFQMC_FILE: content, "data/test-00000-of-00001-00.parquet": b"never read", "afqmc.py": SCRIPT}
    hub.add(task("AFQMC").hub, task("AFQMC").revision, files, main=False)
    return content


def add_retrieval(hub: FakeHub) -> tuple[str, str]:
    spec = task("CovidRetrieval")
    assert spec.qrels is not None
    corpus = parquet({"id": ["d1", "d2"], "text": ["一段", "两段"]})
    queries = parquet({"id": ["q1"], "text": ["问"]})
    hub.add(spec.hub, spec.revision, {"data/corpus-00000-of-00001-aa.parquet": corpus, "data/queries-00000-of-00001-bb.parquet": queries})
    qrels = {"data/dev-00000-of-00001-cc.parquet": parquet({"qid": ["q1"], "pid": ["d2"], "score": [1]})}
    hub.add(spec.qrels.hub, commit_of("qrels"), qrels)
    return spec.qrels.hub, commit_of("qrels")


def test_the_pinned_revision_is_read_and_recorded(hub: FakeHub, tmp_path: Path) -> None:
    content = add_sts(hub)
    hub.add(task("AFQMC").hub, commit_of("newer"), {AFQMC_FILE: parquet({**STS, "score": [0, 0]})})
    loaded = load("AFQMC")
    assert loaded.data == STS_DATA
    provenance = loaded.provenance
    assert (provenance.source, provenance.repository, provenance.revision) == ("hub", "C-MTEB/AFQMC", task("AFQMC").revision)
    assert (provenance.verdict, provenance.substituted, provenance.qrels_revision) == ("not C-MTEB", False, None)
    assert provenance.sha256 == {AFQMC_FILE: hashlib.sha256(content).hexdigest()}
    assert (tmp_path / "hf" / "hub" / "datasets--C-MTEB--AFQMC").is_dir()
    assert len(hub.downloads()) == 1


def test_a_cached_commit_is_read_without_asking(hub: FakeHub) -> None:
    add_sts(hub)
    load("AFQMC")
    asked = len(hub.requests)
    assert load("AFQMC").data == STS_DATA
    assert len(hub.requests) == asked


def test_the_commit_of_the_judgements_is_resolved_and_recorded(hub: FakeHub) -> None:
    _, commit = add_retrieval(hub)
    loaded = load("CovidRetrieval")
    assert loaded.data == RetrievalData({"d1": "一段", "d2": "两段"}, {"q1": "问"}, {"q1": {"d2": 1}})
    assert loaded.provenance.qrels_revision == commit


def test_judgements_that_moved_are_recorded_as_moved(hub: FakeHub) -> None:
    qrels, old = add_retrieval(hub)
    assert load("CovidRetrieval").provenance.qrels_revision == old
    hub.add(qrels, commit_of("moved"), {"data/dev-00000-of-00001-dd.parquet": parquet({"qid": ["q1"], "pid": ["d1"], "score": [1]})})
    loaded = load("CovidRetrieval")
    assert loaded.provenance.qrels_revision == commit_of("moved")
    assert isinstance(loaded.data, RetrievalData)
    assert loaded.data.qrels == {"q1": {"d1": 1}}


def test_offline_mode_uses_the_cache_and_its_commits(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    add_sts(hub)
    qrels, commit = add_retrieval(hub)
    load("AFQMC")
    load("CovidRetrieval")
    hub.add(qrels, commit_of("moved"), {})
    asked = len(hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load("AFQMC").data == STS_DATA
    assert load("CovidRetrieval").provenance.qrels_revision == commit
    assert resolve_commit(qrels, None, hub_settings()) == commit
    assert hub_status().detail == "offline mode (HF_HUB_OFFLINE)"
    assert len(hub.requests) == asked


def test_offline_mode_of_a_whole_process(hub: FakeHub) -> None:
    """huggingface_hub reads the switch once, when it is imported."""
    add_retrieval(hub)
    load("CovidRetrieval")
    asked = len(hub.requests)
    code = (
        "from harness.core.benchmarks import load_benchmark; from harness.data.sources import load_task\n"
        "from harness.core.spec import DataSpec\n"
        "print(load_task(load_benchmark().task('CovidRetrieval'), DataSpec(source='hub', verify='label')).data.qrels)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "{'q1': {'d2': 1}}\n"
    assert len(hub.requests) == asked


def test_offline_mode_with_a_cold_cache(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    add_sts(hub)
    add_retrieval(hub)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("AFQMC", "CovidRetrieval", "STS22"):
        message = failure(name, MachineError)
        assert "offline mode is on (HF_HUB_OFFLINE)" in message
        assert str(tmp_path / "hf") in message
    with pytest.raises(MachineError, match="does not have which commit C-MTEB/CovidRetrieval-qrels is at"):
        resolve_commit("C-MTEB/CovidRetrieval-qrels", None, hub_settings())
    assert hub.requests == []


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("AmazonReviewsClassification", {"zh/{split}.jsonl": "plain", "en/{split}.jsonl": "other", "amazon_reviews_multi.py": "script"}),
        ("MassiveIntentClassification", {"{split}/zh-CN.json.gz": "gzip", "{split}/zh-TW.json.gz": "other"}),
        ("MassiveIntentClassification", {"zh-CN/{split}-00000-of-00001.parquet": "parquet", "en/{split}-00000-of-00001.parquet": "other"}),
    ],
)
def test_layouts_of_repositories_with_several_languages(hub: FakeHub, name: str, files: dict[str, str]) -> None:
    spec = task(name)
    content = {}
    for path, form in files.items():
        for split in ("train", "test", "validation"):
            columns = {"text": [f"{split}甲", f"{split}乙"], "label": ["x", "y"], "lang": [spec.config] * 2}
            rows = [{key: values[row] for key, values in columns.items()} for row in range(2)]
            forms = {"plain": json_lines(rows), "gzip": gzipped(json_lines(rows)), "parquet": parquet(columns)}
            content[path.format(split=split)] = forms.get(form, SCRIPT)
    hub.add(spec.hub, spec.revision, content)
    data = load(name).data
    assert isinstance(data, ClassificationData)
    assert (data.train.texts, data.test.texts, data.test.labels) == (["train甲", "train乙"], ["test甲", "test乙"], ["x", "y"])
    assert load(name).provenance.substituted is False


def test_raw_files_beside_a_script_are_not_taken_for_a_split(hub: FakeHub) -> None:
    """mteb/sts22-crosslingual-sts keeps thousands of articles as raw/test/NN/<id>.json beside zh/test.jsonl."""
    rows = json_lines([{"id": "1", **{key: values[row] for key, values in STS.items()}} for row in range(2)])
    files = {
        "zh/test.jsonl": rows,
        "zh-en/test.jsonl": b"",
        "raw/test/00/1.json": b"{}",
        "raw/test/zh/2.json.gz": b"",
        "sts22-crosslingual-sts.py": SCRIPT,
    }
    hub.add(task("STS22").hub, task("STS22").revision, files)
    assert load("STS22").data == STS_DATA


def massive_archive(rows: list[dict[str, str]]) -> bytes:
    sink = BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as tar:
        content = json_lines(rows)
        member = tarfile.TarInfo("1.0/data/zh-CN.jsonl")
        member.size = len(content)
        tar.addfile(member, BytesIO(content))
    return sink.getvalue()


def test_the_archive_at_the_pinned_revision_goes_before_the_substitute(hub: FakeHub) -> None:
    spec = task("MassiveIntentClassification")
    rows = [
        {"partition": partition, "scenario": "s", "intent": label, "utt": partition + label}
        for partition in ("train", "dev", "test")
        for label in "ab"
    ]
    files = {"amazon-massive-dataset-1.0.tar.gz": massive_archive(rows), "amazon_massive_intent.py": SCRIPT}
    hub.add(spec.hub, spec.revision, files)
    loaded = load(spec.name)
    assert isinstance(loaded.data, ClassificationData)
    assert (loaded.data.test.texts, loaded.data.train.labels) == (["testa", "testb"], ["a", "b"])
    assert (loaded.provenance.revision, loaded.provenance.substituted) == (spec.revision, False)
    assert len(hub.downloads()) == 1  # one archive, two tables


def test_a_repository_of_scripts_is_substituted_and_the_record_says_so(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = task("STS22")
    assert spec.substitute is not None
    rows = json_lines([{key: values[row] for key, values in STS.items()} for row in range(2)])
    hub.add(spec.hub, spec.revision, {"sts22.py": SCRIPT, "README.md": b""})
    hub.add(spec.substitute.hub, str(spec.substitute.revision), {"test/zh.jsonl.gz": gzipped(rows)})
    provenance = load("STS22").provenance
    assert (provenance.substituted, provenance.revision, provenance.pinned_revision) == (True, spec.substitute.revision, spec.revision)
    assert provenance.notes == (
        f"read {spec.hub}@{spec.substitute.revision} in place of {spec.hub}@{spec.revision}, which has no file that can be read",
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load("STS22").provenance == provenance


def test_scripts_without_a_substitute_are_an_error_that_names_what_is_there(hub: FakeHub) -> None:
    hub.add(task("AFQMC").hub, task("AFQMC").revision, {"afqmc.py": SCRIPT, "README.md": b""})
    with pytest.raises(InputError) as caught:
        load("AFQMC")
    assert "no readable file for validation" in str(caught.value)
    assert "found README.md, afqmc.py" in str(caught.value)
    assert "data=local data.root=DIR" in str(caught.value)


def test_a_repository_that_is_not_there(hub: FakeHub) -> None:
    assert f"{hub.endpoint} has no repository C-MTEB/AFQMC" in failure("AFQMC", InputError)


def test_a_revision_that_is_not_there(hub: FakeHub) -> None:
    hub.add(task("AFQMC").hub, commit_of("another"), {AFQMC_FILE: parquet(STS)})
    assert f"has C-MTEB/AFQMC, but no revision {task('AFQMC').revision} of it" in failure("AFQMC", InputError)


def test_judgements_without_the_split(hub: FakeHub) -> None:
    qrels, _ = add_retrieval(hub)
    hub.add(qrels, commit_of("empty"), {"data/test-00000-of-00001.parquet": b""})
    with pytest.raises(InputError, match=r"no readable file for dev in C-MTEB/CovidRetrieval-qrels@\w+ \(found data/test-00000-of-00001"):
        load("CovidRetrieval")


def test_a_connection_that_breaks_is_taken_up_again(hub: FakeHub) -> None:
    content = add_sts(hub)
    hub.broken[AFQMC_FILE] = len(content) // 2
    assert load("AFQMC").data == STS_DATA
    assert len(hub.downloads()) == 2


def test_some_parts_of_a_converted_table_are_never_taken_for_all(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names like `0000.parquet` do not say how many there are."""
    names = [f"default/validation/000{number}.parquet" for number in range(2)]
    parts = [parquet({name: [cell] for name, cell in zip(STS, row, strict=True)}) for row in zip(*STS.values(), strict=True)]
    hub.add(task("AFQMC").hub, task("AFQMC").revision, dict(zip(names, parts, strict=True)), main=False)
    hub.status[names[0]] = 500
    failure("AFQMC", MachineError)
    hub.status.clear()
    assert load("AFQMC").data == STS_DATA
    blob = tmp_path / "hf/hub/datasets--C-MTEB--AFQMC/blobs" / hashlib.sha256(parts[1]).hexdigest()
    blob.write_bytes(b"?")
    assert load("AFQMC").data == STS_DATA
    own = replace(task("AFQMC"), statistics={})
    for path in (tmp_path / "hf").rglob("0001.parquet"):
        path.unlink()
    assert load_task(own, DataSpec(source="hub")).data == STS_DATA, "the hub knows how many there are"
    kept = dict(hub.repositories)
    hub.repositories.clear()
    assert load("AFQMC").data == STS_DATA, "all is here, whatever became of the repository"
    hub.repositories.update(kept)
    for path in (tmp_path / "hf").rglob("0001.parquet"):
        path.unlink()
    monkeypatch.setenv("HF_ENDPOINT", "http://localhost:9")
    part = load_task(own, DataSpec(source="hub"))
    assert len(part.provenance.notes) == 1
    assert f"the hub could not be asked whether {names[0]} are all files" in part.provenance.notes[0]
    with pytest.raises(InputError, match="rows 1, expected"):
        load_task(task("AFQMC"), DataSpec(source="hub"))


def test_a_benchmark_that_pins_a_branch_is_told_to_name_a_commit(hub: FakeHub) -> None:
    hub.add(task("AFQMC").hub, task("AFQMC").revision, {AFQMC_FILE: parquet(STS)})
    with pytest.raises(InputError, match=r"C-MTEB/AFQMC has no pinned revision \(found main\): name a commit"):
        load_task(replace(task("AFQMC"), revision="main"), DataSpec(source="hub", verify="label"))


def test_a_hub_that_breaks_off_for_good_leaves_nothing_half_read(hub: FakeHub, tmp_path: Path) -> None:
    content = add_sts(hub)
    hub.broken[AFQMC_FILE] = len(content) // 2
    hub.status_after_break = 503
    assert "503" in failure("AFQMC", MachineError)
    blobs = tmp_path / "hf/hub/datasets--C-MTEB--AFQMC/blobs"
    assert [path.stat().st_size for path in blobs.iterdir()] == []
    hub.status.clear()
    assert load("AFQMC").data == STS_DATA


@pytest.mark.parametrize("status", [500, 503, 401])
def test_a_hub_that_answers_with_an_error(hub: FakeHub, status: int) -> None:
    hub.status["api"] = status
    assert str(status) in failure("AFQMC", MachineError)


def test_a_server_that_is_no_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.status["api"] = 200
    assert "does not answer as a hub does" in failure("AFQMC", MachineError)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_where_nobody_listens(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    add_sts(hub)
    load("AFQMC")
    endpoint = f"http://127.0.0.1:{closed_port()}"
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert f"from {endpoint}" in failure("BQ", MachineError)
    status = hub_status()
    assert (status.settings.endpoint, status.reachable) == (endpoint, False)
    assert "Connect" in status.detail
    assert load("AFQMC").data == STS_DATA  # a pinned commit in the cache needs no hub


def test_unpinned_judgements_are_never_taken_from_the_cache_in_silence(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    add_retrieval(hub)
    load("CovidRetrieval")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    assert "CovidRetrieval-qrels" in failure("CovidRetrieval", MachineError)


def test_a_damaged_file_in_the_cache_is_fetched_again_once(
    hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = add_sts(hub)
    load("AFQMC")
    blob = tmp_path / "hf/hub/datasets--C-MTEB--AFQMC/blobs" / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content[:-1] + b"?")
    assert load("AFQMC").data == STS_DATA
    assert blob.read_bytes() == content
    assert f"{AFQMC_FILE}: damaged: its sha256 is" in caplog.text
    blob.write_bytes(content[:-1] + b"?")
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    assert "can't get" in failure("AFQMC", MachineError)


def test_a_damaged_file_in_the_cache_is_named_where_there_is_no_hub(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = add_sts(hub)
    load("AFQMC")
    blob = tmp_path / "hf/hub/datasets--C-MTEB--AFQMC/blobs" / hashlib.sha256(content).hexdigest()
    blob.write_bytes(content[:-1] + b"?")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError) as caught:
        load("AFQMC")
    assert f"{AFQMC_FILE}: damaged: its sha256 is" in str(caught.value)
    assert "delete" in str(caught.value)
    assert "datasets--C-MTEB--AFQMC" in str(caught.value)


def test_a_blob_in_the_store_that_repositories_share_is_not_taken_for_damaged(hub: FakeHub, tmp_path: Path) -> None:
    """With Xet, huggingface_hub 2 makes a blob a link to `<cache>/blobs/<prefix>/<Xet hash>`, which is no sha256."""
    content = add_sts(hub)
    load("AFQMC")
    cache = tmp_path / "hf/hub"
    blob = cache / "datasets--C-MTEB--AFQMC/blobs" / hashlib.sha256(content).hexdigest()
    store = cache / "blobs" / "aa" / ("a" * 64)
    store.parent.mkdir(parents=True)
    blob.rename(store)
    blob.symlink_to(store)
    assert load("AFQMC").data == STS_DATA


def test_status_of_a_hub_that_answers(hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (hub_status().reachable, hub_status().detail) == (True, "answers, but does not know C-MTEB/AFQMC")
    add_sts(hub)
    hub.main["C-MTEB/AFQMC"] = task("AFQMC").revision
    assert (hub_status().reachable, hub_status().detail) == (True, "answers")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "elsewhere"))
    assert (hub_settings().endpoint, hub_settings().cache, hub_settings().offline) == (hub.endpoint, tmp_path / "elsewhere", False)


def test_commits_of_branches_and_commits(hub: FakeHub) -> None:
    add_sts(hub)
    hub.add("C-MTEB/AFQMC", commit_of("main"), {})
    assert resolve_commit("C-MTEB/AFQMC", None, hub_settings()) == commit_of("main")
    assert resolve_commit("C-MTEB/AFQMC", task("AFQMC").revision, hub_settings()) == task("AFQMC").revision
    with pytest.raises(InputError, match="no revision nowhere of it"):
        resolve_commit("C-MTEB/AFQMC", "nowhere", hub_settings())


def test_cmn_v1_reads_the_repositories_that_mteb_2_reads(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    end = "-00000-of-00001.parquet"
    shared = {"_id": ["apos_0", "neg_0"], "text": ["答", "错"], "title": ["", ""]}
    asked = {"_id": ["q0"], "text": ["问"]}
    judged = {"query-id": ["q0"] * 2, "corpus-id": ["apos_0", "neg_0"], "score": [1, 0]}
    ranked = {"query-id": ["q0"], "corpus-ids": [["apos_0", "neg_0"]]}
    reranking, retrieval = CMN.task("T2Reranking"), CMN.task("CovidRetrieval")
    assert (reranking.hub, retrieval.hub, CMN.task("AFQMC").hub) == ("mteb/T2Reranking", "mteb/CovidRetrieval", "C-MTEB/AFQMC")
    tables = {f"corpus/dev{end}": parquet(shared), f"queries/dev{end}": parquet(asked), f"data/dev{end}": parquet(judged)}
    hub.add(reranking.hub, reranking.revision, {**tables, f"top_ranked/dev{end}": parquet(ranked)})
    qrels = {f"qrels/dev{end}": tables.pop(f"data/dev{end}")}
    hub.add(retrieval.hub, retrieval.revision, {**tables, **qrels})
    for offline in ("0", "1"):
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
        found = load_task(reranking, DataSpec(source="hub", verify="label"))
        assert found.data == RerankingData([RerankingSample("问", ["答"], ["错"])])
        assert (found.provenance.repository, found.provenance.revision) == (reranking.hub, reranking.revision)
        passages = load_task(retrieval, DataSpec(source="hub", verify="label"))
        assert passages.data == RetrievalData({"apos_0": "答", "neg_0": "错"}, {"q0": "问"}, {"q0": {"apos_0": 1, "neg_0": 0}}, {})
        assert passages.provenance.qrels_revision == retrieval.revision
