"""What is measured of a twin: whether its vectors are a pure function of each text, and how far they are from sentence-transformers'."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from sentence_transformers import SentenceTransformer
from tiny_models import HAN, HOSTILE, load_encoder

from harness.core.spec import Dtype, EncodingSpec, Ladder, ModelSpec
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder

DTYPES: tuple[Dtype, ...] = ("fp32", "bf16")
MAX_LEN = 48
CPU = torch.device("cpu")


def _texts() -> list[str]:
    draw = random.Random(0)
    return [*(text for text in HOSTILE if len(text) < 5000), *("".join(draw.choices(HAN, k=length)) for length in [*range(1, 60, 2), 70])]


TEXTS = _texts()


@dataclass(frozen=True, kw_only=True)
class Twin:
    """`differing`, of `compared`: vectors with other bits in another order, in other calls. `distance`: of the farthest text to fp32.
    `told_apart`: the share of the texts that have token ids of their own. `ladders`: those of batch shapes that it can run in."""

    type: str
    masking: str
    compared: int
    differing: int
    distance: float
    told_apart: float
    ladders: tuple[str, ...]


def measure(folder: Path, *, dtype: Dtype) -> Twin:
    """The twin in the folder, in one dtype under every ladder that it can run in."""
    expected = _units(_sentence_transformers(folder))
    differing, distances, ladders = 0, [], []
    for ladder in get_args(Ladder):
        spec = ModelSpec(name="twin", path=str(folder))
        encoder = load_encoder(spec, dtype=dtype, max_len=MAX_LEN, encoding=EncodingSpec(ladder=ladder, batch_tokens=512), device=CPU)
        if encoder.fingerprint.ladder != ladder:
            continue
        ladders.append(ladder)
        vectors = encoder.encode(TEXTS)
        differing += int((vectors.view(torch.uint8) != _elsewhere(encoder).view(torch.uint8)).any(dim=1).sum())
        distances.append(float((_units(vectors) - expected).norm(dim=1).max()))
    return Twin(
        type=encoder.model.config.model_type,
        masking=encoder.model.masking,
        compared=len(ladders) * len(TEXTS),
        differing=differing,
        distance=max(distances),
        told_apart=len({ids.tobytes() for ids in encoder.tokenizer.tokenize(TEXTS).rows()}) / len(TEXTS),
        ladders=tuple(ladders),
    )


def _elsewhere(encoder: CanonicalEncoder) -> torch.Tensor:
    order = torch.randperm(len(TEXTS), generator=torch.Generator().manual_seed(1))
    shuffled = torch.cat([encoder.encode([TEXTS[index] for index in part.tolist()]) for part in order.split(11)])
    return shuffled[order.argsort()]


def _sentence_transformers(folder: Path) -> torch.Tensor:
    chain = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    chain.max_seq_length = MAX_LEN
    vectors: torch.Tensor = chain.encode(TEXTS, batch_size=8, convert_to_tensor=True, show_progress_bar=False)
    return vectors


def _units(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors.double(), dim=1)
