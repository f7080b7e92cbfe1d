"""A benchmark from outside of the package: four lines of YAML, through every command that runs or reads."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from records import run_here
from runs import PUBLISHED, write_run

from harness.commands import main
from harness.core.benchmarks import DEFAULT, facts_digest, load_benchmark
from harness.core.errors import RequestError
from harness.core.records import BenchmarkName
from harness.core.resources import config_names, resource_dir
from harness.core.run_files import benchmark_of, read_manifest, read_run
from harness.core.spec import DataSpec
from harness.data.sources import load_task
from harness.evaluate.evaluation import weights
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.plan.values import Plan
from harness.evaluate.prepared import Outcome
from harness.show.plan import plan_document
from harness.show.text import render_text

OWN = "# two tasks of C-MTEB\nname: mine\ntitle: My two\ntasks: [STSB, Ocnli]\n"


def benchmark_file(folder: Path, text: str = OWN, name: str = "mine") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def run(folder: Path, benchmark: Path, *overrides: str) -> Outcome:
    places = [f"results_dir={folder / 'results'}", f"store={folder / 'store'}", f"benchmark={benchmark}"]
    return run_here(["model=sample", "data=sample", "gpu=cpu", "canary=off", *places, *overrides])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs of the benchmark, whose file was deleted afterwards."""
    folder = tmp_path_factory.mktemp("own")
    file = benchmark_file(folder)
    for dim in ("null", "64"):
        outcome = run(folder, file, f"dim={dim}")
        assert (set(outcome.computed), outcome.failed) == ({"STSB", "Ocnli"}, {})
    file.unlink()
    return folder


def runs_of(home: Path) -> tuple[Path, Path]:
    full, cut = sorted((home / "results" / "sample").iterdir(), key=lambda path: "dim64" in path.name)
    return full, cut


