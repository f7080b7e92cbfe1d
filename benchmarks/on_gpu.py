"""Everything that needs a GPU, in one go, as one table: python benchmarks/on_gpu.py

Rows equal to the bit (`purity.py`), speed beside the card's script in each dtype and of a decoder (`gpu.py`), the embedded sample's scores
against those expected (`python -m harness reproduce`), several devices or processes with equal bits, a whole run of the sample, `probe`
with a model of acge's shape. Under ten minutes on an H100, and it needs no network.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence

import torch
from measuring import NO_DEVICE, ROOT, measure, say_machine

_SPEED = {"bf16": 24, "fp16": 24, "fp32": 192}
"""Dtype -> `--every` of gpu.py: fp32 is many times slower, so it encodes fewer texts."""

_DECODER_EVERY = 96


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what each part prints, then its figures again as a table; exits with an error if a part fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu only shows that everything works, with tiny models")
    chosen = parser.parse_args(arguments)
    say_machine()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print(NO_DEVICE)
        return
    tiny = chosen.device == "cpu"
    share = ["--share", "0.001"] if tiny else []
    rows: list[str] = []
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        sample = ["run", "model=sample", "data=sample", "gpu=auto", "dtype=bf16", "store=null", f"results_dir={folder}", "--quiet"]
        speed = ["benchmarks/gpu.py", "--device", chosen.device, "--repeats", "1", *share]
        parts = {
            "purity": ["benchmarks/purity.py", "--texts", "150", "--device", chosen.device, *(["--tiny"] if tiny else [])],
            **{
                f"speed, {dtype}": [*speed, "--model", "tiny" if tiny else "acge", "--dtype", dtype, "--every", str(every)]
                for dtype, every in _SPEED.items()
            },
            "speed, decoder": [*speed, "--model", "tiny-qwen3" if tiny else "qwen3", "--every", str(_DECODER_EVERY)],
            "devices": ["benchmarks/devices.py", "--devices", _devices(chosen.device), "--tiny", "--texts", "1000", "--repeats", "1"],
            "sample, exact": ["-m", "harness", *sample, "gpu.ladder=exact"],
            "sample, packed": ["-m", "harness", *sample, "gpu.ladder=packed"],
            "probe": ["benchmarks/probe.py", "--model", "tiny" if tiny else "acge", "--max-len", "512", "--repeats", "1"],
            "self-check": ["-m", "harness", "reproduce", "--quiet"],
        }
        for name, command in parts.items():
            print(f"\n== {name}: python {' '.join(command)}", flush=True)
            done, cost = measure(lambda command=command: _run(command))  # type: ignore[misc]
            figures = [line for line in done.stdout.splitlines() if line.startswith(("ratio ", "probe ", "distance to fp32", "stage 2"))]
            rows += [f"{name}: exit {done.returncode}, {cost.wall:.1f} s", *(f"    {line}" for line in figures)]
            failed += done.returncode != 0
    print("\n== " + "\n".join(["all figures", *rows]))
    if failed:
        raise SystemExit(f"{failed} of {len(parts)} parts failed")


def _devices(kind: str) -> str:
    """All GPUs, or two processes on the only one."""
    if kind == "cpu":
        return "cpu,cpu"
    return "all" if torch.cuda.device_count() > 1 else "0,0"


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout + done.stderr[-3000:], flush=True)
    return done


if __name__ == "__main__":
    main()
