"""A tiny random model of each architecture: its vectors are a pure function of each text, and those of sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_models
import torch
from tiny_models import AS_IS, TWINS, build_model
from tokenizers.processors import ByteLevel
from twins import DTYPES, measure

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.run_files import read_run
from harness.core.spec import Dtype, ModelSpec
from harness.evaluate.encode.as_is import REFERENCE
from harness.evaluate.encode.canary import BANDS, WORST
from harness.evaluate.encode.kinds import CANONICAL
from harness.evaluate.here import resolve_here
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.progress import Silent
from harness.evaluate.runner import execute

BENCHMARK = load_benchmark()
FEW = ["STSB", "EcomRetrieval"]
RUN_BY_DEFAULT = ("Qwen3", "ModernBERT", "Gemma 3, two-way (EmbeddingGemma)")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_pure_to_the_bit_and_near_sentence_transformers(name: str, dtype: Dtype, tmp_path: Path) -> None:
    twin = measure(build_model(tmp_path, **TWINS[name]), dtype=dtype)
    assert twin.told_apart > 0.8  # else equal vectors would prove nothing
    assert twin.differing == 0
    assert BANDS[dtype][0] <= twin.distance <= WORST * BANDS[dtype][1]


def request(tmp_path: Path, folder: Path, tasks: list[str]) -> list[str]:
    places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", "model.name=twin"]
    return [f"model={folder}", "data=sample", "gpu=cpu", "dtype=fp32", "max_len=64", "dim=16", f"tasks=[{','.join(tasks)}]", *places]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in RUN_BY_DEFAULT else pytest.mark.slow) for name in TWINS])
def test_a_twin_runs_passes_the_canary_resumes_and_is_planned(name: str, tmp_path: Path) -> None:
    folder = build_model(tmp_path, **TWINS[name])
    (plan,) = make_plan(request(tmp_path, folder, FEW)).runs
    assert plan.obstacles == ()
    spec, device = resolve_here(request(tmp_path, folder, FEW), "cpu")
    outcome = execute(spec, device, Silent())
    assert outcome.failed == {}
    assert (plan.cost.forwards, plan.cost.flops) == (outcome.cost.encoding.forwards, outcome.cost.encoding.flops)
    run = read_run(outcome.folder, BENCHMARK)
    assert run.manifest.canary["verdict"] == "passed"
    assert set(run.records) == set(FEW)
    assert execute(spec, device, Silent()).reused == tuple(task.name for task in BENCHMARK.select(FEW))


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_runs_all_tasks_of_the_sample(name: str, tmp_path: Path) -> None:
    spec, device = resolve_here(request(tmp_path, build_model(tmp_path, **TWINS[name]), []), "cpu")
    outcome = execute(spec, device, Silent())
    assert (len(outcome.computed), outcome.failed) == (len(BENCHMARK.tasks), {})


def test_an_end_token_is_appended_where_the_model_wants_one_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(*arguments: object, **options: object) -> object:
        made = tokenizer_of(*arguments, **options)
        made.backend_tokenizer.post_processor = ByteLevel(trim_offsets=False)
        made.eos_token = end
        return made

    tokenizer_of, end = tiny_models._tokenizer, "[SEP]"
    monkeypatch.setattr(tiny_models, "_tokenizer", bare)
    folder = build_model(tmp_path, **TWINS["Qwen3"])
    asked = [*request(tmp_path, folder, ["STSB"]), "model.add_eos_token=true"]
    (plan,) = make_plan(asked).runs
    outcome = execute(*resolve_here(asked, "cpu"), Silent())
    assert outcome.failed == {}
    assert plan.cost.flops == outcome.cost.encoding.flops
    (without,) = make_plan(request(tmp_path, folder, ["STSB"])).runs
    assert plan.cost.real_tokens == without.cost.real_tokens + plan.cost.distinct
    end = None
    folder = build_model(tmp_path / "none", **TWINS["Qwen3"])
    for kind in (CANONICAL, REFERENCE):
        with pytest.raises(InputError, match=r"wants its end token after every text.*the end token is None.*model.add_eos_token=false"):
            kind.load(ModelSpec(name="twin", path=str(folder), add_eos_token=True), dtype="fp32", device=torch.device("cpu"))


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "Qwen3.5" else pytest.mark.slow) for name in AS_IS])
def test_an_architecture_without_a_kernel_that_can_be_named_runs_as_reference(name: str, tmp_path: Path) -> None:
    folder = build_model(tmp_path, **AS_IS[name])
    (plan,) = make_plan(request(tmp_path, folder, ["STSB"])).runs
    assert any(f"{AS_IS[name]['model_type']}; known:" in text and "model.kind=reference" in text for text in plan.obstacles)
    asked = [*request(tmp_path, folder, ["STSB"]), "model.kind=reference"]
    (plan,) = make_plan(asked).runs
    outcome = execute(*resolve_here(asked, "cpu"), Silent())
    assert (outcome.failed, plan.obstacles) == ({}, ())
    assert (plan.cost.forwards, plan.cost.flops) == (outcome.cost.encoding.forwards, outcome.cost.encoding.flops)
    assert read_run(outcome.folder, BENCHMARK).manifest.canary["floor"] < 1e-5


@pytest.mark.parametrize(
    ("model_type", "config"),
    [("mistral", {"is_causal": False, "sliding_window": 16}), ("qwen3", {"is_causal": False, "layer_types": ["sliding_attention"] * 2})],
)
def test_what_can_not_be_pure_says_which_kind_runs_it_before_anything_is_spent(
    model_type: str, config: dict[str, object], tmp_path: Path
) -> None:
    folder = build_model(tmp_path, model_type=model_type)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | config))
    with pytest.raises(RequestError, match=f"attention of its {model_type} is neither.*model.kind=reference"):
        CANONICAL.outline(ModelSpec(name="twin", path=str(folder)))
    (plan,) = make_plan(request(tmp_path, folder, ["STSB"])).runs
    assert any("model.kind=reference" in text for text in plan.obstacles)
