"""The kind `reference`: models that are no pure function, or of which nothing is known, run as sentence-transformers runs them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from records import run_here
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from tiny_models import HIDDEN, POSITIONS, _tokenizer, build_model
from transformers import AutoConfig, AutoModel, T5Config, T5EncoderModel

from harness.core.benchmarks import load_benchmark
from harness.core.costs import Counters
from harness.core.errors import CanaryError, InputError, MachineError, RequestError
from harness.core.run_files import read_run
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.encoder import ENCODERS, EncoderKind
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.whole.as_is import REFERENCE
from harness.evaluate.encode.whole.reranker import RERANKER
from harness.evaluate.plan.planning import make_plan

BENCHMARK = load_benchmark()
TEXTS = ["你好", "今天天气", "", "天地人" * 40, "abc 123"]


def spec_of(folder: Path) -> ModelSpec:
    return ModelSpec(name="as-is", path=str(folder), kind="reference")


def encoder_of(folder: Path, max_len: int = 48):
    weights = REFERENCE.load(spec_of(folder), dtype="fp32", device=torch.device("cpu"))
    setting = EncodingSpec(ladder="padded", batch_tokens=512)
    return REFERENCE.encoder(weights, max_len=max_len, encoding=setting, device=torch.device("cpu"), store=None)


def test_its_vectors_are_those_of_sentence_transformers(tmp_path: Path) -> None:
    folder = build_model(tmp_path, model_type="mpnet", pooling="mean", normalize=True)
    chain = SentenceTransformer(str(folder), device="cpu")
    chain.max_seq_length = 48
    found = encoder_of(folder).encode_counted([*TEXTS, TEXTS[0]])
    assert torch.allclose(found.vectors[:-1], torch.tensor(chain.encode(TEXTS)), atol=1e-5)
    assert torch.equal(found.vectors[0], found.vectors[-1])
    assert found.cut.tolist() == [False, False, False, True, False, False]
    assert found.tokens.max() == 48


@pytest.mark.parametrize(
    ("texts", "batch", "otherwise"),
    [
        (2, "2 of the texts such as '天地'", "run again with gpu.batch_tokens=4 "),
        (1, "1 of the texts such as '天地'", "free some, or use a smaller max_len or"),
    ],
)
def test_a_batch_without_memory_for_it_says_what_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: int, batch: str, otherwise: str
) -> None:
    encoder = encoder_of(build_model(tmp_path))

    def full(*_: Any, **__: Any) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")  # what torch raises on a GPU; a CPU has no error of its own

    monkeypatch.setattr(SentenceTransformer, "encode", full)
    with pytest.raises(MachineError, match=re.escape(f"cpu does not have enough memory for {batch}: {otherwise}")):
        encoder.encode_counted(["天地", "天人"][:texts])


@pytest.mark.parametrize("kind", ["canonical", "reference"])
@pytest.mark.parametrize("error", [RuntimeError, torch.OutOfMemoryError, MemoryError])
def test_weights_without_memory_for_them_are_no_damaged_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, error: type[Exception]
) -> None:
    folder = build_model(tmp_path)

    def full(*_: Any, **__: Any) -> None:
        if error is RuntimeError:
            torch.empty(2**60)  # a CPU has no error of its own
        raise error

    monkeypatch.setattr(AutoModel, "from_pretrained", full)
    with pytest.raises(MachineError, match="cpu does not have enough memory for the weights of as-is in fp32: free some, or use a smaller"):
        ENCODERS.get(kind).load(spec_of(folder), dtype="fp32", device=torch.device("cpu"))


@pytest.mark.parametrize(("dtype", "kept"), [("fp16", "4,096 of "), ("bf16", ""), ("fp32", "")])
def test_what_transformers_keeps_in_fp32_stays_there_and_is_stated(tmp_path: Path, dtype: Dtype, kept: str) -> None:
    folder = t5(tmp_path)
    chain = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": TORCH_DTYPE[dtype]})
    weights = REFERENCE.load(spec_of(folder), dtype=dtype, device=torch.device("cpu"))
    assert [one.dtype for one in weights.model.parameters()] == [one.dtype for one in chain.parameters()]
    setting = EncodingSpec(ladder="padded", batch_tokens=512)
    encoder = REFERENCE.encoder(weights, max_len=48, encoding=setting, device=torch.device("cpu"), store=None)
    for text in TEXTS[:3]:
        assert torch.equal(encoder.encode_counted([text]).vectors[0], chain.encode(text, convert_to_tensor=True))
    stated = (*encoder.fingerprint.modules, *REFERENCE.check(encoder).notes)
    assert sum(kept in words for words in stated if "numbers are in" in words) == 2 * bool(kept)


def t5(tmp_path: Path) -> Path:
    """A tiny random T5 encoder, of whose layers transformers keeps the last products in fp32 where fp16 is asked for."""
    tokenizer = _tokenizer(pad_id=0)
    tokenizer.save_pretrained(tmp_path / "parts")
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        T5EncoderModel(T5Config(vocab_size=len(tokenizer), pad_token_id=0, **sizes)).save_pretrained(tmp_path / "parts")
    modules = [Transformer(str(tmp_path / "parts")), Pooling(32, "mean"), Dense(32, 16)]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "t5"), create_model_card=False)
    return tmp_path / "t5"


def test_a_run_states_that_purity_was_measured(tmp_path: Path) -> None:
    folder = build_model(tmp_path, model_type="mpnet", pooling="mean")
    places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", "gpu=cpu", "data=sample", "tasks=[STSB]", "max_len=48"]
    request = [f"model={folder}", "model.kind=reference", "model.name=as-is", *places]
    (plan,) = make_plan(request).runs
    outcome = run_here(request)
    assert plan.obstacles == ()
    assert as_planned(plan.cost) == as_planned(outcome.cost.encoding)
    done = read_run(outcome.folder, BENCHMARK)
    assert "encoder of kind reference, not canonical" in done.header.notes
    assert done.manifest.canary["verdict"] == "passed"
    assert done.manifest.canary["floor"] < 1e-5
    assert "purity is measured" in done.manifest.model.attention
    assert any("purity is measured" in path.read_text() for path in (tmp_path / "store").glob("*/setting.json"))
    again = run_here([*request, "overwrite=true"])
    assert again.cost.encoding.forwards == 0
    (plan,) = make_plan([*request, "overwrite=true"]).runs
    assert (plan.left.texts, plan.cost.found) == (0, again.cost.encoding.found)


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """A tiny random model of one table and no layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        modules = [StaticEmbedding(_tokenizer(pad_id=0), embedding_dim=24)]
        SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "static"), create_model_card=False)
    return tmp_path / "static"


