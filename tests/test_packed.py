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
from tiny_models import HAN, POSITIONS, TWINS, build_model, load_encoder

from harness.core.errors import RequestError
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canary.canary import run_canary
from harness.evaluate.encode.canonical import bodies
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.canonical.kernels import Kernels, Reach
from harness.evaluate.encode.canonical.layout import BlockSize, lay_out
from harness.evaluate.encode.canonical.packed import PackedEncoder
from harness.evaluate.encode.canonical.shapes import ShapeLadder
from harness.evaluate.encode.store.store import VectorStore

CPU = torch.device("cpu")
PACKED = EncodingSpec(ladder="packed", batch_tokens=512)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(HAN, k=draw.choice((1, 2, 3, 7, 20, 33, 61, 90)))) for _ in range(90)]


def load(tiny_model: Path, *, dtype: Dtype = "fp32", encoding: EncodingSpec = PACKED, store: VectorStore | None = None) -> CanonicalEncoder:
    spec = ModelSpec(name="tiny", path=str(tiny_model))
    return load_encoder(spec, dtype=dtype, max_len=POSITIONS, encoding=encoding, device=CPU, store=store)


# --- how many tokens --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [50_000, 400_000])
def test_packs_are_filled_up_by_less_than_one_token_in_two_hundred(tokens: int) -> None:
    draw = np.random.default_rng(0)
    counts = np.minimum(np.exp(draw.normal(4, 1.2, size=tokens)).astype(np.int64) + 3, 1024)
    counts = counts[: int(np.searchsorted(np.cumsum(counts), tokens)) + 1]
    _, planned = ShapeLadder(EncodingSpec(ladder="packed", batch_tokens=16384), positions=1024).plan(counts)
    assert counts.sum() >= tokens
    assert planned / counts.sum() <= 1.005


def test_packs_by_hand() -> None:
    ladder = ShapeLadder(EncodingSpec(ladder="packed", batch_tokens=256), positions=300)
    # 100 + 100 fill up to 256; 57, and 3 alone, to the smallest pack
    assert ladder.plan(np.array([100, 100, 57, 256, 300, 3])) == (5, 256 + 128 + 256 + 320 + 128)
    assert ladder.pack_sizes(300) == [128, 192, 256, 320]
    assert ladder.pack_sizes(20) == [128, 192, 256]


# --- the same vectors -------------------------------------------------------------------------------------------------------------------


def test_a_store_finds_what_was_packed_otherwise_to_the_bit(tiny_model: Path, texts: list[str], tmp_path: Path) -> None:
    vectors = load(tiny_model, store=VectorStore(tmp_path)).encode(texts)
    again = load(tiny_model, encoding=EncodingSpec(ladder="packed", batch_tokens=192), store=VectorStore(tmp_path))
    assert torch.equal(again.encode(texts[::-1]).flip(0), vectors)
    assert again.counters.forwards == 0
    assert torch.equal(load(tiny_model, encoding=EncodingSpec(ladder="packed", batch_tokens=192)).encode(texts), vectors)


PACKING = [name for name in TWINS if name not in ("MPNet", "Gemma 2", "Qwen3.5")]
OTHERS: dict[str, dict[str, Any]] = {"ELECTRA": {"model_type": "electra"}, "DistilBERT": {"model_type": "distilbert"}}


@pytest.mark.parametrize("name", [*PACKING, *OTHERS])
def test_packed_vectors_are_those_of_exact_batches_and_no_neighbour_moves_a_bit(name: str, tmp_path: Path, texts: list[str]) -> None:
    twin = build_model(tmp_path / "twin", **(TWINS | OTHERS)[name])
    packed, exact = load(twin), load(twin, encoding=EncodingSpec(ladder="exact", batch_tokens=256))
    assert packed.fingerprint.ladder == "packed"
    assert "rows equal to the bit in packs of 128 to 512 tokens" in packed.fingerprint.packs
    vectors = packed.encode(texts)
    scale = vectors.norm(dim=1, keepdim=True)
    assert ((vectors - exact.encode(texts)) / scale).abs().max() < 2e-6
    assert packed.fingerprint.digest != exact.fingerprint.digest
    smaller = load(twin, encoding=EncodingSpec(ladder="packed", batch_tokens=192))
    assert torch.equal(smaller.encode(texts[::-1]).flip(0), vectors)
    assert torch.equal(packed.encode(texts[5:9]), vectors[5:9])


