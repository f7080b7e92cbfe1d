"""Token ids of many texts at once, equal to those sentence-transformers makes with `max_seq_length` set."""

import hashlib
import itertools
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import Tokenizer

from harness.core.errors import InputError, RequestError

_CHUNK = 2048  # texts tokenised at a time
_AHEAD = 2  # chunks tokenised before the caller asks for them


@dataclass(frozen=True)
class TokenIds:
    """Token ids of a list of texts, back to back: text i has `flat[offsets[i]:offsets[i + 1]]`. `cut`: where max_len left tokens out."""

    flat: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    cut: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def rows(self) -> Iterator[npt.NDArray[np.int32]]:
        """The ids of each text, as views."""
        for start, end in itertools.pairwise(self.offsets.tolist()):
            yield self.flat[start:end]

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Tokens of each text."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Chunk:
    """The texts from number `start` to before `end`: the ids of those that were to be tokenised, and the seconds that they took."""

    start: int
    end: int
    tokens: TokenIds
    seconds: float


class TextTokenizer:
    """A model's fast tokenizer with truncation fixed to `max_len`, specials included, and no padding.

    sentence-transformers calls the same Rust tokenizer with `truncation="longest_first"`; here a list goes in whole, so that it is
    spread over the cores, and only ids come back. `table`: rows of the model's table of tokens, where ids are compared with it.

    Raises:
        RequestError: `max_len` leaves no room for a token between the specials, or the tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: Any, max_len: int, *, table: int | None = None) -> None:
        if not tokenizer.is_fast:
            raise RequestError(f"{type(tokenizer).__name__} is no fast tokenizer: add its tokenizer.json to the model folder")
        specials = tokenizer.num_special_tokens_to_add()
        if max_len <= specials:
            raise RequestError(f"max_len={max_len} leaves no room beside the {specials} special tokens: set max_len={specials + 1} or more")
        self._backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._backend.encode_special_tokens = tokenizer.split_special_tokens
        self._backend.no_padding()
        self._backend.no_truncation()
        self.digest = hashlib.sha256(self._backend.to_str().encode()).hexdigest()
        """SHA-256 of the tokenizer's definition, truncation apart."""
        self._backend.enable_truncation(max_len, strategy="longest_first", direction=tokenizer.truncation_side)
        self.max_len = max_len
        self.decides = f"{self.digest} {tokenizer.truncation_side} {tokenizer.split_special_tokens} {tokenizers.__version__}"
        """All that decides a text's ids, but for `max_len` and the code of this package."""
        self._table = table

    def tokenize(self, texts: Sequence[str]) -> TokenIds:
        """The ids of the texts, in their order.

        Raises:
            InputError: a text holds a lone surrogate, which no UTF-8 has, or has tokens that the model can't run (`refuse_tokens`).
        """
        try:
            encodings = self._backend.encode_batch_fast(list(texts))
        except (TypeError, UnicodeEncodeError) as error:
            refuse_lone_surrogates(texts)
            raise InputError("the tokenizer refused a text") from error
        ids = [encoding.ids for encoding in encodings]
        offsets = np.zeros(len(ids) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in ids], out=offsets[1:])
        flat = np.empty(offsets[-1], dtype=np.int32)
        for row, start in zip(ids, offsets.tolist(), strict=False):
            flat[start : start + len(row)] = row
        refuse_tokens(texts, flat, offsets, self._table)
        cut = np.array(
            [len(row) == self.max_len and bool(encoding.overflowing) for row, encoding in zip(ids, encodings, strict=True)], dtype=bool
        )
        return TokenIds(flat, offsets, cut)

    def tokenize_ahead(self, texts: Sequence[str], wanted: npt.NDArray[np.bool_] | None = None) -> Iterator[Chunk]:
        """The ids of the texts that are `wanted` [len(texts)] (None: of all), in chunks of all of them, in order, made by a thread while
        the caller is busy with earlier ones; raises as `tokenize` does."""

        def work(start: int) -> Chunk:
            began = time.perf_counter()
            part = texts[start : start + _CHUNK]
            some = part if wanted is None else list(itertools.compress(part, wanted[start : start + _CHUNK].tolist()))
            return Chunk(start, start + len(part), self.tokenize(some), time.perf_counter() - began)

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenize") as pool:
            waiting: deque[Future[Chunk]] = deque()
            for start in range(0, len(texts), _CHUNK):
                waiting.append(pool.submit(work, start))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()


def refuse_tokens(texts: Sequence[Any], flat: npt.NDArray[np.integer], offsets: npt.NDArray[np.int64], table: int | None) -> None:
    """Pass texts (or pairs) with tokens, each of which has a row in the model's `table` of so many; ids as `TokenIds` has them.

    Raises:
        InputError: one has none, or one that has no row. sentence-transformers fails at both, unless a text without tokens has neighbours.
    """
    if len(empty := np.flatnonzero(np.diff(offsets) == 0)):
        raise InputError(
            f"the text {texts[int(empty[0])]!r:.60} has no token, so no vector: the tokenizer adds none of its own to a text. "
            "Give it an end token (post_processor in tokenizer.json), or take the text out of the data"
        )
    if table is not None and len(flat) and int(flat.max()) >= table:
        where = int(flat.argmax())
        text = texts[int(np.searchsorted(offsets, where, side="right")) - 1]
        raise InputError(
            f"the text {text!r:.60} has the token id {int(flat[where])}, and the model's table of tokens has {table} rows: tokens were "
            "added to the tokenizer and not to the model (resize_token_embeddings), or the two belong to different models"
        )


def refuse_lone_surrogates(texts: Sequence[str]) -> None:
    """Pass texts that have a UTF-8.

    Raises:
        InputError: one holds a lone surrogate.
    """
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            where = f"at character {error.start}: {json.dumps(text[:80])}"
            raise InputError(f"a text has a lone surrogate {where}. Correct the encoding of the data file.") from error
