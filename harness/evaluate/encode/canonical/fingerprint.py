"""What decides the bits of a vector, as one value that goes into every manifest."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping

import torch

from harness.core.fingerprint import Fingerprint
from harness.core.spec import Dtype, EncodingSpec
from harness.evaluate.encode.canonical.linear import linear_kernel
from harness.evaluate.encode.canonical.packed import Packable
from harness.evaluate.encode.device import TORCH_DTYPE, attention_kernel, describe_device, kernel_identity, numeric_flags
from harness.evaluate.encode.model.families import attention_of
from harness.evaluate.encode.model.loading import LoadedModel
from harness.evaluate.encode.model.locate import Weights

_NAMES = "names of vectors, 2"
"""Changes with `names`: a store's vectors under other names would lie there for nothing."""

_PACKS = "packs, 2"
"""Changes with what packs compute. 1 gave a text that holds RoBERTa's padding token other positions than transformers does."""


def take_fingerprint(
    model: LoadedModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, tokenizer_sha256: str, packs: str = ""
) -> Fingerprint:
    """The fingerprint of a loaded model under an encoding setting on a device. `packs`: what was found about them."""
    eager = attention_of(model.config.model_type) == "eager"
    attention = "eager" if eager else _attention(device, model.dtype, encoding, model.packable)
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
        packs=packs,
        batch_tokens=encoding.batch_tokens,
        tokenizer_sha256=tokenizer_sha256,
        device=describe_device(device),
        flags=numeric_flags(),
        kernel=_kernel(device),
        digest=vectors_digest(
            model.weights, model.module_files, dtype=model.dtype, encoding=encoding, packable=model.packable, device=device
        ),
    )


def vectors_digest(
    weights: Weights, module_files: Mapping[str, str], *, dtype: Dtype, encoding: EncodingSpec, packable: Packable, device: torch.device
) -> str:
    """`Fingerprint.digest` from what it is made of; no weight needs to be loaded for it."""
    decides = [
        _NAMES,
        *(sorted(weights.sha256.items()), sorted(module_files.items())),
        *([_PACKS] if encoding.ladder == "packed" else []),
        *(dtype, _attention(device, dtype, encoding, packable), linear_kernel(device, dtype), _kernel(device)),
    ]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _attention(device: torch.device, dtype: Dtype, encoding: EncodingSpec, packable: Packable) -> str:
    """`sdpa:flash_attention`, or `packed` before it or before the name of the fused kernels."""
    sdpa = f"sdpa:{attention_kernel(device, dtype, encoding.ladder).name.lower()}"
    if encoding.ladder != "packed":
        return sdpa
    return f"packed {packable.kernels(device, TORCH_DTYPE[dtype]).name or sdpa}"


def _kernel(device: torch.device) -> str:
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("transformers", "sentence-transformers"))
    return f"{kernel_identity(device)} | {versions}"
