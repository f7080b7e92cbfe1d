"""Overrides -> RunSpec: what is composed, what is refused, and that all errors are reported at once."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from hydra import compose
from omegaconf import OmegaConf

from harness.core import config, resources
from harness.core.config import compose_config, expand_sweep, hydra_on_configs, resolve_request, resolve_run
from harness.core.errors import MachineError, RequestError
from harness.core.resources import config_names
from harness.core.spec import RunSpec

CPU = {"device_name": "CPU (any)", "device_memory_gib": 16.0}
SAMPLE = ["model=sample", "data=sample"]


def refused(overrides: list[str], device: dict[str, object] | None = None) -> str:
    with pytest.raises((RequestError, MachineError)) as caught:
        resolve_run(overrides, **(device or CPU))
    return str(caught.value)


def test_defaults_name_the_benchmark_and_all_35_tasks() -> None:
    spec = resolve_run(SAMPLE, **CPU)
    assert (spec.benchmark, len(spec.tasks), spec.dtype, spec.max_len, spec.dim) == ("cmteb35", 35, "fp32", 512, None)
    assert spec.scoring.dtype == "float32"


def test_the_command_of_the_design_card_resolves_on_an_a100() -> None:
    spec = resolve_run(["gpu=a100", "dtype=fp16", "max_len=512"], device_name="NVIDIA A100-SXM4-80GB", device_memory_gib=79.2)
    assert spec.model.hub == "aspire/acge_text_embedding"
    assert spec.folder.parent == Path("results/acge_text_embedding")
    assert spec.folder.name.startswith("a100_fp16_len512_dimfull-")
    assert spec.gpu.encoding.ladder == "packed"


def test_every_wrong_override_is_reported_at_once_with_the_config_names() -> None:
    message = refused(["model=acg", "dtyp=fp16", "gpu=v100", "nonsense"])
    assert "did you mean acge" in message
    assert "did you mean dtype" in message
    assert "a100" in message
    assert "'nonsense' is not KEY=VALUE" in message


@pytest.mark.parametrize(
    ("override", "output"),
    [
        ("~dtype", "can't be taken away"),
        ("gpu.pattern='['", "no regular expression"),
        ("benchmark=cmteb31", "did you mean cmteb35?"),
        ("tasks=STSB TNews", "tasks=[STSB TNews]"),
        ("hydra.run.dir=x", "unknown key"),
        ("results_dir=", "results_dir=DIR"),
        ("store=/dev/null", "store=null"),
        ("data.root=x", "leave it out"),
        ("model.url=http://host/v1", "add model.kind=endpoint"),
    ],
)
def test_what_can_be_known_to_be_wrong_is_refused_before_a_model_is_loaded(override: str, output: str) -> None:
    assert output in refused([*SAMPLE, override])


def test_a_folder_of_data_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CMTEB_DATA", raising=False)
    assert "data.root=DIR" in refused(["model=sample", "data=local"])
    assert "no such folder" in refused(["model=sample", "data=local", f"data.root={tmp_path / 'gone'}"])


def test_a_benchmark_is_chosen_by_name() -> None:
    assert resolve_run([*SAMPLE, "benchmark=cmteb35"], **CPU) == resolve_run(SAMPLE, **CPU)


def test_a_slice_of_a_gpu_goes_by_its_own_name() -> None:
    spec = resolve_run([*SAMPLE, "gpu=auto"], device_name="NVIDIA A100-SXM4-80GB MIG 1g.10gb", device_memory_gib=9.5)
    assert spec.gpu.name == "nvidia-a100-sxm4-80gb-mig-1g-10gb"


def test_wrong_values_are_reported_at_once() -> None:
    message = refused(["dtype=fp8", "max_len=many"])
    assert "fp32, fp16, bf16" in message
    assert "many" in message


def test_impossible_values_are_reported_at_once() -> None:
    message = refused([*SAMPLE, "max_len=2", "dim=0", "tasks=[TNew]", "gpu.batch_tokens=0"])
    for part in ("max_len=2", "dim=0", "did you mean TNews", "gpu.batch_tokens=0"):
        assert part in message
    assert "gpu.batch_tokens=131073: give a number of tokens from 1 to 131072" in refused([*SAMPLE, "gpu.batch_tokens=131073"])


def test_wrong_keys_wrong_kinds_and_impossible_values_are_reported_at_once() -> None:
    message = refused([*SAMPLE, "foo=1", "dtype=fp8", "max_len=2", "tasks=[TNew]"])
    assert len(message.splitlines()) == 4
    for part in ("unknown key 'foo'", "fp32, fp16, bf16", "did you mean TNews", "max_len=2"):
        assert part in message
    message = refused(["data=locl", "data.root=DIR", "benchmark=x"])
    assert "unknown data 'locl'" in message
    assert "unknown benchmark 'x'" in message
    assert "no meaning" not in message


def test_the_way_out_for_a_folder_with_a_comma_in_its_name_is_one(tmp_path: Path) -> None:
    spec = compose_config(["data=sample", "model=folder", "model.name=two", f"model.path='{tmp_path}/模型,2'"])
    assert spec.model.path == f"{tmp_path}/模型,2"


def test_a_model_folder_gives_its_name_to_the_results(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    spec = resolve_run(["model=folder", f"model.path={folder}"], **CPU)
    assert (spec.model.name, spec.model.path) == ("my-model", str(folder))
    assert "give model=./DIR" in refused(["model=folder"])
    assert "names a results folder" in refused(["model=folder", f"model.path={folder}", "model.name=../up"])


def test_a_device_is_an_expectation_that_can_be_relaxed_but_not_silently() -> None:
    message = refused(["gpu=a100"])
    assert "CPU (any)" in message
    assert "gpu.mismatch=warn" in message
    assert resolve_run(["gpu=a100", "gpu.mismatch=warn"], **CPU).gpu.name == "a100"
    too_small = {"device_name": "NVIDIA A100", "device_memory_gib": 20.0}
    assert "at least 38 GiB" in refused(["gpu=a100"], too_small)


@pytest.mark.parametrize(
    ("device_name", "name"),
    [
        ("CPU (any)", "cpu"),
        ("NVIDIA A10", "a10"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GeForce RTX 4090", "nvidia-geforce-rtx-4090"),
    ],
)
def test_auto_takes_what_is_there_and_names_it(device_name: str, name: str) -> None:
    assert resolve_run([*SAMPLE, "gpu=auto"], device_name=device_name, device_memory_gib=200.0).gpu.name == name


def test_auto_and_the_named_device_are_the_same_run() -> None:
    assert resolve_run([*SAMPLE, "gpu=auto"], **CPU) == resolve_run([*SAMPLE, "gpu=cpu"], **CPU)


def test_tasks_take_names_aliases_and_types_in_any_case() -> None:
    spec = resolve_run([*SAMPLE, "tasks=[tnews,CMedQAv2-reranking,pairclassification]"], **CPU)
    assert spec.tasks == ("TNews", "Cmnli", "Ocnli", "CMedQAv2")


def test_identity_is_what_can_change_a_score() -> None:
    spec = resolve_run(SAMPLE, **CPU)
    same = dataclasses.replace(spec, tasks=("TNews",), results_dir=Path("elsewhere"), overwrite=True)
    assert same.digest == spec.digest
    others = [
        resolve_run([*SAMPLE, change], **CPU)
        for change in ("dtype=bf16", "max_len=511", "dim=1024", "scoring.dtype=model", "gpu.batch_tokens=256", "scoring.search=reference")
    ]
    assert len({spec.digest, *(other.digest for other in others)}) == len(others) + 1


def test_identity_of_a_model_folder_is_not_where_it_lies(tmp_path: Path) -> None:
    """The weights' hash is compared on resume instead: a folder that moved is still the same model."""
    specs: list[RunSpec] = [
        resolve_run(["model=folder", f"model.path={tmp_path / place / 'encoder'}"], **CPU) for place in ("here", "there")
    ]
    assert specs[0].digest == specs[1].digest


