"""Load a SentenceTransformer and prove that what was loaded is what the folder holds, in the dtype that was asked for."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

from harness.core.errors import InputError, MachineError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.linear import linear_kernel, pack_linear_layers
from harness.evaluate.encode.canonical.packed import PackedEncoder
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device, memory_for_weights, numeric_flags
from harness.evaluate.encode.model.families import Masking, attention_mask, attention_of, masking_of
from harness.evaluate.encode.model.locate import LocatedModel, read_object, stored_tensors, transformer_folder
from harness.evaluate.encode.model.outline import (
    OTHERWISE,
    ChainOutline,
    check_end_token,
    check_first,
    check_type,
    class_name,
    kernel_name,
    loading,
    outline_of,
    pinned_weights,
    quiet_transformers,
    tokenizer_options,
)


@dataclass(frozen=True, kw_only=True)
class LoadedModel(ChainOutline):
    """A model ready to run: `transformer` gives token embeddings, the modules of `tail` make one vector of them.

    `masking`: how its attention is kept to the tokens of a text (`families`), by its `config`. `modules`: the chain, in words.
    `parameters`: numbers in the parameters as loaded.
    """

    dtype: Dtype
    masking: Masking
    transformer: nn.Module
    tail: tuple[nn.Module, ...]
    modules: tuple[str, ...]
    parameters: int

    def token_embeddings(self, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Hidden states [rows, length, hidden] of token ids [rows, length]; `mask` [rows, length] is True on real tokens (`families`)."""
        ready = attention_mask(self.config, self.masking, mask, TORCH_DTYPE[self.dtype])
        further = {"use_cache": False} if self.masking in ("causal", "gemma") else {}
        states: torch.Tensor = self.transformer(input_ids=ids, attention_mask=ready, **further).last_hidden_state
        return states

    @property
    def vocabulary(self) -> int:
        """Token ids from 0 on that the tokenizer knows and the model has a row for."""
        return min(len(self.tokenizer), int(self.config.vocab_size))

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

    def fingerprint(self, *, max_len: int, encoding: EncodingSpec, device: torch.device, tokenizer_sha256: str, packs: str) -> Fingerprint:
        """What decides the bits of its vectors under an encoding setting on a device. `packs`: what was found about them."""
        eager = attention_of(self.config.model_type) == "eager"
        return Fingerprint(
            model=self.spec.name,
            source=self.located.source,
            repository=self.located.repository,
            commit=self.located.commit,
            weights_digest=self.weights.digest,
            weights_sha256=dict(self.weights.sha256),
            module_files=dict(self.module_files),
            modules=self.modules,
            parameters=self.parameters,
            stored_parameters=self.stored_parameters,
            dtype=self.dtype,
            attention="eager" if eager else self.attention(self.dtype, encoding, device),
            linear=linear_kernel(device, self.dtype),
            max_len=max_len,
            max_positions=self.max_positions,
            embedding_dim=self.embedding_dim,
            ladder=encoding.ladder,
            packs=packs,
            batch_tokens=encoding.batch_tokens,
            tokenizer_sha256=tokenizer_sha256,
            device=describe_device(device),
            flags=numeric_flags(),
            kernel=kernel_name(device),
            digest=self.digest(dtype=self.dtype, encoding=encoding, device=device),
        )


