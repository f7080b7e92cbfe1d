"""What the files beside the weights say: each field that sentence-transformers reads changes vectors here as there, or is refused; and what
moves a vector gives it another name."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from records import run_here
from sentence_transformers import SentenceTransformer
from tiny_models import build_model

from harness.core.benchmarks import load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.run_files import read_run
from harness.core.spec import EncodingSpec, ModelSpec
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.encode.model.locate import find_model
from harness.evaluate.encode.model.own import read_own_settings
from harness.evaluate.plan.planning import make_plan

CPU = torch.device("cpu")
EXACT = EncodingSpec(ladder="exact", batch_tokens=512)
TEXTS = ["今天天气", "中文句子 ABC abc", "你好 [SEP] 模型", "上下左右" * 8, "A b À é"]
FIRST, WHOLE, POOLING = "sentence_bert_config.json", "config_sentence_transformers.json", "1_Pooling/config.json"
PLAIN, POOLED = ({"text": {"method": "forward", "method_output_name": name}} for name in ("last_hidden_state", "pooler_output"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_model(tmp_path_factory.mktemp("plain"))


def edited(plain: Path, folder: Path, file: str, **values: Any) -> Path:
    shutil.copytree(plain, folder)
    kept = json.loads((folder / file).read_text()) if (folder / file).is_file() else {}
    (folder / file).write_text(json.dumps(kept | values))
    return folder


def theirs(folder: Path) -> torch.Tensor:
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32})
    model.max_seq_length, model.truncate_dim, model.default_prompt_name = 48, None, None
    found: torch.Tensor = model.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
    return found


def ours(folder: Path, kind: str) -> tuple[torch.Tensor, Any]:
    """The vectors and their names."""
    made, spec = ENCODERS.get(kind), ModelSpec(name="m", path=str(folder), kind=kind)
    encoder = made.encoder(made.load(spec, dtype="fp32", device=CPU), max_len=48, encoding=EXACT, device=CPU, store=None)
    outline = made.outline(spec)
    digest = outline.digest(dtype="fp32", encoding=EXACT, device=CPU)
    assert digest == encoder.fingerprint.digest
    return encoder.encode_counted(TEXTS).vectors, outline.count(TEXTS, max_len=48, encoding=EXACT, digest=digest).names.tolist()


MOVING = {
    "config_args": {"config_args": {"hidden_act": "relu"}},
    "config_kwargs": {"config_kwargs": {"num_hidden_layers": 1}},
    "split_special_tokens": {"tokenizer_args": {"split_special_tokens": True}},
}
KEPT = {
    "model_args.dtype": {"model_args": {"dtype": "float16"}},  # the run's dtype counts
    "model_kwargs.attention": {"model_kwargs": {"attn_implementation": "eager"}},
    "processor_kwargs.model_max_length": {"processor_kwargs": {"model_max_length": 8}},  # max_len counts
    "max_seq_length": {"max_seq_length": 4},
    "do_lower_case": {"do_lower_case": True},  # as the tokenizer does anyway
    "unpad_inputs": {"unpad_inputs": True},  # for flash attention alone
    "trust_remote_code": {"model_args": {"trust_remote_code": True}},
}


@pytest.mark.parametrize("kind", ["canonical", "reference"])
@pytest.mark.parametrize("field", [*MOVING, *KEPT])
def test_a_field_of_the_first_module_moves_vectors_here_as_there_and_renames_what_it_moves(
    field: str, kind: str, plain: Path, tmp_path: Path
) -> None:
    folder = edited(plain, tmp_path / "m", FIRST, **(MOVING | KEPT)[field])
    (vectors, names), (before, names_before) = ours(folder, kind), ours(plain, kind)
    assert float((vectors - theirs(folder)).abs().max()) < 1e-5
    moved = (vectors - before).abs().amax(dim=1) > 1e-3
    assert bool(moved.any()) == (field in MOVING)
    assert all(name != other for name, other, one in zip(names, names_before, moved.tolist(), strict=True) if one)
    if kind == "canonical" and field in ("max_seq_length", "trust_remote_code", "unpad_inputs"):
        assert names == names_before  # stored vectors are found again


REFUSED = {
    "processing_kwargs": ({"processing_kwargs": {"text": {"add_special_tokens": False}}}, "changes how texts are processed", None),
    "max_length": (
        {"processing_kwargs": {"text": {"max_length": 8}}},
        "changes how texts are processed",
        "whatever max_len is. Take max_length",
    ),
    "modality_config": ({"modality_config": POOLED}, "changes how texts are processed", "does not run in .*shape"),
    "transformer_task": ({"transformer_task": "fill-mask", "modality_config": PLAIN}, '"fill-mask"', "does not run in .*last_hidden_state"),
    "unknown": ({"unheard_of": 1}, "unexpected keyword argument", "unexpected keyword argument"),
}


@pytest.mark.parametrize("field", REFUSED)
def test_a_field_that_a_kind_does_not_follow_is_refused_with_the_reason(field: str, plain: Path, tmp_path: Path) -> None:
    values, canonical, reference = REFUSED[field]
    folder = edited(plain, tmp_path / "m", FIRST, **values)
    with pytest.raises((RequestError, InputError), match=canonical):
        ours(folder, "canonical")
    if reference is None:
        assert float((ours(folder, "reference")[0] - theirs(folder)).abs().max()) < 1e-5
        return
    with pytest.raises((RequestError, InputError), match=reference):
        ours(folder, "reference")


@pytest.mark.parametrize(
    ("file", "values", "moves"),
    [
        ("config.json", {"hidden_act": "relu"}, True),
        (POOLING, {"pooling_mode": "cls"}, True),
        (WHOLE, {"truncate_dim": 8, "similarity_fn_name": "dot", "prompts": {"q": "查"}, "default_prompt_name": "q"}, False),
    ],
)
def test_the_other_files_too(file: str, values: dict[str, Any], moves: bool, plain: Path, tmp_path: Path) -> None:
    folder = edited(plain, tmp_path / "m", file, **values)
    (vectors, names), (before, names_before) = ours(folder, "canonical"), ours(plain, "canonical")
    assert float((vectors - theirs(folder)).abs().max()) < 1e-5
    assert (names != names_before) == moves == (not vectors.equal(before))


def test_the_first_settings_file_counts_as_in_sentence_transformers(plain: Path, tmp_path: Path) -> None:
    folder = edited(plain, tmp_path / "m", "sentence_albert_config.json", max_seq_length=9, config_args={"hidden_act": "relu"})
    length = json.loads((folder / FIRST).read_text()).get("max_seq_length")
    spec = ModelSpec(name="m", path=str(folder))
    assert read_own_settings(find_model(spec)).max_seq_length == length
    assert ours(folder, "canonical")[0].equal(ours(plain, "canonical")[0])
    (folder / FIRST).write_text("{}")  # then the next one is read
    assert read_own_settings(find_model(spec)).max_seq_length == 9
    assert float((ours(folder, "canonical")[0] - theirs(folder)).abs().max()) < 1e-5
    assert ours(folder, "canonical")[1] != ours(plain, "canonical")[1]


@pytest.mark.parametrize("type_id", [0, 1])
def test_a_text_of_another_segment_is_run_as_there_or_refused_with_the_reason(type_id: int, plain: Path, tmp_path: Path) -> None:
    template = json.loads((plain / "tokenizer.json").read_text())["post_processor"]
    for part in template["single"]:
        part.get("Sequence", {}).update(type_id=type_id)
    given = edited(plain, tmp_path / "given", "tokenizer_config.json", model_input_names=["input_ids", "token_type_ids", "attention_mask"])
    folder = edited(given, tmp_path / "m", "tokenizer.json", post_processor=template)
    assert float((ours(folder, "reference")[0] - theirs(folder)).abs().max()) < 1e-5
    assert theirs(folder).equal(theirs(plain)) == (type_id == 0)
    if type_id == 0:
        assert float((ours(folder, "canonical")[0] - theirs(folder)).abs().max()) < 1e-5
        return
    for make in (ENCODERS.get("canonical").outline, partial(ENCODERS.get("canonical").load, dtype="fp32", device=CPU)):
        with pytest.raises(RequestError, match=r"segment ids \[0, 1\] \(token_type_ids.*model\.kind=reference"):
            make(ModelSpec(name="m", path=str(folder)))


@pytest.mark.parametrize("kind", ["canonical", "reference"])
@pytest.mark.parametrize("model_type", ["SparseEncoder", "CrossEncoder", "MultiVectorEncoder", "ColBERT"])
def test_a_model_of_another_kind_is_not_pooled_by_its_tokens_mean(model_type: str, kind: str, tmp_path: Path) -> None:
    folder = edited(build_model(tmp_path, pooling="cls"), tmp_path / "m", WHOLE, model_type=model_type)
    assert [type(one).__name__ for one in SentenceTransformer(str(folder), device="cpu")] == ["Transformer", "Pooling"]
    assert float((theirs(folder) - theirs(tmp_path / "model")).abs().max()) > 0.1  # the mean, not what modules.json says
    for make in (ENCODERS.get(kind).outline, partial(ENCODERS.get(kind).load, dtype="fp32", device=CPU)):
        with pytest.raises(RequestError, match=rf"is a {model_type} \(model_type in .*model\.kind=reranker runs a CrossEncoder"):
            make(ModelSpec(name="m", path=str(folder), kind=kind))


OWN_MODEL = """
from transformers import BertConfig, BertModel

