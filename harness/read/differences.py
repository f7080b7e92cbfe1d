"""In which settings two runs differ, by their manifests: what was asked for, the machine, the packages, the weights, the source."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from harness.core.environment import SCORING_PINS
from harness.core.fingerprint import Fingerprint
from harness.core.formatting import stated
from harness.core.records import Manifest, Run
from harness.core.typed import leaves, plain

Kind = Literal["protocol", "model", "setting", "device", "kernel", "packages", "source"]
"""`protocol`: what a score means (benchmark, scoring, seed). `model`: name, revision, weights, tokenizer. `setting`: whatever else the run
was asked for (dtype, max_len, dim, data, gpu). `device`, `kernel`, `packages`: what it ran on and with. `source`: the harness itself."""

KINDS: tuple[Kind, ...] = get_args(Kind)

_PROTOCOL = ("benchmark.", "spec.benchmark", "spec.scoring.", "spec.model.query_instruction", "spec.prompts.", "seed")
_MODEL = ("spec.model.", "model.")
_KERNEL = ("model.attention", "model.linear", "model.ladder", "model.batch_tokens", "model.flags", "spec.gpu.encoding.")

_SECTIONS = ("benchmark", "seed", "spec", "model", "device", "machine", "versions", "source")

# What follows from other keys: digests from what they cover, hashes of single files from the one over all, the fingerprint's repetitions.
_DERIVED = (
    *("model.digest", "model.weights_sha256.", "model.kernel", "model.model", "model.dtype", "model.max_len", "model.device."),
    *("model.stored_parameters", "model.parameters", "model.packs"),
)

_SECONDARY = ("device.memory_gib", "machine.platform")
"""What differs between any two machines and moves no score by itself."""

_KERNEL_PARTS = {"processor": (), "torch": ("versions.torch",), "switches": ("model.flags.",), "variables": (), "libraries": ("versions.",)}
"""The parts of the line `model.kernel`, in its order, and the other keys under which a part is listed, too."""

_SHOWN = 3  # settings in which a row of a table differs

_NAME_A_VECTOR = ("digest", "tokenizer_sha256", "max_len", "ladder", "batch_tokens")


@dataclass(frozen=True, kw_only=True)
class SettingDifference:
    """One setting of two runs. `key`: its place in the manifest (`versions.torch`); `a`, `b`: the values as text, None where not stated."""

    kind: Kind
    key: str
    a: str | None
    b: str | None

    def __str__(self) -> str:
        return f"{self.key}: {self.a or 'not stated'} -> {self.b or 'not stated'}"


def differences(a: Run, b: Run) -> tuple[SettingDifference, ...]:
    """The settings in which two runs differ, in the order of `Kind` and then by name; empty where both ran alike.

    The memory's size and the system's release are listed only if nothing else differs. Runs that others made have no manifest of ours: of
    them only what the leaderboard's row states is compared.
    """
    if not (a.ours and b.ours):
        return tuple(_header_differences(a, b))
    left, right = (_settings(run.manifest) for run in (a, b))
    found = [
        SettingDifference(kind=_kind(key), key=key, a=left.get(key), b=right.get(key))
        for key in dict.fromkeys([*left, *right])
        if left.get(key) != right.get(key) and not key.startswith(_DERIVED)
    ]
    found += _kernel_differences(left.get("model.kernel"), right.get("model.kernel"), listed=[each.key for each in found])
    found = [each for each in found if each.key not in _SECONDARY] or found
    return tuple(sorted(found, key=lambda each: (KINDS.index(each.kind), each.key)))


def distinctions(manifests: Sequence[Manifest]) -> list[str]:
    """What each run was asked for and was made of that the others have otherwise (`scoring.dtype model, weights 1f3a9c04`), empty where
    nothing is; what it ran on and with only where nothing else differs. At most three settings, and how many more there are."""
    every = [_settings(manifest) for manifest in manifests]
    keys = [key for key in dict.fromkeys(itertools.chain(*every)) if len({each.get(key) for each in every}) > 1]
    keys = [key for key in keys if not key.startswith((*_DERIVED, *_SECONDARY))]
    if "spec.prompts.source" in keys:  # their table goes with it
        keys = [key for key in keys if not key.startswith("spec.prompts.table")]
    keys = [key for key in keys if _kind(key) in ("protocol", "model", "setting")] or keys
    keys.sort(key=lambda key: (KINDS.index(_kind(key)), key))
    rest = [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    return [", ".join([*(_said(key, each.get(key)) for key in keys[:_SHOWN]), *rest]) for each in every]


def _said(key: str, value: str | None) -> str:
    digest = value is not None and re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", value)
    name = key.removeprefix("spec.").removeprefix("model.").removesuffix("_digest")
    return f"{name} {'none' if value is None else value[:8] if digest else f'{value[:40]}~' if len(value) > 40 else value}"


def _settings(manifest: Manifest) -> dict[str, str | None]:
    """What a manifest states, by its place in it."""
    return {path: stated(value) for path, value in leaves(plain(replace(manifest, extra={}))) if path.partition(".")[0] in _SECTIONS}


def _kernel_differences(a: str | None, b: str | None, *, listed: Sequence[str]) -> Iterator[SettingDifference]:
    """What chooses kernels and differs (the processor's stepping and instruction sets, torch's build, variables of libraries below it),
    part by part; the whole lines where they have other parts. `listed`: keys that need not be said again."""
    if a == b:
        return
    parts = [(side or "").split(" | ") for side in (a, b)]
    if not len(parts[0]) == len(parts[1]) == len(_KERNEL_PARTS):
        yield SettingDifference(kind="kernel", key="model.kernel", a=a, b=b)
        return
    for (name, elsewhere), left, right in zip(_KERNEL_PARTS.items(), *parts, strict=True):
        if left != right and not (elsewhere and any(key.startswith(elsewhere) for key in listed)):
            yield SettingDifference(kind="kernel", key=f"model.kernel.{name}", a=left.strip() or None, b=right.strip() or None)


def same_vectors(a: Run, b: Run) -> bool:
    """Whether weights, tokenizer, device, kernels, libraries and batch shapes are so equal that every vector of the two runs must be, to
    the bit: the digest does not have the batch shape of a text, which follows from the ladder.
    """
    models = [run.manifest.model or Fingerprint() for run in (a, b)]
    decides = [[getattr(model, key) for key in _NAME_A_VECTOR] for model in models]
    return all(decides[0]) and decides[0] == decides[1]


def _header_differences(a: Run, b: Run) -> Iterator[SettingDifference]:
    kinds: dict[str, Kind] = {"model": "model", "gpu": "device", "dtype": "setting", "max_len": "setting", "dim": "setting"}
    for name, kind in kinds.items():
        left, right = (stated(getattr(run.header, name)) for run in (a, b))
        if left != right:
            yield SettingDifference(kind=kind, key=name, a=left, b=right)


def _kind(key: str) -> Kind:
    if key.startswith("versions."):
        return "protocol" if key.removeprefix("versions.") in SCORING_PINS else "packages"
    if key.startswith(_PROTOCOL):
        return "protocol"
    if key.startswith(_KERNEL):
        return "kernel"
    if key.startswith(_MODEL):
        return "model"
    if key.startswith(("device.", "machine.")):
        return "device"
    return "source" if key.startswith("source.") else "setting"
