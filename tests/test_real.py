"""A real pretrained model on real evaluation data gives the numbers that others published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from real_data import DATA, OTHERS, needs_data, needs_others
from records import run_here

from harness.core.benchmarks import load_benchmark
from harness.core.records import Run
from harness.core.run_files import read_run

ROOT = Path(__file__).resolve().parent.parent
BENCHMARK = load_benchmark()

pytestmark = [pytest.mark.real, pytest.mark.slow, needs_data, needs_others]

VERIFIED = {"AFQMC", "LCQMC", "STSB"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("real")
    overrides = [
        *("model=minilm", "data=local", f"data.root={DATA}", "data.verify=label", "gpu=cpu", "dtype=fp32", "max_len=256"),
        *("tasks=[AFQMC,LCQMC,STSB,Waimai]", f"results_dir={folder}", "store=null"),
    ]
    outcome = run_here(overrides)
    assert outcome.failed == {}
    return read_run(outcome.folder, BENCHMARK)


@pytest.mark.parametrize("name", sorted(VERIFIED))
def test_minilm_has_the_published_scores(run: Run, name: str) -> None:
    task = BENCHMARK.task(name)
    published = json.loads((OTHERS / "all-MiniLM-L6-v2" / f"{name}.json").read_text(encoding="utf-8"))["scores"][task.split][0]
    record = run.records[name]
    assert record.main_score(task) == pytest.approx(published["cosine_spearman"], abs=1e-5)
    for similarity, message in (("cos_sim", "cosine"), ("euclidean", "euclidean"), ("manhattan", "manhattan")):
        for figure in ("pearson", "spearman"):
            # theirs were rounded on the way: ranks by distance and by cosine of unit vectors are the same, their two figures are not
            assert record.metric(task, f"{similarity}.{figure}") == pytest.approx(published[f"{message}_{figure}"], abs=1e-4)


def test_every_task_states_whether_its_data_is_the_benchmarks(run: Run) -> None:
    verdicts = {name: record.made.data.verdict for name, record in run.records.items()}
    assert verdicts == dict.fromkeys(VERIFIED, "verified") | {"Waimai": "not C-MTEB"}
    assert run.records["Waimai"].made.data.mismatches
