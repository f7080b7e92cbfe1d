"""What decides the bits of a vector, as one value that goes into every manifest."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from harness.core.spec import Dtype, EncodingSpec
from harness.run.encode.device import DeviceInfo, NumericFlags, attention_kernel, describe_device, kernel_identity, numeric_flags
from harness.run.encode.linear import linear_kernel
from harness.run.encode.locate import Weights
from harness.run.encode.model import LoadedModel

_NAMES_VECTORS = (
    *("model", "source", "repository", "commit", "weights_digest", "weights_sha256", "module_files", "modules"),
    *("dtype", "attention", "linear", "kernel"),
)


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The setting under which an encoder's vectors are a pure function of token ids.

    `commit`: of the hub. `weights_sha256`: per file, `weights_digest` over them all. `module_files`: SHA-256 of the JSON files that put the
    modules together. `parameters`: as loaded; `stored_parameters`: in the transformer's weight file, as the hub counts them. `dtype`:
    asserted on every parameter. `attention`: implementation and the one kernel it may use. `linear`: kernel of the linear layers. `kernel`:
    device, libraries, switches.
    `digest`: a SHA-256 over what can change a bit; a vector is named by it, by its batch shape and by its token ids.
    """

    model: str
    source: str
    repository: str | None
    commit: str | None
    weights_digest: str
    weights_sha256: dict[str, str]
    module_files: dict[str, str]
    modules: tuple[str, ...]
    parameters: int
    stored_parameters: int | None
    dtype: Dtype
    attention: str
    linear: str
    max_len: int
    max_positions: int
    embedding_dim: int
    ladder: str
    batch_tokens: int
    tokenizer_sha256: str
    device: DeviceInfo
    flags: NumericFlags
    kernel: str
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a manifest."""
        return dataclasses.asdict(self)

    def about(self) -> dict[str, Any]:
        """The part that names vectors, in words, for whoever looks into a store."""
        return {name: value for name, value in self.as_dict().items() if name in _NAMES_VECTORS}


def take_fingerprint(
    model: LoadedModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, tokenizer_sha256: str
) -> Fingerprint:
    """The fingerprint of a loaded model under an encoding setting on a device."""
    attention, kernel = _attention(device, model.dtype, encoding), _kernel(device)
    return Fingerprint(
        model=model.spec.name,
        source=model.located.source,
        repository=model.located.repository,
        commit=model.located.commit,
        weights_digest=model.weights.digest,
        weights_sha256=dict(model.weights.sha256),
        module_files=dict(model.module_files),
        modules=model.modules,
        parameters=model.parameters,
        stored_parameters=model.weights.stored_parameters,
        dtype=model.dtype,
        attention=attention,
        linear=linear_kernel(device, model.dtype),
        max_len=max_len,
        max_positions=model.max_positions,
        embedding_dim=model.embedding_dim,
        ladder=encoding.ladder,
        batch_tokens=encoding.batch_tokens,
        tokenizer_sha256=tokenizer_sha256,
        device=describe_device(device),
        flags=numeric_flags(),
        kernel=kernel,
        digest=vectors_digest(model.weights, model.module_files, dtype=model.dtype, encoding=encoding, device=device),
    )


def vectors_digest(weights: Weights, module_files: Mapping[str, str], *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
    """`Fingerprint.digest` from what it is made of; no weight needs to be loaded for it."""
    decides = [
        *(sorted(weights.sha256.items()), sorted(module_files.items())),
        *(dtype, _attention(device, dtype, encoding), linear_kernel(device, dtype), _kernel(device)),
    ]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _attention(device: torch.device, dtype: Dtype, encoding: EncodingSpec) -> str:
    return f"sdpa:{attention_kernel(device, dtype, encoding.ladder).name.lower()}"


def _kernel(device: torch.device) -> str:
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("transformers", "sentence-transformers"))
    return f"{kernel_identity(device)} | {versions}"
