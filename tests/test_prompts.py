"""Prompts as data: what goes before which text, by the model or a file; in a run's identity, its records, its plan and its table."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from mteb2 import mteb2  # noqa: F401 a fixture
from records import run_here
from sentence_transformers import SentenceTransformer

from harness.core.benchmarks import load_benchmark
from harness.core.errors import RequestError
from harness.core.prompts import PromptTable, RolePrompts, TaskPrompts, named_prompts, prompts_from
from harness.core.resources import SAMPLE_DIR
from harness.core.run_files import read_run
from harness.core.spec import RunSpec
from harness.evaluate.encode.model.locate import LocatedModel
from harness.evaluate.encode.model.own import read_own_settings
from harness.evaluate.here import resolve_here
from harness.evaluate.plan.planning import make_plan

BENCHMARK = load_benchmark()
SEARCHED = ("query", "passage")
QWEN = PromptTable(template="Instruct: {instruction}\nQuery:", passage="", tasks={"T2Retrieval": "找网页", "STS": "相似"})


def of(table: PromptTable, name: str) -> TaskPrompts:
    return table.of(BENCHMARK.task(name))


def test_instructions_go_into_the_template_before_queries_and_texts_and_not_before_passages() -> None:
    assert of(QWEN, "T2Retrieval") == TaskPrompts(query="Instruct: 找网页\nQuery:")
    assert of(QWEN, "STSB") == TaskPrompts(text="Instruct: 相似\nQuery:")
    assert of(QWEN, "TNews") == TaskPrompts()
    both = PromptTable(template="[{instruction}] ", passages=True, tasks={"Reranking": "排序"})
    assert of(both, "T2Reranking") == TaskPrompts(query="[排序] ", passage="[排序] ")


def test_literal_prompts_count_by_task_then_type_then_role() -> None:
    table = PromptTable(query="q: ", passage="p: ", text="t: ", tasks={"Retrieval": RolePrompts(query="R: "), "STSB": RolePrompts(text="")})
    assert of(table, "DuRetrieval") == TaskPrompts(query="R: ", passage="p: ")
    assert of(table, "T2Reranking") == TaskPrompts(query="q: ", passage="p: ")
    assert (of(table, "STSB"), of(table, "LCQMC")) == (TaskPrompts(), TaskPrompts(text="t: "))


@pytest.mark.parametrize(
    ("prompts", "default", "task", "expected"),
    [
        ({"query": "q", "document": "d"}, None, "DuRetrieval", TaskPrompts(query="q", passage="d")),
        ({"query": "q", "document": "d"}, None, "STSB", TaskPrompts()),
        ({"query": "q", "passage": "p"}, "query", "STSB", TaskPrompts(text="q")),
        ({"query": "q", "passage": "p"}, None, "DuRetrieval", TaskPrompts(query="q")),
        ({"query": "q", "corpus": "c"}, None, "DuRetrieval", TaskPrompts(query="q")),
        ({"query": "q", "d": "d"}, "d", "DuRetrieval", TaskPrompts(query="q")),
        ({"d": "d"}, "d", "DuRetrieval", TaskPrompts()),
        ({"query": "q", "DuRetrieval": ""}, None, "DuRetrieval", TaskPrompts()),
        ({"query": "q", "DuRetrieval-query": "", "Retrieval": "R"}, None, "DuRetrieval", TaskPrompts(passage="R")),
        ({"query": "q", "Retrieval-query": "", "document": "d"}, None, "DuRetrieval", TaskPrompts(passage="d")),
        ({"STS": "", "d": "d"}, "d", "STSB", TaskPrompts()),
        ({"STS": "", "STSB": "s", "d": "d"}, "d", "STSB", TaskPrompts(text="s")),
        ({"CMedQAv2": "old", "CMedQAv2-query": "old", "query": "q"}, None, "CMedQAv2", TaskPrompts(query="q")),
        ({"CMedQAv2-reranking": "new", "query": "q"}, None, "CMedQAv2", TaskPrompts(query="new", passage="new")),
        ({"CMedQAv2-reranking-document": "new", "query": "q"}, None, "CMedQAv2", TaskPrompts(query="q", passage="new")),
        ({"DuRetrieval-query": "own", "DuRetrieval": "both", "query": "q"}, None, "DuRetrieval", TaskPrompts(query="own", passage="both")),
        ({"DuRetrieval": "both", "DuRetrieval-query": "own"}, None, "DuRetrieval", TaskPrompts(query="own", passage="both")),
        ({"STS": "similar"}, None, "LCQMC", TaskPrompts(text="similar")),
        ({"Retrieval-document": "d", "query": "q"}, None, "DuRetrieval", TaskPrompts(query="q", passage="d")),
    ],
)
def test_a_models_own_prompts_are_found_as_mteb_2_finds_them(
    prompts: dict[str, str], default: str | None, task: str, expected: TaskPrompts
) -> None:
    assert of(named_prompts(prompts, default), task) == expected


ASKED = {"DuRetrieval": SEARCHED, "T2Reranking": SEARCHED, "CMedQAv2": SEARCHED, "STSB": ("text",), "TNews": ("text",)}
NAMES = [
    *("query", "document", "passage", "corpus", "d", "s2p_query", "Retrieval", "Reranking", "STS", "Classification", "Clustering"),
    *("Retrieval-query", "Retrieval-document", "Retrieval-passage", "Reranking-query", "STS-query", "DuRetrieval", "DuRetrieval-query"),
    *("DuRetrieval-document", "T2Reranking", "T2Reranking-document", "CMedQAv2", "CMedQAv2-query", "CMedQAv2-reranking"),
    *("CMedQAv2-reranking-query", "STSB", "STSB-query", "STSB-document", "TNews", "query-query"),
]


def tables(count: int) -> list[dict[str, Any]]:
    """Prompts as folders have them, by chance: some empty, some null, a default among them or none."""
    draw = random.Random(26)
    found = []
    for _ in range(count):
        names = draw.sample(NAMES, draw.randrange(1, 9))
        prompts = {name: draw.choice([f"{name}: ", f"{name}: ", "", None]) for name in names}
        found.append({"prompts": prompts, "default_prompt_name": draw.choice([None, *names])})
    return found


def own_table(folder: Path, table: dict[str, Any]) -> PromptTable:
    (folder / "config_sentence_transformers.json").write_text(json.dumps(table), encoding="utf-8")
    return read_own_settings(LocatedModel(name="m", folder=folder, source="path", repository=None, commit=None)).table


@pytest.mark.slow
def test_a_models_own_prompts_are_those_that_mteb_2_and_sentence_transformers_use(mteb2: tuple[Path, float], model: Path) -> None:  # noqa: F811
    drawn, names = tables(150), {BENCHMARK.task(name).mteb2_name: roles for name, roles in ASKED.items()}
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    command = [str(mteb2[0]), "-W", "ignore", str(Path(__file__).parent / "oracle_prompts.py"), str(model)]
    question = json.dumps({"tables": drawn, "tasks": names})
    done = subprocess.run(command, input=question, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    ours = []
    for table in drawn:
        own = own_table(model, table)
        ours.append(
            {BENCHMARK.task(name).mteb2_name: {role: getattr(of(own, name), role) for role in roles} for name, roles in ASKED.items()}
        )
    assert ours == theirs


@pytest.mark.parametrize("number", range(12))
def test_prompts_of_roles_are_those_of_sentence_transformers(number: int, model: Path) -> None:
    (table,) = tables(number + 1)[number:]
    table["prompts"] = {name: prompt for name, prompt in table["prompts"].items() if name in NAMES[:6]}
    if table["default_prompt_name"] not in table["prompts"]:
        table["default_prompt_name"] = None
    own, chain, seen = own_table(model, table), SentenceTransformer(str(model), device="cpu"), []
    chain._inference = lambda inputs, *, prompt, **_: seen.append(prompt) or torch.zeros(len(inputs), 4)  # type: ignore[method-assign, assignment]
    for encode in (chain.encode_query, chain.encode_document, chain.encode):
        encode(["x"])
    assert [of(own, "DuRetrieval").query, of(own, "DuRetrieval").passage, of(own, "STSB").text] == [prompt or "" for prompt in seen]


def test_a_prompt_of_passages_that_is_not_reached_is_told_with_what_to_do(tmp_path: Path, model: Path) -> None:
    (model / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "Q: ", "passage": "P: "}}), encoding="utf-8")
    found, _ = run(request(tmp_path, model, "prompts=model", "canary=off"))
    assert found.records["EcomRetrieval"].made.prompts == {"query": "Q: "}
    (note,) = [note for note in found.header.notes if "before no passage" in note]
    assert "prompt passage 'P: '" in note
    assert "prompts=FILE.yaml, with the line passage: TEXT" in note
    (plan,) = make_plan(request(tmp_path, model, "prompts=model")).runs
    assert note in plan.notes
    file = tmp_path / "own.yaml"
    file.write_text("query: 'Q: '\npassage: 'P: '\n", encoding="utf-8")
    run_of_file, _ = run(request(tmp_path, model, f"prompts={file}", "canary=off"))
    assert run_of_file.records["EcomRetrieval"].made.prompts == {"query": "Q: ", "passage": "P: "}
    assert not any("before no passage" in note for note in run_of_file.header.notes)
    (model / "config_sentence_transformers.json").write_text(
        json.dumps({"prompts": {"document": "D: ", "passage": "P: "}}), encoding="utf-8"
    )
    (plan,) = make_plan(request(tmp_path, model, "prompts=model")).runs
    assert not any("before no passage" in note for note in plan.notes)


def test_a_folder_of_empty_prompts_has_none_to_use_and_none_to_miss(tmp_path: Path, model: Path) -> None:
    values = {"prompts": {"query": "", "document": None}, "default_prompt_name": "query"}
    (model / "config_sentence_transformers.json").write_text(json.dumps(values), encoding="utf-8")
    plain, _ = run(request(tmp_path, model, "canary=off"))
    assert not any("prompts" in note for note in plain.header.notes)
    with pytest.raises(RequestError, match="have no prompts"):
        run(request(tmp_path, model, "prompts=model"))


def test_a_file_is_read_and_a_wrong_one_is_named_with_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "提示, [1].yaml"
    path.write_text('template: "Instruct: {instruction}\\nQuery: "\ntasks: {STS: "a, [b] (c)=中文"}\n', encoding="utf-8")
    table = prompts_from(str(path)).table
    assert table is not None
    assert of(table, "STSB").text == "Instruct: a, [b] (c)=中文\nQuery: "
    for text, wrong in [
        ("templat: x", "did you mean template"),
        ("template: x", r"no \{instruction\}"),
        ("query: 3", "query"),
        ("[1]", "list"),
    ]:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(RequestError, match=f"is no table of prompts.*{wrong}"):
            prompts_from(str(path))
    with pytest.raises(RequestError, match=r"prompts=nowhere: .*prompts=none"):
        prompts_from("nowhere")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The sample model with prompts of its own and a max_seq_length of 64."""
    folder = tmp_path / "instructed"
    shutil.copytree(SAMPLE_DIR / "model", folder)
    values = {"prompts": {"query": "Instruct: find\nQuery: ", "document": ""}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64}', encoding="utf-8")
    return folder


