"""Models that sentence-transformers loads and runs as a whole: what the kinds `reference` and `reranker` share.

Nothing is known of what the modules do, so their kinds measure how repeatable they are.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers.base.modules import Transformer
from transformers import PreTrainedModel

from harness.core.costs import Counters
from harness.core.errors import RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.by_text import PART, IntArray, text_key
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device, kernel_identity, numeric_flags
from harness.evaluate.encode.locate import LocatedModel, Weights, hash_weights, read_json
from harness.evaluate.encode.model import check_end_token, does_not_load, max_positions_of, quiet_transformers, tokenizer_options
from harness.evaluate.encode.names import keys_of
from harness.evaluate.encode.own import OwnSettings
from harness.evaluate.encode.planned import Counted
from harness.evaluate.encode.sizes import Sizes, read_sizes
from harness.evaluate.encode.tokens import refuse_lone_surrogates, refuse_tokens
from harness.evaluate.encode.work import Architecture
from harness.evaluate.lengths import estimated_counts

_MADE = "made, 4"
"""Changes with what these kinds make of a model. 1 cast what transformers keeps in fp32; 2 put a reranker's default prompt before pairs; 3
counted tokens without the chat template, so a text that only the template made too long was kept as a whole one."""


@dataclass(frozen=True, kw_only=True)
class WholeModel:
    """A folder as sentence-transformers loads it, with what names it. `model`: a SentenceTransformer or a CrossEncoder. `files`: the digest
    of its files beside the weights."""

    located: LocatedModel
    spec: ModelSpec
    dtype: Dtype
    model: Any
    weights: Weights
    sizes: Sizes
    files: str

    @property
    def parameters(self) -> int:
        """Numbers in it, as loaded."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def otherwise(self) -> str:
        """How many of them are in another dtype than `dtype`, because transformers keeps them there; empty where none is."""
        floating = [parameter for parameter in self.model.parameters() if parameter.is_floating_point()]
        others = [parameter for parameter in floating if parameter.dtype != TORCH_DTYPE[self.dtype]]
        if not others:
            return ""
        dtypes = ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in others}))
        kept, numbers = (sum(parameter.numel() for parameter in some) for some in (others, floating))
        return f"{kept:,} of {numbers:,} numbers are in {dtypes}, as transformers keeps them"


def load_whole(make: Any, located: LocatedModel, spec: ModelSpec, *, dtype: Dtype, device: torch.device, files: str) -> WholeModel:
    """What `make`, a class of sentence-transformers, makes of the folder. `files`: the digest of its files beside the weights.

    Raises:
        RequestError: it needs remote code that is not allowed.
        InputError: it does not load.
    """
    refuse_code(located.folder, spec)
    weights = hash_weights(located.folder, allow_pickle=spec.allow_pickle)
    options = {"dtype": TORCH_DTYPE[dtype], "use_safetensors": None if spec.allow_pickle else True}
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        try:
            model = make(
                str(located.folder),
                device=str(device),
                local_files_only=True,
                trust_remote_code=spec.trust_remote_code,
                processor_kwargs=tokenizer_options(spec),
                model_kwargs=options,
            )
        except Exception as error:  # tokenizers raises it bare
            raise does_not_load(located.folder, error) from error
    check_end_token(model.tokenizer, spec)
    sizes = read_sizes(located.folder, weights)
    return WholeModel(located=located, spec=spec, dtype=dtype, model=model.eval(), weights=weights, sizes=sizes, files=files)


def token_counts(first: Transformer, inputs: Sequence[Any]) -> IntArray:
    """Tokens of texts or pairs before cutting, as the first module makes them: with the chat template that some put around them.

    Raises:
        InputError: one has tokens that the model can't run (`refuse_tokens`).
    """
    if not inputs:
        return np.zeros(0, dtype=np.int64)
    whole = {"text": {"truncation": False, "padding": False, "verbose": False}, "common": {"return_tensors": None}}
    rows = first.preprocess(list(inputs), processing_kwargs=whole)["input_ids"]
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    offsets = np.concatenate([[0], counts.cumsum()])
    flat = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64, count=int(offsets[-1]))
    refuse_tokens(inputs, flat, offsets, getattr(first.config, "vocab_size", None))
    return counts


def cast(model: Any, dtype: torch.dtype) -> None:
    """Give the numbers of a chain the dtype, but for those that transformers has loaded in it and keeps in another (T5's `wo` in fp32)."""
    loaded = [part for part in model.modules() if isinstance(part, PreTrainedModel) and part.dtype == dtype]
    done = {id(parameter) for part in loaded for parameter in part.parameters()}
    for parameter in model.parameters():
        if parameter.is_floating_point() and id(parameter) not in done:
            parameter.data = parameter.data.to(dtype)


def whole_fingerprint(
    kind: str, loaded: WholeModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, dim: int, modules: tuple[str, ...]
) -> Fingerprint:
    """What names the vectors [n, `dim`] of a model that runs in batches of equal length, whatever `gpu.ladder` says."""
    return Fingerprint(
        model=loaded.spec.name,
        source=loaded.located.source,
        repository=loaded.located.repository,
        commit=loaded.located.commit,
        weights_digest=loaded.weights.digest,
        weights_sha256=dict(loaded.weights.sha256),
        modules=(*modules, loaded.otherwise) if loaded.otherwise else modules,
        parameters=loaded.parameters,
        stored_parameters=loaded.weights.stored_parameters,
        dtype=loaded.dtype,
        attention="as sentence-transformers chooses: purity is measured, not given",
        max_len=max_len,
        embedding_dim=dim,
        ladder="equal lengths",
        batch_tokens=encoding.batch_tokens,
        device=describe_device(device),
        flags=numeric_flags(),
        kernel=kernel_identity(device),
        digest=whole_digest(kind, loaded.weights, loaded.files, dtype=loaded.dtype, encoding=encoding, device=device),
    )


