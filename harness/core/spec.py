"""What a run is: frozen values that every room reads, and the identity made of those that can change a score.

The keys of `configs/` are the fields of these classes (`harness.core.schema` derives Hydra's schema from them).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from harness.core.benchmarks import benchmark_name
from harness.core.errors import RequestError
from harness.core.prompts import Prompts, prompts_from

Dtype = Literal["fp32", "fp16", "bf16"]
Ladder = Literal["exact", "padded", "packed"]
Search = Literal["reference", "exact"]

INLINE = {"inline": True}
"""Marks a field whose own fields stand beside it in YAML (`gpu.ladder`, not `gpu.encoding.ladder`)."""

READ = "read"
"""The metadata of a field that is a text in YAML, and what makes the value of it."""

YAML_TYPE = "yaml"
"""The metadata of such a field that is no text in YAML: its type there."""


_OF_REQUESTS = {"model": "model.served_as", "dimensions": "model.dimensions", "input": "the data", "encoding_format": "the harness"}
"""Fields of a request that have a setting of their own or none."""


def _request_fields(value: Any) -> str | None:
    """Further fields of requests, as JSON with sorted keys, from a table or its JSON.

    Raises:
        RequestError: it is no table, or names a field that the harness sets.
    """
    try:
        table = json.loads(value) if isinstance(value, str) else value
        if table is not None and not isinstance(table, dict):
            raise ValueError(f"found {table!r:.60}")
        text = json.dumps(table, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise RequestError(
            f"model.request is no table of a request's fields ({error}): for example {{truncate_prompt_tokens:512}}"
        ) from error
    if taken := [f"{key} (of {_OF_REQUESTS[key]})" for key in table or () if key in _OF_REQUESTS]:
        raise RequestError(f"model.request has {', '.join(taken)}, which every request has already: take it out of model.request")
    return text if table else None


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which model. Exactly one of `path`, `package` and `hub` is where its SentenceTransformer folder comes from, or `url` where it
    is served.

    `path`: a local folder. `package`: an installed Python package that carries the folder `package_folder`.
    `hub`: a hub repository at `revision` (None resolves once; the commit goes into every record).
    `weights_sha256`, `parameters`, `max_positions`, `embedding_dim`: checked against what is loaded where not None.
    `kind`: of encoder (`harness.evaluate.encode.encoder.ENCODERS`). `query_instruction`: put before every Retrieval query, nothing else.
    `add_eos_token`: the tokenizer is told to end every text with its end token, and it is checked that it does.
    `url`, `served_as`, `dimensions`, `request`: of an endpoint: its address, what it calls the model, the size of vectors to ask for, and
    further fields of every request, as JSON.
    `layers`, `hidden_size`, `intermediate_size`: of the transformer, for plans where its folder is not at hand.
    """

    name: str = ""
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
    add_eos_token: bool = False
    kind: str = "canonical"
    url: str | None = None
    served_as: str | None = None
    dimensions: int | None = None
    request: str | None = field(default=None, metadata={READ: _request_fields, YAML_TYPE: Any})
    layers: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None


MOST_BATCH_TOKENS = 2**17
"""No GPU is faster with more, and packs of every size up to it are compared at load."""


@dataclass(frozen=True, kw_only=True)
class EncodingSpec:
    """The kernel setting under which a text's vector is a pure function of its token ids.

    `ladder`: `exact`, one batch shape per token count, no padding and no mask; `padded`, token counts rounded up to a fixed
    ladder of lengths, with a mask; `packed`, texts of all lengths end to end, where model and device allow it (else `exact`).
    `batch_tokens`: rows per batch shape are `max(1, batch_tokens // length)`; the tokens of a full pack.
    """

    ladder: Ladder
    batch_tokens: int


@dataclass(frozen=True, kw_only=True)
class PerDtype:
    """A number for each dtype; None where it is not known."""

    fp32: float | None = None
    fp16: float | None = None
    bf16: float | None = None

    def of(self, dtype: Dtype) -> float | None:
        """The number of the dtype."""
        found: float | None = getattr(self, dtype)
        return found


