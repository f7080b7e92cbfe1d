"""The encoder as scorers want to see it: sliced, normalised unless they take vectors as they are, in the dtype that is scored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from harness.core.errors import EncodingError, RequestError
from harness.core.prompts import TaskPrompts
from harness.core.spec import ScoringSpec, Search
from harness.data.types import passage_text
from harness.evaluate.score.seeding import preserved_random_state

ScoringDtype = Literal["float32", "model"]

_NONE = TaskPrompts()


class EmbeddingModel:
    """What every task but Retrieval and Reranking is given, in the place of the SentenceTransformer of the card's script.

    `raw` maps n texts to their raw vectors: a CPU tensor [n, full dimension] in the model's own dtype, a pure function of each text.
    `dim` slices first; then `F.normalize(p=2, dim=1)` in the model's dtype, as sentence-transformers 6.2 does with `truncate_dim` and
    `normalize_embeddings` (`sliced` leaves it out). `dtype="float32"` widens the result; `dtype="model"` gives what sentence-transformers
    hands to mteb on a CPU: half-precision arrays for fp16, float32 arrays for bf16 (numpy has no bfloat16), tensors in the model's dtype.
    `prompts` go before the texts. `search`: which search Retrieval takes where the scorer has several; `device`: where large ones are
    counted, None for the CPU. No score depends on it. `similarity`: the model's own, of which mteb 1.1.1 does not ask.

    Raises:
        RequestError: `dim` is no positive number, or (when encoding) larger than the model's.
    """

    def __init__(
        self,
        raw: Callable[[Sequence[str]], torch.Tensor],
        *,
        dim: int | None,
        dtype: ScoringDtype,
        prompts: TaskPrompts = _NONE,
        search: Search = ScoringSpec.search,
        device: torch.device | None = None,
        similarity: str = "cosine",
    ) -> None:
        if dim is not None and dim < 1:
            raise RequestError(f"dim={dim}: expected a positive number, or dim=null for all dimensions of the model")
        self.prompts = prompts
        self.search = search
        self.device = device
        self.similarity = similarity
        self.raw = raw
        self._dim = dim
        self._dtype = dtype
        self._normalised = True

    def sliced(self) -> EmbeddingModel:
        """This model with vectors that are cut to `dim` and not normalised."""
        found = copy.copy(self)
        found._normalised = False
        return found

    def encode(self, sentences: Sequence[str], *, convert_to_tensor: bool = False, **_: Any) -> np.ndarray | torch.Tensor:
        """The vectors of `sentences`, [n, dim]: a numpy array, or a tensor where mteb asks for one (Reranking).

        Further keywords of mteb (`batch_size`, `show_progress_bar`) change nothing: no vector depends on its batch.

        Raises:
            RequestError: `dim` is larger than the model's.
            EncodingError: a vector has no direction (NaN, infinity, length zero) as it is scored.
        """
        return self.encode_after(self.prompts.text, sentences, convert_to_tensor=convert_to_tensor)

    def encode_after(self, prompt: str, texts: Sequence[str], *, convert_to_tensor: bool = False) -> np.ndarray | torch.Tensor:
        """What `encode` gives, with this prompt before the texts; raises as it does."""
        vectors = self.vectors([f"{prompt}{text}" for text in texts])
        if convert_to_tensor:
            return vectors
        return np.asarray((vectors.float() if vectors.dtype is torch.bfloat16 else vectors).numpy())

    def vectors(self, texts: list[str]) -> torch.Tensor:
        """The vectors of `texts` in the dtype that is scored, [n, dim]; raises as `encode` does."""
        with torch.no_grad(), preserved_random_state():
            raw = self.raw(texts)
            if self._dim is not None and self._dim > raw.shape[1]:
                raise RequestError(f"dim={self._dim}: the model has {raw.shape[1]} dimensions; set dim to at most that, or dim=null")
            vectors = raw[:, : self._dim]
            vectors = functional.normalize(vectors, p=2, dim=1) if self._normalised else vectors.contiguous()
            _refuse_directionless(vectors, texts, " once normalised" if self._normalised else "")
            return vectors.float() if self._dtype == "float32" else vectors


class RetrievalModel:
    """What Retrieval tasks are given: a DRESModel of mteb 1.1.1, written as in the card's script.

    Queries and passages take their prompts, passages join title and text. Arrays come back
    whatever BEIR asks for, so that on every device the similarities are computed as the card's script did.
    """

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model

    def encode_queries(self, queries: Sequence[str], **_: Any) -> np.ndarray | torch.Tensor:
        """The vectors of the queries, [n, dim]; raises as `EmbeddingModel.encode` does."""
        return self._model.encode_after(self._model.prompts.query, queries)

    def encode_corpus(self, corpus: Sequence[Mapping[str, str]], **_: Any) -> np.ndarray | torch.Tensor:
        """The vectors of the passages, [n, dim]; raises as `EmbeddingModel.encode` does."""
        return self._model.encode_after(self._model.prompts.passage, [passage_text(passage) for passage in corpus])


class RerankingModel:
    """What Reranking tasks are given: C_MTEB's evaluator asks `encode_queries` for the queries and `encode` for the candidates."""

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model

    def encode_queries(self, queries: Sequence[str], *, convert_to_tensor: bool = False, **_: Any) -> np.ndarray | torch.Tensor:
        """The vectors of the queries, [n, dim]; raises as `EmbeddingModel.encode` does."""
        return self._model.encode_after(self._model.prompts.query, queries, convert_to_tensor=convert_to_tensor)

    def encode(self, passages: Sequence[str], *, convert_to_tensor: bool = False, **_: Any) -> np.ndarray | torch.Tensor:
        """The vectors of the candidates, [n, dim]; raises as `EmbeddingModel.encode` does."""
        return self._model.encode_after(self._model.prompts.passage, passages, convert_to_tensor=convert_to_tensor)


def _refuse_directionless(vectors: torch.Tensor, texts: list[str], when: str) -> None:
    """In fp16 a length above 65,504 is infinite, and the vector normalises to zeros without a NaN to be seen."""
    good = torch.isfinite(vectors).all(dim=1) & (vectors != 0).any(dim=1)
    if not bool(good.all()):
        index = int((~good).nonzero()[0])
        raise EncodingError(
            f"the vector of text {index} of {len(texts)} ({texts[index][:40]!r}) has no direction in {vectors.dtype}{when}: "
            "expected finite numbers, not all zero"
            + (". Choose dtype=bf16 or dtype=fp32, whose range is wider." if vectors.dtype == torch.float16 else "")
        )
