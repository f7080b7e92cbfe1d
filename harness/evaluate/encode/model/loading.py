"""Load a SentenceTransformer and prove that what was loaded is what the folder holds, in the dtype that was asked for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from harness.core.errors import InputError, MachineError, RequestError
from harness.core.spec import Dtype, ModelSpec
from harness.evaluate.encode.canonical.linear import linear_kernel, pack_linear_layers
from harness.evaluate.encode.canonical.packed import Packable, PackedEncoder, packable, position_padding
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.model.families import KNOWN, Masking, attention_mask, attention_of, masking_of
from harness.evaluate.encode.model.locate import LocatedModel, Weights, hash_file, hash_weights, read_json, stored_tensors, transformer_path
from harness.evaluate.encode.model.own import first_settings, refuse_roles
from harness.evaluate.encode.work import Architecture, architecture_of

TAIL = ("Pooling", "Dense", "Normalize")
_PLAIN = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
"""What sentence-transformers does with a text where a folder says nothing else."""
_LOADED_WITH = ("model_args", "model_kwargs", "config_args", "config_kwargs")
"""Keys of sentence_bert_config.json that reach transformers when it makes the model; those of tokenizers show in token ids."""
_OTHERWISE = "model.kind=reference runs it as sentence-transformers does"


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model ready to run: `transformer` gives token embeddings, the modules of `tail` make one vector of them.

    `masking`: how its attention is kept to the tokens of a text (`families`), by its `config`. `max_positions`: the most tokens a text may
    have, specials included. `modules`: the chain, in words. `module_files`: SHA-256 of every
    JSON file that says how the modules are put together. `parameters`: numbers in the parameters as loaded.
    """

    located: LocatedModel
    spec: ModelSpec
    dtype: Dtype
    config: Any
    masking: Masking
    transformer: nn.Module
    tail: tuple[nn.Module, ...]
    tokenizer: transformers.PreTrainedTokenizerBase
    weights: Weights
    module_files: Mapping[str, str]
    modules: tuple[str, ...]
    parameters: int
    max_positions: int
    embedding_dim: int
    architecture: Architecture
    packable: Packable

    def token_embeddings(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Hidden states [rows, length, hidden] of token ids [rows, length]; `mask` [rows, length] is True on real tokens (`families`)."""
        ready = attention_mask(self.config, self.masking, mask, TORCH_DTYPE[self.dtype])
        further = {"use_cache": False} if self.masking in ("causal", "gemma") else {}
        states: torch.Tensor = self.transformer(input_ids=ids, attention_mask=ready, **further).last_hidden_state
        return states

    @cached_property
    def packed(self) -> PackedEncoder:
        """The model for packs of texts; made when it is first needed. Its weights are this model's."""
        weight = next(self.transformer.parameters())
        return PackedEncoder(self.transformer, self.masking, self.tail, self.packable.kernels(weight.device, weight.dtype))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Vectors [rows, embedding_dim] of token ids [rows, length], as the module chain gives them."""
        features = {"token_embeddings": self.token_embeddings(ids, mask)}
        if mask is not None:
            features["attention_mask"] = mask.to(torch.int64)
        for module in self.tail:
            features = module(features)
        return features["sentence_embedding"]


def load_model(located: LocatedModel, spec: ModelSpec, *, dtype: Dtype, device: torch.device) -> LoadedModel:
    """The model of a folder in `dtype` on `device`; no network, no pickle and no foreign code unless the spec allows them.

    Raises:
        RequestError: the module chain can't be run as a pure function.
        InputError: weights are missing, damaged, not those that the spec pins, or leave a parameter unset.
        MachineError: a parameter has another dtype than the one asked for, or the device has not the memory.
    """
    refuse_roles(located)
    weights = hash_weights(located.folder, allow_pickle=spec.allow_pickle)
    check_pinned(spec, "weights_sha256", weights.digest)
    check_pinned(spec, "parameters", weights.stored_parameters)
    _refuse_type(located)
    chain = load_chain(located, spec, dtype)
    transformer, tail = _check_chain(chain, located)
    _check_weights(transformer.model, located.folder / transformer_path(located))
    _check_vocabulary(transformer, located.folder)
    check_end_token(transformer.tokenizer, spec)
    if getattr(transformer.model, "pooler", None) is not None:
        transformer.model.pooler = None  # BERT's own pooler is no part of the chain; many checkpoints leave it untrained
    transformer.config.return_dict = True  # some old folders say otherwise, and sentence-transformers does not ask them
    max_positions = max_positions_of(transformer.config)
    check_pinned(spec, "max_positions", max_positions)
    chain.requires_grad_(False).eval()
    _check_numbers(chain, dtype)
    try:
        chain.to(device)
    except torch.OutOfMemoryError as error:
        raise MachineError(
            f"{device} does not have enough memory for the weights of {spec.name} in {dtype}: free it, or use a smaller dtype"
        ) from error
    embedding_dim = int(chain.get_embedding_dimension() or 0)
    check_pinned(spec, "embedding_dim", embedding_dim)
    parameters = sum(parameter.numel() for parameter in chain.parameters())
    architecture = architecture_of(transformer.model, [(one.in_features, one.out_features) for one in tail if isinstance(one, Dense)])
    if linear_kernel(device, dtype) == "onednn-packed":
        pack_linear_layers(transformer.model)
    packs = packable(transformer.config, [type(module).__name__ for module in tail], getattr(tail[0], "pooling_mode", None))
    return LoadedModel(
        located=located,
        spec=spec,
        dtype=dtype,
        config=transformer.config,
        masking=masking_of(transformer.config),
        transformer=transformer.model,
        tail=tail,
        tokenizer=transformer.tokenizer,
        weights=weights,
        module_files=hash_module_files(located.folder),
        modules=(f"Transformer({transformer.model.config.model_type})", *(_describe(module) for module in tail)),
        parameters=parameters,
        max_positions=max_positions,
        embedding_dim=embedding_dim,
        architecture=replace(architecture, packs=packs.obstacle is None),
        packable=packs,
    )


def _check_vocabulary(transformer: Transformer, folder: Path) -> None:
    """Without its vocabulary file transformers builds a tokenizer of special tokens alone, and every text becomes [UNK]."""
    known, rows = len(transformer.tokenizer), transformer.model.config.vocab_size
    if known < rows // 2:
        raise InputError(
            f"{folder}: the tokenizer knows {known} tokens, the model has {rows}: tokenizer.json or the vocabulary file is missing or cut "
            "short. Download the model again."
        )


def tokenizer_options(spec: ModelSpec) -> dict[str, Any]:
    """What sentence-transformers hands to the tokenizer when it loads it."""
    return {"add_eos_token": True} if spec.add_eos_token else {}


def check_end_token(tokenizer: Any, spec: ModelSpec) -> None:
    """Pass a tokenizer that ends a text with one end token, where the spec wants that.

    Raises:
        InputError: it does not.
    """
    if not spec.add_eos_token:
        return
    ids, end = tokenizer("你好")["input_ids"], tokenizer.eos_token_id
    if end is None or ids[-1:] != [end] or ids.count(end) != 1:
        raise InputError(
            f"model {spec.name!r} needs its end token after every text (model.add_eos_token), and its tokenizer as loaded does not add "
            f"it: the end token is {end}, a text has {ids}. Correct tokenizer_config.json, or set model.add_eos_token=false"
        )


def load_chain(located: LocatedModel, spec: ModelSpec, dtype: Dtype) -> SentenceTransformer:
    """The folder as sentence-transformers loads it, on the CPU, its numbers cast to `dtype`; nothing is checked yet.

    Raises:
        InputError: it does not load.
    """
    # The layers draw initial weights before the stored ones replace them: those draws must not move anybody's random state.
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        try:
            chain = SentenceTransformer(
                str(located.folder),
                device="cpu",
                local_files_only=True,
                trust_remote_code=spec.trust_remote_code,
                processor_kwargs=tokenizer_options(spec),
                model_kwargs={
                    "dtype": TORCH_DTYPE[dtype],
                    "attn_implementation": attention_of(_type_of(located)),
                    "use_safetensors": None if spec.allow_pickle else True,
                },
            )
        except Exception as error:  # tokenizers raises it bare
            raise does_not_load(located.folder, error) from error
    chain.truncate_dim = None  # vectors are whole, and `dim=` cuts them
    for parameter in chain.parameters():  # not the buffers: rotary frequencies stay in fp32 in every dtype, as transformers has them
        parameter.data = parameter.data.to(TORCH_DTYPE[dtype])
    return chain


def does_not_load(folder: Path, error: Exception) -> InputError:
    """The error of a folder that libraries can't load; it names the tokenizer where that is what is damaged."""
    what = f"model folder {folder}"
    for file in folder.rglob("tokenizer.json"):
        try:
            Tokenizer.from_file(str(file))
        except Exception:  # noqa: BLE001  tokenizers raises it bare
            what = str(file)
    return InputError(f"{what} does not load ({type(error).__name__}: {error!s:.1000})")


def check_architecture(name: str, config: Any, tail: Sequence[str]) -> None:
    """Pass a model of a known type with a known chain behind it; `tail`: names of the modules' classes.

    Raises:
        RequestError: it can't be run as a pure function; the message says which kind of encoder runs it.
    """
    cannot = f"model {name!r} can't be encoded as a pure function of its token ids:"
    if config.model_type not in KNOWN:
        known = ", ".join(KNOWN)
        raise RequestError(f"{cannot} its first module is {config.model_type}; known: a Transformer of type {known}. {_OTHERWISE}")
    for module in tail:
        if module not in TAIL:
            raise RequestError(f"{cannot} it has a module {module}; known: {', '.join(TAIL)}. {_OTHERWISE}")
    if (poolings := tail.count("Pooling")) != 1:
        several = f"{poolings} Pooling modules, known: one. {_OTHERWISE}"
        raise RequestError(f"{cannot} it has {several if poolings else 'no Pooling module, so it gives no vector per text'}")
    try:
        masking_of(config)
    except RequestError as error:
        raise RequestError(f"{cannot} {error}. {_OTHERWISE}") from error


def check_processing(name: str, first: Transformer) -> None:
    """Pass a first module that makes plain token ids of a text, and gives the states of its last layer.

    Raises:
        RequestError: it does not, by its sentence_bert_config.json.
    """
    plainly = (_PLAIN, "token_embeddings", "feature-extraction")
    if not first.processing_kwargs and (first.modality_config, first.module_output_name, first.transformer_task) == plainly:
        return
    what = "puts every text into a chat template" if "message" in first.modality_config else "changes how texts are processed"
    ways = first.processing_kwargs or {**first.modality_config, "transformer_task": first.transformer_task}
    found = json.dumps({str(key): value for key, value in ways.items()})
    raise RequestError(f"model {name!r} is run plainly here, and its sentence_bert_config.json {what} ({found:.300}). {_OTHERWISE}")


def _refuse_type(located: LocatedModel) -> None:
    """Refuses what transformers knows and this kind does not, before its weights are read: it may not be loaded."""
    kind = _type_of(located)
    if kind in CONFIG_MAPPING_NAMES and kind not in KNOWN:
        known = ", ".join(KNOWN)
        raise RequestError(
            f"model {located.name!r} can't be encoded as a pure function of its token ids: its first module is {kind}; known: a "
            f"Transformer of type {known}. {_OTHERWISE}"
        )


def _type_of(located: LocatedModel) -> object:
    path = located.folder / transformer_path(located) / "config.json"
    values = read_json(path) if path.is_file() else {}
    return values.get("model_type") if isinstance(values, dict) else None


def _check_chain(chain: SentenceTransformer, located: LocatedModel) -> tuple[Transformer, tuple[nn.Module, ...]]:
    modules = list(chain.children())
    first, tail = modules[0], tuple(modules[1:])
    cannot = f"model {located.name!r} can't be encoded as a pure function of its token ids:"
    if type(first) is not Transformer:
        raise RequestError(f"{cannot} its first module is {type(first).__name__}; known: a Transformer. {_OTHERWISE}")
    check_architecture(located.name, first.config, [type(module).__name__ for module in tail])
    if first.config._attn_implementation != (wanted := attention_of(first.config.model_type)):
        raise RequestError(f"{cannot} it has no {wanted} attention (found {first.config._attn_implementation!r}). {_OTHERWISE}")
    check_processing(located.name, first)
    pooling = next(number for number, module in enumerate(tail) if isinstance(module, Pooling))
    for number, module in enumerate(tail):
        place = "token_embeddings" if number < pooling else "sentence_embedding"
        if isinstance(module, Dense) and (found := {module.module_input_name, module.module_output_name}) != {place}:
            raise RequestError(f"{cannot} a Dense layer of it works on {' and '.join(sorted(found))}, known: {place}. {_OTHERWISE}")
    return first, tail


def _check_weights(transformer: nn.Module, folder: Path) -> None:
    """transformers only warns of parameters that no file sets, and leaves them random."""
    stored: set[str] = set()
    files = sorted(folder.glob("*.safetensors"))
    for path in files:
        stored.update(stored_tensors(path))
    if not files:  # pickles, and allowed: `hash_weights` has seen to that
        for path in sorted(folder.glob("pytorch_model*.bin")):
            stored.update(torch.load(path, map_location="cpu", weights_only=True, mmap=True))
    prefix = f"{getattr(transformer, 'base_model_prefix', '')}."
    old_names = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))
    plain = {name.removeprefix(prefix) for name in (*stored, *_renamed(transformer, stored))}
    for old, new in old_names:
        plain = {name.replace(old, new) for name in plain}
    missing = [name for name, _ in transformer.named_parameters() if name not in plain and not name.startswith("pooler.")]
    if missing:
        raise InputError(
            f"{folder}: {len(missing)} parameters of the model are in no weight file and would be random, "
            f"{', '.join(missing[:3])} among them: the download is incomplete, or the files belong to another model"
        )