@dataclass(frozen=True, kw_only=True)
class GpuSpec:
    """The device a run expects. `pattern`: a regular expression the device's name must match (`cpu` for none).

    `tflops`: its peak for dense matrix products, 10^12 per second; `efficiency`: the share of it that a plan expects encoding to reach.
    """

    name: str
    pattern: str
    min_memory_gib: float
    mismatch: Literal["stop", "warn"]
    encoding: EncodingSpec = field(metadata=INLINE)
    tflops: PerDtype = PerDtype()
    efficiency: PerDtype = PerDtype()

    def flops_per_second(self, dtype: Dtype) -> float | None:
        """What is expected of encoding; None where no peak is known."""
        peak, share = self.tflops.of(dtype), self.efficiency.of(dtype)
        return None if peak is None or share is None else peak * share * 1e12


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where task data comes from: `source`, one of `harness.data.sources.SOURCES`; `root`: its folder, where it `reads_root`.

    `verify`: on a statistic that differs, stop (`error`), say so in the record (`label`), or don't look (`off`).
    """

    source: str
    root: str | None = None
    reads_root: bool = True
    verify: Literal["error", "label", "off"] = "error"


@dataclass(frozen=True, kw_only=True)
class ScoringSpec:
    """How vectors become metrics.

    `dtype`: compare them in float32, or in the model's own dtype as the card's script did.
    `search`: BEIR's own, or the exact replacement with equal metrics.
    """

    dtype: Literal["float32", "model"] = "float32"
    search: Search = "exact"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What of a run can change a score; the manifest states it, and the run's name has its digest.

    `dim`: None is all of the model's dimensions, and so is their number, where the model states it: one run has one name.
    """

    benchmark: str
    model: ModelSpec
    gpu: GpuSpec
    data: DataSpec
    scoring: ScoringSpec
    dtype: Dtype
    max_len: int
    dim: int | None
    prompts: Prompts = field(default=Prompts(), metadata={READ: prompts_from})

    def __post_init__(self) -> None:
        if self.dim is not None and self.dim == self.model.embedding_dim:
            object.__setattr__(self, "dim", None)  # the class is frozen

    def identity(self) -> dict[str, Any]:
        """The settings as plain values, without what only plans read and where the model's folder lies: the hash of its weights is compared
        when a run is resumed."""
        plain = {item.name: getattr(self, item.name) for item in fields(Settings)}
        plain["benchmark"], plain["prompts"] = benchmark_name(self.benchmark), self.prompts.identity()
        plain = {name: asdict(value) if is_dataclass(value) else value for name, value in plain.items()}  # type: ignore[arg-type]
        if plain["prompts"] is None:
            del plain["prompts"]
        for key in ("path", "layers", "hidden_size", "intermediate_size"):
            del plain["model"][key]
        for key in ("url", "served_as", "dimensions", "request"):
            if plain["model"][key] is None:
                del plain["model"][key]
        if self.model.kind == ModelSpec.kind:
            del plain["model"]["kind"]
        if not self.model.add_eos_token:
            del plain["model"]["add_eos_token"]
        del plain["data"]["reads_root"]
        for key in ("tflops", "efficiency"):
            del plain["gpu"][key]
        return plain

    @property
    def digest(self) -> str:
        """SHA-256 over the identity, hexadecimal."""
        return hashlib.sha256(json.dumps(self.identity(), sort_keys=True).encode()).hexdigest()

    def equal_but(self, other: Settings, *names: str) -> bool:
        """Whether both have one identity, the settings of these names apart."""
        mine, theirs = ({key: value for key, value in each.identity().items() if key not in names} for each in (self, other))
        return mine == theirs


def _words(value: Any) -> tuple[str, ...]:
    """A word, a list of words or numbers, or nothing."""
    return () if value is None else tuple(map(str, value)) if isinstance(value, list) else (str(value),)


@dataclass(frozen=True, kw_only=True)
class RunSpec(Settings):
    """One run, resolved: nothing in it is looked up again. `tasks` are names in the benchmark's order.

    `store`: where vectors are kept for other runs; `workers`: processes that score beside the encoding, None for what suits the device;
    `canary`: whether the model is checked before its first text; `shard`: the part of the texts that `encode` encodes, as `3/16`;
    `devices`: that encode side by side, empty for one. None of these can change a score.
    """

    tasks: tuple[str, ...]
    store: Path | None
    workers: int | None
    results_dir: Path
    overwrite: bool = False
    canary: bool = True
    shard: str | None = None
    devices: tuple[str, ...] = field(default=(), metadata={READ: _words, YAML_TYPE: Any})

    @property
    def settings(self) -> Settings:
        """What of the run can change a score."""
        values = {item.name: getattr(self, item.name) for item in fields(Settings)}
        return Settings(**{**values, "benchmark": benchmark_name(self.benchmark)})

    @property
    def folder(self) -> Path:
        """`<results_dir>/<model>/<gpu>_<dtype>_len<max_len>_dim<dim>-<hash8>`."""
        dim = "full" if self.dim is None else str(self.dim)
        name = f"{self.gpu.name}_{self.dtype}_len{self.max_len}_dim{dim}-{self.digest[:8]}"
        return self.results_dir / self.model.name / name