def test_every_config_opens_with_a_comment_and_its_command() -> None:
    for group in ("model", "gpu", "data", "row", "experiment", "benchmarks"):
        for choice in config_names(group):
            path = Path(__file__).parent.parent / "configs" / group / f"{choice}.yaml"
            lines = path.read_text(encoding="utf-8").splitlines()
            first = next(line for line in lines if line != "# @package _global_")
            assert first.startswith("# "), path
            assert "python -m harness" in first, path


def test_a_row_of_the_card_is_one_word_and_the_experiment_scores_as_its_script() -> None:
    row = resolve_run([*SAMPLE, "row=fp16_768"], **CPU)
    assert (row.dtype, row.max_len, row.dim, row.scoring.dtype) == ("fp16", 768, None, "float32")  # 1792 are all of the model's
    card = resolve_run([*SAMPLE, "experiment=card", "row=bf16_1024"], **CPU)
    assert (card.dtype, card.max_len, card.scoring.dtype) == ("bf16", 1024, "model")


@pytest.mark.parametrize(
    ("typed", "dtype", "tasks"),
    [
        ("dtype=float16", "fp16", 35),
        ("dtype=torch.bfloat16", "bf16", 35),
        ("dtype=float32", "fp32", 35),
        ("dtype=BF16", "bf16", 35),
        ("gpu=CPU", "fp32", 35),
        ("tasks=all", "fp32", 35),
        ("tasks=null", "fp32", 35),
        ("tasks=STSB, Ocnli", "fp32", ("Ocnli", "STSB")),
        ("tasks=STSB", "fp32", ("STSB",)),
        ("tasks=sts-b", "fp32", ("STSB",)),
        ("tasks=STSB,Ocnli", "fp32", ("Ocnli", "STSB")),
        ("tasks=[cmedqav1]", "fp32", ("CMedQAv1",)),
        ("tasks=pair_classification", "fp32", ("Cmnli", "Ocnli")),
    ],
)
def test_usual_spellings_mean_what_everybody_means(typed: str, dtype: str, tasks: object) -> None:
    spec = resolve_run([*SAMPLE, typed], **CPU)
    assert (spec.dtype, len(spec.tasks) if isinstance(tasks, int) else spec.tasks) == (dtype, tasks)


