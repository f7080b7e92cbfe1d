"""Texts of many lengths in one batch: linear layers over all of their tokens, attention within each text; no padding, no mask.

What makes a text's vector independent of its companions is not assumed: `proof` compares, on the device at hand, the rows of every size
of pack that will be run.
"""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from harness.evaluate.encode.canonical.bodies import body_of
from harness.evaluate.encode.canonical.kernels import Kernels
from harness.evaluate.encode.canonical.layout import Ids, PackLayout, lay_out
from harness.evaluate.encode.device import is_ampere
from harness.evaluate.encode.model.families import KNOWN, Masking, attention_of, rope_types

_AFTER_PADDING = ("camembert", "longformer", "mpnet", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod")
"""Types of models, as transformers calls them, whose positions start after the padding index."""
_FUSED_HEADS = (16, 32, 64, 128, 256)

_TAIL_ROWS = 128
"""Texts that go through the modules behind the pooling at a time: always as many, so that their kernels are the same."""


class PackedEncoder:
    """Runs packs of texts through the modules of a loaded model, whose weights it shares."""

    def __init__(self, transformer: Any, masking: Masking, tail: Sequence[nn.Module], kernels: Kernels) -> None:
        self._body = body_of(transformer, masking)
        self._padding = position_padding(transformer.config)
        self._pooling: Any = tail[0]
        self._tail = tail[1:]
        self.kernels = kernels

    def lay_out(self, rows: Sequence[Ids], total: int, device: torch.device) -> PackLayout:
        """The rows as a pack."""
        return lay_out(rows, total, device, padding=self._padding)

    def states(self, layout: PackLayout, *, few_layers: bool = False) -> torch.Tensor:
        """Hidden states [total, hidden] of the pack's tokens; `few_layers`: behind so many that each kind of them has run once."""
        return self._body.states(layout, self.kernels, few_layers=few_layers)

    def vectors(self, states: torch.Tensor, layout: PackLayout) -> torch.Tensor:
        """Vectors [texts, embedding_dim] in the order of the rows that the pack was made of."""
        pooled = self._pool(states, layout)
        found = torch.cat([self._finish(block) for block in torch.split(pooled, _TAIL_ROWS)])
        in_order = torch.empty_like(found)
        in_order[layout.order] = found
        return in_order

    def _pool(self, states: torch.Tensor, layout: PackLayout) -> torch.Tensor:
        if self._pooling.pooling_mode == "cls":
            return states[layout.starts]
        if self._pooling.pooling_mode == "lasttoken":
            return states[layout.starts + layout.lengths - 1]
        return self.kernels.mean(states, layout)

    def _finish(self, pooled: torch.Tensor) -> torch.Tensor:
        features = {"sentence_embedding": functional.pad(pooled, (0, 0, 0, _TAIL_ROWS - len(pooled)))}
        for module in self._tail:
            features = module(features)
        return features["sentence_embedding"][: len(pooled)]


def position_padding(config: Any) -> int | None:
    """The padding index after which RoBERTa's positions start; None where they start at 0."""
    return config.pad_token_id if config.model_type in _AFTER_PADDING else None


@dataclass(frozen=True)
class Packable:
    """What of a model decides how its texts are packed: the width of a head, and the `obstacle` if they can't be."""

    head_dim: int
    obstacle: str | None

    def kernels(self, device: torch.device, dtype: torch.dtype) -> Kernels:
        """The fused kernels on a GPU of 2020 or newer in half precision where Triton is installed, else torch's."""
        fused = dtype in (torch.float16, torch.bfloat16) and self.head_dim in _FUSED_HEADS
        if fused and device.type == "cuda" and is_ampere(device) and importlib.util.find_spec("triton") is not None:
            from harness.evaluate.encode.canonical.fused import FusedKernels  # Triton comes with torch's CUDA builds alone

            return FusedKernels()
        return Kernels()


def packable(config: Any, tail: Sequence[str], pooling: object) -> Packable:
    """By a transformers configuration, the names of the modules behind the transformer, and the pooling's mode."""
    obstacle = None
    if config.model_type not in KNOWN or attention_of(config.model_type) == "eager" or getattr(config, "use_task_id", False):
        obstacle = f"its layers are {config.model_type}'s"
    elif "linear_attention" in (getattr(config, "layer_types", None) or ()):
        obstacle = "its linear attention runs from one text into the next"
    elif "dynamic" in rope_types(config):
        obstacle = "its dynamic positions depend on the longest text of a batch"
    elif tail[0] != "Pooling" or pooling not in ("cls", "lasttoken", "mean"):
        obstacle = f"its pooling is {pooling}" if tail[0] == "Pooling" else f"{tail[0]} stands before its pooling"
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return Packable(head_dim, obstacle)
