"""Vectors as another kernel might have rounded them: how far that is, measured, and draws of it.

A kernel's rounding error is what lies between its vectors and those of the same weights in double precision. Two kernels err independently
of each other, so their difference has twice the variance of one's error. Errors are not alike in all directions: they come out of the same
last layer as the vectors and lie where those lie. So a draw is a random combination of measured errors, which has their covariance,
and not independent noise in every number, most of which would point where no vector differs from another. Errors are absolute: a text
whose vector is short has the error of all others (the sample in bf16: 0.07 at lengths from 0.5 to 17), so it does not set the noise of all.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn import functional

from harness.core.calibration import CanaryDistances
from harness.core.errors import InputError
from harness.core.sketch import distance
from harness.core.spec import Ladder
from harness.evaluate.encode.canary.canary import BANDS, canary_texts, rows_of, second_vectors
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder

TEXTS = 256
"""Texts of the run whose rounding is measured."""

_ROWS = 8192  # vectors jittered at once


@dataclass(frozen=True, kw_only=True, eq=False)
class RoundingScale:
    """How the vectors of a setting differ from those of another kernel.

    `errors`: [texts, dim] float32, one difference between two kernels per text, of which draws are made. `length`: root mean square of the
    lengths of the vectors. Root mean squares of differences, as shares of it: `rounding`, to double precision; `kernels`, to the same texts
    in other batch shapes; `full_precision`, to double precision with the weights as stored, which a half-precision dtype has rounded, too;
    `used`, of `errors`.
    """

    errors: torch.Tensor
    length: float
    texts: int
    rounding: float
    kernels: Mapping[str, float]
    full_precision: float
    used: float

    @property
    def near(self) -> float:
        """How far vectors of the same kernels lie from those in other batch shapes, as a share like `used`."""
        return max(self.kernels.values(), default=0.0)


def measure_scale(encoder: CanonicalEncoder, texts: Sequence[str]) -> tuple[RoundingScale, int]:
    """The scale of rounding on these texts, and the forward passes that were run for it in other batch shapes.

    Raises:
        InputError: the vectors are farther from double precision than rounding can be: a fault must not pass for noise.
        MachineError: the device does not have enough memory for a copy of the weights in double precision.
    """
    own = encoder.encode(texts).double()
    length = _rms(own)
    exact = second_vectors(encoder, texts, weights=encoder.model.dtype, arithmetic=torch.float64)
    _refuse_fault(encoder, own, exact)
    errors = own - exact
    rounding = _rms(errors) / length
    stored = rounding
    if encoder.model.dtype != "fp32":
        stored = _rms(own - second_vectors(encoder, texts, weights="fp32", arithmetic=torch.float64)) / length
    others, forwards = _in_other_shapes(encoder, texts)
    kernels = {name: _rms(vectors.double() - own) / length for name, vectors in others.items()}
    used = max(2**0.5 * rounding, *kernels.values())
    scale = RoundingScale(
        errors=(errors * (used / rounding if rounding else 0.0)).float(),
        length=length,
        texts=len(texts),
        rounding=rounding,
        kernels=kernels,
        full_precision=stored,
        used=used,
    )
    return scale, forwards


def canary_distances(encoder: CanonicalEncoder) -> tuple[CanaryDistances, int]:
    """How far the canary's vectors lie from those of other kernels, what `check` and `probe` compare a candidate's with; and the forward
    passes that were run for it.

    Raises:
        MachineError: the device does not have enough memory for a copy of the weights in double precision.
    """
    texts, bare = canary_texts(), encoder.apart()
    own = rows_of(bare.encode(texts))
    others, forwards = _in_other_shapes(encoder, texts)
    exact = second_vectors(encoder, texts, weights=encoder.model.dtype, arithmetic=torch.float64)
    batch_shapes = {name: distance(own, rows_of(vectors)) for name, vectors in others.items()}
    return CanaryDistances(double=distance(own, rows_of(exact)), batch_shapes=batch_shapes), bare.counters.forwards + forwards


class Jitter:
    """Draws of one task's vectors [n, dim]; equal vectors stay equal, since equal token ids have one vector under any kernel."""

    def __init__(self, vectors: torch.Tensor, scale: RoundingScale) -> None:
        first: dict[bytes, int] = {}
        rows = [first.setdefault(_digest(row), len(first)) for row in vectors.view(torch.uint8).numpy()]
        self._rows = torch.tensor(rows)
        self._distinct = vectors[np.unique(rows, return_index=True)[1]]
        self._scale = scale

    def draw(self, seed: str, *, factor: float = 1.0) -> torch.Tensor:
        """The vectors with `factor` times the measured noise, rounded to their own dtype; a function of the seed's words."""
        generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") >> 1)
        errors = self._scale.errors * (factor / len(self._scale.errors) ** 0.5)
        drawn = torch.empty_like(self._distinct)
        for start in range(0, len(drawn), _ROWS):
            part = self._distinct[start : start + _ROWS].double()
            noise = torch.randn(len(part), len(errors), generator=generator) @ errors
            drawn[start : start + _ROWS] = (part + noise).to(drawn.dtype)
        return drawn[self._rows]


def _rms(vectors: torch.Tensor) -> float:
    """Root mean square of the vectors' lengths."""
    return float(vectors.square().sum(dim=1).mean().sqrt())


def _in_other_shapes(encoder: CanonicalEncoder, texts: Sequence[str]) -> tuple[dict[str, torch.Tensor], int]:
    """The vectors of the texts in settings in which a text runs in another batch shape, beside other rows, and the forward passes for them;
    none needs more memory than the run's own."""
    spec, made, forwards = encoder.ladder.spec, dict[str, torch.Tensor](), 0
    ladder: Ladder = "padded" if spec.ladder == "exact" else "exact"
    fewer = max(1, spec.batch_tokens // 8)
    others = {f"ladder={ladder}": replace(spec, ladder=ladder), f"batch_tokens={fewer}": replace(spec, batch_tokens=fewer)}
    for name, setting in others.items():
        other = CanonicalEncoder(encoder.model, max_len=encoder.max_len, encoding=setting, device=encoder.device)
        made[name] = other.encode(texts)
        forwards += other.counters.forwards
    return made, forwards


def _refuse_fault(encoder: CanonicalEncoder, own: torch.Tensor, exact: torch.Tensor) -> None:
    units = functional.normalize(own, dim=1) - functional.normalize(exact, dim=1)
    median, limit = float(units.norm(dim=1).median()), BANDS[encoder.model.dtype][1]
    if median > limit:
        raise InputError(
            f"the vectors of the median text are {median:.1e} of their length away from double precision, and rounding in "
            f"{encoder.model.dtype} comes to {limit:.0e} at most: something else is wrong with this run. Run it again with canary=on"
        )


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(row.tobytes(), digest_size=16).digest()
