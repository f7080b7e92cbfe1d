"""`data=local` and reading files: the layouts that are accepted, and the error for each wrong file."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet as pq
import pytest
from fakehub import gzipped, json_lines, parquet

from harness.core.benchmarks import load_benchmark
from harness.core.config import resolve_request
from harness.core.errors import InputError, RequestError
from harness.core.files import sha256_file
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data import loading
from harness.data.local import has_changed
from harness.data.sources import load_task
from harness.data.types import ClassificationData, ClusteringData, LoadedTask, PairData, RerankingData, RetrievalData

STS_ROWS = [{"sentence1": "甲", "sentence2": "乙", "score": 1}, {"sentence1": "丙", "sentence2": "", "score": 0}]
TRAIN = [{"text": "好", "label": 1}, {"text": "坏", "label": 0}, {"text": "", "label": 1}]
TEST = [{"text": "不错", "label": 1}, {"text": "差", "label": 0}]
SETS = [{"sentences": ["一", "二"], "labels": ["数", "字"]}, {"sentences": ["红", "蓝", "绿"], "labels": ["色", "彩", "色"]}]
PAIRS = [{"sent1": ["天", "地"], "sent2": ["云", "土"], "labels": [1, 0]}]
SAMPLES = [{"query": "问", "positive": ["答"], "negative": ["错", "误"]}, {"query": "空", "positive": [], "negative": ["无"]}]
CORPUS = [{"id": "d1", "text": "一段", "title": "题"}, {"id": "d2", "text": "两段", "title": ""}]
QUERIES = [{"id": "q1", "text": "问"}]
QRELS = [{"qid": "q1", "pid": "d1", "score": 1}]


def task(name: str) -> TaskSpec:
    return load_benchmark().task(name)


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def load(name: str, root: Path, *, verify: Any = "off") -> LoadedTask:
    return load_task(task(name), DataSpec(source="local", root=str(root), verify=verify))


def fails(name: str, root: Path) -> str:
    with pytest.raises(InputError) as caught:
        load(name, root)
    assert "python -m harness fetch" in str(caught.value) or "keep one" in str(caught.value).lower()
    return str(caught.value)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("validation.jsonl", json_lines(STS_ROWS)),
        ("validation.jsonl.gz", gzipped(json_lines(STS_ROWS))),
        ("data/validation.jsonl.gz", gzipped(json_lines(STS_ROWS))),
        ("validation.parquet", parquet({key: [row[key] for row in STS_ROWS] for key in STS_ROWS[0]})),
        ("data/validation-00000-of-00001-0f1e2d3c4b5a6978.parquet", parquet({key: [row[key] for row in STS_ROWS] for key in STS_ROWS[0]})),
    ],
)
def test_every_form_of_a_file_gives_the_same_rows(tmp_path: Path, file: str, content: bytes) -> None:
    loaded = load("AFQMC", write(tmp_path, {f"AFQMC/{file}": content}))
    assert loaded.data == PairData(["甲", "丙"], ["乙", ""], [1, 0])
    assert [type(score) for score in loaded.data.target] == [int, int]
    assert loaded.provenance.sha256 == {file: sha256_file(tmp_path / "AFQMC" / file)}
    assert (loaded.provenance.source, loaded.provenance.repository, loaded.provenance.revision) == ("local", None, None)


def test_shards_are_read_in_order_and_must_all_be_there(tmp_path: Path) -> None:
    shards = [{key: [row[key]] for key in STS_ROWS[0]} for row in STS_ROWS]
    write(tmp_path, {f"AFQMC/validation-0000{index}-of-00002.parquet": parquet(shard) for index, shard in enumerate(shards)})
    assert load("AFQMC", tmp_path).data == PairData(["甲", "丙"], ["乙", ""], [1, 0])
    twice = (
        write(tmp_path, {"AFQMC/validation-00000-of-00002-0f1e.parquet": parquet(shards[1])})
        / "AFQMC/validation-00000-of-00002-0f1e.parquet"
    )
    with pytest.raises(InputError, match=r"several files for 'validation' of AFQMC: .*00000-of-00002-0f1e.parquet.* Keep one of them"):
        load("AFQMC", tmp_path)
    twice.unlink()
    (tmp_path / "AFQMC/validation-00000-of-00002.parquet").unlink()
    with pytest.raises(InputError, match=r"AFQMC/validation.*shards 00000 of 2 are missing"):
        load("AFQMC", tmp_path)


def test_every_type_keeps_texts_labels_and_their_types(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "Waimai/train.jsonl": json_lines(TRAIN),
            "Waimai/test.jsonl": json_lines(TEST),
            "MassiveIntentClassification/train.jsonl": json_lines([{**row, "label": f"i{row['label']}"} for row in TRAIN]),
            "MassiveIntentClassification/test.jsonl": json_lines([{**row, "label": f"i{row['label']}"} for row in TEST]),
            "CLSClusteringS2S/test.jsonl": json_lines(SETS),
            "Ocnli/validation.jsonl": json_lines(PAIRS),
            "CMedQAv1-reranking/test.jsonl": json_lines(SAMPLES),
            "CovidRetrieval/corpus.jsonl": json_lines(CORPUS),
            "CovidRetrieval/queries.jsonl": json_lines(QUERIES),
            "CovidRetrieval/qrels.jsonl": json_lines(QRELS),
        },
    )
    waimai = load("Waimai", tmp_path).data
    assert isinstance(waimai, ClassificationData)
    assert (waimai.train.texts, waimai.train.labels, waimai.test.labels) == (["好", "坏", ""], [1, 0, 1], [1, 0])
    massive = load("MassiveIntentClassification", tmp_path).data
    assert isinstance(massive, ClassificationData)
    assert massive.train.labels == ["i1", "i0", "i1"]
    clustering = load("CLSClusteringS2S", tmp_path).data
    assert isinstance(clustering, ClusteringData)
    assert [(group.texts, group.labels) for group in clustering.sets] == [
        (["一", "二"], ["数", "字"]),
        (["红", "蓝", "绿"], ["色", "彩", "色"]),
    ]
    assert load("Ocnli", tmp_path).data == PairData(["天", "地"], ["云", "土"], [1, 0])
    reranking = load("CMedQAv1", tmp_path).data  # found under mteb 2's name
    assert isinstance(reranking, RerankingData)
    assert [(sample.query, sample.positive, sample.negative) for sample in reranking.samples] == [
        ("问", ["答"], ["错", "误"]),
        ("空", [], ["无"]),
    ]
    retrieval = load("CovidRetrieval", tmp_path).data
    assert retrieval == RetrievalData({"d1": "一段", "d2": "两段"}, {"q1": "问"}, {"q1": {"d1": 1}}, {"d1": "题"})


def test_lists_survive_parquet(tmp_path: Path) -> None:
    write(tmp_path, {"CLSClusteringS2S/test.parquet": parquet({key: [row[key] for row in SETS] for key in SETS[0]})})
    data = load("CLSClusteringS2S", tmp_path).data
    assert isinstance(data, ClusteringData)
    assert type(data.sets[0].texts) is list
    assert data.sets[1].labels == ["色", "彩", "色"]


def test_rows_of_other_languages_are_left_out(tmp_path: Path) -> None:
    mixed = [{**row, "lang": lang} for lang in ("en", "zh") for row in STS_ROWS]
    write(tmp_path, {"STS22/test.jsonl": json_lines([{**row, "sentence1": row["lang"] + row["sentence1"]} for row in mixed])})
    assert load("STS22", tmp_path).data == PairData(["zh甲", "zh丙"], ["乙", ""], [1, 0])
    (tmp_path / "STS22" / "checksums.json").unlink()
    write(tmp_path, {"STS22/test.jsonl": json_lines([row for row in mixed if row["lang"] == "en"])})
    assert "no row with lang 'zh'" in fails("STS22", tmp_path)


def test_the_massive_archive_is_read_as_its_script_read_it(tmp_path: Path) -> None:
    rows = [
        {"id": "0", "partition": partition, "scenario": f"s{index}", "intent": f"s{index}_i", "utt": f"{partition}{index}"}
        for partition in ("train", "dev", "test")
        for index in range(2)
    ]
    archive = tmp_path / "MassiveScenarioClassification" / "amazon-massive-dataset-1.0.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in (("1.0/data/zh-TW.jsonl", b"{}\n"), ("1.0/data/zh-CN.jsonl", json_lines(rows))):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    data = load("MassiveScenarioClassification", tmp_path).data
    assert isinstance(data, ClassificationData)
    assert (data.train.texts, data.train.labels) == (["train0", "train1"], ["s0", "s1"])
    assert (data.test.texts, data.test.labels) == (["test0", "test1"], ["s0", "s1"])


WRONG_FILES = [
    ("truncated gzip", "AFQMC/validation.jsonl.gz", gzipped(json_lines(STS_ROWS * 400))[:-40], "truncated or damaged after line"),
    ("no gzip", "AFQMC/validation.jsonl.gz", json_lines(STS_ROWS), "truncated or damaged after line 0"),
    ("truncated parquet", "AFQMC/validation.parquet", parquet({"sentence1": ["甲"] * 99})[:-9], "truncated or damaged Parquet"),
    ("git lfs pointer", "AFQMC/validation.parquet", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ("invalid JSON", "AFQMC/validation.jsonl", json_lines(STS_ROWS) + b'{"sentence1": "\n', "line 3: not a line of JSON"),
    (
        "not UTF-8",
        "AFQMC/validation.jsonl",
        json_lines(STS_ROWS) + '{"sentence1": "甲"}\n'.encode("gb18030"),
        "line 3: not a line of JSON in UTF-8",
    ),
    ("a JSON array", "AFQMC/validation.jsonl", b"[1, 2]\n", "line 1: found [1, 2], expected a JSON object"),
    (
        "missing column",
        "AFQMC/validation.jsonl",
        json_lines([{"sentence1": "甲", "text2": "乙", "score": 1}]),
        "line 1: column 'sentence2' is missing (found 'sentence1', 'text2', 'score')",
    ),
    (
        "column lost later",
        "AFQMC/validation.jsonl",
        json_lines([*STS_ROWS, {"sentence1": "甲", "score": 1}]),
        "line 3: column 'sentence2' is missing",
    ),
    (
        "missing parquet column",
        "AFQMC/validation.parquet",
        parquet({"sentence1": ["甲"]}),
        "column 'sentence2', 'score' is missing (found 'sentence1')",
    ),
    (
        "null text",
        "AFQMC/validation.jsonl",
        json_lines([*STS_ROWS, {"sentence1": None, "sentence2": "", "score": 1}]),
        "line 3, column 'sentence1': found null, expected text",
    ),
    (
        "number for text",
        "AFQMC/validation.parquet",
        parquet({"sentence1": [1, 2], "sentence2": ["", ""], "score": [0, 1]}),
        "row 1, column 'sentence1': found 1, expected text",
    ),
    (
        "text for number",
        "AFQMC/validation.jsonl",
        json_lines([STS_ROWS[0], {**STS_ROWS[1], "score": "0"}]),
        "line 2, column 'score': found \"0\", expected a finite number",
    ),
    (
        "not a number",
        "AFQMC/validation.jsonl",
        json_lines([STS_ROWS[0], {**STS_ROWS[1], "score": float("nan")}]),
        "line 2: not a line of JSON in UTF-8 (JSON is malformed: invalid character (byte ",
    ),
    ("truth value", "AFQMC/validation.jsonl", json_lines([STS_ROWS[0], {**STS_ROWS[1], "score": True}]), "column 'score': found true"),
    (
        "half a surrogate pair",
        "AFQMC/validation.jsonl",
        b'{"sentence1": "a\\ud83d", "sentence2": "", "score": 1}\n',
        "half a surrogate pair",
    ),
    ("empty file", "AFQMC/validation.jsonl", b"", "no row, expected at least one"),
    ("empty gzip", "AFQMC/validation.jsonl.gz", b"", "no row, expected at least one"),
    ("no rows", "AFQMC/validation.parquet", parquet({"sentence1": [], "sentence2": [], "score": []}), "no row, expected at least one"),
    (
        "unequal lists",
        "CLSClusteringS2S/test.jsonl",
        json_lines([SETS[0], {"sentences": ["红"], "labels": ["色", "彩"]}]),
        "line 2: lists of unequal length (1 sentences, 2 labels)",
    ),
    (
        "wrong item",
        "CLSClusteringS2S/test.jsonl",
        json_lines([{"sentences": ["红", None], "labels": ["色", "彩"]}]),
        "line 1, column 'sentences': found null as item 2 of the list",
    ),
    (
        "mixed labels",
        "CLSClusteringS2S/test.jsonl",
        json_lines([{"sentences": ["红", "蓝"], "labels": ["色", 1]}]),
        "found 1 as item 2 of the list",
    ),
    ("pairs in rows", "Ocnli/validation.jsonl", json_lines(PAIRS * 2), "found 2 rows, expected one row of lists"),
    ("flat pairs", "Ocnli/validation.jsonl", json_lines([{"sent1": "天", "sent2": "云", "labels": 1}]), "expected a list of texts"),
    (
        "third label",
        "Ocnli/validation.jsonl",
        json_lines([{**PAIRS[0], "labels": [1, 2]}]),
        "column 'labels': found 2 as item 2, expected 0 or 1",
    ),
]


@pytest.mark.parametrize(("file", "content", "expected"), [case[1:] for case in WRONG_FILES], ids=[case[0] for case in WRONG_FILES])
def test_a_wrong_file_is_named_with_line_and_column(tmp_path: Path, file: str, content: bytes, expected: str) -> None:
    name = file.split("/")[0]
    message = fails(name, write(tmp_path, {file: content}))
    assert message.startswith(f"{name}: {tmp_path / file}")
    assert expected in message


@pytest.mark.parametrize(
    ("train", "test", "expected"),
    [
        (TRAIN, [{**row, "label": str(row["label"])} for row in TEST], "found int in"),
        (
            [*TRAIN, {"text": "中", "label": "1"}],
            TEST,
            "line 4, column 'label': found \"1\", expected an integer or text, the same in every row",
        ),
        ([*TRAIN, {"text": "中", "label": 1.0}], TEST, "line 4, column 'label': found 1.0"),
    ],
)
def test_labels_no_metric_is_defined_on(tmp_path: Path, train: list[dict[str, Any]], test: list[dict[str, Any]], expected: str) -> None:
    write(tmp_path, {"Waimai/train.jsonl": json_lines(train), "Waimai/test.jsonl": json_lines(test)})
    assert expected in fails("Waimai", tmp_path)


@pytest.mark.parametrize(
    ("corpus", "queries", "qrels", "expected"),
    [
        ([*CORPUS, CORPUS[0]], QUERIES, QRELS, "1 passage ids are given twice (the last one counts): d1"),
        (CORPUS, [*QUERIES, {"id": "q1", "text": "别的"}], QRELS, "1 query ids are given twice (the last one counts): q1"),
        (CORPUS, QUERIES, [*QRELS, {**QRELS[0], "score": 0}], "1 pairs are judged twice"),
        (CORPUS, QUERIES, [*QRELS, {**QRELS[0], "qid": "q9"}], "1 queries are not in the queries table: q9"),
        (
            CORPUS,
            QUERIES,
            [{**QRELS[0], "pid": f"x{index}"} for index in range(5)],
            "5 passages are not in the corpus table: x0, x1, x2, ...",
        ),
        (CORPUS, [*QUERIES, {"id": "q2", "text": "另"}], QRELS, "1 queries have no judgement: q2"),
    ],
)
def test_what_beir_ignores_silently_is_reported(
    tmp_path: Path, corpus: list[dict[str, Any]], queries: list[dict[str, Any]], qrels: list[dict[str, Any]], expected: str
) -> None:
    tables = {"corpus": corpus, "queries": queries, "qrels": qrels}
    message = fails("CovidRetrieval", write(tmp_path, {f"CovidRetrieval/{name}.jsonl": json_lines(rows) for name, rows in tables.items()}))
    assert expected in message


def test_the_pinned_data_may_have_them_and_it_is_noted(tmp_path: Path) -> None:
    tables = {"corpus": CORPUS, "queries": QUERIES, "qrels": [*QRELS, {**QRELS[0], "pid": "gone"}]}
    write(tmp_path, {f"CovidRetrieval/{name}.jsonl": json_lines(rows) for name, rows in tables.items()})
    known = {
        "corpus": {"rows": 2, "chars": 4, "min": 2, "max": 2, "unique": 2},
        "queries": {"rows": 1, "chars": 1, "min": 1, "max": 1, "unique": 1},
        "qrels": {"rows": 2, "min_per_query": 2, "max_per_query": 2},
    }
    pinned = dataclasses.replace(task("CovidRetrieval"), statistics=known)
    loaded = load_task(pinned, DataSpec(source="local", root=str(tmp_path)))
    assert loaded.provenance.verdict == "verified"
    assert "1 passages are not in the corpus table: gone" in loaded.provenance.notes[0]


@pytest.mark.parametrize(
    ("qrels", "expected"),
    [
        ([{**QRELS[0], "score": 1.0}], "column 'score': found 1.0, expected an integer"),
        ([{**QRELS[0], "qid": 1}], "column 'qid': found 1, expected text (an identifier)"),
    ],
)
def test_judgements_are_integers_between_identifiers(tmp_path: Path, qrels: list[dict[str, Any]], expected: str) -> None:
    tables = {"corpus": CORPUS, "queries": QUERIES, "qrels": qrels}
    write(tmp_path, {f"CovidRetrieval/{name}.jsonl": json_lines(rows) for name, rows in tables.items()})
    assert expected in fails("CovidRetrieval", tmp_path)


def test_two_files_for_a_table_are_no_choice_of_ours(tmp_path: Path) -> None:
    write(tmp_path, {"AFQMC/validation.jsonl": json_lines(STS_ROWS), "AFQMC/data/validation.jsonl.gz": gzipped(json_lines(STS_ROWS))})
    message = fails("AFQMC", tmp_path)
    assert "validation.jsonl, data/validation.jsonl.gz" in message


@pytest.mark.parametrize(
    ("one", "other"),
    [("corpus.jsonl", "corpus/corpus.jsonl"), ("default/corpus.jsonl", "corpus.jsonl"), ("qrels/dev.jsonl", "dev.jsonl")],
)
def test_a_table_in_two_layouts_is_no_choice_of_ours(tmp_path: Path, one: str, other: str) -> None:
    tables = {"corpus.jsonl": CORPUS, "queries.jsonl": QUERIES, "qrels.jsonl": QRELS}
    files = {file: json_lines(rows) for file, rows in tables.items() if file[:5] != one.removeprefix("default/")[:5]}
    rows = json_lines(CORPUS if "corpus" in one else QRELS)
    write(tmp_path / "CovidRetrieval", {**files, one: rows, other: rows})
    message = fails("CovidRetrieval", tmp_path)
    assert one in message
    assert other in message


def test_judgements_in_the_folder_and_beside_it_are_no_choice_of_ours(tmp_path: Path) -> None:
    tables = {"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS}
    write(tmp_path / "CovidRetrieval", {f"{name}.jsonl": json_lines(rows) for name, rows in tables.items()})
    write(tmp_path / "CovidRetrieval-qrels", {"dev.jsonl": json_lines(QRELS)})
    assert "CovidRetrieval/qrels.jsonl and in " in fails("CovidRetrieval", tmp_path)


def test_a_title_or_a_language_of_some_rows_is_not_passed_over(tmp_path: Path) -> None:
    untitled = [{**CORPUS[1], "id": "d0"}, *CORPUS]
    del untitled[0]["title"]
    files = {"queries.jsonl": json_lines(QUERIES), "qrels.jsonl": json_lines(QRELS), "corpus.jsonl": json_lines(untitled)}
    write(tmp_path / "CovidRetrieval", files)
    assert "line 2: column 'title' is missing in the rows before" in fails("CovidRetrieval", tmp_path)
    (tmp_path / "CovidRetrieval/corpus.jsonl").unlink()
    shards = {f"corpus-0000{number}-of-00002.parquet": parquet({"id": [f"d{number + 1}"], "text": ["一"]}) for number in range(2)}
    shards["corpus-00001-of-00002.parquet"] = parquet({"id": ["d2"], "text": ["两"], "title": ["题"]})
    write(tmp_path / "CovidRetrieval", shards)
    assert "corpus-00000-of-00002.parquet: column 'title' is missing, and other parts" in fails("CovidRetrieval", tmp_path)
    rows = [{"text": "甲", "label": 0}, {"text": "乙", "label": 1, "lang": "de"}, {"text": "丙", "label": 1, "lang": "zh"}]
    for table, expected in (
        (rows, "line 2: column 'lang' is missing in the rows before"),
        (rows[::-1], "line 3: column 'lang' is missing"),
    ):
        write(tmp_path, {f"AmazonReviewsClassification/{split}.jsonl": json_lines(table) for split in ("train", "test")})
        assert expected in fails("AmazonReviewsClassification", tmp_path)


def test_a_table_with_a_header_leaves_other_languages_out(tmp_path: Path) -> None:
    rows = b"lang,text,label\nzh,a,0\nde,b,1\nzh,c,1\n"
    write(tmp_path, {f"AmazonReviewsClassification/{split}.csv": rows for split in ("train", "test")})
    data = load("AmazonReviewsClassification", tmp_path).data
    assert isinstance(data, ClassificationData)
    assert (data.train.texts, data.train.labels) == (["a", "c"], [0, 1])


def test_labels_that_are_one_number_in_two_spellings_stay_apart(tmp_path: Path) -> None:
    write(tmp_path, {f"TNews/{split}.csv": b"text,label\na,01\nb,1\n" for split in ("train", "validation")})
    data = load("TNews", tmp_path).data
    assert isinstance(data, ClassificationData)
    assert data.train.labels == ["01", "1"]


def test_what_was_written_or_linked_since_has_changed_if_its_bytes_have(tmp_path: Path) -> None:
    one, other = (write(tmp_path / name, {"validation.jsonl": json_lines(rows)}) for name, rows in (("v1", STS_ROWS), ("v2", STS_ROWS[:1])))
    folder = tmp_path / "root/AFQMC"
    folder.parent.mkdir()
    folder.symlink_to(one)
    known = {"validation.jsonl": sha256_file(one / "validation.jsonl")}
    since = (other / "validation.jsonl").stat().st_ctime

    def changed(since: float) -> bool:
        return has_changed(task("AFQMC"), folder.parent, known, since=since)

    assert not changed(since - 100)  # newer, and the same bytes
    folder.unlink()
    assert not changed(since - 100)  # not there
    folder.symlink_to(other)
    assert changed(folder.lstat().st_ctime - 1e-6)
    assert not changed(folder.lstat().st_ctime)  # not looked at


def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"AFQMC/validation.jsonl": json_lines(STS_ROWS)})

    def grows(path: Path) -> str:
        found = sha256_file(path)
        path.write_bytes(path.read_bytes() + json_lines(STS_ROWS))
        return found

    monkeypatch.setattr(loading, "sha256_file", grows)
    assert "validation.jsonl changed while it was read" in fails("AFQMC", tmp_path)
    assert not (tmp_path / "AFQMC/checksums.json").exists()


def test_two_folders_for_a_task_are_no_choice_of_ours(tmp_path: Path) -> None:
    write(tmp_path, {f"{name}/test.jsonl": json_lines(SAMPLES) for name in ("CMedQAv1", "CMedQAv1-reranking")})
    assert "CMedQAv1 has two folders" in fails("CMedQAv1", tmp_path)


def test_missing_folder_and_table_say_what_is_there(tmp_path: Path) -> None:
    write(tmp_path, {"BQ/dev.jsonl": json_lines(STS_ROWS)})
    assert f"no folder AFQMC or C-MTEB/AFQMC in {tmp_path} (found BQ)" in fails("AFQMC", tmp_path)
    write(tmp_path / "all", {"AFQMC/validation.jsonl": json_lines(STS_ROWS)})
    for root in (tmp_path, tmp_path / "all" / "AFQMC"):  # a level off
        with pytest.raises(InputError, match=f"{tmp_path}/all has it: data.root={tmp_path}/all$"):
            load("AFQMC", root)
    message = fails("BQ", tmp_path)
    assert "no file of table 'test'" in message
    assert "found dev.jsonl" in message
    assert "test.jsonl.gz" in message


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path: Path) -> None:
    lines = json_lines(STS_ROWS).splitlines(keepends=True)
    write(tmp_path, {"AFQMC/validation.jsonl": b"\xef\xbb\xbf" + lines[0] + b"\r\n" + lines[1] + b"\n"})
    assert load("AFQMC", tmp_path).data == PairData(["甲", "丙"], ["乙", ""], [1, 0])


def test_a_text_may_have_as_many_digits_as_it_likes(tmp_path: Path) -> None:
    text = '圆周率 "3.' + "1415926535" * 40 + "\\"
    rows = [{**STS_ROWS[0], "sentence1": text, "url": "0" * 300}, STS_ROWS[1]]
    for file, content in (("validation.jsonl", json_lines(rows)), ("validation.json", json.dumps(rows).encode())):
        write(tmp_path / file, {f"AFQMC/{file}": content})
        data = load("AFQMC", tmp_path / file).data
        assert isinstance(data, PairData)
        assert data.first[0] == text
    write(tmp_path / "number", {"AFQMC/validation.jsonl": json_lines([{**STS_ROWS[0], "label": 10**300}])})
    with pytest.raises(InputError, match="a number has 300 digits"):
        load("AFQMC", tmp_path / "number")


def test_separators_of_other_alphabets_end_no_line(tmp_path: Path) -> None:
    text = "一\u2028二\x85三\x0b四"
    write(tmp_path, {"AFQMC/validation.jsonl": json_lines([{**STS_ROWS[0], "sentence1": text}, STS_ROWS[1]])})
    data = load("AFQMC", tmp_path).data
    assert isinstance(data, PairData)
    assert data.first[0] == text


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write(tmp_path, {"AFQMC/validation.jsonl": json_lines(STS_ROWS)})
    (tmp_path / "AFQMC/validation.jsonl").chmod(0)
    assert "can't be read (Permission denied)" in fails("AFQMC", tmp_path)


def test_the_root_comes_from_the_request_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CMTEB_DATA", raising=False)
    with pytest.raises(RequestError, match=r"give data\.root=DIR, or set the environment variable CMTEB_DATA"):
        load_task(task("AFQMC"), DataSpec(source="local"))
    with pytest.raises(RequestError, match="no such folder"):
        load_task(task("AFQMC"), DataSpec(source="local", root=str(tmp_path / "nowhere")))
    write(tmp_path, {"AFQMC/validation.jsonl": json_lines(STS_ROWS)})
    monkeypatch.setenv("CMTEB_DATA", str(tmp_path))
    assert load_task(task("AFQMC"), DataSpec(source="local", verify="off")).data == PairData(["甲", "丙"], ["乙", ""], [1, 0])


@pytest.mark.parametrize("source", ["sample", "hub"])
def test_a_root_without_meaning_is_reported(tmp_path: Path, source: str) -> None:
    with pytest.raises(RequestError, match=f"has no meaning with data={source}"):
        resolve_request(["model=sample", f"data={source}", f"data.root={tmp_path}"])


def test_the_sample_is_never_taken_for_the_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.data.sources.SAMPLE_DIR", tmp_path)
    write(tmp_path, {"data/AFQMC/validation.jsonl.gz": gzipped(json_lines(STS_ROWS))})
    for verify in ("error", "label", "off"):
        provenance = load_task(task("AFQMC"), DataSpec(source="sample", verify=verify)).provenance
        assert (provenance.source, provenance.verdict) == ("sample", "not C-MTEB")
        assert "embedded sample" in provenance.mismatches[0]


def test_json_lines_in_a_file_called_json_are_read(tmp_path: Path) -> None:
    rows = [{"sentence1": "甲", "sentence2": "乙", "score": 1}, {"sentence1": "丙", "sentence2": "丁", "score": 0}]
    (tmp_path / "STSB").mkdir()
    (tmp_path / "STSB" / "test.json").write_bytes(json_lines(rows))
    assert load("STSB", tmp_path).data == PairData(["甲", "丙"], ["乙", "丁"], [1, 0])


def test_a_bit_that_flips_after_the_first_use_is_named(tmp_path: Path) -> None:
    rows = {"sentence1": ["这个手机真的很好用" * 9], "sentence2": ["好"], "score": [1]}
    plain = io.BytesIO()
    pq.write_table(pyarrow.table(rows), plain, compression="NONE")
    write(tmp_path, {"AFQMC/validation.parquet": plain.getvalue()})
    before = load("AFQMC", tmp_path).data
    assert load("AFQMC", tmp_path).data == before
    file, kept = tmp_path / "AFQMC" / "validation.parquet", tmp_path / "AFQMC" / "checksums.json"
    assert json.loads(kept.read_text())["files"] == {"AFQMC/validation.parquet": sha256_file(file)}
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index("很".encode()) + 2] ^= 1
    file.write_bytes(damaged)
    assert "damaged: its sha256 is" in (message := fails("AFQMC", tmp_path))
    assert f"if it was changed on purpose, delete {kept}" in message
    kept.unlink()
    assert load("AFQMC", tmp_path).data != before  # the file parses: nothing but its checksum could tell


def test_checksums_of_tables_beside_the_folder_and_of_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tables = {"CovidRetrieval/corpus": CORPUS, "CovidRetrieval/queries": QUERIES, "CovidRetrieval-qrels/dev": QRELS}
    write(tmp_path, {f"{name}.jsonl": json_lines(rows) for name, rows in tables.items()})
    load("CovidRetrieval", tmp_path)
    (tmp_path / "CovidRetrieval-qrels" / "dev.jsonl").write_bytes(json_lines([{**QRELS[0], "pid": "d2"}]))
    assert "CovidRetrieval-qrels/dev.jsonl: damaged" in fails("CovidRetrieval", tmp_path)
    write(tmp_path, {"AFQMC/validation.jsonl": json_lines(STS_ROWS)})
    (tmp_path / "AFQMC").chmod(0o555)
    load("AFQMC", tmp_path)
    assert [path.name for path in (tmp_path / "AFQMC").iterdir()] == ["validation.jsonl"]
