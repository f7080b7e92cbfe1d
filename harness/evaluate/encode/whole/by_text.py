"""Encoders that are asked for vectors of texts and tell nothing of what happens below: what they share, and how repeatable they are.

Their vectors are named by the text, so a store serves them; but whether a text has the same vector twice can only be measured, and is.
"""

import contextlib
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from harness.core.costs import Counters
from harness.core.errors import CanaryError, EncodingError, InputError
from harness.core.fingerprint import Fingerprint
from harness.core.sketch import repeat_limit
from harness.core.spec import Dtype
from harness.evaluate.encode.canary.canary import CONSTANT, canary_texts, in_two_orders, median_cosine, rows_of, sketch_of
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import Checked, Encoded, EncodingStep, OnStep
from harness.evaluate.encode.model.tokens import refuse_lone_surrogates
from harness.evaluate.encode.store.names import keys_of
from harness.evaluate.encode.store.shards import Keys
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.store.stored import StoredVectors
from harness.evaluate.encode.work import Architecture

UNREPEATABLE = 0.05
"""Distance of two vectors of one text from which on a run is stopped; the bf16 of a whole model comes to 0.01 to 0.03."""

ASKED_AGAIN = 8
"""Texts of a call when the canary's are encoded a second time, and again after every part: a batch of another size may have other bits."""
PART = 512
"""Texts between two reports."""


def text_keys(digest: str, texts: Sequence[str], cut: npt.NDArray[np.bool_], *, max_len: int) -> Keys:
    """What the vectors of texts are kept under, [n, 16]; a text that is cut has another key under another `max_len`."""
    named = (f"{digest} {max_len if one else 0} {text}" for text, one in zip(texts, cut.tolist(), strict=True))
    return keys_of([hashlib.blake2b(name.encode(), digest_size=16).digest() for name in named])


class Backend(Protocol):
    """What makes the vectors. `dtype`: theirs. `elsewhere`: whether it runs in another process, which may load another model meanwhile."""

    dtype: Dtype
    embedding_dim: int
    elsewhere: bool

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Tokens of each text after cutting (characters where tokens are not known), and whether it is cut."""
        ...

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The vectors [n, embedding_dim] on the CPU, and how many calls they took."""
        ...


