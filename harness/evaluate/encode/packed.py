"""Texts of many lengths in one batch: linear layers over all of their tokens, attention within each text; no padding, no mask.

For encoders built of BERT's layers. What makes a text's vector independent of its companions is not assumed: `proof` compares, on the
device at hand, the rows of every size of pack that will be run.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn import functional

from harness.evaluate.encode.layout import Ids, PackLayout, lay_out
from harness.evaluate.encode.watching import watched_attention

KNOWN = ("bert", "camembert", "ernie", "roberta", "xlm-roberta")
"""Types of models, as transformers calls them, whose layers are BERT's."""

_FUSED_HEADS = (16, 32, 64, 128)

_TAIL_ROWS = 128
"""Texts that go through the modules behind the pooling at a time: always as many, so that their kernels are the same."""


class Kernels(Protocol):
    """The operations that look at more than one token or row. `name`: goes into the names of the vectors."""

    name: str

    def attention(self, qkv: torch.Tensor, layout: PackLayout, heads: int) -> torch.Tensor:
        """[tokens, hidden] of queries, keys and values [tokens, 3 * hidden], each token over the tokens of its text."""
        ...

    def add_norm(self, inputs: torch.Tensor, residual: torch.Tensor | None, norm: nn.LayerNorm) -> torch.Tensor:
        """LayerNorm of inputs [tokens, hidden] plus residual."""
        ...

    def mean(self, states: torch.Tensor, layout: PackLayout) -> torch.Tensor:
        """[texts, hidden]."""
        ...


class PlainKernels:
    """By torch: attention over the texts of one length at a time."""

    name = "sdpa"  # which of its kernels: the encoder's choice

    def attention(self, qkv: torch.Tensor, layout: PackLayout, heads: int) -> torch.Tensor:
        """As `Kernels` says."""
        hidden = qkv.shape[1] // 3
        parts = [
            functional.scaled_dot_product_attention(*piece.view(number, length, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4))
            .transpose(1, 2)
            .reshape(number * length, hidden)
            for (length, number), piece in zip(layout.groups, _by_group(qkv, layout), strict=True)
        ]
        return torch.cat([*parts, qkv.new_zeros(len(qkv) - layout.real, hidden)])

    def add_norm(self, inputs: torch.Tensor, residual: torch.Tensor | None, norm: nn.LayerNorm) -> torch.Tensor:
        """As `Kernels` says."""
        found: torch.Tensor = norm(inputs if residual is None else inputs + residual)
        return found

    def mean(self, states: torch.Tensor, layout: PackLayout) -> torch.Tensor:
        """As `Kernels` says; in fp32, a text's tokens one after the other."""
        numbers = states[: layout.real].float()
        sums = torch.segment_reduce(numbers, "sum", lengths=layout.lengths, axis=0, unsafe=True)
        return (sums / layout.lengths[:, None]).to(states.dtype)


class _Watched:
    """Kernels whose attention is noted."""

    def __init__(self, kernels: Kernels, names: set[str]) -> None:
        self._names = names
        self.name, self.add_norm, self.mean, self._kernels = kernels.name, kernels.add_norm, kernels.mean, kernels

    def attention(self, qkv: torch.Tensor, layout: PackLayout, heads: int) -> torch.Tensor:
        """As `Kernels` says."""
        with watched_attention() as names:
            out = self._kernels.attention(qkv, layout, heads)
        self._names |= names or {self.name}
        return out


def _by_group(tokens: torch.Tensor, layout: PackLayout) -> Sequence[torch.Tensor]:
    return torch.split(tokens[: layout.real], [length * number for length, number in layout.groups])


@dataclass(frozen=True)
class _Layer:
    """A layer of BERT; `qkv` are the three layers as one."""

    qkv: nn.Module
    attended: nn.Module
    attention_norm: nn.LayerNorm
    up: nn.Module
    activation: Any
    down: nn.Module
    norm: nn.LayerNorm


