"""The Python API as a notebook uses it: docs/api.md is executed from top to bottom, and every value arrives as it was given."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import PUBLISHED, ROOT

import harness
from harness.api import override
from harness.core.config import compose_config
from harness.core.errors import InputError, RequestError

STRANGE = "abc 中文，：,[]{}()'\"\\=~:$#@*?!\n\t|/.-1e0"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The names that the page's cells leave, run in order in an empty folder."""
    cells = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        for cell in cells:
            exec(compile(cell, "docs/api.md", "exec"), names)
        yield names


def test_a_run_has_its_records(notebook: dict[str, Any]) -> None:
    run = notebook["run"]
    assert (set(run.records), run.failed, run.ours) == ({"STSB", "Ocnli"}, {}, True)
    assert run.header.dtype == "float32"


def test_scores_have_a_row_per_run_task_and_metric(notebook: dict[str, Any]) -> None:
    scores, run = notebook["scores"], notebook["run"]
    mine = scores[(scores.run == str(run.path)) & (scores.task == "STSB")].set_index("metric")
    assert mine.score["cos_sim_spearman"] == 100 * run.records["STSB"].metrics["cos_sim"]["spearman"]
    assert list(mine.index[mine.main]) == ["cos_sim_spearman"]
    assert notebook["main"].loc["Ocnli"].notna().all()
    assert set(zip(scores.identity, scores.trust, strict=True)) == {("not C-MTEB", "ours")}


def test_a_row_with_missing_tasks_has_no_average(notebook: dict[str, Any]) -> None:
    (row,) = notebook["table"].to_dict("records")
    assert row["model"] == "sample"
    assert math.isnan(row["Average (35)"])
    assert (row["identity"], row["trust"]) == ("not C-MTEB", "ours")


def test_examples_come_to_the_score(notebook: dict[str, Any]) -> None:
    frame, run = notebook["examples"], notebook["run"]
    folded = frame["gold"].corr(frame["cos_sim"], method="spearman")
    assert folded == pytest.approx(run.records["STSB"].metrics["cos_sim"]["spearman"], abs=1e-9)


def test_another_dimension_is_not_comparable_and_is_explained(notebook: dict[str, Any]) -> None:
    assert notebook["report"].exit_code == 2
    assert "NOT COMPARABLE" in harness.render(notebook["report"])
    (comparison,) = notebook["explanation"].comparisons
    assert [str(factor) for factor in comparison.pair.factors] == ["dim 1792 -> 64"]


def test_an_error_names_every_mistake(notebook: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RequestError) as caught:
        harness.run(model="sample", data="sample", dtype="fp61", tasks=["TNewss"])
    assert "fp61" in str(caught.value)
    assert "TNewss" in str(caught.value)


def test_published_results_are_runs_and_keep_no_examples() -> None:
    runs = harness.load_runs(PUBLISHED)
    assert runs.table()["Average (35)"].tolist() == [69.07]
    assert (runs.table()["identity"].tolist(), runs.table()["trust"].tolist()) == (["self-reported"], ["self-reported"])
    assert set(runs.scores()["identity"]) == set(runs.scores()["trust"]) == {"self-reported"}
    assert len(runs.scores().query("main")) == 35
    assert "35 of 35 tasks" in repr(runs)
    assert "69.07" in harness.render(runs)
    with pytest.raises(InputError, match="no run keeps examples of STSB"):
        runs.examples("STSB")


@settings(max_examples=20)
@given(st.one_of(st.none(), st.text(alphabet=STRANGE, max_size=12).filter(lambda text: "${" not in text)))
def test_a_text_arrives_as_it_was_given(value: str | None) -> None:
    assert compose_config([override("model.query_instruction", value)]).model.query_instruction == value


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tasks", ["TNews", "STS"]),
        ("tasks", []),
        ("dim", 64),
        ("dim", None),
        ("overwrite", True),
        ("results_dir", Path("a b/中")),
        ("store", "null "),
        ("dim", np.int64(64)),
        ("overwrite", np.bool_(True)),
        ("tasks", np.array(["TNews", "STS"])),
    ],
)
def test_a_value_arrives_as_it_was_given(key: str, value: object) -> None:
    found = getattr(compose_config([override(key, value)]), key)
    value = value.tolist() if isinstance(value, np.ndarray) else value
    assert (list(found) if isinstance(value, list) else found) == (Path(value) if isinstance(found, Path) else value)


