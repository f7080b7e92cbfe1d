"""The kind `reference`: any SentenceTransformer, run as sentence-transformers runs it, in batches of texts of equal length.

Nothing is known of what the modules do, so purity is measured before the run, and stated in the manifest, under the table and in the store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from harness.core.errors import InputError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.by_text import IntArray, TextEncoder, measure_repeatability
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device, kernel_identity, numeric_flags
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.locate import LocatedModel, Weights, files_digest, find_model, hash_weights
from harness.evaluate.encode.model import quiet_transformers
from harness.evaluate.encode.own import OwnSettings, read_own_settings
from harness.evaluate.encode.store import VectorStore


@dataclass(frozen=True, kw_only=True)
class LoadedChain:
    """A folder as sentence-transformers loads it, with what names it."""

    located: LocatedModel
    spec: ModelSpec
    dtype: Dtype
    chain: SentenceTransformer
    weights: Weights
    files: str


class ChainBackend:
    """`by_text.Backend` over a SentenceTransformer: texts of one token count make a batch, with `batch_tokens // count` rows at most."""

    def __init__(self, loaded: LoadedChain, *, max_len: int, batch_tokens: int) -> None:
        self.dtype = loaded.dtype
        self.embedding_dim = int(loaded.chain.get_embedding_dimension() or 0)
        self._chain = loaded.chain
        self._max_len = max_len
        self._batch_tokens = batch_tokens

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Token counts by the model's tokenizer after cutting; characters where it is not one of transformers."""
        tokenizer = self._chain.tokenizer
        if hasattr(tokenizer, "num_special_tokens_to_add") and texts:
            whole = np.array([len(ids) for ids in tokenizer(list(texts), truncation=False, verbose=False)["input_ids"]], dtype=np.int64)
        else:
            whole = np.array([len(text) for text in texts], dtype=np.int64)
        return np.minimum(whole, self._max_len), whole > self._max_len

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The vectors, raw; the number of batches."""
        self._chain.max_seq_length = self._max_len
        made = torch.empty(len(texts), self.embedding_dim, dtype=TORCH_DTYPE[self.dtype])
        batches = 0
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            size = max(1, self._batch_tokens // max(1, length))
            batches += -(-len(rows) // size)
            found = self._chain.encode(
                [texts[row] for row in rows.tolist()],
                batch_size=size,
                convert_to_tensor=True,
                show_progress_bar=False,
                normalize_embeddings=False,
            )
            made[torch.from_numpy(rows)] = found.to(TORCH_DTYPE[self.dtype]).cpu()
        return made, batches


class Reference(EncoderKind):
    """A SentenceTransformer folder, whatever its modules are; remote code runs only where `model.trust_remote_code` allows it."""

    def weights_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's weight files; raises as `find_model` does."""
        return hash_weights(find_model(model).folder, allow_pickle=model.allow_pickle).digest

    def files_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's other files; raises as `find_model` does."""
        return files_digest(find_model(model).folder)

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> LoadedChain:
        """The chain on the device.

        Raises:
            RequestError: it needs remote code that is not allowed.
            InputError: it does not load.
        """
        located = find_model(model)
        _refuse_code(located.folder, model)
        weights = hash_weights(located.folder, allow_pickle=model.allow_pickle)
        options = {"dtype": TORCH_DTYPE[dtype], "use_safetensors": None if model.allow_pickle else True}
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            try:
                chain = SentenceTransformer(
                    str(located.folder),
                    device=str(device),
                    local_files_only=True,
                    trust_remote_code=model.trust_remote_code,
                    model_kwargs=options,
                )
            except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, AttributeError) as error:
                raise InputError(f"model folder {located.folder} does not load ({type(error).__name__}: {error})") from error
        for parameter in chain.parameters():
            parameter.data = parameter.data.to(TORCH_DTYPE[dtype]) if parameter.is_floating_point() else parameter.data
        chain.default_prompt_name = None  # prompts are in the texts
        return LoadedChain(
            located=located, spec=model, dtype=dtype, chain=chain.eval(), weights=weights, files=files_digest(located.folder)
        )

    def encoder(
        self, weights: LoadedChain, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> TextEncoder:
        """The encoder; its `ladder` is the token count, whatever `gpu.ladder` says."""
        backend = ChainBackend(weights, max_len=max_len, batch_tokens=encoding.batch_tokens)
        kernel = kernel_identity(device)
        decides = ["reference", weights.weights.digest, weights.files, weights.dtype, encoding.batch_tokens, kernel]
        parameters = sum(parameter.numel() for parameter in weights.chain.parameters())
        fingerprint = Fingerprint(
            model=weights.spec.name,
            source=weights.located.source,
            repository=weights.located.repository,
            commit=weights.located.commit,
            weights_digest=weights.weights.digest,
            weights_sha256=dict(weights.weights.sha256),
            modules=tuple(type(module).__name__ for module in weights.chain.children()),
            parameters=parameters,
            stored_parameters=weights.weights.stored_parameters,
            dtype=weights.dtype,
            attention="as sentence-transformers chooses: purity is measured, not given",
            max_len=max_len,
            embedding_dim=backend.embedding_dim,
            ladder="equal lengths",
            batch_tokens=encoding.batch_tokens,
            device=describe_device(device),
            flags=numeric_flags(),
            kernel=kernel,
            digest=hashlib.sha256(json.dumps(decides).encode()).hexdigest(),
        )
        return TextEncoder(backend, fingerprint=fingerprint, max_len=max_len, flops_per_token=2 * parameters, store=store)

    def check(self, encoder: TextEncoder) -> Checked:
        """How repeatable the vectors are; raises as `measure_repeatability` does."""
        return measure_repeatability(encoder, what=f"{encoder.fingerprint.model} as sentence-transformers runs it")

    def own_settings(self, model: ModelSpec) -> OwnSettings:
        """Those of the folder; raises as `find_model` and `read_own_settings` do."""
        return read_own_settings(find_model(model))


def _refuse_code(folder: Path, model: ModelSpec) -> None:
    """Code that lies in the folder would be left out in silence by transformers, or asked for on the terminal."""
    if model.trust_remote_code:
        return
    for path in (*folder.glob("config.json"), *folder.glob("*/config.json")):
        values: Any = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and "auto_map" in values:
            raise RequestError(f"{path} names code of its own: read it, then allow it with model.trust_remote_code=true")


REFERENCE = Reference()
