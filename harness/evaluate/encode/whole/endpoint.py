"""The kind `endpoint`: an OpenAI-compatible `/v1/embeddings`, as vLLM, TEI, infinity, SGLang and Ollama serve it.

Weights, dtype and kernels are the server's. What can be known of it is measured: whether it gives a text the same vector twice.
The key comes from the environment and goes into the request's header alone.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import http.client
import json
import math
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.message import Message
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from harness.core.costs import Counters
from harness.core.errors import EncodingError, MachineError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.formatting import one_line, without_passwords
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.model.tokens import refuse_lone_surrogates
from harness.evaluate.encode.planned import Counted, Outline, Work
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.whole.by_text import TextEncoder, measure_repeatability, prove_store, text_keys
from harness.evaluate.encode.work import Architecture
from harness.evaluate.lengths import estimated_counts

KEY = "HARNESS_ENDPOINT_KEY"
"""The environment variable that holds the key; without it none is sent."""

TRIES = 6
PAUSE = 0.5  # seconds before the second try, doubled before each further one
LONGEST_PAUSE = 60.0  # whatever Retry-After says
_TIMEOUT = 120.0
_LOOK = 5.0  # seconds that `doctor` waits
_TEXTS = 32  # of a request, if the server takes as many
_OTHER = 0.5  # distance of a vector from itself in another form: bytes that are read wrongly give any direction; noise is measured later
_SLOW = (408, 504, 524)  # what gateways answer where a request takes them too long
_TOO_MUCH = (400, 413, 422, *_SLOW)  # what servers answer to more texts than they take
_AGAIN = (408, 409, 425, 429)  # and whatever says that the server failed, from 500 on


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model behind an address. `embedding_dim`: what it answered with; `answers_as`: what the server calls its model in its answers, None
    where it does not say; `form`: of the numbers that it is asked for."""

    spec: ModelSpec
    url: str
    model: str
    embedding_dim: int
    answers_as: str | None
    form: str = "base64"


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """An answer: the vectors [n, dim], and the name of the model that the server says made them."""

    vectors: torch.Tensor
    model: str | None


class EndpointBackend:
    """`by_text.Backend` over an address."""

    dtype: Dtype = "fp32"
    elsewhere = True

    def __init__(self, served: Served) -> None:
        self.embedding_dim = served.embedding_dim
        self._served = served
        self._texts = _TEXTS

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Characters: the server counts tokens, and says nothing of what it cuts."""
        counts = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        return counts, np.zeros(len(texts), dtype=bool)

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The vectors, and the number of requests, of half as many texts from where the server refuses one; raises as `embed` does."""
        del lengths
        made: list[torch.Tensor] = []
        requests = start = 0
        while start < len(texts):
            part = texts[start : start + self._texts]
            requests += 1
            try:
                made.append(self._ask(part))
            except _RefusedError as error:
                if error.code not in _TOO_MUCH:
                    raise
                if len(part) == 1:
                    cut = "If it is too long: vLLM cuts texts where model.request={truncate_prompt_tokens:512} asks for it"
                    raise RequestError(f"{error}. The text has {len(part[0])} characters: {part[0][:60]!r}. {cut}") from error
                self._texts = len(part) // 2
                continue
            start += len(part)
        return torch.cat(made), requests

    def _ask(self, texts: Sequence[str]) -> torch.Tensor:
        served = self._served
        answer = embed(served.url, served.model, texts, form=served.form, further=_asked_for(served.spec))
        if None not in (answer.model, served.answers_as) and answer.model != served.answers_as:
            raise MachineError(
                f"{_shown(served.url)} answered as the model {answer.model!r:.80}, before as {served.answers_as!r:.80}: it was replaced "
                "during the run. Finished tasks are kept: serve the first one again and go on, or name another results_dir and store"
            )
        if answer.vectors.shape[1] != self.embedding_dim:
            raise MachineError(f"{_shown(served.url)} gave vectors of {answer.vectors.shape[1]} numbers after ones of {self.embedding_dim}")
        return answer.vectors