def test_a_static_model_is_cut_planned_and_run(tmp_path: Path, static: Path) -> None:
    found = encoder_of(static, max_len=8).encode_counted(["天地人" * 40, "天地人天地人天地", "你好"])
    assert found.cut.tolist() == [True, False, False]
    assert found.tokens.tolist() == [8, 8, 2]
    assert torch.equal(found.vectors[0], found.vectors[1])
    assert torch.allclose(found.vectors[2], torch.tensor(SentenceTransformer(str(static), device="cpu").encode(["你好"])[0]))
    request = [f"model={static}", "model.kind=reference", "gpu=cpu", "data=sample", "tasks=[STSB]", f"results_dir={tmp_path / 'results'}"]
    request += [f"store={tmp_path / 'store'}"]
    (plan,) = make_plan(request).runs
    outcome = run_here(request)
    assert (outcome.failed, plan.obstacles) == ({}, ())
    assert as_planned(plan.cost) == as_planned(outcome.cost.encoding)


def test_a_length_that_the_model_does_not_carry_is_refused_and_planned_as_an_obstacle(tmp_path: Path) -> None:
    folder = build_model(tmp_path, model_type="mpnet", pooling="mean")
    with pytest.raises(RequestError, match=f"max_len=65 is more than as-is carries, which is {POSITIONS} tokens: set max_len={POSITIONS}"):
        encoder_of(folder, max_len=65)
    outline = REFERENCE.outline(spec_of(folder))
    assert (outline.max_positions, outline.embedding_dim) == (POSITIONS, HIDDEN)


_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": POSITIONS,
}
_ROPE = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 1, 1]}
_SEEN = {"hidden_size": 32, "depth": 1, "num_heads": 4, "intermediate_size": 48, "patch_size": 14, "out_hidden_size": 32}