def whole_digest(kind: str, weights: Weights, files: str, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
    """`Fingerprint.digest` from what it is made of; no weight needs to be loaded for it."""
    decides = [_MADE, kind, weights.digest, files, dtype, encoding.batch_tokens, kernel_identity(device)]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def in_equal_lengths(
    run: Callable[[list[int], int], torch.Tensor], lengths: IntArray, *, dim: int, dtype: Dtype, batch_tokens: int
) -> tuple[torch.Tensor, int]:
    """The vectors [n, dim] of texts of these token counts, and the number of batches: only texts of one count stand in a batch.

    `run`: makes the vectors of the texts of some rows, with so many rows in a batch at most.
    """
    made = torch.empty(len(lengths), dim, dtype=TORCH_DTYPE[dtype])
    batches = 0
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        size = max(1, batch_tokens // max(1, length))
        batches += -(-len(rows) // size)
        made[torch.from_numpy(rows)] = run(rows.tolist(), size).to(TORCH_DTYPE[dtype]).cpu().reshape(len(rows), dim)
    return made, batches


@dataclass(frozen=True, kw_only=True)
class EqualLengthsWork:
    """In batches of texts of one token count (`in_equal_lengths`), of so many tokens at most."""

    batch_tokens: int
    architecture: Architecture

    def text_flops(self, counts: IntArray) -> IntArray:
        """FLOP of each."""
        return self.architecture.text_flops(counts)

    def cost(self, counts: IntArray) -> Counters:
        """The batches, none of which goes beyond a part of the call."""
        ordered, forwards = np.sort(counts), 0
        for start in range(0, len(ordered), PART):
            lengths, numbers = np.unique(ordered[start : start + PART], return_counts=True)
            forwards += int((-(-numbers // np.maximum(1, self.batch_tokens // np.maximum(1, lengths)))).sum())
        return Counters(forwards=forwards, tokens=int(counts.sum()), flops=int(self.text_flops(counts).sum()))


@dataclass(frozen=True, kw_only=True)
class WholeOutline:
    """The outline (`planned.Outline`) of a folder that runs as a whole. `kind`: of its encoder. `lengths`: token counts of texts, before
    cutting; None where the tokenizer is none that counts without the model."""

    kind: str
    weights: Weights
    files_digest: str
    sizes: Sizes
    max_positions: int | None
    embedding_dim: int | None
    own: OwnSettings
    lengths: Callable[[Sequence[str]], IntArray] | None

    @property
    def weights_digest(self) -> str:
        """Of its weight files."""
        return self.weights.digest

    @property
    def parameters(self) -> int:
        """Numbers in its weight files."""
        return self.sizes.parameters

    @property
    def architecture(self) -> Architecture:
        """By which its work is counted."""
        return self.sizes.architecture

    def digest(self, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
        """Of its vectors."""
        return whole_digest(self.kind, self.weights, self.files_digest, dtype=dtype, encoding=encoding, device=device)

    def count(self, texts: Sequence[str], *, max_len: int, encoding: EncodingSpec, digest: str) -> Counted:
        """Counted as `by_text` counts and names them; raises as `refuse_lone_surrogates` does."""
        del encoding
        refuse_lone_surrogates(texts)
        counts = self.lengths(texts) if self.lengths else estimated_counts(texts)
        cut = counts > max_len
        names = [text_key(digest, text, max_len if one else None) for text, one in zip(texts, cut.tolist(), strict=True)]
        basis: Literal["counted", "characters"] = "counted" if self.lengths else "characters"
        return Counted(basis=basis, names=keys_of(names), counts=np.minimum(counts, max_len), cut=cut)

    def refuses(self, dtype: Dtype) -> None:
        """Nothing is known to refuse."""
        del dtype


def refuse_code(folder: Path, model: ModelSpec) -> None:
    """Pass a folder without code, which transformers would leave out in silence or ask for on the terminal, or with code that is allowed.

    Raises:
        RequestError: the spec does not allow its code.
    """
    if model.trust_remote_code:
        return
    for path in (*folder.glob("config.json"), *folder.glob("*/config.json")):
        values = read_json(path)
        if isinstance(values, dict) and "auto_map" in values:
            raise RequestError(f"{path} names code of its own: read it, then allow it with model.trust_remote_code=true")


def positions_of(config: Any) -> int | None:
    """The most tokens of a text by a configuration of transformers; None where it does not say."""
    return None if getattr(config, "max_position_embeddings", None) is None else max_positions_of(config)


def refuse_length(max_len: int, positions: int | None, name: str) -> None:
    """Pass a `max_len` that the model carries, or of which that is not known.

    Raises:
        RequestError: it is more.
    """
    if positions is not None and max_len > positions:
        raise RequestError(f"max_len={max_len} is more than {name} carries, which is {positions} tokens: set max_len={positions} or less")
