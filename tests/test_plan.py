"""Plans against what the runs then do: counted plans to the last token, modelled ones against the known size of the job; and refusals."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from records import run_here
from rich.cells import cell_len
from safetensors.torch import load_file, save_file
from tiny_models import build_model

from harness import api
from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.costs import COSTS
from harness.core.errors import RequestError
from harness.core.spec import ModelSpec
from harness.evaluate.encode.canonical.shapes import BatchShape
from harness.evaluate.encode.model.loading import load_model
from harness.evaluate.encode.model.locate import LocatedModel
from harness.evaluate.encode.model.outline import read_outline
from harness.evaluate.encode.model.tokens import TextTokenizer
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.encode.work import Architecture, Forecast
from harness.evaluate.lengths import fields, modelled_counts
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.plan.values import Plan, RunPlan
from harness.show.plan import plan_document
from harness.show.text import TERMINAL_WIDTH, render_text

BENCHMARK = load_benchmark()
TASKS = ["JDReview", "Ocnli", "STSB"]
ACGE = Architecture.of_bert(24, 1024, 4096, dense=((1024, 1792),))


@pytest.fixture(scope="module")
def basics(tiny_model: Path, tiny_data: Path) -> list[str]:
    """A tiny model, and three tasks that share texts, some of them longer than 8 and 16 tokens."""
    given = ["model=folder", f"model.path={tiny_model}", "model.name=tiny", "data=local", f"data.root={tiny_data}", "data.verify=label"]
    return [*given, "gpu=cpu", "gpu.batch_tokens=64", f"tasks=[{','.join(TASKS)}]", "workers=0", "canary=off"]


Request = Callable[..., list[str]]


@pytest.fixture
def request_of(basics: list[str], tmp_path: Path) -> Request:
    """A function: overrides -> a request on the tiny model with places of this test; later overrides win."""

    def request(*overrides: str) -> list[str]:
        wanted = [*basics, "max_len=32", f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", *overrides]
        return list({text.partition("=")[0]: text for text in wanted}.values())

    return request


def counters(cost: Any) -> dict[str, int]:
    return {key: value for key, value in asdict(cost).items() if not key.endswith("_seconds")}


def plan_one(request: list[str]) -> RunPlan:
    (one,) = make_plan(request).runs
    return one


def states(plan: RunPlan) -> list[str]:
    return [task.state for task in plan.tasks]


@pytest.mark.parametrize("ladder", ["padded", "exact", "packed"])
def test_a_plan_is_what_the_run_then_does_before_and_after_a_part_of_it(request_of: Request, ladder: str) -> None:
    request = request_of(f"gpu.ladder={ladder}")
    first = plan_one(request_of(f"gpu.ladder={ladder}", "tasks=[STSB]"))
    assert first.cost.forwards > 0
    assert counters(first.cost) == counters(run_here(request_of(f"gpu.ladder={ladder}", "tasks=[STSB]")).cost.encoding)

    rest = plan_one(request)
    assert states(rest) == ["open", "open", "done"]
    assert rest.obstacles == ()  # the run adds to its own folder
    assert 0 < rest.tasks[1].stored < rest.tasks[1].texts  # half of Ocnli's texts are STSB's
    assert sum(task.left.tokens for task in rest.tasks) == rest.left.tokens
    assert counters(rest.cost) == counters(run_here(request).cost.encoding)

    after = plan_one(request)
    assert states(after) == ["done"] * 3
    assert (after.cost.flops, after.left.texts, after.seconds, after.vector_bytes) == (0, 0, 0.0, 0)
    assert "nothing is left to encode, nor to score" in render_text(plan_document(Plan(runs=(after,))))


def test_a_lost_record_costs_no_forward_pass_where_there_is_a_store(request_of: Request) -> None:
    folder = run_here(request_of()).folder
    (folder / "STSB.json").unlink()
    (folder / "Ocnli.json").write_text("{", encoding="utf-8")
    plan = plan_one(request_of())
    assert states(plan) == ["done", "open", "open"]
    assert plan.left.texts == 0
    assert plan.cost.found == plan.cost.distinct > 0
    assert counters(plan.cost) == counters(run_here(request_of()).cost.encoding)


@pytest.mark.parametrize("keep", ["on", "off"])
def test_the_runs_of_a_sweep_are_planned_in_the_world_that_those_before_leave(request_of: Request, keep: str, tmp_path: Path) -> None:
    axes = {"max_len": ("16", "8", "32"), "dim": ("24", "48")}
    places = ["store=null"] if keep == "off" else []
    sweep = make_plan(request_of(*places, *(f"{key}={','.join(values)}" for key, values in axes.items())))
    pool = EncoderPool()
    points = product(axes["max_len"], axes["dim"])
    done = [run_here(request_of(*places, f"max_len={length}", f"dim={dim}"), encoders=pool) for length, dim in points]
    assert [planned.cost.forwards for planned in sweep.runs] == [outcome.cost.encoding.forwards for outcome in done]
    assert [planned.cost.flops for planned in sweep.runs] == [outcome.cost.encoding.flops for outcome in done]
    assert [counters(planned.cost) for planned in sweep.runs] == [counters(outcome.cost.encoding) for outcome in done]
    assert sweep.alone_flops > sweep.flops
    if keep == "on":
        assert [planned.cost.flops == 0 for planned in sweep.runs][1::2] == [True] * 3  # another dim is free
        assert sweep.runs[4].cost.flops < sweep.runs[4].alone_flops  # only what 16 tokens cut


def test_a_record_of_another_max_len_is_shared_where_nothing_is_cut(request_of: Request) -> None:
    run_here(request_of("store=null"))
    plan = plan_one(request_of("store=null", "max_len=31"))
    outcome = run_here(request_of("store=null", "max_len=31"))
    assert states(plan) == ["shared"] * 3
    assert counters(plan.cost) == counters(outcome.cost.encoding)


def test_the_sample_is_planned_to_the_last_token(tmp_path: Path) -> None:
    request = ["model=sample", "data=sample", "gpu=cpu", "tasks=[STSB,TNews,T2Retrieval,CMedQAv1]", "canary=off", "workers=0"]
    request += [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", "max_len=256"]
    plan = plan_one(request)
    assert counters(plan.cost) == counters(run_here(request).cost.encoding)
    assert plan.cost.cut > 0


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(root.rglob("*")) if path.is_file()}


def test_a_damaged_store_is_seen_and_left_alone_and_its_vectors_count_as_missing(request_of: Request, tmp_path: Path) -> None:
    folder = run_here(request_of()).folder
    shutil.rmtree(folder)
    shard = next((tmp_path / "store").rglob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    before = snapshot(tmp_path)
    plan = plan_one(request_of())
    assert snapshot(tmp_path) == before
    assert any("damaged" in note for note in plan.notes)
    assert plan.cost.found == 0
    assert counters(plan.cost) == counters(run_here(request_of()).cost.encoding)


def test_a_damaged_setting_of_the_store_is_an_obstacle(request_of: Request, tmp_path: Path) -> None:
    shutil.rmtree(run_here(request_of()).folder)
    next((tmp_path / "store").rglob("setting.json")).write_text("{", encoding="utf-8")
    plan = plan_one(request_of())
    assert any("setting.json is damaged" in text for text in plan.obstacles)


def test_a_plan_writes_nothing(request_of: Request, tmp_path: Path) -> None:
    plan_one(request_of())
    assert list(tmp_path.iterdir()) == []


def test_records_of_another_run_or_of_other_weights_are_not_done(request_of: Request, basics: list[str], tmp_path: Path) -> None:
    folder = run_here(request_of()).folder
    raw = json.loads((folder / "STSB.json").read_text(encoding="utf-8"))
    raw["harness"]["run"] = "0" * 64
    (folder / "STSB.json").write_text(json.dumps(raw), encoding="utf-8")
    assert states(plan_one(request_of())) == ["done", "done", "open"]

    model = Path(next(text for text in basics if text.startswith("model.path=")).partition("=")[2])
    other = tmp_path / "other"
    shutil.copytree(model, other)
    for path in other.rglob("*.safetensors"):
        save_file({name: tensor * 1.5 for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})
    plan = plan_one(request_of(f"model.path={other}"))
    assert states(plan) == ["open"] * 3
    assert plan.cost.found == 0
    assert any("another origin" in text and "overwrite=true" in text for text in plan.obstacles)
    assert plan_one(request_of(f"model.path={other}", "overwrite=true")).obstacles == ()


def test_a_task_without_data_is_named_and_the_others_are_planned(request_of: Request) -> None:
    plan = plan_one(request_of("tasks=[STSB,TNews]"))
    assert {task.task: task.state for task in plan.tasks} == {"TNews": "no data", "STSB": "open"}
    assert any("TNews" in text and "fetch" in text for text in plan.obstacles)
    assert plan.left.texts > 0


def test_everything_wrong_in_a_request_is_reported(request_of: Request, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        make_plan(["dtyp=fp16,fp32", "gpu=a1000", "max_len=x", "model=acg"])
    for part in ("did you mean dtype", "did you mean a100", "max_len=x", "did you mean acge"):
        assert part in str(caught.value)
    with pytest.raises(RequestError) as caught:
        make_plan(["max_len=x,8", "dtype=fp32,fp8"])
    assert "max_len=x" in str(caught.value)
    assert "fp8" in str(caught.value)
    with pytest.raises(RequestError, match="no such folder"):
        make_plan(request_of(f"data.root={tmp_path / 'nowhere'}"))
    with pytest.raises(RequestError, match="at least 3 tokens"):
        make_plan(request_of("max_len=2,8", "dim=24"))


def test_what_the_model_does_not_carry_is_an_obstacle(request_of: Request) -> None:
    plan = plan_one(request_of("max_len=65", "dim=49"))
    assert any("carries 64 tokens" in text for text in plan.obstacles)
    assert any("48 dimensions" in text for text in plan.obstacles)


def test_measured_rates_go_before_expected_ones(request_of: Request) -> None:
    known = ["gpu.tflops.fp32=2", "gpu.efficiency.fp32=0.5"]
    assert plan_one(request_of()).rate.source == "unknown"
    assert plan_one(request_of()).seconds is None
    expected = plan_one(request_of(*known))
    assert (expected.rate.source, expected.rate.flops_per_second) == ("expected", 1e12)
    assert expected.seconds == pytest.approx(expected.cost.flops / 1e12)

    folder = run_here(request_of("tasks=[STSB]")).folder
    (folder / COSTS).write_text(
        '{"encoding": {"flops": 6000000000, "tokens": 900, "encode_seconds": 2}}\n'
        '{"encoding": {"flops": 3000000000, "tokens": 300, "encode_seconds": 1}}\n'
        '{"tasks": ["STSB"], "seconds": {"scoring": 9}}\n{"encod',
        encoding="utf-8",
    )
    measured = plan_one(request_of(*known))
    assert (measured.rate.source, measured.rate.flops_per_second) == ("measured", 3e9)
    assert "400 tokens/s" in measured.rate.about
    assert plan_one(request_of(*known, "dtype=bf16")).rate.source == "unknown"  # of another dtype nothing was measured


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("no_hub")
def test_the_card_is_planned_for_a_gpu_that_is_not_here_from_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """147 and 182 PF of distinct texts (the facts' own model: PERFORMANCE, section 1), and 1.5 runs for three lengths."""
    monkeypatch.chdir(tmp_path)
    sweep = make_plan(["gpu=a100", "dtype=fp16", "max_len=1024,768,512", "dim=1024,1792"])
    long, short = sweep.runs[0], sweep.runs[4]
    assert long.left.flops == pytest.approx(182e15, rel=0.02)
    assert short.alone_flops == pytest.approx(147e15, rel=0.03)
    assert long.rate.flops_per_second == pytest.approx(312e12 * 0.55)
    assert 1.46 < sweep.flops / long.cost.flops < 1.55
    assert sweep.alone_flops / sweep.flops == pytest.approx(3.7, abs=0.2)
    assert [run.cost.flops for run in sweep.runs[1::2]] == [0, 0, 0]
    assert {task.basis for task in long.tasks} == {"modelled"}
    assert any("gpu=a100 is not here" in note for note in long.notes)
    assert any("acge_text_embedding" in text and "cache" in text for text in long.obstacles)
    assert any("35 of 35 tasks" in text and "HF_HUB_OFFLINE" in text for text in long.obstacles)
    assert list(tmp_path.iterdir()) == []
    for text in (render_text(plan_document(sweep)), render_text(plan_document(Plan(runs=(long,))))):
        assert max(map(cell_len, text.splitlines())) <= TERMINAL_WIDTH
    assert json.loads(json.dumps(plan_document(sweep).data(), allow_nan=False))["runs"][1]["flops"] == 0


@pytest.mark.usefixtures("no_hub")
def test_the_page_on_clusters_has_the_figures_of_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """18 runs: three dtypes, of which bf16 costs what fp16 does, and two dimensions, of which the second costs nothing."""
    monkeypatch.chdir(tmp_path)
    sweep = make_plan(["gpu=h100", "dtype=fp32,fp16", "max_len=512,768,1024"])
    fp32, fp16 = (sum(run.seconds or 0 for run in sweep.runs if run.spec.dtype == dtype) / 3600 for dtype in ("fp32", "fp16"))
    hours, flops, alone = fp32 + 2 * fp16, 1.5 * sweep.flops / 1e15, 3 * sweep.alone_flops / 1e15
    page = (Path(__file__).resolve().parent.parent / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert f"| 1 | {hours:.2f} | one sweep, one after the other; {fp32:.2f} of it are fp32 |" in page
    assert f"| 8 | {hours / 8:.2f} |" in page
    assert f"| 64 | {hours / 64:.2f}, under {math.ceil(60 * hours / 64)} minutes |" in page
    assert f"the runs take {flops:,.0f} PFLOP, because they share vectors. Each by itself they take {alone:,.0f}." in page


@pytest.mark.usefixtures("no_hub")
def test_without_the_tokenizer_local_data_is_estimated_from_its_characters(request_of: Request) -> None:
    counted = plan_one(request_of())
    request = [text for text in request_of("model=acge", "gpu=a100") if not text.startswith(("model.path", "model.name"))]
    plan = plan_one(request)
    assert {task.basis for task in plan.tasks} == {"characters"}
    assert plan.cost.distinct == counted.cost.distinct
    assert plan.cost.real_tokens == pytest.approx(counted.cost.real_tokens, rel=0.15)
    assert any("estimated from characters" in note for note in plan.notes)


@pytest.mark.usefixtures("no_hub")
def test_experiment_card_is_a_sweep_of_the_cards_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["plan", "experiment=card", "gpu=a10,a100", f"results_dir={tmp_path}", "tasks=[STS]", "--format", "json"]) == 0
    message = json.loads(capsys.readouterr().out)
    assert len(message["runs"]) == 10
    assert {(run["gpu"], run["dtype"], run["max_len"]) for run in message["runs"]} >= {("a10", "bf16", 1024), ("a100", "fp16", 512)}
    assert message["seconds"] == pytest.approx(sum(run["seconds"] for run in message["runs"]))
    assert main(["plan", "experiment=card", "nonsense=1"]) == 2


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "xlm-roberta"])
def test_an_outline_says_what_loading_the_model_says(kind: str, tmp_path: Path) -> None:
    folder = build_model(tmp_path, model_type=kind, pooling="cls", dense=None if kind == "electra" else 48)
    spec = ModelSpec(name=kind, path=str(folder))
    located = LocatedModel(name=kind, folder=folder, source="path", repository=None, commit=None)
    outline, model = read_outline(located, spec), load_model(located, spec, dtype="fp32", device=torch.device("cpu"))
    assert TextTokenizer(outline.tokenizer, 16).digest == TextTokenizer(model.tokenizer, 16).digest
    for field in ("weights", "module_files", "max_positions", "embedding_dim", "architecture"):
        assert getattr(outline, field) == getattr(model, field), field


