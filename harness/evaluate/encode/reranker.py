"""The kind `reranker`: a CrossEncoder, which scores pairs of texts. Its "vectors" have one number, and only Reranking tasks use it.

The forms are those that sentence-transformers loads: sequence classification (bge-reranker) and the two answer logits of a decoder
(Qwen3-Reranker). Scores are raw logits, of pairs of equal length in a batch; how repeatable they are is measured.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import CrossEncoder
from torch import nn

from harness.core.errors import CanaryError, InputError, RequestError
from harness.core.files import sha256_file
from harness.core.fingerprint import Fingerprint
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.by_text import UNREPEATABLE, IntArray, TextEncoder
from harness.evaluate.encode.canary import canary_texts
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device, kernel_identity, numeric_flags
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.locate import LocatedModel, Weights, find_model, hash_weights
from harness.evaluate.encode.model import quiet_transformers
from harness.evaluate.encode.pairs import pair_text, read_pair
from harness.evaluate.encode.store import VectorStore

_MARKER = "config.json"  # many rerankers have no modules.json
_PAIRS = 128  # of the canary's texts


@dataclass(frozen=True, kw_only=True)
class LoadedReranker:
    """A CrossEncoder with what names it."""

    located: LocatedModel
    spec: ModelSpec
    dtype: Dtype
    model: CrossEncoder
    weights: Weights
    files: str


class PairBackend:
    """`by_text.Backend` over a CrossEncoder: the texts are pairs (`pairs.pair_text`), a vector is one score."""

    embedding_dim = 1

    def __init__(self, loaded: LoadedReranker, *, max_len: int, batch_tokens: int) -> None:
        self.dtype = loaded.dtype
        self._model = loaded.model
        self._max_len = max_len
        self._batch_tokens = batch_tokens

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Tokens of the pairs after cutting, by the tokenizer, without the template that some models put around them."""
        pairs = [read_pair(text) for text in texts]
        if not pairs:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool)
        queries, candidates = [query for query, _ in pairs], [candidate for _, candidate in pairs]
        found = self._model.tokenizer(queries, candidates, truncation=False, verbose=False)["input_ids"]
        whole = np.array([len(ids) for ids in found], dtype=np.int64)
        return np.minimum(whole, self._max_len), whole > self._max_len

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The scores [n, 1], raw; the number of batches."""
        self._model.max_seq_length = self._max_len
        made = torch.empty(len(texts), 1, dtype=TORCH_DTYPE[self.dtype])
        batches = 0
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            size = max(1, self._batch_tokens // max(1, length))
            batches += -(-len(rows) // size)
            found = self._model.predict(
                [read_pair(texts[row]) for row in rows.tolist()],
                batch_size=size,
                show_progress_bar=False,
                activation_fn=nn.Identity(),
                convert_to_tensor=True,
            )
            made[torch.from_numpy(rows), 0] = found.to(TORCH_DTYPE[self.dtype]).cpu()
        return made, batches


class Reranker(EncoderKind):
    """A CrossEncoder folder; only Reranking tasks, whose scores are kept by pair."""

    def weights_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's weight files; raises as `find_model` does."""
        return hash_weights(find_model(model, marker=_MARKER).folder, allow_pickle=model.allow_pickle).digest

    def files_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's other files; raises as `find_model` does."""
        return _files(find_model(model, marker=_MARKER))

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> LoadedReranker:
        """The model on the device.

        Raises:
            InputError: it does not load.
            RequestError: it gives several scores a pair.
        """
        located = find_model(model, marker=_MARKER)
        options = {"dtype": TORCH_DTYPE[dtype], "use_safetensors": None if model.allow_pickle else True}
        weights = hash_weights(located.folder, allow_pickle=model.allow_pickle)
        with torch.random.fork_rng(devices=[]), quiet_transformers():
            try:
                loaded = CrossEncoder(
                    str(located.folder),
                    device=str(device),
                    local_files_only=True,
                    trust_remote_code=model.trust_remote_code,
                    model_kwargs=options,
                )
            except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, AttributeError) as error:
                raise InputError(f"model folder {located.folder} does not load ({type(error).__name__}: {error})") from error
        if loaded.num_labels != 1:
            raise RequestError(f"{located.folder} gives {loaded.num_labels} scores a pair, a reranker gives one")
        return LoadedReranker(located=located, spec=model, dtype=dtype, model=loaded.eval(), weights=weights, files=_files(located))

    def encoder(
        self, weights: LoadedReranker, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> TextEncoder:
        """The encoder of pairs."""
        kernel = kernel_identity(device)
        decides = ["reranker", weights.weights.digest, weights.files, weights.dtype, encoding.batch_tokens, kernel]
        parameters = sum(parameter.numel() for parameter in weights.model.parameters())
        fingerprint = Fingerprint(
            model=weights.spec.name,
            source=weights.located.source,
            repository=weights.located.repository,
            commit=weights.located.commit,
            weights_digest=weights.weights.digest,
            weights_sha256=dict(weights.weights.sha256),
            modules=("CrossEncoder",),
            parameters=parameters,
            stored_parameters=weights.weights.stored_parameters,
            dtype=weights.dtype,
            attention="as sentence-transformers chooses: purity is measured, not given",
            max_len=max_len,
            embedding_dim=1,
            ladder="equal lengths",
            batch_tokens=encoding.batch_tokens,
            device=describe_device(device),
            flags=numeric_flags(),
            kernel=kernel,
            digest=hashlib.sha256(json.dumps(decides).encode()).hexdigest(),
        )
        backend = PairBackend(weights, max_len=max_len, batch_tokens=encoding.batch_tokens)
        return TextEncoder(backend, fingerprint=fingerprint, max_len=max_len, flops_per_token=2 * parameters, store=store)

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


def _files(located: LocatedModel) -> str:
    paths = sorted(path for path in located.folder.rglob("*") if path.suffix in (".json", ".txt", ".model", ".jinja", ".py"))
    lines = "".join(f"{sha256_file(path)}  {path.relative_to(located.folder).as_posix()}\n" for path in paths if path.is_file())
    return hashlib.sha256(lines.encode()).hexdigest()


RERANKER = Reranker()
