"""A run's vectors scored once more, by the rules of another benchmark: a run of its own, whose texts come from the store."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.core.benchmarks import benchmark_name, load_benchmark
from harness.core.errors import RequestError
from harness.core.run_files import read_manifest
from harness.core.spec import RunSpec
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.device import find_device
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.prepared import Outcome
from harness.evaluate.progress import Progress
from harness.evaluate.rebuilt import check_setting, rebuilt_spec
from harness.evaluate.runner import execute

_BENCHMARK, _RESULTS = "benchmark=", "results_dir="


def rescored_spec(folder: Path, overrides: Sequence[str], *, tasks: Sequence[str] = ()) -> RunSpec:
    """The settings of the run in a folder under another benchmark: `benchmark=NAME` among the `overrides`, beside where things are
    (`harness.evaluate.rebuilt.PLACES`) and `results_dir=DIR`, by default that of the run. `tasks`: names or types of the other
    benchmark, all by default.

    Raises:
        RequestError: no other benchmark is named, or an override is none of these.
        InputError: the folder is no run of this harness.
    """
    named = [text.removeprefix(_BENCHMARK) for text in overrides if text.startswith(_BENCHMARK)]
    places = [text.removeprefix(_RESULTS) for text in overrides if text.startswith(_RESULTS)]
    manifest = read_manifest(folder)
    if len(named) != 1:
        raise RequestError("name the benchmark to score by, once: score RUN benchmark=cmn_v1")
    spec = rebuilt_spec(folder, manifest, [text for text in overrides if not text.startswith((_BENCHMARK, _RESULTS))], tasks=tuple(tasks))
    other = load_benchmark(named[0])
    if other.name == benchmark_name(spec.benchmark):
        raise RequestError(f"{folder} was scored by {other.name} already: name another benchmark")
    if spec.store is None:
        raise RequestError("the vectors come from the store, and there is none: name it with store=DIR")
    other.select(tasks)
    return replace(spec, benchmark=named[0], results_dir=Path(places[-1]).expanduser() if places else spec.results_dir)


def rescore(folder: Path, spec: RunSpec, progress: Progress) -> Outcome:
    """Run `spec`, made by `rescored_spec`; texts that the run in `folder` had need no forward pass.

    Raises:
        RequestError: the store has no vector of the run's setting.
        InputError: the weights are not those of the run.
        MachineError: this machine or its packages are not those of the run, so that its vectors are others.
        And as `execute` does.
    """
    device, encoders = find_device(), EncoderPool()
    encoder = encoders.encoder(spec, device)
    if isinstance(encoder, CanonicalEncoder):
        check_setting(encoder, folder, read_manifest(folder))
    found = spec.store and VectorStore(spec.store).look(encoder.fingerprint.digest, dim=encoder.embedding_dim, dtype=spec.dtype)
    if not found or found.empty:
        raise RequestError(f"the store {spec.store} has no vector of {folder}: name the one that the run filled with store=DIR")
    return execute(spec, device, progress, encoders=encoders)