class TextEncoder:
    """An encoder (`encoder.Encoder`) over a backend. `architecture`: what plans and progress count; None where it is not known."""

    def __init__(self, backend: Backend, *, fingerprint: Fingerprint, architecture: Architecture | None, store: VectorStore | None) -> None:
        self.backend = backend
        self.fingerprint = fingerprint
        self.counters = Counters()
        self._architecture = architecture
        self.proof: Proof | None = None
        self.stored: StoredVectors | None = None
        if store is not None:
            self.stored = store.open(fingerprint.digest, dim=backend.embedding_dim, dtype=backend.dtype, about=fingerprint.about())

    @property
    def embedding_dim(self) -> int:
        """Numbers in a raw vector."""
        return self.backend.embedding_dim

    def text_flops(self, counts: IntArray) -> IntArray:
        """FLOP of one text of each of the token counts."""
        return self._architecture.text_flops(counts) if self._architecture else np.zeros_like(counts)

    def keys(self, texts: Sequence[str], cut: npt.NDArray[np.bool_]) -> Keys:
        """What the vectors of the texts are kept under, [n, 16]. `cut`: whether `max_len` shortens each."""
        return text_keys(self.fingerprint.digest, texts, cut, max_len=self.fingerprint.max_len)

    def compute(self, texts: Sequence[str]) -> torch.Tensor:
        """The vectors [n, embedding_dim] of the texts, made anew: none is read from the store, kept or counted."""
        return self.backend.vectors(texts, self.backend.lengths(texts)[0])[0]

    def encode_counted(self, texts: Sequence[str], *, progress: OnStep | None = None) -> Encoded:
        """The raw vectors of the texts, in their order; equal texts are computed once.

        Raises:
            EncodingError: a vector holds NaN or infinity; the message has the text.
            InputError: an item is no text or holds a lone surrogate, or another model has begun to answer since the check.
        """
        started = time.perf_counter()
        if strange := [text for text in texts if not isinstance(text, str)]:
            raise InputError(f"{strange[0]!r:.60} is {type(strange[0]).__name__}, expected str. Correct the data file.")
        distinct = list(dict.fromkeys(texts))
        refuse_lone_surrogates(distinct)
        lengths, cut = self.backend.lengths(distinct)
        vectors = torch.empty(len(distinct), self.embedding_dim, dtype=TORCH_DTYPE[self.backend.dtype])
        keys = self.keys(distinct, cut)
        found = np.zeros(len(distinct), dtype=bool)
        if self.stored is not None and distinct:
            self.stored.refresh()
            found = self.stored.fill(vectors, np.arange(len(distinct)), keys)
        calls, left = 0, np.flatnonzero(~found)
        left = left[np.argsort(lengths[left], kind="stable")]  # equal lengths stand together
        with self.stored or contextlib.nullcontext():
            for start in range(0, len(left), PART):
                rows = left[start : start + PART]
                some = [distinct[row] for row in rows.tolist()]
                computed, took = self.backend.vectors(some, lengths[rows])
                _refuse_undefined(computed, some, self.backend.dtype)
                self._refuse_other_model()
                vectors[torch.from_numpy(rows)] = computed
                calls += took
                if self.stored is not None:
                    self.stored.put(keys[rows], computed)
                if progress is not None:
                    done = left[: start + len(rows)]
                    progress(self._step(lengths, len(distinct), int(found.sum()), done, left))
        place = {text: row for row, text in enumerate(distinct)}
        rows = np.fromiter((place[text] for text in texts), dtype=np.int64, count=len(texts))
        self.counters += Counters(
            texts=len(texts),
            distinct=len(distinct),
            found=int(found.sum()),
            forwards=calls,
            tokens=int(lengths[left].sum()),
            flops=int(self.text_flops(lengths[left]).sum()),
            real_tokens=int(lengths.sum()),
            cut=int(cut[rows].sum()),
            encode_seconds=time.perf_counter() - started,
        )
        vectors = vectors if len(rows) == len(distinct) else vectors[torch.from_numpy(rows)]
        return Encoded(vectors, lengths[rows], cut[rows])

    def _refuse_other_model(self) -> None:
        """Ask again for texts of the check before anything of a part is kept: a server may have loaded another model meanwhile."""
        if self.proof is None or not self.backend.elsewhere:
            return
        apart = float(self.proof.apart(self.compute(self.proof.texts)).max())
        if not apart <= self.proof.most:
            raise InputError(
                f"{self.fingerprint.repository} answers with another model than before the run: vectors of the same texts lie up to "
                f"{apart:.1e} apart, expected at most {self.proof.most:.1e}. What it gave last is not kept: serve one model, and run again"
            )

    def _step(self, lengths: IntArray, texts: int, found: int, done: IntArray, left: IntArray) -> EncodingStep:
        work = self.text_flops(lengths) if self._architecture else lengths
        made, planned = (int(work[rows].sum()) for rows in (done, left))
        return EncodingStep(texts=texts, read=texts, found=found, tokens=int(lengths[done].sum()), done=made, planned=planned)


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Some texts with the vectors [n, dim] that the check before the run found for them, and how far they may move: `most`, as a share of a
    vector's length, or of `spread` where the vectors are scores with this standard deviation."""

    texts: Sequence[str]
    vectors: torch.Tensor
    most: float
    spread: float | None = None

    def apart(self, others: torch.Tensor, rows: npt.NDArray[np.bool_] | slice = slice(None)) -> torch.Tensor:
        """How far others [m, dim] of the texts of the rows lie from these, [m]."""
        ones, others = self.vectors[rows].double(), others.double()
        if self.spread is not None:
            return (ones - others).abs().amax(dim=1) / self.spread
        moved: torch.Tensor = (functional.normalize(ones, dim=1) - functional.normalize(others, dim=1)).norm(dim=1)
        return moved


