"""The sample's encoder: a BERT of two small layers, mean pooling and a Dense layer to 1792, with random weights.

Its shape is acge's (BertModel, pooling, Dense with bias, no normalisation), and the vectors have a meaning
within the sample: a character's embedding holds the directions of the fields it is used in, and grammar has little weight.
Every weight is exact in bfloat16 and in float16, so a half precision changes the arithmetic and not the model.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sample_text import Lexicon
from transformers import BertModel

HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS, DIM = 64, 2, 4, 128, 1024, 1792
SEED = 20240229
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FULL_WIDTH = "，。！？：；、（）《》“”…·"

FIELD, IDENTITY = 0.5, 0.85  # share of a character's topics and of itself; the rest is grammar
FUNCTION = 0.02  # weight of a character of grammar
TYPE, POSITION = 0.3, 0.03  # the direction all tokens share, and that of the place in the text
ATTENTION, FEED_FORWARD = 0.2, 0.15  # what a layer adds to its input
SHARPNESS = 1.0  # standard deviation of the attention logits
SILENCED = 3  # directions of the hidden state that the Dense layer drops
BLOCK_SPREAD = 0.15  # how much the geometry of one 64-dimensional block differs from the next one's
BIAS = 0.01

Array = NDArray[np.float64]


def write_model(folder: Path, words: Lexicon) -> None:
    """Writes the SentenceTransformer folder: safetensors, a fast BERT tokenizer, and the JSON files."""
    vocabulary = _vocabulary(words)
    rng = np.random.Generator(np.random.PCG64(SEED))
    basis = np.linalg.qr(rng.standard_normal((HIDDEN, HIDDEN)))[0]
    for name, content in _configuration(vocabulary).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    encoder = _encoder(rng, basis, _characters(rng, basis, vocabulary, words))
    _write_tensors(folder / "model.safetensors", encoder)
    _write_tensors(folder / "2_Dense" / "model.safetensors", _dense(rng, _grammar_directions(folder, vocabulary, words)))


def _vocabulary(words: Lexicon) -> dict[str, int]:
    characters = set(words.names) | set(words.fields_of()) | words.function_characters | set(FULL_WIDTH)
    characters |= set(string.ascii_lowercase + string.digits + string.punctuation)
    pieces = [f"##{character}" for character in string.ascii_lowercase + string.digits]
    tokens = [*SPECIAL, *sorted(characters - {" "}), *pieces]
    return {token: number for number, token in enumerate(tokens)}


def _characters(rng: np.random.Generator, basis: Array, vocabulary: dict[str, int], words: Lexicon) -> Array:
    """Word embeddings (tokens, hidden): root mean square 1 for content, `FUNCTION` for grammar, digits and special tokens."""
    names = list(words.fields)
    drawn = _rows(rng.standard_normal((len(names), HIDDEN)))
    directions = {name: basis[:, i + 1] if i + 1 < HIDDEN else drawn[i] for i, name in enumerate(names)}
    grammar = words.function_characters | set(string.digits + string.punctuation + FULL_WIDTH) | set(SPECIAL)
    own = _rows(rng.standard_normal((len(vocabulary), HIDDEN)))
    fields_of = words.fields_of()
    table = np.zeros((len(vocabulary), HIDDEN))
    for token, number in vocabulary.items():
        if token in grammar or token.startswith("##"):
            table[number] = FUNCTION * own[number]
            continue
        topics = [directions[name] for name in fields_of.get(token, [])]
        topic = np.sum(topics, axis=0) / np.sqrt(len(topics)) if topics else np.zeros(HIDDEN)
        table[number] = FIELD * topic + IDENTITY * own[number]
    return table * np.sqrt(HIDDEN)


def _encoder(rng: np.random.Generator, basis: Array, characters: Array) -> dict[str, Array]:
    """The tensors of a BertModel, by their names in transformers."""

    def matrix(rows: int, columns: int, gain: float) -> Array:
        return gain * rng.standard_normal((rows, columns)) / np.sqrt(columns)

    shared = np.sqrt(HIDDEN) * TYPE * basis[:, 0]
    tensors = {
        "embeddings.word_embeddings.weight": characters,
        "embeddings.position_embeddings.weight": POSITION * rng.standard_normal((POSITIONS, HIDDEN)),
        "embeddings.token_type_embeddings.weight": np.stack([shared, shared]),
    }
    tensors |= _layer_norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        gains = {"self.query": SHARPNESS, "self.key": 1.0, "self.value": 1.0, "output.dense": ATTENTION}
        for name, gain in gains.items():
            tensors[f"{layer}.attention.{name}.weight"] = matrix(HIDDEN, HIDDEN, gain)
            tensors[f"{layer}.attention.{name}.bias"] = 0.02 * rng.standard_normal(HIDDEN)
        tensors[f"{layer}.intermediate.dense.weight"] = matrix(INTERMEDIATE, HIDDEN, 1.0)
        tensors[f"{layer}.intermediate.dense.bias"] = 0.02 * rng.standard_normal(INTERMEDIATE)
        tensors[f"{layer}.output.dense.weight"] = matrix(HIDDEN, INTERMEDIATE, FEED_FORWARD)
        tensors[f"{layer}.output.dense.bias"] = 0.02 * rng.standard_normal(HIDDEN)
        tensors |= _layer_norm(f"{layer}.attention.output.LayerNorm") | _layer_norm(f"{layer}.output.LayerNorm")
    tensors |= {"pooler.dense.weight": matrix(HIDDEN, HIDDEN, 1.0), "pooler.dense.bias": np.zeros(HIDDEN)}
    return tensors


def _grammar_directions(folder: Path, vocabulary: dict[str, int], words: Lexicon) -> Array:
    """The encoder's output for tokens without content, alone and in sentences: orthonormal columns (hidden, `SILENCED`)."""
    encoder = BertModel.from_pretrained(folder).double().eval()
    start, end = vocabulary["[CLS]"], vocabulary["[SEP]"]
    sentences = [[vocabulary[character] for character in sentence] for sentence in words.frames["aside"]]
    states = []
    with torch.no_grad():
        for sentence in ([], [vocabulary["[UNK]"]], *sentences):
            ids = torch.tensor([[start, *sentence, end]])
            states.append(encoder(input_ids=ids).last_hidden_state[0].mean(0).numpy())
    return np.linalg.svd(np.stack(states).T)[0][:, :SILENCED]


