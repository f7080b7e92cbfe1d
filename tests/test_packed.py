"""Texts of many lengths end to end in one batch: the same vectors, the same bits in every pack, and no dummy rows."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import HAN, POSITIONS, TWINS, build_model

from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canary import run_canary
from harness.evaluate.encode.canonical import CanonicalEncoder, load_encoder
from harness.evaluate.encode.layout import block_size, lay_out
from harness.evaluate.encode.packed import PackedEncoder, PlainKernels
from harness.evaluate.encode.shapes import ShapeLadder
from harness.evaluate.encode.store import VectorStore

CPU = torch.device("cpu")
PACKED = EncodingSpec(ladder="packed", batch_tokens=512)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("bert"), dense=40)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(HAN, k=draw.choice((1, 2, 3, 7, 20, 33, 61, 90)))) for _ in range(90)]


def load(folder: Path, *, dtype: Dtype = "fp32", encoding: EncodingSpec = PACKED, store: VectorStore | None = None) -> CanonicalEncoder:
    spec = ModelSpec(name="tiny", path=str(folder))
    return load_encoder(spec, dtype=dtype, max_len=POSITIONS, encoding=encoding, device=CPU, store=store)


# --- how many tokens --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [50_000, 400_000])
def test_packs_are_filled_up_by_less_than_one_token_in_two_hundred(tokens: int) -> None:
    draw = np.random.default_rng(0)
    counts = np.minimum(np.exp(draw.normal(4, 1.2, size=tokens)).astype(np.int64) + 3, 1024)
    counts = counts[: int(np.searchsorted(np.cumsum(counts), tokens)) + 1]
    plan = ShapeLadder(EncodingSpec(ladder="packed", batch_tokens=16384), positions=1024).plan(counts)
    assert plan.real_tokens >= tokens
    assert plan.tokens / plan.real_tokens <= 1.005


def test_packs_by_hand() -> None:
    ladder = ShapeLadder(EncodingSpec(ladder="packed", batch_tokens=256), positions=300)
    plan = ladder.plan(np.array([100, 100, 57, 256, 300, 3]))
    assert (plan.forwards, plan.real_tokens) == (5, 816)
    assert plan.tokens == 256 + 128 + 256 + 320 + 128  # 100 + 100 fill up to 256; 57, and 3 alone, to the smallest pack
    assert ladder.pack_sizes() == [128, 192, 256, 320]


# --- the same vectors -------------------------------------------------------------------------------------------------------------------


def test_a_store_finds_what_was_packed_otherwise_to_the_bit(folder: Path, texts: list[str], tmp_path: Path) -> None:
    vectors = load(folder, store=VectorStore(tmp_path)).encode(texts)
    again = load(folder, encoding=EncodingSpec(ladder="packed", batch_tokens=192), store=VectorStore(tmp_path))
    assert torch.equal(again.encode(texts[::-1]).flip(0), vectors)
    assert again.counters.forwards == 0
    assert torch.equal(load(folder, encoding=EncodingSpec(ladder="packed", batch_tokens=192)).encode(texts), vectors)


@pytest.mark.parametrize("name", ["BERT", "XLM-R (bge-m3)"])
def test_packed_vectors_are_those_of_exact_batches(name: str, tmp_path: Path, texts: list[str]) -> None:
    twin = build_model(tmp_path / "twin", **TWINS[name])
    packed, exact = load(twin), load(twin, encoding=EncodingSpec(ladder="exact", batch_tokens=256))
    assert packed.fingerprint.ladder == "packed"
    assert "rows equal to the bit in packs of 128 to 512 tokens" in packed.fingerprint.packs
    assert (packed.encode(texts) - exact.encode(texts)).abs().max() < 5e-6
    assert packed.fingerprint.digest != exact.fingerprint.digest


def test_the_canary_checks_packs(folder: Path) -> None:
    canary = run_canary(load(folder, dtype="bf16"))
    assert canary.rows_differing == 0
    assert all("flash_attention" in name for name in canary.attention)


# --- where texts can't be packed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "why"), [("Qwen3", "its layers are qwen3's"), ("ModernBERT", "its layers are modernbert's")])
def test_other_architectures_run_in_exact_batches_and_the_fingerprint_says_why(name: str, why: str, tmp_path: Path) -> None:
    encoder = load(build_model(tmp_path / "twin", **TWINS[name]))
    assert encoder.fingerprint.ladder == encoder.ladder.spec.ladder == "exact"
    assert encoder.fingerprint.packs == f"none, the ladder is exact: {why}"


class _Uneven(PlainKernels):
    """Rows have another last bit in packs of some sizes, as where a library chooses its kernel by the number of rows."""

    uneven: Any = None

    def add_norm(self, inputs: torch.Tensor, residual: torch.Tensor | None, norm: torch.nn.LayerNorm) -> torch.Tensor:
        out = super().add_norm(inputs, residual, norm)
        return torch.nextafter(out, out + 1) if self.uneven(len(out)) else out


@pytest.mark.parametrize(("uneven", "smallest"), [(lambda rows: rows < 192, 192), (lambda rows: rows == 1088, None)])
def test_sizes_whose_rows_differ_are_found(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, uneven: Any, smallest: int | None
) -> None:
    monkeypatch.setattr(_Uneven, "uneven", staticmethod(uneven))
    monkeypatch.setattr("harness.evaluate.encode.packed.PlainKernels", _Uneven)
    with caplog.at_level(logging.WARNING):
        encoder = load(folder, encoding=EncodingSpec(ladder="packed", batch_tokens=1152))
    if smallest is not None:
        assert encoder.ladder.pack(3).tokens == smallest
        return
    assert encoder.fingerprint.ladder == "exact"
    assert "rows differ between packs" in encoder.fingerprint.packs
    assert "not the same in packs of every size" in caplog.text


def test_every_token_of_a_pack_is_a_query_of_one_block() -> None:
    lengths = np.random.default_rng(0).permutation(np.arange(1, 400, dtype=np.int32))
    layout = lay_out([np.zeros(length, dtype=np.int32) for length in lengths], int(lengths.sum()) + 7, CPU)
    queries = [
        start + place
        for size, blocks in layout.blocks
        for text, first in blocks.tolist()
        for start, length in [(int(layout.starts[text]), int(layout.lengths[text]))]
        for place in range(first, min(first + size.rows, length))
    ]
    assert sorted(queries) == list(range(layout.real))
    assert all(block_size(int(layout.lengths[text])) == size for size, blocks in layout.blocks for text, _ in blocks.tolist())
    assert all(part.data_ptr() % 16 == 0 for part in (layout.starts, layout.lengths, *(blocks for _, blocks in layout.blocks)))


# --- the fused kernels, in Triton's interpreter -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fused() -> Any:
    pytest.importorskip("triton", reason="the fused kernels need Triton: pip install triton==3.7.1 (`.ci/run` does)")
    if torch.cuda.is_available():
        pytest.skip("on a GPU benchmarks/gpu.py compares the kernels")
    from harness.evaluate.encode.fused import FusedKernels

    return FusedKernels()


# The interpreter multiplies bf16 as whole numbers; on a GPU the canary and benchmarks/gpu.py compare bf16.
@pytest.mark.parametrize(("dtype", "noise"), [(torch.float32, 2e-6), (torch.float16, 4e-3)])
def test_fused_kernels_compute_what_torch_does(fused: Any, dtype: torch.dtype, noise: float) -> None:
    draw, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    lengths = [1, 15, 16, 17, 40, 64, 65, 100, 130, 300]
    assert len({block_size(length) for length in lengths}) == 4
    layout = lay_out([draw.integers(0, 50, size=length, dtype=np.int32) for length in lengths], 768, CPU)
    qkv = torch.randn(768, 3 * 32, generator=generator).to(dtype)
    plain = PlainKernels()
    attended = fused.attention(qkv, layout, 2)
    assert (attended.float() - plain.attention(qkv, layout, 2).float()).abs().max() < noise
    assert not attended[layout.real :].any()
    norm = torch.nn.LayerNorm(48).to(dtype).requires_grad_(False)
    torch.nn.init.normal_(norm.weight, generator=generator)
    rows, other = (torch.randn(9, 48, generator=generator).to(dtype) for _ in range(2))
    for residual in (None, other):
        assert (fused.add_norm(rows, residual, norm).float() - plain.add_norm(rows, residual, norm).float()).abs().max() < noise
    states = attended
    assert (fused.mean(states, layout).float() - plain.mean(states, layout).float()).abs().max() < noise


def test_fused_kernels_give_a_text_the_same_bits_beside_any_other(fused: Any, folder: Path) -> None:
    model = load(folder, dtype="fp16").model
    packed = PackedEncoder(model.transformer, model.tail, fused)
    draw = np.random.default_rng(1)
    rows = [draw.integers(5, 60, size=length, dtype=np.int32) for length in (3, 17, 20)]

    def vectors(rows: list[Any], total: int) -> torch.Tensor:
        layout = packed.lay_out(rows, total, CPU)
        return packed.vectors(packed.states(layout, layers=1), layout)

    with torch.inference_mode():
        together = vectors(rows, 40)
        assert torch.equal(vectors([rows[1]], 17)[0], together[1])
        assert torch.equal(vectors(rows[:0:-1], 44).flip(0), together[1:])


_COMPILE = """
from itertools import product
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from harness.evaluate.encode.fused import _attention
from harness.evaluate.encode.layout import block_size

kinds = dict(qkv="*{0}", out="*{0}", starts="*i32", lengths="*i32", blocks="*i32", scale="fp32")
for capability, dtype, length in product((80, 86, 90), ("bf16", "fp16"), (16, 32, 64, 512)):
    size = block_size(length)
    constants = dict(hidden=1024, head_dim=64, rows=size.rows, columns=size.columns, one=size.one)
    signature = {name: kind.format(dtype) for name, kind in kinds.items()} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(_attention, signature, constants, {(place,): [["tt.divisibility", 16]] for place in range(5)})
    compiled = compile(source, target=GPUTarget("cuda", capability, 32), options=dict(num_warps=size.warps, num_stages=size.stages))
    assert len(compiled.asm["cubin"]) > 1000 and compiled.metadata.shared <= 99 * 1024, (capability, compiled.metadata.shared)
print("compiled")
"""


@pytest.mark.slow
def test_attention_compiles_for_gpus_and_fits_the_shared_memory_of_the_smallest(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="the fused kernels need Triton: make triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "compiled\n", done.stderr
