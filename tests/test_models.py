"""What a person types for a model: a name of the registry, a folder, a file; and what is said where it is none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.config import compose_config, expand_sweep, resolve_request
from harness.core.errors import RequestError
from harness.core.files import FOLDER_NAME
from harness.core.overrides import as_typed
from harness.core.registry import RegistryModel, registry

CPU = {"device_name": "CPU (some)", "device_memory_gib": 8.0}
BENCHMARK = load_benchmark()


def test_the_registry_states_its_source_and_pins_what_can_be_pinned() -> None:
    known = registry()
    assert dict(known.source) | {"where": ""} == {"package": "mteb", "version": "2.26.24", "licence": "Apache-2.0", "where": ""}
    assert len(known.models) == 125
    assert all(model.revision is None or len(model.revision) == 40 for model in known.models)
    assert [model.name for model in known.models if model.revision is None] == []
    assert all(model.prompts is None or model.prompts in known.prompts for model in known.models)
    assert len({model.short.lower() for model in known.models}) == 125  # a short name is one model


def test_every_model_goes_by_its_full_and_its_short_name() -> None:
    for model in registry().models:
        words = as_typed([f"model={model.name}"])
        assert words == as_typed([f"model={model.short.upper()}"])
        assert f"model.revision={model.revision}" in [word.replace("'", "") for word in words]
        assert FOLDER_NAME.fullmatch(model.short)
        assert model.kind in ("canonical", "reference", "reranker")


FEW = ("Qwen3-Embedding-0.6B", "bge-large-zh-v1.5", "Youtu-Embedding", "mxbai-rerank-base-v2")


@pytest.mark.parametrize(
    "model",
    [pytest.param(model, marks=() if model.short in FEW else pytest.mark.slow) for model in registry().models],
    ids=lambda model: model.short,
)
def test_every_model_composes(model: RegistryModel) -> None:
    spec = compose_config([f"model={model.name}"])
    assert (spec.model.hub, spec.model.revision, spec.model.kind) == (model.name, model.revision, model.kind)
    assert not spec.model.trust_remote_code
    if model.prompts:
        assert spec.prompts.table == registry().prompts[model.prompts]
        assert spec.identity()["prompts"]["source"] == "model"


def test_what_is_given_beside_a_name_counts_before_what_the_registry_says(tmp_path: Path) -> None:
    spec = compose_config(["prompts=none", "model.revision=main", "model=bge-large-zh-v1.5", f"model.path={tmp_path}"])
    assert (spec.prompts.source, spec.model.revision, spec.model.path) == ("none", "main", str(tmp_path.resolve()))
    assert compose_config([]).model.name == "acge_text_embedding"


def test_a_folder_and_a_hub_repository_go_by_their_own_names(tmp_path: Path) -> None:
    folder = tmp_path / "检查点-500"
    folder.mkdir()
    assert compose_config([f"model={folder}"]).model.name == "检查点-500"
    spec = compose_config(["model=folder", "model.hub=someone/some-model"])
    assert (spec.model.hub, spec.model.name) == ("someone/some-model", "some-model")
    listed = compose_config(["model=folder", "model.hub=Qwen/Qwen3-Embedding-0.6B", "prompts=model"])
    assert listed.prompts.table is not None


def test_a_file_of_ones_own_is_read_and_a_mistyped_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text('hub: someone/mine\nquery_instruction: "找: a, b"\nallow_pickle: true\n', encoding="utf-8")
    spec = compose_config([f"model={path}"])
    assert (spec.model.name, spec.model.query_instruction, spec.model.allow_pickle) == ("mine", "找: a, b", True)
    path.write_text("hub: someone/mine\nrevison: abc\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"mine\.yaml: unknown key 'revison': did you mean revision\?"):
        compose_config([f"model={path}"])


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("bge-larg-zh-v1.5", "BAAI/bge-large-zh-v1.5"),
        ("qwen3-embeding-0.6b", "Qwen/Qwen3-Embedding-0.6B"),
        ("acgee", "acge"),
        ("Youtu", "tencent/Youtu"),
    ],
)
def test_near_names_are_suggested_and_the_list_is_named(name: str, suggested: str) -> None:
    with pytest.raises(RequestError, match=f"unknown model '{name}': did you mean .*{suggested}.*python -m harness models") as caught:
        resolve_request([f"model={name}"], **CPU)
    assert len(str(caught.value)) < 500


def test_a_sweep_takes_names_of_the_registry() -> None:
    jobs = expand_sweep(["model=BAAI/bge-m3,sample", "dtype=fp16"])
    assert [compose_config(job).model.name for job in jobs] == ["bge-m3", "sample"]
    with pytest.raises(RequestError, match="unknown model 'bge-m4': did you mean BAAI/bge-m3"):
        expand_sweep(["model=sample,bge-m4"])


@pytest.mark.parametrize("key", ["model.query_instruction", "data.root", "results_dir", "model.name"])
@pytest.mark.parametrize("value", ["为这个句子生成表示以用于检索相关文章：", "f(x)=a~b", "a, [b] {c}", "two\nlines: 中", 'it\'s "so"'])
def test_a_text_is_taken_as_it_is_typed(key: str, value: str) -> None:
    if key != "model.query_instruction" and value == "a, [b] {c}":
        pytest.skip("a comma spans a sweep for keys that several values make sense of")
    spec = compose_config([f"{key}={value}"])
    found = {"data.root": spec.data.root, "results_dir": str(spec.results_dir)}.get(key) or getattr(spec.model, key.partition(".")[2])
    assert found == value


def test_a_comma_never_makes_two_runs_of_one_instruction() -> None:
    (job,) = expand_sweep(["model.query_instruction=给定问题, 检索段落"])
    assert compose_config(job).model.query_instruction == "给定问题, 检索段落"
    assert compose_config(["model.query_instruction='给定, 问题'"]).model.query_instruction == "给定, 问题"


def test_the_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "qwen3-emb"]) == 0
    printed = capsys.readouterr().out
    assert "Qwen/Qwen3-Embedding-8B" in printed
    assert "b22da495" in printed
    assert "mteb 2.26.24 (Apache-2.0)" in printed
    assert main(["models", "nothing-like-it"]) == 2