def _dense(rng: np.random.Generator, grammar: Array) -> dict[str, Array]:
    """Blocks of 64 dimensions, each a rotated and slightly stretched copy of the hidden state without its grammar.

    So any leading blocks carry the whole geometry (Matryoshka), each with slightly different values.
    """
    silent = np.eye(HIDDEN) - grammar @ grammar.T
    blocks = []
    for _ in range(DIM // HIDDEN):
        turned = np.linalg.qr(rng.standard_normal((HIDDEN, HIDDEN)))[0]
        stretched = np.exp(BLOCK_SPREAD * rng.standard_normal(HIDDEN))
        blocks.append(turned * stretched @ silent)
    return {"linear.weight": np.concatenate(blocks), "linear.bias": BIAS * rng.standard_normal(DIM)}


def _rows(table: Array) -> Array:
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def _layer_norm(name: str) -> dict[str, Array]:
    return {f"{name}.weight": np.ones(HIDDEN), f"{name}.bias": np.zeros(HIDDEN)}


def _write_tensors(path: Path, tensors: dict[str, Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _exact_in_halves(tensors[name]) for name in sorted(tensors)}, path, metadata={"format": "pt"})


def _exact_in_halves(values: Array) -> NDArray[np.float32]:
    """Rounded to what float16 and bfloat16 both hold: multiples of 2**-16 with 8 significant bits."""
    grid = (np.round(values * 2.0**16) / 2.0**16).astype(np.float32)
    bits = grid.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def _configuration(vocabulary: dict[str, int]) -> dict[str, Any]:
    modules = ("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "attention_probs_dropout_prob": 0.1,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "hidden_size": HIDDEN,
            "intermediate_size": INTERMEDIATE,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": POSITIONS,
            "model_type": "bert",
            "num_attention_heads": HEADS,
            "num_hidden_layers": LAYERS,
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "torch_dtype": "float32",
            "type_vocab_size": 2,
            "vocab_size": len(vocabulary),
        },
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (kind, path) in enumerate(modules)
        ],
        "config_sentence_transformers.json": {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"},
        "sentence_bert_config.json": {"max_seq_length": POSITIONS, "do_lower_case": False},
        "1_Pooling/config.json": {"word_embedding_dimension": HIDDEN, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
        "2_Dense/config.json": {
            "in_features": HIDDEN,
            "out_features": DIM,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
        "special_tokens_map.json": special,
        "tokenizer_config.json": special
        | {
            "do_lower_case": True,
            "tokenize_chinese_chars": True,
            "strip_accents": None,
            "model_max_length": POSITIONS,
            "tokenizer_class": "BertTokenizer",
        },
        "tokenizer.json": _tokenizer(vocabulary),
    }


def _tokenizer(vocabulary: dict[str, int]) -> dict[str, Any]:
    """BERT's tokenizer in the format of the tokenizers library: lower case, Chinese characters apart, WordPiece."""
    ends = {token: {"id": token, "ids": [vocabulary[token]], "tokens": [token]} for token in ("[CLS]", "[SEP]")}

    def place(token: str, type_id: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def text(name: str, type_id: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocabulary[token], "content": token} | flags for token in SPECIAL],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [place("[CLS]", 0), text("A", 0), place("[SEP]", 0)],
            "pair": [place("[CLS]", 0), text("A", 0), place("[SEP]", 0), text("B", 1), place("[SEP]", 1)],
            "special_tokens": ends,
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }
