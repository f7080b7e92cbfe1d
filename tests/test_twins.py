"""A tiny random model of each architecture: its vectors are a pure function of each text, and those of sentence-transformers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import tiny_models
import torch
from records import run_here
from tiny_models import TWINS, build_model, load_encoder
from tokenizers.processors import ByteLevel
from twins import DTYPES, measure

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.run_files import read_run
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canary.canary import BANDS, WORST
from harness.evaluate.encode.canonical.kind import CANONICAL
from harness.evaluate.encode.whole.as_is import REFERENCE
from harness.evaluate.plan.planning import make_plan

BENCHMARK = load_benchmark()
FEW = ["STSB", "EcomRetrieval"]
RUN_BY_DEFAULT = ("Qwen3", "ModernBERT", "Gemma 3, two-way (EmbeddingGemma)", "MPNet")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_is_pure_to_the_bit_and_near_sentence_transformers(name: str, dtype: Dtype, tmp_path: Path) -> None:
    twin = measure(build_model(tmp_path, **TWINS[name]), dtype=dtype)
    assert twin.told_apart > 0.8  # else equal vectors would prove nothing
    assert twin.differing == 0
    assert ("packed" in twin.ladders) == (name not in ("MPNet", "Gemma 2", "Qwen3.5"))
    assert BANDS[dtype][0] <= twin.distance <= WORST * BANDS[dtype][1]


@pytest.mark.parametrize("name", ["Qwen3", "Qwen3.5"])
def test_a_text_has_the_same_bits_in_the_last_row_of_a_batch(name: str, tmp_path: Path) -> None:
    folder = build_model(tmp_path, **TWINS[name])  # its layers are 48 wide, so 73 rows of 7 tokens leave an end that is no whole vector
    setting = EncodingSpec(ladder="exact", batch_tokens=512)
    encoder = load_encoder(ModelSpec(name="twin", path=str(folder)), dtype="fp32", max_len=8, encoding=setting, device=torch.device("cpu"))
    texts = ["".join(letters) for letters in itertools.islice(itertools.permutations("abcdefg", 6), 512)]
    vectors = encoder.encode(texts)
    for seed in range(3):
        order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
        again = encoder.encode([texts[index] for index in order.tolist()])
        assert torch.equal(again[order.argsort()], vectors)


def request(tmp_path: Path, folder: Path, tasks: list[str]) -> list[str]:
    places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", "model.name=twin"]
    return [f"model={folder}", "data=sample", "gpu=cpu", "dtype=fp32", "max_len=64", "dim=16", f"tasks=[{','.join(tasks)}]", *places]


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in RUN_BY_DEFAULT else pytest.mark.slow) for name in TWINS])
def test_a_twin_runs_passes_the_canary_resumes_and_is_planned(name: str, tmp_path: Path) -> None:
    folder = build_model(tmp_path, **TWINS[name])
    (plan,) = make_plan(request(tmp_path, folder, FEW)).runs
    assert plan.obstacles == ()
    outcome = run_here(request(tmp_path, folder, FEW))
    assert outcome.failed == {}
    assert (plan.cost.forwards, plan.cost.flops) == (outcome.cost.encoding.forwards, outcome.cost.encoding.flops)
    run = read_run(outcome.folder, BENCHMARK)
    assert run.manifest.canary["verdict"] == "passed"
    eager = run.manifest.model.attention == "eager"
    assert eager == (name in ("MPNet", "Gemma 2"))
    assert run.manifest.canary["attention"] == ["softmax" if eager else "scaled_dot_product_flash_attention_for_cpu"]
    assert set(run.records) == set(FEW)
    assert run_here(request(tmp_path, folder, FEW)).reused == tuple(task.name for task in BENCHMARK.select(FEW))


@pytest.mark.slow
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_runs_all_tasks_of_the_sample(name: str, tmp_path: Path) -> None:
    outcome = run_here(request(tmp_path, build_model(tmp_path, **TWINS[name]), []))
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
    outcome = run_here(asked)
    assert outcome.failed == {}
    assert plan.cost.flops == outcome.cost.encoding.flops
    (without,) = make_plan(request(tmp_path, folder, ["STSB"])).runs
    assert plan.cost.real_tokens == without.cost.real_tokens + plan.cost.distinct
    end = None
    folder = build_model(tmp_path / "none", **TWINS["Qwen3"])
    for kind in (CANONICAL, REFERENCE):
        with pytest.raises(InputError, match=r"needs its end token after every text.*the end token is None.*model.add_eos_token=false"):
            kind.load(ModelSpec(name="twin", path=str(folder), add_eos_token=True), dtype="fp32", device=torch.device("cpu"))


_LONGROPE = {"rope_type": "longrope", "rope_theta": 100.0, "factor": 4.0, "original_max_position_embeddings": 32}


@pytest.mark.parametrize(
    ("model_type", "config", "why"),
    [
        ("mistral", {"is_causal": False, "sliding_window": 16}, "attention of its mistral is neither"),
        ("qwen3", {"is_causal": False, "layer_types": ["sliding_attention"] * 2}, "attention of its qwen3 is neither"),
        ("llama", {"rope_parameters": {**_LONGROPE, "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}}, "scaled by the longest text"),
    ],
)
def test_what_can_not_be_pure_says_which_kind_runs_it_before_anything_is_spent(
    model_type: str, config: dict[str, object], why: str, tmp_path: Path
) -> None:
    folder = build_model(tmp_path, model_type=model_type)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | config))
    with pytest.raises(RequestError, match=f"{why}.*model.kind=reference"):
        CANONICAL.outline(ModelSpec(name="twin", path=str(folder)))
    (plan,) = make_plan(request(tmp_path, folder, ["STSB"])).runs
    assert any("model.kind=reference" in text for text in plan.obstacles)


@pytest.mark.parametrize("package", ["fla", "causal_conv1d"])
def test_kernels_of_another_package_for_linear_attention_are_refused(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_model(tmp_path, **TWINS["Qwen3.5"])
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RequestError, match=f"linear attention would run by kernels of {package}, of which nothing.*model.kind=reference"):
        CANONICAL.outline(ModelSpec(name="twin", path=str(folder)))
