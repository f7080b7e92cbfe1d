"""How far real kernels lie apart, and planted faults beside them: python benchmarks/distances.py [--model minilm] [--dtype bf16]

The canary is encoded under other ladders and batch sizes, on one thread, and under other instruction sets (in processes of their own).
What they differ by is printed beside the limits that `check` and `probe` have for them. Then every fault of `faults.py` in the code of
encoding is planted: its distance, and whether the comparison of vectors finds it on the same kernels, in other batch shapes, and under
other kernels.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from faults import FAULTS, FILL
from measuring import ROOT, load_encoder, say_machine

from harness.core.calibration import Calibration
from harness.core.config import compose_config
from harness.core.errors import HarnessError
from harness.core.sketch import Sketch
from harness.core.spec import EncodingSpec
from harness.core.typed import convert, parse, plain
from harness.evaluate.calibrate.jitter import canary_distances
from harness.evaluate.encode.canary.canary import canary_texts, run_canary, sketch_texts
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.device import find_device
from harness.read.drift.vectors import VectorDrift, compare_vectors

ENVIRONMENTS: tuple[dict[str, str], ...] = (
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    {"ONEDNN_MAX_CPU_ISA": "AVX"},
    {"MKL_CBWR": "COMPATIBLE"},
    {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
)
"""Variables that choose other kernels on a processor; those that it does not know change nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("sample", "minilm"), default="sample")
    parser.add_argument("--dtype", choices=("fp32", "fp16", "bf16"), default="fp32")
    parser.add_argument("--max-len", type=int, default=256)
    parser.add_argument(
        "--faults", nargs="*", default=[""], metavar="WORD", help="only faults whose name has one of the words; none for none"
    )
    parser.add_argument("--kernels", choices=("all", "none"), default="all", help="none: only faults")
    parser.add_argument("--print-sketch", action="store_true", help=argparse.SUPPRESS)  # in a process of another environment
    chosen = parser.parse_args()
    if chosen.print_sketch:
        encoder = _load(chosen)
        print(json.dumps(plain(_sketch(encoder))))
        return
    say_machine()
    bench = _Bench(chosen)
    if chosen.kernels == "all":
        bench.show_kernels()
    bench.show_faults(chosen.faults)


class _Bench:
    def __init__(self, chosen: argparse.Namespace) -> None:
        self._chosen = chosen
        encoder = _load(chosen)
        self._setting = encoder.fingerprint
        self._baseline = run_canary(encoder).sketch
        vectors, _ = canary_distances(encoder)
        self._calibration = Calibration(run="", benchmark="", weights="", tasks={}, provenance={}, vectors=vectors)
        print(f"\n{chosen.model} {chosen.dtype}: to double precision {vectors.double}\nto the second chain in fp32 {self._baseline.second}")
        for name, found in vectors.batch_shapes.items():
            print(f"{name}: {found}")

    def show_kernels(self) -> None:
        """The distances of other kernels and batch shapes, beside their limits."""
        spec = _encoding()
        print("\n| kernels | rms | of its limit | farthest text | of its limit | |\n|---|---|---|---|---|---|")
        for change in ({"ladder": "exact"}, {"batch_tokens": 64}, {"batch_tokens": 4096}, {"ladder": "exact", "batch_tokens": 4096}):
            encoder = _load(self._chosen, replace(spec, **change))  # type: ignore[arg-type]
            self._show(", ".join(f"{key}={value}" for key, value in change.items()), _sketch(encoder), "shapes")
        for variables in ({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}, *ENVIRONMENTS):
            command = [sys.executable, __file__, "--print-sketch", "--model", self._chosen.model, "--dtype", self._chosen.dtype]
            command += ["--max-len", str(self._chosen.max_len)]
            done = subprocess.run(
                command, env={**os.environ, **variables, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
            )
            sketch = convert(parse(done.stdout.strip().splitlines()[-1]), Sketch)
            self._show(", ".join(f"{key}={value}" for key, value in variables.items()), sketch, "kernels")

    def show_faults(self, words: Sequence[str]) -> None:
        """The distances of faults in the code, and on which kernels they are found."""
        print("\n| fault | rms | farthest text | same kernels | other batch shapes | other kernels |\n|---|---|---|---|---|---|")
        model = compose_config([f"model={self._chosen.model}"]).model
        for fault in FAULTS:
            if fault.where != "code" or not any(word in fault.name for word in words):
                continue
            with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stderr(None), fault.plant(model, Path(scratch)) as given:
                if any(text.startswith(FILL) for text in given):
                    continue
                try:
                    sketch = _sketch(_load(self._chosen))
                except (HarnessError, RuntimeError) as error:
                    print(f"| {fault.name} | | | does not run: {str(error).splitlines()[0][:70]} | | |")
                    continue
            if sketch.vectors == self._baseline.vectors:
                continue  # of scoring
            found = [self._compare(sketch, level) for level in ("same", "shapes", "kernels")]
            apart = found[0].distance
            caught = " | ".join("found" if each.drifted else "" for each in found)
            print(f"| {fault.name} | {apart.rms:.2g} | {apart.farthest:.2g} | {caught} |", flush=True)

    def _show(self, name: str, sketch: Sketch, level: str) -> None:
        found = self._compare(sketch, level)
        if found.limit is None:
            print(f"| {name} | {found.why or 'same bits'} | | | | |")
            return
        shares = [getattr(found.distance, key) / max(getattr(found.limit, key), 1e-30) for key in ("rms", "farthest")]
        print(
            f"| {name} | {found.distance.rms:.2g} | {shares[0]:.2g} | {found.distance.farthest:.2g} | {shares[1]:.2g} | "
            f"{'**FALSE ALARM**' if found.drifted else ''} |",
            flush=True,
        )

    def _compare(self, sketch: Sketch, level: str) -> VectorDrift:
        other = {"same": {}, "shapes": {"batch_tokens": 1}, "kernels": {"kernel": "another", "digest": "another"}}[level]
        found = compare_vectors(self._baseline, sketch, (self._setting, replace(self._setting, **other)), self._calibration)  # type: ignore[arg-type]
        assert isinstance(found, VectorDrift), found
        return found


def _encoding() -> EncodingSpec:
    return compose_config(["gpu=cpu"]).gpu.encoding


def _load(chosen: argparse.Namespace, encoding: EncodingSpec | None = None) -> CanonicalEncoder:
    model = compose_config([f"model={chosen.model}"]).model
    return load_encoder(model, dtype=chosen.dtype, max_len=chosen.max_len, encoding=encoding or _encoding(), device=find_device())


def _sketch(encoder: CanonicalEncoder) -> Sketch:
    texts = canary_texts()
    return sketch_texts(encoder, texts, encoder.encode(texts))


if __name__ == "__main__":
    main()
