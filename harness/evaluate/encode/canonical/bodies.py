"""The layers of a model over a pack of texts: BERT's, with their products joined; or any that transformers runs, with our attention."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface

from harness.core.errors import RequestError
from harness.evaluate.encode.canonical.kernels import Kernels, Reach
from harness.evaluate.encode.canonical.layout import PackLayout
from harness.evaluate.encode.model.families import Masking

BERTS = ("bert", "camembert", "ernie", "roberta", "xlm-roberta")
"""Types of models, as transformers calls them, whose layers are BERT's."""


def body_of(transformer: Any, masking: Masking) -> BertBody | ModelBody:
    """What makes hidden states of a pack's tokens by the layers of a loaded model, whose weights it shares."""
    return BertBody(transformer) if transformer.config.model_type in BERTS else ModelBody(transformer, masking)


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


class BertBody:
    """BERT's layers: one product for queries, keys and values, and residual add with LayerNorm as one kernel where there is one."""

    def __init__(self, transformer: Any) -> None:
        self._embeddings = transformer.embeddings
        self._layers = [_layer_of(layer) for layer in transformer.encoder.layer]
        self._heads: int = transformer.config.num_attention_heads

    def states(self, layout: PackLayout, kernels: Kernels, *, few_layers: bool) -> torch.Tensor:
        """[total, hidden]; `few_layers`: behind so many layers that each kind of them has run once."""
        states = self._embed(layout, kernels)
        for layer in self._layers[: 1 if few_layers else None]:
            query, key, value = layer.qkv(states).view(len(states), 3, self._heads, -1).unbind(1)
            attended = kernels.attention(query, key, value, layout, reach=Reach(), scale=query.shape[2] ** -0.5)
            states = kernels.add_norm(layer.attended(attended.view(states.shape)), states, layer.attention_norm)
            states = kernels.add_norm(layer.down(layer.activation(layer.up(states))), states, layer.norm)
        return states

    def _embed(self, layout: PackLayout, kernels: Kernels) -> torch.Tensor:
        parts = self._embeddings
        words = parts.word_embeddings(layout.ids) + parts.token_type_embeddings.weight[0]
        return kernels.add_norm(words, parts.position_embeddings(layout.positions), parts.LayerNorm)


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


_BY_TEXT = "harness-by-text"
"""How transformers calls the attention below. It makes no masks for a name that it does not know."""


@dataclass(frozen=True)
class _Pack:
    """What attention needs to know of the pack that runs."""

    layout: PackLayout
    kernels: Kernels
    masking: Masking

    def reach(self, window: int | None) -> Reach:
        """The reach in a layer; `window`: a token sees those that are fewer tokens away, as transformers counts."""
        before = None if window is None else window - 1
        return Reach(before, 0 if self.masking == "causal" else before)


def _attend(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: object, *, pack: _Pack, **options: Any
) -> tuple[torch.Tensor, None]:
    """As transformers calls it: queries [1, heads, tokens, head_dim] to [1, tokens, heads, head_dim].

    Raises:
        RequestError: the layer asks for what no kernel of packs does.
    """
    beyond = [name for name in ("position_bias", "s_aux", "softcap") if options.get(name) is not None]
    beyond += ["dropout"] if options.get("dropout") else []
    if attention_mask is not None or beyond:
        what = ", ".join(beyond) or "a mask"
        raise RequestError(f"texts can't share batches: the attention of {type(module).__name__} has {what}. Run with gpu.ladder=exact")
    scale = options.get("scaling") or query.shape[3] ** -0.5
    query, key, value = (tokens[0].transpose(0, 1) for tokens in (query, key, value))
    attended = pack.kernels.attention(query, key, value, pack.layout, reach=pack.reach(options.get("sliding_window")), scale=scale)
    return attended[None], None


AttentionInterface.register(_BY_TEXT, _attend)


class ModelBody:
    """A model of transformers as it is, which sees a pack as one row, and whose attention is ours."""

    def __init__(self, transformer: Any, masking: Masking) -> None:
        self._masking = masking
        self._model, self._short = _sharing(transformer), _sharing(transformer)
        kinds = list(getattr(transformer.config, "layer_types", None) or ["attention"])
        for module in self._short.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.ModuleList) and len(child) == transformer.config.num_hidden_layers:
                    setattr(module, name, child[: max(map(kinds.index, kinds)) + 1])

    def states(self, layout: PackLayout, kernels: Kernels, *, few_layers: bool) -> torch.Tensor:
        """[total, hidden]; `few_layers`: behind so many layers that each kind of them has run once."""
        model = self._short if few_layers else self._model
        pack = _Pack(layout, kernels, self._masking)
        found: torch.Tensor = model(input_ids=layout.ids[None], position_ids=layout.positions[None], pack=pack).last_hidden_state[0]
        return found


def _sharing(transformer: Any) -> Any:
    """The same layers, none of their numbers copied, under a configuration of its own that names the attention above."""
    config = copy.deepcopy(transformer.config)
    config._attn_implementation, config.use_cache = _BY_TEXT, False
    shared = {id(module): module for module in transformer.modules() if not any(module.children())}
    shared |= {id(number): number for number in (*transformer.parameters(), *transformer.buffers())}
    return copy.deepcopy(transformer, shared | {id(transformer.config): config})
