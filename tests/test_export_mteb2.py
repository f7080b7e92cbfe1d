"""A run as a folder of mteb 2's results: read back by the harness, and by mteb 2.26.24 in its own environment."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mteb2 import MTEB, mteb2  # noqa: F401 a fixture
from real_data import OTHERS, needs_others
from runs import BENCHMARK, BY_HAND, HEADER, PUBLISHED, manifest_of, write_run, write_task

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError
from harness.core.mteb2_names import MAIN_SCORES, mteb2_metric
from harness.core.records import Run, flat_metrics
from harness.core.run_files import read_run, write_manifest
from harness.read.leaderboard import leaderboard_row, printed
from harness.read.results import find_results, read_results
from harness.read.runs import load_runs

CMN = load_benchmark("cmn_v1")
NOT_CMTEB = {"data": {"verdict": "not C-MTEB", "source": "sample", "substituted": False}}


def export(run: Path, folder: Path, *options: str) -> int:
    return main(["export", "mteb", str(run), "-o", str(folder), *options])


def result(folder: Path, task: str) -> dict[str, Any]:
    (path,) = folder.glob(f"results/*/*/{BENCHMARK.task(task).mteb2_name}.json")
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def meta(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("results/*/*/model_meta.json")
    return json.loads(path.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def one_record(folder: Path, task: str, metrics: dict[str, Any], **changes: Any) -> Run:
    write_manifest(folder, manifest_of(HEADER))
    write_task(folder, BENCHMARK.task(task), metrics, **{"evaluation_time": 2.5, **changes})
    return read_run(folder, BENCHMARK)


def test_a_result_worked_by_hand(tmp_path: Path) -> None:
    metrics = {"zh": {"cos_sim": {"pearson": 0.61, "spearman": 0.65}, "manhattan": {"pearson": 0.6, "spearman": 0.64}}}
    one_record(tmp_path / "run", "STS22", metrics, dataset_revision="e" * 40)
    assert export(tmp_path / "run", tmp_path, "--name", "org/a model") == 0
    path = tmp_path / "results" / "org__a_model" / "no_revision_available" / "STS22.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    del found["harness"]
    assert found == {
        "dataset_revision": "e" * 40,
        "task_name": "STS22",
        "mteb_version": "1.1.1",
        "scores": {
            "test": [
                {
                    "hf_subset": "zh",
                    "languages": ["cmn-Hans"],
                    "main_score": 0.65,
                    "cosine_pearson": 0.61,
                    "cosine_spearman": 0.65,
                    "manhattan_pearson": 0.6,
                    "manhattan_spearman": 0.64,
                }
            ]
        },
        "evaluation_time": 2.5,
        "kg_co2_emissions": None,
    }


@pytest.mark.parametrize(
    ("task", "metrics", "main_score", "differs"),
    [
        ("TNews", {"accuracy": 0.5, "f1": 0.4, "accuracy_stderr": 0.01, "main_score": 0.5}, 0.5, False),
        ("CLSClusteringP2P", {"v_measure": 0.3, "v_measure_std": 0.01}, 0.3, False),
        ("Ocnli", {"cos_sim": {"ap": 0.8, "accuracy_threshold": 1.5}, "max": {"accuracy": 0.7, "ap": 0.81}}, 0.7, False),
        ("CMedQAv1", {"map": 0.6, "mrr": 0.7}, 0.6, True),
        ("T2Retrieval", {"ndcg_at_10": 0.4, "mrr_at_10": 0.5}, 0.4, False),
    ],
)
def test_the_main_score_of_each_type(tmp_path: Path, task: str, metrics: dict[str, Any], main_score: float, differs: bool) -> None:
    run = one_record(tmp_path / "run", task, metrics)
    assert export(tmp_path / "run", tmp_path) == 0
    found = result(tmp_path, task)
    ((entry,),) = found["scores"].values()
    flat = flat_metrics(run.records[task].metrics, BENCHMARK.task(task))
    flat.pop("main_score", None)
    assert {name: value for name, value in entry.items() if name not in ("hf_subset", "languages", "main_score")} == {
        mteb2_metric(name): value for name, value in flat.items()
    }
    assert entry["main_score"] == main_score
    assert "map_at_1000" not in entry
    assert ("main_score" in found["harness"]) is differs


def test_a_task_without_mteb_2s_main_score_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one_record(tmp_path / "run", "STSB", {"cos_sim": {"spearman": 0.5}})
    one_record(tmp_path / "run", "Ocnli", {"cos_sim": {"ap": 0.8}})
    assert export(tmp_path / "run", tmp_path) == 0
    out, err = capsys.readouterr()
    assert "left out: Ocnli (no max_accuracy)" in out
    assert "note: partial: 2 of 35 tasks have a score" in err
    assert {path.name for path in tmp_path.glob("results/*/*/*.json")} == {"model_meta.json", "STSB.json"}
    one_record(tmp_path / "pairs", "Ocnli", {"cos_sim": {"ap": 0.8}})
    assert export(tmp_path / "pairs", tmp_path / "x") == 1
    assert not (tmp_path / "x").exists()


def test_a_card_has_the_mean_of_two_splits_and_none_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {"validation": {"accuracy": 0.4}, "test": {"accuracy": 0.6}}
    write_manifest(tmp_path / "run", manifest_of(HEADER))
    for task, metrics in (("MultilingualSentiment", {"accuracy": 0.5, **parts}), ("TNews", {"accuracy": 0.3})):
        write_task(tmp_path / "run", CMN.task(task), metrics)
    assert main(["export", "model-index", str(tmp_path / "run"), "--benchmark", "cmn_v1"]) == 0
    (tmp_path / "card.md").write_text(capsys.readouterr().out, encoding="utf-8")
    assert export(tmp_path / "card.md", tmp_path / "out", "--benchmark", "cmn_v1") == 0
    assert "left out: MultilingualSentiment (no accuracy)" in capsys.readouterr().out
    assert result(tmp_path / "out", "TNews")["scores"]["validation"][0]["main_score"] == 0.3


def test_the_model_is_described_as_the_run_states_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit = "c" * 40
    model = {"repository": "aspire/acge_text_embedding", "commit": commit, "stored_parameters": 326, "max_positions": 1024}
    run = write_run(tmp_path / "run")
    write_manifest(
        tmp_path / "run", manifest_of(run.header, {"model": model, "spec": {"model": {"query_instruction": None}}, "run": "abc"})
    )
    assert export(tmp_path / "run", tmp_path) == 0
    assert (tmp_path / "results" / "aspire__acge_text_embedding" / commit / "AFQMC.json").is_file()
    found = meta(tmp_path)
    assert (found["name"], found["revision"], found["n_parameters"]) == ("aspire/acge_text_embedding", commit, 326)
    assert (found["max_tokens"], found["embed_dim"], found["use_instructions"]) == (1024, 1792, False)
    assert "--name" not in capsys.readouterr().out


def test_a_model_without_an_organization_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", {"STSB": 0.5})
    assert export(tmp_path / "run", tmp_path) == 0
    assert "name it with --name ORGANIZATION/MODEL" in capsys.readouterr().out
    assert meta(tmp_path)["name"] == "no_organization_available/acge"


def test_the_harness_reads_its_export_back_to_the_last_bit(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", BY_HAND)
    assert export(tmp_path / "run", tmp_path / "out") == 0
    (again,) = load_runs([tmp_path / "out"], BENCHMARK)
    assert (len(again.records), again.broken) == (35, {})
    for name, record in again.records.items():
        assert record.metrics == run.records[name].metrics
        assert (record.dataset_revision, record.mteb_version, record.made.trust) == (BENCHMARK.task(name).revision, "1.1.1", "ours")
    row = leaderboard_row(again, "cmteb", BENCHMARK)
    assert (again.header.gpu, again.header.dtype, again.header.max_len, again.header.dim) == (HEADER.gpu, "float16", 512, 1792)
    assert again.header.notes == ("imported result files, ours with mteb 1.1.1", "model revision no_revision_available")
    assert (printed(row.cells[0].value), row.identity) == ("45.88", "verified")


def test_claims_takes_an_exported_run_for_one_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", BY_HAND)
    assert export(tmp_path / "run", tmp_path / "out") == 0
    capsys.readouterr()
    assert main(["claims", str(tmp_path / "out"), "--against", str(tmp_path / "run"), "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert "this harness pins revisions itself, whatever mteb does" in json.dumps(report)
    assert "contradicts" not in {finding["verdict"] for check in report["checks"] for finding in check["findings"]}


def test_published_records_stay_self_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(PUBLISHED, tmp_path, "--name", "aspire/acge_text_embedding") == 0
    out, err = capsys.readouterr()
    assert "35 tasks, read by mteb.ResultCache(" in out
    assert "main_score is map, not mteb 2's map_at_1000" in out
    assert "CMedQAv1-reranking, CMedQAv2-reranking, MMarcoReranking, T2Reranking" in out
    assert "note: not run by this harness: self-reported" in err
    again = read_results(tmp_path / "results" / "aspire__acge_text_embedding" / "external", BENCHMARK)
    assert {record.made.trust for record in again.records.values()} == {"self-reported"}
    assert {record.mteb_version for record in again.records.values()} == {None}


@pytest.mark.real
@needs_others
def test_the_published_records_give_the_files_that_once_were_public(tmp_path: Path) -> None:
    """Task names, splits, subsets, languages, revisions, main scores and every number, 35 files."""
    assert export(PUBLISHED, tmp_path) == 0
    for task in BENCHMARK.tasks:
        ours = result(tmp_path, task.name)
        theirs = json.loads((OTHERS / "acge_text_embedding" / f"{task.mteb2_name}.json").read_text(encoding="utf-8"))
        assert {key: ours[key] for key in theirs if key != "scores"} == {key: value for key, value in theirs.items() if key != "scores"}
        assert list(ours["scores"]) == list(theirs["scores"])
        (mine,), (other,) = ours["scores"][task.split], theirs["scores"][task.split]
        renamed = {mteb2_metric(name): value for name, value in other.items()}
        assert set(mine) == set(renamed)
        for name, value in renamed.items():
            assert mine[name] == (value if isinstance(value, (str, list)) else pytest.approx(value, abs=1e-14)), (task.name, name)


def test_scores_on_other_data_are_refused_and_labelled_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", {"STSB": 0.9}, harness=NOT_CMTEB)
    assert export(tmp_path / "run", tmp_path / "out") == 2
    assert "has no score on C-MTEB's data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert export(tmp_path / "run", tmp_path / "out", "--other-data", "--name", "org/m") == 0
    assert meta(tmp_path / "out")["name"] == "org/m-not-C-MTEB"
    assert result(tmp_path / "out", "STSB")["dataset_revision"] == "not C-MTEB: sample data"
    (again,) = load_runs([tmp_path / "out"], BENCHMARK)
    assert leaderboard_row(again, "cmteb", BENCHMARK).identity == "not C-MTEB"


def test_a_revision_that_is_not_stated_has_mtebs_name_for_it(tmp_path: Path) -> None:
    one_record(tmp_path / "run", "STSB", {"cos_sim": {"spearman": 0.5}}, dataset_revision=None)
    assert export(tmp_path / "run", tmp_path / "out") == 0
    assert result(tmp_path / "out", "STSB")["dataset_revision"] == "dataset revision not available"
    (again,) = load_runs([tmp_path / "out"], BENCHMARK)
    assert again.records["STSB"].dataset_revision is None


@pytest.mark.parametrize("content", ["[" * 100_000, "[1]", '{"harness"'])
def test_a_damaged_file_in_the_place_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    write_run(tmp_path / "a", {"STSB": 0.5})
    assert export(tmp_path / "a", tmp_path / "out") == 0
    (damaged,) = (tmp_path / "out").rglob("STSB.json")
    damaged.write_text(content, encoding="utf-8")
    assert export(tmp_path / "a", tmp_path / "out") == 2
    assert "STSB.json is not of this run" in capsys.readouterr().err
    assert damaged.read_text(encoding="utf-8") == content


def test_one_place_holds_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", {"STSB": 0.5})
    write_run(tmp_path / "b", {"TNews": 0.5}, header=replace(HEADER, max_len=256))
    assert export(tmp_path / "a", tmp_path / "out") == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json")}
    assert export(tmp_path / "b", tmp_path / "out") == 2
    assert "STSB.json is not of this run" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json")} == before
    write_run(tmp_path / "a", {"STSB": 0.5, "TNews": 0.5})
    assert export(tmp_path / "a", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").rglob("*.json"))) == 3
    (foreign,) = (tmp_path / "out").rglob("TNews.json")
    foreign.write_text("{", encoding="utf-8")
    assert export(tmp_path / "a", tmp_path / "out") == 2


@pytest.mark.parametrize("name", ["../x", "..", "a/../../b", ".hidden/m", "", "a\\b", "a\x00b", "org/" + "x\n"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", {"STSB": 0.5}, header=replace(HEADER, model=name or "m"))
    options = ["--name", name] if name else []
    code = export(tmp_path / "run", tmp_path / "deep" / "out", *options)
    written = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file() and "run" not in path.parts]
    if code == 2:
        assert written == []
        assert "can't be the name of a folder" in capsys.readouterr().err
    else:
        assert all(path.parts[:3] == ("deep", "out", "results") and len(path.parts) == 6 for path in written)
    assert (code == 0) is (name in ("", "..", "a/../../b"))  # one folder of that name, below


def test_a_partial_import_is_exported_with_its_own_trust_and_revision(tmp_path: Path) -> None:
    commit = "d" * 40
    folder = tmp_path / "org__m" / commit
    folder.mkdir(parents=True)
    theirs = {"dataset_revision": "x", "task_name": "STSB", "mteb_version": "1.12.75", "evaluation_time": 1.0}
    theirs["scores"] = {"test": [{"hf_subset": "default", "languages": ["cmn-Hans"], "cosine_spearman": 0.4, "main_score": 0.4}]}
    (folder / "STSB.json").write_text(json.dumps(theirs), encoding="utf-8")
    assert export(tmp_path / "org__m", tmp_path / "out") == 0
    again = read_results(tmp_path / "out" / "results" / "org__m" / commit, BENCHMARK)
    assert again.records["STSB"].made.trust == "re-run by others"
    assert again.records["STSB"].mteb_version == "1.12.75"
    assert meta(tmp_path / "out")["framework"] == []


LOADER = """
import json, sys, time
started = time.perf_counter()
from pathlib import Path
import mteb
from mteb.models.model_meta import ModelMeta

