"""What a plan needs of a model: which texts are one vector, and its sizes. Runs no model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from harness.core.spec import Dtype, EncodingSpec
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.model.own import OwnSettings

if TYPE_CHECKING:  # a finished run is answered without torch
    import torch

    from harness.evaluate.encode.store.shards import Keys
    from harness.evaluate.encode.work import Architecture

Basis = Literal["record", "counted", "characters", "modelled", "unknown"]
"""How texts and tokens are known: from a finished record; counted, with the model's tokenizer; from the characters of the data, without it;
modelled from the benchmark's known statistics; or not at all."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Texts as an encoder would see them. `names`: [n, 16], of their vectors. `counts`: [n], tokens after cutting, known as `basis` says.
    `cut`: [n]."""

    basis: Basis
    names: Keys
    counts: IntArray
    cut: npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A model without its weights in memory. What is not known of it is None.

    `weights_digest`, `files_digest`: its weights and its other files, as its kind names them. `stored_parameters`: numbers in its weight
    files. `max_positions`: the most tokens of a text that it carries. `embedding_dim`: numbers in a raw vector. `architecture`: by which
    its work is counted. `own`: what its own files say of prompts and lengths.
    """

    weights_digest: str
    files_digest: str = ""
    stored_parameters: int | None = None
    max_positions: int | None = None
    embedding_dim: int | None = None
    architecture: Architecture | None = None
    own: OwnSettings = field(default_factory=OwnSettings)

    @abstractmethod
    def digest(self, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
        """`Fingerprint.digest` of its vectors under the setting."""

    @abstractmethod
    def count(self, texts: Sequence[str], *, max_len: int, encoding: EncodingSpec, digest: str) -> Counted:
        """The texts as its encoder would count and name them under the setting of the digest.

        Raises:
            InputError: a text can't be tokenised.
            RequestError: `max_len` has no room for a token.
        """

    def refuses(self, dtype: Dtype) -> str | None:
        """Why it can't run in the dtype; None where it can, or nothing is known to refuse."""
        del dtype
        return None
