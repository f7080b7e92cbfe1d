"""Write `configs/models.json`, the registry of models, from the metadata of the package mteb 2.26.24 (Apache-2.0).

Run by a Python that has mteb 2.26.24 on top of this one's packages, from the root of the checkout:

    PYTHONPATH=. PYTHON_WITH_MTEB2 scripts/registry.py [FILE]

Taken are the text models that mteb says know Chinese and that it runs by one of its general wrappers: revision, parameters, dimensions,
tokens, licence. Their prompts are those that mteb's own wrapper hands to sentence-transformers for each task, which is replaced here
by a recorder, so no model is needed; they are kept as a template with instructions where they have that form. mteb does not say of what
architecture a model is: it is read from `adapted_from` and, where that says nothing, from ARCHITECTURES below. So `kind` is what is
expected;
what a folder holds decides when it is loaded.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mteb
import sentence_transformers
from mteb.models.model_implementations import MODEL_REGISTRY
from mteb.types import PromptType

from harness.core.benchmarks import load_benchmark
from harness.core.prompts import PromptTable, RolePrompts
from harness.core.tasks import TaskSpec
from harness.core.typed import plain

VERSION = "2.26.24"
OUT = Path(__file__).resolve().parent.parent / "configs" / "models.json"
WRAPPERS = ("CrossEncoderWrapper", "InstructSentenceTransformerModel", "SentenceTransformerEncoderWrapper", "q3e_instruct_loader")
WRAPPERS += ("sentence_transformers_loader",)
ELSEWHERE = (
    "nvidia/Nemotron-3.5",
    "nvidia/llama-nemotron",
    "laion/",
    "hotchpotch/bekko-static",
)  # image or audio models, or none of Chinese

ARCHITECTURES = (
    (r"Qwen3\.5", "qwen3_5"),
    (r"Qwen3|Diver|Octen|F2LLM-v2|MoD-Embedding|litil|octen-law|greenleaf", "qwen3"),
    (r"Qwen2|KaLM|QZhou|C2LLM|mxbai-rerank|inf-retriever|sante", "qwen2"),
    (r"bloom", "bloom"),
    (r"static|potion", "static"),
    (r"gemma-3|embeddinggemma|Tarka-Embedding-150M", "gemma3_text"),
    (r"gemma2", "gemma2"),
    (r"Ministral|Nemotron-3", "ministral3"),
    (r"ModernBert|mmbert|granite-embedding-\w+-multilingual-r2", "modernbert"),
    (r"mpnet", "xlm-roberta"),
    (r"bge-m3|xlm-roberta|multilingual-e5-(base|large)|arctic-embed-l|granite-embedding", "xlm-roberta"),
    (
        r"AfriE5|LaBSE|MiniLM|multilingual-e5-small|-zh|zh-|m3e|XYZ|Yinka|xiaobu|Conan-embedding-v1|chinese|zpoint|ritrieve|base-multilingual",
        "bert",
    ),
)
"""By name: mteb's metadata does not have the architecture."""

Prefixes = Mapping[tuple[str, str], str]
"""(task, role) -> what mteb puts before the text."""


class Recorder:
    """Stands in for a SentenceTransformer, and keeps the prompt of the last call and the texts that its tokenizer would get."""

    prompts: Mapping[str, str] = {}
    max_seq_length = None
    tokenizer = None

    def __init__(self, *_: Any, **__: Any) -> None:
        self.prompt: str | None = None
        self.sent: list[str] = []

    def encode(self, sentences: list[str], *, prompt: str | None = None, **_: Any) -> list[list[float]]:
        self.prompt, self.sent = prompt, [f"{prompt or ''}{sentence}" for sentence in sentences]
        return [[0.0] for _ in sentences]

    encode_query = encode_document = encode

    def _first_module(self) -> Any:
        return type("Module", (), {"auto_model": type("Model", (), {"config": type("Config", (), {"_attn_implementation": "sdpa"})})})

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Inputs(list):
    """One batch of one text, as mteb hands it to a wrapper."""

    dataset = type("Dataset", (), {"features": {"text": None}})


def main(out: Path = OUT) -> None:
    if mteb.__version__ != VERSION:
        sys.exit(f"this Python has mteb {mteb.__version__}: run with one that has {VERSION}")
    sentence_transformers.SentenceTransformer = Recorder
    tasks = {task.mteb2_name: task for task in load_benchmark().tasks}
    tables: dict[str, str] = {}
    models = []
    for meta in sorted((meta for meta in MODEL_REGISTRY.values() if is_wanted(meta)), key=lambda meta: meta.name.lower()):
        table = table_of(prefixes_of(meta, tasks), meta, tasks)
        name = tables.setdefault(json.dumps(table, sort_keys=True), meta.name) if table else None
        models.append(entry(meta, name))
    sets = {name: json.loads(text) for text, name in tables.items()}
    write(out, models, sets)
    print(f"{out}: {len(models)} models, {len(sets)} tables of prompts")


def is_wanted(meta: Any) -> bool:
    chinese = any(str(language).startswith(("zho", "cmn")) for language in meta.languages or ())
    text = meta.modalities == ["text"] and getattr(meta.loader, "__name__", "") in WRAPPERS
    return bool(chinese and text and not meta.name.startswith(ELSEWHERE))


