"""What a run leaves behind, as values: one record per task, one manifest. `run_files` writes and reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from harness.core.errors import InputError
from harness.core.fingerprint import DeviceInfo, Fingerprint
from harness.core.formatting import shortened
from harness.core.spec import Settings
from harness.core.tasks import TaskSpec, flat_name

SCHEMA = 1
ROUNDING = 1e-9  # of a correlation, or of a mean of ones
_SIMILARITIES = ("cos_sim", "dot", "euclidean", "manhattan", "max")  # mteb 1.1.1 nests these, mteb_meta.py joins them with "_"

Metrics = Mapping[str, float | Mapping[str, float | Mapping[str, float]]]
"""Metrics as mteb 1.1.1 nests them (under the language where it does), 0 to 1."""

DataVerdict = Literal["verified", "unverified", "not C-MTEB"]
"""`verified`: every known statistic agrees; `unverified`: not compared; `not C-MTEB`: compared and different, or the sample."""

Trust = Literal["self-reported", "re-run by others", "ours"]
"""Who made a score: the model's authors, others who ran the model again, or this harness."""


@dataclass(frozen=True, kw_only=True)
class RowHeader:
    """What the leaderboard says of a run beside its scores, in the words of the card's table.

    `dtype` as acge's card spells it (`float16`); `size_gb`: parameters times bytes of the dtype the weights are kept in, 10^9 bytes;
    None where unknown; `notes`: whatever a reader must know before believing the row (sample data, another device, substituted revisions).
    """

    model: str
    gpu: str
    dtype: str
    size_gb: Annotated[float, Meta(ge=0, lt=1e12)] | None
    dim: Annotated[int, Meta(ge=0, lt=10**12)] | None
    max_len: Annotated[int, Meta(ge=0, lt=10**12)] | None
    notes: tuple[str, ...] = ()

    @property
    def setting(self) -> dict[str, str | int | None]:
        """The GPU, the dtype, `max_len` and `dim`, by the names of the fields: what tells runs of one model apart."""
        return {"gpu": self.gpu, "dtype": self.dtype, "max_len": self.max_len, "dim": self.dim}

    @property
    def text(self) -> str:
        """The model and the setting, as far as they are stated: `acge, NVIDIA A100, float16, max_len 512, dim 1792`."""
        sizes = (f"{name} {size}" for name, size in (("max_len", self.max_len), ("dim", self.dim)) if size)
        return ", ".join(filter(None, (self.model, self.gpu, self.dtype, *sizes)))

    @classmethod
    def unknown(cls, model: str, *notes: str) -> RowHeader:
        """The header of a row of which only the model is known."""
        return cls(model=model, gpu="", dtype="", size_gb=None, dim=None, max_len=None, notes=notes)


