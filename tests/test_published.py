"""`claims --model NAME results.path=DIR`: what others published of a model of the registry, against a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from runs import BENCHMARK, HEADER, VERIFIED, manifest_of, write_run

from harness.commands import main
from harness.core.errors import RequestError
from harness.core.registry import registry
from harness.core.run_files import read_run, write_manifest
from harness.read.claims.report import Published, published_recipe, published_results
from harness.read.results import read_results

NAME = "Qwen/Qwen3-Embedding-0.6B"


def publish(results: Path, revision: str, score: float, task: str = "STSB") -> Path:
    folder = results / NAME.replace("/", "__") / revision
    folder.mkdir(parents=True, exist_ok=True)
    entry = {"hf_subset": "default", "languages": ["cmn-Hans"], "main_score": score, "cosine_spearman": score}
    result = {"task_name": task, "mteb_version": "2.1.4", "dataset_revision": BENCHMARK.task(task).revision, "scores": {"test": [entry]}}
    (folder / f"{task}.json").write_text(json.dumps(result))
    return folder


def model_run(folder: Path, **spec: object) -> Path:
    run = write_run(folder, {"STSB": 0.788}, header=replace(HEADER, model=NAME, max_len=512), harness=VERIFIED)
    manifest = manifest_of(run.header, {"spec": spec, "model": {"repository": NAME, "commit": "c" * 40}} if spec else {})
    write_manifest(folder, manifest)
    return folder


def chosen(results: Path, name: str) -> tuple[Path, tuple[str, ...]]:
    return published_results(results, name).best(BENCHMARK)


def test_the_pinned_revision_is_taken_and_others_by_name(tmp_path: Path) -> None:
    model = registry().find(NAME)
    assert model is not None
    assert model.revision is not None
    pinned, external = publish(tmp_path, model.revision, 0.8), publish(tmp_path, "external", 0.81)
    publish(tmp_path, "external", 0.81, task="BQ")
    said = f"results at {model.revision} (1 task); --model {NAME}@REVISION takes others: external (2 tasks)"
    assert chosen(tmp_path, NAME) == (pinned, (said,))
    assert chosen(tmp_path, "qwen3-embedding-0.6b")[0] == pinned
    assert chosen(tmp_path, f"{NAME}@external") == (external, ())


def test_a_pinned_revision_without_a_task_of_the_benchmark_gives_way_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = registry().find(NAME)
    assert model is not None
    pinned = publish(tmp_path, str(model.revision), 0.8)
    (pinned / "STSB.json").rename(pinned / "Another.json")
    (pinned / "Another.json").write_text((pinned / "Another.json").read_text().replace("STSB", "Another"))
    external = publish(tmp_path, "external", 0.81)
    assert chosen(tmp_path, NAME)[0] == external
    assert main(["claims", "--model", NAME, f"results.path={tmp_path}"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 task, 1 number" in shown
    assert f"results at external (1 task); --model {NAME}@REVISION takes others: {model.revision} (0 tasks)" in shown


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown model 'Qwen9'"):
        published_results(tmp_path, "Qwen9")
    with pytest.raises(RequestError, match="expected a folder Qwen__Qwen3-Embedding"):
        published_results(tmp_path, NAME)
    publish(tmp_path, "a" * 40, 0.8)
    assert chosen(tmp_path, NAME)[0].name == "a" * 40
    publish(tmp_path, "b" * 40, 0.8)
    publish(tmp_path, "b" * 40, 0.8, task="BQ")
    assert chosen(tmp_path, NAME)[1] == (f"results at {'a' * 40} (1 task); --model {NAME}@REVISION takes others: {'b' * 40} (2 tasks)",)
    with pytest.raises(RequestError, match="not at external: name one of these"):
        published_results(tmp_path, f"{NAME}@external")


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"model": {"query_instruction": None}}, "none"),
        ({"model": {"query_instruction": "Q: "}}, "query instruction 'Q: '"),
        ({"model": {}, "prompts": {"source": "file"}}, "of a file"),
        ({"model": {}, "prompts": {"source": "model"}}, None),
    ],
)
def test_prompts_length_and_revision_are_compared(tmp_path: Path, spec: dict[str, object], found: str | None) -> None:
    publish(tmp_path, "external", 0.8)
    run = read_run(model_run(tmp_path / "run", **spec), BENCHMARK)
    fields = {field.name: field for field in published_recipe(published_results(tmp_path, NAME), run)}
    assert (fields["prompts"].found if "prompts" in fields else None) == found
    assert fields["max_len"].differs
    assert fields["model revision"].differs


def test_results_of_others_are_of_the_revision_of_their_folder(tmp_path: Path) -> None:
    revision = str(published_results_of(tmp_path).model.revision)
    theirs = read_results(tmp_path / NAME.replace("/", "__") / revision, BENCHMARK)
    assert "model revision" not in {field.name for field in published_recipe(published_results_of(tmp_path), theirs)}


def published_results_of(results: Path) -> Published:
    model = registry().find(NAME)
    assert model is not None
    publish(results, str(model.revision), 0.8)
    return published_results(results, NAME)


def test_a_run_below_the_leaderboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish(tmp_path, "external", 0.8)
    run = model_run(tmp_path / "run", model={"query_instruction": None})
    assert main(["claims", "--model", NAME, f"results.path={tmp_path}", "--against", str(run)]) == 3
    lines = " ".join(capsys.readouterr().out.split())
    assert "differs: prompts, those of its makers claimed, none found" in lines
    assert lines.index("differs: prompts") < lines.index("differs: max_len") < lines.index("-1.20")


def test_the_two_options_go_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "--model", NAME, str(tmp_path)]) == 2
    assert main(["claims", f"results.path={tmp_path}"]) == 2
    assert main(["claims", "--model", NAME]) == 2
    assert capsys.readouterr().err.count("go together") == 3
    assert main(["claims"]) == 2
    assert "no card: name the README.md of a model" in capsys.readouterr().err


def test_claims_of_the_live_benchmark(tmp_path: Path) -> None:
    publish(tmp_path, "external", 0.8)
    assert main(["claims", str(tmp_path / NAME.replace("/", "__") / "external"), "--benchmark", "cmn_v1"]) == 0
