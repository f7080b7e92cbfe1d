"""`python -m harness probe BASELINE`: what this machine makes of the canary under the settings of a run, without its data or tasks."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.fingerprint import Fingerprint
from harness.core.run_files import read_manifest
from harness.core.sketch import Sketch
from harness.evaluate.encode.canary.canary import canary_texts, sketch_texts
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.rebuilt import canonical_encoder, rebuilt_spec


@dataclass(frozen=True, kw_only=True)
class Probed:
    """The canary's vectors as this machine makes them. `setting`: under what; `seconds`: to load the model and to encode."""

    sketch: Sketch
    setting: Fingerprint
    seconds: float


def probe_model(folder: Path, overrides: Sequence[str] = ()) -> Probed:
    """Encode the canary under the settings of the run in a folder; no stored vector is read and none is kept.

    `overrides`: where things are (`harness.evaluate.rebuilt.PLACES`).

    Raises:
        RequestError: an override is wrong, the model's folder must be named, or the kind of encoder has no canary.
        InputError, MachineError: the folder holds no run, or the model does not load here.
    """
    started = time.perf_counter()
    spec = replace(rebuilt_spec(folder, read_manifest(folder), overrides, tasks=()), store=None)
    encoder = canonical_encoder(folder, spec, EncoderPool(), to="probed")
    texts = canary_texts()
    sketch = sketch_texts(encoder, texts, encoder.encode(texts))
    return Probed(sketch=sketch, setting=encoder.fingerprint, seconds=round(time.perf_counter() - started, 1))
