"""Faults for `power.py`: errors that occur between texts and scores. Each is planted from outside, into a copy or during a run.

`harness` has no code for them: a fault replaces a function while it is planted, or alters a copy of the model's folder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import normalizers, processors
from torch import nn
from torch.nn import functional

from harness.core.prompts import PromptTable, TaskPrompts
from harness.core.spec import ModelSpec
from harness.core.tasks import TaskSpec
from harness.data.types import LoadedTask, RetrievalData
from harness.evaluate import evaluation
from harness.evaluate.encode.canonical import encoding
from harness.evaluate.encode.model import loading
from harness.evaluate.encode.model.loading import LoadedModel
from harness.evaluate.encode.model.locate import find_model
from harness.evaluate.encode.model.tokens import TextTokenizer
from harness.evaluate.score import adapter, reference, search, tasks
from harness.evaluate.score.seeding import seed_generators

Overrides = list[str]
Plant = Callable[[ModelSpec, Path], AbstractContextManager[Overrides]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault. `plant(model, scratch)` is a context in which it is active; it gives further overrides of the run.

    `where`: in the harness's own code, in the model's files, or in the packages. `silent`: the reason, if no score moves.
    """

    name: str
    where: Literal["code", "files", "packages"]
    plant: Plant
    silent: str = ""


def _code(*patches: Callable[[], AbstractContextManager[Any]]) -> Plant:
    @contextlib.contextmanager
    def plant(_model: ModelSpec, _scratch: Path) -> Iterator[Overrides]:
        with ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch())
            yield []

    return plant


def _patched(owner: object, name: str, value: object) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: mock.patch.object(owner, name, value)


def _loaded(change: Callable[[LoadedModel], LoadedModel | None]) -> Plant:
    """A model that is changed after all checks of its loading, in memory."""
    load = loading.load_model

    def changed(*arguments: Any, **keywords: Any) -> LoadedModel:
        model = load(*arguments, **keywords)
        return change(model) or model

    return _code(_patched(loading, "load_model", changed))


def _files(change: Callable[[Path], None]) -> Plant:
    """A changed copy of the model's folder, and the override that makes the run use it."""

    @contextlib.contextmanager
    def plant(model: ModelSpec, scratch: Path) -> Iterator[Overrides]:
        copy = scratch / "model"
        shutil.copytree(find_model(model).folder, copy)
        change(copy)
        yield [f"model.path={copy}"]

    return plant


def _edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | changes), encoding="utf-8")


# The model in memory


def _first_token_only(model: LoadedModel) -> None:
    model.tail[0].pooling_mode = ("cls",)  # type: ignore[assignment]


class _PoolingWithout(nn.Module):
    """A pooling module that never sees the first token of a text, or the last one."""

    def __init__(self, pooling: nn.Module, *, first: bool) -> None:
        super().__init__()
        self.pooling, self.first = pooling, first

    def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        states = features["token_embeddings"]
        mask = features.get("attention_mask", torch.ones(states.shape[:2], dtype=torch.int64)).clone()
        mask[torch.arange(len(mask)), 0 if self.first else mask.sum(dim=1) - 1] = 0
        made: dict[str, torch.Tensor] = self.pooling(features | {"attention_mask": mask})
        return made


def _without_token(*, first: bool) -> Plant:
    return _loaded(lambda model: replace(model, tail=(_PoolingWithout(model.tail[0], first=first), *model.tail[1:])))


def _one_layer_less(model: LoadedModel) -> None:
    layers = model.transformer.encoder.layer  # type: ignore[union-attr]
    model.transformer.encoder.layer = layers[:-1]  # type: ignore[union-attr, index]


def _other_epsilon(model: LoadedModel) -> None:
    for module in model.transformer.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5


def _without_dense(model: LoadedModel) -> LoadedModel:
    return replace(model, tail=model.tail[:1], embedding_dim=model.transformer.config.hidden_size)  # type: ignore[union-attr]


DAMAGED = "encoder.layer.1.output.LayerNorm.weight"


def _one_bit(tensor: torch.Tensor) -> None:
    """The first number loses the lowest bit of its exponent: 1 becomes 0.5."""
    tensor.view(-1)[0] *= 0.5


def _damaged_memory(model: LoadedModel) -> None:
    _one_bit(model.transformer.get_parameter(DAMAGED))


def _damaged_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    _one_bit(tensors[DAMAGED])
    save_file(tensors, path, metadata={"format": "pt"})