def test_flop_by_hand() -> None:
    per_token = ACGE.text_flops(np.array([1000]))[0] / 1000
    assert per_token == pytest.approx(604e6 + 98.3e3 * 1000, rel=1e-3)  # the Dense layer adds 3.7 M a text
    small = Architecture.of_bert(2, 4, 8, dense=((4, 6),))
    # 2 layers x (4 x 4 x 4 + 2 x 4 x 8) weights x 2, for 3 tokens; 4 x 2 x 4 for 9 pairs; 2 x 4 x 6
    assert small.text_flops(np.array([3])).tolist() == [3 * 512 + 9 * 32 + 48]
    assert small.batch_flops(BatchShape(rows=5, length=3, masked=False)) == 5 * (3 * 512 + 9 * 32 + 48)


def test_a_forecast_is_exact_for_what_was_read_and_a_proportion_of_the_rest() -> None:
    flat = Architecture(weights=4, attended=1)  # 8 a token, 4 a pair
    shape = BatchShape(rows=2, length=2, masked=False)
    forecast = Forecast(flat, np.array([0, 0, 0, 0]), max_len=10)  # every text is guessed to have 2 tokens: 32 FLOP
    forecast.read(2)
    assert forecast.planned == 0  # both were in the store, and so, it seems, is the rest
    forecast.add(shape)
    assert forecast.planned == 64 + 32  # a batch with a dummy row; one of two texts must run, so one of the next two
    forecast.add(shape)
    assert forecast.planned == 64 + 64
    forecast.read(4)
    assert forecast.planned == 64


