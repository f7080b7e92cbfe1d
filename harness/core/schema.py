"""The typed schema of `configs/`, as Hydra wants it: a key or a value that is not in it is refused when a run is composed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import MISSING


class DtypeName(Enum):
    """The names of `dtype=`."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class LadderName(Enum):
    """The names of `gpu.ladder=`."""

    exact = "exact"
    padded = "padded"


class MismatchName(Enum):
    """The names of `gpu.mismatch=`."""

    stop = "stop"
    warn = "warn"


class SourceName(Enum):
    """The names of `data.source=`."""

    hub = "hub"
    local = "local"
    sample = "sample"


class VerifyName(Enum):
    """The names of `data.verify=`."""

    error = "error"
    label = "label"
    off = "off"


class ScoringDtypeName(Enum):
    """The names of `scoring.dtype=`."""

    float32 = "float32"
    model = "model"


class SearchName(Enum):
    """The names of `scoring.search=`."""

    reference = "reference"
    exact = "exact"


@dataclass
class ModelConfig:
    """`harness.core.spec.ModelSpec` as YAML spells it."""

    name: str | None = None
    path: str | None = None
    package: str | None = None
    package_folder: str | None = None
    hub: str | None = None
    revision: str | None = None
    weights_sha256: str | None = None
    parameters: int | None = None
    max_positions: int | None = None
    embedding_dim: int | None = None
    query_instruction: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None


@dataclass
class PerDtypeConfig:
    """`harness.core.spec.PerDtype` as YAML spells it."""

    fp32: float | None = None
    fp16: float | None = None
    bf16: float | None = None


@dataclass
class GpuConfig:
    """`harness.core.spec.GpuSpec` and its `EncodingSpec` as YAML spells them."""

    name: str = MISSING
    pattern: str = MISSING
    min_memory_gib: float = MISSING
    mismatch: MismatchName = MISSING
    ladder: LadderName = MISSING
    batch_tokens: int = MISSING
    tflops: PerDtypeConfig = field(default_factory=PerDtypeConfig)
    efficiency: PerDtypeConfig = field(default_factory=PerDtypeConfig)


@dataclass
class DataConfig:
    """`harness.core.spec.DataSpec` as YAML spells it."""

    source: SourceName = MISSING
    root: str | None = None
    verify: VerifyName = MISSING


@dataclass
class ScoringConfig:
    """`harness.core.spec.ScoringSpec` as YAML spells it."""

    dtype: ScoringDtypeName = MISSING
    search: SearchName = MISSING


@dataclass
class RunConfig:
    """The schema of `configs/config.yaml`; its values are there, not here."""

    benchmark: str = MISSING
    tasks: list[str] = field(default_factory=list)
    model: ModelConfig = field(default_factory=ModelConfig)
    gpu: GpuConfig = field(default_factory=GpuConfig)
    data: DataConfig = field(default_factory=DataConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    dtype: DtypeName = MISSING
    max_len: int = MISSING
    dim: int | None = None
    store: str | None = None
    workers: int | None = None
    results_dir: str = MISSING
    overwrite: bool = False
    canary: bool = True  # `on` and `off` are booleans to YAML and to OmegaConf alike