def request(tmp_path: Path, model: Path, *overrides: str) -> list[str]:
    places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}"]
    return ["model=folder", f"model.path={model}", "data=sample", "gpu=cpu", "tasks=[EcomRetrieval]", "max_len=128", *places, *overrides]


def spec_of(request: list[str]) -> RunSpec:
    return resolve_here(request, "cpu")[0]


def run(request: list[str]):
    outcome = run_here(request)
    assert outcome.failed == {}
    return read_run(outcome.folder, BENCHMARK), outcome


def test_a_run_uses_the_prompts_it_was_asked_for_and_says_where_it_uses_none(tmp_path: Path, model: Path) -> None:
    plain, first = run(request(tmp_path, model, "canary=off"))
    assert any("prompts that are not used: query 'Instruct: find\\nQuery: '. prompts=model" in note for note in plain.header.notes)
    assert any("max_seq_length is 64, this run takes max_len=128" in note for note in plain.header.notes)
    assert plain.manifest.own_settings["prompts"] == {"query": "Instruct: find\nQuery: ", "document": ""}
    assert plain.manifest.own_settings["max_seq_length"] == 64
    assert plain.records["EcomRetrieval"].made.prompts == {}

    own, second = run(request(tmp_path, model, "prompts=model"))
    assert own.records["EcomRetrieval"].made.prompts == {"query": "Instruct: find\nQuery: "}
    assert any(note.startswith("prompts of the model: query 'Instruct: find") for note in own.header.notes)
    assert first.folder != second.folder
    assert 0 < second.cost.encoding.found < second.cost.encoding.distinct  # passages are in the store, queries are other texts

    file = tmp_path / "own.yaml"
    file.write_text('query: "Instruct: find\\nQuery: "\n', encoding="utf-8")
    same, third = run(request(tmp_path, model, f"prompts={file}"))
    assert same.records["EcomRetrieval"].metrics == own.records["EcomRetrieval"].metrics
    assert third.cost.encoding.forwards == 0
    (plan,) = make_plan(request(tmp_path, model, "prompts=model")).runs
    assert plan.tasks[0].state == "done"
    assert any(note.startswith("prompts of the model") for note in plan.notes)


