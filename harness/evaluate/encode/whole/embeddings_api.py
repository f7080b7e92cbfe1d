"""Requests to an OpenAI-compatible `/v1/embeddings`: what is asked, when it is asked again, and what the answer says."""

import base64
import binascii
import http.client
import json
import math
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.core.errors import EncodingError, MachineError, RequestError
from harness.core.formatting import one_line, without_passwords

KEY = "HARNESS_ENDPOINT_KEY"
"""The environment variable that holds the key; without it none is sent."""

TRIES = 6
PAUSE = 0.5  # seconds before the second try, doubled before each further one
LONGEST_PAUSE = 60.0  # whatever Retry-After says
_TIMEOUT = 120.0
SLOW = (408, 504, 524)  # what gateways answer where a request takes them too long
TOO_MUCH = (400, 413, 422, *SLOW)  # what servers answer to more texts than they take
_AGAIN = (408, 409, 425, 429)  # and whatever says that the server failed, from 500 on


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """An answer: the vectors [n, dim], and the name of the model that the server says made them."""

    vectors: torch.Tensor
    model: str | None


class RefusedError(RequestError):
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
        raise MachineError(
            f"{without_passwords(url)} gave no embeddings ({type(error).__name__}: {error}): is it OpenAI-compatible?"
        ) from error
    vectors = torch.from_numpy(np.stack(rows))
    bad = np.flatnonzero(~torch.isfinite(vectors).all(dim=1).numpy())
    if len(bad):
        raise EncodingError(f"{without_passwords(url)} gave a vector with NaN or infinity for the text {texts[int(bad[0])][:60]!r}")
    name = answer.get("model")
    return Embedded(vectors=vectors, model=name if isinstance(name, str) else None)


def _numbers(embedding: Any) -> npt.NDArray[np.float32]:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
    if not isinstance(embedding, list) or not all(number is None or type(number) in (int, float) for number in embedding):
        raise ValueError("an embedding that is no list of numbers")
    with np.errstate(over="ignore"):  # infinite then, and refused as such
        return np.array([np.nan if number is None else float(number) for number in embedding], dtype=np.float32)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """urllib would ask the new address for a page, without the texts."""

    def redirect_request(self, *_: object) -> None:
        """Leaves the answer as it is, an error."""


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
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=_TIMEOUT) as answer:
                found = json.loads(answer.read(), parse_constant=lambda name: None if name == "NaN" else float("inf"))
            if not isinstance(found, dict) or "error" not in found or "data" in found:
                return found
            last = _without_key(f"an error in its answer: {json.dumps(found['error'], ensure_ascii=False)[:500]}")
        except urllib.error.HTTPError as error:
            last = f"{error.code} {error.reason}: {_said(error)}"
            if (error.code in SLOW and several) or (error.code not in _AGAIN and error.code < 500):
                raise RefusedError(
                    f"{without_passwords(url)} refuses the request ({last}). A key is read from {KEY}", error.code
                ) from error
            pause = _asked_pause(error.headers, pause)
        except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) and several:
                raise RefusedError(f"{without_passwords(url)} gave no answer within {_TIMEOUT:.0f} s", SLOW[0]) from error
            last = _without_key(f"{type(error).__name__}: {error}")
    raise MachineError(
        f"{without_passwords(url)} gave no answer in {TRIES} tries, the last one: {last}. Finished tasks are kept: run again"
    )


def _said(error: urllib.error.HTTPError) -> str:
    if moved := error.headers.get("Location"):
        return f"the server has moved to {without_passwords(moved).removesuffix('/embeddings')}, give that as model.url"
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


def _key() -> str:
    """The key, without the line end of a file that it was read from; raises RequestError where no header carries it."""
    key = os.environ.get(KEY, "").strip()
    if not key.isascii() or not key.isprintable():
        raise RequestError(f"{KEY} has a character that no header carries (a line end within, or one beyond ASCII): set it anew")
    return key


def _without_key(text: str) -> str:
    key = _key()
    return one_line(text.replace(key, "***") if key else text)
