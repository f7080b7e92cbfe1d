"""Models that sentence-transformers loads and runs as a whole: what the kinds `reference` and `reranker` share.

Nothing is known of what the modules do, so purity is measured before the run, and stated in the manifest, under the table and in the store.
"""

import hashlib
import itertools
import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sentence_transformers.base.modules import Transformer

from harness.core.costs import Counters
from harness.core.errors import InputError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.kind import FolderKind
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.device import (
    TORCH_DTYPE,
    describe_device,
    fewer_tokens,
    kernel_identity,
    memory_for,
    numeric_flags,
)
from harness.evaluate.encode.encoder import Checked
from harness.evaluate.encode.model.locate import (
    LocatedModel,
    Weights,
    find_model,
    hash_weights,
    listed_modules,
    read_json,
)
from harness.evaluate.encode.model.outline import (
    check_end_token,
    class_name,
    loading,
    max_positions_of,
    quiet_transformers,
    tokenizer_options,
)
from harness.evaluate.encode.model.own import first_settings, refuse_chunks
from harness.evaluate.encode.model.sizes import read_sizes
from harness.evaluate.encode.model.tokens import refuse_lone_surrogates, refuse_tokens
from harness.evaluate.encode.planned import Basis, Counted, Outline
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.whole.by_text import PART, TextEncoder, text_keys
from harness.evaluate.encode.work import Architecture
from harness.evaluate.lengths import estimated_counts

_MADE = "made, 5"
"""Changes with what these kinds make of a model. 1 cast what transformers keeps in fp32; 2 put a reranker's default prompt before pairs; 3
counted tokens without the chat template, so a text that only the template made too long was kept as a whole one; 4 rounded to the run's
dtype what modules give in fp32."""


_CUTTING = ("max_length", "truncation")
_FAILURES = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # of modules that do not fit together


@dataclass(frozen=True, kw_only=True)
class WholeModel:
    """A folder as sentence-transformers loads it, with what names it. `model`: a SentenceTransformer or a CrossEncoder. `files`: the digest
    of its files beside the weights."""

    located: LocatedModel
    spec: ModelSpec
    dtype: Dtype
    model: Any
    weights: Weights
    architecture: Architecture
    files: str

    @property
    def otherwise(self) -> str:
        """How many of them are in another dtype than `dtype`, because transformers keeps them there; empty where none is."""
        floating = [parameter for parameter in self.model.parameters() if parameter.is_floating_point()]
        others = [parameter for parameter in floating if parameter.dtype != TORCH_DTYPE[self.dtype]]
        if not others:
            return ""
        dtypes = ", ".join(sorted({str(parameter.dtype).removeprefix("torch.") for parameter in others}))
        kept, numbers = (sum(parameter.numel() for parameter in some) for some in (others, floating))
        return f"{kept:,} of {numbers:,} numbers are in {dtypes}, as transformers keeps them"


