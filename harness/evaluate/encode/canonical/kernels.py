"""The operations of a pack that look at more than one token or row, and torch's own kernels for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from harness.evaluate.encode.canonical.layout import PackLayout


@dataclass(frozen=True, slots=True)
class Reach:
    """How many tokens `before` and `after` itself a token sees, within its text; None: all of them."""

    before: int | None = None
    after: int | None = None

    def mask(self, length: int, device: torch.device) -> torch.Tensor | None:
        """[length, length] of queries and keys, True where a key is seen; None where a text of this length needs none."""
        if (self.before is None or self.before >= length - 1) and self.after in (None, 0):
            return None
        places = torch.arange(length, device=device)
        apart = places[None, :] - places[:, None]
        seen = torch.ones(length, length, dtype=torch.bool, device=device)
        if self.before is not None:
            seen &= apart >= -self.before
        if self.after is not None:
            seen &= apart <= self.after
        return seen


class Kernels:
    """What a pack's forward pass is built of, by torch: attention over the texts of one length at a time."""

    name: str | None = None
    """Goes into the names of the vectors; None: torch's, of which the encoder chooses one."""

    def attention(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, layout: PackLayout, *, reach: Reach, scale: float
    ) -> torch.Tensor:
        """[tokens, heads, head_dim] of queries of this shape, and of keys and values [tokens, heads or fewer, head_dim]: each token over
        those of its text that it reaches. Rows that belong to no text are 0."""
        parts, start = [], 0
        for length, number in layout.groups:
            end = start + length * number
            inputs = [tokens[start:end].view(number, length, *tokens.shape[1:]).transpose(1, 2) for tokens in (query, key, value)]
            parts.append(self._attend(inputs, reach, scale).transpose(1, 2).reshape(length * number, *query.shape[1:]))
            start = end
        return torch.cat([*parts, query.new_zeros(len(query) - layout.real, *query.shape[1:])])

    def _attend(self, inputs: Sequence[torch.Tensor], reach: Reach, scale: float) -> torch.Tensor:
        """[texts, heads, length, head_dim]; no kernel of torch but the flash one takes fewer heads of keys than of queries."""
        query, key, value = inputs
        shared = query.shape[1] // key.shape[1]
        if shared > 1:
            key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        mask = reach.mask(query.shape[2], query.device)
        causal = mask is None and reach.after == 0
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal, scale=scale)

    def add_norm(self, inputs: torch.Tensor, residual: torch.Tensor | None, norm: nn.LayerNorm) -> torch.Tensor:
        """LayerNorm of inputs [tokens, hidden] plus residual."""
        found: torch.Tensor = norm(inputs if residual is None else inputs + residual)
        return found

    def mean(self, states: torch.Tensor, layout: PackLayout) -> torch.Tensor:
        """The mean of each text's tokens, [texts, hidden]: in fp32, one after the other."""
        numbers = states[: layout.real].float()
        sums = torch.segment_reduce(numbers, "sum", lengths=layout.lengths, axis=0, unsafe=True)
        return (sums / layout.lengths[:, None]).to(states.dtype)