class Own(BertModel):
    def forward(self, *given, **named):
        made = super().forward(*given, **named)
        made.last_hidden_state = made.last_hidden_state ** 3
        return made
"""
OWN_MODULE = """
import torch

class Normalize(torch.nn.Module):
    def forward(self, features):
        return features | {"sentence_embedding": features["sentence_embedding"] ** 3}

    @classmethod
    def load(cls, *given, **named):
        return cls()
"""


def with_own_model(folder: Path) -> None:
    (folder / "own_model.py").write_text(OWN_MODEL)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "own_model.Own"}}))


def with_own_module(folder: Path) -> None:
    (folder / "own_module.py").write_text(OWN_MODULE)
    modules = [*json.loads((folder / "modules.json").read_text()), {"idx": 2, "name": "2", "path": "2_N", "type": "own_module.Normalize"}]
    (folder / "2_N").mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))


def test_code_of_a_folder_in_the_place_of_which_transformers_runs_is_told(plain: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(plain, tmp_path / "m")
    with_own_model(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": [None, "own_model.Fast"]}}))
    request = [
        f"model={folder}",
        "gpu=cpu",
        "data=sample",
        "tasks=[STSB]",
        "max_len=48",
        f"results_dir={tmp_path / 'results'}",
        "store=null",
    ]
    said = r"code of its own \(own_model.Own, own_model.Fast\), in the place of which transformers' runs: model.kind=reference model.trust"
    (plan,) = make_plan(request).runs
    found = read_run(run_here(request).folder, load_benchmark()).header.notes
    assert [len([note for note in notes if re.search(said, note)]) for notes in (plan.notes, found)] == [1, 1]


@pytest.mark.parametrize(("make", "named"), [(with_own_model, r"its code \(Own\)"), (with_own_module, r"own_module\.Normalize")])
def test_code_of_a_folder_runs_in_the_reference_kind_alone_whatever_it_calls_itself(
    make: Callable[[Path], None], named: str, plain: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(plain, tmp_path / "m")
    make(folder)
    spec = ModelSpec(name="m", path=str(folder), trust_remote_code=True)
    for look in (ENCODERS.get("canonical").outline, partial(ENCODERS.get("canonical").load, dtype="fp32", device=CPU)):
        with pytest.raises(RequestError, match=rf"can't be encoded as a pure function.*{named}.*model\.kind=reference runs it"):
            look(spec)
    reference = ENCODERS.get("reference")
    for look in (reference.outline, partial(reference.load, dtype="fp32", device=CPU)):
        with pytest.raises(RequestError, match=r"names code of its own: read it, then allow it with model\.trust_remote_code=true"):
            look(ModelSpec(name="m", path=str(folder), kind="reference"))
    weights = reference.load(replace(spec, kind="reference"), dtype="fp32", device=CPU)
    encoder = reference.encoder(weights, max_len=48, encoding=EXACT, device=CPU, store=None)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, trust_remote_code=True)
    expected = model.encode(TEXTS, convert_to_tensor=True, show_progress_bar=False)
    assert torch.allclose(encoder.encode_counted(TEXTS).vectors, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected, theirs(plain), atol=0.1)