def test_prompts_are_in_the_identity_and_their_absence_is_not(tmp_path: Path, model: Path) -> None:
    unset, none, own = (spec_of(request(tmp_path, model, *words)) for words in ([], ["prompts=none"], ["prompts=model"]))
    assert "prompts" not in unset.identity()
    assert unset.digest == none.digest != own.digest


def test_a_default_prompt_is_never_left_out_in_silence(tmp_path: Path, model: Path) -> None:
    values = {"prompts": {"query": "为这个句子生成表示："}, "default_prompt_name": "query"}
    (model / "config_sentence_transformers.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    with pytest.raises(RequestError, match=r"default prompt '为这个句子生成表示：'.*prompts=model.*prompts=none"):
        run(request(tmp_path, model))
    (plan,) = make_plan(request(tmp_path, model)).runs
    assert any("default prompt" in text for text in plan.obstacles)
    _, outcome = run(request(tmp_path, model, "prompts=none"))  # the canary compares without the prompt, too
    assert outcome.computed == ("EcomRetrieval",)


def test_a_model_without_prompts_has_none_to_use(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="have no prompts"):
        run(request(tmp_path, SAMPLE_DIR / "model", "prompts=model", "model.name=sample"))


def test_a_task_that_a_file_misspells_is_named(tmp_path: Path) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text("tasks: {T2Retreival: find, STS: {text: x}, CMedQAv2-reranking: y, EcomRetrieval: z}\n", encoding="utf-8")
    with pytest.raises(RequestError, match="prompts: unknown task or task type 'T2Retreival': did you mean T2Retrieval") as caught:
        spec_of(request(tmp_path, SAMPLE_DIR / "model", f"prompts={file}"))
    assert str(caught.value).count("unknown task") == 1


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("tasks: {STS: {query: x}}", (), "prompts: STS has no text for query, its roles are: text"),
        ("tasks: {CMedQAv2-reranking: {query: x, text: y}}", (), "CMedQAv2-reranking has no text for text, its roles are: query, passage"),
        ("query: x", ("model.query_instruction=y",), "model.query_instruction goes before nothing beside prompts="),
    ],
)
def test_a_prompt_that_goes_before_no_text_is_refused(tmp_path: Path, text: str, more: tuple[str, ...], message: str) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        spec_of(request(tmp_path, SAMPLE_DIR / "model", f"prompts={file}", *more))


