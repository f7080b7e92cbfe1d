"""Several devices encode side by side: here processes on the cores of a CPU, by the same code as on the GPUs of a machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from records import run_here, same_records
from tiny_models import HAN, build_model, load_encoder
from transformers import AutoTokenizer

from harness.core.errors import MachineError, RequestError
from harness.core.spec import EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.devices import DeviceProcesses, find_devices
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.here import resolve_here

CPU = torch.device("cpu")
ENCODING = EncodingSpec(ladder="padded", batch_tokens=64)
TEXTS = [HAN[number % 20 : number % 20 + 2 + number % 11] * (1 + number % 3) + str(number) for number in range(600)]


@pytest.fixture
def encoder(tiny_model: Path) -> CanonicalEncoder:
    return load_encoder(ModelSpec(name="tiny", path=str(tiny_model)), dtype="fp32", max_len=32, encoding=ENCODING, device=CPU)


@pytest.fixture
def processes(encoder: CanonicalEncoder) -> Iterator[DeviceProcesses]:
    two = DeviceProcesses(encoder, [CPU, CPU])
    two.start()
    yield two
    two.stop()


def children() -> list[int]:
    return [process.pid or 0 for process in multiprocessing.active_children() if process.name.startswith("encode on")]


def equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.view(torch.uint8), other.view(torch.uint8))


def test_processes_share_the_batches_and_take_over_from_those_that_die(
    encoder: CanonicalEncoder, processes: DeviceProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    plain = encoder.encode(TEXTS)
    alone = encoder.counters
    encoder.spread((processes.run, processes.width))
    assert equal(encoder.encode(TEXTS), plain)
    both = encoder.counters - alone
    assert (both.forwards, both.tokens) == (alone.forwards, alone.tokens)

    killed: list[int] = []

    def kill_one(step: Any) -> None:
        if step.tokens and not killed:
            killed.append(children()[0])
            os.kill(killed[0], signal.SIGKILL)

    with caplog.at_level(logging.WARNING):
        vectors = encoder.encode(TEXTS, progress=kill_one)
    assert killed
    assert equal(vectors, plain)
    assert "died (exit code -9); 1 of 2 go on, and run its batch" in caplog.text

    os.kill(children()[0], signal.SIGKILL)
    with pytest.raises(MachineError, match="every encoding process died"):
        encoder.encode(TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("loaded", [True, False])
def test_processes_end_with_the_one_that_started_them(tiny_model: Path, loaded: bool) -> None:
    code = f"""
import multiprocessing, os, signal, threading, torch
from harness.core.spec import EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.devices import DeviceProcesses
from harness.evaluate.encode.canonical.kind import CANONICAL
cpu, encoding = torch.device("cpu"), EncodingSpec(ladder="padded", batch_tokens=64)
model = CANONICAL.load(ModelSpec(name="tiny", path={str(tiny_model)!r}), dtype="fp32", device=cpu)
encoder = CANONICAL.encoder(model, max_len=32, encoding=encoding, device=cpu, store=None)
start = threading.Thread(target=DeviceProcesses(encoder, [cpu]).start)
start.start()
while not multiprocessing.active_children() or ({loaded} and start.is_alive()):
    pass
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    script = tiny_model.parent / "killed.py"
    script.write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (pid,) = map(int, done.stdout.split())
    end = time.monotonic() + 60
    while is_alive(pid):
        assert time.monotonic() < end, "the process goes on"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
def test_a_run_on_two_devices_writes_the_records_of_a_run_on_one(tmp_path: Path) -> None:
    folders = []
    for devices in ("null", "[cpu,cpu]"):
        basic = ["model=sample", "data=sample", "gpu=cpu", "tasks=[AFQMC,STSB]", "max_len=32", "canary=off"]
        folders.append(run_here([*basic, f"devices={devices}", "store=null", f"results_dir={tmp_path / str(len(folders))}"]).folder)
    assert folders[0].name == folders[1].name
    same_records(*folders)


def test_the_first_batch_of_a_process_has_tokens_that_the_model_has_rows_for(tmp_path: Path) -> None:
    folder = build_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens([f"more{number}" for number in range(100)])
    tokenizer.save_pretrained(folder)
    encoder = load_encoder(ModelSpec(name="tiny", path=str(folder)), dtype="fp32", max_len=32, encoding=ENCODING, device=CPU)
    assert (encoder.model.vocabulary, len(encoder.model.tokenizer)) == (rows, rows + 100)
    processes = DeviceProcesses(encoder, [CPU])
    processes.start()
    processes.stop()


@pytest.mark.parametrize(("words", "found"), [("all", ("all",)), ("[cpu,cpu]", ("cpu", "cpu")), ("[0,1]", ("0", "1")), ("null", ())])
def test_devices_are_a_word_or_a_list(words: str, found: tuple[str, ...]) -> None:
    spec, _ = resolve_here(["model=sample", "data=sample", f"devices={words}"], "cpu")
    assert spec.devices == found


def test_devices_that_are_not_here_are_refused() -> None:
    assert find_devices(["all"], CPU) == [CPU] * torch.get_num_threads()
    assert find_devices(["cpu", "cpu"], CPU) == [CPU, CPU]
    with pytest.raises(RequestError, match=r"no device 0 for this run; it has no GPU, so give \[cpu,cpu\]"):
        find_devices(["0"], CPU)
    with pytest.raises(RequestError, match="no device cuda for this run"):
        find_devices(["cuda"], CPU)
    with pytest.raises(RequestError, match="tpu9 is no device"):
        find_devices(["tpu9"], CPU)


def test_another_kind_of_encoder_runs_on_one_device() -> None:
    with pytest.raises(RequestError, match="runs on one device"):
        ENCODERS.get("endpoint").spread(object(), [CPU], None)
