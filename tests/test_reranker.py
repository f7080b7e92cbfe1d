"""A CrossEncoder on the Reranking tasks: scores by pair, C_MTEB's own metrics, resumed and found in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from records import run_here
from sentence_transformers import CrossEncoder
from tiny_models import HAN, HIDDEN, POSITIONS, _tokenizer
from tokenizers.processors import TemplateProcessing

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.run_files import read_run
from harness.core.spec import DataSpec, Dtype, EncodingSpec, ModelSpec
from harness.data.sources import load_task
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.store.shards import open_shard, write_shard
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.whole.pairs import pair_text
from harness.evaluate.encode.whole.reranker import RERANKER
from harness.evaluate.here import resolve_here
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.prepared import Outcome

BENCHMARK = load_benchmark()
SIZES = {"hidden_size": HIDDEN, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def classifier() -> tuple[Any, Any]:
    """bge-reranker's form: an encoder with one output."""
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    tokenizer = _tokenizer(pad_id=1)
    config = XLMRobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=POSITIONS + 2, pad_token_id=1, num_labels=1, **SIZES)
    return XLMRobertaForSequenceClassification(config), tokenizer


def decoder() -> tuple[Any, Any]:
    """Qwen3-Reranker's form: a decoder whose next token is yes or no."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = _tokenizer(pad_id=0, decoder=True, padding_side="left")
    tokenizer.add_tokens(["yes", "no"])
    ends = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 3, "tie_word_embeddings": True}
    shared = {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": POSITIONS}
    return Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **ends, **shared, **SIZES)), tokenizer


@pytest.fixture(params=[classifier, decoder], ids=["bge-reranker", "Qwen3-Reranker"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A tiny random reranker."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, tokenizer = request.param()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(tmp_path / "reranker")
    tokenizer.save_pretrained(tmp_path / "reranker")
    return tmp_path / "reranker"


def request_of(tmp_path: Path, folder: Path, *overrides: str) -> list[str]:
    places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}", "gpu=cpu", "data=sample", "max_len=48"]
    words = [f"model={folder}", "model.kind=reranker", "tasks=[T2Reranking]", *places, *overrides]
    return list({word.partition("=")[0]: word for word in words}.values())


def run(tmp_path: Path, folder: Path, *overrides: str) -> Outcome:
    return run_here(request_of(tmp_path, folder, *overrides))


def test_its_scores_are_those_that_c_mteb_computes_of_the_cross_encoder(tmp_path: Path, folder: Path) -> None:
    from C_MTEB.tasks.Reranking import ChineseRerankingEvaluator

    (plan,) = make_plan(request_of(tmp_path, folder)).runs
    outcome = run(tmp_path, folder)
    assert (outcome.failed, plan.obstacles) == ({}, ())
    done = outcome.cost.encoding
    assert (plan.cost.forwards, plan.cost.tokens, plan.cost.flops) == (done.forwards, done.tokens, done.flops)
    record = read_run(outcome.folder, BENCHMARK).records["T2Reranking"]
    task = BENCHMARK.task("T2Reranking")
    samples = load_task(task, DataSpec(source="sample", verify="label")).data.samples
    loaded = RERANKER.load(ModelSpec(name="r", path=str(folder)), dtype="fp32", device=torch.device("cpu"))
    setting = EncodingSpec(ladder="padded", batch_tokens=resolve_here(request_of(tmp_path, folder), "cpu")[0].gpu.encoding.batch_tokens)
    encoder = RERANKER.encoder(loaded, max_len=48, encoding=setting, device=torch.device("cpu"), store=None)
    theirs = CrossEncoder(str(folder), device="cpu", max_length=48)

    class Scores:
        def compute_score(self, pairs: list[list[str]]) -> list[float]:
            found = encoder.encode_counted([pair_text(*pair) for pair in pairs]).vectors[:, 0]
            plain = theirs.predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
            assert torch.allclose(found, torch.tensor(plain), atol=1e-5)
            return found.tolist()  # not `plain`: pairs of equal tokens tie, and rounding would break the ties

    rows = [{"query": one.query, "positive": one.positive, "negative": one.negative} for one in samples]
    expected = ChineseRerankingEvaluator(rows).compute_metrics_batched(Scores())
    assert record.metrics["map"] == pytest.approx(expected["map"], abs=1e-6)
    assert record.metrics["mrr"] == pytest.approx(expected["mrr"], abs=1e-6)
    assert run(tmp_path, folder).reused == ("T2Reranking",)
    again = run(tmp_path, folder, "overwrite=true")
    assert (again.cost.encoding.forwards, again.cost.encoding.found) == (0, again.cost.encoding.distinct)


@pytest.mark.parametrize("words", [(), ("canary=off",)])
def test_scores_of_other_code_are_not_taken_from_the_store(words: tuple[str, ...], tmp_path: Path, folder: Path) -> None:
    run(tmp_path, folder, *words)
    (proof,) = (tmp_path / "store").rglob("*.proof")
    shard, keys = open_shard(proof, dim=1, dtype="fp32")
    other = torch.flip(shard.vectors(), dims=[0])
    proof.unlink()
    with pytest.raises(InputError, match="none of the canary's to prove them by"):
        run(tmp_path, folder, "overwrite=true", *words)
    write_shard(proof.parent, keys, other, "fp32", suffix=".proof")
    with pytest.raises(InputError, match=r"\d+ of 128 texts of the canary have other vectors there than here"):
        run(tmp_path, folder, "overwrite=true", *words)


@pytest.fixture
def prompted(tmp_path: Path, folder: Path) -> Path:
    """The reranker with a default prompt."""
    CrossEncoder(str(folder), device="cpu").save_pretrained(str(tmp_path / "prompted"))
    path = tmp_path / "prompted" / "config_sentence_transformers.json"
    values = {"prompts": {"rank": "天地人: ", "other": "大小"}, "default_prompt_name": "rank"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}), encoding="utf-8")
    return tmp_path / "prompted"


def test_a_default_prompt_is_used_where_it_is_asked_for_and_nowhere_else(tmp_path: Path, prompted: Path) -> None:
    theirs = CrossEncoder(str(prompted), device="cpu", max_length=48)
    loaded = RERANKER.load(ModelSpec(name="r", path=str(prompted)), dtype="fp32", device=torch.device("cpu"))
    setting = EncodingSpec(ladder="padded", batch_tokens=512)
    encoder = RERANKER.encoder(loaded, max_len=48, encoding=setting, device=torch.device("cpu"), store=None)
    pairs = [("今明昨日", "你我"), ("日月", "山水火木金土")]
    own = RERANKER.own_settings(ModelSpec(name="r", path=str(prompted))).table.of(BENCHMARK.task("T2Reranking"))
    for before, prompt in (("", ""), (own.query, None)):  # None: the folder's default
        found = encoder.encode_counted([pair_text(before + query, f"{own.passage}{text}") for query, text in pairs]).vectors[:, 0]
        plain = theirs.predict(pairs, prompt=prompt, activation_fn=torch.nn.Identity(), convert_to_tensor=True, show_progress_bar=False)
        assert torch.allclose(found, plain, atol=1e-5)
    with pytest.raises(RequestError, match=r"default prompt '天地人: '.*prompts=model.*prompts=none"):
        run(tmp_path, prompted)
    (plan,) = make_plan(request_of(tmp_path, prompted)).runs
    assert any("default prompt" in text for text in plan.obstacles)
    for words, used in (("prompts=none", {}), ("prompts=model", {"query": "天地人: "})):
        done = read_run(run(tmp_path, prompted, words).folder, BENCHMARK)
        assert done.records["T2Reranking"].made.prompts == used
        assert done.manifest.own_settings["prompts"] == {"rank": "天地人: ", "other": "大小"}
        assert done.manifest.own_settings["default_prompt"] == "rank"


def test_a_prompt_that_would_be_a_message_is_refused(tmp_path: Path, prompted: Path) -> None:
    (prompted / "chat_template.jinja").write_text("{{ messages }}")
    (plan,) = make_plan(request_of(tmp_path, prompted, "prompts=model")).runs
    assert any("its prompt is a message of its own" in text for text in plan.obstacles)
    with pytest.raises(RequestError, match="its prompt is a message of its own"):
        run(tmp_path, prompted, "prompts=model")


def test_a_template_around_pairs_counts_where_they_are_cut(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, tokenizer = decoder()
    model.save_pretrained(tmp_path / "chat")
    tokenizer.chat_template = "{% for one in messages %}{{ one.role }}: {{ one.content }}{% endfor %}。"
    tokenizer.save_pretrained(tmp_path / "chat")
    CrossEncoder(str(tmp_path / "chat"), device="cpu").save_pretrained(str(tmp_path / "saved"))
    theirs = CrossEncoder(str(tmp_path / "saved"), device="cpu")
    loaded = RERANKER.load(ModelSpec(name="r", path=str(tmp_path / "saved")), dtype="fp32", device=torch.device("cpu"))
    setting, store = EncodingSpec(ladder="padded", batch_tokens=512), VectorStore(tmp_path / "store")
    pairs = [("今明昨日", "天地人" * length) for length in range(1, 12)]
    for max_len in (30, 45):
        encoder = RERANKER.encoder(loaded, max_len=max_len, encoding=setting, device=torch.device("cpu"), store=store)
        found = encoder.encode_counted([pair_text(*pair) for pair in pairs])
        theirs.max_seq_length = max_len
        plain = theirs.predict(pairs, activation_fn=torch.nn.Identity(), convert_to_tensor=True, show_progress_bar=False)
        assert torch.allclose(found.vectors[:, 0], plain, atol=1e-5)
        assert found.cut.any()
        assert not found.cut.all()


def test_tasks_without_pairs_are_refused_before_anything_runs(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(RequestError, match=r"gives no vectors for STS: add tasks=\[Reranking\]"):
        run(tmp_path, folder, "tasks=[STSB,T2Reranking]")
    with pytest.raises(RequestError, match=r"gives no vectors for STS: add tasks=\[Reranking\]"):
        make_plan(request_of(tmp_path, folder, "tasks=[STSB,T2Reranking]"))


def test_a_head_in_fp32_parts_what_half_precision_would_tie(tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, tokenizer = classifier()
    model.save_pretrained(tmp_path / "parts")
    tokenizer.save_pretrained(tmp_path / "parts")
    made = CrossEncoder(str(tmp_path / "parts"), device="cpu", keep_in_fp32_modules=["0.model.classifier.out_proj"])
    made.save_pretrained(str(tmp_path / "saved"))
    theirs = CrossEncoder(str(tmp_path / "saved"), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    loaded, cpu = (
        RERANKER.load(ModelSpec(name="r", path=str(tmp_path / "saved")), dtype="bf16", device=torch.device("cpu")),
        torch.device("cpu"),
    )
    encoder = RERANKER.encoder(loaded, max_len=48, encoding=EncodingSpec(ladder="padded", batch_tokens=512), device=cpu, store=None)
    pairs = [("今明昨日", f"天地{one}{other}") for one in HAN for other in HAN[:4]]
    found = encoder.encode_counted([pair_text(*pair) for pair in pairs]).vectors[:, 0]
    expected = theirs.predict(pairs, activation_fn=torch.nn.Identity(), convert_to_tensor=True, show_progress_bar=False)
    assert torch.allclose(found, expected, atol=1e-4)
    assert len(set(found.tolist())) > 0.9 * len(pairs) > len(set(found.bfloat16().tolist()))
    request = request_of(tmp_path, tmp_path / "saved", "dtype=bf16")
    assert run_here(request).failed == {}
    assert make_plan([*request, "overwrite=true"]).runs[0].left.texts == 0


@pytest.mark.parametrize(("dtype", "kept"), [("fp16", "6,144 of "), ("bf16", "")])
def test_what_transformers_keeps_in_fp32_stays_there_and_is_stated(tmp_path: Path, dtype: Dtype, kept: str) -> None:
    """T5's last products, where fp16 is asked for: as of `model.kind=reference` (test_as_is)."""
    from transformers import T5Config, T5ForSequenceClassification

    tokenizer = _tokenizer(pad_id=1)
    end = [("[SEP]", tokenizer.sep_token_id)]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A [SEP]", pair="$A $B [SEP]", special_tokens=end)
    ends = {"pad_token_id": 1, "eos_token_id": tokenizer.sep_token_id, "decoder_start_token_id": 1, "num_labels": 1}
    config = T5Config(vocab_size=len(tokenizer), d_model=HIDDEN, d_kv=8, d_ff=48, num_layers=2, num_heads=4, **ends)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        T5ForSequenceClassification(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    chain = CrossEncoder(str(tmp_path / "t5"), device="cpu", max_length=48, model_kwargs={"dtype": TORCH_DTYPE[dtype]})
    loaded = RERANKER.load(ModelSpec(name="r", path=str(tmp_path / "t5")), dtype=dtype, device=torch.device("cpu"))
    assert [one.dtype for one in loaded.model.parameters()] == [one.dtype for one in chain.parameters()]
    setting = EncodingSpec(ladder="padded", batch_tokens=512)
    encoder = RERANKER.encoder(loaded, max_len=48, encoding=setting, device=torch.device("cpu"), store=None)
    found = encoder.encode_counted([pair_text("今明", "天地")]).vectors[0, 0]
    assert found == chain.predict([("今明", "天地")], activation_fn=torch.nn.Identity(), convert_to_tensor=True, show_progress_bar=False)[0]
    stated = (*encoder.fingerprint.modules, *RERANKER.check(encoder).notes)
    assert sum(kept in words for words in stated if "numbers are in float32" in words) == 2 * bool(kept)
