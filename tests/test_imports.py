"""Result files of others become runs: numbers to the last digit, nothing averaged over different things, nothing hidden."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from real_data import OTHERS, needs_others
from runs import BENCHMARK, BY_HAND, PUBLISHED, write_run, write_task

from harness.commands import main
from harness.core.errors import InputError
from harness.core.records import Run
from harness.core.run_files import read_run
from harness.read.cards.claimed import read_card_run
from harness.read.leaderboard import leaderboard_row, printed
from harness.read.results import find_results, read_results
from harness.read.runs import load_runs

real = pytest.mark.real


def mteb2(task: str, metrics: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A result of one task as mteb 2 writes it: the benchmark's split, subset and revision, unless an argument changes them."""
    spec = BENCHMARK.task(task)
    subset = changes.pop("hf_subset", spec.language or "default")
    split = changes.pop("split", spec.split)
    scores = {split: [{"hf_subset": subset, "languages": ["cmn-Hans"], **metrics}]}
    return {
        "dataset_revision": spec.revision,
        "task_name": task,
        "mteb_version": "1.12.75",
        "scores": scores,
        "evaluation_time": 3.5,
    } | changes


def mteb1(task: str, metrics: dict[str, Any], **changes: Any) -> dict[str, Any]:
    spec = BENCHMARK.task(task)
    return {"mteb_version": "1.1.1", "mteb_dataset_name": task, "dataset_revision": None, spec.split: metrics} | changes


