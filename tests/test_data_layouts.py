"""Folders as people have them: hub clones, mteb 2's and BEIR's layouts, `save_to_disk`, CSV, TSV, zstd; all give the same data."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from fakehub import json_lines, parquet
from test_data_local import CORPUS, QRELS, QUERIES, SETS, STS_ROWS, TEST, TRAIN, load, task, write

from harness.core.errors import InputError
from harness.data.types import PairData, RerankingData, RerankingSample, RetrievalData

THEIR_CORPUS = [{"_id": row["id"], **{key: row[key] for key in ("title", "text")}} for row in CORPUS]
THEIR_QUERIES = [{"_id": row["id"], "text": row["text"]} for row in QUERIES]
THEIR_QRELS = [{"query-id": row["qid"], "corpus-id": row["pid"], "score": row["score"]} for row in QRELS]


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def delimited(rows: list[dict[str, Any]], mark: str) -> bytes:
    return "\n".join(mark.join(map(str, cells)) for cells in (rows[0], *(row.values() for row in rows))).encode()


def zstd(content: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def hub_clone(_: Path) -> dict[str, bytes]:
    end = "-00000-of-00001-0123456789abcdef.parquet"
    return {
        f"CovidRetrieval/data/corpus{end}": parquet(columns(CORPUS)),
        f"CovidRetrieval/data/queries{end}": parquet(columns(QUERIES)),
        f"CovidRetrieval-qrels/data/dev{end}": parquet(columns(QRELS)),
    }


def of_mteb2(_: Path) -> dict[str, bytes]:
    tables = {"corpus": THEIR_CORPUS, "queries": THEIR_QUERIES, "qrels": THEIR_QRELS}
    return {f"CovidRetrieval/{name}/dev-00000-of-00001.parquet": parquet(columns(rows)) for name, rows in tables.items()}


def of_mteb2_default(_: Path) -> dict[str, bytes]:
    names = {"corpus/corpus": THEIR_CORPUS, "queries/queries": THEIR_QUERIES, "data/dev": THEIR_QRELS}
    return {f"CovidRetrieval/{name}-00000-of-00001.parquet": parquet(columns(rows)) for name, rows in names.items()}


def of_beir(_: Path) -> dict[str, bytes]:
    return {
        "CovidRetrieval/corpus.jsonl": json_lines(THEIR_CORPUS),
        "CovidRetrieval/queries.jsonl": json_lines(THEIR_QUERIES),
        "CovidRetrieval/qrels/dev.tsv": delimited(THEIR_QRELS, "\t"),
    }


def zipped(_: Path) -> dict[str, bytes]:
    tables = {"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS}
    return {f"CovidRetrieval/{name}.jsonl.zst": zstd(json_lines(rows)) for name, rows in tables.items()}


@pytest.mark.parametrize("layout", [hub_clone, of_mteb2, of_mteb2_default, of_beir, zipped])
def test_a_retrieval_is_the_same_in_every_layout(tmp_path: Path, layout: Callable[[Path], dict[str, bytes]]) -> None:
    loaded = load("CovidRetrieval", write(tmp_path, layout(tmp_path)))
    assert loaded.data == RetrievalData({"d1": "一段", "d2": "两段"}, {"q1": "问"}, {"q1": {"d1": 1}}, {"d1": "题"})
    assert len(loaded.provenance.sha256) == 3


RANKED = {
    "corpus": {"_id": ["apos_0", "apos_1", "neg_0", "neg_1", "x"], "text": ["答", "是", "错", "误", "无"], "title": ["", "题", "", "", ""]},
    "queries": {"_id": ["q0", "q1"], "text": ["问", "无人判"]},
    "top_ranked": {"query-id": ["q0"], "corpus-ids": [["neg_1", "apos_1", "neg_0", "apos_0"]]},
    "qrels": {"query-id": ["q0"] * 3, "corpus-id": ["apos_0", "apos_1", "neg_0"], "score": [1, 1, 0]},
}


def of_ranked(judgements: str = "qrels/dev", **tables: dict[str, list[Any]]) -> dict[str, bytes]:
    """A Reranking in mteb 2's form; the default config of its repositories is the judgements."""
    names = {"corpus": "corpus/dev", "queries": "queries/queries", "top_ranked": "top_ranked/dev", "qrels": judgements}
    return {f"T2Reranking/{names[table]}-00000-of-00001.parquet": parquet(rows) for table, rows in {**RANKED, **tables}.items()}


