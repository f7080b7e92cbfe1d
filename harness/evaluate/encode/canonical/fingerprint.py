"""What decides the bits of a vector, as one value that goes into every manifest."""

from __future__ import annotations

import torch

from harness.core.fingerprint import Fingerprint
from harness.core.spec import EncodingSpec
from harness.evaluate.encode.canonical.linear import linear_kernel
from harness.evaluate.encode.device import describe_device, numeric_flags
from harness.evaluate.encode.model.families import attention_of
from harness.evaluate.encode.model.loading import LoadedModel
from harness.evaluate.encode.model.outline import kernel_name


def take_fingerprint(
    model: LoadedModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, tokenizer_sha256: str, packs: str = ""
) -> Fingerprint:
    """The fingerprint of a loaded model under an encoding setting on a device. `packs`: what was found about them."""
    eager = attention_of(model.config.model_type) == "eager"
    attention = "eager" if eager else model.attention(model.dtype, encoding, device)
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
        kernel=kernel_name(device),
        digest=model.digest(dtype=model.dtype, encoding=encoding, device=device),
    )