def measure_repeatability(encoder: TextEncoder, *, what: str) -> Checked:
    """Encode the canary's texts twice, in two orders and in batches of other sizes, and compare; `what`: of what the vectors come from.

    What was measured stands in the manifest, and in a note under the table where it is not nothing. The store is compared with the floor.

    Raises:
        CanaryError: a vector moves by more than `UNREPEATABLE`, or the vectors of all texts are nearly equal.
        InputError: the store has vectors of another model under this name.
    """
    started = time.perf_counter()
    texts = list(canary_texts())
    first, again = in_two_orders(encoder.compute, texts, size=ASKED_AGAIN)
    _refuse_undefined(first, texts, encoder.backend.dtype)
    _refuse_undefined(again, texts, encoder.backend.dtype)
    differing = int((first.view(torch.uint8) != again.view(torch.uint8)).any(dim=1).sum())
    units, others = (functional.normalize(vectors.double(), dim=1) for vectors in (first, again))
    floor = float((units - others).norm(dim=1).max())
    cosine = median_cosine(units)
    if floor > UNREPEATABLE:
        raise CanaryError(f"{what} is not repeatable: asked twice, a text's vector moves by up to {floor:.1e}, at most {UNREPEATABLE}")
    if cosine > CONSTANT:
        raise CanaryError(f"{what} gives nearly constant vectors: the median cosine of different texts is {cosine:.4f}")
    prove(encoder, Proof(texts=texts, vectors=first, most=repeat_limit(floor)))
    found: dict[str, Any] = {
        "verdict": "passed",
        "texts": len(texts),
        "embedding_dim": encoder.embedding_dim,
        "rows_differing": differing,
        "floor": floor,
        "cosine": cosine,
    }
    notes = (f"{what}: {differing} of {len(texts)} vectors are not pure to the bit, they move by up to {floor:.1e}",) if differing else ()
    sketch = replace(sketch_of(texts, first, rows_of(units)), floor=floor)
    return Checked(found=found, seconds=round(time.perf_counter() - started, 2), notes=notes, sketch=sketch)


def prove_store(encoder: TextEncoder) -> None:
    """Where a run skips the check: encode the canary's texts once, and compare the store's vectors of them; raises as `prove` does."""
    texts = list(canary_texts())
    vectors = encoder.compute(texts)
    _refuse_undefined(vectors, texts, encoder.backend.dtype)
    prove(encoder, Proof(texts=texts, vectors=vectors, most=repeat_limit(UNREPEATABLE)))


def prove(encoder: TextEncoder, proof: Proof) -> None:
    """Compare the store's vectors with what was found for the same texts, and keep some of these to ask for again during the run.

    Raises:
        InputError: the store has vectors of another model under this name, or of no known one.
    """
    if encoder.stored is not None:
        keys = encoder.keys(proof.texts, encoder.backend.lengths(proof.texts)[1])
        encoder.stored.prove(keys, proof.vectors, other=lambda kept, known: ~(proof.apart(kept, known) <= proof.most))
    some = np.argsort([-len(text) for text in proof.texts], kind="stable")[:: len(proof.texts) // ASKED_AGAIN]
    encoder.proof = replace(proof, texts=[proof.texts[row] for row in some.tolist()], vectors=proof.vectors[torch.from_numpy(some)])


def _refuse_undefined(vectors: torch.Tensor, texts: Sequence[str], dtype: Dtype) -> None:
    bad = np.flatnonzero(~torch.isfinite(vectors).all(dim=1).numpy())
    if len(bad):
        raise EncodingError(f"a text ({texts[int(bad[0])][:60]!r}) has a vector with NaN or infinity in {dtype}")
