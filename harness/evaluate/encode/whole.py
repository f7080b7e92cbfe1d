"""Models that sentence-transformers loads and runs as a whole: what the kinds `reference` and `reranker` share.

Nothing is known of what the modules do, so their kinds measure how repeatable they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.errors import InputError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.by_text import IntArray
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device, kernel_identity, numeric_flags
from harness.evaluate.encode.locate import LocatedModel, Weights, hash_weights, read_json
from harness.evaluate.encode.model import quiet_transformers


@dataclass(frozen=True, kw_only=True)
class WholeModel:
    """A folder as sentence-transformers loads it, with what names it. `model`: a SentenceTransformer or a CrossEncoder."""

    located: LocatedModel
    spec: ModelSpec
    dtype: Dtype
    model: Any
    weights: Weights
    files: str

    @property
    def parameters(self) -> int:
        """Numbers in it, as loaded."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def load_whole(make: Any, located: LocatedModel, spec: ModelSpec, *, dtype: Dtype, device: torch.device, files: str) -> WholeModel:
    """What `make`, a class of sentence-transformers, makes of the folder. `files`: the digest of its files beside the weights.

    Raises:
        RequestError: it needs remote code that is not allowed.
        InputError: it does not load.
    """
    _refuse_code(located.folder, spec)
    weights = hash_weights(located.folder, allow_pickle=spec.allow_pickle)
    options = {"dtype": TORCH_DTYPE[dtype], "use_safetensors": None if spec.allow_pickle else True}
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        try:
            model = make(
                str(located.folder),
                device=str(device),
                local_files_only=True,
                trust_remote_code=spec.trust_remote_code,
                model_kwargs=options,
            )
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, AttributeError) as error:
            raise InputError(f"model folder {located.folder} does not load ({type(error).__name__}: {error})") from error
    return WholeModel(located=located, spec=spec, dtype=dtype, model=model.eval(), weights=weights, files=files)


def whole_fingerprint(
    kind: str, loaded: WholeModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, dim: int, modules: tuple[str, ...]
) -> Fingerprint:
    """What names the vectors [n, `dim`] of a model that runs in batches of equal length, whatever `gpu.ladder` says."""
    kernel = kernel_identity(device)
    decides = [kind, loaded.weights.digest, loaded.files, loaded.dtype, encoding.batch_tokens, kernel]
    return Fingerprint(
        model=loaded.spec.name,
        source=loaded.located.source,
        repository=loaded.located.repository,
        commit=loaded.located.commit,
        weights_digest=loaded.weights.digest,
        weights_sha256=dict(loaded.weights.sha256),
        modules=modules,
        parameters=loaded.parameters,
        stored_parameters=loaded.weights.stored_parameters,
        dtype=loaded.dtype,
        attention="as sentence-transformers chooses: purity is measured, not given",
        max_len=max_len,
        embedding_dim=dim,
        ladder="equal lengths",
        batch_tokens=encoding.batch_tokens,
        device=describe_device(device),
        flags=numeric_flags(),
        kernel=kernel,
        digest=hashlib.sha256(json.dumps(decides).encode()).hexdigest(),
    )


def in_equal_lengths(
    run: Callable[[list[int], int], torch.Tensor], lengths: IntArray, *, dim: int, dtype: Dtype, batch_tokens: int
) -> tuple[torch.Tensor, int]:
    """The vectors [n, dim] of texts of these token counts, and the number of batches: only texts of one count stand in a batch.

    `run`: makes the vectors of the texts of some rows, with so many rows in a batch at most.
    """
    made = torch.empty(len(lengths), dim, dtype=TORCH_DTYPE[dtype])
    batches = 0
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        size = max(1, batch_tokens // max(1, length))
        batches += -(-len(rows) // size)
        made[torch.from_numpy(rows)] = run(rows.tolist(), size).to(TORCH_DTYPE[dtype]).cpu().reshape(len(rows), dim)
    return made, batches


def _refuse_code(folder: Path, model: ModelSpec) -> None:
    """Code that lies in the folder would be left out in silence by transformers, or asked for on the terminal."""
    if model.trust_remote_code:
        return
    for path in (*folder.glob("config.json"), *folder.glob("*/config.json")):
        values = read_json(path)
        if isinstance(values, dict) and "auto_map" in values:
            raise RequestError(f"{path} names code of its own: read it, then allow it with model.trust_remote_code=true")
