"""The kind `reranker`: a CrossEncoder, which scores pairs of texts. Its "vectors" have one number, and only Reranking tasks use it.

The forms are those that sentence-transformers loads: sequence classification (bge-reranker) and the two answer logits of a decoder
(Qwen3-Reranker). Scores are raw logits, of pairs of equal length in a batch; how repeatable they are is measured.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import CrossEncoder
from torch import nn

from harness.core.errors import CanaryError, RequestError
from harness.core.files import sha256_file
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.by_text import UNREPEATABLE, IntArray, TextEncoder
from harness.evaluate.encode.canary import canary_texts
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.locate import LocatedModel, find_model, find_present_model, hash_weights, transformer_folder
from harness.evaluate.encode.outline import empty_transformer
from harness.evaluate.encode.own import PairSettings, read_pair_settings
from harness.evaluate.encode.pairs import pair_text, read_pair
from harness.evaluate.encode.sizes import read_sizes
from harness.evaluate.encode.store import VectorStore
from harness.evaluate.encode.whole import (
    EqualLengthsWork,
    WholeModel,
    WholeOutline,
    in_equal_lengths,
    load_whole,
    positions_of,
    refuse_code,
    refuse_length,
    token_counts,
    whole_fingerprint,
)
from harness.evaluate.encode.work import Architecture

_MARKER = "config.json"  # many rerankers have no modules.json
_PAIRS = 128  # of the canary's texts


class PairBackend:
    """`by_text.Backend` over a CrossEncoder: the texts are pairs (`pairs.pair_text`), a vector is one score."""

    elsewhere = False

    embedding_dim = 1

    def __init__(self, loaded: WholeModel, *, max_len: int, batch_tokens: int) -> None:
        self.dtype = loaded.dtype
        self._model = loaded.model
        self._max_len = max_len
        self._batch_tokens = batch_tokens

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Tokens of the pairs after cutting, and whether they are cut."""
        whole = pair_counts(self._model[0], texts)
        return np.minimum(whole, self._max_len), whole > self._max_len

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The scores [n, 1], raw; the number of batches."""
        self._model.max_seq_length = self._max_len
        return in_equal_lengths(
            lambda rows, size: self._model.predict(
                [read_pair(texts[row]) for row in rows],
                batch_size=size,
                show_progress_bar=False,
                activation_fn=nn.Identity(),
                convert_to_tensor=True,
            ),
            lengths,
            dim=1,
            dtype=self.dtype,
            batch_tokens=self._batch_tokens,
        )


def pair_counts(first: Any, texts: Sequence[str]) -> IntArray:
    """Tokens of the pairs before cutting (`token_counts`)."""
    return token_counts(first, [read_pair(text) for text in texts])


class Reranker(EncoderKind):
    """A CrossEncoder folder; only Reranking tasks, whose scores are kept by pair."""

    def weights_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's weight files; raises as `find_model` does."""
        return hash_weights(find_model(model, marker=_MARKER).folder, allow_pickle=model.allow_pickle).digest

    def files_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's other files; raises as `find_model` does."""
        return _files(find_model(model, marker=_MARKER))

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> WholeModel:
        """The model on the device.

        Raises:
            RequestError: it gives several scores a pair, or as `load_whole` does.
            InputError: it does not load.
        """
        located = find_model(model, marker=_MARKER)
        loaded = load_whole(CrossEncoder, located, model, dtype=dtype, device=device, files=_files(located))
        loaded.model.default_prompt_name = None  # prompts are in the pairs
        if loaded.model.num_labels != 1:
            raise RequestError(f"{located.folder} gives {loaded.model.num_labels} scores a pair, a reranker gives one")
        return loaded

    def encoder(
        self, weights: WholeModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> TextEncoder:
        """The encoder of pairs; raises as `refuse_length` does."""
        refuse_length(max_len, positions_of(weights.model[0].config), weights.spec.name)
        fingerprint = whole_fingerprint(
            "reranker", weights, max_len=max_len, encoding=encoding, device=device, dim=1, modules=("CrossEncoder",)
        )
        backend = PairBackend(weights, max_len=max_len, batch_tokens=encoding.batch_tokens)
        return TextEncoder(backend, fingerprint=fingerprint, max_len=max_len, architecture=weights.sizes.architecture, store=store)

    def check(self, encoder: TextEncoder) -> Checked:
        """Score pairs of the canary's texts twice, in two orders; the floor is in standard deviations of the scores.

        Raises:
            CanaryError: scores move by more than `UNREPEATABLE`, or all pairs have one score.
        """
        started = time.perf_counter()
        texts = canary_texts()
        pairs = [pair_text(texts[number], texts[-1 - number]) for number in range(_PAIRS)]
        order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0))
        lengths, _ = encoder.backend.lengths(pairs)
        first, _ = encoder.backend.vectors(pairs, lengths)
        again, _ = encoder.backend.vectors([pairs[index] for index in order.tolist()], lengths[order.numpy()])
        again = again[order.argsort()]
        spread = float(first.double().std())
        if not spread > 0:
            raise CanaryError(f"{encoder.fingerprint.model} gives all pairs one score, or none that is a number: is it a reranker?")
        floor = float((first.double() - again.double()).abs().max()) / spread
        if not floor <= UNREPEATABLE:
            raise CanaryError(f"{encoder.fingerprint.model} is not repeatable: a score moves by {floor:.1e} standard deviations")
        differing = int((first != again).sum())
        found = {"verdict": "passed", "texts": len(pairs), "rows_differing": differing, "floor": floor}
        notes = (f"{differing} of {len(pairs)} scores are not pure to the bit, they move by up to {floor:.1e} standard deviations",)
        return Checked(found=found, seconds=round(time.perf_counter() - started, 2), notes=notes if differing else ())

    def own_settings(self, model: ModelSpec) -> PairSettings:
        """Those of the folder; raises as `find_model` and `read_pair_settings` do."""
        return read_pair_settings(find_model(model, marker=_MARKER))

    def outline(self, model: ModelSpec) -> WholeOutline:
        """The folder's outline; raises as `find_present_model`, `refuse_code` and `empty_transformer` do."""
        located = find_present_model(model, marker=_MARKER)
        refuse_code(located.folder, model)
        weights = hash_weights(located.folder, allow_pickle=model.allow_pickle)
        first = empty_transformer(located, model, transformer_folder(located.folder).relative_to(located.folder).as_posix())
        return WholeOutline(
            kind="reranker",
            weights=weights,
            files_digest=_files(located),
            sizes=read_sizes(located.folder, weights),
            max_positions=positions_of(first.config),
            embedding_dim=PairBackend.embedding_dim,
            own=read_pair_settings(located),
            lengths=partial(pair_counts, first),
        )

    def work(self, architecture: Architecture, *, encoding: EncodingSpec, positions: int) -> EqualLengthsWork:
        """Batches of pairs of one token count."""
        del positions
        return EqualLengthsWork(batch_tokens=encoding.batch_tokens, architecture=architecture)


def _files(located: LocatedModel) -> str:
    paths = sorted(path for path in located.folder.rglob("*") if path.suffix in (".json", ".txt", ".model", ".jinja", ".py"))
    lines = "".join(f"{sha256_file(path)}  {path.relative_to(located.folder).as_posix()}\n" for path in paths if path.is_file())
    return hashlib.sha256(lines.encode()).hexdigest()


RERANKER = Reranker()