@dataclass(frozen=True, kw_only=True)
class BenchmarkName:
    """Which benchmark, and the digest of its table; None where the file does not state it."""

    name: str
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """Which model a record was made with. `commit`: of the hub; `weights_digest`, `files_digest`: SHA-256 over the weight files, and over
    those of the tokenizer and the modules."""

    name: str = ""
    commit: str | None = None
    weights_digest: str = ""
    files_digest: str = ""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a task's data came from. A record that others made may state a part of it: `verdict` is None there.

    `repository` and `revision`: what was read (None where it did not come from the hub, or where a local folder does not say).
    `pinned_revision`: what the benchmark table asks for; `substituted` where another one was read in its place.
    `sha256`: per file name. `mismatches`: the statistics that differ, one sentence each.
    `notes`: what else a reader must know of the data: a substitution, oddities that the pinned data is known to have.
    """

    source: str = ""
    verdict: DataVerdict | None = None
    repository: str | None = None
    revision: str | None = None
    pinned_revision: str = ""
    qrels_revision: str | None = None
    substituted: bool = False
    sha256: Mapping[str, str] = field(default_factory=dict)
    mismatches: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TextFigures:
    """Distinct texts of a task: how many, their tokens after cutting, the longest in tokens, how many `max_len` cut."""

    texts: int
    tokens: int
    longest: int
    cut: int


@dataclass(frozen=True, kw_only=True)
class ScoredWith:
    """How vectors became metrics: `ScoringSpec`, the dimensions that were kept (None: all), the seed of the protocol."""

    dtype: str
    search: str
    dim: int | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class CodeDigests:
    """By which code of this package (`core.code`) the vectors were made, and by which the scores."""

    encoding: str = ""
    scoring: str = ""


@dataclass(frozen=True, kw_only=True)
class Bits:
    """What a score was made of, to the bit: SHA-256 over the token ids and over the raw vectors of the task's texts, in the scorer's order.

    `tokens` is empty where the kind of encoder has no token ids.
    """

    tokens: str = ""
    vectors: str = ""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where an imported score came from: who made it, in which form of file, at which revision of the model."""

    trust: Trust
    form: str
    file: str | None = None
    model_revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a record was made: the key `harness` of its file. Empty in records of others, but for what they state.

    `run`: the digest of the run's settings. `prompts`: what stood before the texts, by role, where something did.
    `source`: who reported the score, where it was not run here. `origin`: of an imported score.
    `exported`: the header of the run that an exported file was written from.
    """

    run: str = ""
    benchmark: BenchmarkName | None = None
    model: ModelName | None = None
    data: Provenance | None = None
    encoding: TextFigures | None = None
    scoring: ScoredWith | None = None
    code: CodeDigests | None = None
    bits: Bits | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    origin: Origin | None = None
    exported: Mapping[str, str | int | float | None] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trust(self) -> Trust:
        """Who made the score."""
        return self.origin.trust if self.origin else "self-reported" if self.source else "ours"


@dataclass(frozen=True, kw_only=True)
class TaskRecord:
    """One task's scores.

    `dataset_revision`: the commit that was read; None where the source does not say. `evaluation_time`: seconds.
    """

    task: str
    split: str
    metrics: Metrics
    dataset_revision: str | None
    evaluation_time: float | None
    mteb_version: str | None = "1.1.1"
    made: Made = field(default_factory=Made)

    def metric(self, task: TaskSpec, path: str) -> float:
        """The metric at a dotted path (`cos_sim.spearman`), looked up under the task's language where it has one.

        Raises:
            InputError: the record has no number there.
        """
        flat = flat_metrics(self.metrics, task)
        if flat_name(path) not in flat:
            raise InputError(
                f"the record of {task.name} has no number at {path}, only {shortened(', '.join(sorted(flat)), 200)}: correct main: in the "
                "benchmark's file if it names another metric, else run the task again"
            )
        return flat[flat_name(path)]

    def main_score(self, task: TaskSpec) -> float:
        """The metric that the leaderboard averages, 0 to 1."""
        return self.metric(task, task.main)


def flat_metrics(metrics: Mapping[str, Any], task: TaskSpec) -> dict[str, float]:
    """The numbers of a record, 0 to 1, under their flat names (`cos_sim_spearman`)."""
    inner = metrics.get(task.language, metrics) if task.language else metrics
    flat: dict[str, float] = {}
    for name, value in inner.items():
        if isinstance(value, (int, float)):
            flat[name] = float(value)
        elif isinstance(value, Mapping):
            flat |= {f"{name}_{key}": float(each) for key, each in value.items() if isinstance(each, (int, float))}
    return flat


_SCORE = re.compile(
    r"(.*_)?(accuracy|ap|f1|map|mrr|ndcg|pearson|precision|recall|spearman|v_measures?)(_weighted|_std|_stderr)?|.*_at_\d+|main_score"
)


def beyond_scale(flat: Mapping[str, float]) -> dict[str, float]:
    """Those of the metrics (flat names, a benchmark's own or others) that are scores and beyond 1; thresholds, nAUC and counts are none."""
    scores = {name: value for name, value in flat.items() if _SCORE.fullmatch(name) and not name.lower().startswith("nauc")}
    return {name: value for name, value in scores.items() if 1 + ROUNDING < abs(value) < math.inf}


def nested_metrics(flat: Mapping[str, float]) -> dict[str, Any]:
    """Metrics of flat names (`cos_sim_spearman`) as mteb 1.1.1 nests them."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        similarity = next((s for s in _SIMILARITIES if name.startswith(f"{s}_")), None)
        target = nested.setdefault(similarity, {}) if similarity else nested
        target[name.removeprefix(f"{similarity}_")] = value
    return nested


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run is and ran with. Of published and imported runs only `header` is known, and what their file states.

    `own_settings`: what the model's own files say of prompts, lengths and similarity, used or not.
    """

    header: RowHeader
    run: str | None = None
    spec: Settings | None = None
    benchmark: BenchmarkName | None = None
    model: Fingerprint | None = None
    device: DeviceInfo | None = None
    versions: Mapping[str, str] | None = None
    lock_differences: Mapping[str, tuple[str | None, str]] | None = None
    source: Mapping[str, str | bool | None] | None = None
    machine: Mapping[str, str] | None = None
    seed: int | None = None
    canary: Mapping[str, Any] | str | None = None
    own_settings: Mapping[str, Any] | None = None
    schema: int = SCHEMA
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights(self) -> str | None:
        """The digest of the weights; None where the file does not state it."""
        return self.model.weights_digest or None if self.model else None


@dataclass(frozen=True, kw_only=True)
class OtherDefinition:
    """What an imported file has where it lacks the benchmark's main metric. `value`: 0 to 1."""

    metric: str
    value: float


@dataclass(frozen=True)
class Run:
    """A folder of records, as the read side sees it. `broken`: files that are no usable record, and why.

    `other_definitions`: tasks that an imported run has under another metric alone. `reported`: what files in mteb 2's form give as
    `main_score`, by task and split, 0 to 1, whatever metric it is.
    """

    path: Path
    manifest: Manifest
    records: dict[str, TaskRecord]
    failed: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    other_definitions: dict[str, OtherDefinition] = field(default_factory=dict)
    reported: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def header(self) -> RowHeader:
        """What the leaderboard says of the run."""
        return self.manifest.header

    @property
    def ours(self) -> bool:
        """Whether this harness made the run, so that the manifest states its settings."""
        return self.manifest.spec is not None