def test_a_model_that_transformers_runs_shares_its_weights_with_its_packs_and_still_runs_alone(tmp_path: Path, texts: list[str]) -> None:
    encoder = load(build_model(tmp_path / "twin", **TWINS["Qwen3"]))
    model = encoder.model
    alone = model.forward(torch.tensor([[5, 6, 7]]), None)
    body: Any = model.packed._body
    assert {id(one) for one in body._model.parameters()} == {id(one) for one in model.transformer.parameters()}
    assert len(body._short.layers) == 1 < len(body._model.layers)
    assert model.config._attn_implementation == "sdpa"
    encoder.encode(texts)
    assert torch.equal(model.forward(torch.tensor([[5, 6, 7]]), None), alone)


@pytest.mark.parametrize(
    ("option", "value"), [("softcap", 30.0), ("position_bias", torch.zeros(2)), ("s_aux", torch.zeros(2)), ("dropout", 0.5)]
)
def test_attention_that_no_kernel_of_packs_has_is_refused(option: str, value: object) -> None:
    tokens = torch.zeros(1, 2, 4, 16)
    with pytest.raises(RequestError, match=f"the attention of Identity has {option}. Run with gpu.ladder=exact"):
        bodies._attend(torch.nn.Identity(), tokens, tokens, tokens, None, pack=None, **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ModernBERT", "Gemma 3"])
def test_the_proof_runs_a_layer_of_each_kind(name: str, tmp_path: Path) -> None:
    kinds = {"num_hidden_layers": 4, "layer_types": ["full_attention", "full_attention", "sliding_attention", "full_attention"]}
    body: Any = load(build_model(tmp_path / "twin", **TWINS[name] | kinds)).model.packed._body
    assert (len(body._short.layers), len(body._model.layers)) == (3, 4)


@pytest.mark.parametrize("name", ["BERT", "Qwen3", "Gemma 3, two-way (EmbeddingGemma)"])
def test_the_canary_checks_packs(name: str, tmp_path: Path) -> None:
    canary = run_canary(load(build_model(tmp_path / "twin", **TWINS[name]), dtype="bf16"))
    assert canary.rows_differing == 0
    assert all("flash_attention" in name for name in canary.attention)


@pytest.mark.parametrize("model_type", ["roberta", "xlm-roberta", "camembert"])
def test_a_padding_token_within_a_text_has_the_position_that_transformers_gives_it(model_type: str, tmp_path: Path) -> None:
    encoder = load(build_model(tmp_path, model_type=model_type))
    rows = [np.array([2, 1, 7, 1, 8, 3], dtype=np.int32), np.array([2, 9, 3], dtype=np.int32)]
    layout = encoder.model.packed.lay_out(rows, 128, CPU)
    with torch.inference_mode():
        packed = encoder.model.packed.vectors(encoder.model.packed.states(layout), layout)
        alone = torch.cat([encoder.model.forward(torch.from_numpy(row[None].astype(np.int64)), None) for row in rows])
    assert ((packed - alone).norm(dim=1) < 1e-5 * alone.norm(dim=1)).all()
    assert layout.positions[:9].tolist() == [2, 3, 4, 2, 1, 3, 1, 4, 5]


# --- where texts can't be packed --------------------------------------------------------------------------------------------------------


_DYNAMIC = {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}


@pytest.mark.parametrize(
    ("twin", "why"),
    [
        (TWINS["Gemma 2"], "its layers are gemma2's"),
        (TWINS["MPNet"], "its layers are mpnet's"),
        (TWINS["Qwen3.5"], "its linear attention runs from one text into the next"),
        (TWINS["Qwen3"] | _DYNAMIC, "its dynamic positions depend on the longest text of a batch"),
        (TWINS["Qwen3"] | {"pooling": "max"}, "its pooling is max"),
    ],
    ids=["Gemma 2", "MPNet", "Qwen3.5", "dynamic positions", "max pooling"],
)
def test_what_can_not_be_packed_runs_in_exact_batches_and_the_fingerprint_says_why(twin: dict[str, Any], why: str, tmp_path: Path) -> None:
    encoder = load(build_model(tmp_path / "twin", **twin))
    assert encoder.fingerprint.ladder == encoder.ladder.spec.ladder == "exact"
    assert encoder.fingerprint.packs == f"none, the ladder is exact: {why}"


class _Uneven(Kernels):
    """Rows have another last bit in packs of some sizes, as where a library chooses its kernel by the number of rows."""

    uneven: Any = None

    def add_norm(self, inputs: torch.Tensor, residual: torch.Tensor | None, norm: torch.nn.LayerNorm) -> torch.Tensor:
        out = super().add_norm(inputs, residual, norm)
        return torch.nextafter(out, out + 1) if self.uneven(len(out)) else out


@pytest.mark.parametrize(("uneven", "smallest"), [(lambda rows: rows < 192, 192), (lambda rows: rows == 1088, None)])
def test_sizes_whose_rows_differ_are_found(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, uneven: Any, smallest: int | None
) -> None:
    monkeypatch.setattr(_Uneven, "uneven", staticmethod(uneven))
    monkeypatch.setattr("harness.evaluate.encode.canonical.packed.Kernels", _Uneven)
    with caplog.at_level(logging.WARNING):
        encoder = load(tiny_model, encoding=EncodingSpec(ladder="packed", batch_tokens=1152))
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


def block_size(length: int) -> BlockSize:
    """The size of a text's blocks where it is alone in its pack."""
    [(size, _)] = lay_out([np.zeros(length, dtype=np.int32)], length, CPU).blocks
    return size


# --- the fused kernels, in Triton's interpreter -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fused() -> Any:
    pytest.importorskip("triton", reason="the fused kernels need Triton: pip install triton==3.7.1 (`.ci/run` does)")
    if torch.cuda.is_available():
        pytest.skip("on a GPU benchmarks/gpu.py compares the kernels")
    from harness.evaluate.encode.canonical.fused import FusedKernels

    return FusedKernels()


# The interpreter multiplies bf16 as whole numbers; on a GPU the canary and benchmarks/gpu.py compare bf16.
@pytest.mark.parametrize(("dtype", "noise"), [(torch.float32, 2e-6), (torch.float16, 4e-3)])
def test_fused_kernels_compute_what_torch_does(fused: Any, dtype: torch.dtype, noise: float) -> None:
    draw, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    lengths = [1, 15, 16, 17, 40, 64, 65, 100, 130, 300]
    assert len({block_size(length) for length in lengths}) == 4
    layout = lay_out([draw.integers(0, 50, size=length, dtype=np.int32) for length in lengths], 768, CPU)
    plain = Kernels()
    query, key, value = torch.randn(768, 3, 2, 16, generator=generator).to(dtype).unbind(1)
    attended = fused.attention(query, key, value, layout, reach=Reach(), scale=0.25)
    assert (attended.float() - plain.attention(query, key, value, layout, reach=Reach(), scale=0.25).float()).abs().max() < noise
    assert not attended[layout.real :].any()
    norm = torch.nn.LayerNorm(48).to(dtype).requires_grad_(False)
    torch.nn.init.normal_(norm.weight, generator=generator)
    rows, other = (torch.randn(9, 48, generator=generator).to(dtype) for _ in range(2))
    for residual in (None, other):
        assert (fused.add_norm(rows, residual, norm).float() - plain.add_norm(rows, residual, norm).float()).abs().max() < noise
    states = attended.view(768, 32)
    assert (fused.mean(states, layout).float() - plain.mean(states, layout).float()).abs().max() < noise


@pytest.mark.parametrize("reach", [Reach(None, 0), Reach(20, 0), Reach(20, 20), Reach(7, 7), Reach(500, 0), Reach(None, 3)])
@pytest.mark.parametrize("shared", [1, 4])
def test_fused_attention_sees_what_a_token_reaches(fused: Any, reach: Reach, shared: int) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [1, 16, 17, 40, 64, 65, 128, 130, 200]
    layout = lay_out([np.zeros(length, dtype=np.int32) for length in lengths], 704, CPU)
    query = torch.randn(4, 704, 16, generator=generator).transpose(0, 1)  # as rotary positions leave them
    key = torch.randn(4 // shared, 704, 16, generator=generator).transpose(0, 1)
    value = torch.randn(704, 4 // shared, 16, generator=generator)
    attended = fused.attention(query, key, value, layout, reach=reach, scale=0.25)
    plain = Kernels().attention(query, key, value, layout, reach=reach, scale=0.25)
    assert (attended - plain).abs().max() < 2e-6
    for length, start in zip(layout.lengths.tolist(), layout.starts.tolist(), strict=True):
        seen = reach.mask(length, CPU)
        causal = torch.ones(length, length, dtype=torch.bool).tril() if seen is None and reach.after == 0 else seen
        for head in range(4):
            rows = slice(start, start + length)
            scores = query[rows, head] @ key[rows, head // shared].T * 0.25
            weights = (scores if causal is None else scores.masked_fill(~causal, -torch.inf)).softmax(1)
            assert (weights @ value[rows, head // shared] - plain[rows, head]).abs().max() < 2e-6


def test_a_reach_by_hand() -> None:
    seen = Reach(1, 0).mask(3, CPU)
    assert seen is not None
    assert seen.tolist() == [[True, False, False], [True, True, False], [False, True, True]]
    assert Reach(2, 0).mask(3, CPU) is None  # all before itself: what a causal kernel does
    assert Reach().mask(3, CPU) is None
    both = Reach(1, 1).mask(3, CPU)
    assert both is not None
    assert both.tolist() == [[True, True, False], [True, True, True], [False, True, True]]


@pytest.mark.parametrize("name", ["Qwen3", "Gemma 3", "ModernBERT"])
def test_fused_kernels_run_any_model_that_can_be_packed(fused: Any, name: str, tmp_path: Path) -> None:
    model = load(build_model(tmp_path / "twin", **TWINS[name] | {"num_attention_heads": 2, "head_dim": 16})).model
    assert model.packable.head_dim == 16
    draw = np.random.default_rng(1)
    rows = [draw.integers(5, 60, size=length, dtype=np.int32) for length in (64, 3, 20)]

    def vectors(kernels: Any, rows: list[Any]) -> torch.Tensor:
        packed = PackedEncoder(model.transformer, model.masking, model.tail, kernels)
        layout = packed.lay_out(rows, 128, CPU)
        return packed.vectors(packed.states(layout), layout)

    with torch.inference_mode():
        ours = vectors(fused, rows)
        assert (ours - vectors(Kernels(), rows)).norm(dim=1).max() < 2e-5 * ours.norm(dim=1).max()
        assert torch.equal(vectors(fused, rows[::-1]).flip(0), ours)


def test_fused_kernels_give_a_text_the_same_bits_beside_any_other(fused: Any, tiny_model: Path) -> None:
    model = load(tiny_model, dtype="fp16").model
    packed = PackedEncoder(model.transformer, model.masking, model.tail, fused)
    draw = np.random.default_rng(1)
    rows = [draw.integers(5, 60, size=length, dtype=np.int32) for length in (3, 17, 20)]

    def vectors(rows: list[Any], total: int) -> torch.Tensor:
        layout = packed.lay_out(rows, total, CPU)
        return packed.vectors(packed.states(layout, few_layers=True), layout)

    with torch.inference_mode():
        together = vectors(rows, 40)
        assert torch.equal(vectors([rows[1]], 17)[0], together[1])
        assert torch.equal(vectors(rows[:0:-1], 44).flip(0), together[1:])


_COMPILE = """
from itertools import product
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from harness.evaluate.encode.canonical.fused import _attention, stages
from harness.evaluate.encode.canonical.layout import lay_out
import numpy, torch

pointers = dict(queries="*{0}", keys="*{0}", values="*{0}", out="*{0}", starts="*i32", lengths="*i32", blocks="*i32")
numbers = dict(scale="fp32", query_head="i32", key_head="i32", value_head="i32")
widths = [(64, 1, -1, -1), (128, 2, -1, 0), (256, 4, 511, 0), (64, 1, 64, 64)]  # BERT, Qwen3, Gemma 3, ModernBERT
kinds = [*product((86, 90), ["bf16"], (16, 64, 512), widths), *product((80, 86, 90), ["fp16"], (32, 512), widths[:1])]
for capability, dtype, length, (head_dim, shared, before, after) in kinds:
    [(size, _)] = lay_out([numpy.zeros(length, numpy.int32)], length, torch.device("cpu")).blocks
    constants = dict(query_row=1024, key_row=1024, value_row=1024, heads=16, head_dim=head_dim, shared=shared, before=before, after=after)
    constants |= dict(rows=size.rows, columns=size.columns, one=size.one)
    signature = {name: kind.format(dtype) for name, kind in (pointers | numbers).items()} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(_attention, signature, constants, {(place,): [["tt.divisibility", 16]] for place in (*range(7), 8, 9, 10)})
    options = dict(num_warps=size.warps, num_stages=stages(size, head_dim))
    compiled = compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    found = (capability, head_dim, length, compiled.metadata.shared)
    assert len(compiled.asm["cubin"]) > 1000 and compiled.metadata.shared <= 99 * 1024, found
print("compiled")
"""


@pytest.mark.slow
def test_attention_compiles_for_gpus_and_fits_the_shared_memory_of_the_smallest(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="the fused kernels need Triton: make triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "compiled\n", done.stderr
