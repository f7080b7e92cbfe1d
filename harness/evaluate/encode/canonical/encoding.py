"""Texts to vectors, each a pure function of the model, its dtype, the kernel setting and the text's token ids.

A text runs in the batch shape of its own token count (`shapes`), so that no neighbour, order, subset or earlier call can change a bit of
its vector. Texts may therefore run in any order: a batch starts as soon as enough texts of one shape have been tokenised.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.attention import sdpa_kernel

from harness.core.costs import Counters
from harness.core.errors import EncodingError, InputError, RequestError
from harness.core.spec import EncodingSpec
from harness.evaluate.encode.canonical.batches import BatchQueue, Devices, check_memory, run_batch
from harness.evaluate.encode.canonical.proof import find_ladder
from harness.evaluate.encode.canonical.shapes import BatchShape
from harness.evaluate.encode.device import TORCH_DTYPE, attention_kernel
from harness.evaluate.encode.encoder import Encoded, EncodingStep, OnStep
from harness.evaluate.encode.model.loading import LoadedModel
from harness.evaluate.encode.model.tokens import Chunk, TextTokenizer
from harness.evaluate.encode.store.names import Namer, ids_digest, keys_of
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.store.stored import StoredVectors
from harness.evaluate.encode.store.texts import KnownTexts
from harness.evaluate.encode.work import Forecast

_SPREAD_ROWS = 8192  # moved at a time


class CanonicalEncoder:
    """One model in one dtype under one `max_len`. Not for several threads at once.

    With a `store`, vectors found there are not computed, and those computed are kept there; their bits are the same either way.
    `model`, `device`, `tokenizer` and `ladder` are what it runs with; to be read, not to be changed. `ladder` is `exact` where `packed`
    was asked for and can't be; the fingerprint says why.
    """

    def __init__(
        self, model: LoadedModel, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None = None
    ) -> None:
        if max_len > model.max_positions:
            raise RequestError(
                f"max_len={max_len} is more than {model.spec.name} carries: its position table has {model.max_positions}. "
                f"Set max_len={model.max_positions} or less."
            )
        self.model = model
        self.device = device
        self.tokenizer = TextTokenizer(model.tokenizer, max_len, table=model.config.vocab_size)
        self.ladder, packs = find_ladder(model, encoding, device, max_len=max_len)
        encoding = self.ladder.spec
        self._kernel = attention_kernel(device, model.dtype, encoding.ladder)
        self.fingerprint = model.fingerprint(
            max_len=max_len, encoding=encoding, device=device, tokenizer_sha256=self.tokenizer.digest, packs=packs
        )
        self.counters = Counters()
        self._namer = Namer(self.fingerprint.digest)
        self._devices: Devices | None = None
        self._stored: StoredVectors | None = None
        self._known: KnownTexts | None = None
        if store is not None:
            about = self.fingerprint.about()
            self._stored = store.open(self.fingerprint.digest, dim=model.embedding_dim, dtype=model.dtype, about=about)
            self._known = KnownTexts(self._stored, self.tokenizer.decides, max_len=max_len)
        with sdpa_kernel(self._kernel):
            check_memory(model, device, self.ladder, max_len)

    @property
    def embedding_dim(self) -> int:
        """Numbers in a raw vector."""
        return self.model.embedding_dim

    @property
    def max_len(self) -> int:
        """The most tokens of a text that are encoded, specials included."""
        return self.tokenizer.max_len

    def text_flops(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """FLOP of one text of each of the token counts."""
        return self.model.architecture.text_flops(counts)

    def apart(self) -> CanonicalEncoder:
        """The same setting without a store and with counters of its own."""
        other = copy.copy(self)
        other._stored, other._known, other.counters, other._devices = None, None, Counters(), None
        return other

    def run(self, ids: npt.NDArray[np.int32]) -> torch.Tensor:
        """The vector [1, embedding_dim] of a text's token ids on the device, in the batch that it has when it is alone, by this thread."""
        with sdpa_kernel(self._kernel):
            return run_batch(self.model, self.device, self.ladder.batch(len(ids)), [ids])

    def spread(self, devices: Devices) -> None:
        """Run every batch on one of the devices from here on; what is `apart` stays on its own."""
        self._devices = devices

    def prove(self, texts: Sequence[str], vectors: torch.Tensor) -> None:
        """Compare the vectors [n, embedding_dim] that this encoder makes of the texts with those that the store was filled beside.

        Raises:
            InputError: the store's have other bits, so other code or other files made it.
        """
        if self._stored is not None:
            rows = self.tokenizer.tokenize(texts).rows()
            names = [self._namer.name(self.ladder.shape(len(ids)), ids_digest(ids)) for ids in rows]
            self._stored.prove(keys_of(names), vectors)

    def encode(self, texts: Sequence[str], *, progress: OnStep | None = None) -> torch.Tensor:
        """Raw vectors [len(texts), embedding_dim] on the CPU in the model's dtype: the module chain's output, not normalised by us.

        Equal texts, and texts of equal token ids, are run once. Raises as `encode_counted` does.
        """
        return self.encode_counted(texts, progress=progress).vectors

    def encode_counted(self, texts: Sequence[str], *, progress: OnStep | None = None) -> Encoded:
        """The vectors that `encode` gives, with the token counts of the texts.

        Raises:
            EncodingError: a vector holds NaN or infinity; the message has the text's index and beginning.
            InputError: an item is no text, or holds a lone surrogate.
            MachineError: the device does not have enough memory for a batch, or the store can't be written.
        """
        call = _Call(self, self._namer, self._stored, self._known, texts, progress)
        with sdpa_kernel(self._kernel):
            call.run(self._devices)
        self.counters += call.counters()
        return call.result()


