"""The distinct texts of a task as a plan needs them: a name, a token count and whether it is cut, for each.

Counted where tokenizer and data are here, from the characters where only the data is, modelled from the known statistics where neither is.
What is named equally is computed once, whichever of the three it is: a text has another name where `max_len` cuts it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.tasks import TaskSpec
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.planned import Basis, Counted
from harness.evaluate.lengths import estimated_counts, modelled_counts

_GOLDEN = 0x1E3779B97F4A7C15  # odd and without a pattern: spreads small numbers over 64 bits


@dataclass(frozen=True, kw_only=True)
class TaskTexts(Counted):
    """Texts of a task, each once, in the order of its data. `texts`: [n], what tells a text from another."""

    texts: IntArray

    def __len__(self) -> int:
        return len(self.counts)


def counted_texts(texts: Sequence[str], counted: Counted) -> TaskTexts:
    """As the model's outline counted them."""
    return TaskTexts(**vars(counted), texts=_hashes(texts))


def texts_by_characters(texts: Sequence[str], max_len: int) -> TaskTexts:
    """Token counts by the rate of the length model; equal texts are known as such."""
    return _cut_texts("characters", _hashes(texts), estimated_counts(texts), max_len)


def modelled_texts(task: TaskSpec, max_len: int) -> TaskTexts:
    """The texts that the length model gives the task, none where it has no statistics; what it shares with other tasks is not known."""
    counts = modelled_counts(task)
    start = int.from_bytes(hashlib.blake2b(task.name.encode(), digest_size=8).digest(), "little", signed=True)
    return _cut_texts("modelled" if len(counts) else "unknown", start ^ np.arange(len(counts), dtype=np.int64), counts, max_len)


def _hashes(texts: Sequence[str]) -> IntArray:
    digests = b"".join(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype=np.int64)


def _cut_texts(basis: Basis, texts: IntArray, counts: IntArray, max_len: int) -> TaskTexts:
    """Texts of these token counts, cut; with names of 16 bytes that are equal where the text is and the length it is cut to, if it is."""
    cut = counts > max_len
    mixed = texts ^ (np.where(cut, max_len, 0) * _GOLDEN)
    names = np.repeat(mixed[:, None], 2, axis=1).view(np.uint8).reshape(-1, 16)
    return TaskTexts(basis=basis, texts=texts, names=names, counts=np.minimum(counts, max_len), cut=cut)
