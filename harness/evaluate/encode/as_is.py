"""The kind `reference`: any SentenceTransformer, run as sentence-transformers runs it, in batches of texts of equal length.

Nothing is known of what the modules do, so purity is measured before the run, and stated in the manifest, under the table and in the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from tokenizers import Tokenizer

from harness.core.errors import InputError
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.by_text import IntArray, TextEncoder, measure_repeatability
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.locate import (
    LocatedModel,
    files_digest,
    find_model,
    find_present_model,
    hash_weights,
    read_json,
    stored_tensors,
)
from harness.evaluate.encode.model import TAIL, does_not_load
from harness.evaluate.encode.outline import empty_transformer, read_tail
from harness.evaluate.encode.own import OwnSettings, read_own_settings, refuse_roles
from harness.evaluate.encode.sizes import read_sizes
from harness.evaluate.encode.store import VectorStore
from harness.evaluate.encode.whole import (
    EqualLengthsWork,
    WholeModel,
    WholeOutline,
    cast,
    in_equal_lengths,
    load_whole,
    positions_of,
    refuse_code,
    refuse_length,
    token_counts,
    whole_fingerprint,
)
from harness.evaluate.encode.work import Architecture


class ChainBackend:
    """`by_text.Backend` over a SentenceTransformer: texts of one token count make a batch, with `batch_tokens // count` rows at most."""

    elsewhere = False

    def __init__(self, loaded: WholeModel, *, max_len: int, batch_tokens: int) -> None:
        self.dtype = loaded.dtype
        self.otherwise = loaded.otherwise
        self.embedding_dim = int(loaded.model.get_embedding_dimension() or 0)
        self._chain = loaded.model
        self._max_len = max_len
        self._batch_tokens = batch_tokens

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Token counts by the model's tokenizer after cutting; characters where it counts none."""
        whole = text_counts(self._chain[0], texts)
        return np.minimum(whole, self._max_len), whole > self._max_len

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The vectors, raw; the number of batches."""
        if isinstance(self._chain.tokenizer, Tokenizer):
            self._chain.tokenizer.enable_truncation(self._max_len)
        else:
            self._chain.max_seq_length = self._max_len
        return in_equal_lengths(
            lambda rows, size: self._chain.encode(
                [texts[row] for row in rows],
                batch_size=size,
                convert_to_tensor=True,
                show_progress_bar=False,
                normalize_embeddings=False,
            ),
            lengths,
            dim=self.embedding_dim,
            dtype=self.dtype,
            batch_tokens=self._batch_tokens,
        )


def text_counts(first: Any, texts: Sequence[str]) -> IntArray:
    """Tokens of the texts before cutting, as the first module makes them: a Transformer, or a StaticEmbedding, which takes no special
    tokens and may be its tokenizer alone; characters for any other."""
    if isinstance(first, Transformer):
        return token_counts(first, texts)
    tokenizer = getattr(first, "tokenizer", first)
    if isinstance(tokenizer, Tokenizer):
        tokenizer.no_truncation()
        return np.array([len(one.ids) for one in tokenizer.encode_batch(list(texts), add_special_tokens=False)], dtype=np.int64)
    if hasattr(tokenizer, "num_special_tokens_to_add") and texts:
        return np.array([len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]], dtype=np.int64)
    return np.array([len(text) for text in texts], dtype=np.int64)


class Reference(EncoderKind):
    """A SentenceTransformer folder, whatever its modules are; remote code runs only where `model.trust_remote_code` allows it."""

    sketched = True

    def weights_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's weight files; raises as `find_model` does."""
        return hash_weights(find_model(model).folder, allow_pickle=model.allow_pickle).digest

    def files_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's other files; raises as `find_model` does."""
        return _files(find_model(model), model)

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> WholeModel:
        """The chain on the device; raises as `refuse_roles` and `load_whole` do."""
        located = find_model(model)
        refuse_roles(located)
        loaded = load_whole(SentenceTransformer, located, model, dtype=dtype, device=device, files=_files(located, model))
        cast(loaded.model, TORCH_DTYPE[dtype])
        loaded.model.default_prompt_name = None  # prompts are in the texts
        loaded.model.truncate_dim = None  # vectors are whole, and `dim=` cuts them
        return loaded

    def encoder(
        self, weights: WholeModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> TextEncoder:
        """The encoder; its `ladder` is the token count, whatever `gpu.ladder` says; raises as `refuse_length` does."""
        refuse_length(max_len, positions_of(getattr(weights.model[0], "config", None)), weights.spec.name)
        backend = ChainBackend(weights, max_len=max_len, batch_tokens=encoding.batch_tokens)
        fingerprint = whole_fingerprint(
            "reference",
            weights,
            max_len=max_len,
            encoding=encoding,
            device=device,
            dim=backend.embedding_dim,
            modules=tuple(type(module).__name__ for module in weights.model.children()),
        )
        return TextEncoder(backend, fingerprint=fingerprint, max_len=max_len, architecture=weights.sizes.architecture, store=store)

    def check(self, encoder: TextEncoder) -> Checked:
        """How repeatable the vectors are, and what is not in the run's dtype; raises as `measure_repeatability` does."""
        what = f"{encoder.fingerprint.model} as sentence-transformers runs it"
        found = measure_repeatability(encoder, what=what)
        otherwise = getattr(encoder.backend, "otherwise", "")
        return replace(found, notes=(*found.notes, f"{what}: {otherwise}")) if otherwise else found

    def own_settings(self, model: ModelSpec) -> OwnSettings:
        """Those of the folder; raises as `find_model` and `read_own_settings` do."""
        return read_own_settings(find_model(model))

    def outline(self, model: ModelSpec) -> WholeOutline:
        """The folder's outline; raises as `find_present_model`, `refuse_roles`, `refuse_code` and `empty_transformer` do."""
        located = find_present_model(model)
        refuse_roles(located)
        refuse_code(located.folder, model)
        weights = hash_weights(located.folder, allow_pickle=model.allow_pickle)
        first, positions, dim = _first_module(located, model)
        return WholeOutline(
            kind="reference",
            weights=weights,
            files_digest=_files(located, model),
            sizes=read_sizes(located.folder, weights),
            max_positions=positions,
            embedding_dim=dim,
            own=read_own_settings(located),
            lengths=first and partial(text_counts, first),
        )

    def work(self, architecture: Architecture, *, encoding: EncodingSpec, positions: int) -> EqualLengthsWork:
        """Batches of texts of one token count."""
        del positions
        return EqualLengthsWork(batch_tokens=encoding.batch_tokens, architecture=architecture)


REFERENCE = Reference()


def _files(located: LocatedModel, model: ModelSpec) -> str:
    """The digest of the folder's other files, and of what the tokenizer is told beside them."""
    return files_digest(located.folder) + " add_eos_token" * model.add_eos_token


def _first_module(located: LocatedModel, model: ModelSpec) -> tuple[Any, int | None, int | None]:
    """The first module or its tokenizer, the tokens that it carries, and the numbers in a vector of the chain; None for what is not known
    without running it."""
    modules: Any = read_json(located.folder / "modules.json")
    try:
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        first, folder = kinds[0], located.folder / str(modules[0].get("path", ""))
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{located.folder / 'modules.json'} lists no modules: download the model again") from error
    simple = set(kinds[1:]) <= set(TAIL)
    if first == "Transformer":
        empty = empty_transformer(located, model, str(modules[0].get("path", "")))
        return empty, positions_of(empty.config), read_tail(located, empty.config.hidden_size)[1] if simple else None
    if first == "StaticEmbedding":
        tables = [shape for path in folder.glob("*.safetensors") for shape in stored_tensors(path).values() if len(shape) == 2]
        try:
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # tokenizers raises it bare
            raise does_not_load(folder, error) from error
        return tokenizer, None, read_tail(located, tables[0][1])[1] if simple and tables else None
    return None, None, None
