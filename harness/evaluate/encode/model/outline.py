"""A model's folder without its weights in memory: tokenizer, sizes and hashes, which is all that a plan of its work needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from harness.core.errors import InputError
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.fingerprint import vectors_digest
from harness.evaluate.encode.canonical.packed import Packable, packable
from harness.evaluate.encode.canonical.shapes import ShapeLadder, packing
from harness.evaluate.encode.model.loading import (
    check_architecture,
    check_end_token,
    check_pinned,
    check_processing,
    does_not_load,
    hash_module_files,
    max_positions_of,
    quiet_transformers,
    tokenizer_options,
)
from harness.evaluate.encode.model.locate import LocatedModel, Weights, files_digest, hash_weights, read_json, transformer_path
from harness.evaluate.encode.model.own import OwnSettings, read_own_settings, refuse_roles
from harness.evaluate.encode.model.tokens import TextTokenizer
from harness.evaluate.encode.planned import Counted
from harness.evaluate.encode.store.names import Namer, ids_digest, keys_of
from harness.evaluate.encode.work import Architecture, architecture_of


@dataclass(frozen=True, kw_only=True)
class ChainOutline:
    """What `LoadedModel` says of a model, but for the modules that run: the outline (`planned.Outline`) of the kind `canonical`."""

    tokenizer: transformers.PreTrainedTokenizerBase
    weights: Weights
    module_files: Mapping[str, str]
    files_digest: str
    max_positions: int
    embedding_dim: int
    architecture: Architecture
    packable: Packable
    own: OwnSettings

    @property
    def weights_digest(self) -> str:
        """Of its weight files."""
        return self.weights.digest

    @property
    def parameters(self) -> int | None:
        """Numbers in the transformer's own files."""
        return self.weights.stored_parameters

    def digest(self, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
        """Of its vectors."""
        return vectors_digest(
            *(self.weights, self.module_files),
            dtype=dtype,
            encoding=packing(encoding, self.architecture.packs),
            packable=self.packable,
            device=device,
        )

    def count(self, texts: Sequence[str], *, max_len: int, encoding: EncodingSpec, digest: str) -> Counted:
        """Tokenised, and named by token ids and batch shape; raises as `TextTokenizer` does."""
        ladder, namer = ShapeLadder(packing(encoding, self.architecture.packs), self.max_positions), Namer(digest)
        names: list[bytes] = []
        counts, cuts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)]
        for chunk in TextTokenizer(self.tokenizer, max_len).tokenize_ahead(texts):
            names += [namer.name(ladder.shape(len(ids)), ids_digest(ids)) for ids in chunk.tokens.rows()]
            counts.append(chunk.tokens.counts)
            cuts.append(chunk.tokens.cut)
        return Counted(basis="counted", names=keys_of(names), counts=np.concatenate(counts), cut=np.concatenate(cuts))

    def refuses(self, dtype: Dtype) -> None:
        """It runs in any dtype that its device has."""
        del dtype


class EmptyTransformer(Transformer):  # type: ignore[misc]  # sentence-transformers has no types
    """sentence-transformers' first module around a model without numbers, so that everything else of it is made as for a run."""

    def _load_model(self, model_name_or_path: str, transformer_task: Any, config: Any, *_: Any, **options: Any) -> Any:
        with torch.device("meta"):
            return transformers.AutoModel.from_config(config, trust_remote_code=options.get("trust_remote_code"))


def empty_transformer(located: LocatedModel, spec: ModelSpec, path: str) -> EmptyTransformer:
    """The first module of a folder, which lies at `path` in it, without numbers.

    Raises:
        InputError: it does not load.
    """
    try:
        with quiet_transformers():
            options = {"subfolder": path, "local_files_only": True, "trust_remote_code": spec.trust_remote_code}
            options["processor_kwargs"] = tokenizer_options(spec)
            first: EmptyTransformer = EmptyTransformer.load(str(located.folder), **options)
    except Exception as error:  # tokenizers raises it bare
        raise does_not_load(located.folder, error) from error
    check_end_token(first.tokenizer, spec)
    return first


def read_outline(located: LocatedModel, spec: ModelSpec) -> ChainOutline:
    """The outline of a folder; its weights are hashed and not loaded.

    Raises:
        RequestError: it can't be run as a pure function.
        InputError: files are missing, damaged, or not those that the spec pins.
    """
    refuse_roles(located)
    weights = hash_weights(located.folder, allow_pickle=spec.allow_pickle)
    first = empty_transformer(located, spec, transformer_path(located))
    try:
        modules: Any = read_json(located.folder / "modules.json")
        check_architecture(located.name, first.config, [str(module["type"]).rpartition(".")[2] for module in modules[1:]])
        check_processing(located.name, first)
        dense, embedding_dim, pooling = read_tail(located, first.config.hidden_size)
        packs = packable(first.config, [str(module["type"]).rpartition(".")[2] for module in modules[1:]], pooling)
        architecture = replace(architecture_of(first.model, dense), packs=packs.obstacle is None)
        max_positions = max_positions_of(first.config)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise InputError(f"model folder {located.folder} does not load ({type(error).__name__}: {error})") from error
    found = {"weights_sha256": weights.digest, "parameters": weights.stored_parameters}
    for field, value in {**found, "max_positions": max_positions, "embedding_dim": embedding_dim}.items():
        check_pinned(spec, field, value)
    return ChainOutline(
        tokenizer=first.tokenizer,
        weights=weights,
        module_files=hash_module_files(located.folder),
        files_digest=files_digest(located.folder),
        max_positions=max_positions,
        embedding_dim=embedding_dim,
        architecture=architecture,
        packable=packs,
        own=read_own_settings(located),
    )


def read_tail(located: LocatedModel, hidden: int) -> tuple[list[tuple[int, int]], int, object]:
    """Of a chain of Pooling, Dense and Normalize: inputs and outputs of the Dense layers, the numbers in a vector, and how it is pooled."""
    mode = None
    dense: list[tuple[int, int]] = []
    width = hidden
    modules: Any = read_json(located.folder / "modules.json")
    for module in modules[1:]:
        kind, path = str(module["type"]), str(module["path"])
        if kind.endswith(".Pooling"):
            pooling = Pooling.load(str(located.folder), subfolder=path)
            width, mode = pooling.get_embedding_dimension(), pooling.pooling_mode
        elif kind.endswith(".Dense"):
            config: Any = read_json(located.folder / path / "config.json")
            dense.append((int(config["in_features"]), int(config["out_features"])))
            width = dense[-1][1]
    return dense, width, mode
