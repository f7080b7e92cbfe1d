"""How large a model is and what its forward pass costs, where only its files are known: from the headers of its weight files."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from harness.evaluate.encode.model.locate import Weights, read_object, stored_tensors, transformer_folder
from harness.evaluate.encode.work import Architecture

_UNCOUNTED = "embed"  # tables are looked up, not multiplied


def read_sizes(folder: Path, weights: Weights) -> tuple[int, Architecture]:
    """Numbers in the weight files of a model folder, and what its FLOP are counted by; no weight is read into memory.

    Counted are a multiplication and an addition per weight of a matrix and token (all experts, where a model chooses among some), and
    attention's two products where config.json states layers and heads.

    Raises:
        InputError: a file is damaged.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for path in weights.sha256:
        shapes |= _shapes(folder / path)
    config = _config(transformer_folder(folder) / "config.json")
    vocabulary = config.get("vocab_size")
    matrices = {name: shape for name, shape in shapes.items() if len(shape) > 1 and shape[0] != vocabulary and _UNCOUNTED not in name}
    architecture = Architecture(weights=sum(map(math.prod, matrices.values())), attended=_attended(config))
    return sum(map(math.prod, shapes.values())), architecture


def _shapes(path: Path) -> Mapping[str, tuple[int, ...]]:
    if path.suffix == ".safetensors":
        return stored_tensors(path)
    stored = torch.load(path, map_location="meta", weights_only=True)
    return {name: tuple(tensor.shape) for name, tensor in stored.items() if isinstance(tensor, torch.Tensor)}


def _config(path: Path) -> Mapping[str, Any]:
    """What config.json says of the layers for text; nothing where there is none."""
    found = read_object(path) if path.is_file() else {}
    text = found.get("text_config")
    return text if isinstance(text, dict) else found


def _attended(config: Mapping[str, Any]) -> int:
    """The widths of all layers' queries; 0 where they are not stated."""
    layers, heads, side, hidden = (config.get(key) for key in ("num_hidden_layers", "num_attention_heads", "head_dim", "hidden_size"))
    if not isinstance(layers, int):
        return 0
    if isinstance(heads, int) and isinstance(side, int):
        return layers * heads * side
    return layers * hidden if isinstance(hidden, int) else 0
