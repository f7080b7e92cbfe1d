"""A model's folder without its weights in memory: tokenizer, sizes and hashes, which is all that a plan of its work needs."""

import contextlib
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer

from harness.core.errors import InputError, MachineError, RequestError
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.linear import linear_kernel
from harness.evaluate.encode.canonical.packed import Packable, packable, position_padding
from harness.evaluate.encode.canonical.shapes import ShapeLadder, packing
from harness.evaluate.encode.device import TORCH_DTYPE, attention_kernel, kernel_identity, memory_for_weights
from harness.evaluate.encode.model.families import KNOWN, masking_of
from harness.evaluate.encode.model.locate import (
    LocatedModel,
    Weights,
    files_digest,
    get_again,
    hash_file,
    hash_weights,
    listed_modules,
    read_json,
)
from harness.evaluate.encode.model.own import first_settings, read_own_settings, refuse_chunks, refuse_roles
from harness.evaluate.encode.model.tokens import TextTokenizer
from harness.evaluate.encode.planned import Counted, Outline
from harness.evaluate.encode.store.names import Namer, ids_digest, keys_of
from harness.evaluate.encode.work import Architecture, architecture_of

TAIL = ("Pooling", "Dense", "Normalize")
_PLAIN = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
"""What sentence-transformers does with a text where a folder says nothing else."""
_LOADED_WITH = ("model_args", "model_kwargs", "config_args", "config_kwargs")
"""Keys of sentence_bert_config.json that reach transformers when it makes the model; those of tokenizers show in token ids."""
OTHERWISE = "model.kind=reference runs it as sentence-transformers does"

_NAMES = "names of vectors, 2"
"""Changes with `names`: a store's vectors under other names would lie there for nothing."""

_PACKS = "packs, 2"
"""Changes with what packs compute. 1 gave a text that holds RoBERTa's padding token other positions than transformers does."""


@dataclass(frozen=True, kw_only=True)
class ChainOutline(Outline):
    """What is known of a model that the kind `canonical` runs, without the modules that run.

    `max_positions`: the most tokens that a text may have, specials included. `module_files`: SHA-256 of every JSON file that says how the
    modules are put together.
    """

    located: LocatedModel
    spec: ModelSpec
    config: Any
    tokenizer: transformers.PreTrainedTokenizerBase
    weights: Weights
    module_files: Mapping[str, str]
    max_positions: int
    embedding_dim: int
    architecture: Architecture
    packable: Packable

    def digest(self, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
        """Of its vectors; no weight needs to be loaded for it."""
        encoding = packing(encoding, self.architecture.packs)
        decides = [
            _NAMES,
            *(sorted(self.weights.sha256.items()), sorted(self.module_files.items())),
            *([_PACKS] if encoding.ladder == "packed" else []),
            *(dtype, self.attention(dtype, encoding, device), linear_kernel(device, dtype), kernel_name(device)),
        ]
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()

    def attention(self, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
        """Its kernel: `sdpa:flash_attention`, or `packed` before it or before the name of the fused kernels."""
        sdpa = f"sdpa:{attention_kernel(device, dtype, encoding.ladder).name.lower()}"
        return f"packed {self.packable.kernels(device, TORCH_DTYPE[dtype]).name or sdpa}" if encoding.ladder == "packed" else sdpa

    def count(self, texts: Sequence[str], *, max_len: int, encoding: EncodingSpec, digest: str) -> Counted:
        """Tokenised, and named by token ids and batch shape; raises as `TextTokenizer` does."""
        ladder, namer = ShapeLadder(packing(encoding, self.architecture.packs), self.max_positions), Namer(digest)
        names: list[bytes] = []
        counts, cuts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)]
        for chunk in TextTokenizer(self.tokenizer, max_len).tokenize_ahead(texts):
            names += [namer.name(ladder.shape(len(ids)), ids_digest(ids)) for ids in chunk.tokens.rows()]
            counts.append(chunk.tokens.counts)
            cuts.append(chunk.tokens.cut)
        return Counted(basis="counted", names=keys_of(names), counts=np.concatenate(counts), cut=np.concatenate(cuts))


def kernel_name(device: torch.device) -> str:
    """What of device and libraries chooses kernels."""
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in ("transformers", "sentence-transformers"))
    return f"{kernel_identity(device)} | {versions}"


