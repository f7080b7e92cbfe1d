"""The canary's vectors in small, so that they can stay beside a run's records: a fixed projection that keeps their distances.

Each raw vector is multiplied with one matrix of random signs, which leaves `NUMBERS` numbers of it. A distance keeps its size to
1/sqrt(2 * NUMBERS) = 9 %, the root mean square over 256 texts to 1 % (Johnson and Lindenstrauss 1984; signs: Achlioptas 2003). The signs
come from SHAKE-256, so they are the same on every machine and under every version of numpy.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.core.calibration import Distance
from harness.core.errors import InputError
from harness.core.files import write_json
from harness.core.records import Manifest
from harness.core.run_files import CANARY
from harness.core.typed import plain, read_typed

SCHEMA = 1
NUMBERS = 64
"""Numbers that are left of a vector."""

_REPEAT_MARGIN, _LEAST_REPEAT = 10.0, 1e-3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Sketch:
    """The canary's vectors of a run. SHA-256: `texts` over the texts, `tokens` over the token ids, `vectors` over the raw vectors.

    `rows`: [texts, NUMBERS] float32, little-endian, in Base64. `second`: how far those of the second
    chain (fp32) lie; None where it did not run. `floor`: by how much of its length a text's vector moves where its text is encoded twice;
    None where it can't move.
    """

    texts: str
    tokens: str
    vectors: str
    rows: str
    second: Distance | None = None
    floor: float | None = None
    schema: int = SCHEMA

    @property
    def numbers(self) -> Floats:
        """The rows [texts, NUMBERS]; raises ValueError where they are none, or are not finite."""
        flat = np.frombuffer(base64.b64decode(self.rows, validate=True), dtype="<f4")
        if not len(flat) or not np.isfinite(flat).all():
            raise ValueError("its rows are empty or not finite")
        return flat.reshape(-1, NUMBERS).astype(np.float64)

    @property
    def digest(self) -> str:
        """SHA-256 over all of it, hexadecimal: what the manifest beside it states."""
        return hashlib.sha256(json.dumps(plain(self), sort_keys=True).encode()).hexdigest()


def sketch_rows(vectors: Floats) -> Floats:
    """What is left [n, NUMBERS] of raw vectors [n, dim]."""
    rows: Floats = vectors @ _projection(vectors.shape[1])
    return rows


def packed(rows: Floats) -> str:
    """The rows as a `Sketch` holds them."""
    return base64.b64encode(rows.astype("<f4").tobytes()).decode()


def distance(rows: Floats, others: Floats) -> Distance:
    """How far the rows of the same texts lie apart, as shares of the first ones' length; errors of kernels are absolute (docs/drift.md)."""
    apart = np.sqrt(np.square(others - rows).sum(axis=1)) / np.sqrt(np.square(rows).sum(axis=1).mean())
    return Distance(rms=float(np.sqrt(np.square(apart).mean())), farthest=float(apart.max()))


def repeat_limit(*floors: float) -> float:
    """How far apart a text's vectors may lie, as a share of their length, that one model has made twice; `floors`: how far it was seen."""
    return max(_LEAST_REPEAT, _REPEAT_MARGIN * max(floors))


def write_sketch(folder: Path, sketch: Sketch | None) -> None:
    """Write `canary.json` of a run folder; without a sketch there is none, and an earlier one does not stay."""
    if sketch is None:
        (folder / CANARY).unlink(missing_ok=True)
    else:
        write_json(folder / CANARY, plain(sketch))


def read_sketch(folder: Path, manifest: Manifest | None = None) -> Sketch | None:
    """The sketch in a run folder; None where there is none.

    Raises:
        InputError: its file is damaged, or not the one whose digest the `manifest` of the run states.
    """
    path, remedy = folder / CANARY, "delete it, and run again for a new one"
    if not path.is_file():
        return None
    sketch = read_typed(path, Sketch, what="sketch of the canary's vectors", remedy=remedy, schema=SCHEMA)
    try:
        _ = sketch.numbers
    except ValueError as error:
        raise InputError(f"{path} is no sketch of the canary's vectors ({error}): {remedy}") from error
    stated = manifest.canary.get("sketch") if manifest and isinstance(manifest.canary, Mapping) else None
    if stated not in (None, sketch.digest):
        raise InputError(f"{path} is not the file of this run: its manifest states another digest ({stated:.8}): {remedy}")
    return sketch


def refuse_other_model(folder: Path, sketch: Sketch) -> None:
    """Pass a run that goes on in a folder with the model that it began with, where a text's vector may move (`Sketch.floor`).

    Raises:
        InputError: the folder's sketch is of another model.
    """
    try:
        before = read_sketch(folder)
    except InputError:
        return
    if before is None or before.floor is None or sketch.floor is None or before.texts != sketch.texts:
        return
    apart, most = distance(before.numbers, sketch.numbers).farthest, repeat_limit(before.floor, sketch.floor)
    if apart > most:
        raise InputError(
            f"{folder} has tasks of another model: the vectors of the canary's texts lie up to {apart:.1e} from those that the run began "
            f"with, expected at most {most:.1e}. Serve that model again, name another results_dir=DIR, or set overwrite=true"
        )


@cache
def _projection(dim: int) -> Floats:
    signs = np.unpackbits(np.frombuffer(hashlib.shake_256(b"canary").digest(dim * NUMBERS // 8), dtype=np.uint8))
    projection: Floats = (2.0 * signs.reshape(dim, NUMBERS) - 1) / NUMBERS**0.5
    return projection