def _half_vectors(model: LoadedModel, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return _FORWARD(model, ids, mask).half().float()


_FORWARD = LoadedModel.forward


def _half_weights(*arguments: Any) -> Any:
    return _LOAD_CHAIN(*arguments).half()


_LOAD_CHAIN = loading.load_chain


# The chain, after it was read and before it is checked


def _chain(change: Callable[[Any], None]) -> Plant:
    """A module chain that is changed while it is loaded, so that every pass of the run has the fault."""

    def changed(*arguments: Any) -> Any:
        chain = _LOAD_CHAIN(*arguments)
        with torch.no_grad():
            change(chain)
        return chain

    return _code(_patched(loading, "load_chain", changed))


def _weights(change: Callable[[torch.Tensor], torch.Tensor]) -> Plant:
    """Matrices that are changed; vectors (biases, LayerNorm) stay."""

    def every(chain: Any) -> None:
        for parameter in chain.parameters():
            if parameter.dim() > 1:
                parameter.copy_(change(parameter))

    return _chain(every)


def _int8(weights: torch.Tensor) -> torch.Tensor:
    step = weights.abs().max() / 127
    return (weights / step).round() * step


def _noisy(weights: torch.Tensor) -> torch.Tensor:
    noise = torch.randn(weights.shape, generator=torch.Generator().manual_seed(weights.numel()))
    return weights * (1 + 1e-2 * noise).to(weights.dtype)


def _activation(function: nn.Module) -> Plant:
    def replaced(chain: Any) -> None:
        for module in chain.modules():
            if hasattr(module, "intermediate_act_fn"):
                module.intermediate_act_fn = function

    return _chain(replaced)


def _next_positions(chain: Any) -> None:
    table = chain[0].model.embeddings.position_embeddings.weight
    table.copy_(table.roll(-1, dims=0))


def _other_segment(chain: Any) -> None:
    table = chain[0].model.embeddings.token_type_embeddings.weight
    table.copy_(table.flip(0))


def _plain_layer_norm(chain: Any) -> None:
    for module in chain.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.fill_(1)


def _unshifted_layer_norm(chain: Any) -> None:
    for module in chain.modules():
        if isinstance(module, nn.LayerNorm):
            module.bias.fill_(0)


def _without_mask(model: LoadedModel, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Attention sees the padding; pooling does not."""
    features = {"token_embeddings": model.token_embeddings(ids, None)}
    if mask is not None:
        features["attention_mask"] = mask.to(torch.int64)
    for module in model.tail:
        features = module(features)
    return features["sentence_embedding"]


# Tokens


class _CutFromTheLeft(TextTokenizer):
    def __init__(self, tokenizer: Any, max_len: int, **others: Any) -> None:
        super().__init__(tokenizer, max_len, **others)
        self._backend.enable_truncation(max_len, direction="left")


class _OneTokenShort(TextTokenizer):
    def __init__(self, tokenizer: Any, max_len: int, **others: Any) -> None:
        super().__init__(tokenizer, max_len - 1, **others)
        self.max_len = max_len


class _WithoutSpecials(TextTokenizer):
    def __init__(self, tokenizer: Any, max_len: int, **others: Any) -> None:
        super().__init__(tokenizer, max_len, **others)
        start = ("[CLS]", tokenizer.convert_tokens_to_ids("[CLS]"))  # a text of no token at all could not be encoded
        self._backend.post_processor = processors.TemplateProcessing(single="[CLS] $A", special_tokens=[start])


class _Cased(TextTokenizer):
    def __init__(self, tokenizer: Any, max_len: int, **others: Any) -> None:
        super().__init__(tokenizer, max_len, **others)
        self._backend.normalizer = normalizers.BertNormalizer(lowercase=False)


class _Accented(TextTokenizer):
    def __init__(self, tokenizer: Any, max_len: int, **others: Any) -> None:
        super().__init__(tokenizer, max_len, **others)
        self._backend.normalizer = normalizers.BertNormalizer(strip_accents=False)


# Vectors and scores


def _sliced_last(model: Any, texts: list[str]) -> torch.Tensor:
    return functional.normalize(model.raw(texts), dim=1)[:, : model._dim].float()


def _drawn_from(seed: int = 42) -> None:
    """The generators after other code has drawn a number."""
    seed_generators(seed)
    np.random.random()  # noqa: NPY002


def _swapped(task: TaskSpec, data: Any) -> LoadedTask:
    """The ids of a judged passage and of the next one that is not, exchanged."""
    loaded = _LOAD_TASK(task, data)
    if not isinstance(loaded.data, RetrievalData):
        return loaded
    judged = {passage for grades in loaded.data.qrels.values() for passage, grade in grades.items() if grade > 0}
    corpus = dict(loaded.data.corpus)
    one = next(key for key in corpus if key in judged)
    other = next(key for key in corpus if key not in judged)
    corpus[one], corpus[other] = corpus[other], corpus[one]
    return replace(loaded, data=replace(loaded.data, corpus=corpus))


def _renamed(task: TaskSpec, data: Any) -> LoadedTask:
    """Passages under ids of the opposite order, by which equal similarities are ranked: ascending ids instead of trec_eval's descending."""
    loaded = _LOAD_TASK(task, data)
    if not isinstance(loaded.data, RetrievalData):
        return loaded
    old = loaded.data
    name = {key: f"{number:06d}" for number, key in enumerate(sorted(old.corpus, reverse=True))}
    renamed = RetrievalData(
        {name[key]: text for key, text in old.corpus.items()},
        {name.get(key, key): text for key, text in old.queries.items()},
        {name.get(key, key): {name[passage]: grade for passage, grade in grades.items()} for key, grades in old.qrels.items()},
        {name[key]: title for key, title in old.titles.items()},
    )
    return replace(loaded, data=renamed)


_LOAD_TASK = evaluation.load_task


def _clustering(**other: Any) -> Plant:
    """k-means with other settings than mteb's."""
    import sklearn.cluster

    own = sklearn.cluster.MiniBatchKMeans
    return _code(_patched(sklearn.cluster, "MiniBatchKMeans", lambda **settings: own(**settings | other)))


def _early_end() -> AbstractContextManager[Any]:
    """The classifier of mteb ends after ten of its 100 iterations."""
    reference.load_reference()
    from mteb.evaluation.evaluators import logRegClassificationEvaluator

    module = __import__("sys").modules[logRegClassificationEvaluator.__module__]
    own = module.LogisticRegression
    return mock.patch.object(module, "LogisticRegression", lambda **settings: own(**settings | {"max_iter": 10}))


def _first_passages(ids: Sequence[str], *arguments: Any, **keywords: Any) -> Any:
    return _RANK_JUDGED(ids[:2000], *arguments, **keywords)


_RANK_JUDGED = search.rank_judged


class _Mixed:
    """A model whose queries beyond 256 have the vectors of the first ones."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def encode_queries(self, queries: Any) -> Any:
        vectors = self.model.encode_queries(queries)
        vectors[256:] = vectors[: max(len(vectors) - 256, 0)]
        return vectors


def _mixed_queries(ids: Any, corpus: Any, queries: Any, qrels: Any, model: Any, **keywords: Any) -> Any:
    return _RANK_JUDGED(ids, corpus, queries, qrels, _Mixed(model), **keywords)


def _dot_products() -> AbstractContextManager[Any]:
    reference.load_reference()  # its evaluators are imported once, on demand
    from mteb.evaluation.evaluators import STSEvaluator

    stack = ExitStack()
    stack.enter_context(mock.patch.object(search, "_normalised", torch.as_tensor))
    module = __import__("sys").modules[STSEvaluator.__module__]
    stack.enter_context(mock.patch.object(module, "paired_cosine_distances", lambda one, other: 1 - (one * other).sum(axis=1)))
    return stack


@contextlib.contextmanager
def _stale_store(model: ModelSpec, scratch: Path) -> Iterator[Overrides]:
    """A store whose names do not contain the revision, filled by another revision of the weights. `power.py` runs it with `FILL` first."""
    other = scratch / "other"
    shutil.copytree(find_model(model).folder, other)
    path = other / "model.safetensors"
    tensors = load_file(path)
    save_file(
        {name: 1.1 * tensor if name.endswith("output.dense.weight") else tensor for name, tensor in tensors.items()},
        path,
        metadata={"format": "pt"},
    )
    take = LoadedModel.fingerprint

    def blind(*arguments: Any, **keywords: Any) -> Any:
        return replace(take(*arguments, **keywords), digest="0" * 64)

    with mock.patch.object(LoadedModel, "fingerprint", blind):
        yield [f"store={scratch / 'store'}", f"{FILL}{other}"]


FILL = "fill:"
"""Before an override that is none: the model folder that fills the store before the run."""

_NO_NORM = SimpleNamespace(normalize=lambda vectors, **_: vectors)
_UNIT = "vectors have length 1 by then, so a dot product is the cosine"

FAULTS: tuple[Fault, ...] = (
    Fault(name="wrong pooling (first token)", where="code", plant=_loaded(_first_token_only)),
    Fault(
        name="wrong pooling (first token)",
        where="files",
        plant=_files(
            lambda folder: _edit_json(folder / "1_Pooling" / "config.json", pooling_mode_cls_token=True, pooling_mode_mean_tokens=False)
        ),
    ),
    Fault(name="pooling without the last token", where="code", plant=_without_token(first=False)),
    Fault(name="pooling without the first token", where="code", plant=_without_token(first=True)),
    Fault(name="no normalisation", where="code", plant=_code(_patched(adapter, "functional", _NO_NORM))),
    Fault(name="slice after normalisation", where="code", plant=_code(_patched(adapter.EmbeddingModel, "vectors", _sliced_last))),
    Fault(name="truncation at max_len - 1", where="code", plant=_code(_patched(encoding, "TextTokenizer", _OneTokenShort))),
    Fault(name="[SEP] missing", where="code", plant=_code(_patched(encoding, "TextTokenizer", _WithoutSpecials))),
    Fault(
        name="query instruction missing",
        where="code",
        plant=_code(_patched(PromptTable, "of", lambda _table, _task: TaskPrompts())),
    ),
    Fault(
        name="title dropped",
        where="code",
        plant=_code(*(_patched(room, "passage_text", lambda passage: passage["text"].strip()) for room in (adapter, tasks))),
    ),
    Fault(name="weights silently fp16", where="code", plant=_code(_patched(loading, "load_chain", _half_weights))),
    Fault(name="weights rounded to fp16", where="code", plant=_weights(lambda weights: weights.half().to(weights.dtype))),
    Fault(name="weights rounded to int8", where="code", plant=_weights(_int8)),
    Fault(name="weights x (1 + 1e-2 N)", where="code", plant=_weights(_noisy)),
    Fault(name="gelu -> relu", where="code", plant=_activation(nn.ReLU())),
    Fault(name="gelu by tanh", where="code", plant=_activation(nn.GELU(approximate="tanh"))),
    Fault(name="positions + 1", where="code", plant=_chain(_next_positions)),
    Fault(name="segment ids 1 for 0", where="code", plant=_chain(_other_segment)),
    Fault(name="LayerNorm weights ignored", where="code", plant=_chain(_plain_layer_norm)),
    Fault(name="LayerNorm biases ignored", where="code", plant=_chain(_unshifted_layer_norm)),
    Fault(name="attention mask ignored", where="code", plant=_code(_patched(LoadedModel, "forward", _without_mask))),
    Fault(name="truncation from the left", where="code", plant=_code(_patched(encoding, "TextTokenizer", _CutFromTheLeft))),
    Fault(name="vectors silently fp16", where="code", plant=_code(_patched(LoadedModel, "forward", _half_vectors))),
    Fault(name="LayerNorm epsilon 1e-5 for 1e-12", where="code", plant=_loaded(_other_epsilon)),
    Fault(
        name="LayerNorm epsilon 1e-5 for 1e-12",
        where="files",
        plant=_files(lambda folder: _edit_json(folder / "config.json", layer_norm_eps=1e-5)),
    ),
    Fault(name="Dense dropped", where="code", plant=_loaded(_without_dense)),
    Fault(
        name="Dense dropped",
        where="files",
        plant=_files(
            lambda folder: (folder / "modules.json").write_text(
                json.dumps(json.loads((folder / "modules.json").read_text(encoding="utf-8"))[:2]), encoding="utf-8"
            )
        ),
    ),
    Fault(name="one layer dropped", where="code", plant=_loaded(_one_layer_less)),
    Fault(
        name="one layer dropped",
        where="files",
        plant=_files(lambda folder: _edit_json(folder / "config.json", num_hidden_layers=1)),
    ),
    Fault(name="tokenizer keeps capitals", where="code", plant=_code(_patched(encoding, "TextTokenizer", _Cased))),
    Fault(name="tokenizer keeps accents", where="code", plant=_code(_patched(encoding, "TextTokenizer", _Accented))),
    Fault(name="two corpus ids swapped", where="code", plant=_code(_patched(evaluation, "load_task", _swapped))),
    Fault(name="dot product instead of cosine", where="code", plant=_code(_dot_products), silent=_UNIT),
    Fault(name="ties in the other order", where="code", plant=_code(_patched(evaluation, "load_task", _renamed))),
    Fault(name="k-means with ten starts", where="code", plant=_clustering(n_init=10)),
    Fault(name="k-means in batches of 1,024", where="code", plant=_clustering(batch_size=1024)),
    Fault(name="logistic regression with ten iterations", where="code", plant=_code(_early_end)),
    Fault(name="passages beyond 2,000 lost", where="code", plant=_code(_patched(search, "rank_judged", _first_passages))),
    Fault(name="blocks of 256 queries mixed", where="code", plant=_code(_patched(search, "rank_judged", _mixed_queries))),
    Fault(name="a seed not reset", where="code", plant=_code(_patched(tasks, "seed_generators", _drawn_from))),
    Fault(name="one bit of one weight", where="code", plant=_loaded(_damaged_memory)),
    Fault(name="one bit of one weight", where="files", plant=_files(_damaged_file)),
    Fault(name="stale vectors of another revision", where="code", plant=_stale_store),
)
