"""Task scores become a row, and two rows are compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cards import card_text, rows_table, write_card
from runs import BENCHMARK, BY_HAND, HEADER, PUBLISHED, VERIFIED, as_nobody, manifest_of, open_folder, write_run

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.records import Run
from harness.core.run_files import MANIFEST, read_run, write_failure, write_manifest
from harness.core.tasks import TASK_TYPES
from harness.read.leaderboard import Row, beside, compare, leaderboard_row, printed, printed_rows
from harness.read.runs import load_runs, one_run
from harness.show.report.report import build_report


@pytest.fixture(scope="module")
def published() -> Run:
    return read_run(PUBLISHED, BENCHMARK)


def row_of(run: Run, convention: str = "cmteb") -> Row:
    return leaderboard_row(run, convention, BENCHMARK)


def numbers(row: Row) -> list[str]:
    return [printed(cell.value) or f"{cell.found}/{cell.of}" for cell in row.cells]


def without(*names: str) -> dict[str, float]:
    return {name: score for name, score in BY_HAND.items() if name not in names}


def test_the_published_scores_give_the_row_of_the_card(published: Run) -> None:
    row = row_of(published)
    assert numbers(row) == ["69.07", "72.75", "58.7", "87.84", "67.99", "72.93", "62.09"]
    assert [cell.title for cell in row.cells] == [
        "Average (35)",
        "Classification (9)",
        "Clustering (4)",
        "Pair Classification (2)",
        "Reranking (4)",
        "Retrieval (8)",
        "STS (8)",
    ]


def test_no_other_printed_row_is_the_front_matter(published: Run) -> None:
    equal = [
        row.header for row in printed_rows(PUBLISHED, BENCHMARK) if all(d.verdict == "=" for d in compare(row_of(published), row).cells)
    ]
    assert [(header.gpu, header.dtype, header.max_len) for header in equal] == [("NVIDIA TESLA A100", "float16", 512)]


def test_averages_worked_by_hand(tmp_path: Path) -> None:
    assert numbers(row_of(write_run(tmp_path))) == ["45.88", "50.0", "25.0", "87.84", "50.0", "25.0", "60.0"]


@pytest.mark.parametrize(("convention", "pairs"), [("cmteb", "87.84"), ("unrounded", "87.83"), ("max_ap", "88.84"), ("mteb2_31", "89.83")])
def test_rounding_each_score_first_moves_the_last_digit(tmp_path: Path, convention: str, pairs: str) -> None:
    # acge's own two, 85.1774 and 90.4917: their mean is 87.83457..., that of 85.18 and 90.49 is 87.83500000000001
    run = write_run(tmp_path, {"Ocnli": 0.8517742765935606, "Cmnli": 0.9049172854352659})
    assert numbers(row_of(run, convention))[3] == pairs


def test_a_tie_goes_where_the_order_of_c_mteb_takes_it(tmp_path: Path) -> None:
    # 66.62 + 27.76 + 88.66 + 88.9 is 271.94000000000005 in this order, and 271.94 in that of the names: 67.99 or 67.98
    run = write_run(tmp_path, {"CMedQAv1": 0.8866, "CMedQAv2": 0.889, "MMarcoReranking": 0.2776, "T2Reranking": 0.6662})
    assert numbers(row_of(run))[4] == "67.99"


@pytest.mark.slow
def test_the_order_of_c_mteb_is_that_of_the_package() -> None:
    from C_MTEB import tasks  # noqa: F401 (registers the tasks)
    from mteb import MTEB

    kinds = ["Retrieval", "STS", "PairClassification", "Classification", "Reranking", "Clustering"]  # summarize_results.py, --lang zh
    listed = [task.description["name"] for kind in kinds for task in MTEB(task_types=[kind], task_langs=["zh", "zh-CN"]).tasks]
    assert tuple(dict.fromkeys(listed)) == BENCHMARK.adding_order


def test_mteb_2_averages_31_tasks_and_the_best_accuracy(tmp_path: Path) -> None:
    row = row_of(write_run(tmp_path, {**BY_HAND, "Ocnli": 0.8, "Cmnli": 0.9}), "mteb2_31")
    assert [(cell.title, cell.of) for cell in row.cells[:2]] == [("Average (31)", 31), ("Classification (6)", 6)]
    # without 10, 40 and 50 of Classification and one 60 of STS: (350 + 100 + 82 + 92 + 200 + 200 + 420) / 31
    assert numbers(row) == ["46.58", "58.33", "25.0", "87.0", "50.0", "25.0", "60.0"]


def test_an_unknown_convention_is_refused_with_the_known_ones(published: Run) -> None:
    with pytest.raises(RequestError, match=r"'cmtb': did you mean cmteb.*Known: cmteb, max_ap, unrounded, mteb2_31"):
        row_of(published, "cmtb")


def test_a_missing_task_leaves_a_hole_and_the_other_types_alone(tmp_path: Path) -> None:
    row = row_of(write_run(tmp_path, without("TNews")))
    assert numbers(row) == ["34/35", "8/9", "25.0", "87.84", "50.0", "25.0", "60.0"]
    assert [task.task for task in row.tasks if task.state == "missing"] == ["TNews"]


def test_a_run_without_any_score_is_all_holes(tmp_path: Path) -> None:
    row = row_of(write_run(tmp_path, {}))
    assert numbers(row) == ["0/35", "0/9", "0/4", "0/2", "0/4", "0/8", "0/8"]
    assert row.identity is None


@pytest.mark.parametrize(
    "content", ['{"mteb_dataset_name": "TNews", "validation": {"accur', "[]", '{"mteb_dataset_name": "BQ"}', "\x00\xff"]
)
def test_a_damaged_or_foreign_file_is_named_and_never_counted(tmp_path: Path, content: str) -> None:
    write_run(tmp_path)
    (tmp_path / "TNews.json").write_text(content, encoding="latin-1")
    row = row_of(read_run(tmp_path, BENCHMARK))
    assert numbers(row)[:2] == ["34/35", "8/9"]
    assert [(task.task, task.state) for task in row.tasks if task.state != "scored"] == [("TNews", "broken")]
    assert "TNews.json" in next(task.message for task in row.tasks if task.state == "broken")


@pytest.mark.parametrize("score", ["NaN", "Infinity", '"0.5"', "true", "null"])
def test_what_is_no_number_is_no_score(tmp_path: Path, score: str) -> None:
    write_run(tmp_path)
    path = tmp_path / "TNews.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"accuracy": 0.8', f'"accuracy": {score}'), encoding="utf-8")
    row = row_of(read_run(tmp_path, BENCHMARK))
    assert numbers(row)[:2] == ["34/35", "8/9"]


def test_a_run_folder_that_nobody_may_open_is_named() -> None:
    with open_folder() as folder:
        write_run(folder / "open", BY_HAND)
        write_run(folder / "closed", BY_HAND)
        (folder / "closed").chmod(0)
        with as_nobody():
            closed, opened = load_runs([folder], BENCHMARK)
        (folder / "closed").chmod(0o755)
    assert "Permission denied" in closed.broken[MANIFEST]
    assert len(opened.records) == len(BY_HAND)


def test_nobody_is_told_to_delete_a_file_that_he_may_not_read() -> None:
    with open_folder() as folder:
        write_run(folder, BY_HAND)
        (folder / "TNews.json").chmod(0)
        with as_nobody():
            run = read_run(folder, BENCHMARK)
        assert run.broken["TNews"] == f"{folder}/TNews.json can't be read (Permission denied): correct its permissions, or restore it"
        (folder / MANIFEST).chmod(0)
        with as_nobody(), pytest.raises(InputError, match=r"manifest.json can't be read \(Permission denied\): correct its permissions"):
            read_run(folder, BENCHMARK)


def test_a_failed_task_is_listed_with_its_reason(tmp_path: Path) -> None:
    write_run(tmp_path, without("TNews"))
    write_failure(tmp_path, "TNews", kind="InputError", message="no labels", traceback="...")
    row = row_of(read_run(tmp_path, BENCHMARK))
    assert [(task.task, task.state, task.message) for task in row.tasks if task.state != "scored"] == [("TNews", "failed", "no labels")]


def test_a_metric_that_only_one_convention_needs_breaks_only_that_one(tmp_path: Path) -> None:
    run = write_run(tmp_path)
    record = replace(run.records["Ocnli"], metrics={"cos_sim": {"ap": 0.8518}})
    run = replace(run, records={**run.records, "Ocnli": record})
    assert numbers(row_of(run))[3] == "87.84"
    assert numbers(row_of(run, "max_ap"))[3] == "1/2"
    assert "max.ap" in next(task.message for task in row_of(run, "max_ap").tasks if task.state == "broken")


@pytest.mark.parametrize(
    ("harness", "identity", "note"),
    [
        (VERIFIED, "verified", None),
        ({"data": {"verdict": "unverified", "substituted": False}}, "unverified", "data was not verified: all 35 tasks"),
        ({"data": {"verdict": "not C-MTEB"}}, "not C-MTEB", "data is not C-MTEB's, these are no C-MTEB scores: all 35 tasks"),
        ({}, "unverified", "data was not verified: all 35 tasks"),
        ({"source": "a model card"}, "self-reported", None),
    ],
)
def test_what_the_data_was_is_part_of_the_row(tmp_path: Path, harness: dict[str, object], identity: str, note: str | None) -> None:
    row = row_of(write_run(tmp_path, header=replace(HEADER, notes=("own note",)), harness=harness))
    assert row.identity == identity
    assert row.notes == (("own note",) if note is None else ("own note", note))


@pytest.mark.parametrize("data", [{"verdict": "whatever"}, "verified", {"sha256": [1]}])
def test_a_record_with_an_unknown_verdict_on_its_data_has_no_score(tmp_path: Path, data: object) -> None:
    path = write_run(tmp_path, {"TNews": 0.8}).path / "TNews.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["harness"]["data"] = data
    path.write_text(json.dumps(raw), encoding="utf-8")
    (score,) = (task for task in row_of(read_run(tmp_path, BENCHMARK)).tasks if task.task == "TNews")
    assert (score.state, score.score) == ("broken", None)
    assert f"{path} is no record of TNews" in score.message


def test_one_doubtful_task_makes_the_row_doubtful_and_is_named(tmp_path: Path) -> None:
    write_run(tmp_path, without("TNews"))
    row = row_of(write_run(tmp_path, {"TNews": 0.8}, harness={"data": {"verdict": "not C-MTEB", "substituted": True}}))
    assert row.identity == "not C-MTEB"
    assert row.notes == (
        "data is not C-MTEB's, these are no C-MTEB scores: TNews",
        "another revision of the data was read than the pinned one: TNews",
    )


def test_equal_to_the_last_printed_digit_is_equal(tmp_path: Path) -> None:
    ours = row_of(write_run(tmp_path / "a", {**BY_HAND, "BQ": 0.600001, "TNews": 0.81}), "unrounded")
    theirs = row_of(write_run(tmp_path / "b"), "unrounded")
    found = compare(ours, theirs)
    assert [str(d) for d in found.cells] == ["+0.02", "+0.11", "=", "=", "=", "=", "="]
    assert (str(found.tasks["TNews"]), str(found.tasks["BQ"]), str(compare(theirs, ours).tasks["TNews"])) == ("+1.00", "=", "-1.00")
    assert len(found.tasks) == 35


def test_a_hole_on_either_side_is_a_hole(tmp_path: Path) -> None:
    whole, holed = row_of(write_run(tmp_path / "a")), row_of(write_run(tmp_path / "b", without("TNews")))
    for found in (compare(whole, holed), compare(holed, whole)):
        assert [str(d) for d in found.cells] == ["hole", "hole", "=", "=", "=", "=", "="]
        assert str(found.tasks["TNews"]) == "hole"


def test_scores_of_other_data_are_never_compared(tmp_path: Path) -> None:
    whole = row_of(write_run(tmp_path / "a"))
    write_run(tmp_path / "b", without("TNews"))
    other = row_of(write_run(tmp_path / "b", {"TNews": 0.8}, harness={"data": {"verdict": "not C-MTEB"}}))
    for found in (compare(whole, other), compare(other, whole)):
        assert [str(d) for d in found.cells] == ["not comparable", "not comparable", "=", "=", "=", "=", "="]
        assert found.tasks["TNews"].points is None
    row, *_ = printed_rows(PUBLISHED, BENCHMARK)
    for found in (compare(row, other), compare(other, row)):
        assert [each.verdict == "not comparable" for each in found.cells] == [True, True, *[False] * 5], (
            "a printed row is of the benchmark's"
        )
    live = load_benchmark("cmn_v1")
    rows = [leaderboard_row(read_run(tmp_path / name, live), None, live) for name in "ab"]
    assert [each.verdict == "not comparable" for each in compare(*rows).cells] == [True, True, True, *[False] * 5]


@pytest.mark.parametrize(("one", "other", "verdict"), [("a", "a", "="), ("a", "b", "not comparable"), ("", "", "not comparable")])
def test_other_data_is_compared_where_its_files_are_known_to_be_the_same(tmp_path: Path, one: str, other: str, verdict: str) -> None:
    rows = [
        row_of(write_run(tmp_path / name, harness={"data": {"verdict": "not C-MTEB", "sha256": {"test.jsonl": digest} if digest else {}}}))
        for name, digest in (("one", one), ("other", other))
    ]
    assert {str(each) for each in (*compare(*rows).cells, *compare(*rows).tasks.values())} == {verdict}


def test_rows_of_two_conventions_are_never_compared(published: Run) -> None:
    found = compare(row_of(published, "max_ap"), row_of(published))
    assert {str(d) for d in found.cells} == {"not comparable"}
    assert found.tasks == {}


@pytest.mark.parametrize(
    ("dtype", "max_len", "dim", "shown", "remark"),
    [
        ("float16", 512, 1792, [("NVIDIA TESLA A100", "69.07")], None),
        ("bfloat16", 1024, 1792, [("NVIDIA TESLA A10", "68.91"), ("NVIDIA TESLA A100", "68.91")], None),
        ("float16", 768, 1792, [("NVIDIA TESLA A100", "68.95")], None),
        ("float16", 768, 1024, [("NVIDIA TESLA A100", "68.95")], "not like for like: Dimension 1024 here, 1792 there"),
        ("float32", 512, 1792, [("NVIDIA TESLA A100", "69.07")], "not like for like: tensor-type float32 here, float16 there"),
        ("float16", 256, 1792, [("NVIDIA TESLA A100", "69.07")], "not like for like: Sequence Length 256 here, 512 there"),
        (
            *("float16", 256, 64, [("NVIDIA TESLA A100", "69.07")]),
            "not like for like: Sequence Length 256 here, 512 there; Dimension 64 here, 1792 there",
        ),
    ],
)
def test_a_row_stands_beside_the_published_rows_of_its_setting(
    tmp_path: Path, published: Run, dtype: str, max_len: int, dim: int, shown: list[tuple[str, str]], remark: str | None
) -> None:
    run = write_run(tmp_path, header=replace(HEADER, dtype=dtype, max_len=max_len, dim=dim))
    row = beside(row_of(run), row_of(published), printed_rows(PUBLISHED, BENCHMARK))
    assert [(c.other.header.gpu, printed(c.other.cells[0].value)) for c in row.beside] == shown
    assert {comparison.remark for comparison in row.beside} == {remark}
    assert row.reference is not None
    assert len(row.reference.tasks) == 35


def test_the_six_rows_of_the_card(published: Run) -> None:
    rows = printed_rows(PUBLISHED, BENCHMARK)
    assert [printed(row.cells[0].value) for row in rows] == ["68.91", "68.91", "68.99", "68.98", "68.95", "69.07"]
    assert {row.identity for row in rows} == {"self-reported"}
    assert replace(published.header, notes=()) == rows[5].header


def test_a_card_has_the_rows_of_its_table_and_where_there_is_none_there_are_none(tmp_path: Path) -> None:
    card = write_card(tmp_path, card_text(rows_table(), brief=True))
    assert printed_rows(card, BENCHMARK) == tuple(replace(row, path=card) for row in printed_rows(PUBLISHED, BENCHMARK))
    assert printed_rows(write_card(tmp_path, card_text(brief=True)), BENCHMARK) == printed_rows(tmp_path, BENCHMARK) == ()


@pytest.mark.parametrize("content", ["[{", "{}x", '[{"header": {"model": "m"}}]', '{"a": 1}', "[1]"])
def test_damaged_printed_rows_are_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "rows.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"rows\.json.*publish_card\.py"):
        printed_rows(tmp_path, BENCHMARK)


def test_printed_rows_of_another_benchmark_are_refused(tmp_path: Path) -> None:
    rows = json.loads((PUBLISHED / "rows.json").read_text(encoding="utf-8"))
    rows[0]["scores"]["Average (31)"] = rows[0]["scores"].pop("Average (35)")
    (tmp_path / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    with pytest.raises(InputError, match=r"other columns than Average \(35\)"):
        printed_rows(tmp_path, BENCHMARK)


def test_runs_are_found_below_a_path_each_once(tmp_path: Path) -> None:
    for name in ("b", "a/x"):
        write_run(tmp_path / name, {})
    assert [run.path.relative_to(tmp_path) for run in load_runs([tmp_path, tmp_path / "b"], BENCHMARK)] == [Path("a/x"), Path("b")]


def test_a_path_without_a_run_is_a_wrong_request(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, output in ((tmp_path, r"no manifest\.json"), (tmp_path / "absent", "no folder"), (tmp_path / "file", "no folder")):
        with pytest.raises(RequestError, match=output):
            load_runs([path], BENCHMARK)


@pytest.mark.parametrize("manifest", ["{", '{"name": "a web app"}', '{"header": {"model": 1}}', "[]"])
def test_a_damaged_manifest_hides_no_other_run(tmp_path: Path, manifest: str) -> None:
    write_run(tmp_path / "good")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text(manifest, encoding="utf-8")
    foreign, good = (row_of(run) for run in load_runs([tmp_path, tmp_path / "foreign"], BENCHMARK))
    assert (foreign.header.model, numbers(foreign)[0]) == ("foreign", "0/35")
    assert "foreign/manifest.json is no manifest" in (foreign.unreadable or "")
    assert numbers(good)[0] == "45.88"
    with pytest.raises(InputError, match="no manifest of a run"):
        load_runs([tmp_path / "foreign"], BENCHMARK)


@pytest.mark.parametrize("size", ["NaN", "1e400", '"0.65"', "[1]", "true"])
def test_a_header_of_other_types_is_damage(tmp_path: Path, size: str) -> None:
    write_manifest(tmp_path, manifest_of(HEADER))
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.65", size), encoding="utf-8")
    with pytest.raises(InputError, match="no manifest of a run"):
        load_runs([tmp_path], BENCHMARK)


def test_every_convention_names_real_tasks_and_types() -> None:
    names, kinds = {task.name for task in BENCHMARK.tasks}, {task.type for task in BENCHMARK.tasks}
    assert all(rule.without <= names and set(rule.metrics) <= kinds and rule.about for rule in BENCHMARK.conventions.values())


@pytest.mark.parametrize(
    ("benchmark", "convention", "expected"),
    [
        ("cmteb35", "cmteb", "pair classification by cos_sim ap"),
        ("cmteb35", "unrounded", "pair classification by cos_sim ap"),
        ("cmn_v1", "cmteb", "pair classification by max accuracy"),
        ("cmn_v1", "unrounded", "pair classification by max accuracy"),
        ("cmn_v1", "max_ap", "pair classification by the best ap of all similarities"),
    ],
)
def test_a_convention_names_the_metric_of_pairs_that_it_takes(tmp_path: Path, benchmark: str, convention: str, expected: str) -> None:
    table = load_benchmark(benchmark)
    row = leaderboard_row(write_run(tmp_path, {"Ocnli": 0.8}), convention, table)
    assert row.about.endswith(expected)
    (metric,) = {task.metric for task in row.tasks if task.type == "PairClassification"}
    assert metric.replace(".", " ") in row.about or convention == "max_ap"
    assert "{" not in row.about + table.convention(convention).about_zh


def test_rows_alike_say_in_which_settings_they_differ(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    instruction = "为这个句子生成表示以用于检索相关文章："
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "asked": {"spec": {"model": {"query_instruction": instruction}}},
        "card": {"spec": {"scoring": {"dtype": "model"}}},
        "local": {"spec": {"data": {"source": "local"}}},
        "weights": {"model": {"weights_digest": "1f3a9c04" * 8}},
        "commit": {"model": {"commit": "1f3a9c04" * 5}},
        "again": {},
    }
    for name, change in changes.items():
        write_run(tmp_path / name)
        write_manifest(tmp_path / name, manifest_of(content={"spec": {}, "device": {}, **change}))

    def names(*folders: str) -> list[str]:
        assert main(["table", *(str(tmp_path / each) for each in folders), "--format", "json"]) == 0
        return [row["unlike"] for row in json.loads(capsys.readouterr().out)["rows"]]

    assert names("plain", "asked") == ["query_instruction none", f"query_instruction {instruction}"]
    assert names("plain", "card") == ["scoring.dtype float32", "scoring.dtype model"]
    assert names("plain", "local") == ["data.source hub", "data.source local"]
    assert names("plain", "weights") == ["weights none", "weights 1f3a9c04"]
    assert names("plain", "commit") == ["commit none", "commit 1f3a9c04"]
    assert names("plain", "again") == ["", ""]
    assert main(["table", *(str(tmp_path / each) for each in ("plain", "again", "asked")), "--format", "md"]) == 0
    shown = capsys.readouterr().out
    for label in ("query_instruction none, plain", "query_instruction none, again", f"query_instruction {instruction}"):
        assert f"acge ({label})" in shown.replace("\\", "")
    assert f"unlike other rows of this name and setting: query_instruction {instruction}" in shown.replace("\\", "")
    report = build_report([tmp_path / "plain", tmp_path / "card"], BENCHMARK)
    assert [entry.setting.rpartition(" · ")[2] for entry in report.entries] == ["scoring.dtype float32", "scoring.dtype model"]


def test_a_printed_row_has_the_cells_of_the_table() -> None:
    first = next(row for row in printed_rows(PUBLISHED, BENCHMARK) if row.header.max_len == 512)
    assert (first.path, first.convention, first.about) == (PUBLISHED / "rows.json", "cmteb", BENCHMARK.convention("cmteb").about)
    keys = ["Average", "Classification", "Clustering", "PairClassification", "Reranking", "Retrieval", "STS"]
    assert [(cell.key, cell.found, cell.of) for cell in first.cells] == list(
        zip(keys, (35, 9, 4, 2, 4, 8, 8), (35, 9, 4, 2, 4, 8, 8), strict=True)
    )
    assert [cell.title for cell in first.cells][:2] == ["Average (35)", "Classification (9)"]


def test_a_published_run_has_no_manifest_of_ours(published: Run, tmp_path: Path) -> None:
    assert row_of(published).manifest is None
    assert row_of(published).about == BENCHMARK.convention("cmteb").about
    own = write_run(tmp_path, harness=VERIFIED)
    write_manifest(own.path, manifest_of(HEADER, {"run": "a" * 64, "spec": {"dtype": "fp16"}}))
    run = read_run(own.path, BENCHMARK)
    assert run.ours == (row_of(run).manifest is not None)


@pytest.mark.parametrize(("length", "shown"), [(200, "m" * 200), (201, f"{'m' * 100}~{'m' * 99}e")])
def test_a_name_longer_than_any_loses_its_middle(tmp_path: Path, length: int, shown: str) -> None:
    name = ("m" * length)[:-1] + ("e" if length > 200 else "m")
    assert row_of(write_run(tmp_path, header=replace(HEADER, model=name))).header.model == shown


@pytest.mark.parametrize(
    ("own", "scored", "listed"),
    [((), ("TNews",), "TNews"), ((), ("TNews", "Waimai"), "all 2 tasks"), (("BQ",), ("TNews", "Waimai"), "TNews, Waimai")],
)
def test_tasks_are_counted_where_all_of_several_are_alike(
    tmp_path: Path, own: tuple[str, ...], scored: tuple[str, ...], listed: str
) -> None:
    foreign = {"data": {"verdict": "not C-MTEB"}}
    write_run(tmp_path, dict.fromkeys(own, 0.5))
    row = row_of(write_run(tmp_path, dict.fromkeys(scored, 0.5), harness=foreign))
    assert row.notes[-1] == f"data is not C-MTEB's, these are no C-MTEB scores: {listed}"


def test_the_mean_of_types_counts_each_type_once(tmp_path: Path) -> None:
    live = load_benchmark("cmn_v1")
    scores = {task.name: 0.1 * (1 + index) for index, kind in enumerate(TASK_TYPES) for task in live.tasks if task.type == kind}
    run = read_run(write_run(tmp_path, scores, benchmark=live).path, live)
    average, types, *each = leaderboard_row(run, None, live).cells
    assert [cell.value for cell in each] == pytest.approx([10, 20, 32, 40, 50, 60])  # of pairs the best accuracy
    assert (types.key, types.title, types.found, types.of) == ("Types", "Mean of types (6)", 6, 6)
    assert types.value == types.mean == pytest.approx(212 / 6)
    assert average.mean == average.value != pytest.approx(212 / 6)
    without_sts = replace(run, records={name: record for name, record in run.records.items() if live.task(name).type != "STS"})
    assert leaderboard_row(without_sts, None, live).cells[1].value is None


def test_a_rounding_convention_keeps_the_mean_beside_its_printed_value(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"Ocnli": 0.12345, "Cmnli": 0.5})
    rounds, plain = (row_of(run, name).cells[3] for name in ("cmteb", "unrounded"))
    assert (rounds.value, plain.value) == (31.18, pytest.approx(31.1725))
    assert (rounds.mean, plain.mean) == (pytest.approx(31.175), pytest.approx(31.1725))


def test_runs_are_read_in_the_order_of_their_paths_once_each_and_a_damaged_one_stops_no_other(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        write_run(tmp_path / name, {"TNews": 0.5})
    (tmp_path / "b" / "manifest.json").write_text("{")
    runs = load_runs([tmp_path, tmp_path / "a", tmp_path / "c"], BENCHMARK)
    assert [run.path.name for run in runs] == ["a", "b", "c"]
    assert [len(run.records) for run in runs] == [1, 0, 1]
    for name in ("a", "c"):
        (tmp_path / name / "manifest.json").write_text("{")
    with pytest.raises(InputError) as caught:
        load_runs([tmp_path], BENCHMARK)
    assert [line.split(" ")[0] for line in str(caught.value).splitlines()] == [str(tmp_path / n / "manifest.json") for n in "abc"]
    write_run(tmp_path / "x" / "1", {})
    write_run(tmp_path / "x" / "2", {})
    with pytest.raises(RequestError, match="holds 2 runs"):
        one_run(tmp_path / "x", BENCHMARK)


def test_notes_of_a_header_do_not_make_another_printed_row(published: Run) -> None:
    row = row_of(published)
    noted = replace(row, header=replace(row.header, notes=("a note",)))
    assert len(beside(row, row, [noted]).beside) == 1