@pytest.mark.parametrize(
    ("model_type", "config", "carries"),
    [
        (
            "glm_ocr",
            {"text_config": {**_SIZES, "num_key_value_heads": 2, "head_dim": 8, "rope_parameters": _ROPE}, "vision_config": _SEEN},
            POSITIONS,
        ),
        ("xlnet", {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 48}, None),
        ("xmod", {**_SIZES, "languages": ["zh_CN"], "default_language": "zh_CN"}, POSITIONS - 2),
    ],
)
def test_sizes_are_those_of_the_part_for_text(tmp_path: Path, model_type: str, config: dict[str, Any], carries: int | None) -> None:
    tokenizer = _tokenizer(pad_id=1)
    tokenizer.save_pretrained(tmp_path / "parts")
    part = config.get("text_config", config)
    part |= {"vocab_size": len(tokenizer), "pad_token_id": 1}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(AutoConfig.for_model(model_type, **config)).save_pretrained(tmp_path / "parts")
    modules = [Transformer(str(tmp_path / "parts")), Pooling(32, "mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "model"), create_model_card=False)
    outline = REFERENCE.outline(spec_of(tmp_path / "model"))
    assert (outline.max_positions, outline.embedding_dim) == (carries, 32)
    encoder = encoder_of(tmp_path / "model", max_len=carries or 200)
    assert encoder.encode_counted(["天" * 300]).tokens.tolist() == [carries or 200]
    if carries:
        with pytest.raises(RequestError, match=f"which is {carries} tokens: set max_len={carries} or less"):
            encoder_of(tmp_path / "model", max_len=carries + 1)
    encoder.backend.model.tokenizer.add_tokens("龘")
    with pytest.raises(InputError, match=rf"token id {len(tokenizer)}, and the model's table of tokens has {len(tokenizer)} rows"):
        encoder.encode_counted(["龘"])


def test_a_vector_is_as_wide_as_the_modules_make_it_whatever_the_folder_says(tmp_path: Path) -> None:
    folder = build_model(tmp_path, model_type="mpnet")
    path = folder / "1_Pooling" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "embedding_dimension": 2 * HIDDEN}), encoding="utf-8")
    chain = SentenceTransformer(str(folder), device="cpu")
    assert chain.get_embedding_dimension() == 2 * HIDDEN
    chain.max_seq_length = 48
    assert torch.allclose(encoder_of(folder).encode_counted(TEXTS).vectors, torch.tensor(chain.encode(TEXTS)), atol=1e-5)
    request = [f"model={folder}", "model.kind=reference", "gpu=cpu", "data=sample", "tasks=[STSB]", f"results_dir={tmp_path / 'results'}"]
    request += [f"store={tmp_path / 'store'}", "max_len=48"]
    assert run_here(request).failed == {}
    assert make_plan([*request, "overwrite=true"]).runs[0].left.texts == 0


def test_a_text_that_the_tokenizer_refuses_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(build_model(tmp_path))
    monkeypatch.setitem(encoder.backend.model[0].modality_config, "image", {"method": "forward", "method_output_name": "last_hidden_state"})
    monkeypatch.setattr(encoder.backend.model[0].input_formatter, "supported_modalities", ["text", "image"])
    with pytest.raises(InputError, match=r"does not tokenise 2 texts, the first of which is '你好' \(ValueError: .*multiple modalities"):
        encoder.encode_counted(["你好", "http://a.b/c.jpg"])


@pytest.fixture
def chatting(tmp_path: Path) -> Path:
    """A decoder that sentence-transformers saved with its chat template, as it does with fine-tuned ones today."""
    parts = build_model(tmp_path, model_type="qwen3", pooling="lasttoken").parent / "parts"
    (parts / "chat_template.jinja").write_text("{% for one in messages %}{{ one.role }}: {{ one.content }}{% endfor %}。")
    modules = [Transformer(str(parts)), Pooling(HIDDEN, "lasttoken")]
    SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "chatting"), create_model_card=False)
    return tmp_path / "chatting"


def test_a_text_that_its_chat_template_makes_too_long_is_kept_for_its_max_len(tmp_path: Path, chatting: Path) -> None:
    texts = ["天地人" * length for length in range(1, 16)]
    weights, device = REFERENCE.load(spec_of(chatting), dtype="fp32", device=torch.device("cpu")), torch.device("cpu")
    setting, store = EncodingSpec(ladder="padded", batch_tokens=512), VectorStore(tmp_path / "store")
    chain = SentenceTransformer(str(chatting), device="cpu")
    for max_len in (20, 40, 60):
        encoder = REFERENCE.encoder(weights, max_len=max_len, encoding=setting, device=device, store=store)
        found = encoder.encode_counted(texts)
        chain.max_seq_length = max_len
        assert torch.allclose(found.vectors, torch.tensor(chain.encode(texts)), atol=1e-5)
        planned = REFERENCE.outline(spec_of(chatting)).count(texts, max_len=max_len, encoding=setting, digest=encoder.fingerprint.digest)
        assert planned.counts.tolist() == found.tokens.tolist()
        assert planned.cut.tolist() == found.cut.tolist() == [3 * length + 6 > max_len for length in range(1, 16)]


