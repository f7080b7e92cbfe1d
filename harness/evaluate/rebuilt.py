"""From a run folder back to the run: its spec, as the manifest tells it, and what only the caller knows of this machine."""

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

from harness.core import environment
from harness.core.config import compose_config
from harness.core.errors import InputError, MachineError, RequestError, unknown
from harness.core.fingerprint import Fingerprint
from harness.core.records import Manifest
from harness.core.run_files import benchmark_word
from harness.core.spec import RunSpec
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.canonical.kind import FolderKind
from harness.evaluate.encode.device import find_device
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.encode.pool import EncoderPool

PLACES = ("store", "model.path", "data.root", "workers")
"""What a manifest does not tell, or what may lie elsewhere by now; given as KEY=VALUE."""

NOT_OURS = "{} has no manifest of this harness: name a run folder that this version made"


def rebuilt_spec(folder: Path, manifest: Manifest, overrides: Sequence[str], *, tasks: tuple[str, ...]) -> RunSpec:
    """The spec of the run in a folder.

    Raises:
        RequestError: an override is none of `PLACES`, or the model's folder must be named.
        InputError: the manifest is not one of this harness.
    """
    places = _places(overrides)
    before = manifest.spec
    if before is None:
        raise InputError(NOT_OURS.format(folder))
    model = replace(before.model, path=places.model.path or None)
    spec = RunSpec(
        **{item.name: getattr(before, item.name) for item in fields(before) if item.name not in ("benchmark", "model", "data")},
        benchmark=benchmark_word(before.benchmark, folder),
        model=model,
        data=replace(before.data, root=places.data.root or before.data.root),
        tasks=tasks,
        store=places.store,
        workers=_workers(places.workers),
        results_dir=folder.parent.parent,
    )
    if isinstance(ENCODERS.get(model.kind), FolderKind) and not (model.path or model.package or model.hub):
        raise RequestError(f"{folder} was run from a local folder of {model.name}: add model.path=DIR")
    return spec


def canonical_encoder(folder: Path, spec: RunSpec, encoders: EncoderPool, *, to: str) -> CanonicalEncoder:
    """The run's encoder on this machine; raises RequestError where it is of another kind, which can't be what `to` says."""
    encoder = encoders.encoder(spec, find_device())
    if not isinstance(encoder, CanonicalEncoder):
        raise RequestError(f"{folder} was run with model.kind={spec.model.kind}: only runs of canonical encoders can be {to}")
    return encoder


def check_setting(encoder: CanonicalEncoder, folder: Path, manifest: Manifest) -> None:
    """Pass an encoder and packages that give the very vectors and scores of the run.

    Raises:
        InputError: the weights are others.
        MachineError: the device, its kernels or the packages are others.
    """
    before, now = manifest.model or Fingerprint(), encoder.fingerprint
    if before.weights_digest != now.weights_digest:
        raise InputError(
            f"the weights here ({now.weights_digest[:8]}) are not those of {folder} ({before.weights_digest[:8]}): give the "
            "folder of the model that was run with model.path=DIR"
        )
    versions = environment.scoring_versions()
    there = manifest.versions or {}
    changed = [f"{name}: {version} there, {versions.get(name)} here" for name, version in there.items() if versions.get(name) != version]
    if before.digest != now.digest:
        changed.append(f"kernels: {before.kernel} there, {now.kernel} here")
    if changed:
        raise MachineError(
            f"{folder} was made under another setting, so this machine has other vectors and scores:\n  " + "\n  ".join(changed) + "\n"
            "Calibrate where the run was made, or make the run again here"
        )


def _places(overrides: Sequence[str]) -> RunSpec:
    """What overrides of `PLACES` come to, as in any request."""
    strange = [text for text in overrides if text.partition("=")[0] not in PLACES]
    if strange:
        wrong = (f"{text}: the run's settings come from its manifest. {unknown('key', text.partition('=')[0], PLACES)}" for text in strange)
        raise RequestError("\n".join(wrong))
    places = compose_config(overrides)
    if places.workers is not None and places.workers < 0:
        raise RequestError(f"workers={places.workers}: give a number of processes, 0 to score in this one")
    return places


def _workers(asked: int | None) -> int:
    """Nothing encodes meanwhile, so scoring may have half the cores."""
    return asked if asked is not None else (os.cpu_count() or 1) // 2 if (os.cpu_count() or 1) >= 4 else 0