def _renamed(transformer: nn.Module, stored: Iterable[str]) -> Iterator[str]:
    """The names under which transformers loads stored tensors of an architecture whose files have older ones, parts of a split one each."""
    transforms = get_model_conversion_mapping(transformer)
    for name in stored:
        found = [name]
        for transform in transforms:
            found = [one for name in found for one in _transformed(name, transform)]
        yield from found


def _transformed(name: str, transform: Any) -> list[str]:
    renamed, matched = transform.rename_source_key(name)
    first, *others = transform.target_patterns
    return [renamed, *(renamed.replace(first, other) for other in others if matched)]


def _check_numbers(chain: nn.Module, dtype: Dtype) -> None:
    wanted = TORCH_DTYPE[dtype]
    parameters = dict(chain.named_parameters())
    for name, tensor in (*parameters.items(), *chain.named_buffers()):
        if not tensor.is_floating_point():
            continue
        if tensor.dtype != wanted and name in parameters:
            raise MachineError(f"parameter {name} was loaded as {tensor.dtype}, dtype={dtype} asks for {wanted}: it can't run in {dtype}")
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"parameter {name} holds NaN or infinity in {dtype}: it is damaged, or too large for it (try dtype=bf16 or fp32)"
            )


def check_pinned(spec: ModelSpec, field: str, found: object) -> None:
    """Does nothing where the spec leaves the field open.

    Raises:
        InputError: the spec pins another value.
    """
    wanted = getattr(spec, field)
    if wanted is not None and found != wanted:
        raise InputError(
            f"model {spec.name!r} is not the pinned one: {field} is {found}, the config says {wanted}. "
            f"Get the pinned files, or set model.{field}=null to run this one under its own identity."
        )


