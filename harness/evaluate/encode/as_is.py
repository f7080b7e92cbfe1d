"""The kind `reference`: any SentenceTransformer, run as sentence-transformers runs it, in batches of texts of equal length.

Nothing is known of what the modules do, so purity is measured before the run, and stated in the manifest, under the table and in the store.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer

from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.by_text import IntArray, TextEncoder, measure_repeatability
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.locate import files_digest, find_model, hash_weights
from harness.evaluate.encode.own import OwnSettings, read_own_settings
from harness.evaluate.encode.store import VectorStore
from harness.evaluate.encode.whole import WholeModel, in_equal_lengths, load_whole, whole_fingerprint


class ChainBackend:
    """`by_text.Backend` over a SentenceTransformer: texts of one token count make a batch, with `batch_tokens // count` rows at most."""

    def __init__(self, loaded: WholeModel, *, max_len: int, batch_tokens: int) -> None:
        self.dtype = loaded.dtype
        self.embedding_dim = int(loaded.model.get_embedding_dimension() or 0)
        self._chain = loaded.model
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


class Reference(EncoderKind):
    """A SentenceTransformer folder, whatever its modules are; remote code runs only where `model.trust_remote_code` allows it."""

    def weights_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's weight files; raises as `find_model` does."""
        return hash_weights(find_model(model).folder, allow_pickle=model.allow_pickle).digest

    def files_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's other files; raises as `find_model` does."""
        return files_digest(find_model(model).folder)

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> WholeModel:
        """The chain on the device; raises as `load_whole` does."""
        located = find_model(model)
        loaded = load_whole(SentenceTransformer, located, model, dtype=dtype, device=device, files=files_digest(located.folder))
        for parameter in loaded.model.parameters():
            parameter.data = parameter.data.to(TORCH_DTYPE[dtype]) if parameter.is_floating_point() else parameter.data
        loaded.model.default_prompt_name = None  # prompts are in the texts
        return loaded

    def encoder(
        self, weights: WholeModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> TextEncoder:
        """The encoder; its `ladder` is the token count, whatever `gpu.ladder` says."""
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
        return TextEncoder(backend, fingerprint=fingerprint, max_len=max_len, flops_per_token=2 * weights.parameters, store=store)

    def check(self, encoder: TextEncoder) -> Checked:
        """How repeatable the vectors are; raises as `measure_repeatability` does."""
        return measure_repeatability(encoder, what=f"{encoder.fingerprint.model} as sentence-transformers runs it")

    def own_settings(self, model: ModelSpec) -> OwnSettings:
        """Those of the folder; raises as `find_model` and `read_own_settings` do."""
        return read_own_settings(find_model(model))


REFERENCE = Reference()
