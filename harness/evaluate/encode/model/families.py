"""Architectures that run as a pure function of token ids, and the mask that each takes so that no neighbour of a text chooses its kernel.

Rows are padded on the right, whatever side the tokenizer names: a row's own tokens keep their places, and rotary positions count distances.

* bidirectional: a ready 4-D mask, which transformers takes as it is. A 2-D one that happens to mask nothing would be dropped.
* causal: no mask. A token sees those before it, and the padding stands behind them all; which of them are pooled is Pooling's to know.
* windowed: ModernBERT's layers of two kinds take two ready masks. Gemma 3 as an encoder makes both from a 2-D mask, and never drops one.

Linear attention (Qwen3.5) is causal, too: its convolution and its state run from a row's beginning.

transformers 5.23: `masking_utils`, `models/modernbert`, `models/gemma3`, `models/qwen3_5`.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any, Literal

import torch

from harness.core.errors import RequestError

Masking = Literal["bidirectional", "causal", "windowed", "gemma"]

_BIDIRECTIONAL = ("bert", "camembert", "distilbert", "electra", "ernie", "gte", "mpnet", "nomic_bert", "roberta", "xlm-roberta")
_CAUSAL = ("gemma2", "gemma3_text", "llama", "ministral3", "mistral", "qwen2", "qwen3", "qwen3_5_text")
_EITHER_WAY = ("gemma3_text", "llama", "qwen2", "qwen3")
_WINDOWED = ("modernbert",)
_EAGER = ("gemma2", "mpnet")  # their scores take a bias or a cap, which no kernel of torch has

KNOWN = tuple(sorted((*_BIDIRECTIONAL, *_CAUSAL, *_WINDOWED)))
"""The types of models, as transformers calls them."""


def attention_of(kind: object) -> str:
    """What transformers calls the attention that a type of model runs with: one kernel, or matrix products with a softmax between them."""
    return "eager" if kind in _EAGER else "sdpa"


def masking_of(config: Any) -> Masking:
    """How a model of the configuration is masked.

    Raises:
        RequestError: none of the ways fits it.
    """
    kind = config.model_type
    if kind == "qwen3_5_text" and (found := [name for name in ("fla", "causal_conv1d") if importlib.util.find_spec(name)]):
        raise RequestError(f"its linear attention would run by kernels of {found[0]}, of which nothing is proven")
    if "longrope" in rope_types(config):  # transformers writes the frequencies of each batch into the one table of the model
        raise RequestError("its rotary positions (longrope) are scaled by the longest text of a batch")
    if kind in _WINDOWED:
        return "windowed"
    if kind in _BIDIRECTIONAL and not getattr(config, "is_decoder", False):
        return "bidirectional"
    if kind in _CAUSAL:
        if getattr(config, "use_bidirectional_attention", False):
            if kind == "gemma3_text":
                return "gemma"
        elif getattr(config, "is_causal", True):
            return "causal"
        elif kind in _EITHER_WAY and "sliding_attention" not in (getattr(config, "layer_types", None) or ()):
            return "bidirectional"
    raise RequestError(f"the attention of its {kind} is neither one-way nor two-way in every layer, or it is another architecture")


def rope_types(config: Any) -> list[object]:
    """How a model's rotary positions are scaled; some have another way for each kind of layer."""
    found = getattr(config, "rope_parameters", None) or {}
    each = [found, *(value for value in found.values() if isinstance(value, Mapping))]
    return [one.get("rope_type") for one in each]


def attention_mask(config: Any, masking: Masking, mask: torch.Tensor | None, dtype: torch.dtype) -> Any:
    """What the model's `attention_mask` is for a batch whose real tokens `mask` [rows, length] marks; None: all are real."""
    if mask is None or masking == "causal":
        return None
    if masking == "bidirectional":
        ready = mask[:, None, None, :]
        if attention_of(config.model_type) == "sdpa":
            return ready
        return torch.zeros_like(ready, dtype=dtype).masked_fill(~ready, torch.finfo(dtype).min)  # is added to the scores
    if masking == "gemma":
        return mask.to(torch.int64)
    from transformers.masking_utils import create_bidirectional_mask, create_bidirectional_sliding_window_mask

    like = torch.empty((*mask.shape, 0), dtype=dtype, device=mask.device)
    asked = {"config": config, "inputs_embeds": like, "attention_mask": mask, "allow_is_bidirectional_skip": False}
    return {
        "full_attention": create_bidirectional_mask(**asked),
        "sliding_attention": create_bidirectional_sliding_window_mask(**asked),
    }
