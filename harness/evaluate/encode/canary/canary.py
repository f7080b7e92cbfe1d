"""Before a run: does the model, as loaded on this machine, encode as it should?

256 fixed texts (`harness/sample/canary.json`) are encoded twice, in two orders and beside other neighbours, and once more by
sentence-transformers itself from the same files in fp32. So what is compared is the chain as a whole, from text to vector, with a second
one that shares none of its code (`second_chain`): loading, tokens, pooling, every module, the arithmetic of the dtype. No stored vector is
read and none is kept.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from harness.core.calibration import Distance
from harness.core.errors import CanaryError, EncodingError, InputError
from harness.core.resources import SAMPLE_DIR
from harness.core.sketch import Floats, Sketch, distance, packed, sketch_rows
from harness.core.spec import Dtype
from harness.evaluate.encode.canary.second_chain import reference_vectors
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.canonical.packed import position_padding
from harness.evaluate.encode.canonical.watching import watched_attention
from harness.evaluate.encode.device import TORCH_DTYPE, memory_for

TEXTS = SAMPLE_DIR / "canary.json"

BANDS: dict[Dtype, tuple[float, float]] = {"fp32": (0.0, 3e-5), "fp16": (1e-4, 4e-3), "bf16": (3e-3, 6e-2)}
"""What the median text's distance to fp32 may be: the length of the difference of the two vectors, each of length 1.