@pytest.mark.parametrize("kind", ["canonical", "reference"])
def test_a_models_own_dimensions_are_said_and_dim_takes_them(kind: str, tmp_path: Path, model: Path) -> None:
    words = ["prompts=none", f"model.kind={kind}", "tasks=[STSB]"]
    plain, _ = run(request(tmp_path, model, "dim=16", "model.name=plain", *words))
    path = model / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncate_dim": 16}), encoding="utf-8")
    whole, _ = run(request(tmp_path, model, *words))
    assert whole.manifest.own_settings["truncate_dim"] == 16
    assert "the model's own truncate_dim is 16, this run takes all dimensions: dim=16 cuts" in whole.header.notes
    assert whole.header.dim > 16
    cut, _ = run(request(tmp_path, model, "dim=16", *words))
    assert not any("truncate_dim" in note for note in cut.header.notes)
    assert cut.records["STSB"].metrics == plain.records["STSB"].metrics != whole.records["STSB"].metrics


@pytest.mark.parametrize("place", ["1_Pooling", "pooling"])
@pytest.mark.parametrize("kind", ["canonical", "reference"])
def test_a_pooling_that_leaves_prompts_out_runs_without_prompts_alone(kind: str, place: str, tmp_path: Path, model: Path) -> None:
    modules = json.loads((model / "modules.json").read_text())
    (pooling,) = (module for module in modules if module["type"].endswith("Pooling"))
    path = (model / pooling["path"]).rename(model / place) / "config.json"
    pooling["path"] = place
    (model / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    path.write_text(json.dumps({**json.loads(path.read_text()), "include_prompt": False}), encoding="utf-8")
    with pytest.raises(RequestError, match=r"leaves the tokens of a prompt out.*prompts=none"):
        run(request(tmp_path, model, "prompts=model", f"model.kind={kind}"))
    (plan,) = make_plan(request(tmp_path, model, "prompts=model", f"model.kind={kind}")).runs
    assert any("leaves the tokens of a prompt out" in text for text in plan.obstacles)
    _, outcome = run(request(tmp_path, model, "prompts=none", f"model.kind={kind}"))
    assert outcome.computed == ("EcomRetrieval",)