def test_a_chat_template_is_left_out_by_no_kind_and_takes_no_prompt_of_its_model(tmp_path: Path, chatting: Path) -> None:
    request = [f"model={chatting}", "gpu=cpu", "data=sample", "tasks=[STSB]", "max_len=48", f"results_dir={tmp_path / 'results'}"]
    with pytest.raises(RequestError, match=r"puts every text into a chat template.*model\.kind=reference runs it"):
        run_here(request)
    assert any("chat template" in text for text in make_plan(request).runs[0].obstacles)
    path = chatting / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "prompts": {"STS": "天地人"}}), encoding="utf-8")
    with pytest.raises(RequestError, match=r"prompts=model: .*its prompt is a message of its own"):
        run_here([*request, "model.kind=reference", "prompts=model"])


def test_a_layer_that_is_not_the_last_is_refused_by_the_canonical_kind(tmp_path: Path) -> None:
    folder = build_model(tmp_path)
    path = folder / "sentence_bert_config.json"
    layer = {"text": {"method": "forward", "method_output_name": ["hidden_states", 1]}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "modality_config": layer}), encoding="utf-8")
    with pytest.raises(RequestError, match=r'changes how texts are processed .*"hidden_states", 1'):
        ENCODERS.get("canonical").load(replace(spec_of(folder), kind="canonical"), dtype="fp32", device=torch.device("cpu"))


def test_a_lone_surrogate_is_named_by_a_run_and_its_plan(tmp_path: Path) -> None:
    folder = build_model(tmp_path)
    message = r"lone surrogate at character 1: .x\\ud800.\. Correct the encoding of the data file"
    with pytest.raises(InputError, match=message):
        encoder_of(folder).encode_counted(["你好", "x\ud800"])
    with pytest.raises(InputError, match=message):
        REFERENCE.outline(spec_of(folder)).count(
            ["x\ud800"], max_len=48, encoding=EncodingSpec(ladder="padded", batch_tokens=512), digest="d"
        )


def as_planned(counters: Counters) -> dict[str, int]:
    return {key: value for key, value in asdict(counters).items() if not key.endswith("_seconds")}


def test_a_model_that_draws_random_numbers_is_found_out(tmp_path: Path) -> None:
    encoder = encoder_of(build_model(tmp_path, model_type="bert"))
    encoder.backend.model.train()
    for module in encoder.backend.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    chain_encode = encoder.backend.model.encode

    def noisy(*arguments, **settings):
        found = chain_encode(*arguments, **settings)
        return found + torch.randn_like(found)

    encoder.backend.model.encode = noisy
    with pytest.raises(CanaryError, match="is not repeatable"):
        REFERENCE.check(encoder)


def test_foreign_code_is_named_before_it_could_run(tmp_path: Path) -> None:
    folder = build_model(tmp_path, model_type="bert")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"auto_map": {"AutoModel": "evil.Evil"}}))
    with pytest.raises(RequestError, match=r"names code of its own.*model.trust_remote_code=true"):
        REFERENCE.load(spec_of(folder), dtype="fp32", device=torch.device("cpu"))


def test_a_module_that_asks_for_a_task_is_refused(tmp_path: Path) -> None:
    folder = build_model(tmp_path, model_type="bert")
    path = folder / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps([{**modules[0], "kwargs": ["task"]}, *modules[1:]]))
    with pytest.raises(RequestError, match=r"'as-is' has a module that asks for a task.*model.kind=endpoint"):
        encoder_of(folder)


@pytest.mark.parametrize("kind", ["canonical", "reference"])
@pytest.mark.parametrize("module", ["Router", "Asym"])
def test_modules_by_role_are_refused_by_a_run_and_its_plan(tmp_path: Path, kind: str, module: str) -> None:
    queries, passages = (SentenceTransformer(str(build_model(tmp_path / str(seed), seed=seed)), device="cpu") for seed in (1, 2))
    router = Router.for_query_document(query_modules=list(queries.children()), document_modules=list(passages.children()))
    folder = tmp_path / "routed"
    SentenceTransformer(modules=[router], device="cpu").save(str(folder), create_model_card=False)
    modules = folder / "modules.json"
    modules.write_text(modules.read_text().replace(".Router", f".{module}"))
    places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", "gpu=cpu", "data=sample", "tasks=[EcomRetrieval]"]
    request = [f"model={folder}", f"model.kind={kind}", "max_len=48", *places]
    refused = rf"model 'routed' has a {module}, which chooses the modules of a text by whether it is a query or a passage.*no model\.kind"
    with pytest.raises(RequestError, match=refused) as error:
        run_here(request)
    (plan,) = make_plan(request).runs
    assert str(error.value) in plan.obstacles
    assert "model.kind=reference" not in str(error.value)


