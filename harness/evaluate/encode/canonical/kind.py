"""The kind of encoders that comes with the package: `canonical`, whose vectors are a pure function of token ids, to the bit.

What computes is imported where it is used: to know a model by its files takes no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.model.locate import LocatedModel, files_digest, find_model, hash_weights, model_problem
from harness.evaluate.encode.model.own import OwnSettings, read_own_settings

if TYPE_CHECKING:
    import torch

    from harness.evaluate.encode.canonical.devices import DeviceProcesses
    from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
    from harness.evaluate.encode.model.loading import LoadedModel
    from harness.evaluate.encode.model.outline import ChainOutline
    from harness.evaluate.encode.store.store import VectorStore


class FolderKind(EncoderKind):
    """A kind whose models are folders.

    `marker`: the file that a folder must have. `hash_files`: the digest of its files beside the weights. `read_settings`: what they say.
    """

    marker: str = "modules.json"
    hash_files: Callable[[Path], str] = staticmethod(files_digest)
    read_settings: Callable[[LocatedModel], OwnSettings] = staticmethod(read_own_settings)

    def weights_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's weight files; raises as `find_model` does."""
        return hash_weights(find_model(model, marker=self.marker).folder, allow_pickle=model.allow_pickle).digest

    def files_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's tokenizer and module files; raises as `find_model` does."""
        return self.hash_files(find_model(model, marker=self.marker).folder)

    def problem(self, model: ModelSpec) -> str | None:
        """Whether its folder is at hand; raises as `find_model` does."""
        return model_problem(model, marker=self.marker)

    def own_settings(self, model: ModelSpec) -> OwnSettings:
        """Those of the folder; raises as `find_model` and `read_own_settings` do."""
        return self.read_settings(find_model(model, marker=self.marker))


class Canonical(FolderKind):
    """A SentenceTransformer folder, run in canonical batches and checked by the canary."""

    sketched = True

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> LoadedModel:
        """The module chain on the device; raises as `find_model` and `load_model` do."""
        from harness.evaluate.encode.model.loading import load_model

        return load_model(find_model(model), model, dtype=dtype, device=device)

    def encoder(
        self, weights: LoadedModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> CanonicalEncoder:
        """The encoder; raises as `CanonicalEncoder` does."""
        from harness.evaluate.encode.canonical.encoding import CanonicalEncoder

        return CanonicalEncoder(weights, max_len=max_len, encoding=encoding, device=device, store=store)

    def check(self, encoder: CanonicalEncoder) -> Checked:
        """The canary, and that the store has the same bits for its texts; raises as `run_canary` and `CanonicalEncoder.prove` do."""
        from harness.evaluate.encode.canary.canary import canary_texts, run_canary

        canary = run_canary(encoder)
        encoder.prove(canary_texts(), canary.vectors)
        return Checked(found=canary.as_dict(), seconds=canary.seconds, sketch=canary.sketch)

    def prove_store(self, encoder: CanonicalEncoder) -> None:
        """Encodes the canary's texts; raises as `CanonicalEncoder.prove` does."""
        from harness.evaluate.encode.canary.canary import canary_texts

        encoder.prove(canary_texts(), encoder.apart().encode(canary_texts()))

    def spread(self, encoder: CanonicalEncoder, devices: Sequence[torch.device], started: DeviceProcesses | None) -> DeviceProcesses:
        """A process on each device; raises as `DeviceProcesses.start` does."""
        from harness.evaluate.encode.canonical.devices import DeviceProcesses

        processes = started or DeviceProcesses(encoder, devices)
        processes.start()
        encoder.spread((processes.run, processes.width))
        return processes

    def outline(self, model: ModelSpec) -> ChainOutline:
        """The folder's outline; raises as `find_model` and `read_outline` do."""
        from harness.evaluate.encode.model.outline import read_outline

        return read_outline(find_model(model, download=False), model)


CANONICAL = Canonical()
