"""The seam of encoders: what a run needs of one, and the kinds there are.

A kind is one object, registered under the name that `model.kind=` takes (docs/extending.md): `ENCODERS.register("mine", MyKind())`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from harness.core.costs import Counters
from harness.core.errors import RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.plugins import Seam
from harness.core.sketch import Sketch
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.shapes import ShapeLadder, packing
from harness.evaluate.encode.model.own import OwnSettings
from harness.evaluate.encode.planned import Outline

if TYPE_CHECKING:  # a finished run is answered without torch
    import torch

    from harness.evaluate.encode.store.store import VectorStore
    from harness.evaluate.encode.work import Architecture


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
    `cut`: [n], whether `max_len` shortened it. `ids`: [n, 16], digests of the token ids; None where the kind has none.
    """

    vectors: torch.Tensor
    tokens: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]
    ids: npt.NDArray[np.uint8] | None = None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the check before a run found, all of it as expected: plain values for the manifest, and the seconds it took. `notes`: what a
    reader of the scores must know of it, a sentence each. `sketch`: what stays of the vectors; None where the kind keeps none."""

    found: dict[str, Any]
    seconds: float
    notes: tuple[str, ...] = ()
    sketch: Sketch | None = None


class Encoder(Protocol):
    """Texts to raw vectors by one model in one dtype under one `max_len` on one device. `counters`: since it was made."""

    counters: Counters

    @property
    def embedding_dim(self) -> int:
        """Numbers in a raw vector."""
        ...

    @property
    def fingerprint(self) -> Fingerprint:
        """What decides its vectors; `digest`, `weights_digest` and `parameters` at least."""
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
    """Makes encoders. A class that derives from this one need only have `weights_digest`, `load` and `encoder`.

    `sketched`: whether its check gives a sketch of the canary's vectors.
    """

    sketched: bool = False

    @abstractmethod
    def weights_digest(self, model: ModelSpec) -> str:
        """Names the weights that `load` would load; finished records are compared with it."""
        ...

    def files_digest(self, model: ModelSpec) -> str:
        """Names whatever else of the model decides its vectors: tokenizer, modules, their settings."""
        return ""

    def problem(self, model: ModelSpec) -> str | None:
        """Why `load` would not get at the model from here, with the way out; nothing is loaded or downloaded to find out.

        Raises:
            HarnessError: the same.
        """
        return None

    @abstractmethod
    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> Any:
        """The weights, which all encoders of the model in this dtype share."""
        ...

    @abstractmethod
    def encoder(self, weights: Any, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None) -> Encoder:
        """The encoder of the loaded weights under one setting; with a `store`, vectors are found and kept there."""
        ...

    def check(self, encoder: Any) -> Checked | None:
        """Check an encoder and its store before its first text; None where the kind has no check.

        Raises:
            CanaryError: it does not encode as it should.
            InputError: the store has other bits than the encoder makes.
        """
        return None

    def prove_store(self, encoder: Any) -> None:
        """Where a run skips the check: find out whether the encoder's store has the bits that the encoder makes.

        Raises:
            InputError: it has others.
        """
        return

    def own_settings(self, model: ModelSpec) -> OwnSettings:
        """What the model's own files say of prompts and lengths; nothing where the kind knows of none."""
        return OwnSettings()

    def spread(self, encoder: Any, devices: Sequence[torch.device], started: Any) -> Any:
        """Let an encoder run on several devices at once; `started`: what this gave back for the same weights and devices before, if it did.

        Raises:
            RequestError: encoders of the kind run on one device.
            MachineError: a device does not give the same bits, or has not the memory.
        """
        raise RequestError(f"devices= is for encoders of kind canonical, and {type(encoder).__name__} runs on one device: leave it out")

    def outline(self, model: ModelSpec) -> Outline:
        """What a plan needs of the model, without its weights in memory and without a download."""
        raise RequestError(f"model.kind={model.kind} has no outline of {model.name}: tokens are estimated from characters")

    def cost(
        self, architecture: Architecture, counts: npt.NDArray[np.int64], *, encoding: EncodingSpec, positions: int
    ) -> tuple[Counters, npt.NDArray[np.int64]]:
        """`forwards`, `tokens` and `flops` of texts of these token counts in one go, by a model that carries so many; and the FLOP of each
        text, padding among them, dummy rows not. In the batches of the ladder, full ones all, unless the kind says otherwise."""
        ladder = ShapeLadder(packing(encoding, architecture.packs), positions)
        forwards, tokens = ladder.plan(counts)
        cost = Counters(forwards=forwards, tokens=tokens, flops=architecture.flops(ladder, counts))
        return cost, architecture.text_flops(ladder.lengths(counts))


ENCODERS: Seam[EncoderKind] = Seam(
    "encoders",
    {
        "canonical": "harness.evaluate.encode.canonical.kind:CANONICAL",
        "endpoint": "harness.evaluate.encode.whole.endpoint:ENDPOINT",
        "reference": "harness.evaluate.encode.whole.as_is:REFERENCE",
        "reranker": "harness.evaluate.encode.whole.reranker:RERANKER",
    },
)
"""The kinds of `model.kind=`."""
