"""The sample's encoder: a BERT of two small layers, mean pooling and a Dense layer to 1792, with random weights.

Its shape is acge's (BertModel, pooling, Dense with bias, no normalisation), and the vectors have a meaning
within the sample: a character's embedding holds the directions of the fields it is used in, and grammar has little weight.
No part can be left out unseen: the two segments differ, every LayerNorm scales and shifts, no half precision holds the weights, and
attention would go to the padding if no mask kept it away.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from sample_grid import Array, agreed, normal, on_grid, orthonormal, unit
from sample_text import Lexicon
from transformers import BertModel

HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS, DIM = 64, 2, 4, 128, 1024, 1792
SEED = 20240229
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
FULL_WIDTH = "，。！？：；、（）《》“”…·"

FIELD, IDENTITY = 0.5, 0.85  # share of a character's topics and of itself; the rest is grammar
FUNCTION = 0.02  # weight of a character of grammar
TYPE, POSITION = 0.3, 0.03  # the direction all tokens share (another one in a second segment), and that of the place in the text
ATTENTION, FEED_FORWARD = 0.2, 0.15  # what a layer adds to its input
SHARPNESS = 1.0  # standard deviation of the attention logits
PADDING = 2.5  # how much more a key counts that is the padding token's
SCALES, SHIFTS = 0.15, 0.05  # how far LayerNorm's weights lie from 1, and its biases from 0
SILENCED, LEFT = 3, 0.06  # directions of the hidden state that the Dense layer nearly drops, and what it leaves of them
BLOCK_SPREAD = 0.15  # how much the geometry of one 64-dimensional block differs from the next one's
BIAS = 0.01
FINE, COARSE = 18, 12  # bits of the grids of the weights, and of the states that the encoder computes


def write_model(folder: Path, words: Lexicon) -> None:
    """Writes the SentenceTransformer folder: safetensors, a fast BERT tokenizer, and the JSON files."""
    vocabulary = _vocabulary(words)
    rng = np.random.Generator(np.random.PCG64(SEED))
    basis = orthonormal(normal(rng, HIDDEN, HIDDEN))
    for name, content in _configuration(vocabulary).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    _write_tensors(folder / "model.safetensors", _encoder(rng, basis, _embeddings(rng, basis, vocabulary, words)))
    _write_tensors(folder / "2_Dense" / "model.safetensors", _dense(rng, _grammar_directions(folder, vocabulary, words)))


def _vocabulary(words: Lexicon) -> dict[str, int]:
    known = set(words.names) | set(words.fields_of()) | words.function_characters | set(FULL_WIDTH)
    known |= set(string.ascii_lowercase + string.digits + string.punctuation)
    pieces = [f"##{character}" for character in string.ascii_lowercase + string.digits]
    tokens = [*SPECIAL, *sorted(known - {" "}), *pieces]
    return {token: number for number, token in enumerate(tokens)}


def _embeddings(rng: np.random.Generator, basis: Array, vocabulary: dict[str, int], words: Lexicon) -> Array:
    """Of tokens (tokens, hidden): root mean square 1 for content and for padding, `FUNCTION` for grammar, digits and other special tokens.

    The padding token has a direction of its own, which no other token has a part in.
    """
    names = list(words.fields)
    drawn = unit(normal(rng, len(names), HIDDEN))
    directions = {name: basis[:, i + 1] if i + 1 < HIDDEN else drawn[i] for i, name in enumerate(names)}
    grammar = words.function_characters | set(string.digits + string.punctuation + FULL_WIDTH) | set(SPECIAL)
    own = unit(normal(rng, len(vocabulary), HIDDEN))
    fields_of = words.fields_of()
    table = np.zeros((len(vocabulary), HIDDEN))
    for token, number in vocabulary.items():
        if token in grammar or token.startswith("##"):
            table[number] = FUNCTION * own[number]
            continue
        topics = [directions[name] for name in fields_of.get(token, [])]
        topic = np.sum(topics, axis=0) / np.sqrt(len(topics)) if topics else np.zeros(HIDDEN)
        table[number] = FIELD * topic + IDENTITY * own[number]
    padding = own[vocabulary["[PAD]"]]
    table -= np.outer(on_grid(on_grid(table) @ padding), padding)
    table[vocabulary["[PAD]"]] = padding
    return table * np.sqrt(HIDDEN)


def _encoder(rng: np.random.Generator, basis: Array, tokens: Array) -> dict[str, Array]:
    """The tensors of a BertModel, by their names in transformers."""

    def matrix(rows: int, columns: int, gain: float) -> Array:
        return gain * normal(rng, rows, columns) / np.sqrt(columns)

    def layer_norm(name: str) -> dict[str, Array]:
        return {f"{name}.weight": 1 + SCALES * normal(rng, HIDDEN), f"{name}.bias": SHIFTS * normal(rng, HIDDEN)}

    shared, other = np.sqrt(HIDDEN) * TYPE * basis[:, 0], TYPE * normal(rng, HIDDEN)
    tensors = {
        "embeddings.word_embeddings.weight": tokens,
        "embeddings.position_embeddings.weight": POSITION * normal(rng, POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": np.stack([shared, other]),
    }
    tensors |= layer_norm("embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        gains = {"self.query": SHARPNESS, "self.key": 1.0, "self.value": 1.0, "output.dense": ATTENTION}
        for name, gain in gains.items():
            tensors[f"{layer}.attention.{name}.weight"] = matrix(HIDDEN, HIDDEN, gain)
            tensors[f"{layer}.attention.{name}.bias"] = 0.02 * normal(rng, HIDDEN)
        asked = on_grid(tensors[f"{layer}.attention.self.query.weight"]) @ basis[:, 0]  # what every query has in common
        asked = unit(asked.reshape(HEADS, -1)).reshape(HIDDEN)
        tensors[f"{layer}.attention.self.key.weight"] += PADDING * np.outer(asked, unit(tokens[SPECIAL.index("[PAD]")]))
        tensors[f"{layer}.intermediate.dense.weight"] = matrix(INTERMEDIATE, HIDDEN, 1.0)
        tensors[f"{layer}.intermediate.dense.bias"] = 0.02 * normal(rng, INTERMEDIATE)
        tensors[f"{layer}.output.dense.weight"] = matrix(HIDDEN, INTERMEDIATE, FEED_FORWARD)
        tensors[f"{layer}.output.dense.bias"] = 0.02 * normal(rng, HIDDEN)
        tensors |= layer_norm(f"{layer}.attention.output.LayerNorm") | layer_norm(f"{layer}.output.LayerNorm")
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
    columns = agreed(np.stack(states).T, COARSE)
    directions = orthonormal(columns[:, :SILENCED])
    for _ in range(20):  # towards the largest singular vectors
        directions = orthonormal(on_grid(columns @ columns.T / 2.0**8) @ directions)
    return directions


def _dense(rng: np.random.Generator, grammar: Array) -> dict[str, Array]:
    """Blocks of 64 dimensions, each a rotated and slightly stretched copy of the hidden state without its grammar.

    So any leading blocks carry the whole geometry (Matryoshka), each with slightly different values.
    """
    silent = on_grid(np.eye(HIDDEN) - (1 - LEFT) * on_grid(grammar @ grammar.T))
    blocks = []
    for _ in range(DIM // HIDDEN):
        turned = orthonormal(normal(rng, HIDDEN, HIDDEN))
        stretched = 1 + BLOCK_SPREAD * normal(rng, HIDDEN)
        blocks.append(on_grid(turned * stretched) @ silent)
    return {"linear.weight": np.concatenate(blocks), "linear.bias": BIAS * normal(rng, DIM)}


def _write_tensors(path: Path, tensors: dict[str, Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: on_grid(tensors[name], FINE).astype(np.float32) for name in sorted(tensors)}, path, metadata={"format": "pt"})


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
