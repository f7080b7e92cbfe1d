"""What decides the bits of a vector: the device, torch's switches, the model with its files; as every manifest states it."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.core.spec import Dtype
from harness.core.typed import plain

_NAMES_VECTORS = (
    *("model", "source", "repository", "commit", "weights_digest", "weights_sha256", "module_files", "modules"),
    *("dtype", "attention", "linear", "kernel"),
)


@dataclass(frozen=True, kw_only=True)
class DeviceInfo:
    """A device as a record names it.

    `name`: what the driver or the processor calls itself. `memory_gib`: of the GPU, or of the machine. `capability`: `sm_90`, or the
    instruction set torch's CPU kernels use. `driver`, `cuda`: versions, None on a CPU. `dtypes`: those it computes in natively.
    """

    kind: Literal["cpu", "cuda"]
    name: str
    memory_gib: float
    capability: str
    driver: str | None
    cuda: str | None
    dtypes: tuple[Dtype, ...]

    @property
    def label(self) -> str:
        """As the leaderboard's GPU column and the patterns of `configs/gpu/` see it: `NVIDIA A100-SXM4-80GB`, `CPU (...)`."""
        return self.name if self.kind == "cuda" else f"CPU ({self.name})"


def cpu_device(*, capability: str = "") -> DeviceInfo:
    """This machine's processor, with the instruction set that torch uses where it was asked."""
    return DeviceInfo(
        kind="cpu",
        name=cpu_facts().get("model name") or platform.processor() or platform.machine(),
        memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
        capability=capability,
        driver=None,
        cuda=None,
        dtypes=("fp32", "fp16", "bf16"),
    )


def cpu_facts() -> dict[str, str]:
    """The first processor of `/proc/cpuinfo`; empty where there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text(encoding="utf-8").split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


@dataclass(frozen=True, kw_only=True)
class NumericFlags:
    """torch's global switches that change what a matrix product computes."""

    tf32_matmul: bool
    tf32_cudnn: bool
    fp16_reduced_reduction: bool
    bf16_reduced_reduction: bool
    float32_matmul_precision: str
    deterministic_algorithms: bool


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The setting under which an encoder's vectors are a pure function of token ids. A manifest that others wrote may state a part of it:
    what is empty there is not known.

    `commit`: of the hub. `weights_sha256`: per file, `weights_digest` over them all. `module_files`: SHA-256 of the JSON files that put the
    modules together. `parameters`: as loaded; `stored_parameters`: in the transformer's weight file, as the hub counts them. `dtype`:
    asserted on every parameter. `attention`: implementation and the one kernel it may use. `linear`: kernel of the linear layers. `kernel`:
    device, libraries, switches.
    `packs`: what was found about packs of texts at loading, where `gpu.ladder=packed` asked for them.
    `digest`: a SHA-256 over what can change a bit; a vector is named by it, by its batch shape and by its token ids.
    """

    model: str = ""
    source: str = ""
    repository: str | None = None
    commit: str | None = None
    weights_digest: str = ""
    weights_sha256: Mapping[str, str] = field(default_factory=dict)
    module_files: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    parameters: int = 0
    stored_parameters: int | None = None
    dtype: Dtype | None = None
    attention: str = ""
    linear: str = ""
    max_len: int = 0
    max_positions: int = 0
    embedding_dim: int = 0
    ladder: str = ""
    packs: str = ""
    batch_tokens: int = 0
    tokenizer_sha256: str = ""
    device: DeviceInfo | None = None
    flags: NumericFlags | None = None
    kernel: str = ""
    digest: str = ""

    def about(self) -> dict[str, Any]:
        """The part that names vectors, in words, for whoever looks into a store."""
        return {name: value for name, value in plain(self).items() if name in _NAMES_VECTORS}
