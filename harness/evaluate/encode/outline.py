"""A model's folder without its weights in memory: tokenizer, sizes and hashes, which is all that a plan of its work needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from harness.core.errors import InputError
from harness.core.spec import ModelSpec
from harness.evaluate.encode.locate import LocatedModel, Weights, files_digest, hash_weights, read_json
from harness.evaluate.encode.model import (
    check_architecture,
    check_pinned,
    hash_module_files,
    max_positions_of,
    quiet_transformers,
    transformer_path,
)
from harness.evaluate.encode.own import OwnSettings, read_own_settings
from harness.evaluate.encode.work import Architecture, architecture_of


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What `LoadedModel` says of a model, but for the modules that run."""

    tokenizer: transformers.PreTrainedTokenizerBase
    weights: Weights
    module_files: Mapping[str, str]
    files_digest: str
    max_positions: int
    embedding_dim: int
    architecture: Architecture
    own: OwnSettings


class _Empty(Transformer):  # type: ignore[misc]  # sentence-transformers has no types
    """sentence-transformers' first module around a model without numbers, so that everything else of it is made as for a run."""

    def _load_model(self, model_name_or_path: str, transformer_task: Any, config: Any, *_: Any, **__: Any) -> Any:
        with torch.device("meta"):
            return transformers.AutoModel.from_config(config)


def read_outline(located: LocatedModel, spec: ModelSpec) -> Outline:
    """The outline of a folder; its weights are hashed and not loaded.

    Raises:
        RequestError: it can't be run as a pure function.
        InputError: files are missing, damaged, or not those that the spec pins.
    """
    weights = hash_weights(located.folder, allow_pickle=spec.allow_pickle)
    try:
        with quiet_transformers():
            first = _Empty.load(
                str(located.folder),
                subfolder=transformer_path(located),
                local_files_only=True,
                trust_remote_code=spec.trust_remote_code,
            )
        modules: Any = read_json(located.folder / "modules.json")
        check_architecture(located.name, first.config, [str(module["type"]).rpartition(".")[2] for module in modules[1:]])
        dense, embedding_dim = _tail(located, first.config.hidden_size)
        architecture = architecture_of(first.config, dense)
        max_positions = max_positions_of(first.config)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise InputError(f"model folder {located.folder} does not load ({type(error).__name__}: {error})") from error
    found = {"weights_sha256": weights.digest, "parameters": weights.stored_parameters}
    for field, value in {**found, "max_positions": max_positions, "embedding_dim": embedding_dim}.items():
        check_pinned(spec, field, value)
    return Outline(
        tokenizer=first.tokenizer,
        weights=weights,
        module_files=hash_module_files(located.folder),
        files_digest=files_digest(located.folder),
        max_positions=max_positions,
        embedding_dim=embedding_dim,
        architecture=architecture,
        own=read_own_settings(located),
    )


def _tail(located: LocatedModel, hidden: int) -> tuple[list[tuple[int, int]], int]:
    """Inputs and outputs of the Dense layers, and the numbers in a vector at the end of the chain."""
    dense: list[tuple[int, int]] = []
    width = hidden
    modules: Any = read_json(located.folder / "modules.json")
    for module in modules[1:]:
        kind, path = str(module["type"]), str(module["path"])
        if kind.endswith(".Pooling"):
            width = Pooling.load(str(located.folder), subfolder=path).get_embedding_dimension()
        elif kind.endswith(".Dense"):
            config: Any = read_json(located.folder / path / "config.json")
            dense.append((int(config["in_features"]), int(config["out_features"])))
            width = dense[-1][1]
    return dense, width