def printed(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> str:
    assert main(list(map(str, arguments))) == code
    return capsys.readouterr().out


def test_the_benchmark_is_named_by_its_name_never_by_its_path(home: Path) -> None:
    manifest = read_manifest(runs_of(home)[0])
    assert manifest.benchmark is not None
    assert manifest.spec is not None
    assert (manifest.benchmark.name, manifest.spec.benchmark) == ("mine", "mine")
    assert str(home) not in (runs_of(home)[0] / "spec.yaml").read_text(encoding="utf-8")


def test_every_reading_command_honours_it(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full, cut = runs_of(home)
    table = json.loads(printed(capsys, "table", home / "results", "--format", "json"))
    assert [row["coverage"]["Average (2)"] for row in table["rows"]] == ["2/2", "2/2"]
    assert printed(capsys, "index", home / "results", "-o", tmp_path / "index.csv").endswith("4 rows of 2 runs\n")
    assert "2 tasks" in printed(capsys, "check", full, cut, "--allow-unlike", code=3)
    assert "dim 1792 -> 64" in printed(capsys, "explain", full, cut)
    assert "Average (2)" in printed(capsys, "report", home / "results", "--format", "markdown")
    entries = printed(capsys, "export", "model-index", full, "--other-data")
    assert (entries.count("task:"), "STSB" in entries, "Ocnli" in entries) == (2, True, True)
    assert "2 tasks" in printed(capsys, "export", "mteb", full, "-o", tmp_path / "mteb", "--other-data")
    assert json.loads(printed(capsys, "claims", full, "--format", "json"))["tasks"] == 2
    claimed = json.loads(printed(capsys, "claims", PUBLISHED, "--against", full, "--format", "json", code=1))
    assert (claimed["tasks"], {cell["of"] for cell in claimed["against"]["cells"]}) == (2, {"STSB", "Ocnli"})
    beside = json.loads(printed(capsys, "table", full, "--against", PUBLISHED, "--format", "json"))
    assert beside["rows"][0]["coverage"]["Average (2)"] == "2/2"
    assert "accepted sample/" in printed(
        capsys, "baseline", "accept", full, "--why", "first", "--uncalibrated", "--to", tmp_path / "baselines"
    )
    (listed,) = json.loads(printed(capsys, "baseline", "list", "--to", tmp_path / "baselines", "--format", "json"))["baselines"]
    assert listed["tasks"] == 2
    assert "NO DRIFT: 2 tasks, 2 identical" in printed(capsys, "check", tmp_path / "baselines", full)
    calibrated = printed(capsys, "calibrate", cut, f"store={home / 'store'}", "--draws", 3, "--parts", "sampling")
    assert "STSB" in calibrated


def test_a_finished_run_of_it_is_found_and_an_edited_benchmark_computes_again(tmp_path: Path) -> None:
    file = benchmark_file(tmp_path, OWN.replace(", Ocnli", ""))
    assert run(tmp_path, file).computed == ("STSB",)
    assert run(tmp_path, file).reused == ("STSB",)
    benchmark_file(tmp_path, OWN.replace(", Ocnli", "") + "splits: {STSB: validation}\n")
    with pytest.raises(RequestError) as caught:
        run(tmp_path, file, "tasks=[TNews]")
    assert "TNews" in str(caught.value)
    assert run(tmp_path, file).reused == ()


def test_scores_by_other_facts_are_not_taken_over_from_a_run_of_another_max_len(tmp_path: Path) -> None:
    facts = "{type: Classification, hub: C-MTEB/TNews-classification, split: validation, n_experiments: %d}"
    scores = []
    for experiments, max_len in ((4, 512), (2, 256)):
        text = f"name: mine\nscorer: mteb2\ntasks: [TNews]\nfacts:\n  TNews: {facts % experiments}\n"
        file = benchmark_file(tmp_path, text)
        folder = run(tmp_path, file, f"max_len={max_len}").folder
        assert "shared_with" not in (folder / "costs.jsonl").read_text()
        record = read_run(folder, load_benchmark(str(file))).records["TNews"]
        assert record.made.benchmark == BenchmarkName(name="mine", digest=load_benchmark(str(file)).digest)
        scores.append(record.metrics["accuracy"])
    assert scores[0] != scores[1]


def test_runs_of_two_benchmarks_in_one_table_are_refused_by_name(home: Path) -> None:
    with pytest.raises(RequestError, match=r"several benchmarks: mine .* cmteb35"):
        benchmark_of([home / "results", PUBLISHED])
    assert benchmark_of([home / "results", PUBLISHED], DEFAULT).name == DEFAULT
    assert benchmark_of([PUBLISHED / "README.md"]).name == DEFAULT


def test_a_run_whose_benchmark_is_nowhere_says_how_to_name_it(home: Path, tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    lost.mkdir()
    (lost / "manifest.json").write_bytes((runs_of(home)[0] / "manifest.json").read_bytes())
    with pytest.raises(RequestError, match=r"unknown benchmark 'mine'.*a benchmark of your own is a file: benchmark=DIR/NAME\.yaml"):
        benchmark_of([lost])


@pytest.mark.parametrize("by", ["main: {Reranking: mrr}", "scorer: mteb2\nmain: {Reranking: mrr_at_10}\nmetrics: {Reranking: [mrr_at_10]}"])
def test_a_run_by_another_main_metric_is_found_done(tmp_path: Path, by: str) -> None:
    file = benchmark_file(tmp_path, f"name: mine\ntasks: [CMedQAv1]\n{by}\n")
    assert run(tmp_path, file).computed == ("CMedQAv1",)
    assert run(tmp_path, file).reused == ("CMedQAv1",)  # its examples come to the score


def test_a_task_without_statistics_runs(tmp_path: Path) -> None:
    facts = "facts:\n  STSB: {type: STS, hub: C-MTEB/STSB, split: test}\n"
    outcome = run(tmp_path, benchmark_file(tmp_path, OWN.replace(", Ocnli", "") + facts))
    assert (outcome.computed, outcome.failed) == (("STSB",), {})


def test_a_task_that_mteb_does_not_know_is_refused_before_anything_is_encoded(tmp_path: Path) -> None:
    text = "name: mine\ntasks: [Mine]\nfacts:\n  Mine: {type: STS, hub: me/mine}\n"
    with pytest.raises(RequestError, match=r"Mine is no Chinese task of mteb 1\.1\.1"):
        run(tmp_path, benchmark_file(tmp_path, text))
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ("splits: {TNews: validation+test}", "one split"),  # it scored the first alone, under the name of both
        ("facts: {TNews: {type: Classification, hub: x, n_experiments: 3}}", "n_experiments: 10"),  # they drew 10 times 32 all the same
        ("facts: {TNews: {type: Classification, hub: x, samples_per_label: 8}}", "samples_per_label: 32"),
        ("facts: {TNews: {type: STS, hub: x}}", "type: Classification"),
        ("facts: {TNews: {type: Classification, hub: x, language: zh}}", "language: None"),
    ],
)
def test_facts_that_mteb_1_has_otherwise_are_refused_before_anything_is_encoded(tmp_path: Path, more: str, found: str) -> None:
    file = benchmark_file(tmp_path, f"name: mine\ntasks: [TNews]\n{more}\n")
    with pytest.raises(RequestError, match=rf"TNews has {found} in mteb 1\.1\.1"):
        run(tmp_path, file)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name: mine\ntasks: [STSB]\nscorer: mteb2\nsplits: {STSB: validation+test}\n", "only a Classification has more than one"),
        ("name: mine\ntasks: [STSX]\n", "unknown task 'STSX': did you mean STS"),
        ("name: other\ntasks: [STSB]\n", "call the file other.yaml"),
        ("name: mine\n", "'tasks' is missing"),
        ("name: mine\ntasks: []\n", "tasks is empty"),
        ("name: mine\ntasks: [STSB, Ocnli, STSB]\n", "tasks has STSB more than once"),
        ("name: mine\ntasks: [STSB]\ntaks: 1\n", "unknown keys: taks"),
        ("name: mine\ntasks: [CMedQAv1]\nscorer: mteb2\n", "scorer mteb2 can average map_at_1000 and mrr_at_10, not 'map'"),
        (
            "name: mine\ntasks: [CMedQAv1]\nmain: {Reranking: mrr_at_10}\nmetrics: {Reranking: [mrr_at_10]}\n",
            "scorer mteb1 can average map and mrr, not 'mrr_at_10'",
        ),
        ("name: mine\ntasks: [STSB]\nmain: {Clustering: null}\n", "Clustering has the metric None"),
        (
            "name: mine\ntasks: [STSB]\nmain: {STS: recall}\n",
            "main: STS: 'recall' is none of its metrics: cos_sim.pearson,",
        ),
        ("name: mine\ntasks: [STSB]\nmain: {Cluster: v_measure}\n", "main: unknown task type 'Cluster': did you mean Clustering"),
        ("name: mine\ntasks: [STSB]\nmetrics: {STSB: [spearman]}\n", "metrics: unknown task type 'STSB'"),
        ("name: mine\ntasks: [STSB]\nsplits: {Waimai: test}\n", "splits: unknown task 'Waimai'"),
        ("name: mine\ntasks: [STSB]\nfacts: {STSB: {type: STS, hub: x, spilt: y}}\n", "unknown facts: spilt"),
        ("name: mine\ntasks: [A]\nfacts: {A: {type: Star, hub: x}}\n", "unknown task type 'Star'"),
        ("[", "expected the node content"),
        ("- a", "found list, expected a mapping"),
    ],
)
def test_a_damaged_benchmark_is_one_clear_error(tmp_path: Path, text: str, found: str) -> None:
    path = benchmark_file(tmp_path, text)
    with pytest.raises(RequestError, match=r"mine\.yaml") as caught:
        load_benchmark(str(path))
    assert found in str(caught.value)


