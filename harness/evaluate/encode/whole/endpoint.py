"""The kind `endpoint`: an OpenAI-compatible `/v1/embeddings`, as vLLM, TEI, infinity, SGLang and Ollama serve it.

Weights, dtype and kernels are the server's. What can be known of it is measured: whether it gives a text the same vector twice.
The key comes from the environment and goes into the request's header alone.
"""

import contextlib
import hashlib
import http.client
import json
import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from harness.core.costs import Counters
from harness.core.errors import MachineError, RequestError
from harness.core.fingerprint import Fingerprint
from harness.core.formatting import without_passwords
from harness.core.spec import Dtype, EncodingSpec, ModelSpec
from harness.evaluate.encode.canonical.shapes import IntArray
from harness.evaluate.encode.encoder import Checked, EncoderKind
from harness.evaluate.encode.model.tokens import refuse_lone_surrogates
from harness.evaluate.encode.planned import Counted, Outline
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.whole.by_text import TextEncoder, measure_repeatability, prove_store, text_keys
from harness.evaluate.encode.whole.embeddings_api import KEY, SLOW, TOO_MUCH, RefusedError, embed
from harness.evaluate.encode.work import Architecture
from harness.evaluate.lengths import estimated_counts

_LOOK = 5.0  # seconds that `doctor` waits
_TEXTS = 32  # of a request, if the server takes as many
_RECOVERED = 16  # requests that a server that was too slow answers before it is asked for twice as many texts
_OTHER = 0.5  # distance of a vector from itself in another form: bytes that are read wrongly give any direction; noise is measured later


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


class EndpointBackend:
    """`by_text.Backend` over an address."""

    dtype: Dtype = "fp32"
    elsewhere = True

    def __init__(self, served: Served) -> None:
        self.embedding_dim = served.embedding_dim
        self._served = served
        self._texts = self._most = _TEXTS  # of a request: now, and at most
        self._answered = 0  # full requests since the server last refused one

    def lengths(self, texts: Sequence[str]) -> tuple[IntArray, npt.NDArray[np.bool_]]:
        """Characters: the server counts tokens, and says nothing of what it cuts."""
        counts = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        return counts, np.zeros(len(texts), dtype=bool)

    def vectors(self, texts: Sequence[str], lengths: IntArray) -> tuple[torch.Tensor, int]:
        """The vectors, and the number of requests, of half as many texts from where the server refuses one; where it was only too slow, of
        more again later. Raises as `embed` does."""
        del lengths
        made: list[torch.Tensor] = []
        requests = start = 0
        while start < len(texts):
            part = texts[start : start + self._texts]
            requests += 1
            try:
                made.append(self._ask(part))
            except RefusedError as error:
                if error.code not in TOO_MUCH:
                    raise
                if len(part) == 1:
                    cut = "If it is too long: vLLM cuts texts where model.request={truncate_prompt_tokens:512} asks for it"
                    raise RequestError(f"{error}. The text has {len(part[0])} characters: {part[0][:60]!r}. {cut}") from error
                self._texts, self._answered = len(part) // 2, 0
                if error.code not in SLOW:
                    self._most = self._texts
                continue
            start += len(part)
            if len(part) == self._texts:
                self._answered += 1
                if self._answered % _RECOVERED == 0:
                    self._texts = min(2 * self._texts, self._most)
        return torch.cat(made), requests

    def _ask(self, texts: Sequence[str]) -> torch.Tensor:
        served = self._served
        answer = embed(served.url, served.model, texts, form=served.form, further=_asked_for(served.spec))
        if None not in (answer.model, served.answers_as) and answer.model != served.answers_as:
            raise MachineError(
                f"{without_passwords(served.url)} answered as the model {answer.model!r:.80}, before as {served.answers_as!r:.80}: it was "
                "replaced during the run. Finished tasks are kept: serve the first one again and go on, or name another results_dir "
                "and store"
            )
        if answer.vectors.shape[1] != self.embedding_dim:
            raise MachineError(
                f"{without_passwords(served.url)} gave vectors of {answer.vectors.shape[1]} numbers after ones of {self.embedding_dim}"
            )
        return answer.vectors


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
        named = ["endpoint", without_passwords(_address(model)), _served_as(model), model.dimensions, *filter(None, [model.request])]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def problem(self, model: ModelSpec) -> str | None:
        """Whether something listens at the address; raises where it is none."""
        try:
            urllib.request.urlopen(_address(model), timeout=_LOOK).close()  # noqa: S310 (its scheme is checked)
        except urllib.error.HTTPError:
            pass  # it answers; a GET asks for no vector
        except (OSError, http.client.HTTPException) as error:
            where, why = without_passwords(model.url or ""), getattr(error, "reason", error)
            return f"{where} does not answer ({why}): start the server, or correct model.url"
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
        with contextlib.suppress(RefusedError):  # some gateways know no base64
            answer, form = ask(form="base64"), "base64"
        units = [functional.normalize(one.vectors.double()) for one in (answer, plain)]
        found, expected = answer.vectors.shape[1], plain.vectors.shape[1]
        apart = float((units[0] - units[1]).norm()) if found == expected else math.inf
        if not apart <= _OTHER:
            raise MachineError(
                f"{without_passwords(url)} gives another vector as base64 ({found} numbers) than as floats ({expected}): its base64 is "
                "not of little-endian float32, so no score can be computed from it. Correct the server"
            )
        if model.dimensions not in (None, found):
            raise RequestError(
                f"model.dimensions={model.dimensions}: {without_passwords(url)} gave {found} numbers, so it does not take dimensions"
            )
        if model.embedding_dim not in (None, found):
            raise RequestError(f"model.embedding_dim={model.embedding_dim}: {without_passwords(url)} gave {found} numbers")
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
            repository=without_passwords(weights.url),
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

    def cost(self, architecture: Architecture, counts: IntArray, *, encoding: EncodingSpec, positions: int) -> tuple[Counters, IntArray]:
        """In requests; their FLOP are the server's to know."""
        del architecture, encoding, positions
        return Counters(forwards=-(-len(counts) // _TEXTS), tokens=int(counts.sum())), np.zeros_like(counts)


ENDPOINT = Endpoint()


def _address(model: ModelSpec) -> str:
    if not model.url:
        raise RequestError("model.kind=endpoint needs an address: model.url=http://HOST:PORT/v1")
    if not model.url.startswith(("http://", "https://")):
        raise RequestError(f"model.url={without_passwords(model.url)}: expected http:// or https://")
    if not model.url.isascii() or not model.url.isprintable() or " " in model.url:
        raise RequestError(
            f"model.url={without_passwords(model.url)!r} has characters that no address has: write them as %XX, a host as xn--"
        )
    try:
        parts = urllib.parse.urlsplit(model.url)
        _ = parts.port
    except ValueError as error:
        raise RequestError(f"model.url={without_passwords(model.url)} is no address ({error})") from error
    if parts.username is not None:
        raise RequestError(f"model.url={without_passwords(model.url)} has a password in it, which files would show: put the key into {KEY}")
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
