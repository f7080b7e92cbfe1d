"""The canary's vectors of a candidate beside those of a baseline: drift that no score needs to show, in every dtype.

What may differ follows from what is equal. Same kernels and batch shapes: nothing, to the bit, whatever the code. Same kernels in other
batch shapes: as much as the calibration saw between batch shapes. Other kernels, another device: as far as two kernels lie apart that err
independently, which is the square root of 2 times the distance of one to double precision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.core.calibration import Calibration, Distance, KernelLevel
from harness.core.errors import InputError
from harness.core.fingerprint import Fingerprint
from harness.core.sketch import Sketch, distance
from harness.core.spec import Dtype

SHAPES_MARGIN = 3.0
"""How many times the distance seen between batch shapes other batch shapes may make."""

KERNELS_MARGIN = 1.5
"""How many times the distance expected between two kernels real ones may make; on a CPU at most 0.76 times (docs/drift-measured.md)."""

LEAST: dict[Dtype, float] = {"fp32": 1e-6, "fp16": 0.0, "bf16": 0.0}
"""The least distance expected between two kernels. In fp32 the second chain may have run in the kernel of the first, at distance 0."""

_KERNELS = ("dtype", "kernel", "linear", "attention")
_ALL = ("digest", "ladder", "batch_tokens", "max_len")


@dataclass(frozen=True, kw_only=True)
class VectorDrift:
    """How far a candidate's canary lies from a baseline's.

    `limit`: how far it may; None where bits or token ids decided. `why`: why this is drift, empty where it is none.
    """

    level: KernelLevel
    distance: Distance
    limit: Distance | None
    why: str = ""

    @property
    def drifted(self) -> bool:
        """Whether something else than rounding lies between the two."""
        return bool(self.why)


def compare_vectors(
    baseline: Sketch, candidate: Sketch, models: tuple[Fingerprint, Fingerprint], calibration: Calibration | None
) -> VectorDrift | str:
    """The two canaries beside each other, or why they can't be compared. `models`: the settings of both.

    Raises:
        InputError: the baseline's sketch does not say what to expect of other kernels, or one of them is cut.
    """
    before, after = models
    if baseline.floor is not None or candidate.floor is not None:
        return "a text that is encoded twice may have two vectors in this kind of model"
    if baseline.texts != candidate.texts:
        return "the canary's texts are others since the baseline was made"
    rows, others = baseline.numbers, candidate.numbers
    if rows.shape != others.shape:
        raise InputError(f"a canary.json is damaged: {len(rows)} and {len(others)} rows for the same texts. Run again for a new one")
    if before.dtype != after.dtype or before.dtype is None:
        return "the two have other dtypes"
    level, apart = kernel_level(before, after), distance(rows, others)
    if baseline.tokens != candidate.tokens:
        return VectorDrift(level=level, distance=apart, limit=None, why="other token ids: look for a change of the tokenizer or its files")
    if level == "same kernels and batch shapes":
        why = "" if baseline.vectors == candidate.vectors else "same kernels and batch shapes, other bits"
        return VectorDrift(level=level, distance=apart, limit=None, why=why)
    limit = _limit(level, baseline, before.dtype, calibration)
    return VectorDrift(level=level, distance=apart, limit=limit, why="; ".join(_beyond(apart, limit)))


def kernel_level(before: Fingerprint, after: Fingerprint) -> KernelLevel:
    """What two settings have in common; what one of them does not state counts as different."""

    def same(names: Sequence[str]) -> bool:
        return all(getattr(before, name) and getattr(before, name) == getattr(after, name) for name in names)

    if same(_ALL):
        return "same kernels and batch shapes"
    return "same kernels, other batch shapes" if same(_KERNELS) else "other kernels"


def _limit(level: KernelLevel, baseline: Sketch, dtype: Dtype, calibration: Calibration | None) -> Distance:
    seen = calibration.vectors if calibration else None
    if seen and level == "same kernels, other batch shapes":
        shapes = seen.batch_shapes.values()
        rms, farthest = (max(getattr(each, name) for each in shapes) for name in ("rms", "farthest"))
        return Distance(rms=SHAPES_MARGIN * rms, farthest=SHAPES_MARGIN * farthest)
    exact = seen.double if seen else baseline.second
    if exact is None:
        raise InputError("the baseline's canary.json does not state how far the second chain lies: make the baseline again, with canary=on")
    factor = KERNELS_MARGIN * 2**0.5
    return Distance(rms=factor * max(exact.rms, LEAST[dtype]), farthest=factor * max(exact.farthest, 5 * LEAST[dtype]))


def _beyond(found: Distance, limit: Distance) -> Iterator[str]:
    if not found.rms <= limit.rms:
        yield f"{found.rms:.1e} of the vectors' length apart, rounding makes {limit.rms:.1e} at most"
    if not found.farthest <= limit.farthest:
        yield f"the farthest text {found.farthest:.1e} apart, rounding makes {limit.farthest:.1e} at most"