def test_runs_of_several_threads_go_one_after_the_other(tmp_path: Path) -> None:
    asked = {"model": "sample", "data": "sample", "gpu": "cpu", "tasks": ["STSB"], "canary": False, "store": None, "results_dir": tmp_path}
    with ThreadPoolExecutor(3) as pool:
        assert [run.failed for run in pool.map(lambda dim: harness.run(dim=dim, **asked), (8, 16, 32))] == [{}, {}, {}]


def test_a_program_that_uses_hydra_itself_keeps_its_configuration(tmp_path: Path) -> None:
    (tmp_path / "theirs.yaml").write_text("a: 1\n", encoding="utf-8")
    with initialize_config_dir(str(tmp_path), version_base=None):
        assert compose_config(["dim=64"]).dim == 64
        assert compose("theirs").a == 1


def test_what_no_setting_can_have_is_refused() -> None:
    with pytest.raises(RequestError, match="a set"):
        override("tasks", {"TNews"})
    with pytest.raises(RequestError, match="reference to another key"):
        override("model.name", "${dtype}")


def test_the_names_are_there_and_cost_nothing_before_they_are_used() -> None:
    code = "import sys, harness; before = set(sys.modules); print(sorted(harness.__all__)); print({'pandas', 'torch', 'numpy'} & before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['Runs', 'check', 'explain', 'load_runs', 'render', 'run']", "set()"]
    assert callable(harness.run)
    assert not hasattr(harness, "nothing")


def test_what_notebooks_hand_over_is_taken_or_refused_in_a_sentence() -> None:
    runs = harness.load_runs([PUBLISHED, PUBLISHED])
    assert len(runs) == 1
    assert harness.load_runs(runs[0])[0].path == harness.load_runs(runs)[0].path == PUBLISHED
    with pytest.raises(RequestError, match="the same folder"):
        harness.check(runs, runs[0])
    with pytest.raises(RequestError, match=r"^unknown task or task type 'STSBB'"):
        harness.check(runs, PUBLISHED.parent.parent / "baselines" / "sample", tasks="STSBB")
    for wrong in (3, None):
        with pytest.raises(RequestError, match="expected a path"):
            harness.load_runs(wrong)  # type: ignore[arg-type]
        with pytest.raises(RequestError, match="expected a path"):
            harness.check(wrong, PUBLISHED)  # type: ignore[arg-type]
        with pytest.raises(RequestError, match="is no KEY=VALUE word"):
            harness.run(wrong)  # type: ignore[arg-type]
    for nothing in ([], np.array([])):
        with pytest.raises(RequestError, match="names no task"):
            harness.run(model="sample", data="sample", tasks=nothing)
    with pytest.raises(RequestError, match="STS is a type of tasks"):
        runs.examples("STS")
    with pytest.raises(InputError, match="no run keeps examples of STSB"):
        runs.examples("stsb")


@pytest.mark.parametrize(
    "wrong",
    [None, 3, 2.5, ["STSB"], Path("nowhere"), pandas.DataFrame({"a": [1]}), {"a": 1}, b"x", object()],
    ids=lambda value: type(value).__name__,
)
def test_an_argument_of_another_type_is_refused_in_one_line_that_says_what_is_wanted(wrong: Any) -> None:
    runs = harness.load_runs(PUBLISHED)
    sample = PUBLISHED.parent.parent / "baselines" / "sample"
    calls: dict[str, Callable[[], object]] = {
        "a path or a run": lambda: harness.explain(runs, wrong),
        "the name of a format: text, md": lambda: harness.render(runs, wrong),
        "render takes what check, explain": lambda: harness.render(wrong),
        "the name of a convention": lambda: runs.table(wrong),
        "no name of a task": lambda: runs.examples(wrong),
        "the path of a calibration": lambda: harness.check(sample, PUBLISHED, calibration=wrong),
        "a list of task names|no name of a task|unknown task": lambda: harness.check(sample, PUBLISHED, tasks=wrong),
        "the name or the file of a benchmark": lambda: harness.load_runs(PUBLISHED, benchmark=wrong),
        "newest, external, a revision": lambda: harness.load_runs(PUBLISHED, merge=wrong),
        "a number of examples": lambda: harness.explain(runs, sample, examples=wrong),
        "a benchmark: load_runs finds it": lambda: harness.Runs(runs, wrong),
    }
    takes_it = {
        type(None): ("convention", "calibration", "benchmark", "newest"),
        int: ("number",),
        list: ("list of task",),
        type(Path()): ("a path or", "calibration", "name or the file"),
    }
    for expected, call in calls.items():
        if not any(word in expected for word in takes_it.get(type(wrong), ())):
            with pytest.raises(RequestError, match=expected) as caught:
                call()
            assert "\n" not in str(caught.value)
