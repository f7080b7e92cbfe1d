"""The seconds of `harness probe` beside those of loading the same model at all: python benchmarks/probe.py [--model minilm] [--dtype bf16]

Each side is a command in a process of its own, the two in turn: `probe` against a run of one task of the sample, made before the clock, and
sentence-transformers alone, which loads the model and encodes one text. `--model acge` has acge's shape, random weights, and needs a GPU.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from measuring import NO_DEVICE, ROOT, measure, report, say_machine
from synthetic import ACGE, TINY, build_model

from harness.core.config import compose_config
from harness.core.run_files import MANIFEST
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.model.locate import find_model

_LOAD = """
import sys, torch
from sentence_transformers import SentenceTransformer
path, dtype = sys.argv[1:]
device = "cuda" if torch.cuda.is_available() else "cpu"
SentenceTransformer(path, device=device, local_files_only=True, model_kwargs={"dtype": getattr(torch, dtype)}).encode(["天气很好"])
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the seconds of both sides and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("minilm", "sample", "acge", "tiny"), default="minilm", help="tiny: acge's parts, small")
    parser.add_argument("--dtype", choices=list(TORCH_DTYPE), default="bf16")
    parser.add_argument("--max-len", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args(arguments)
    say_machine()
    if chosen.model == "acge" and not torch.cuda.is_available():
        print(NO_DEVICE)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if chosen.model in ("acge", "tiny"):
            path = Path(build_model(folder, ACGE if chosen.model == "acge" else TINY).path or "")
            overrides = ["model=folder", f"model.path={path}"]
        else:
            overrides = [f"model={chosen.model}"]
            path = find_model(compose_config(overrides).model).folder
        settings = f"gpu=auto dtype={chosen.dtype} max_len={chosen.max_len} data=sample tasks=[STSB] store=null"
        _harness("run", *overrides, *settings.split(), f"results_dir={folder}/results", "--quiet")
        (manifest,) = (folder / "results").rglob(MANIFEST)
        run, place = str(manifest.parent), [word for word in overrides if word.startswith("model.path=")]
        probes, loads = [], []
        for _ in range(chosen.repeats):
            said, probe = measure(lambda: _harness("probe", run, *place))
            _, load = measure(lambda: _python("-c", _LOAD, str(path), str(TORCH_DTYPE[chosen.dtype]).removeprefix("torch.")))
            probes.append(probe)
            loads.append(load)
            print(f"probe {probe}; loading alone {load}", flush=True)
    print(said.strip())
    name = f"{chosen.model}, {chosen.dtype}: seconds of probe / of loading the model and encoding one text"
    report(name, [probe.wall / load.wall for probe, load in zip(probes, loads, strict=True)])


def _harness(*words: str) -> str:
    return _python("-m", "harness", *words)


def _python(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"python {' '.join(words[:4])} left with {done.returncode}:\n{done.stdout}{done.stderr[-3000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
