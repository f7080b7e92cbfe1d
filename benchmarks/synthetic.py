"""Models of acge's shape with random weights, and texts of given token counts: what benchmarks need without a download."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from harness.core.spec import ModelSpec

_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_FIRST_HAN = 0x4E00
_HAN = 20_000
"""Han characters in the vocabulary, a token each."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a BERT encoder with mean pooling and a Dense layer on top; 1,024 positions."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    dim: int = 1792
    positions: int = 1024

    def flops(self, counts: npt.NDArray[np.int64]) -> int:
        """FLOP of the matrix products, one text per token count: 2 per weight and token, 4 * hidden per pair of tokens and layer."""
        weights = self.layers * (4 * self.hidden**2 + 2 * self.hidden * self.intermediate)
        tokens, pairs = int(counts.sum()), int((counts * counts).sum())
        return 2 * weights * tokens + 4 * self.layers * self.hidden * pairs + 2 * self.hidden * self.dim * len(counts)


ACGE = Shape(layers=24, hidden=1024, heads=16, intermediate=4096)
SMALL = Shape(layers=4, hidden=256, heads=4, intermediate=1024)
TINY = Shape(layers=1, hidden=32, heads=2, intermediate=64, dim=48)


def build_model(folder: Path, shape: Shape) -> ModelSpec:
    """A SentenceTransformer folder of that shape, fp32, weights drawn from seed 0."""
    parts = folder / "parts"
    tokenizer = _tokenizer(shape.positions)
    tokenizer.save_pretrained(parts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=shape.intermediate,
        max_position_embeddings=shape.positions,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        BertModel(config).save_pretrained(parts)
        dense = Dense(shape.hidden, shape.dim, activation_function=torch.nn.Identity())
        modules = [Transformer(str(parts)), Pooling(shape.hidden, "mean"), dense]
        SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"), create_model_card=False)
    return ModelSpec(name="synthetic", path=str(folder / "model"))


def write_texts(counts: npt.NDArray[np.int64], draw: np.random.Generator) -> list[str]:
    """A text of Han characters for each token count, special tokens included."""
    return ["".join(map(chr, draw.integers(_FIRST_HAN, _FIRST_HAN + _HAN, size=max(1, int(count) - 2)))) for count in counts]


def _tokenizer(positions: int) -> PreTrainedTokenizerFast:
    words = [*_SPECIALS, *map(chr, range(_FIRST_HAN, _FIRST_HAN + _HAN))]
    vocabulary = {word: index for index, word in enumerate(words)}
    backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    backend.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=positions, **names)