def test_a_damaged_benchmark_is_told_with_what_else_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = benchmark_file(tmp_path, "name: mine\ntasks: []\n")
    assert main(["run", "model=sample", "data=sample", f"benchmark={path}", "dtype=fp17"]) == 2
    told = capsys.readouterr().err
    assert "tasks is empty" in told
    assert "fp17" in told
    assert main(["tasks", "--benchmark", str(path)]) == 2


def test_no_such_benchmark(tmp_path: Path) -> None:
    for name in ("cmteb53", str(tmp_path / "none.yaml")):
        with pytest.raises(RequestError, match="a benchmark of your own is a file"):
            load_benchmark(name)


def test_the_digest_follows_the_facts_and_not_the_file(tmp_path: Path) -> None:
    one = load_benchmark(str(benchmark_file(tmp_path)))
    other = load_benchmark(str(benchmark_file(tmp_path, "tasks: [STSB, Ocnli]  # reordered\nname: mine\n")))
    assert one.digest == other.digest
    assert load_benchmark(str(benchmark_file(tmp_path, OWN + "splits: {STSB: dev}\n"))).digest != one.digest
    assert [task.split for task in load_benchmark(str(tmp_path / "mine.yaml")).tasks] == ["dev", "validation"]


def test_cmteb35_keeps_the_digest_of_its_records_as_long_as_no_fact_is_edited() -> None:
    table = load_benchmark()
    assert table.digest == "123bde03419d8465171af77e570837bc08125d704771d3c7be65d2e9114f103e"
    edited = [replace(table.tasks[0], revision="f" * 40), *table.tasks[1:]]
    assert facts_digest(edited, table.scorer) != facts_digest(table.tasks, table.scorer)


