"""`score RUN benchmark=NAME`: the vectors of a run by the rules of another benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest
from records import run_here

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.errors import RequestError
from harness.core.prompts import TaskPrompts
from harness.core.run_files import read_run
from harness.core.sketch import read_sketch
from harness.data.sources import load_task
from harness.evaluate.here import resolve_here
from harness.evaluate.progress import Silent
from harness.evaluate.rescore import rescore, rescored_spec
from harness.evaluate.runner import execute
from harness.evaluate.score.scorer import run_scorer

TASKS = ["AFQMC", "Ocnli", "CMedQAv1"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a run of three tasks, and where its vectors are."""
    root = tmp_path_factory.mktemp("scored")
    settings = ["model=sample", "data=sample", "gpu=cpu", "canary=off", f"tasks=[{','.join(TASKS)}]"]
    return run_here([*settings, f"store={root / 'store'}", f"results_dir={root / 'results'}"]).folder, f"store={root / 'store'}"


def test_the_scores_are_those_of_a_run_and_no_text_is_encoded(scored: tuple[Path, str], tmp_path: Path) -> None:
    folder, store = scored
    spec = rescored_spec(folder, ["benchmark=cmn_v1", store], tasks=TASKS)
    outcome = rescore(folder, spec, Silent())
    assert (outcome.cost.encoding.forwards, sorted(outcome.computed), outcome.failed) == (0, sorted(TASKS), {})
    assert outcome.folder.parent == folder.parent
    assert (read_sketch(folder), read_sketch(outcome.folder) is None) == (None, False)  # canary=off there, the default here
    fresh = ["model=sample", "data=sample", "gpu=cpu", "canary=off", f"tasks=[{','.join(TASKS)}]", "benchmark=cmn_v1", "store=null"]
    own = run_here([*fresh, f"results_dir={tmp_path}"])
    benchmark = load_benchmark("cmn_v1")
    runs = [read_run(each, benchmark) for each in (outcome.folder, own.folder)]
    for task in TASKS:
        ours, theirs = (run.records[task] for run in runs)
        assert ours.metrics == theirs.metrics
        assert ours.made.benchmark == theirs.made.benchmark
        assert ours.made.benchmark is not None
        assert ours.made.benchmark.name == "cmn_v1"


def test_a_store_without_the_run_s_vectors_is_refused_before_any_text(scored: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = scored
    spec = rescored_spec(folder, ["benchmark=cmn_v1", f"store={tmp_path / 'other'}", f"results_dir={tmp_path / 'results'}"], tasks=TASKS)
    with pytest.raises(RequestError, match=rf"{tmp_path}/other has no vector of {folder}: name the one that the run filled"):
        rescore(folder, spec, Silent())
    assert not (tmp_path / "results").exists()


def test_only_texts_that_the_other_benchmark_alone_has_are_encoded(tmp_path: Path) -> None:
    settings = ["model=sample", "data=sample", "gpu=cpu", "canary=off", "tasks=[MultilingualSentiment]", f"store={tmp_path / 'store'}"]
    spec, device = resolve_here([*settings, f"results_dir={tmp_path / 'results'}"], "cpu")
    folder = execute(spec, device, Silent()).folder
    again = rescored_spec(folder, ["benchmark=cmn_v1", f"store={tmp_path / 'store'}"], tasks=["MultilingualSentiment"])
    outcome = rescore(folder, again, Silent())
    before, after = (
        set(run_scorer(each).texts(task, load_task(task, each.data).data, TaskPrompts()))
        for each, task in ((each, load_benchmark(each.benchmark).task("MultilingualSentiment")) for each in (spec, again))
    )
    found = outcome.cost.encoding
    assert found.distinct - found.found == len(after - before) > 0
    assert found.found == len(after & before) > 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "name the benchmark to score by"),
        (["benchmark=cmteb35"], "was scored by cmteb35 already"),
        (["benchmark=cmn"], "cmn_v1"),
        (["benchmark=cmn_v1", "store=null"], "name it with store=DIR"),
        (["benchmark=cmn_v1", "dtype=fp16"], "the run's settings come from its manifest"),
    ],
)
def test_what_is_not_enough_is_refused(scored: tuple[Path, str], overrides: list[str], message: str) -> None:
    folder, store = scored
    with pytest.raises(RequestError, match=message):
        rescored_spec(folder, [store, *overrides] if "store=null" not in overrides else overrides)


def test_the_command_names_what_it_wrote(scored: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, store = scored
    assert main(["score", str(folder), "benchmark=cmn_v1", store, f"results_dir={tmp_path}", "--tasks", "AFQMC", "--quiet"]) == 0
    assert f"records in {tmp_path}" in capsys.readouterr().out.replace("\n", "")
