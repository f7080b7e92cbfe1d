"""Compares the sample's scores with the committed ones: does the harness compute what it did when it was released?"""

from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError
from harness.core.records import Run
from harness.core.resources import resource_dir
from harness.core.typed import leaves, read_typed

STRICT = 1e-6
"""The tolerance of what no rounding moved: scores count ranks and hits, and the sample's texts leave margins."""

Tolerances = dict[str, float]
"""By how much rounding may move a metric, where it moves it at all, as `scripts/accept_sample.py` measured it for another device."""


def setting_name(run: Run) -> str:
    """The setting that expected scores are kept under: `float16_len512_dim1792`."""
    header = run.header
    return f"{header.dtype}_len{header.max_len}_dim{header.dim}"


def deviations(run: Run, benchmark: Benchmark) -> list[str]:
    """The metrics of a run of the embedded sample that differ from the committed scores, a sentence each; none when the chain is sound.

    Raises:
        InputError: no scores are committed for the run's setting, or their file is damaged.
    """
    expected, tolerances = _read(expected_file(), "expected scores"), _read(tolerances_file(), "tolerances").get(run.header.dtype, {})
    setting = setting_name(run)
    if setting not in expected:
        raise InputError(f"no expected scores for {setting}; there are some for {', '.join(sorted(expected))}")
    wrong = []
    for task in benchmark.tasks:
        found = dict(leaves(run.records[task.name].metrics)) if task.name in run.records else {}
        for metric, value in expected[setting].get(task.name, {}).items():
            score, tolerance = found.get(metric), tolerances.get(task.name, {}).get(metric, STRICT)
            if score is None or not abs(score - value) <= tolerance:
                difference = "no score" if score is None else f"{score:.6f} ({score - value:+.6f})"
                wrong.append(f"{task.name} {metric}: expected {value:.6f}, found {difference}")
    return wrong


def expected_file() -> Path:
    """Where the committed scores are."""
    return resource_dir("results/expected") / "sample.json"


def tolerances_file() -> Path:
    """Where the tolerances are."""
    return resource_dir("results/expected") / "tolerances.json"


def _read(path: Path, what: str) -> dict[str, dict[str, Tolerances]]:
    """What a committed file says of each metric: setting or dtype -> task -> metric -> number."""
    return read_typed(path, dict[str, dict[str, dict[str, float]]], what=f"file of {what}", remedy="restore it from version control")