Medians measured on these texts (CPU, torch 2.13): the sample model 0 / 2.5e-3 / 1.7e-2, all-MiniLM-L6-v2 9e-7 / 1.5e-3 / 1.1e-2, random
BERT, DistilBERT and XLM-R of two layers 0 / 6e-4 to 9e-4 / 5.5e-3 to 8.2e-3. A random model of acge's shape (24 layers), the farthest
of five texts: cosines of .999996 and .9994, so 2.8e-3 and 3.5e-2. A distance below its band is as telling as one above: what is nearer to
fp32 than its dtype can be was computed in another one.
"""

SHORT, MARGIN = 8, 1.25
"""Below so many tokens of `max_len` vectors may be short (the sample's at 4: a third of their length, with the same error), so half
precision may be as far from fp32 as sentence-transformers in that dtype, times the margin; measured on the sample: 1.0e-2 and 7.8e-2."""

WORST = 5.0
"""The farthest text may be this many times as far as the upper end of the band; measured: at most 3.3 times the median."""

CONSTANT = 0.99
"""Median cosine of different texts from which on a model tells nothing apart: bf16 resolves cosines to 4e-3. Random BERTs come to 0.94."""

APART = 0.5
"""The share of the texts that have token ids of their own: all of the sample model's, .86 of all-MiniLM-L6-v2's, which has little Chinese;
.27 where a WordPiece vocabulary stands behind the byte-level splitting of a Qwen2 tokenizer."""

_WATCHED = 16  # texts whose attention is watched


@dataclass(frozen=True, kw_only=True)
class Canary:
    """What the canary found, all of it as expected.

    `setting`: SHA-256 over what it holds for (weights, modules, tokenizer, dtype, kernels, batch shapes, `max_len`). `distinct`: different
    token id sequences among the `texts`. `parameter_dtype`, `embedding_dim`: as found. `attention`: the kernels that ran.
    `rows_differing`: vectors with other bits in the other order. `distance`: to fp32, of the median and of the farthest text, with the
    `band` for the former. `cosine`: median over pairs of different texts. `vectors`: [texts, embedding_dim], the encoder's own, raw, and
    what stays of them: `sketch`.
    """

    setting: str
    texts: int
    distinct: int
    parameter_dtype: str
    embedding_dim: int
    attention: tuple[str, ...]
    rows_differing: int
    distance: float
    farthest: float
    band: tuple[float, float]
    cosine: float
    seconds: float
    vectors: torch.Tensor = field(compare=False, repr=False)
    sketch: Sketch = field(compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a manifest; without the seconds, so that equal runs have equal manifests."""
        return {"verdict": "passed", **{name: value for name, value in vars(self).items() if name not in ("seconds", "vectors", "sketch")}}


def setting_digest(encoder: CanonicalEncoder) -> str:
    """Names what a canary holds for: where it is equal, the canary would find the same."""
    own = encoder.fingerprint
    decides = [own.digest, own.tokenizer_sha256, own.max_len, own.ladder, own.batch_tokens, hashlib.sha256(TEXTS.read_bytes()).hexdigest()]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def run_canary(encoder: CanonicalEncoder) -> Canary:
    """Encode the canary's texts under the encoder's setting and compare; the fp32 copy is gone when this returns.

    Raises:
        CanaryError: something is not as expected; the message has everything that was found.
        InputError: the texts are missing or damaged, or the model's folder does not load any more.
        MachineError: the device does not have enough memory for a second copy of the weights.
    """
    started = time.perf_counter()
    texts = canary_texts()
    model = encoder.model
    if wrong := _wrong_numbers(encoder):
        raise _stopped(wrong)
    bare = encoder.apart()
    try:
        vectors, again = in_two_orders(bare.encode, texts)
    except EncodingError as error:
        raise _stopped([f"vectors: {error}"]) from error
    scored = functional.normalize(vectors, dim=1)  # in the model's dtype, as what is scored
    empty = int((~torch.isfinite(scored).all(dim=1) | (scored == 0).all(dim=1)).sum())
    if empty:
        raise _stopped(
            [f"vectors: {empty} of {len(texts)} have no direction once normalised in {model.dtype} (length 0, or beyond its range)"]
        )
    differing = int((vectors.view(torch.uint8) != again.view(torch.uint8)).any(dim=1).sum())
    expected = second_vectors(encoder, texts, weights="fp32", arithmetic=torch.float32)
    if expected.shape != vectors.shape:
        raise _stopped([f"dimension: {vectors.shape[1]} here, {expected.shape[1]} by sentence-transformers, from the same folder"])
    distances = _distances(vectors, expected)
    low, high = BANDS[model.dtype]
    if encoder.max_len < SHORT and model.dtype != "fp32":
        rounded = second_vectors(encoder, texts, weights=model.dtype, arithmetic=TORCH_DTYPE[model.dtype])
        high = max(high, MARGIN * float(_distances(rounded, expected).median()))
    distinct = _distinct(encoder, texts)
    found = Canary(
        setting=setting_digest(encoder),
        texts=len(texts),
        distinct=len(distinct),
        parameter_dtype=str(TORCH_DTYPE[model.dtype]).removeprefix("torch."),
        embedding_dim=vectors.shape[1],
        attention=_attention_kernels(encoder, texts[:_WATCHED]),
        rows_differing=differing,
        distance=float(distances.median()),
        farthest=float(distances.max()),
        band=(low, high),
        cosine=median_cosine(functional.normalize(vectors[distinct].double(), dim=1)),
        seconds=round(time.perf_counter() - started, 2),
        vectors=vectors,
        sketch=sketch_texts(encoder, texts, vectors, distance(rows_of(vectors), rows_of(expected))),
    )
    farthest = texts[int(distances.argmax())]
    findings = _findings(found, model.dtype, kernel=encoder.fingerprint.attention, farthest=farthest, shifted=_shifted(encoder))
    if wrong := [*_lost(encoder, texts), *findings]:
        raise _stopped(wrong)
    return found


@cache
def canary_texts() -> tuple[str, ...]:
    """The committed texts.

    Raises:
        InputError: their file is missing or damaged.
    """
    try:
        texts = json.loads(TEXTS.read_text(encoding="utf-8"))
        return tuple(str(text) for text in texts)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{TEXTS} can't be read ({error}): restore it from version control, or install the package again") from error


def rows_of(vectors: torch.Tensor) -> Floats:
    """What `canary.json` keeps [n, NUMBERS] of raw vectors [n, dim] (`harness/core/sketch.py`)."""
    return sketch_rows(vectors.double().numpy())


def sketch_texts(encoder: CanonicalEncoder, texts: Sequence[str], vectors: torch.Tensor, second: Distance | None = None) -> Sketch:
    """What stays of the raw vectors [n, dim] that the encoder has made of the texts. `second`: how far the second chain's lie."""
    ids = encoder.tokenizer.tokenize(texts).rows()
    tokens = hashlib.sha256(b"".join(len(row).to_bytes(4, "little") + row.tobytes() for row in ids)).hexdigest()
    return replace(sketch_of(texts, vectors, rows_of(vectors)), tokens=tokens, second=second)


def sketch_of(texts: Sequence[str], raw: torch.Tensor, rows: Floats) -> Sketch:
    """What stays of the raw vectors [n, dim] of texts whose token ids are not known; `rows`: what distances are measured of."""
    return Sketch(
        texts=hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest(),
        tokens="",
        vectors=hashlib.sha256(raw.contiguous().view(torch.uint8).numpy().data).hexdigest(),
        rows=packed(rows),
    )


def _distances(vectors: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """How far each of the vectors [n, dim] lies from the one expected, both of length 1."""
    apart = functional.normalize(vectors.double(), dim=1) - functional.normalize(expected.double(), dim=1)
    return torch.as_tensor(apart.norm(dim=1))


def _stopped(findings: Sequence[str]) -> CanaryError:
    return CanaryError(
        "the canary stopped the run before its first text, this model does not encode here as it should:\n  "
        + "\n  ".join(findings)
        + "\nCorrect the cause, or add canary=off to run anyway: the manifest and the table will say so"
    )


def _wrong_numbers(encoder: CanonicalEncoder) -> list[str]:
    """What is wrong with the parameters and with the form of one vector."""
    model, wanted = encoder.model, TORCH_DTYPE[encoder.model.dtype]
    parts = (model.transformer, *model.tail)
    floating = [(name, tensor) for part in parts for name, tensor in part.named_parameters() if tensor.is_floating_point()]
    other = [f"{name} ({tensor.dtype})" for name, tensor in floating if tensor.dtype != wanted]
    if other:
        few = ", ".join(other[:3])
        return [f"parameters: {len(other)} of {len(floating)} are not {wanted} as dtype={model.dtype} asks for, such as {few}"]
    damaged = [name for name, tensor in floating if not bool(torch.isfinite(tensor).all())]
    if damaged:
        return [f"parameters: NaN or infinity in {', '.join(damaged[:3])}: load the model again, from an undamaged folder"]
    ids = np.array([model.tokenizer.cls_token_id or 0, model.tokenizer.sep_token_id or 0], dtype=np.int32)
    vector = encoder.run(ids)
    found = []
    if vector.dtype != wanted:
        found.append(f"vectors: they come out as {vector.dtype}, dtype={model.dtype} asks for {wanted}: a module computes in another dtype")
    if vector.shape[1] != model.embedding_dim:
        found.append(f"dimension: a vector has {vector.shape[1]} numbers, the model's own configuration says {model.embedding_dim}")
    return found


def in_two_orders(
    encode: Callable[[Sequence[str]], torch.Tensor], texts: Sequence[str], *, size: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The vectors [n, dim] of the texts, and once more with the texts in another order, so that they have other neighbours and places in a
    batch. `size`: texts of a call the second time, all by default, so that batches have other sizes, too."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(0))
    moved, size = [texts[index] for index in order.tolist()], size or len(texts)
    first = encode(texts)
    return first, torch.cat([encode(moved[start : start + size]) for start in range(0, len(moved), size)])[order.argsort()]


def second_vectors(encoder: CanonicalEncoder, texts: Sequence[str], *, weights: Dtype, arithmetic: torch.dtype) -> torch.Tensor:
    """The raw vectors [n, dim] that sentence-transformers makes of the encoder's folder, its weights rounded to a dtype first.

    Raises:
        InputError: the folder does not load any more.
        MachineError: the device does not have enough memory for a second copy of the weights.
    """
    spec, folder = encoder.model.spec, encoder.model.located.folder
    second = f"a second copy of {spec.name} in {arithmetic} beside the model"
    otherwise = "free some, or leave this check out (run: canary=off; calibrate: --parts seeds,sampling)"
    try:
        with memory_for(second, encoder.device, otherwise=otherwise):
            return reference_vectors(
                folder,
                texts,
                max_len=encoder.max_len,
                weights=TORCH_DTYPE[weights],
                arithmetic=arithmetic,
                attention=encoder.model.config._attn_implementation,
                device=encoder.device,
                allow_pickle=spec.allow_pickle,
                trust_remote_code=spec.trust_remote_code,
                add_eos_token=spec.add_eos_token,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise InputError(f"model folder {folder} does not load in sentence-transformers ({type(error).__name__}: {error})") from error


def _attention_kernels(encoder: CanonicalEncoder, texts: Sequence[str]) -> tuple[str, ...]:
    """The kernels that run for texts of these lengths, by torch's names; the fused ones, which torch does not see, by their own."""
    with watched_attention() as names:
        for ids in {len(ids): ids for ids in encoder.tokenizer.tokenize(texts).rows()}.values():
            encoder.run(ids)
    fused = encoder.model.packed.kernels.name if encoder.ladder.packs else None
    return tuple(sorted(names)) or ((fused,) if fused else ())


def _distinct(encoder: CanonicalEncoder, texts: Sequence[str]) -> list[int]:
    """Of the texts with the same token ids the first; a vocabulary that lacks the language makes many alike."""
    seen: dict[bytes, int] = {}
    for index, ids in enumerate(encoder.tokenizer.tokenize(texts).rows()):
        seen.setdefault(ids.tobytes(), index)
    return list(seen.values())


def _lost(encoder: CanonicalEncoder, texts: Sequence[str]) -> Iterator[str]:
    """Whether most whole texts have the token ids of another one: sentence-transformers would tokenise them so too."""
    tokens = encoder.tokenizer.tokenize(texts)
    whole = [ids.tobytes() for ids, cut in zip(tokens.rows(), tokens.cut, strict=True) if not cut]
    if (distinct := len(set(whole))) < APART * len(whole):
        yield (
            f"tokenizer: {len(whole)} texts make {distinct} different sequences of token ids, expected at least {APART:.0%}: it loses the "
            "characters of the texts. The folder's tokenizer.json is not of this kind of model, or its vocabulary is of another language"
        )


def median_cosine(units: torch.Tensor) -> float:
    """The median over pairs of different vectors, of [n, dim] of length 1."""
    rows, columns = torch.triu_indices(len(units), len(units), offset=1)
    return float((units @ units.T)[rows, columns].median())


def _shifted(encoder: CanonicalEncoder) -> bool:
    """Whether padding moves a text's positions in sentence-transformers: it stands before the text, and positions count it."""
    model = encoder.model
    absolute = any("position_embeddings" in name for name, _ in model.transformer.named_parameters())
    return model.tokenizer.padding_side == "left" and absolute and position_padding(model.config) is None


def _findings(found: Canary, dtype: Dtype, *, kernel: str, farthest: str, shifted: bool) -> Iterator[str]:
    """What is not as it should be, one sentence each. `kernel`: what the setting says; `farthest`: the text farthest from fp32; `shifted`:
    whether sentence-transformers gives a text other positions beside a longer one."""
    low, high = found.band
    # flash, efficient: in torch's operators, too
    word = "softmax" if kernel == "eager" else kernel.removeprefix("packed ").removeprefix("sdpa:").removesuffix("_attention")
    if not found.attention or not all(name == word or f"_{word}" in name for name in found.attention):
        ran = ", ".join(found.attention) or "no scaled-dot-product kernel"
        yield f"attention: {ran} ran, the setting says {kernel}: the vectors would not be what the manifest says they are"
    if found.rows_differing:
        yield (
            f"repeatability: {found.rows_differing} of {found.texts} vectors have other bits in another order, expected 0: "
            "a module draws random numbers (dropout, noise), or the device does not compute the same twice"
        )
    if found.distance < low:
        yield (
            f"distance to fp32: {found.distance:.1e} for the median text, expected {low:.0e} to {high:.0e} for {dtype}: "
            "nearer than this dtype can be, so the arithmetic is of another one"
        )
    if not (found.distance <= high and found.farthest <= WORST * high):
        yield (
            f"distance to fp32: {found.distance:.1e} for the median text, expected {low:.0e} to {high:.0e} for {dtype}; "
            f"{found.farthest:.1e} for the farthest ({farthest[:30]!r}), expected at most {WORST * high:.0e}: "
            "the weights in memory are not those of the files, or the chain is not the one sentence-transformers makes of them"
            + "; or its padding on the left moves a text's positions there: set padding_side to right in a copy's tokenizer_config.json"
            * shifted
        )
    if not found.cosine <= CONSTANT:
        yield (
            f"near-constant vectors: the median cosine of different texts is {found.cosine:.4f}, expected at most {CONSTANT}: "
            "a reranker or a classifier loaded as an encoder gives this, or an encoder without its trained weights: "
            "name an encoder's folder"
        )