@dataclass(frozen=True, slots=True)
class _Item:
    """A distinct token id sequence of a call: its row in the result, its first text, its name, its batch shape; None for the ids of a text
    that was not tokenised, as its vector is in the store."""

    slot: int
    text: int
    name: bytes
    shape: BatchShape
    ids: npt.NDArray[np.int32] | None


class _Call:
    """One call of `encode`: distinct texts have numbers, their distinct token id sequences have slots."""

    def __init__(
        self,
        encoder: CanonicalEncoder,
        namer: Namer,
        stored: StoredVectors | None,
        known: KnownTexts | None,
        texts: Sequence[str],
        progress: OnStep | None,
    ) -> None:
        strange = next((index for index, text in enumerate(texts) if not isinstance(text, str)), None)
        if strange is not None:
            raise InputError(f"text {strange} is {type(texts[strange]).__name__}, expected str: {texts[strange]!r}. Correct the data file.")
        numbers: dict[str, int] = {}
        self._text_of = np.fromiter((numbers.setdefault(text, len(numbers)) for text in texts), dtype=np.int64, count=len(texts))
        self._all_texts = texts
        self._texts = list(numbers)
        self._encoder, self._namer, self._stored, self._known, self._progress = encoder, namer, stored, known, progress
        self._vectors = torch.empty(len(numbers), encoder.embedding_dim, dtype=TORCH_DTYPE[encoder.model.dtype])
        self._slots = np.empty(len(numbers), dtype=np.int64)
        self._cut = np.zeros(len(numbers), dtype=bool)
        self._tokens = np.zeros(len(numbers), dtype=np.int64)
        self._ids: list[bytes] = []
        self._slot_of: dict[bytes, int] = {}
        self._name_of: list[bytes] = []
        self._hits: list[_Item] = []
        self._found = self._real_tokens = self._read = 0
        self._tokenize_seconds = self._encode_seconds = self._store_seconds = 0.0

    def run(self, devices: Devices | None) -> None:
        """Fills `_vectors`, one row per distinct text."""
        started = time.perf_counter()
        if self._stored is not None:
            self._stored.refresh()
        with self._stored or contextlib.nullcontext():  # what was computed stays where the block ends in an error
            with BatchQueue(self._encoder.model, self._encoder.device, self._encoder.ladder, self._deliver, devices) as self._queue:
                self._run_all(self._encoder.tokenizer)
            self._report()
            if self._stored is not None:
                with self._timed_store():
                    self._stored.flush()
                    self._keep_texts()
        self._spread()
        self._encode_seconds = time.perf_counter() - started - self._store_seconds

    def counters(self) -> Counters:
        """What the call has cost."""
        return Counters(
            texts=len(self._text_of),
            distinct=len(self._slot_of),
            found=self._found,
            forwards=self._queue.forwards,
            tokens=self._queue.tokens,
            flops=self._queue.flops,
            real_tokens=self._real_tokens,
            cut=int(self._cut[self._text_of].sum()),
            tokenize_seconds=self._tokenize_seconds,
            encode_seconds=self._encode_seconds,
            store_seconds=self._store_seconds,
        )

    def result(self) -> Encoded:
        """One vector per text of the call."""
        rows = self._text_of
        vectors = self._vectors if len(rows) == len(self._vectors) else self._vectors.index_select(0, torch.from_numpy(rows))
        return Encoded(vectors, self._tokens[rows], self._cut[rows], keys_of(self._ids)[rows])

    def _spread(self) -> None:
        """Gives the texts whose token ids an earlier text has its vector. In place, as the vectors of C-MTEB fill a quarter of the memory:
        no text's slot is beyond its own number, so from the last text to the first each one finds its slot unchanged."""
        end = len(self._slots)
        while end and self._slots[end - 1] != end - 1:  # else no text before it shares its ids
            part = slice(max(0, end - _SPREAD_ROWS), end)
            self._vectors[part] = self._vectors[torch.from_numpy(self._slots[part])]
            end = part.start

    def _run_all(self, tokenizer: TextTokenizer) -> None:
        characters = np.fromiter(map(len, self._texts), dtype=np.int64, count=len(self._texts))
        self._forecast = Forecast(self._encoder.model.architecture, characters, max_len=tokenizer.max_len)
        with self._timed_store():
            self._look_up_texts()
        for chunk in tokenizer.tokenize_ahead(self._texts, ~self._settled):
            self._tokenize_seconds += chunk.seconds
            items = self._new_items(chunk)
            self._read = chunk.end
            self._forecast.read(self._read)
            self._enqueue(self._without_stored(items))
            self._report()
        self._enqueue(self._read_hits())
        self._queue.finish()

    def _look_up_texts(self) -> None:
        """Settles the texts whose token ids are known, and whose vectors are stored: they are not tokenised."""
        self._settled = np.zeros(len(self._texts), dtype=bool)
        if self._stored is None or self._known is None:
            return
        self._text_keys = self._known.keys(self._texts)
        self._was_known, self._tokenised = self._known.find(self._text_keys)
        places = np.flatnonzero(self._was_known)
        ids, tokens = self._tokenised["ids"][places].tobytes(), self._tokenised["tokens"][places].tolist()
        own = [ids[start : start + 16] for start in range(0, len(ids), 16)]
        names = [self._namer.name(self._encoder.ladder.shape(count), each) for each, count in zip(own, tokens, strict=True)]
        self._settled[places] = self._stored.contains(keys_of(names))

    def _keep_texts(self) -> None:
        if self._known is not None and not self._was_known.all():
            fresh = ~self._was_known
            self._known.put(self._text_keys[fresh], keys_of(self._ids)[fresh], self._tokens[fresh], self._cut[fresh])

    def _figures(self, chunk: Chunk) -> Iterator[tuple[npt.NDArray[np.int32] | None, bytes, int, bool]]:
        """Of each text of the chunk its token ids, their digest, how many they are, and whether some were left out."""
        rows, cut = chunk.tokens.rows(), iter(chunk.tokens.cut.tolist())
        for number in range(chunk.start, chunk.end):
            if self._settled[number]:
                own, tokens, shorter = self._tokenised[number].tolist()
                yield None, own, tokens, bool(shorter)
            else:
                ids = next(rows)
                yield ids, ids_digest(ids), len(ids), next(cut)

    def _new_items(self, chunk: Chunk) -> list[_Item]:
        """The sequences of a chunk that no earlier text of the call has."""
        items = []
        for number, (ids, own, tokens, cut) in enumerate(self._figures(chunk), start=chunk.start):
            shape = self._encoder.ladder.shape(tokens)
            name = self._namer.name(shape, own)
            slot = self._slot_of.setdefault(name, len(self._slot_of))
            if slot == len(self._name_of):
                self._name_of.append(name)
                self._real_tokens += tokens
                items.append(_Item(slot, number, name, shape, ids))
            self._ids.append(own)
            self._slots[number] = slot
            self._tokens[number] = tokens
            self._cut[number] = cut
        return items

    def _without_stored(self, items: list[_Item]) -> list[_Item]:
        if self._stored is None or not items:
            return items
        with self._timed_store():
            known = self._stored.contains(keys_of([item.name for item in items])).tolist()
        self._hits += [item for item, hit in zip(items, known, strict=True) if hit]
        return [item for item, hit in zip(items, known, strict=True) if not hit]

    def _read_hits(self) -> list[_Item]:
        """Reads what the store has, all at once so that each shard is visited once; the items it turned out not to have."""
        if self._stored is None or not self._hits:
            return []
        slots = np.array([item.slot for item in self._hits], dtype=np.int64)
        with self._timed_store():
            found = self._stored.fill(self._vectors, slots, keys_of([item.name for item in self._hits]))
        self._found = int(found.sum())
        return [item for item, hit in zip(self._hits, found.tolist(), strict=True) if not hit]

    def _enqueue(self, items: list[_Item]) -> None:
        for item in items:
            self._forecast.add(item.shape)
        vanished = [self._texts[item.text] for item in items if item.ids is None]  # from the store, since they were looked up
        rows = self._encoder.tokenizer.tokenize(vanished).rows()
        for item in items:
            if self._queue.add(item.shape, item.slot, next(rows) if item.ids is None else item.ids):
                self._report()

    def _deliver(self, slots: npt.NDArray[np.int64], vectors: torch.Tensor, finite: bool) -> None:
        if not finite:
            bad = slots[~torch.isfinite(vectors).all(dim=1).numpy()]
            first = int(np.flatnonzero(np.isin(self._slots[self._text_of], bad))[0])
            raise EncodingError(
                f"text {first} ({self._all_texts[first][:60]!r}) has a vector with NaN or infinity in {self._encoder.model.dtype}. "
                "The usual cause is an overflow of fp16 inside the model: run with dtype=bf16 or dtype=fp32."
            )
        self._vectors[torch.from_numpy(slots)] = vectors
        if self._stored is not None:
            with self._timed_store():
                self._stored.put(keys_of([self._name_of[slot] for slot in slots.tolist()]), vectors)

    def _report(self) -> None:
        if self._progress is None:
            return
        done = self._queue.flops
        self._progress(
            EncodingStep(
                texts=len(self._texts),
                read=self._read,
                found=len(self._hits),
                tokens=self._queue.done,
                done=done,
                planned=max(done, self._forecast.planned),
            )
        )

    @contextlib.contextmanager
    def _timed_store(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._store_seconds += time.perf_counter() - started