def whole_digest(kind: str, weights_digest: str, files: str, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
    """`Fingerprint.digest` from what it is made of; no weight needs to be loaded for it."""
    decides = [_MADE, kind, weights_digest, files, dtype, encoding.batch_tokens, kernel_identity(device)]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class WholeOutline(Outline):
    """A folder that runs as a whole. `kind`: of its encoder. `lengths`: token counts of texts, before cutting; None where the tokenizer is
    none that counts without the model."""

    kind: str
    lengths: Callable[[Sequence[str]], IntArray] | None

    def digest(self, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
        """Of its vectors."""
        return whole_digest(self.kind, self.weights_digest, self.files_digest, dtype=dtype, encoding=encoding, device=device)

    def count(self, texts: Sequence[str], *, max_len: int, encoding: EncodingSpec, digest: str) -> Counted:
        """Counted as `by_text` counts and names them; raises as `refuse_lone_surrogates` does."""
        del encoding
        refuse_lone_surrogates(texts)
        counts = self.lengths(texts) if self.lengths else estimated_counts(texts)
        cut = counts > max_len
        basis: Basis = "counted" if self.lengths else "characters"
        return Counted(basis=basis, names=text_keys(digest, texts, cut, max_len=max_len), counts=np.minimum(counts, max_len), cut=cut)


class WholeKind(FolderKind):
    """A kind whose folders sentence-transformers loads and runs; remote code runs only where `model.trust_remote_code` allows it.

    `name`: as `model.kind=` has it. `maker`: the class of sentence-transformers. `count`: tokens of texts before cutting.
    `any_text`: what a model of the kind takes.
    """

    name: str
    maker: Any
    count: Callable[[Any, Sequence[str]], IntArray]
    any_text = "你好"

    @abstractmethod
    def prepare(self, model: Any, located: LocatedModel, dtype: Dtype) -> None:
        """Set a model that was loaded in the dtype to what a run needs of it.

        Raises:
            RequestError: it is none of the kind.
        """

    @abstractmethod
    def describe(self, model: Any) -> tuple[str, ...]:
        """The modules in words."""

    @abstractmethod
    def run(self, model: Any, texts: list[str], *, max_len: int, rows: int) -> torch.Tensor:
        """What the model makes of the n texts [n, dim], raw, with so many in a batch at most."""

    @abstractmethod
    def first_module(self, located: LocatedModel, model: ModelSpec) -> tuple[Any, int | None, int | None]:
        """The first module or its tokenizer, the tokens that a text may have, the numbers in a vector; None for what only a run tells."""

    @abstractmethod
    def measure(self, encoder: TextEncoder) -> Checked:
        """How repeatable the vectors are.

        Raises:
            CanaryError: not enough.
        """

    def refuse(self, located: LocatedModel, model: ModelSpec) -> None:
        """Pass a folder whose code is allowed, or that has none: transformers leaves code out in silence, or asks on the terminal.

        Raises:
            RequestError: the spec does not allow its code, or it cuts texts whatever `max_len` says, or as `refuse_chunks` does.
        """
        refuse_chunks(located)
        path, first = first_settings(located.folder)
        ways = first.get("processing_kwargs")
        cutting = {key for way in (ways if isinstance(ways, dict) else {}).values() if isinstance(way, dict) for key in way} & set(_CUTTING)
        if cutting:
            raise RequestError(
                f"model {located.name!r} cuts texts as the processing_kwargs in {path} say, whatever max_len is. Take "
                f"{' and '.join(sorted(cutting))} out of them in a copy, and run that with max_len"
            )
        if model.trust_remote_code:
            return
        configs = (*located.folder.glob("config.json"), *located.folder.glob("*/config.json"))
        own = [path for path in configs if isinstance(values := read_json(path), dict) and "auto_map" in values]
        types = [module.kind for module in listed_modules(located.folder)]
        own += [located.folder / f"modules.json ({kind})" for kind in types if "." in kind and class_name(kind) == kind]
        if own:
            raise RequestError(f"{own[0]} names code of its own: read it, then allow it with model.trust_remote_code=true")

    def files_digest(self, model: ModelSpec) -> str:
        """The digest of the folder's other files, and of what the tokenizer is told beside them; raises as `find_model` does."""
        return self._files(find_model(model, marker=self.marker), model)

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> WholeModel:
        """The model on the device.

        Raises:
            RequestError: it needs remote code that is not allowed, or is none of the kind.
            InputError: it does not load.
            MachineError: the device has not the memory.
        """
        located = find_model(model, marker=self.marker)
        self.refuse(located, model)
        weights = hash_weights(located.folder, allow_pickle=model.allow_pickle)
        with torch.random.fork_rng(devices=[]), quiet_transformers(), loading(located, model, dtype, device):
            loaded = self.maker(
                str(located.folder),
                device=str(device),
                local_files_only=True,
                trust_remote_code=model.trust_remote_code,
                processor_kwargs=tokenizer_options(model),
                model_kwargs={"dtype": TORCH_DTYPE[dtype], "use_safetensors": None if model.allow_pickle else True},
            )
        check_end_token(loaded.tokenizer, model)
        loaded.default_prompt_name = None  # prompts are in the texts
        self.prepare(loaded, located, dtype)
        return WholeModel(
            located=located,
            spec=model,
            dtype=dtype,
            model=loaded.eval(),
            weights=weights,
            architecture=read_sizes(located.folder, weights)[1],
            files=self._files(located, model),
        )

    def encoder(
        self, weights: WholeModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> TextEncoder:
        """The encoder, in batches of texts of one token count, whatever `gpu.ladder` says.

        Raises:
            RequestError: the model carries fewer than `max_len` tokens.
        """
        name, positions = weights.spec.name, positions_of(getattr(weights.model[0], "config", None))
        if positions is not None and max_len > positions:
            raise RequestError(
                f"max_len={max_len} is more than {name} carries, which is {positions} tokens: set max_len={positions} or less"
            )
        modules = self.describe(weights.model)
        backend = WholeBackend(self, weights, max_len=max_len, batch_tokens=encoding.batch_tokens, device=device)
        fingerprint = Fingerprint(
            model=name,
            source=weights.located.source,
            repository=weights.located.repository,
            commit=weights.located.commit,
            weights_digest=weights.weights.digest,
            weights_sha256=dict(weights.weights.sha256),
            modules=(*modules, weights.otherwise) if weights.otherwise else modules,
            parameters=sum(parameter.numel() for parameter in weights.model.parameters()),
            stored_parameters=weights.weights.stored_parameters,
            dtype=weights.dtype,
            attention="as sentence-transformers chooses: purity is measured, not given",
            max_len=max_len,
            embedding_dim=backend.embedding_dim,
            ladder="equal lengths",
            batch_tokens=encoding.batch_tokens,
            device=describe_device(device),
            flags=numeric_flags(),
            kernel=kernel_identity(device),
            digest=whole_digest(self.name, weights.weights.digest, weights.files, dtype=weights.dtype, encoding=encoding, device=device),
        )
        return TextEncoder(backend, fingerprint=fingerprint, architecture=weights.architecture, store=store)

    def check(self, encoder: TextEncoder) -> Checked:
        """How repeatable the vectors are, and what is not in the run's dtype; raises as `measure` does."""
        found, otherwise = self.measure(encoder), getattr(encoder.backend, "otherwise", "")
        note = f"{encoder.fingerprint.model} as sentence-transformers runs it: {otherwise}"
        return replace(found, notes=(*found.notes, note)) if otherwise else found

    def outline(self, model: ModelSpec) -> WholeOutline:
        """The folder's outline; raises as `find_model`, `refuse` and `first_module` do."""
        located = find_model(model, marker=self.marker, download=False)
        self.refuse(located, model)
        weights = hash_weights(located.folder, allow_pickle=model.allow_pickle)
        first, positions, dim = self.first_module(located, model)
        parameters, architecture = read_sizes(located.folder, weights)
        return WholeOutline(
            kind=self.name,
            weights_digest=weights.digest,
            files_digest=self._files(located, model),
            stored_parameters=parameters,
            architecture=architecture,
            max_positions=positions,
            embedding_dim=dim,
            own=self.read_settings(located),
            lengths=first and partial(self.count, first),
        )

    def cost(self, architecture: Architecture, counts: IntArray, *, encoding: EncodingSpec, positions: int) -> tuple[Counters, IntArray]:
        """In batches of texts of one token count, none of which goes beyond a part of the call."""
        del positions
        ordered, forwards = np.sort(counts), 0
        for start in range(0, len(ordered), PART):
            lengths, numbers = np.unique(ordered[start : start + PART], return_counts=True)
            forwards += int((-(-numbers // np.maximum(1, encoding.batch_tokens // np.maximum(1, lengths)))).sum())
        flops = architecture.text_flops(counts)
        return Counters(forwards=forwards, tokens=int(counts.sum()), flops=int(flops.sum())), flops

    def _files(self, located: LocatedModel, model: ModelSpec) -> str:
        return self.hash_files(located.folder) + " add_eos_token" * model.add_eos_token


class WholeBackend:
    """`by_text.Backend` over a loaded model: texts of one token count make a batch, with `batch_tokens // count` rows at most."""

    elsewhere = False

    def __init__(self, kind: WholeKind, loaded: WholeModel, *, max_len: int, batch_tokens: int, device: torch.device) -> None:
        self.model = loaded.model
        self.otherwise = loaded.otherwise
        self._folder = loaded.located.folder
        self._kind, self._max_len, self._batch_tokens, self._device = kind, max_len, batch_tokens, device
        self.embedding_dim = 0
        made = self._run([kind.any_text], rows=1)  # what a folder says of the width, and the weights' dtype, may be others
        self.embedding_dim = made.shape[1]
        self.dtype: Dtype = next((name for name, dtype in TORCH_DTYPE.items() if dtype == made.dtype), "fp32")

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Tokens of each text after cutting, as its kind counts them, and whether it is cut."""
        whole = self._kind.count(self.model[0], texts)
        return np.minimum(whole, self._max_len), whole > self._max_len

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The vectors, raw; the number of batches; raises InputError where the modules fail, MachineError where the memory ends."""
        made = torch.empty(len(lengths), self.embedding_dim, dtype=TORCH_DTYPE[self.dtype])
        batches = 0
        for length in np.unique(lengths).tolist():
            places = np.flatnonzero(lengths == length)
            rows = max(1, self._batch_tokens // max(1, length))
            batches += -(-len(places) // rows)
            made[torch.from_numpy(places)] = self._run([texts[place] for place in places.tolist()], rows=rows).to(made.dtype)
        return made, batches

    def _run(self, texts: list[str], *, rows: int) -> torch.Tensor:
        number = min(rows, len(texts))
        fewer = fewer_tokens(self._batch_tokens * number // rows // 2)
        otherwise = fewer if number > 1 else "free some, or use a smaller max_len or dtype"
        try:
            with memory_for(f"{number} of the texts such as {texts[0]!r:.60}", self._device, otherwise=otherwise):
                found = self._kind.run(self.model, texts, max_len=self._max_len, rows=rows).cpu()
            if found.ndim != 2 or len(found) != len(texts) or self.embedding_dim not in (0, found.shape[1]):
                raise ValueError(f"it gives the shape {tuple(found.shape)} for {len(texts)} texts")
            return found
        except _FAILURES as error:
            failed = f"{type(error).__name__}: {error!s:.500}"
            raise InputError(
                f"model folder {self._folder} does not run in sentence-transformers ({failed}), text {texts[0]!r:.60}"
            ) from error


def token_counts(first: Transformer, inputs: Sequence[Any]) -> IntArray:
    """Tokens of texts or pairs before cutting, as the first module makes them: with the chat template that some put around them.

    Raises:
        InputError: one has tokens that the model can't run (`refuse_tokens`), or its tokenizer fails.
    """
    if not inputs:
        return np.zeros(0, dtype=np.int64)
    whole = {"text": {"truncation": False, "padding": False, "verbose": False}, "common": {"return_tensors": None}}
    try:
        rows = first.preprocess(list(inputs), processing_kwargs=whole)["input_ids"]
    except _FAILURES as error:  # what looks like the address of a picture is one to models that see pictures
        some = f"{len(inputs)} texts, the first of which is {inputs[0]!r:.60}"
        raise InputError(f"sentence-transformers does not tokenise {some} ({type(error).__name__}: {error!s:.500})") from error
    counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    offsets = np.concatenate([[0], counts.cumsum()])
    flat = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int64, count=int(offsets[-1]))
    refuse_tokens(inputs, flat, offsets, getattr(_text_config(first.config), "vocab_size", None))
    return counts


def positions_of(config: Any) -> int | None:
    """The most tokens of a text by a configuration of transformers; None where it does not say (XLNet's is -1)."""
    text = _text_config(config)
    return max_positions_of(text) if (getattr(text, "max_position_embeddings", None) or 0) > 0 else None


def _text_config(config: Any) -> Any:
    """The part for text of a configuration that has parts, as Qwen3-VL's."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config