def load_model(located: LocatedModel, spec: ModelSpec, *, dtype: Dtype, device: torch.device) -> LoadedModel:
    """The model of a folder in `dtype` on `device`; no network, no pickle and no foreign code unless the spec allows them.

    Raises:
        RequestError: the module chain can't be run as a pure function.
        InputError: weights are missing, damaged, not those that the spec pins, or leave a parameter unset.
        MachineError: a parameter has another dtype than the one asked for, or the device has not the memory.
    """
    weights = pinned_weights(located, spec)
    _refuse_type(located)
    chain = load_chain(located, spec, dtype)
    transformer, *tail = chain.children()
    check_first(located.name, class_name(f"{type(transformer).__module__}.{type(transformer).__name__}"))
    outline = outline_of(located, spec, weights, transformer)
    _check_chain(transformer, tail, located)
    _check_weights(transformer.model, transformer_folder(located.folder))
    _check_vocabulary(transformer, located.folder)
    check_end_token(transformer.tokenizer, spec)
    if getattr(transformer.model, "pooler", None) is not None:
        transformer.model.pooler = None  # BERT's own pooler is no part of the chain; many checkpoints leave it untrained
    transformer.config.return_dict = True  # some old folders say otherwise, and sentence-transformers does not ask them
    chain.requires_grad_(False).eval()
    _check_numbers(chain, dtype)
    with memory_for_weights(spec.name, dtype, device):
        chain.to(device)
        parameters = sum(parameter.numel() for parameter in chain.parameters())
        if linear_kernel(device, dtype) == "onednn-packed":
            pack_linear_layers(transformer.model)
    return LoadedModel(
        **vars(outline),
        dtype=dtype,
        masking=masking_of(outline.config),
        transformer=transformer.model,
        tail=tuple(tail),
        modules=(f"Transformer({outline.config.model_type})", *(_describe(module) for module in tail)),
        parameters=parameters,
    )


def _check_vocabulary(transformer: Transformer, folder: Path) -> None:
    """Without its vocabulary file transformers builds a tokenizer of special tokens alone, and every text becomes [UNK]."""
    known, rows = len(transformer.tokenizer), transformer.model.config.vocab_size
    if known < rows // 2:
        raise InputError(
            f"{folder}: the tokenizer knows {known} tokens, the model has {rows}: tokenizer.json or the vocabulary file is missing or cut "
            "short. Download the model again."
        )


def load_chain(located: LocatedModel, spec: ModelSpec, dtype: Dtype) -> SentenceTransformer:
    """The folder as sentence-transformers loads it, on the CPU, its numbers cast to `dtype`; unchecked. Raises as `loading`."""
    # The layers draw initial weights before the stored ones replace them: those draws must not move anybody's random state.
    with torch.random.fork_rng(devices=[]), quiet_transformers(), loading(located, spec, dtype, torch.device("cpu")):
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
        chain.truncate_dim = None  # vectors are whole, and `dim=` cuts them
        for parameter in chain.parameters():  # not the buffers: rotary frequencies stay in fp32 in every dtype, as transformers has them
            parameter.data = parameter.data.to(TORCH_DTYPE[dtype])
    return chain


def _refuse_type(located: LocatedModel) -> None:
    """Refuses what transformers knows and this kind does not, before its weights are read: it may not be loaded."""
    if (kind := _type_of(located)) in CONFIG_MAPPING_NAMES:
        check_type(located.name, kind)


def _type_of(located: LocatedModel) -> object:
    path = transformer_folder(located.folder) / "config.json"
    return read_object(path).get("model_type") if path.is_file() else None


def _check_chain(first: Transformer, tail: Sequence[nn.Module], located: LocatedModel) -> None:
    cannot = f"model {located.name!r} can't be encoded as a pure function of its token ids:"
    if first.config._attn_implementation != (wanted := attention_of(first.config.model_type)):
        raise RequestError(f"{cannot} it has no {wanted} attention (found {first.config._attn_implementation!r}). {OTHERWISE}")
    pooling = next(number for number, module in enumerate(tail) if isinstance(module, Pooling))
    for number, module in enumerate(tail):
        place = "token_embeddings" if number < pooling else "sentence_embedding"
        if isinstance(module, Dense) and (found := {module.module_input_name, module.module_output_name}) != {place}:
            raise RequestError(f"{cannot} a Dense layer of it works on {' and '.join(sorted(found))}, known: {place}. {OTHERWISE}")


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


def _describe(module: nn.Module) -> str:
    if isinstance(module, Pooling):
        mode = module.pooling_mode if isinstance(module.pooling_mode, str) else "+".join(module.pooling_mode)
        return f"Pooling({mode})"
    if isinstance(module, Dense):
        return f"Dense({module.in_features}->{module.out_features}, {type(module.activation_function).__name__})"
    return type(module).__name__
