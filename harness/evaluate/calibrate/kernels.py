"""How far the canary's vectors lie from those of other kernels: what `check` and `probe` compare a candidate's with."""

from __future__ import annotations

import torch

from harness.core.calibration import CanaryDistances
from harness.core.sketch import distance
from harness.evaluate.calibrate.jitter import other_shapes
from harness.evaluate.encode.canary.canary import canary_texts, second_vectors
from harness.evaluate.encode.canary.sketched import rows_of
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder


def canary_distances(encoder: CanonicalEncoder) -> tuple[CanaryDistances, int]:
    """The distances, and the forward passes that were run for them.

    Raises:
        MachineError: the device does not have enough memory for a copy of the weights in double precision.
    """
    texts, bare = canary_texts(), encoder.apart()
    own = rows_of(bare.encode(texts))
    forwards, batch_shapes = bare.counters.forwards, {}
    for name, setting in other_shapes(encoder.ladder.spec).items():
        other = CanonicalEncoder(encoder.model, max_len=encoder.max_len, encoding=setting, device=encoder.device)
        batch_shapes[name] = distance(own, rows_of(other.encode(texts)))
        forwards += other.counters.forwards
    exact = second_vectors(encoder, texts, weights=encoder.model.dtype, arithmetic=torch.float64)
    return CanaryDistances(double=distance(own, rows_of(exact)), batch_shapes=batch_shapes), forwards