@pytest.mark.parametrize("page", ["https://huggingface.co/BAAI/bge-large-zh-v1.5", "https://hf-mirror.com/BAAI/bge-large-zh-v1.5/"])
def test_the_address_of_a_repository_is_its_name(page: str) -> None:
    assert compose_config([f"model={page}", "data=sample"]).model.hub == "BAAI/bge-large-zh-v1.5"


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("dtype=int8", "dtype=int8: Invalid value 'int8', expected one of"),
        ("max_len=1e3", "max_len=1e3: Value '1000.0'"),
        ("foo=1", "unknown key 'foo': `python -m harness run --help` lists what is known"),
        ("data=./mine", "A folder of your own: data=local data.root=./mine"),
        ("dim=64,", "dim=64,: nothing stands beside a comma: dim=64"),
        (
            "model=./模型,2",
            "model=./模型,2: a comma parts the values of a sweep. For one value with a comma in it: model=folder model.path",
        ),
        ("model=somebody/reranker", "model=folder model.hub=somebody/reranker"),
    ],
)
def test_a_wrong_word_is_named_with_the_way_out_of_runs_and_sweeps(typed: str, message: str) -> None:
    for look in (resolve_request, expand_sweep):
        with pytest.raises(RequestError, match=re.escape(message)):
            look([*SAMPLE, typed])


@pytest.mark.parametrize("tasks", ["[[STSB],[Ocnli]]", "[{a:1}]", "[[]]"])
def test_tasks_within_tasks_are_one_error(tasks: str) -> None:
    with pytest.raises(RequestError, match="is no name of a task"):
        resolve_run(["model=sample", "data=sample", f"tasks={tasks}"], device_name="cpu", device_memory_gib=8)


def test_a_glob_is_over_the_choices_of_a_group() -> None:
    assert expand_sweep(["model=glob([s*,m*],exclude=minilm)", "data=glob(sam*)"]) == [["model=sample", "data=sample"]]


def test_a_sweep_without_a_value_is_no_sweep_that_went_well() -> None:
    empty = ("max_len=range(5,1)", "gpu=glob(zz*)", "benchmark=glob(c*)")
    with pytest.raises(RequestError) as refused:
        expand_sweep([*empty, "dim=8,16"])
    assert [line.partition(": no value is in it")[0] for line in str(refused.value).splitlines()] == list(empty)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dim=64", "gpu=cpu", "data=sample", "model=folder", "model.path='a, b'", "model.path=c", "tasks=[STSB,'a b']", "store=null"],
        ["experiment=card", "row=fp16_512", "max_len=${dim}", "dim=7", "scoring.dtype=float32", "scoring={search: reference}"],
        ["gpu.batch_tokens=9", "data=local", "++dim=3"],
        ["dim=7", "++dim=3", "tasks=[STSB]", "++tasks=[TNews]"],
    ],
)
def test_values_set_on_composed_choices_are_what_hydra_composes(overrides: list[str]) -> None:
    with hydra_on_configs():
        expected = compose("config", overrides=overrides)
    found = config._set_values(overrides)
    assert OmegaConf.to_yaml(found) == OmegaConf.to_yaml(expected)
    assert OmegaConf.to_container(found, resolve=True) == OmegaConf.to_container(expected, resolve=True)


def test_a_changed_file_of_configs_counts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(resources.resource_dir("configs"), tmp_path / "configs")
    monkeypatch.setattr(resources, "_BUNDLED", tmp_path)
    file = tmp_path / "configs" / "config.yaml"
    assert compose_config(SAMPLE).max_len == 512
    file.write_text(file.read_text(encoding="utf-8").replace("max_len: 512", "max_len: 300"), encoding="utf-8")
    assert compose_config(SAMPLE).max_len == 300