@pytest.mark.usefixtures("no_hub")
def test_weights_that_the_device_has_not_the_memory_for_are_an_obstacle(tmp_path: Path) -> None:
    request = ["gpu=a10", "data=sample", "tasks=[STSB]", "model.parameters=8000000000", f"results_dir={tmp_path}", "dtype=fp32,bf16"]
    full, half = make_plan(request).runs
    weights = "memory: the weights of acge_text_embedding take 29.8 GiB in fp32, a10 has 21"
    assert f"{weights}: use a smaller dtype, or another gpu=" in full.obstacles
    assert not any(text.startswith("memory") for text in half.obstacles)


@pytest.mark.usefixtures("no_hub")
def test_a_model_of_the_registry_is_priced_before_it_is_downloaded(tmp_path: Path) -> None:
    asked = ["model=Qwen3-Embedding-8B", "gpu=a10", "dtype=bf16", "max_len=512", "data=sample", "tasks=[STSB]", f"results_dir={tmp_path}"]
    plan = plan_one(asked)
    weights = plan.cost.flops / plan.cost.tokens / 2
    assert 6.8e9 < weights < 7e9  # 36 layers of 4096 and 12288: 6.95 G numbers without the table of tokens
    assert plan.parameters == pytest.approx(7.57e9, rel=0.01)
    assert any("2 per parameter and token" in note for note in plan.notes)
    assert any("Qwen3-Embedding-8B" in text and "cache" in text for text in plan.obstacles)