def folder_of(folder: Path, *results: dict[str, Any], **meta: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, result in enumerate(results):
        (folder / f"{number}.json").write_text(json.dumps(result), encoding="utf-8")
    if meta:
        (folder / "model_meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return folder


def read(folder: Path, *results: dict[str, Any], **meta: Any) -> Run:
    return read_results(folder_of(folder, *results, **meta), BENCHMARK)


@pytest.mark.parametrize("prefix", ["cosine", "cos_sim"])
def test_a_flat_file_becomes_a_record_with_the_names_of_1_1_1(tmp_path: Path, prefix: str) -> None:
    run = read(tmp_path / "m", mteb2("STSB", {f"{prefix}_spearman": 0.378, "manhattan_pearson": 0.5, "pearson": [0.3, 1e-9]}))
    record = run.records["STSB"]
    assert record.metrics == {"cos_sim": {"spearman": 0.378}, "manhattan": {"pearson": 0.5}}
    assert (record.split, record.dataset_revision, record.mteb_version) == ("test", BENCHMARK.task("STSB").revision, "1.12.75")
    assert (record.evaluation_time, record.made.trust) == (3.5, "re-run by others")
    assert (run.header.model, run.header.gpu, run.header.max_len) == ("m", "", None)


def test_a_nested_file_of_mteb_1_is_read_with_its_language(tmp_path: Path) -> None:
    run = read(
        tmp_path,
        mteb1("STS22", {"evaluation_time": 2, "zh": {"cos_sim": {"spearman": 0.6}}, "en": {"cos_sim": {"spearman": 0.9}}}),
        mteb1("Ocnli", {"evaluation_time": 2, "cos_sim": {"ap": 0.8}, "max": {"ap": 0.81}, "euclidean": {"accuracy_threshold": 1.3}}),
    )
    assert run.records["STS22"].metrics == {"zh": {"cos_sim": {"spearman": 0.6}}}
    assert run.records["STS22"].main_score(BENCHMARK.task("STS22")) == 0.6
    assert run.records["Ocnli"].metric(BENCHMARK.task("Ocnli"), "max.ap") == 0.81
    assert (run.records["Ocnli"].evaluation_time, run.records["Ocnli"].dataset_revision) == (2.0, None)


@pytest.mark.parametrize(("name", "version"), [("CMedQAv1-reranking", "1.12.75"), ("CMedQAv1", None)])
def test_task_names_of_both_versions(tmp_path: Path, name: str, version: str | None) -> None:
    result = mteb2("CMedQAv1", {"map": 0.5, "mrr": 0.6, "nAUC_map_max": 0.1}, task_name=name, mteb_version=version)
    run = read(tmp_path, result)
    assert run.records["CMedQAv1"].task == "CMedQAv1"
    assert run.records["CMedQAv1"].made.trust == ("re-run by others" if version else "self-reported")


def test_a_file_of_ours_stays_ours_without_its_manifest(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").unlink()
    found = read_results(tmp_path / "run", BENCHMARK)
    assert {name: record.metrics for name, record in found.records.items()} == {n: r.metrics for n, r in run.records.items()}
    assert {record.made.trust for record in found.records.values()} == {"ours"}
    assert leaderboard_row(found, "cmteb", BENCHMARK).identity == "verified"


def test_revisions_of_one_model_are_runs_of_their_own(tmp_path: Path) -> None:
    commit = "a" * 40
    folder_of(tmp_path / "org__m" / commit, mteb2("STSB", {"cosine_spearman": 0.4}))
    folder_of(tmp_path / "org__m" / "external", mteb2("STSB", {"cosine_spearman": 0.5}), name="org/m", revision="external")
    ours, theirs = load_runs([tmp_path], BENCHMARK)
    assert [run.header.model for run in (ours, theirs)] == ["org/m", "org/m"]
    assert any(commit in note for note in ours.header.notes)
    assert [run.records["STSB"].made.trust for run in (ours, theirs)] == ["re-run by others", "self-reported"]
    assert [leaderboard_row(run, "cmteb", BENCHMARK).identity for run in (ours, theirs)] == ["unverified", "self-reported"]


def test_another_revision_of_the_data_is_noted(tmp_path: Path) -> None:
    run = read(tmp_path / "external", mteb2("STS22", {"cos_sim_spearman": 0.4}, dataset_revision="6d1ba471", mteb_version=None))
    row = leaderboard_row(run, "cmteb", BENCHMARK)
    assert row.identity == "self-reported"
    assert "another revision of the data was read than the pinned one: STS22" in row.notes


@pytest.mark.parametrize("revision", ["None", None, ""])
def test_a_revision_that_is_not_stated_is_none(tmp_path: Path, revision: str | None) -> None:
    run = read(tmp_path, mteb2("STSB", {"cos_sim_spearman": 0.4}, dataset_revision=revision))
    assert run.records["STSB"].dataset_revision is None
    assert "the revision of the data is not stated for 1 of 1 task" in run.header.notes


def test_limits_of_the_model_are_not_taken_for_the_setting_of_the_run(tmp_path: Path) -> None:
    run = read(tmp_path, mteb2("STSB", {"cosine_spearman": 0.4}), name="org/m", revision="external", embed_dim=1792, max_tokens=1024.0)
    assert (run.header.dim, run.header.max_len) == (None, None)
    assert any("1792 dimensions, 1024 tokens" in note and "not what was run" in note for note in run.header.notes)


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (mteb2("STSB", {"cosine_spearman": 0.4}, split="validation"), "reads the split test, the file has validation"),
        (mteb1("STSB", {}, test={}, validation={"cos_sim": {}}), "reads the split test, the file has test, validation"),
        (mteb1("STSB", {}, test=[1]), "reads the split test, the file has none"),
        (mteb2("STSB", {"cosine_spearman": float("nan"), "main_score": 0.4}), "cos_sim_spearman of split test is nan"),
        (mteb2("STSB", {"main_score": 0.4}), r"has no cos_sim_spearman in split test \(there are: no number\)"),
        (mteb2("STSB", {"cosine_spearman": "0.4", "cosine_pearson": 0.1}), "cos_sim_spearman is the text '0.4': expected a number"),
        (mteb2("STSB", {"cosine_spearman": 0.4, "cosine_pearson": "nan"}), "cos_sim_pearson is the text 'nan'"),
        (mteb2("STSB", {"cosine_spearman": True, "cosine_pearson": 0.1}), r"there are: cos_sim_pearson"),
        (mteb2("STSB", {"cosine_spearman": 0.4, "cos_sim_spearman": 0.5}), "two values"),
        (mteb2("STSB", {"cosine_spearman": 37.8, "cosine_pearson": 36}), "not in the scale of mteb, 0 to 1"),
        (mteb2("STSB", {}, scores={"test": {"cosine_spearman": 0.4}}), "no list of subsets"),
        (mteb2("STSB", {}, scores={"test": [{"hf_subset": "default", "cosine_spearman": 0.4}] * 2}), "2 times"),
        (mteb2("T2Reranking", {"map_at_1000": 0.6, "main_score": 0.6}), "map_at_1000, not map: another definition"),
        (mteb2("Ocnli", {"max_accuracy": 0.8, "main_score": 0.8}), "max_accuracy, not cos_sim_ap: another definition"),
    ],
)
def test_a_file_without_the_benchmarks_score_is_named_and_not_counted(tmp_path: Path, result: dict[str, Any], output: str) -> None:
    run = read(tmp_path, result)
    assert run.records == {}
    ((task, message),) = run.broken.items()
    assert task == result.get("task_name", result.get("mteb_dataset_name"))
    assert re.search(output, message), message


def test_what_stands_in_for_the_main_metric_is_kept_apart(tmp_path: Path) -> None:
    run = read(tmp_path, mteb2("T2Reranking", {"map_at_1000": 0.66}), mteb2("STSB", {"cosine_spearman": 0.4}))
    found = run.other_definitions.get("T2Reranking")
    assert found is not None
    assert (found.metric, found.value, run.other_definitions.get("STSB")) == ("map_at_1000", 0.66, None)


def test_files_of_other_tasks_and_languages_are_named_and_harmless(tmp_path: Path) -> None:
    run = read(
        tmp_path,
        mteb2("STSB", {"cosine_spearman": 0.4}),
        mteb2("MassiveIntentClassification", {"accuracy": 0.3}, hf_subset="de"),
        mteb1("STS22", {"en": {"cos_sim": {"spearman": 0.9}}}),
        mteb2("STSB", {"cosine_spearman": 0.9}, task_name="STSB.v2"),
    )
    assert (list(run.records), run.broken) == (["STSB"], {})
    assert any("MassiveIntentClassification (de), STS22 (en)" in note and "STSB.v2" in note for note in run.header.notes)


def test_two_files_of_one_task_are_not_one_score(tmp_path: Path) -> None:
    run = read(tmp_path, mteb2("CMedQAv1", {"map": 0.5}), mteb2("CMedQAv1", {"map": 0.6}, task_name="CMedQAv1-reranking"))
    assert run.records == {}
    assert "several files (0.json, 1.json)" in run.broken["CMedQAv1"]


def test_a_truncated_file_is_named_by_its_task_and_hides_no_other(tmp_path: Path) -> None:
    folder_of(tmp_path, mteb2("STSB", {"cosine_spearman": 0.4}))
    (tmp_path / "CMedQAv2-reranking.json").write_text('{"task_name": "CMedQAv2-rer', encoding="utf-8")
    run = read_results(tmp_path, BENCHMARK)
    assert (list(run.records), list(run.broken)) == (["STSB"], ["CMedQAv2"])
    assert "can't be read as JSON" in run.broken["CMedQAv2"]


def test_only_folders_of_results_are_found(tmp_path: Path) -> None:
    folder_of(tmp_path / "model" / "rev", mteb2("STSB", {"cosine_spearman": 0.4}))
    write_run(tmp_path / "ours" / "run", {"STSB": 0.5})
    (tmp_path / "ours" / "run" / "errors").mkdir()
    (tmp_path / "ours" / "run" / "errors" / "TNews.json").write_text(json.dumps(mteb2("TNews", {"accuracy": 1})), encoding="utf-8")
    folder_of(tmp_path / "other", {"name": "a web app"}, {"task_name": "x", "scores": [1]}, {"mteb_dataset_name": "x", "error": "y"})
    folder_of(tmp_path / ".hidden", mteb2("STSB", {"cosine_spearman": 0.4}))
    assert find_results(tmp_path) == [tmp_path / "model" / "rev"]
    assert find_results(tmp_path / "nowhere") == []
    with pytest.raises(InputError, match="holds no result file of mteb"):
        read_results(tmp_path / "other", BENCHMARK)
    assert [run.path for run in load_runs([tmp_path], BENCHMARK)] == [tmp_path / "model" / "rev", tmp_path / "ours" / "run"]


def test_scores_of_either_form_give_the_averages_worked_by_hand(tmp_path: Path) -> None:
    results = []
    for task in BENCHMARK.tasks:
        flat = {task.main.replace(".", "_"): BY_HAND[task.name]}
        nested: dict[str, Any] = {"cos_sim": {task.main.partition(".")[2]: BY_HAND[task.name]}} if "." in task.main else dict(flat)
        nested = {task.language: nested} if task.language else nested
        results.append(mteb2(task.name, flat) if len(results) % 2 else mteb1(task.name, nested))
    row = leaderboard_row(read(tmp_path, *results), "cmteb", BENCHMARK)
    assert [printed(cell.value) for cell in row.cells] == ["45.88", "50.0", "25.0", "87.84", "50.0", "25.0", "60.0"]


@real
@needs_others
def test_the_published_acge_is_the_card_metric_by_metric() -> None:
    theirs, card = read_results(OTHERS / "acge_text_embedding", BENCHMARK), read_run(PUBLISHED, BENCHMARK)
    assert (len(theirs.records), theirs.broken) == (35, {})
    compared = 0
    for task in BENCHMARK.tasks:
        for path in task.metrics:
            try:
                claimed = card.records[task.name].metric(task, path)
            except InputError:
                continue
            assert theirs.records[task.name].metric(task, path) == pytest.approx(claimed, abs=1e-14), (task.name, path)
            compared += 1
    assert compared == 367
    assert {record.dataset_revision for record in theirs.records.values()} == {task.revision for task in BENCHMARK.tasks}


@real
@needs_others
@pytest.mark.parametrize(
    ("folder", "convention", "shown", "found"),
    [
        ("acge_text_embedding", "cmteb", ["69.07", "72.75", "58.7", "87.84", "67.99", "72.93", "62.09"], 35),
        ("Classical__Yinka/external", "cmteb", ["70.78", "74.3", "61.98", "89.88", "69.78", "74.41", "63.33"], 35),
        ("thenlper__gte-large-zh/external", "mteb2_31", ["66.69", "74.3", "53.07", "80.05", "67.4", "72.49", "57.08"], 32),
        ("thenlper__gte-large-zh/64c364e579de308104a9b2c170ca009502f4f545", "cmteb", [""] * 7, 0),
    ],
)
def test_the_published_models_give_their_rows(folder: str, convention: str, shown: list[str], found: int) -> None:
    run = read_results(OTHERS / folder, BENCHMARK)
    assert (len(run.records), run.broken) == (found, {})
    row = leaderboard_row(run, convention, BENCHMARK)
    assert [printed(cell.value) for cell in row.cells] == shown


@real
@needs_others
def test_every_number_of_the_published_minilm_is_read() -> None:
    run = read_results(OTHERS / "all-MiniLM-L6-v2", BENCHMARK)
    found = {name: round(100 * record.main_score(BENCHMARK.task(name)), 2) for name, record in run.records.items()}
    assert found["STSB"] == 37.80
    assert found == {
        "AFQMC": 8.59,  # of two splits; the other one is NaN
        "CMedQAv2": 17.66,
        "CmedqaRetrieval": 2.03,
        "IFlyTek": 16.09,  # the other split has no labels and scores 0
        "LCQMC": 23.85,
        "MultilingualSentiment": 41.28,
        "OnlineShopping": 57.74,
        "STSB": 37.80,
        "Waimai": 62.72,
    }
    assert {record.mteb_version for record in run.records.values()} == {"1.12.75"}
    assert {record.made.trust for record in run.records.values()} == {"re-run by others"}
    assert any("CLSClusteringS2S.v2" in note for note in run.header.notes)


@real
@needs_others
def test_every_published_folder_stands_in_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert [path.relative_to(OTHERS).as_posix() for path in find_results(OTHERS)] == [
        "Classical__Yinka/external",
        "acge_text_embedding",
        "all-MiniLM-L6-v2",
        "thenlper__gte-large-zh/64c364e579de308104a9b2c170ca009502f4f545",
        "thenlper__gte-large-zh/external",
    ]
    assert main(["table", str(OTHERS)]) == 0
    output = capsys.readouterr().out
    assert "70.78 74.3" in " ".join(output.split())
    assert "32/35" in output
    table = output.split("\n\n")[0]  # below it stand paths, which are as long as the folder the checkout lies in, and are not broken
    assert max(map(len, table.splitlines())) <= 100


def test_a_file_of_100_mb_is_not_read(tmp_path: Path) -> None:
    for name in ("AFQMC.json", "README.md"):
        with (tmp_path / name).open("wb") as stream:
            stream.truncate(100_000_000)
    run = read(tmp_path, mteb2("STSB", {"cosine_spearman": 0.4}))
    assert (list(run.records), list(run.broken)) == (["STSB"], ["AFQMC"])
    assert "has 100 MB, more than any result file of mteb" in run.broken["AFQMC"]
    with pytest.raises(InputError, match="has 100 MB, more than any model card"):
        read_card_run(tmp_path / "README.md", BENCHMARK)


@pytest.mark.parametrize(
    ("content", "output"),
    [
        (b"\x00\xff\xfe binary", "can't be read as JSON"),
        (b'{"task_name": "AFQMC", "scores": {}, "scores": {}}', "one of the names scores, task_name is there twice"),
        (b'{"task_name":"AFQMC","scores"\n: {"a\\":": 1}, "scores" :{}}', "one of the names scores, task_name is there twice"),
        (b"[" * 100_000, "can't be read as JSON"),
    ],
)
def test_damage_is_named_by_its_task(tmp_path: Path, content: bytes, output: str) -> None:
    (tmp_path / "AFQMC.json").write_bytes(content)
    (tmp_path / "Other.json").write_bytes(content)
    run = read(tmp_path, mteb2("STSB", {"cosine_spearman": 0.4}))
    assert (list(run.records), list(run.broken)) == (["STSB"], ["AFQMC"])
    assert output in run.broken["AFQMC"]
    assert any("1 (Other (can't be read))" in note for note in run.header.notes)


def test_one_file_in_percent_makes_its_neighbours_doubtful(tmp_path: Path) -> None:
    """0.85 beside 46.3 is 0.85 percent or 85 percent: neither is taken."""
    run = read(tmp_path, mteb2("STSB", {"cosine_spearman": 46.3}), mteb2("T2Retrieval", {"ndcg_at_10": 0.85}))
    assert run.records == {}
    assert "46.3 is not in the scale of mteb" in run.broken["STSB"]
    assert "has percentages, so this task's numbers may be some, too: divide the numbers of 0.json by 100" in run.broken["T2Retrieval"]


@pytest.mark.parametrize("metric", ["recall_at_20", "recall_at_1", "hit_rate_at_5", "ap_weighted", "v_measures", "cosine_ap", "main_score"])
@pytest.mark.parametrize("form", ["mteb 1", "mteb 2", "ours"])
def test_a_score_in_percent_that_the_benchmark_does_not_list_is_noticed_too(tmp_path: Path, form: str, metric: str) -> None:
    """Of 0.4 beside 52.1 nobody knows whether it is a percentage; a threshold, an nAUC and a count are no scores and may be above 1."""
    no_scores = {"euclidean_accuracy_threshold": 7.8, "nauc_map_at_10_std": -1.2, "nAUC_map_max": -3.0, "num_queries": 800}
    for value in (0.521, 52.1):
        scores = {"cosine_spearman": 0.4, metric: value, **no_scores}
        if form == "ours":
            write_task(tmp_path, BENCHMARK.task("STSB"), {"cos_sim": {"spearman": 0.4}, **scores})
            run = write_run(tmp_path, {})
        else:
            run = read(tmp_path, mteb2("STSB", scores) if form == "mteb 2" else mteb1("STSB", scores))
        assert set(run.records) == ({"STSB"} if value < 1 else set())
        assert ("52.1" in str(run.broken)) == (value > 1)


def test_a_folder_in_percent_has_no_score_in_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder_of(tmp_path, *(mteb2(task.name, {task.main.replace(".", "_"): 100 * BY_HAND[task.name]}) for task in BENCHMARK.tasks))
    assert main(["table", str(tmp_path), "--format", "json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert set(row["scores"].values()) == {None}
    assert set(row["broken"]) == {task.name for task in BENCHMARK.tasks}


def test_a_version_inside_of_the_scores_is_no_metric(tmp_path: Path) -> None:
    """mteb 2.26 writes its version beside the metrics of every subset."""
    run = read(tmp_path, mteb2("STSB", {"cosine_spearman": 0.4, "mteb_version": "2.26.24"}))
    assert run.records["STSB"].metrics == {"cos_sim": {"spearman": 0.4}}


def test_records_of_a_card_stay_self_reported_without_their_manifest(tmp_path: Path) -> None:
    write_run(tmp_path, {"STSB": 0.4}, harness={"source": "self-reported: front matter of the model card"})
    (tmp_path / "manifest.json").unlink()
    record = read_results(tmp_path, BENCHMARK).records["STSB"]
    assert (record.made.trust, record.made.source) == ("self-reported", "self-reported: front matter of the model card")


def test_an_experiment_of_mteb_2_is_named_as_one(tmp_path: Path) -> None:
    meta = {"name": "org/m", "revision": "a" * 40, "experiment_kwargs": {"dim": 256}}
    folder = tmp_path / "org__m" / ("a" * 40) / "experiments" / "dim_256"
    run = read(folder, mteb2("STSB", {"cosine_spearman": 0.4}), **meta)
    assert run.header.model == "org/m"
    assert "run as an experiment of its own: {'dim': 256}" in run.header.notes


class TestMainScoresOfMteb2:
    """Worked by hand, and equal to `get_benchmark_result` of mteb 2.26.24 for `MTEB(cmn, v1)`."""

    def folder(self, tmp_path: Path, name: str, splits: dict[str, float], task: str = "MultilingualSentiment", **metrics: float) -> Path:
        folder = tmp_path / name / "rev"
        folder.mkdir(parents=True)
        scores = {
            split: [{"hf_subset": "default", "languages": ["cmn-Hans"], "main_score": value, **metrics}] for split, value in splits.items()
        }
        result = {"task_name": task, "dataset_revision": "r", "mteb_version": "2.1.17", "scores": scores}
        (folder / f"{task}.json").write_text(json.dumps(result))
        return folder

    def scores(self, task: str, *folders: Path) -> list[tuple[str, float | None]]:
        runs = [read_results(folder, BENCHMARK) for folder in folders]
        rows = [leaderboard_row(run, "mteb2_31", BENCHMARK, among=runs) for run in runs]
        return [(found.state, found.score) for row in rows for found in row.tasks if found.task == task]

    def test_a_score_says_what_it_is_made_of(self, tmp_path: Path) -> None:
        both = read_results(self.folder(tmp_path, "both", {"validation": 0.7, "test": 0.8}), BENCHMARK)
        one = read_results(self.folder(tmp_path, "one", {"validation": 0.7}), BENCHMARK)
        none = read_results(self.folder(tmp_path, "none", {"test": 0.7}, task="TNews"), BENCHMARK)
        rows = [leaderboard_row(run, "mteb2_31", BENCHMARK, among=[both, one, none]) for run in (both, one, none)]
        whole, half, absent = (next(found for found in row.tasks if found.task == "MultilingualSentiment") for row in rows)
        assert (whole.state, whole.metric, whole.split, whole.identity) == ("scored", "main_score", "validation+test", "unverified")
        assert (half.state, half.message) == (
            "broken",
            "no main_score for the split test, which another run here has: mteb 2 gives no score then",
        )
        assert (absent.state, absent.message, absent.split) == ("missing", "", "validation")
        other = read_results(self.folder(tmp_path, "other", {"train": 0.7}), BENCHMARK)
        for among, message in (
            ([other, both], "no main_score for the split validation and test, which another run here has: mteb 2 gives no score then"),
            ([other], "no main_score for the split validation or test"),
        ):
            row = leaderboard_row(other, "mteb2_31", BENCHMARK, among=among)
            (found,) = (found for found in row.tasks if found.task == "MultilingualSentiment")
            assert (found.state, found.message) == ("broken", message)

    def test_the_mean_over_splits(self, tmp_path: Path) -> None:
        both = self.folder(tmp_path, "both", {"validation": 0.7, "test": 0.8, "train": 0.9})
        assert self.scores("MultilingualSentiment", both) == [("scored", pytest.approx(75.0))]

    def test_a_split_that_another_row_has_is_required(self, tmp_path: Path) -> None:
        both = self.folder(tmp_path, "both", {"validation": 0.7, "test": 0.8})
        one = self.folder(tmp_path, "one", {"validation": 0.7})
        assert self.scores("MultilingualSentiment", one) == [("scored", pytest.approx(70.0))]
        assert self.scores("MultilingualSentiment", both, one) == [("scored", pytest.approx(75.0)), ("broken", None)]

    def test_whatever_metric_it_is(self, tmp_path: Path) -> None:
        rerank = self.folder(tmp_path, "a", {"test": 0.6}, "CMedQAv1-reranking", map_at_1000=0.6, mrr_at_10=0.5)
        assert self.scores("CMedQAv1", rerank) == [("scored", pytest.approx(60.0))]
        pairs = self.folder(tmp_path, "b", {"validation": 0.9}, "Cmnli", max_accuracy=0.8, max_ap=0.9)
        assert self.scores("Cmnli", pairs) == [("scored", pytest.approx(90.0))]
        said = read(tmp_path / "c", mteb2("Cmnli", {"main_score": 0.9, "cosine_ap": 0.7}, mteb_version=None))
        assert leaderboard_row(said, "mteb2_31", BENCHMARK).identity == "self-reported", "as its record says"

    def test_a_split_without_a_finite_main_score_has_none(self, tmp_path: Path) -> None:
        nothing = self.folder(tmp_path, "a", {"test": float("nan")}, "LCQMC", cosine_spearman=0.5)
        assert self.scores("LCQMC", nothing) == [("scored", pytest.approx(50.0))], "by the metric, as other results are read"


REVISION, LATER = "a" * 40, "b" * 40


def spread(root: Path) -> Path:
    """A model whose scores lie in three folders: IFlyTek in two of them, STSB in one, what its authors say of TNews in the third."""
    sts, said = {"cosine_spearman": 0.5}, {"mteb_version": None}
    folder_of(root / "m" / REVISION, mteb2("IFlyTek", {"accuracy": 0.4}), mteb2("STSB", sts), name="org/m")
    folder_of(root / "m" / LATER, mteb2("IFlyTek", {"accuracy": 0.41}, mteb_version="1.34.2"), name="org/m")
    folder_of(
        root / "m" / "external", mteb2("TNews", {"accuracy": 0.3}, **said), mteb2("IFlyTek", {"accuracy": 0.45}, **said), name="org/m"
    )
    return root


@pytest.mark.parametrize(("merge", "iflytek"), [("newest", 41), ("external", 45), (REVISION[:8], 40), (None, None)])
def test_revisions_of_one_model_merge_where_that_is_asked_for(tmp_path: Path, merge: str | None, iflytek: float | None) -> None:
    runs = load_runs([spread(tmp_path)], BENCHMARK, merge=merge)
    if merge is None:
        assert len(runs) == 3
        return
    (run,) = runs
    scores = {task.task: task.score for task in leaderboard_row(run, "cmteb", BENCHMARK).tasks if task.score is not None}
    assert scores == {"IFlyTek": iflytek, "STSB": 50, "TNews": 30}
    assert (run.path, run.header.model) == (tmp_path / "m", "org/m")
    folders = {name: record.made.origin.file.split("/")[0] for name, record in run.records.items() if record.made.origin}  # type: ignore[union-attr]
    assert (folders["STSB"], folders["TNews"]) == (REVISION, "external")
    assert run.header.notes[0].startswith(f"merged from 3 folders, --merge {merge}: ")
    assert ("IFlyTek from bbbbbbbb" in run.header.notes[0]) == (merge == "newest")


def test_a_merge_does_not_choose_between_equals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for revision, score in ((REVISION, 0.4), (LATER, 0.41)):
        folder_of(tmp_path / "m" / revision, mteb2("IFlyTek", {"accuracy": score}), mteb2("STSB", {"cosine_spearman": 0.5}), name="org/m")
    folder_of(tmp_path / "other" / "external", mteb2("STSB", {"cosine_spearman": 0.6}), name="org/other")
    first, other = load_runs([tmp_path], BENCHMARK, merge="newest")
    assert list(first.records) == ["STSB"]
    assert "name one of these revisions" in first.broken["IFlyTek"]
    assert (other.path.name, list(other.records)) == ("external", ["STSB"])
    assert load_runs([tmp_path], BENCHMARK, merge="bbb")[0].records["IFlyTek"].metrics == {"accuracy": 0.41}
    assert main(["table", str(tmp_path), "--merge", "nope"]) == 2
    assert f"Choose one of: newest, external, {REVISION}, {LATER}" in capsys.readouterr().err


def test_a_merged_model_stands_in_table_report_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = spread(tmp_path) / "m"
    assert main(["table", str(model), "--merge", "newest", "--format", "json", "--tasks"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert {task["task"]: task["score"] for task in row["tasks"] if task["score"]} == {"IFlyTek": 41, "STSB": 50, "TNews": 30}
    assert main(["report", str(model), "--merge", "external", "--format", "md"]) == 0
    assert "--merge external" in capsys.readouterr().out
    newer = folder_of(tmp_path / "newer", mteb2("IFlyTek", {"accuracy": 0.3}))
    assert main(["check", str(model), str(newer), "--merge", "newest", "--allow-unlike", "--format", "json"]) == 3
    drifts = {task["task"]: task["verdict"] for task in json.loads(capsys.readouterr().out)["tasks"]}
    assert drifts == {"IFlyTek": "drifted", "STSB": "missing", "TNews": "missing"}
    assert main(["check", str(newer), str(model), "--merge", "newest", "--allow-unlike", "--format", "json"]) == 3
    assert [task["metrics"][0]["candidate"] for task in json.loads(capsys.readouterr().out)["tasks"]] == [41]