assert mteb.__version__ == sys.argv[2], mteb.__version__
folder = Path(sys.argv[1])
loaded = mteb.ResultCache(folder).load_results(include_remote=False)
(model,) = loaded.model_results
(path,) = folder.glob("results/*/*/model_meta.json")
tasks = {}
for result in model.task_results:
    (split, (entry,)), = result.scores.items()
    tasks[result.task_name] = {
        "known": result.task.metadata.name, "main": result.task.metadata.main_score, "splits": result.task.metadata.eval_splits,
        "subsets": result.task.metadata.hf_subsets_to_langscripts, "split": split, "score": result.get_score(),
        "chinese": result.get_score(languages=result.languages), "entry": entry, "revision": result.dataset_revision,
        "version": result.mteb_version, "seconds": result.evaluation_time,
    }
frame = loaded.to_dataframe()
message = {
    "name": model.model_name, "revision": model.model_revision, "tasks": tasks, "seconds": time.perf_counter() - started,
    "frame": dict(zip(frame["task_name"], frame[model.model_name])), "meta": ModelMeta.model_validate_json_resolved(path.read_text()).name,
}
print(json.dumps(message))
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["published", "run"])
def test_mteb_2_loads_all_35_and_its_scores_are_ours(
    mteb2: tuple[Path, float],  # noqa: F811
    source: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = read_run(PUBLISHED, BENCHMARK) if source == "published" else write_run(tmp_path / "run", BY_HAND)
    assert export(run.path, tmp_path / "out", "--name", "org/m") == 0
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "MTEB_CACHE": str(tmp_path / "cache")}
    command = [str(mteb2[0]), "-W", "ignore", "-c", LOADER, str(tmp_path / "out"), MTEB]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    message = json.loads(done.stdout.splitlines()[-1])
    with capsys.disabled():
        print(f"\nmteb {MTEB} stood ready after {mteb2[1]:.1f} s and read the {source} records in {message['seconds']:.1f} s")
    assert (message["name"], message["meta"], len(message["tasks"])) == ("org/m", "org/m", 35)
    assert message["revision"] == ("external" if source == "published" else "no_revision_available")
    for task in BENCHMARK.tasks:
        found, record = message["tasks"][task.mteb2_name], run.records[task.name]
        flat = {mteb2_metric(name): value for name, value in flat_metrics(record.metrics, task).items()}
        expected = flat["map" if task.type == "Reranking" else MAIN_SCORES[task.type]]
        assert found["known"] == task.mteb2_name
        assert (found["score"], found["chinese"], message["frame"][task.mteb2_name]) == (expected, expected, expected), task.name
        assert {name: found["entry"][name] for name in flat} == flat
        assert found["main"] == MAIN_SCORES[task.type]
        assert found["split"] in found["splits"]
        assert found["subsets"][found["entry"]["hf_subset"]] == found["entry"]["languages"]
        assert (found["revision"], found["version"], found["seconds"]) == (
            record.dataset_revision,
            record.mteb_version,
            record.evaluation_time,
        )


