"""Small random SentenceTransformer folders, built in place: the real classes of transformers and sentence-transformers, saved by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast

from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.canonical.kind import CANONICAL
from harness.evaluate.encode.store.store import VectorStore

HIDDEN = 32
POSITIONS = 64
HAN = "一二三四五六七八九十天地人你我他好中文本句子模型今明昨日月星山水火木金土大小多少上下左右前后东西南北"

DECODERS = ("qwen2", "qwen3", "qwen3_5_text", "llama", "mistral", "ministral3", "gemma2", "gemma3_text")
BYTEWISE = ("qwen2", "qwen3_5_text")  # transformers splits these by bytes whatever tokenizer.json says: WordPiece behind it loses all Han
_WINDOW: dict[str, Any] = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
_HYBRID: dict[str, Any] = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
TWINS: dict[str, dict[str, Any]] = {
    "BERT": {"model_type": "bert", "pooling": "cls", "normalize": True},
    "XLM-R (bge-m3)": {"model_type": "xlm-roberta", "pooling": "cls", "normalize": True},
    "ModernBERT": {"model_type": "modernbert", "pooling": "cls", "local_attention": 16, "global_attn_every_n_layers": 2},
    "NomicBert": {"model_type": "nomic_bert", "pooling": "mean", "normalize": True},
    "GTE": {"model_type": "gte", "pooling": "cls"},
    "Qwen2": {"model_type": "qwen2", "pooling": "lasttoken", "padding_side": "left"},
    "Qwen3": {"model_type": "qwen3", "pooling": "lasttoken", "padding_side": "left", "normalize": True},
    "Qwen3, two-way": {"model_type": "qwen3", "pooling": "mean", "is_causal": False},
    "Llama": {"model_type": "llama", "pooling": "mean", "dense": 48},
    "Mistral": {"model_type": "mistral", "pooling": "lasttoken", "padding_side": "left", "sliding_window": 16},
    "Ministral 3": {"model_type": "ministral3", "pooling": "mean"},
    "Gemma 3": {"model_type": "gemma3_text", "pooling": "lasttoken", **_WINDOW},
    "Gemma 3, two-way (EmbeddingGemma)": {
        "model_type": "gemma3_text",
        "pooling": "mean",
        "use_bidirectional_attention": True,
        "dense": 48,
        "normalize": True,
        **_WINDOW,
    },
    "MPNet": {"model_type": "mpnet", "pooling": "mean"},
    "Gemma 2": {"model_type": "gemma2", "pooling": "lasttoken", "sliding_window": 16},
    "Qwen3.5": {"model_type": "qwen3_5_text", "pooling": "lasttoken", "padding_side": "left", **_HYBRID},
}
"""A tiny random model of each architecture that runs as a pure function: arguments of `build_model`."""

_AFTER_PADDING = ("camembert", "mpnet", "roberta", "xlm-roberta")  # their positions start after the padding index

HOSTILE = [
    "",
    " ",
    "\n\t  \u3000",
    "你好",
    "  你好  ",
    "ABC abc Àé ß İ",
    "😀👩\u200d👩\u200d👧 emoji 🏳️\u200d🌈",
    "a" * 150,
    "abc" * 3000,
    "天" * 100_000,
    "今 天 a1 " * 5000,
    "[CLS] [SEP][PAD] [MASK] [UNK] [sep]",
    "http://a.b/c.jpg",
    "data:image/png;base64,AAAA",
    "\x00\x01\ufffd\u200b\ufeff",
    "e\u0301 一\u0301 一\ufe0f",
    "“中文”，标点。！？…—《》",
    "١٢٣ ४५६ 𠀀𠀁 ㍿ ｆｕｌｌ",
]
"""Texts at the edges of tokenisers: nothing, blanks, emoji, walls of ASCII, 100,000 characters, special tokens spelled out, marks."""


def build_model(
    folder: Path,
    *,
    model_type: str = "bert",
    pooling: str = "mean",
    dense: int | None = None,
    normalize: bool = False,
    scale: float = 0.3,
    seed: int = 0,
    padding_side: str = "right",
    **config: Any,
) -> Path:
    """A SentenceTransformer of the kind, with fp32 weights drawn from `seed`, saved to `folder`."""
    parts = folder / "parts"
    tokenizer = _tokenizer(
        pad_id=1 if model_type in _AFTER_PADDING else 0,
        decoder=model_type in DECODERS,
        padding_side=padding_side,
        bytewise=model_type in BYTEWISE,
    )
    tokenizer.save_pretrained(parts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _transformer(model_type, len(tokenizer), tokenizer.pad_token_id, scale, config).save_pretrained(parts)
        modules = [Transformer(str(parts)), Pooling(HIDDEN, pooling)]
        if dense is not None:
            modules.append(Dense(HIDDEN, dense, activation_function=torch.nn.Identity()))
        if normalize:
            modules.append(Normalize())
        SentenceTransformer(modules=modules, device="cpu").save(str(folder / "model"), create_model_card=False)
    return folder / "model"


def write_tasks(root: Path) -> Path:
    """Three tasks that share texts, some of them longer than 8 and 16 tokens, as local data."""
    words = ["今天天气", "明日火星", "中文句子", "你好模型", "山水小大", "上下左右", "东西南北", "木金土水"]
    pairs = [(words[i % 8] * (1 + i % 7), words[(i + i // 8) % 8] + words[i % 3]) for i in range(40)]
    write_rows(root / "STSB" / "test.jsonl", [{"sentence1": a, "sentence2": b, "score": i % 6} for i, (a, b) in enumerate(pairs)])
    lists = {"sent1": [a for a, _ in pairs], "sent2": [b + "一" for _, b in pairs], "labels": [i % 2 for i in range(40)]}
    write_rows(root / "Ocnli" / "validation.jsonl", [lists])
    reviews = [{"text": words[i % 8] + words[i % 5], "label": int(i % 8 > 3)} for i in range(80)]
    write_rows(root / "JDReview" / "train.jsonl", reviews)
    write_rows(root / "JDReview" / "test.jsonl", reviews[:20])
    return root


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _transformer(model_type: str, vocabulary: int, pad_id: int, scale: float, config_of: dict[str, Any]) -> torch.nn.Module:
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    if model_type == "distilbert":
        sizes = {"dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}
    if model_type == "electra":
        sizes["embedding_size"] = 16
    if model_type in DECODERS:
        sizes |= {"num_key_value_heads": 2, "head_dim": 8}
    sizes |= config_of
    positions = POSITIONS + pad_id + 1 if model_type in _AFTER_PADDING else POSITIONS
    config = AutoConfig.for_model(model_type, vocab_size=vocabulary, max_position_embeddings=positions, pad_token_id=pad_id, **sizes)
    model = AutoModel.from_config(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=scale)
    return model


def _tokenizer(pad_id: int, *, decoder: bool = False, padding_side: str = "right", bytewise: bool = False) -> PreTrainedTokenizerFast:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"##{letter}" for letter in letters), *"0123456789", *"，。！？,.!?:/", *HAN]
    if bytewise:
        words = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["[PAD]", "[UNK]"] if pad_id == 0 else ["[UNK]", "[PAD]"]
    vocabulary = {word: index for index, word in enumerate([*specials, "[CLS]", "[SEP]", "[MASK]", *words])}
    if bytewise:
        backend = Tokenizer(models.BPE(vocabulary, merges=[]))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        backend = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
        backend.normalizer = normalizers.BertNormalizer(lowercase=True)
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    single = "$A [SEP]" if decoder else "[CLS] $A [SEP]"  # decoders for embeddings append their end token
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=POSITIONS, padding_side=padding_side, **names)


def load_encoder(
    model: ModelSpec, *, dtype: Dtype, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None = None
) -> CanonicalEncoder:
    """The encoder of a model, loaded for it alone."""
    weights = CANONICAL.load(model, dtype=dtype, device=device)
    return CANONICAL.encoder(weights, max_len=max_len, encoding=encoding, device=device, store=store)
