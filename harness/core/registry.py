"""The registry: models that people ask for by name, with what is known of them (`configs/models.json`, made by `scripts/registry.py`)."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from harness.core.formatting import few
from harness.core.prompts import PromptTable
from harness.core.resources import resource_dir
from harness.core.typed import read_typed

_FILE = "models.json"
_CLOSE = 0.6


@dataclass(frozen=True, kw_only=True)
class RegistryModel:
    """A model of the registry.

    `name`: its repository on the hub, at `revision`. `kind`: of the encoder that is expected to run it; `architecture`: as transformers
    calls it, None where it is not known. `remote_code`: whether it needs code from its repository. `add_eos_token`: whether its makers tell
    the tokenizer to end texts with the end token. `embedding_parameters`: those of the `parameters` that are looked up, not multiplied.
    `dims`: of its vectors, the largest first. `max_tokens`: what it carries; `max_len`: what its makers cut texts to, where they say.
    `instructed`: whether it was trained with prompts. `prompts`: the name of its table; None where its own folder has them, if it has any.
    """

    name: str
    revision: str | None
    kind: str
    architecture: str | None
    remote_code: bool
    add_eos_token: bool
    parameters: int | None
    embedding_parameters: int | None
    dims: tuple[int, ...]
    max_tokens: int | None
    max_len: int | None
    instructed: bool | None
    prompts: str | None
    licence: str | None
    released: str | None
    adapted_from: str | None

    @property
    def short(self) -> str:
        """The name without its owner."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Registry:
    """All of it. `source`: the package that it was made from, its version and licence."""

    about: str
    source: Mapping[str, str]
    prompts: Mapping[str, PromptTable]
    models: tuple[RegistryModel, ...]

    def find(self, name: str) -> RegistryModel | None:
        """The model of that full or short name, upper or lower case."""
        wanted = name.lower()
        return next((model for model in self.models if wanted in (model.name.lower(), model.short.lower())), None)

    def like(self, word: str) -> list[RegistryModel]:
        """Models with the word in their name or their architecture."""
        return [model for model in self.models if word.lower() in f"{model.name} {model.architecture}".lower()]

    def table(self, model: RegistryModel) -> PromptTable | None:
        """The model's prompts; None where its own folder has them."""
        return self.prompts[model.prompts] if model.prompts else None


@cache
def registry() -> Registry:
    """The registry that comes with the package.

    Raises:
        InputError: its file is damaged.
    """
    path = resource_dir("configs") / _FILE
    return read_typed(path, Registry, what="registry of models", remedy="restore it from version control, or install the package again")


def unknown_model(name: str, own: list[str], *, way_out: str = "") -> str:
    """The message for a model that is neither one of the `own` files of `configs/model/` nor in the registry, with the near names."""
    models = registry().models
    near = {each.lower(): model for model in models for each in (model.name, model.short)}
    close = [near[found].name for found in difflib.get_close_matches(name.lower(), near, n=6, cutoff=_CLOSE)]
    close += [model.name for model in models if len(name) > 1 and name.lower() in model.name.lower()]
    names = [*difflib.get_close_matches(name, own, n=1, cutoff=_CLOSE), *dict.fromkeys(close)]
    hint = f"did you mean {few(names, 3, ' or ')}? " if names else ""
    repository = name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else "OWNER/NAME"
    known = ", ".join([*own, f"{len(models)} by the names that `python -m harness models` lists"])
    way_out = way_out or f"A folder of your own: model=./DIR; another repository of the hub: model=folder model.hub={repository}"
    return f"unknown model {name!r}: {hint}Known: {known}. {way_out}"