def test_modelled_lengths_keep_the_known_figures() -> None:
    (corpus, queries) = fields(BENCHMARK.task("T2Retrieval"))
    assert (corpus.texts, corpus.distinct, corpus.longest) == (118605, 118605, 42956)
    assert queries.mean == pytest.approx(249537 / 22812)
    tokens = corpus.tokens(np.random.default_rng(0))
    assert len(tokens) == 118605
    assert tokens.mean() == pytest.approx(0.88 * corpus.mean, rel=0.05)
    assert (np.minimum(tokens, 512) == 512).mean() == pytest.approx(0.42, abs=0.08)  # more than a third is cut
    train = next(field for field in fields(BENCHMARK.task("Waimai")) if field.name == "train.text")
    assert train.texts == 10 * 2 * 32
    assert train.distinct <= train.texts
    assert (modelled_counts(BENCHMARK.task("STSB")) == modelled_counts(BENCHMARK.task("STSB"))).all()


def test_a_run_for_another_device_says_first_what_its_batches_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As many tokens as the run then counts."""
    asked = ["model=sample", "data=sample", "tasks=STSB", "gpu=a100", "gpu.mismatch=warn", "gpu.ladder=exact", "gpu.batch_tokens=4096"]
    places = ["store=null", "workers=0", "canary=off", f"results_dir={tmp_path}"]
    assert main(["run", *asked, *places, "--quiet", "--format", "json"]) == 0
    shown = capsys.readouterr()
    (path,) = tmp_path.glob(f"*/*/{COSTS}")
    cost = json.loads(path.read_text(encoding="utf-8").splitlines()[-1])["run"]["encoding"]
    assert cost["tokens"] > 2 * cost["real_tokens"]
    assert f"its batches put {cost['tokens'] / cost['real_tokens']:.1f} times as many tokens through the model" in shown.err
    assert "gpu=a100 is not here (this is CPU" in shown.err
    said = shown.err.splitlines()[0]
    elsewhere = [*asked, "store=null", "workers=0", "canary=off"]
    assert main(["sweep", *elsewhere, f"results_dir={tmp_path / 'sweep'}", "max_len=64,128", "--quiet"]) == 0
    assert sum("gpu=a100 is not here (this is CPU" in line for line in capsys.readouterr().err.splitlines()) == 1  # the other shares it
    with pytest.warns(UserWarning, match=re.escape(said)):
        api.run(*elsewhere, f"results_dir={tmp_path / 'api'}")
