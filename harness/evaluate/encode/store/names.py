"""Names of vectors: what a vector is kept under, so that whoever needs it again finds it."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.evaluate.encode.canonical.shapes import BatchShape
from harness.evaluate.encode.store.shards import Keys


class Namer:
    """Names a vector by all that decides its bits: the fingerprint, the batch shape, the digest of its token ids (BLAKE2b, 128 bits)."""

    def __init__(self, digest: str) -> None:
        self._digest = digest
        self._of_shape: dict[BatchShape, hashlib.blake2b] = {}

    def name(self, shape: BatchShape, ids: bytes) -> bytes:
        """16 bytes. `ids`: what `ids_digest` gives for the token ids."""
        start = self._of_shape.get(shape)
        if start is None:
            start = self._of_shape[shape] = hashlib.blake2b(f"{self._digest} {shape}".encode(), digest_size=16)
        hasher = start.copy()
        hasher.update(ids)
        return hasher.digest()


def ids_digest(ids: npt.NDArray[np.int32]) -> bytes:
    """Names token ids, whatever model they go into: BLAKE2b, 16 bytes."""
    return hashlib.blake2b(ids.tobytes(), digest_size=16).digest()


def keys_of(names: Sequence[bytes]) -> Keys:
    """The names as the store takes them, [n, 16]."""
    return np.frombuffer(b"".join(names), dtype=np.uint8).reshape(-1, 16)