class _Joined(nn.Module):
    """Layers of the same inputs, one beside the other: one product where they are plain, each by its own kernel where they are not."""

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self._layers = list(layers)
        self._weight: torch.Tensor | None = None
        if all(type(layer) is nn.Linear for layer in layers):
            self._weight = torch.cat([layer.weight.detach() for layer in layers])
            self._bias = torch.cat([layer.bias.detach() for layer in layers])
            for layer, weight, bias in zip(layers, self._weight.chunk(len(layers)), self._bias.chunk(len(layers)), strict=True):
                layer.weight.data, layer.bias.data = weight, bias  # so that the numbers lie in memory once

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[rows, outputs of all layers]."""
        if self._weight is not None:
            return functional.linear(inputs, self._weight, self._bias)
        return torch.cat([layer(inputs) for layer in self._layers], dim=1)


class PackedEncoder:
    """Runs packs of texts through the modules of a loaded model, whose weights it shares."""

    def __init__(self, transformer: Any, tail: Sequence[nn.Module], kernels: Kernels) -> None:
        self._embeddings = transformer.embeddings
        self._layers = [_layer_of(layer) for layer in transformer.encoder.layer]
        self._heads: int = transformer.config.num_attention_heads
        self._first_position = first_position(transformer.config)
        self._pooling: Any = tail[0]
        self._tail = tail[1:]
        self.kernels = kernels

    def lay_out(self, rows: Sequence[Ids], total: int, device: torch.device) -> PackLayout:
        """The rows as a pack."""
        return lay_out(rows, total, device, first_position=self._first_position)

    @contextmanager
    def watched(self) -> Iterator[set[str]]:
        """Within this, the names of the kernels that attention ran on are noted in the set."""
        names: set[str] = set()
        kernels, self.kernels = self.kernels, _Watched(self.kernels, names)
        try:
            yield names
        finally:
            self.kernels = kernels

    def states(self, layout: PackLayout, *, layers: int | None = None) -> torch.Tensor:
        """Hidden states [total, hidden] of the pack's tokens behind so many layers, behind all of them unless told."""
        states = self._embed(layout)
        for layer in self._layers[:layers]:
            attended = layer.attended(self.kernels.attention(layer.qkv(states), layout, self._heads))
            states = self.kernels.add_norm(attended, states, layer.attention_norm)
            states = self.kernels.add_norm(layer.down(layer.activation(layer.up(states))), states, layer.norm)
        return states

    def vectors(self, states: torch.Tensor, layout: PackLayout) -> torch.Tensor:
        """Vectors [texts, embedding_dim] in the order of the rows that the pack was made of."""
        pooled = self._pool(states, layout)
        found = torch.cat([self._finish(block) for block in torch.split(pooled, _TAIL_ROWS)])
        in_order = torch.empty_like(found)
        in_order[layout.order] = found
        return in_order

    def _embed(self, layout: PackLayout) -> torch.Tensor:
        parts = self._embeddings
        words = parts.word_embeddings(layout.ids) + parts.token_type_embeddings.weight[0]
        return self.kernels.add_norm(words, parts.position_embeddings(layout.positions), parts.LayerNorm)

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


def first_position(config: Any) -> int:
    """The position of a text's first token: RoBERTa's start after the padding index."""
    return config.pad_token_id + 1 if config.model_type in ("camembert", "mpnet", "roberta", "xlm-roberta") else 0


@dataclass(frozen=True)
class Packable:
    """What of a model decides how its texts are packed: the width of a head, and the `obstacle` if they can't be."""

    head_dim: int
    obstacle: str | None

    def kernels(self, device: torch.device, dtype: torch.dtype) -> Kernels:
        """The fused kernels on a GPU in half precision where Triton is installed, else torch's."""
        half = dtype in (torch.float16, torch.bfloat16)
        if device.type == "cuda" and half and self.head_dim in _FUSED_HEADS and importlib.util.find_spec("triton") is not None:
            from harness.evaluate.encode.fused import FusedKernels  # Triton comes with torch's CUDA builds alone

            return FusedKernels()
        return PlainKernels()


def packable(config: Any, tail: Sequence[str], pooling: object) -> Packable:
    """By a transformers configuration, the names of the modules behind the transformer, and the pooling's mode."""
    obstacle = None
    if config.model_type not in KNOWN or getattr(config, "is_decoder", False) or getattr(config, "use_task_id", False):
        obstacle = f"its layers are {config.model_type}'s"
    elif tail[0] != "Pooling" or pooling not in ("cls", "lasttoken", "mean"):
        obstacle = f"its pooling is {pooling}" if tail[0] == "Pooling" else f"{tail[0]} stands before its pooling"
    return Packable(config.hidden_size // config.num_attention_heads, obstacle)


def _layer_of(layer: Any) -> _Layer:
    attention = layer.attention
    return _Layer(
        qkv=_Joined([attention.self.query, attention.self.key, attention.self.value]),
        attended=attention.output.dense,
        attention_norm=attention.output.LayerNorm,
        up=layer.intermediate.dense,
        activation=layer.intermediate.intermediate_act_fn,
        down=layer.output.dense,
        norm=layer.output.LayerNorm,
    )