class EmptyTransformer(Transformer):  # type: ignore[misc]  # sentence-transformers has no types
    """sentence-transformers' first module around a model without numbers, so that everything else of it is made as for a run."""

    def _load_model(self, model_name_or_path: str, transformer_task: Any, config: Any, *_: Any, **options: Any) -> Any:
        with torch.device("meta"):
            return transformers.AutoModel.from_config(config, trust_remote_code=options.get("trust_remote_code"))


def empty_transformer(located: LocatedModel, spec: ModelSpec) -> EmptyTransformer:
    """The first module of a folder without numbers.

    Raises:
        InputError: it does not load.
    """
    path = next((module.path for module in listed_modules(located.folder)), ".")
    try:
        with quiet_transformers():
            options = {"subfolder": path, "local_files_only": True, "trust_remote_code": spec.trust_remote_code}
            options["processor_kwargs"] = tokenizer_options(spec)
            first: EmptyTransformer = EmptyTransformer.load(str(located.folder), **options)
    except Exception as error:  # tokenizers raises it bare
        raise does_not_load(located.folder, error) from error
    check_end_token(first.tokenizer, spec)
    return first


def read_outline(located: LocatedModel, spec: ModelSpec) -> ChainOutline:
    """The outline of a folder; its weights are hashed and not loaded.

    Raises:
        RequestError: it can't be run as a pure function.
        InputError: files are missing, damaged, or not those that the spec pins.
    """
    weights = pinned_weights(located, spec)
    return outline_of(located, spec, weights, empty_transformer(located, spec))


def pinned_weights(located: LocatedModel, spec: ModelSpec) -> Weights:
    """The weights of a folder in which a text has one vector, whatever it is for; raises as `read_outline` does."""
    refuse_roles(located)
    refuse_chunks(located)
    weights = hash_weights(located.folder, allow_pickle=spec.allow_pickle)
    check_pinned(spec, "weights_sha256", weights.digest)
    check_pinned(spec, "parameters", weights.stored_parameters)
    return weights


def outline_of(located: LocatedModel, spec: ModelSpec, weights: Weights, first: Transformer) -> ChainOutline:
    """The outline of a folder whose first module is made, be it without numbers; raises as `read_outline` does."""
    try:
        head, *tail = [class_name(module.kind) for module in listed_modules(located.folder)]
        check_first(located.name, head)
        check_architecture(located.name, first.config, tail)
        check_processing(located.name, first)
        dense, embedding_dim, pooling = read_tail(located, first.config.hidden_size)
        packs = packable(first.config, tail, pooling)
        architecture = replace(architecture_of(first.model, dense), packs=packs.obstacle is None)
        max_positions = max_positions_of(first.config)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise InputError(f"model folder {located.folder} does not load ({type(error).__name__}: {error})") from error
    check_pinned(spec, "max_positions", max_positions)
    check_pinned(spec, "embedding_dim", embedding_dim)
    return ChainOutline(
        weights_digest=weights.digest,
        stored_parameters=weights.stored_parameters,
        located=located,
        spec=spec,
        config=first.config,
        tokenizer=first.tokenizer,
        weights=weights,
        module_files=hash_module_files(located.folder),
        files_digest=files_digest(located.folder),
        max_positions=max_positions,
        embedding_dim=embedding_dim,
        architecture=architecture,
        packable=packs,
        own=read_own_settings(located),
    )


def read_tail(located: LocatedModel, hidden: int) -> tuple[list[tuple[int, int]], int, object]:
    """Of a chain of Pooling, Dense and Normalize: inputs and outputs of the Dense layers, the numbers in a vector, and how it is pooled."""
    mode = None
    dense: list[tuple[int, int]] = []
    width = hidden
    for module in listed_modules(located.folder)[1:]:
        if module.kind.endswith(".Pooling"):
            pooling = Pooling.load(str(located.folder), subfolder=module.path)
            width, mode = pooling.get_embedding_dimension(), pooling.pooling_mode
        elif module.kind.endswith(".Dense"):
            path = located.folder / module.path
            config: Any = read_json(path / "config.json")
            dense.append((int(config["in_features"]), int(config["out_features"])))
            if dense[-1][0] != width:
                raise InputError(f"{path} takes {dense[-1][0]} numbers, and what stands before it gives {width}")
            width = dense[-1][1]
    return dense, width, mode


def does_not_load(folder: Path, error: Exception) -> InputError:
    """The error of a folder that libraries can't load; it names the tokenizer where that is what is damaged."""
    what, way_out = f"model folder {folder}", ""
    for file in folder.rglob("tokenizer.json"):
        try:
            Tokenizer.from_file(str(file))
        except Exception:  # noqa: BLE001  tokenizers raises it bare
            what, way_out = str(file), f": {get_again(file)}"
    return InputError(f"{what} does not load ({type(error).__name__}: {error!s:.1000}){way_out}")