def entry(meta: Any, prompts: str | None) -> dict[str, Any]:
    name, adapted = meta.name, meta.adapted_from
    adapted = ", ".join(adapted) if isinstance(adapted, list) else adapted
    arguments = meta.loader_kwargs
    remote = bool(arguments.get("trust_remote_code"))
    architecture = next(
        (
            known
            for text in (name if re.search("static|potion", name) else adapted or "", name)
            for pattern, known in ARCHITECTURES
            if re.search(pattern, text)
        ),
        None,
    )
    dims = meta.embed_dim if isinstance(meta.embed_dim, list) else [meta.embed_dim] if meta.embed_dim else []
    kind = "canonical"
    if meta.loader.__name__ == "CrossEncoderWrapper":
        kind = "reranker"
    elif remote or architecture in (None, "bloom", "static") or name.endswith("INT8"):
        kind = "reference"
    return {
        "name": name,
        "revision": meta.revision,
        "kind": kind,
        "architecture": architecture,
        "remote_code": remote,
        "add_eos_token": bool(arguments.get("add_eos_token")),
        "parameters": meta.n_parameters,
        "embedding_parameters": meta.n_embedding_parameters,
        "dims": sorted(dims, reverse=True),
        "max_tokens": int(meta.max_tokens) if meta.max_tokens and meta.max_tokens < 2**40 else None,
        "max_len": arguments.get("max_seq_length"),
        "instructed": meta.use_instructions,
        "prompts": prompts,
        "licence": meta.license,
        "released": meta.release_date and str(meta.release_date),
        "adapted_from": adapted,
    }


def prefixes_of(meta: Any, tasks: Mapping[str, TaskSpec]) -> Prefixes | None:
    """What the wrapper that mteb loads for the model puts before the texts; None where that is left to the model's own folder."""
    if meta.loader.__name__ == "CrossEncoderWrapper":
        return None
    if (
        meta.loader.__name__ in ("SentenceTransformerEncoderWrapper", "sentence_transformers_loader")
        and "model_prompts" not in meta.loader_kwargs
    ):
        return None
    wrapper = meta.loader(meta.name, revision=meta.revision, **meta.loader_kwargs)
    wrapper.mteb_model_meta = meta
    found = {}
    for name, task in tasks.items():
        metadata = mteb.get_task(name).metadata
        searched = task.type in ("Retrieval", "Reranking")
        roles = {"query": PromptType.query, "passage": PromptType.document} if searched else {"text": None}
        for role, kind in roles.items():
            wrapper.encode(Inputs([{"text": ["x"]}]), task_metadata=metadata, hf_split="test", hf_subset="default", prompt_type=kind)
            found[name, role] = wrapper.model.prompt or ""
    return found


def table_of(prefixes: Prefixes | None, meta: Any, tasks: Mapping[str, TaskSpec]) -> dict[str, Any] | None:
    """The table that gives the prefixes, in the shortest form that does."""
    if prefixes is None:
        return None
    general = {role: {prefixes[key] for key in prefixes if key[1] == role} for role in ("query", "passage", "text")}
    if all(len(values) == 1 for values in general.values()):
        table = PromptTable(**{role: values.pop() for role, values in general.items()})
    else:
        template = template_of(meta)
        before, _, after = template.partition("{instruction}")
        passage = general["passage"].pop() if len(general["passage"]) == 1 else ""
        entries: dict[str, str | RolePrompts] = {}
        for name, task in tasks.items():
            own = {role: prefixes[name, role] for role in ("query", "passage", "text") if (name, role) in prefixes}
            main = own.get("query", own.get("text", ""))
            templated = main.startswith(before) and main.endswith(after) and len(main) > len(template) - len("{instruction}")
            if templated and own.get("passage", passage) == passage:
                entries[name] = main[len(before) : len(main) - len(after)]
            elif any(own.values()) or passage:
                entries[name] = RolePrompts(**own)
            assert task.mteb2_name == name
        table = PromptTable(template=template, passage=passage, tasks=entries)
    for (name, role), expected in prefixes.items():
        found = getattr(table.of(tasks[name]), role)
        assert found == expected, (meta.name, name, role, found, expected)
    values = {key: value for key, value in plain(table).items() if value != getattr(PromptTable(), key)}
    tasks_of = {
        name: value if isinstance(value, str) else {k: v for k, v in value.items() if v is not None}
        for name, value in values.pop("tasks", {}).items()
    }
    return values | ({"tasks": tasks_of} if tasks_of else {})


def template_of(meta: Any) -> str:
    template = meta.loader_kwargs.get("instruction_template")
    if meta.loader.__name__ == "q3e_instruct_loader":
        from mteb.models.model_implementations.qwen3_models import instruction_template as template
    return template("{instruction}", None) if callable(template) else template or "{instruction}"


def write(out: Path, models: list[dict[str, Any]], sets: Mapping[str, Any]) -> None:
    """A line per model and per instruction, so that a change is seen."""
    about = {
        "about": "Text models that know Chinese, with the prompts their makers run them with: made by scripts/registry.py, not by hand",
        "source": {"package": "mteb", "version": VERSION, "licence": "Apache-2.0", "where": "https://github.com/embeddings-benchmark/mteb"},
    }
    body = json.dumps(about, ensure_ascii=False, indent=1)[:-2]
    lines = ",\n".join(f"  {json.dumps(model, ensure_ascii=False)}" for model in models)
    prompts = json.dumps(sets, ensure_ascii=False, indent=1).replace("\n", "\n ")
    out.write_text(f'{body},\n "prompts": {prompts},\n "models": [\n{lines}\n ]\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
