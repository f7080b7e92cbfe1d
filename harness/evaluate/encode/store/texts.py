"""What the token ids of texts came to, kept beside their vectors: a text whose vector is there is found without being tokenised again.

At C-MTEB's size tokenising takes minutes where reading all vectors takes seconds (docs/performance.md).
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from harness.core.code import ENCODING, code_digest
from harness.core.spec import Dtype
from harness.evaluate.encode.store.names import keys_of
from harness.evaluate.encode.store.shards import TEXTS, Keys
from harness.evaluate.encode.store.stored import SettingKeeper, StoredVectors

Tokenised = npt.NDArray[np.void]
"""Of each text [n]: `ids`, the digest of its token ids; `tokens`, how many; `cut`, whether max_len left some out."""

_FIELDS = np.dtype([("ids", "V16"), ("tokens", "<i4"), ("cut", "<i4")])
ROW: tuple[int, Dtype] = (_FIELDS.itemsize // 4, "fp32")
"""What a row is in a shard, whose numbers are vectors' else: so many, and of this dtype."""


class KnownTexts(SettingKeeper):
    """The texts of a setting that were tokenised before, by the same code, tokenizer and library: a text that was cut, for this `max_len`.

    `decides`: all of the tokenizer that decides a text's ids.
    """

    def __init__(self, stored: StoredVectors, decides: str, *, max_len: int) -> None:
        super().__init__(stored.folder, dim=ROW[0], dtype=ROW[1], suffix=TEXTS)
        self._stored = stored
        self._max_len = max_len
        self._begin = hashlib.blake2b(f"{decides} {code_digest(ENCODING)}".encode(), digest_size=16)

    def keys(self, texts: Sequence[str]) -> Keys:
        """The names of the texts, [n, 16]."""
        return self._named(text.encode("utf-8", "surrogatepass") for text in texts)

    def find(self, keys: Keys) -> tuple[npt.NDArray[np.bool_], Tokenised]:
        """Of which texts the ids under this `max_len` are known [n], and what is known of them."""
        self.refresh()
        known, rows = self._rows(keys)
        known &= rows["tokens"] <= self._max_len
        others = np.flatnonzero(~known)
        known[others], rows[others] = self._rows(self._cut(keys[others]))
        return known, rows

    def put(self, keys: Keys, ids: Keys, tokens: npt.NDArray[np.int64], cut: npt.NDArray[np.bool_]) -> None:
        """Keeps what the texts of the keys came to, where the store can be written."""
        rows = np.zeros(len(keys), dtype=_FIELDS)
        rows["ids"], rows["tokens"], rows["cut"] = np.ascontiguousarray(ids).view("V16")[:, 0], tokens, cut
        names = keys.copy()
        names[cut] = self._cut(keys[cut])
        self._stored.write_beside(names, torch.from_numpy(rows.view(np.float32).reshape(len(keys), -1)), suffix=TEXTS)

    def _rows(self, keys: Keys) -> tuple[npt.NDArray[np.bool_], Tokenised]:
        rows = torch.zeros(len(keys), ROW[0])
        known = self.fill(rows, np.arange(len(keys)), keys)
        return known, rows.numpy().view(_FIELDS)[:, 0]

    def _cut(self, keys: Keys) -> Keys:
        """The names of texts that this `max_len` cuts: the others have the same ids under any that they fit into."""
        return self._named(f"{self._max_len} ".encode() + key.tobytes() for key in keys)

    def _named(self, contents: Iterable[bytes]) -> Keys:
        names = []
        for content in contents:
            hasher = self._begin.copy()
            hasher.update(content)
            names.append(hasher.digest())
        return keys_of(names)
