"""Models of real shapes with random weights, and texts of given token counts: what benchmarks need without a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, PreTrainedConfig, PreTrainedTokenizerFast, Qwen3Config

from harness.core.spec import ModelSpec

_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_FIRST_HAN = 0x4E00
_HAN = 20_000
"""Han characters in the vocabulary, a token each."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a BERT encoder with mean pooling and a Dense layer to `dim` numbers on top, or of a Qwen3 decoder with its last token
    pooled, whose `heads` of `head_dim` numbers share `kv_heads` of keys and values."""

    kind: Literal["bert", "qwen3"] = "bert"
    layers: int
    hidden: int
    heads: int
    intermediate: int
    dim: int = 1792
    kv_heads: int = 0
    head_dim: int = 0
    positions: int = 1024

    def flops(self, counts: npt.NDArray[np.int64]) -> int:
        """FLOP of the matrix products, one text per token count: 2 per weight and token, and in each layer 4 per pair of tokens and number
        of the heads."""
        if self.kind == "bert":
            attended, dense = self.hidden, self.hidden * self.dim
            weights = 4 * self.hidden**2 + 2 * self.hidden * self.intermediate
        else:
            attended, dense = self.heads * self.head_dim, 0
            weights = 2 * self.hidden * (self.heads + self.kv_heads) * self.head_dim + 3 * self.hidden * self.intermediate
        tokens, pairs = int(counts.sum()), int((counts * counts).sum())
        return self.layers * (2 * weights * tokens + 4 * attended * pairs) + 2 * dense * len(counts)


ACGE = Shape(layers=24, hidden=1024, heads=16, intermediate=4096)
QWEN3 = Shape(kind="qwen3", layers=28, hidden=1024, heads=16, kv_heads=8, head_dim=128, intermediate=3072)
"""Qwen3-Embedding-0.6B, with fewer words and positions."""

SMALL = Shape(layers=4, hidden=256, heads=4, intermediate=1024)
TINY = Shape(layers=1, hidden=32, heads=2, intermediate=64, dim=48)
TINY_QWEN3 = Shape(kind="qwen3", layers=1, hidden=32, heads=2, kv_heads=1, head_dim=16, intermediate=64)

SHAPES = {"acge": ACGE, "qwen3": QWEN3, "tiny": TINY, "tiny-qwen3": TINY_QWEN3}


def build_model(folder: Path, shape: Shape) -> ModelSpec:
    """A SentenceTransformer folder of that shape, fp32, weights drawn from seed 0."""
    parts = folder / "parts"
    tokenizer = _tokenizer(shape)
    tokenizer.save_pretrained(parts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(_config(shape, len(tokenizer))).save_pretrained(parts)
        modules = [Transformer(str(parts)), Pooling(shape.hidden, "mean" if shape.kind == "bert" else "lasttoken")]
        if shape.kind == "bert":
            modules.append(Dense(shape.hidden, shape.dim, activation_function=torch.nn.Identity()))
        SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"), create_model_card=False)
    return ModelSpec(name="synthetic", path=str(folder / "model"))


def _config(shape: Shape, vocabulary: int) -> PreTrainedConfig:
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": shape.positions,
        "pad_token_id": 0,
    }
    if shape.kind == "bert":
        return BertConfig(**sizes)
    return Qwen3Config(**sizes, num_key_value_heads=shape.kv_heads, head_dim=shape.head_dim, bos_token_id=None, eos_token_id=None)


def write_texts(counts: npt.NDArray[np.int64], draw: np.random.Generator) -> list[str]:
    """A text of Han characters for each token count, special tokens included."""
    return ["".join(map(chr, draw.integers(_FIRST_HAN, _FIRST_HAN + _HAN, size=max(1, int(count) - 2)))) for count in counts]


def _tokenizer(shape: Shape) -> PreTrainedTokenizerFast:
    words = [*_SPECIALS, *map(chr, range(_FIRST_HAN, _FIRST_HAN + _HAN))]
    vocabulary = {word: index for index, word in enumerate(words)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    single = "[CLS] $A [SEP]" if shape.kind == "bert" else "$A [SEP]"
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    side = "right" if shape.kind == "bert" else "left"
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=shape.positions, padding_side=side, **names)
