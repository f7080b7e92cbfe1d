"""The canary's vectors as `canary.json` keeps them (`harness/core/sketch.py`)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import torch

from harness.core.calibration import Distance
from harness.core.sketch import Floats, Sketch, packed, sketch_rows
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder


def rows_of(vectors: torch.Tensor) -> Floats:
    """The sketch [n, NUMBERS] of raw vectors [n, dim]."""
    return sketch_rows(vectors.double().numpy())


def sketch_texts(encoder: CanonicalEncoder, texts: Sequence[str], vectors: torch.Tensor, second: Distance | None = None) -> Sketch:
    """What stays of the raw vectors [n, dim] that the encoder has made of the texts. `second`: how far the second chain's lie."""
    tokens = encoder.tokenizer.tokenize(texts)
    raw = vectors.contiguous().view(torch.uint8).numpy()
    return Sketch(
        texts=hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest(),
        tokens=hashlib.sha256(b"".join(len(ids).to_bytes(4, "little") + ids.tobytes() for ids in tokens.rows())).hexdigest(),
        vectors=hashlib.sha256(raw.data).hexdigest(),
        rows=packed(rows_of(vectors)),
        second=second,
    )