@pytest.mark.parametrize(("change", "files"), [({"max_len": 256}, ["STSB"]), (None, ["STSB"]), ({"dim": "many"}, ["STSB", "TNews"])])
def test_a_setting_that_not_all_files_state_alike_stays_empty(tmp_path: Path, change: dict[str, Any] | None, files: list[str]) -> None:
    write_run(tmp_path / "run", {"STSB": 0.5, "TNews": 0.5})
    assert export(tmp_path / "run", tmp_path / "out") == 0
    for name in files:
        (path,) = (tmp_path / "out").rglob(f"{name}.json")
        content = json.loads(path.read_text(encoding="utf-8"))
        content["harness"]["exported"] = change and content["harness"]["exported"] | change
        path.write_text(json.dumps(content), encoding="utf-8")
    (again,) = load_runs([tmp_path / "out"], BENCHMARK)
    assert len(again.records) == 2
    assert (again.header.gpu, again.header.max_len, again.header.dim) == ("", None, None)
    assert "GPU, dtype, length and dimension are not stated" in again.header.notes[0]


def test_find_imports_names_the_folder_that_was_written(tmp_path: Path) -> None:
    write_run(tmp_path / "run", {"STSB": 0.5})
    export(tmp_path / "run", tmp_path / "out")
    assert find_results(tmp_path / "out") == [tmp_path / "out" / "results" / "no_organization_available__acge" / "no_revision_available"]
    with pytest.raises(InputError, match="holds no result file"):
        read_results(tmp_path / "out", BENCHMARK)


@pytest.mark.parametrize(
    ("own", "written"),
    [({"similarity": "dot"}, "dot"), ({"similarity": "cosine"}, "cosine"), ({"similarity": "euclidean"}, None), ({}, None), (None, None)],
)
def test_the_similarity_of_the_model_is_the_one_that_the_run_states(
    tmp_path: Path, own: dict[str, Any] | None, written: str | None
) -> None:
    one_record(tmp_path / "run", "TNews", {"accuracy": 0.5})
    write_manifest(tmp_path / "run", replace(manifest_of(HEADER), own_settings=own))
    assert export(tmp_path / "run", tmp_path) == 0
    assert meta(tmp_path)["similarity_fn_name"] == written