def test_a_run_of_cmteb35_keeps_no_file_of_it(tmp_path: Path) -> None:
    assert write_run(tmp_path, {"STSB": 0.5}).ours is False
    assert [path.name for path in tmp_path.glob("*.yaml")] == []
    assert len(read_run(tmp_path, load_benchmark()).records) == 1


def test_the_name_of_a_packaged_benchmark_is_refused_for_other_tasks(tmp_path: Path) -> None:
    path = benchmark_file(tmp_path, OWN.replace("mine", DEFAULT), DEFAULT)
    with pytest.raises(RequestError, match="comes with the package, with other tasks or facts: give your benchmark another name"):
        load_benchmark(str(path))
    path.write_bytes((resource_dir("configs") / "benchmarks" / f"{DEFAULT}.yaml").read_bytes())
    assert load_benchmark(str(path)).digest == load_benchmark().digest


def test_two_benchmarks_of_one_name_are_told_apart(home: Path, tmp_path: Path) -> None:
    run(tmp_path, benchmark_file(tmp_path, OWN.replace("STSB, ", "")))
    with pytest.raises(RequestError, match=r"several benchmarks: mine \(.*, digest \w{8}\), mine \(.*, digest \w{8}\)"):
        benchmark_of([home / "results", tmp_path / "results"])
    assert len(benchmark_of([home / "results"]).tasks) == 2


def test_its_tasks_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = "facts:\n  STSB: {type: STS, hub: C-MTEB/STSB, split: test}\n"
    message = printed(capsys, "tasks", "--benchmark", benchmark_file(tmp_path, OWN + facts))
    assert "mine: My two (sha256" in message
    assert "size not known" in message
    assert not [word for word in ("Retrieval", "Clustering", "A converted revision") if word in message]


def test_another_split_has_no_statistics_so_its_data_is_unverified(tmp_path: Path) -> None:
    assert load_benchmark().task("STSB").statistics
    table = load_benchmark(str(benchmark_file(tmp_path, OWN + "splits: {STSB: dev}\n")))
    assert [bool(task.statistics) for task in table.tasks] == [False, True]
    data = tmp_path / "data" / "STSB"
    data.mkdir(parents=True)
    lines = [json.dumps({"sentence1": f"a{n}", "sentence2": f"b{n}", "score": n}) for n in range(3)]
    (data / "dev.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    loaded = load_task(table.tasks[0], DataSpec(source="local", root=str(tmp_path / "data"), verify="error"))
    assert loaded.provenance.verdict == "unverified"


def test_the_size_of_a_task_without_statistics_is_unknown_in_a_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    facts = "facts:\n  STSB: {type: STS, hub: C-MTEB/STSB, split: test}\n"
    file = benchmark_file(tmp_path, OWN + facts)
    arguments = ["model=sample", "data=hub", "gpu=cpu", "store=null", f"results_dir={tmp_path}", f"benchmark={file}"]
    (planned,) = make_plan(arguments).runs
    assert planned.unknown == ("STSB",)
    assert planned.seconds is None
    assert any("2 of 2 tasks are not in the cache" in text for text in planned.obstacles)
    (alone,) = make_plan([*arguments, "tasks=[STSB]"]).runs
    message = render_text(plan_document(Plan(runs=(alone,))))
    assert "nothing is left" not in message
    assert "STSB open unknown" in " ".join(message.split())
    assert "size unknown, and in no total, as neither data nor statistics are on this machine: STSB" in " ".join(message.split())
    assert [run.unknown for run in make_plan([*arguments, "dim=8,16"]).runs] == [("STSB",)] * 2


def test_progress_gives_every_task_a_weight() -> None:
    assert weights({"STSB": 0.0, "Ocnli": 300.0, "BQ": 100.0}) == {"STSB": 200.0, "Ocnli": 300.0, "BQ": 100.0}
    assert weights({"STSB": 0.0}) == {"STSB": 1.0}


@pytest.mark.parametrize("name", config_names("benchmarks"))
def test_every_convention_of_the_package_has_chinese_words(name: str) -> None:
    for convention, rule in load_benchmark(name).conventions.items():
        assert re.search("[\u4e00-\u9fff]", rule.about_zh), convention
        assert re.findall("max ap|main_score", rule.about) == re.findall("max ap|main_score", rule.about_zh), convention
