"""The seam of encoders: what a run needs of one, and the kinds there are.

A kind is one object, registered under the name that `model.kind=` takes (docs/extending.md): `ENCODERS.register("mine", MyKind())`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from harness.core.errors import RequestError
from harness.core.plugins import Seam
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.run.encode.outline import Outline
from harness.run.encode.store import VectorStore


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What encoding has cost; subtract an earlier value to know what lay between.

    `distinct`: different token id sequences, counted per call; `real_tokens`: theirs. `found`: of these, in the store. `tokens`: through
    the model, padding and dummy rows among them, and `flops` what they took (`work`). `cut`: texts that `max_len` shortened. Seconds of
    tokenising overlap those of encoding.
    """

    texts: int = 0
    distinct: int = 0
    found: int = 0
    forwards: int = 0
    tokens: int = 0
    flops: int = 0
    real_tokens: int = 0
    cut: int = 0
    tokenize_seconds: float = 0.0
    encode_seconds: float = 0.0
    store_seconds: float = 0.0

    def __add__(self, other: Counters) -> Counters:
        return self._with(other, 1)

    def __sub__(self, other: Counters) -> Counters:
        return self._with(other, -1)

    def _with(self, other: Counters, sign: int) -> Counters:
        names = [field.name for field in dataclasses.fields(self)]
        return Counters(**{name: getattr(self, name) + sign * getattr(other, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class EncodingStep:
    """Where a call stands.

    `read`: distinct texts that were tokenised and looked up, in the order of the call, of `texts`; `found`: of these, in the store.
    `tokens`: real ones that went through the model. `done`: FLOP of the batches that ran, of those `planned`, which is an estimate by
    characters until all texts are read.
    """

    texts: int
    read: int
    found: int
    tokens: int
    done: int
    planned: int


OnStep = Callable[[EncodingStep], None]


@dataclass(frozen=True)
class Encoded:
    """Texts as vectors, with what became of each text on the way.

    `vectors`: [n, embedding_dim] on the CPU, raw, in the model's dtype. `tokens`: [n], specials included, after cutting.
    `cut`: [n], whether `max_len` shortened it.
    """

    vectors: torch.Tensor
    tokens: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the check before a run found, all of it as expected: plain values for the manifest, and the seconds it took."""

    found: dict[str, Any]
    seconds: float


class EncoderIdentity(Protocol):
    """What decides an encoder's vectors, for the manifest."""

    @property
    def digest(self) -> str:
        """A SHA-256 over everything that can change a bit of a vector."""
        ...

    @property
    def weights_digest(self) -> str:
        """Names the weights."""
        ...

    @property
    def commit(self) -> str | None:
        """Of the hub, where the model comes from there."""
        ...

    @property
    def parameters(self) -> int:
        """How many numbers the weights are."""
        ...

    def as_dict(self) -> dict[str, Any]:
        """Plain values, these and whatever else a reader should know."""
        ...


class Encoder(Protocol):
    """Texts to raw vectors by one model in one dtype under one `max_len` on one device. `counters`: since it was made."""

    counters: Counters

    @property
    def max_len(self) -> int:
        """The most tokens of a text that are encoded, specials included."""
        ...

    @property
    def embedding_dim(self) -> int:
        """Numbers in a raw vector."""
        ...

    @property
    def vector_bytes(self) -> int:
        """Bytes of a raw vector."""
        ...

    @property
    def fingerprint(self) -> EncoderIdentity:
        """What decides its vectors."""
        ...

    def text_flops(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """FLOP of one text of each of the token counts."""
        ...

    def encode_counted(self, texts: Sequence[str], *, progress: OnStep | None = None) -> Encoded:
        """The raw vectors of the texts, in their order, and their token counts.

        Raises:
            EncodingError: a vector holds NaN or infinity.
        """
        ...


class EncoderKind(Protocol):
    """Makes encoders. A class that derives from this one need only have the first three methods."""

    def weights_digest(self, model: ModelSpec) -> str:
        """Names the weights that `load` would load; finished records are compared with it."""
        ...

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> Any:
        """The weights, which all encoders of the model in this dtype share."""
        ...

    def encoder(self, weights: Any, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None) -> Encoder:
        """The encoder of the loaded weights under one setting; with a `store`, vectors are found and kept there."""
        ...

    def check(self, encoder: Any) -> Checked | None:
        """Check an encoder before its first text; None where the kind has no check.

        Raises:
            CanaryError: it does not encode as it should.
        """
        return None

    def outline(self, model: ModelSpec) -> Outline:
        """What a plan needs of the model, without its weights in memory and without a download."""
        raise RequestError(f"model.kind={model.kind} gives no plan: tokens are estimated from characters")


ENCODERS: Seam[EncoderKind] = Seam("encoders", {"canonical": "harness.run.encode.kinds:CANONICAL"})
"""The kinds of `model.kind=`."""