@contextlib.contextmanager
def loading(located: LocatedModel, spec: ModelSpec, dtype: Dtype, device: torch.device) -> Iterator[None]:
    """Loads a folder with weights.

    Raises:
        InputError: it does not load.
        MachineError: the device has not the memory.
    """
    try:
        with memory_for_weights(spec.name, dtype, device):
            yield
    except MachineError:
        raise
    except Exception as error:  # tokenizers raises it bare
        raise does_not_load(located.folder, error) from error


def class_name(path: str) -> str:
    """How a module's class is called here: one of another package than sentence-transformers by its path, whatever its name."""
    return path.rpartition(".")[2] if path.startswith("sentence_transformers.") else path


def check_first(name: str, first: str) -> None:
    """Pass a chain that begins with a Transformer.

    Raises:
        RequestError: it begins with another module.
    """
    if first != "Transformer":
        found = f"its first module is {first}; known: a Transformer. {OTHERWISE}"
        raise RequestError(f"model {name!r} can't be encoded as a pure function of its token ids: {found}")


def check_type(name: str, kind: object) -> str:
    """How the refusal of a model of a known type begins.

    Raises:
        RequestError: the type is not known.
    """
    cannot = f"model {name!r} can't be encoded as a pure function of its token ids:"
    if kind not in KNOWN:
        raise RequestError(f"{cannot} its first module is {kind}; known: a Transformer of type {', '.join(KNOWN)}. {OTHERWISE}")
    return cannot


def check_architecture(name: str, config: Any, tail: Sequence[str]) -> None:
    """Pass a model of a known type with a known chain behind it; `tail`: names of the modules' classes.

    Raises:
        RequestError: it can't be run as a pure function; the message says which kind of encoder runs it.
    """
    cannot = check_type(name, config.model_type)
    for module in tail:
        if module not in TAIL:
            raise RequestError(f"{cannot} it has a module {module}; known: {', '.join(TAIL)}. {OTHERWISE}")
    if (poolings := tail.count("Pooling")) != 1:
        several = f"{poolings} Pooling modules, known: one. {OTHERWISE}"
        raise RequestError(f"{cannot} it has {several if poolings else 'no Pooling module, so it gives no vector per text'}")
    try:
        masking_of(config)
    except RequestError as error:
        raise RequestError(f"{cannot} {error}. {OTHERWISE}") from error


def check_processing(name: str, first: Transformer) -> None:
    """Pass a first module that makes plain token ids of a text, all of one segment, and gives the states of its last layer.

    Raises:
        RequestError: it does not, by its sentence_bert_config.json or its tokenizer.json, or its code is none of transformers'.
    """
    if not type(first.model).__module__.startswith("transformers."):
        own = f"its code ({type(first.model).__name__}) is its folder's own, of which nothing is proven. {OTHERWISE}"
        raise RequestError(f"model {name!r} can't be encoded as a pure function of its token ids: {own}")
    asked = "token_type_ids" in signature(first.model.forward).parameters
    if asked and (segments := set(first.tokenizer("你好").get("token_type_ids") or ()) | {0}) != {0}:
        raise RequestError(
            f"model {name!r} gives the tokens of a text the segment ids {sorted(segments)} (token_type_ids, by the post_processor in its "
            f"tokenizer.json), and here all have 0. {OTHERWISE}"
        )
    plainly = (_PLAIN, "token_embeddings", "feature-extraction")
    if not first.processing_kwargs and (first.modality_config, first.module_output_name, first.transformer_task) == plainly:
        return
    what = "puts every text into a chat template" if "message" in first.modality_config else "changes how texts are processed"
    ways = first.processing_kwargs or {**first.modality_config, "transformer_task": first.transformer_task}
    found = json.dumps({str(key): value for key, value in ways.items()})
    raise RequestError(f"model {name!r} is run plainly here, and its sentence_bert_config.json {what} ({found:.300}). {OTHERWISE}")


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
    configs = [folder / module.path / "config.json" for module in listed_modules(folder)]
    path, first = first_settings(folder)
    loaded_with = {name for key in _LOADED_WITH for name in first.get(key) or ()} - {"trust_remote_code"}  # which is not taken from there
    paths = [folder / "modules.json", *configs, *([path] if loaded_with else [])]
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in paths if path.is_file()}


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
