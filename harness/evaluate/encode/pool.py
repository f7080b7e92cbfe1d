"""The models that a process has loaded."""

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness.core.spec import RunSpec
from harness.evaluate.encode.canonical.devices import find_devices
from harness.evaluate.encode.encoder import ENCODERS, Checked, Encoder
from harness.evaluate.encode.store.store import VectorStore


class EncoderPool:
    """Loaded weights, one set per model, dtype and device; their encoders, one per setting; opened stores; and what the checks found.

    `store_required`: whether a store that can't be written is an error; a run goes on without it.
    """

    def __init__(self, *, store_required: bool = False) -> None:
        self._store_required = store_required
        self._weights: dict[Hashable, Any] = {}
        self._encoders: dict[Hashable, Encoder] = {}
        self._stores: dict[Path, VectorStore] = {}
        self._checked: dict[Hashable, Checked | None] = {}
        self._spread: dict[Hashable, Any] = {}

    def encoder(self, spec: RunSpec, device: torch.device) -> Encoder:
        """The run's encoder; raises as its kind does."""
        key = (_setting(spec, device), spec.store, spec.devices)
        if key not in self._encoders:
            store = self._stores.setdefault(spec.store, VectorStore(spec.store, required=self._store_required)) if spec.store else None
            self._encoders[key] = ENCODERS.get(spec.model.kind).encoder(
                self._loaded(spec, device), max_len=spec.max_len, encoding=spec.gpu.encoding, device=device, store=store
            )
            if spec.devices:
                self._spread_over(spec, device, self._encoders[key])
        return self._encoders[key]

    def check(self, spec: RunSpec, device: torch.device) -> Checked | None:
        """What the check of the run's setting found, made once in a process; raises as its kind does. With `canary=off` there is none, and
        the store alone is compared with what the encoder makes.

        It is not taken over from a manifest: it says something of this machine at this time.
        """
        kind = ENCODERS.get(spec.model.kind)
        if not spec.canary:
            if spec.store is not None:
                kind.prove_store(self.encoder(spec, device))
            return None
        setting = (_setting(spec, device), spec.store)
        if setting in self._checked:
            before = self._checked[setting]
            return before and replace(before, seconds=0.0)
        self._checked[setting] = kind.check(self.encoder(spec, device))
        return self._checked[setting]

    def _spread_over(self, spec: RunSpec, device: torch.device, encoder: Encoder) -> None:
        key = (spec.model, spec.dtype, spec.gpu.encoding, str(device), spec.devices)
        devices = find_devices(spec.devices, device)
        self._spread[key] = ENCODERS.get(spec.model.kind).spread(encoder, devices, self._spread.get(key))

    def _loaded(self, spec: RunSpec, device: torch.device) -> Any:
        key = (spec.model, spec.dtype, str(device))
        if key not in self._weights:
            self._weights[key] = ENCODERS.get(spec.model.kind).load(spec.model, dtype=spec.dtype, device=device)
        return self._weights[key]


def _setting(spec: RunSpec, device: torch.device) -> Hashable:
    return spec.model, spec.dtype, spec.gpu.encoding, spec.max_len, str(device)