class _RefusedError(RequestError):
    """The server refuses a request with the status `code`."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def embed(url: str, model: str, texts: Sequence[str], *, form: str = "base64", further: Mapping[str, Any] | None = None) -> Embedded:
    """The vectors [n, dim] of the texts, fp32, in their order, whatever the order of the answer. Floats and base64 are read; `form` is
    the one that is asked for. `further`: fields of the request beside these.

    Raises:
        RequestError: the server refuses the request.
        MachineError: it can't be reached, or answers with something else, after `TRIES` tries.
        EncodingError: a number is NaN or infinite.
    """
    answer = _post(url, {"model": model, "input": list(texts), "encoding_format": form, **(further or {})})
    try:
        items = sorted(answer["data"], key=lambda item: item["index"])
        if [item["index"] for item in items] != list(range(len(texts))):
            raise ValueError(f"{len(items)} items for {len(texts)} texts, or an index twice")
        rows = [_numbers(item["embedding"]) for item in items]
        if len({len(row) for row in rows}) != 1 or not len(rows[0]):
            raise ValueError(f"vectors of {sorted({len(row) for row in rows})} numbers")
    except (KeyError, TypeError, ValueError, OverflowError, binascii.Error) as error:
        raise MachineError(f"{_shown(url)} gave no embeddings ({type(error).__name__}: {error}): is it OpenAI-compatible?") from error
    vectors = torch.from_numpy(np.stack(rows))
    bad = np.flatnonzero(~torch.isfinite(vectors).all(dim=1).numpy())
    if len(bad):
        raise EncodingError(f"{_shown(url)} gave a vector with NaN or infinity for the text {texts[int(bad[0])][:60]!r}")
    name = answer.get("model")
    return Embedded(vectors=vectors, model=name if isinstance(name, str) else None)


@dataclass(frozen=True, kw_only=True)
class RequestsWork(Work):
    """In requests of so many texts; what they cost is the server's to know."""

    texts: int

    def cost(self, counts: IntArray) -> Counters:
        """The requests."""
        return Counters(forwards=-(-len(counts) // self.texts), tokens=int(counts.sum()))


@dataclass(frozen=True, kw_only=True)
class ServedOutline(Outline):
    """A served model: what the request says of it, since a plan asks no server."""

    def digest(self, *, dtype: Dtype, encoding: EncodingSpec, device: torch.device) -> str:
        """Of its vectors, if they are as wide as expected."""
        del dtype, encoding, device
        return _digest(self.weights_digest, self.embedding_dim)

    def count(self, texts: Sequence[str], *, max_len: int, encoding: EncodingSpec, digest: str) -> Counted:
        """Estimated from characters; what the server cuts is not known. Raises as `refuse_lone_surrogates` does."""
        del encoding
        refuse_lone_surrogates(texts)
        cut = np.zeros(len(texts), dtype=bool)
        return Counted(basis="characters", names=text_keys(digest, texts, cut, max_len=max_len), counts=estimated_counts(texts), cut=cut)

    def refuses(self, dtype: Dtype) -> str | None:
        """Why it can't run in the dtype."""
        if dtype == EndpointBackend.dtype:
            return None
        return f"dtype={dtype}: an endpoint gives fp32 numbers, whatever it computes in: say dtype=fp32"


class Endpoint(EncoderKind):
    """A served model: `model.url=http://HOST/v1`, `model.name=NAME` (`model.served_as` where the server calls it otherwise)."""

    sketched = True

    def weights_digest(self, model: ModelSpec) -> str:
        """Names address and model: the weights themselves are not known."""
        named = ["endpoint", _shown(_address(model)), _served_as(model), model.dimensions, *filter(None, [model.request])]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def problem(self, model: ModelSpec) -> str | None:
        """Whether something listens at the address; raises where it is none."""
        try:
            urllib.request.urlopen(_address(model), timeout=_LOOK).close()  # noqa: S310 (its scheme is checked)
        except urllib.error.HTTPError:
            pass  # it answers; a GET asks for no vector
        except (OSError, http.client.HTTPException) as error:
            return f"{_shown(model.url or '')} does not answer ({getattr(error, 'reason', error)}): start the server, or correct model.url"
        return None

    def load(self, model: ModelSpec, *, dtype: Dtype, device: torch.device) -> Served:
        """Ask for one vector, so that a wrong address, model or key shows at once; raises as `embed` does."""
        del device
        if problem := self.outline(model).refuses(dtype):
            raise RequestError(problem)
        url = _address(model)
        ask = partial(embed, url, _served_as(model), ["你好"], further=_asked_for(model))
        answer = plain = ask(form="float")
        form = "float"
        with contextlib.suppress(_RefusedError):  # some gateways know no base64
            answer, form = ask(form="base64"), "base64"
        units = [functional.normalize(one.vectors.double()) for one in (answer, plain)]
        found, expected = answer.vectors.shape[1], plain.vectors.shape[1]
        apart = float((units[0] - units[1]).norm()) if found == expected else math.inf
        if not apart <= _OTHER:
            raise MachineError(
                f"{_shown(url)} gives another vector as base64 ({found} numbers) than as floats ({expected}): its base64 is not of "
                "little-endian float32, so no score can be computed from it. Correct the server"
            )
        if model.dimensions not in (None, found):
            raise RequestError(f"model.dimensions={model.dimensions}: {_shown(url)} gave {found} numbers, so it does not take dimensions")
        if model.embedding_dim not in (None, found):
            raise RequestError(f"model.embedding_dim={model.embedding_dim}: {_shown(url)} gave {found} numbers")
        return Served(spec=model, url=url, model=_served_as(model), embedding_dim=found, answers_as=answer.model, form=form)

    def encoder(
        self, weights: Served, *, max_len: int, encoding: EncodingSpec, device: torch.device, store: VectorStore | None
    ) -> TextEncoder:
        """The encoder; `max_len` is the server's affair, and part of the run's name alone."""
        del encoding, device
        digest = self.weights_digest(weights.spec)
        fingerprint = Fingerprint(
            model=weights.spec.name,
            source="endpoint",
            repository=_shown(weights.url),
            weights_digest=digest,
            modules=(f"served as {weights.model}", *([f"answers as {weights.answers_as}"] if _other_name(weights) else [])),
            dtype="fp32",
            attention="the server's: repeatability is measured, not given",
            max_len=max_len,
            embedding_dim=weights.embedding_dim,
            ladder="the server's",
            digest=_digest(digest, weights.embedding_dim),
        )
        return TextEncoder(EndpointBackend(weights), fingerprint=fingerprint, architecture=None, store=store)

    def check(self, encoder: TextEncoder) -> Checked:
        """How repeatable the server is, and whether it calls its model otherwise; raises as `measure_repeatability` does."""
        checked = measure_repeatability(encoder, what=f"the endpoint {encoder.fingerprint.repository}")
        others = tuple(f"the endpoint {name}, asked for {encoder.fingerprint.model}" for name in encoder.fingerprint.modules[1:])
        return replace(checked, notes=(*checked.notes, *others))

    def prove_store(self, encoder: TextEncoder) -> None:
        """By the canary's texts; raises as `by_text.prove_store` does."""
        prove_store(encoder)

    def outline(self, model: ModelSpec) -> ServedOutline:
        """What the request says; raises where the address is none."""
        return ServedOutline(weights_digest=self.weights_digest(model), embedding_dim=model.dimensions or model.embedding_dim)

    def work(self, architecture: Architecture, *, encoding: EncodingSpec, positions: int) -> RequestsWork:
        """Requests."""
        del architecture, encoding, positions
        return RequestsWork(texts=_TEXTS, architecture=Architecture())


ENDPOINT = Endpoint()


def _address(model: ModelSpec) -> str:
    if not model.url:
        raise RequestError("model.kind=endpoint needs an address: model.url=http://HOST:PORT/v1")
    if not model.url.startswith(("http://", "https://")):
        raise RequestError(f"model.url={_shown(model.url)}: expected http:// or https://")
    if not model.url.isascii() or not model.url.isprintable() or " " in model.url:
        raise RequestError(f"model.url={_shown(model.url)!r} has characters that no address has: write them as %XX, a host as xn--")
    try:
        parts = urllib.parse.urlsplit(model.url)
        _ = parts.port
    except ValueError as error:
        raise RequestError(f"model.url={_shown(model.url)} is no address ({error})") from error
    if parts.username is not None:
        raise RequestError(f"model.url={_shown(model.url)} has a password in it, which files would show: put the key into {KEY}")
    if parts.fragment or set(urllib.parse.parse_qs(parts.query, keep_blank_values=True)) - {"api-version"}:
        raise RequestError(f"model.url may have the query ?api-version=... and no other, which files would show: put a key into {KEY}")
    path = parts.path.rstrip("/")
    return urllib.parse.urlunsplit(parts._replace(path=path if path.endswith("/embeddings") else f"{path}/embeddings"))


def _other_name(served: Served) -> bool:
    return served.answers_as not in (None, served.model)


def _digest(weights_digest: str, embedding_dim: int | None) -> str:
    return hashlib.sha256(f"endpoint {weights_digest} {embedding_dim}".encode()).hexdigest()


def _asked_for(model: ModelSpec) -> dict[str, Any]:
    """Fields of every request beside the model, the texts and their form."""
    further = {} if model.dimensions is None else {"dimensions": model.dimensions}
    return {**json.loads(model.request or "{}"), **further}


def _served_as(model: ModelSpec) -> str:
    return model.served_as or model.hub or model.name


def _numbers(embedding: Any) -> npt.NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    if not isinstance(embedding, list) or not all(number is None or type(number) in (int, float) for number in embedding):
        raise ValueError("an embedding that is no list of numbers")
    with np.errstate(over="ignore"):  # infinite then, and refused as such
        return np.array([np.nan if number is None else float(number) for number in embedding], dtype=np.float32)


def _post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310
    if key := _key():
        request.add_unredirected_header("Authorization", f"Bearer {key}")
    pause, last, several = PAUSE, "", len(body["input"]) > 1  # fewer texts take less time
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310  _address has seen to http(s)
                found = json.loads(answer.read(), parse_constant=lambda name: None if name == "NaN" else float("inf"))
            if not isinstance(found, dict) or "error" not in found or "data" in found:
                return found
            last = _without_key(f"an error in its answer: {json.dumps(found['error'], ensure_ascii=False)[:500]}")
        except urllib.error.HTTPError as error:
            last = f"{error.code} {error.reason}: {_said(error)}"
            if (error.code in _SLOW and several) or (error.code not in _AGAIN and error.code < 500):
                raise _RefusedError(f"{_shown(url)} refuses the request ({last}). A key is read from {KEY}", error.code) from error
            pause = _asked_pause(error.headers, pause)
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) and several:
                raise _RefusedError(f"{_shown(url)} gave no answer within {_TIMEOUT:.0f} s", _SLOW[0]) from error
            last = _without_key(f"{type(error).__name__}: {error}")
    raise MachineError(f"{_shown(url)} gave no answer in {TRIES} tries, the last one: {last}. Finished tasks are kept: run again")


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return _without_key(error.read(500).decode(errors="replace"))
    except (OSError, http.client.HTTPException) as lost:
        return f"its text is lost ({type(lost).__name__})"


def _asked_pause(headers: Message, pause: float) -> float:
    try:
        asked = float(headers.get("Retry-After", ""))
    except ValueError:
        return pause
    return min(max(asked, 0.0), LONGEST_PAUSE) if math.isfinite(asked) else pause


def _shown(url: str) -> str:
    return without_passwords(url)


def _key() -> str:
    """The key, without the line end of a file that it was read from; raises RequestError where no header carries it."""
    key = os.environ.get(KEY, "").strip()
    if not key.isascii() or not key.isprintable():
        raise RequestError(f"{KEY} has a character that no header carries (a line end within, or one beyond ASCII): set it anew")
    return key


def _without_key(text: str) -> str:
    key = _key()
    return one_line(text.replace(key, "***") if key else text)
