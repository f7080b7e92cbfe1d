"""One file of stored vectors: written once, named by its own SHA-256, never changed.

A shard is a safetensors file with two tensors, `keys` [n, 16] (U8) and `vectors` [n, dim] in the model's dtype. Its name is the SHA-256 of
its bytes, so `sha256sum` tells a whole one from a damaged one, and two processes that write the same shard write the same file.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from harness.core.files import atomic_write, open_regular, sha256_file
from harness.core.spec import Dtype
from harness.evaluate.encode.device import TORCH_DTYPE

Keys = npt.NDArray[np.uint8]
"""Names of vectors, [n, 16]."""

SUFFIX = ".safetensors"
PROOF = ".proof"
"""The suffix of shards that hold the canary's vectors."""
TEXTS = ".texts"
"""The suffix of shards that hold what the token ids of texts came to, instead of vectors (`texts`)."""
DAMAGED = ".damaged"

_CODE: dict[Dtype, str] = {"fp32": "F32", "fp16": "F16", "bf16": "BF16"}
_RAW: dict[Dtype, type[np.unsignedinteger]] = {"fp32": np.uint32, "fp16": np.uint16, "bf16": np.uint16}  # numpy has no bf16
_LONGEST_HEADER = 4096


class DamagedShardError(Exception):
    """The file is not what its name says; never leaves this room."""


@dataclass(frozen=True)
class Shard:
    """An opened shard: `count` vectors in the file from byte `start`."""

    path: Path
    count: int
    dim: int
    dtype: Dtype
    start: int

    def verify(self) -> None:
        """Reads the whole file.

        Raises:
            DamagedShardError: its bytes are not those it was named for, or it is gone.
        """
        try:
            digest = sha256_file(self.path)
        except OSError as error:
            raise DamagedShardError(str(error)) from error
        if digest != self.path.stem:
            raise DamagedShardError(f"its bytes have the SHA-256 {digest}")

    def vectors(self) -> torch.Tensor:
        """All vectors [count, dim], memory-mapped, read-only; meant for `index_select`.

        Raises:
            DamagedShardError: the file is gone.
        """
        try:
            mapped = np.memmap(self.path, dtype=_RAW[self.dtype], mode="c", offset=self.start, shape=(self.count, self.dim))
        except (OSError, ValueError) as error:
            raise DamagedShardError(str(error)) from error
        return torch.from_numpy(mapped).view(TORCH_DTYPE[self.dtype])


def write_shard(folder: Path, keys: Keys, vectors: torch.Tensor, dtype: Dtype, *, suffix: str = SUFFIX) -> Path:
    """Writes keys [n, 16] and vectors [n, dim] as one shard, whole or not at all. `suffix`: `PROOF` for the canary's.

    Raises:
        MachineError: the folder can't be written.
    """
    rows = vectors.contiguous().view(torch.uint8).numpy().reshape(-1)
    header = json.dumps(
        {
            "keys": {"dtype": "U8", "shape": list(keys.shape), "data_offsets": [0, keys.nbytes]},
            "vectors": {"dtype": _CODE[dtype], "shape": list(vectors.shape), "data_offsets": [keys.nbytes, keys.nbytes + rows.nbytes]},
        }
    ).encode()
    header += b" " * (-(8 + len(header)) % 16)  # keys are 16 bytes each, so the vectors are aligned too
    parts: list[bytes | memoryview] = [struct.pack("<Q", len(header)), header, keys.tobytes(), rows.data]
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    path = folder / f"{digest.hexdigest()}{suffix}"
    if not path.exists():
        with atomic_write(path) as stream:
            for part in parts:
                stream.write(part)
    return path


def open_shard(path: Path, *, dim: int, dtype: Dtype) -> tuple[Shard, Keys]:
    """The shard and its keys; checks its form and size, and leaves the bytes of the vectors to `Shard.verify`.

    Raises:
        DamagedShardError: it is cut short, or no shard of this `dim` and `dtype`.
    """
    try:
        with open_regular(path) as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > _LONGEST_HEADER:
                raise DamagedShardError(f"its header claims a length of {length} bytes")
            header = json.loads(stream.read(length))
            count = int(header["keys"]["shape"][0])
            if not 0 <= 16 * count <= path.stat().st_size:
                raise DamagedShardError(f"its header claims {count!s:.40} vectors")
            raw = stream.read(16 * count)
            size = stream.seek(0, 2)
            vectors = dict(header["vectors"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError, struct.error) as error:
        raise DamagedShardError(str(error)) from error
    start = 8 + length + 16 * count
    expected = start + count * dim * TORCH_DTYPE[dtype].itemsize
    if size != expected or vectors.get("dtype") != _CODE[dtype] or vectors.get("shape") != [count, dim]:
        raise DamagedShardError(f"it has {size} bytes, {expected} expected for {count} vectors of {dim} numbers in {dtype}")
    return Shard(path, count, dim, dtype, start), np.frombuffer(raw, dtype=np.uint8).reshape(count, 16)


def set_aside(path: Path) -> bool:
    """Renames a damaged shard so that nobody reads it again; False where it is gone, or can't be renamed."""
    try:
        path.replace(path.with_name(path.name + DAMAGED))
    except OSError:
        return False
    return True