@pytest.mark.parametrize("qrels", ["qrels/dev", "data/dev"])
def test_a_reranking_of_mteb_2_has_the_samples_of_c_mteb(tmp_path: Path, qrels: str) -> None:
    loaded = load("T2Reranking", write(tmp_path, of_ranked(qrels)))
    assert loaded.data == RerankingData([RerankingSample("问", ["答", "题 是"], ["错", "误"])])
    assert len(loaded.provenance.sha256) == 4


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        ("top_ranked", {"query-id": ["q0"], "corpus-ids": [["apos_0", "gone"]]}, "candidate 'gone' is not in the corpus table"),
        ("top_ranked", {"query-id": ["q9"], "corpus-ids": [["apos_0"]]}, "query 'q0' has no candidates"),
        ("top_ranked", {"query-id": ["q0"], "corpus-ids": [["apos_0", "neg_0"]]}, "1 relevant passages are no candidates of their query"),
        ("qrels", {"query-id": ["q0"], "corpus-id": ["neg_1"], "score": [1]}, "1 queries have relevant candidates that ties would not put"),
        ("qrels", {"query-id": ["q0"], "corpus-id": ["apos_0"], "score": [2]}, "grades are neither 0 nor 1"),
        ("corpus", {**RANKED["corpus"], "_id": ["apos_0", "apos_1", "neg_0", "neg_1", "neg_1"]}, "passage ids are given twice .*: neg_1"),
        ("queries", {"_id": ["q0", "q0"], "text": ["问", "别的"]}, "query ids are given twice .*: q0"),
        ("top_ranked", {"query-id": ["q0", "q0"], "corpus-ids": [["apos_0", "apos_1"], ["apos_0", "apos_1"]]}, "listed twice, .*: q0"),
        ("top_ranked", {"query-id": ["q0"], "corpus-ids": [["apos_0", "apos_1", "neg_0", "neg_0"]]}, "list a candidate twice: q0"),
        ("qrels", {"query-id": ["q0", "q0"], "corpus-id": ["apos_0"] * 2, "score": [1, 0]}, "pairs are judged twice"),
        ("qrels", {"query-id": ["q0", "q9"], "corpus-id": ["apos_0"] * 2, "score": [1, 1]}, "queries are not in the queries table: q9"),
    ],
)
def test_a_reranking_that_mteb_2_would_score_otherwise_is_refused(tmp_path: Path, table: str, rows: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load("T2Reranking", write(tmp_path, of_ranked(**{table: rows})))


def test_what_save_to_disk_writes(tmp_path: Path) -> None:
    import datasets

    datasets.DatasetDict({"validation": datasets.Dataset.from_list(STS_ROWS)}).save_to_disk(str(tmp_path / "AFQMC"))
    assert load("AFQMC", tmp_path).data == PairData(["甲", "丙"], ["乙", ""], [1, 0])
    (shard,) = (tmp_path / "AFQMC" / "validation").glob("*.arrow")
    whole = shard.read_bytes()
    for damaged in (whole[:100], whole[:-8], whole + whole):  # pyarrow itself reads the rows before a cut, and the first of two streams
        shard.write_bytes(damaged)
        (tmp_path / "AFQMC" / "checksums.json").unlink(missing_ok=True)
        with pytest.raises(InputError, match=r"truncated or damaged Arrow"):
            load("AFQMC", tmp_path)


@pytest.mark.parametrize(("suffix", "mark"), [("csv", ","), ("tsv", "\t")])
def test_tables_with_a_header(tmp_path: Path, suffix: str, mark: str) -> None:
    write(tmp_path, {f"AFQMC/validation.{suffix}": delimited(STS_ROWS, mark)})
    assert load("AFQMC", tmp_path).data == PairData(["甲", "丙"], ["乙", ""], [1.0, 0.0])
    write(tmp_path, {f"Waimai/{name}.{suffix}": delimited(rows, mark) for name, rows in (("train", TRAIN), ("test", TEST))})
    assert load("Waimai", tmp_path).data.test.labels == [1, 0]  # type: ignore[union-attr]


def test_packed_tables_and_lines_of_json_under_other_endings(tmp_path: Path) -> None:
    lines, table = json_lines(STS_ROWS), delimited(STS_ROWS, "\t")
    for number, (name, content) in enumerate(
        {
            "validation.csv.gz": gzip.compress(delimited(STS_ROWS, ",")),
            "validation.tsv.gz": gzip.compress(table),
            "validation.ndjson": lines,
        }.items()
    ):
        write(tmp_path, {f"{number}/AFQMC/{name}": content})
        assert load("AFQMC", tmp_path / str(number)).data == PairData(["甲", "丙"], ["乙", ""], [1, 0])
    (tmp_path / "0/AFQMC/checksums.json").unlink()
    write(tmp_path, {"0/AFQMC/validation.csv.gz": gzip.compress(delimited(STS_ROWS, ","))[:-9]})
    with pytest.raises(InputError, match=r"validation\.csv\.gz: truncated or damaged"):
        load("AFQMC", tmp_path / "0")


@pytest.mark.parametrize("place", ["AFQMC/default/validation", "AFQMC/validation", "C-MTEB/AFQMC/default/validation"])
def test_the_hub_s_own_copies_in_parquet(tmp_path: Path, place: str) -> None:
    shards = [{key: [row[key]] for key in STS_ROWS[0]} for row in STS_ROWS]
    write(tmp_path, {f"{place}/000{index}.parquet": parquet(shard) for index, shard in enumerate(shards)})
    assert load("AFQMC", tmp_path).data == PairData(["甲", "丙"], ["乙", ""], [1, 0])
    (tmp_path / place / "0000.parquet").unlink()
    with pytest.raises(InputError, match=rf"{tmp_path}/.*validation/\*: shards 0000 of 2 are missing \(found 0001\)"):
        load("AFQMC", tmp_path)


@pytest.mark.parametrize("file", ["validation.json", "validation.json.gz"])
def test_an_array_of_objects(tmp_path: Path, file: str) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(STS_ROWS, indent=2).encode()
    write(tmp_path, {f"AFQMC/{file}": gzip.compress(content) if file.endswith(".gz") else content})
    assert load("AFQMC", tmp_path).data == PairData(["甲", "丙"], ["乙", ""], [1, 0])


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("AFQMC", "AFQMC/validation.json", b"[]", "no row, expected at least one"),
        ("AFQMC", "AFQMC/validation.json", b'[{"sentence1": ', "not an array of JSON objects"),
        ("AFQMC", "AFQMC/validation.json", b"[" * 100_000, "not an array of JSON objects"),
        ("AFQMC", "AFQMC/validation.jsonl", b"\n" + b'{"a":' * 100_000, "line 2: not a line of JSON"),
        (
            "AFQMC",
            "AFQMC/validation.json",
            b'[{"sentence1": "", "sentence2": "", "score": 1}, 3]',
            "row 2: found 3, expected a JSON object",
        ),
        ("AFQMC", "AFQMC/validation.json", b'[{"sentence1": "a", "sentence2": "b", "score": "x"}]', "row 1, column 'score': found"),
        ("AFQMC", "AFQMC/validation.csv", b"sentence1,sentence2,score\na,b,x\n", "line 2, column 'score': found \"x\", expected a finite"),
        ("AFQMC", "AFQMC/validation.csv", b"sentence1,score\na,1\n", "column 'sentence2' is missing"),
        ("CLSClusteringS2S", "CLSClusteringS2S/test.csv", delimited(SETS, ","), "holds lists: give JSON lines or Parquet"),
        ("AFQMC", "AFQMC/validation.csv", b"sentence1,sentence2,score\na,b,1.0\na,b,\n", "line 3, column 'score': found \"\", expected a"),
        ("AFQMC", "AFQMC/validation.csv", b"sentence1,sentence2,score,more\na,b,1,x,y\n", "line 2 has 5 cells, the header 4"),
        ("AFQMC", "AFQMC/validation.tsv", b'sentence1\tsentence2\tscore\na\t"b\t1\nc\td\t0\n', "unexpected end of data, after line 1"),
        ("AFQMC", "AFQMC/validation.tsv", b'sentence1\tsentence2\tscore\na\t"b" c\t1\n', "expected after '\"', after line 1"),
        ("AFQMC", "AFQMC/validation.csv", b"sentence1,sentence2,score,score\na,b,1,0\n", "column 'score' is there twice"),
        ("AFQMC", "AFQMC/validation.csv", b"sentence1,sentence2,score\na,b,1_0\n", 'found "1_0", expected a finite number'),
        ("AFQMC", "AFQMC/validation.tsv", b"\xff\xfe", "not a table in UTF-8"),
        ("AFQMC", "AFQMC/validation.csv", "句子".encode("gbk"), "iconv -f GB18030 -t UTF-8"),
        ("AFQMC", "AFQMC/validation.zip", b"PK", "no file of table 'validation'"),
        ("AFQMC", "AFQMC/validation.zip", b"PK", "(found validation.zip)"),
        ("AFQMC", "AFQMC/validation.jsonl.zst", b"nothing", "validation.jsonl.zst"),
    ],
)
def test_a_wrong_file_is_one_error_that_names_it(tmp_path: Path, name: str, file: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        load(name, write(tmp_path, {file: content}))
    assert message in str(caught.value)


def test_a_folder_may_be_called_as_its_repository(tmp_path: Path) -> None:
    repository = task("TNews").hub.rpartition("/")[2]
    write(tmp_path, {f"{repository}/{table}.jsonl": json_lines(rows) for table, rows in (("train", TRAIN), ("validation", TEST))})
    assert load("TNews", tmp_path).data.test.texts == ["不错", "差"]  # type: ignore[union-attr]


def test_missing_judgements_name_where_they_may_lie(tmp_path: Path) -> None:
    write(tmp_path, {f"CovidRetrieval/{name}.jsonl": json_lines(rows) for name, rows in (("corpus", CORPUS), ("queries", QUERIES))})
    with pytest.raises(InputError, match=r"qrels/dev\.tsv, or a folder CovidRetrieval-qrels beside it"):
        load("CovidRetrieval", tmp_path)
