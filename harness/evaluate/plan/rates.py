"""FLOP per second of encoding: measured by earlier runs of the model on such a device, else what the device's file lets expect."""

from collections.abc import Iterator
from pathlib import Path

from harness.core.config import device_matches
from harness.core.costs import read_costs
from harness.core.formatting import amount
from harness.core.records import Manifest
from harness.core.run_files import manifests_below
from harness.core.spec import RunSpec
from harness.evaluate.plan.values import Rate

_ENOUGH = 2.0  # seconds of encoding, below which starting up is most of what was measured


def encoding_rate(spec: RunSpec) -> Rate:
    """The rate for a run; reads the manifests and costs of the runs of the model in its `results_dir`."""
    flops, tokens, seconds, runs = 0.0, 0.0, 0.0, 0
    for folder, _ in runs_like(spec):
        windows = [line.encoding for line in read_costs(folder)[0] if line.encoding and line.encoding.flops > 0]
        flops += sum(window.flops for window in windows)
        tokens += sum(window.tokens for window in windows)
        seconds += sum(window.encode_seconds for window in windows)
        runs += bool(windows)
    if seconds >= _ENOUGH:
        about = f"measured in {amount(runs, 'earlier run')}: {tokens / seconds:,.0f} tokens/s, {_flop_rate(flops / seconds)}"
        return Rate(flops_per_second=flops / seconds, source="measured", about=about)
    expected = spec.gpu.flops_per_second(spec.dtype)
    if expected is None:
        about = f"no rate is known of {spec.gpu.name}: after a run of one task this plan has times (or set gpu.tflops and gpu.efficiency)"
        return Rate(flops_per_second=None, source="unknown", about=about)
    about = (
        f"expected, not measured: {spec.gpu.tflops.of(spec.dtype):g} TFLOP/s in {spec.dtype} by the datasheet x "
        f"{spec.gpu.efficiency.of(spec.dtype):g} (configs/gpu/{spec.gpu.name}.yaml) = {_flop_rate(expected)}"
    )
    return Rate(flops_per_second=expected, source="expected", about=about)


def runs_like(spec: RunSpec) -> Iterator[tuple[Path, Manifest]]:
    """Runs of the same model in the same dtype and batch shapes, on a device that `gpu=` accepts; of any tasks, `max_len` and `dim`."""
    place = spec.results_dir / spec.model.name
    for folder, manifest in manifests_below(place) if place.is_dir() else ():
        other, device = manifest.spec, manifest.device
        same = other is not None and (other.dtype, other.gpu.encoding) == (spec.dtype, spec.gpu.encoding)
        if same and device is not None and device_matches(spec.gpu, device.label, device.memory_gib):
            yield folder, manifest


def _flop_rate(rate: float) -> str:
    return f"{rate / 1e12:,.1f} TFLOP/s" if rate >= 1e12 else f"{rate / 1e9:,.1f} GFLOP/s"