@pytest.mark.parametrize("kind", ["canonical", "reference"])
@pytest.mark.parametrize("values", [{"query_length": 16, "document_length": 20}, {"query_expansion": {"strategy": "fixed", "length": 32}}])
def test_lengths_by_role_are_refused(tmp_path: Path, kind: str, values: dict[str, object]) -> None:
    folder = build_model(tmp_path)
    path = folder / "sentence_bert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    spec = replace(spec_of(folder), kind=kind)
    for make in (ENCODERS.get(kind).outline, partial(ENCODERS.get(kind).load, dtype="fp32", device=torch.device("cpu"))):
        with pytest.raises(RequestError, match=rf"queries of another length than passages \({', '.join(values)} in .*no model\.kind"):
            make(spec)
    path.write_text(json.dumps({**json.loads(path.read_text()), **dict.fromkeys(values)}))
    ENCODERS.get(kind).outline(spec)


@pytest.mark.parametrize("kind", ["canonical", "reference", "reranker"])
@pytest.mark.parametrize("file", ["config.json", "sentence_bert_config.json"])
def test_chunks_of_tokens_are_refused_before_weights_are_read(tmp_path: Path, kind: str, file: str) -> None:
    folder = build_model(tmp_path)
    path, of_kind = folder / file, ENCODERS.get(kind)
    values = json.loads(path.read_text())

    def chunks_of(size: int) -> None:
        chunks = {"chunk_size_feed_forward": size}
        path.write_text(json.dumps({**values, **(chunks if file == "config.json" else {"config_args": chunks})}))

    chunks_of(4)
    weights = (folder / "model.safetensors").rename(folder / "moved")
    for make in (of_kind.outline, partial(of_kind.load, dtype="fp32", device=torch.device("cpu"))):
        with pytest.raises(RequestError, match=rf"takes 4 tokens of a text at a time \(chunk_size_feed_forward in .*{file}\).*Set it to 0"):
            make(spec_of(folder))
    weights.rename(folder / "model.safetensors")
    chunks_of(1)
    of_kind.outline(spec_of(folder))


@pytest.mark.parametrize("kind", [REFERENCE, RERANKER], ids=["reference", "reranker"])
@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", InputError, r"config\.json can't be read as JSON"),
        ('{"auto_map": {"AutoModel": "x.Y"}}', RequestError, "names code of its own"),
    ],
)
def test_a_damaged_config_or_one_with_code_is_one_error_that_names_it(
    tmp_path: Path, kind: EncoderKind, content: str, error: type[Exception], message: str
) -> None:
    folder = build_model(tmp_path)
    (folder / "config.json").write_text(content)
    with pytest.raises(error, match=message):
        kind.load(spec_of(folder), dtype="fp32", device=torch.device("cpu"))


@pytest.mark.parametrize("kind", [REFERENCE, RERANKER], ids=["reference", "reranker"])
def test_what_the_tokenizer_is_told_is_part_of_what_names_the_vectors(tmp_path: Path, kind: EncoderKind) -> None:
    spec = spec_of(build_model(tmp_path))
    told = replace(spec, add_eos_token=True)
    assert kind.files_digest(told) != kind.files_digest(spec) == kind.files_digest(replace(told, add_eos_token=False))
    tokenizer = _tokenizer(pad_id=0)
    tokenizer.eos_token = "[SEP]"  # now a text ends with its end token
    tokenizer.save_pretrained(spec.path)
    digests = {
        kind.outline(one).digest(dtype="fp32", encoding=EncodingSpec(ladder="padded", batch_tokens=512), device=torch.device("cpu"))
        for one in (spec, told)
    }
    assert len(digests) == 2


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that nobody reads from its start")
@pytest.mark.parametrize("kind", [ENCODERS.get("canonical"), REFERENCE, RERANKER], ids=["canonical", "reference", "reranker"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, kind: EncoderKind) -> None:
    folder = build_model(tmp_path)
    (folder / "vocab.txt").symlink_to("/proc/self/mem")
    with pytest.raises(InputError, match=r"vocab\.txt can't be read \(Input/output error\): download the model again"):
        kind.files_digest(spec_of(folder))