def max_positions_of(config: Any) -> int:
    """The rows of the position table that a text can use; RoBERTa's start after the padding index."""
    padding = position_padding(config)
    return int(config.max_position_embeddings) - (0 if padding is None else padding + 1)


def hash_module_files(folder: Path) -> dict[str, str]:
    """SHA-256 of what decides how the modules compute; not of what only tokenises or describes."""
    modules = read_json(folder / "modules.json")
    configs = [folder / str(module.get("path", "")) / "config.json" for module in modules if isinstance(module, dict)]
    path, first = first_settings(folder)
    loaded_with = {name for key in _LOADED_WITH for name in first.get(key) or ()} - {"trust_remote_code"}  # which is not taken from there
    paths = [folder / "modules.json", *configs, *([path] if loaded_with else [])]
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths if path.is_file()}


def _describe(module: nn.Module) -> str:
    if isinstance(module, Pooling):
        mode = module.pooling_mode if isinstance(module.pooling_mode, str) else "+".join(module.pooling_mode)
        return f"Pooling({mode})"
    if isinstance(module, Dense):
        return f"Dense({module.in_features}->{module.out_features}, {type(module.activation_function).__name__})"
    return type(module).__name__


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No report of ignored tensors, no progress bar: the checks here are stricter, and errors."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
