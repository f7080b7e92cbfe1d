"""The models that can be named, and which kind of encoder runs each."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from harness.core.errors import RequestError
from harness.core.registry import RegistryModel, registry, unknown_model
from harness.show.form import Block, Document, Sentences, grid, table_columns

_COLUMNS = table_columns("Model", "Kind", "Architecture", "Parameters", "Dim", "Tokens", "Prompts", "Code", "Revision")


def models_document(word: str | None, own: Sequence[str]) -> Document:
    """The models of the registry that have the word in their name, all without one; `own`: names of files of `configs/model/`.

    Raises:
        RequestError: no model has it.
    """
    known = registry()
    models = known.like(word) if word else list(known.models)
    mine = [name for name in own if not word or word.lower() in name.lower()]
    if not models and not mine:
        raise RequestError(unknown_model(word or "", list(own)))
    return Document(
        blocks=lambda: _blocks(models, mine),
        data=lambda: {
            "source": dict(known.source),
            "own": mine,
            "models": [asdict(model) | {"prompts": asdict(table) if (table := known.table(model)) else None} for model in models],
        },
    )


def _blocks(models: Sequence[RegistryModel], own: Sequence[str]) -> Iterator[Block]:
    if own:
        yield Sentences((f"of configs/model/: {', '.join(own)}",))
    if models:
        yield grid(_COLUMNS, map(_row, models))
    source = registry().source
    lines = [
        "Run one by its name, with or without the owner: python -m harness run model=bge-large-zh-v1.5",
        f"Revisions, sizes and prompts are those of {source['package']} {source['version']} ({source['licence']}).",
        "Kind is the encoder that is expected to fit; the model's files decide.",
        "Prompts: task, an instruction per task; role, one for queries or passages; own, what its folder has.",
    ]
    yield Sentences(tuple(lines))


def _row(model: RegistryModel) -> list[str]:
    table = registry().table(model)
    prompts = "own" if table is None and model.kind != "reranker" else "" if table is None else "task" if table.tasks else "role"
    size = "" if model.parameters is None else f"{model.parameters / 1e6:,.0f} M"
    dims, tokens = str(model.dims[0]) if model.dims else "", str(model.max_tokens or "")
    code = "remote" if model.remote_code else ""
    return [model.name, model.kind, model.architecture or "?", size, dims, tokens, prompts, code, (model.revision or "none")[:8]]
