"""A served model, end to end against a server on this machine that can fail in every way that real ones do."""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import run_here
from runs import ROOT

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.errors import CanaryError, EncodingError, InputError, MachineError, RequestError
from harness.core.run_files import read_run
from harness.core.spec import ModelSpec
from harness.evaluate.calibrate.measure import calibrate
from harness.evaluate.encode.whole import by_text, embeddings_api, endpoint
from harness.evaluate.encode.whole.embeddings_api import KEY, embed
from harness.evaluate.encode.whole.endpoint import EndpointBackend, Served
from harness.evaluate.plan.planning import make_plan
from harness.evaluate.progress import Silent
from harness.evaluate.rescore import rescore, rescored_spec

BENCHMARK = load_benchmark()
SECRET = "sk-very-secret-0123456789"
DIM = 24
CHECK = 2 + 8 + 32
"""Requests before a run: its first text in both forms, the canary in requests of 32 and of 8 texts."""


def vector_of(text: str, salt: str = "") -> np.ndarray:
    """Bigrams drawn as directions: near texts have near vectors."""
    found = np.zeros(DIM)
    for pair in zip(text, text[1:] + "\n", strict=True):
        seed = int.from_bytes(hashlib.blake2b((salt + "".join(pair)).encode(), digest_size=4).digest(), "little")
        found += np.random.default_rng(seed).standard_normal(DIM)
    return found if found.any() else np.ones(DIM)


@dataclass
class Server:
    """`faults`: status codes of the next answers. `noise`: how far a vector moves from call to call. `seen`: bodies and headers.
    `most`: texts that it takes, and `too_many` what it answers to more (0: nothing until `released`). `longest`: characters of one text.
    `forms`: that it knows; `wire`: the numbers within its base64. `context`: as vLLM has one, in
    characters here: a longer text is refused, unless the request has `truncate_prompt_tokens`, -1 for all that fit."""

    url: str = ""
    faults: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    noise: float = 0.0
    form: str = "base64"
    dim: int = DIM
    most: int = 1000
    too_many: int = 413
    released: threading.Event = field(default_factory=threading.Event)
    forms: tuple[str, ...] = ("base64", "float")
    context: int | None = None
    longest: int = 100_000
    wire: str = "<f4"
    reordered: bool = True
    bad: str | None = None
    salt: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list)
    calls: int = 0
    name: str | None = None

    def kept(self, body: dict[str, Any]) -> int | None:
        asked = body.get("truncate_prompt_tokens")
        return self.context if asked == -1 else asked

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        noise = np.random.default_rng(self.calls)
        items = []
        for index, text in enumerate(text[: self.kept(body)] for text in body["input"]):
            vector = vector_of(text, self.salt)[: body.get("dimensions", self.dim)]
            vector = vector + self.noise * np.linalg.norm(vector) / np.sqrt(len(vector)) * noise.standard_normal(len(vector))
            if self.bad is not None and self.bad in text:
                vector[0] = np.nan
            whole = vector.astype("<f4")
            as_base64 = self.form == "base64" == body.get("encoding_format", "base64")
            coded = base64.b64encode(vector.astype(self.wire).tobytes()).decode() if as_base64 else whole.tolist()
            items.append({"index": index, "embedding": coded})
        return {"data": items[::-1] if self.reordered else items} | ({"model": self.name} if self.name else {})


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.seen.append({"body": body, "key": self.headers.get("Authorization"), "path": self.path})
            status, headers = state.faults.pop(0) if state.faults else (200, {})
            key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if any(len(text) > state.longest for text in body["input"]):
                status, headers = 413, {}
            if len(body["input"]) > state.most:
                status, headers = state.too_many, {}
            if body["encoding_format"] not in state.forms:
                status, headers = 400, {}
            if not status:
                state.released.wait(10)
                return
            kept = state.kept(body)
            if state.context and any(len(text[:kept]) > state.context for text in body["input"]):
                status = 400
            payload = state.answer(body) if status == 200 else f"failed for {key}"
            payload = payload if isinstance(payload, str) else json.dumps(payload)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload.encode())

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(embeddings_api, "PAUSE", 0.0)
    monkeypatch.setenv(KEY, SECRET)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        state.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
        yield state
        http.shutdown()


def request(tmp_path: Path, server: Server, *overrides: str) -> list[str]:
    places = [f"results_dir={tmp_path / 'results'}", f"store={tmp_path / 'store'}"]
    model = ["model=folder", "model.kind=endpoint", "model.name=served", f"model.url={server.url}"]
    return [*model, "data=sample", "gpu=cpu", "dtype=fp32", "tasks=[STSB]", *places, *overrides]


@pytest.mark.parametrize("form", ["base64", "float"])
def test_a_served_model_runs_resumes_and_is_found_in_the_store(form: str, server: Server, tmp_path: Path) -> None:
    server.form = form
    server.faults = [(200, {}), (429, {"Retry-After": "0"}), (500, {}), (503, {}), (200, {}), (502, {})]
    outcome = run_here(request(tmp_path, server))
    assert outcome.failed == {}
    done = read_run(outcome.folder, BENCHMARK)
    assert done.records["STSB"].main_score(BENCHMARK.task("STSB")) > 0.3
    assert done.manifest.canary["rows_differing"] == 0
    assert {one["path"] for one in server.seen} == {"/v1/embeddings"}
    assert {one["key"] for one in server.seen} == {f"Bearer {SECRET}"}
    assert {one["body"]["model"] for one in server.seen} == {"served"}
    assert run_here(request(tmp_path, server)).reused == ("STSB",)
    again = run_here(request(tmp_path, server, "overwrite=true"))
    assert again.cost.encoding.forwards == 0
    assert again.cost.encoding.found == again.cost.encoding.distinct


def test_the_key_reaches_no_file_and_no_message(server: Server, tmp_path: Path) -> None:
    run_here(request(tmp_path, server))
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        assert SECRET.encode() not in path.read_bytes()
    server.faults = [(401, {})]
    with pytest.raises(RequestError) as caught:
        embed(f"{server.url}/embeddings", "served", ["a"])
    assert SECRET not in str(caught.value)
    assert "failed for ***" in str(caught.value)
    with pytest.raises(RequestError, match="has a password in it") as refused:
        run_here(request(tmp_path, server, f"model.url=http://me:{SECRET}@127.0.0.1/v1"))
    assert SECRET not in str(refused.value)


def test_a_server_that_stays_down_or_is_none_is_one_error(server: Server) -> None:
    server.faults = [(500, {})] * 20
    with pytest.raises(MachineError, match=r"no answer in 6 tries, the last one: 500 .*\*\*\*"):
        embed(f"{server.url}/embeddings", "served", ["a"])
    with pytest.raises(MachineError, match="no answer in 6 tries"):
        embed("http://127.0.0.1:9/v1/embeddings", "served", ["a"])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_server_that_moved_is_named_with_its_new_address(status: int, server: Server) -> None:
    server.faults = [(status, {"Location": "https://elsewhere.example/v1/embeddings"})]
    with pytest.raises(RequestError, match=rf"{status} .*moved to https://elsewhere.example/v1, give that as model.url"):
        embed(f"{server.url}/embeddings", "served", ["a"])
    assert len(server.seen) == 1


def test_wrong_answers_are_named(server: Server, tmp_path: Path) -> None:
    url = f"{server.url}/embeddings"
    server.bad = "坏"
    for form in ("base64", "float"):
        server.form = form
        with pytest.raises(EncodingError, match="NaN or infinity for the text '坏的'"):
            embed(url, "served", ["好", "坏的"])
    server.bad = None
    with pytest.raises(RequestError, match=r"model.dimensions=99: .* gave 24 numbers"):
        run_here(request(tmp_path, server, "model.dimensions=99"))
    with pytest.raises(RequestError, match="dtype=fp16: an endpoint gives fp32"):
        run_here(request(tmp_path, server, "dtype=fp16"))
    assert embed(url, "served", ["好"], further={"dimensions": 8}).vectors.shape == (1, 8)


@pytest.mark.parametrize(
    "items",
    [
        None,
        [],
        [{"index": 1, "embedding": [1.0]}],
        [{"index": 0, "embedding": "%%"}],
        [{"index": 0, "embedding": []}],
        [{"index": 0, "embedding": [[1.0, 2.0]]}],
        [{"index": 0, "embedding": [True, 2.0]}],
        [{"index": 0, "embedding": [10**400, 1.0]}],
    ],
)
def test_what_is_no_answer_is_said_to_be_none(items: Any, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "answer", lambda body: {} if items is None else {"data": items})
    with pytest.raises(MachineError, match="gave no embeddings"):
        embed(f"{server.url}/embeddings", "served", ["a"])


def test_a_number_beyond_fp32_is_infinite(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "answer", lambda body: {"data": [{"index": 0, "embedding": [1e40, 1.0]}]})
    with pytest.raises(EncodingError, match="NaN or infinity for the text 'a'"):
        embed(f"{server.url}/embeddings", "served", ["a"])


@pytest.mark.parametrize("wire", ["<f2", ">f4", "<f8"])
def test_base64_of_other_numbers_than_floats_have_is_found_before_a_text_is_asked_for(wire: str, server: Server, tmp_path: Path) -> None:
    server.wire = wire
    with pytest.raises((MachineError, EncodingError), match=r"gives another vector as base64|NaN or infinity"):
        run_here(request(tmp_path, server))
    assert len(server.seen) <= 2


@pytest.mark.parametrize("answer", [413, 504, 0])
def test_a_server_that_takes_fewer_texts_or_is_slow_is_asked_for_fewer(
    answer: int, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_here(request(tmp_path, server))
    monkeypatch.setattr(embeddings_api, "_TIMEOUT", 0.3 if not answer else 60)
    server.most, server.too_many = 10, answer  # as hosted services have it: 32, 16, then 8 a request
    few = run_here(request(tmp_path, server, f"results_dir={tmp_path / 'few'}", "store=null"))
    sent = server.seen[-1 - few.cost.encoding.forwards : -1]  # the last one was for the canary's texts
    sizes = [len(one["body"]["input"]) for one in sent]
    server.released.set()
    assert max(sizes) == (8 if answer == 413 else 16)  # whoever is slow is asked for more again after 16 answers
    assert sum(size > 8 for size in sizes) <= len(sizes) / 16
    assert read_run(few.folder, BENCHMARK).records["STSB"].metrics == read_run(whole.folder, BENCHMARK).records["STSB"].metrics


def test_a_gateway_that_knows_no_base64_is_asked_for_floats(server: Server, tmp_path: Path) -> None:
    whole = run_here(request(tmp_path, server))
    server.forms = ("float",)
    plain = run_here(request(tmp_path, server, f"results_dir={tmp_path / 'plain'}", "store=null"))
    assert {one["body"]["encoding_format"] for one in server.seen[-plain.cost.encoding.forwards :]} == {"float"}
    assert read_run(plain.folder, BENCHMARK).records["STSB"].metrics == read_run(whole.folder, BENCHMARK).records["STSB"].metrics
    server.forms = ()
    with pytest.raises(RequestError, match="400"):
        run_here(request(tmp_path, server, f"results_dir={tmp_path / 'none'}"))


@pytest.mark.parametrize(("status", "tries"), [(503, 2), (529, 2), (400, 1)])
def test_an_answer_that_breaks_off_is_told_by_its_status(status: int, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_api, "PAUSE", 0.0)
    monkeypatch.setattr(embeddings_api, "TRIES", tries)
    asked = []

    def break_off(listening: socket.socket) -> None:
        for _ in range(tries):
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as request:
                asked.append(request.readline())
                request.read(int(http.client.parse_headers(request)["Content-Length"]))
                connection.sendall(f"HTTP/1.1 {status} No\r\nTransfer-Encoding: chunked\r\n\r\n".encode())  # and no chunk

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=break_off, args=[listening])
        thread.start()
        with pytest.raises((MachineError, RequestError), match=rf"{status} No: its text is lost \(IncompleteRead\)"):
            embed(f"http://127.0.0.1:{listening.getsockname()[1]}/embeddings", "served", ["a"])
        thread.join()
    assert len(asked) == tries


@pytest.mark.parametrize(("status", "sizes"), [(504, [32, 16, 8, 16, 32]), (413, [32, 16, 8])])
def test_a_server_that_was_too_slow_once_is_asked_for_as_many_texts_again(status: int, sizes: list[int], server: Server) -> None:
    server.faults = [(status, {}), (status, {})]
    served = Served(spec=ModelSpec(name="m"), url=f"{server.url}/embeddings", model="m", embedding_dim=DIM, answers_as=None)
    texts = [str(number) for number in range(16 * (8 + 16) + 32)]
    vectors, requests = EndpointBackend(served).vectors(texts, np.zeros(len(texts), dtype=np.int64))
    assert np.allclose(vectors.numpy(), [vector_of(text) for text in texts], atol=1e-6)
    asked = [len(one["body"]["input"]) for one in server.seen]
    assert requests == len(asked)
    assert [size for size, _ in itertools.groupby(asked)] == sizes


def test_a_text_that_the_server_refuses_is_named(server: Server) -> None:
    server.longest = 50
    served = Served(spec=ModelSpec(name="m"), url=f"{server.url}/embeddings", model="m", embedding_dim=DIM, answers_as=None)
    texts = [*(str(number) for number in range(20)), "天" * 51]
    with pytest.raises(RequestError, match=r"413 .*The text has 51 characters: '天天"):
        EndpointBackend(served).vectors(texts, np.zeros(21, dtype=np.int64))


def test_texts_beyond_the_context_run_where_the_request_asks_to_cut_them(server: Server, tmp_path: Path) -> None:
    server.context = 40
    asked = request(tmp_path, server, "canary=off")
    with pytest.raises(RequestError, match=r"The text has \d+ characters: .*\. If it is too long: vLLM cuts texts where model.request="):
        run_here(asked)
    whole = run_here([*asked, "model.request={truncate_prompt_tokens:-1}"])
    short = run_here([*asked, 'model.request={"user": "我", "truncate_prompt_tokens": 8}'])
    assert [one["body"].get("truncate_prompt_tokens") for one in (server.seen[0], server.seen[-1])] == [None, 8]
    assert server.seen[-1]["body"]["user"] == "我"
    first, second = (read_run(outcome.folder, BENCHMARK) for outcome in (whole, short))
    assert (whole.failed, short.failed, short.cost.encoding.found) == ({}, {}, 0)  # one store, and no vector of the other's
    assert first.manifest.spec.model.request == '{"truncate_prompt_tokens": -1}'
    assert second.manifest.spec.model.request == '{"truncate_prompt_tokens": 8, "user": "我"}'
    assert first.records["STSB"].main_score(BENCHMARK.task("STSB")) != second.records["STSB"].main_score(BENCHMARK.task("STSB"))
    assert first.path != second.path
    assert run_here([*asked, "model.request={truncate_prompt_tokens:-1}"]).reused == ("STSB",)


def test_a_file_of_ones_own_names_fields_of_requests(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "served.yaml"
    path.write_text(
        f"name: served\nkind: endpoint\nurl: {server.url}\nrequest:\n  truncate_prompt_tokens: 8\n  priority: {{a: [1.5, null]}}\n"
    )
    asked = [f"model={path}", *(word for word in request(tmp_path, server) if not word.startswith("model"))]
    assert run_here(asked).failed == {}
    assert {json.dumps(one["body"]["priority"]) for one in server.seen} == {'{"a": [1.5, null]}'}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{input:[a]}", r"model.request has input \(of the data\), which every request has already"),
        ("{dimensions:8,model:x}", r"dimensions \(of model.dimensions\), model \(of model.served_as\)"),
        ("{encoding_format:float}", "encoding_format"),
        ("[1,2]", "no table of a request's fields"),
        ("truncate", "no table of a request's fields"),
        ('{"a": NaN}', "no table of a request's fields"),
    ],
)
def test_a_request_has_no_field_twice(value: str, message: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=message):
        run_here(request(tmp_path, server, f"model.request={value}"))
    assert server.seen == []


def test_fields_of_requests_without_a_server_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"model.request is for a served model, and model.url does not name one"):
        run_here(["model=sample", "data=sample", "gpu=cpu", "model.request={a:1}", f"results_dir={tmp_path}"])


@pytest.mark.parametrize("pause", ["-5", "nan", "inf", "soon"])
def test_any_pause_that_is_asked_for_is_survived(pause: str, server: Server) -> None:
    server.faults = [(429, {"Retry-After": pause})]
    assert embed(f"{server.url}/embeddings", "served", ["a"]).vectors.shape == (1, DIM)


def test_an_error_within_an_answer_is_shown_and_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([{"error": {"message": "overloaded"}}, server.answer({"input": ["a"]})])
    monkeypatch.setattr(server, "answer", lambda body: next(answers))
    assert embed(f"{server.url}/embeddings", "served", ["a"]).vectors.shape == (1, DIM)
    monkeypatch.setattr(server, "answer", lambda body: {"error": {"message": f"no {SECRET}"}})
    with pytest.raises(MachineError, match=r"an error in its answer: .*no \*\*\*"):
        embed(f"{server.url}/embeddings", "served", ["a"])


@pytest.mark.parametrize("key", ["sk-TOP\rSECRET", "钥匙", "sk-\x07"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(key: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, key)
    with pytest.raises(RequestError, match=f"{KEY} has a character that no header carries") as caught:
        embed(f"{server.url}/embeddings", "served", ["a"])
    assert server.seen == []
    assert key not in str(caught.value)


def test_the_line_end_of_a_key_file_is_no_part_of_the_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, f"{SECRET}\r\n")
    embed(f"{server.url}/embeddings", "served", ["a"])
    assert server.seen[0]["key"] == f"Bearer {SECRET}"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://[::1/v1", "is no address"),
        ("http://host:port/v1", "is no address"),
        ("http://host/v 1", "has characters that no address has"),
        ("http://主机/v1", "has characters that no address has"),
        ("http://host/v1?api_key=sk-1", "put a key into"),
        ("http://host/v1#sk-1", "put a key into"),
        ("http://me:sk-1@host/v1", "has a password in it"),
    ],
)
def test_an_address_that_is_none_or_shows_a_key_is_refused_at_once(url: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        endpoint.ENDPOINT.weights_digest(ModelSpec(name="served", url=url))
    assert "sk-1" not in str(caught.value)


def test_the_version_of_an_api_stays_behind_the_path(server: Server, tmp_path: Path) -> None:
    run_here(request(tmp_path, server, f"model.url={server.url}/?api-version=2024-02-01"))
    assert {one["path"] for one in server.seen} == {"/v1/embeddings?api-version=2024-02-01"}


def test_what_the_server_calls_its_model_is_stated_and_must_not_change(server: Server, tmp_path: Path) -> None:
    server.name = "served-v2"
    done = read_run(run_here(request(tmp_path, server)).folder, BENCHMARK)
    assert any("answers as served-v2, asked for served" in note for note in done.header.notes)
    answer = server.answer

    def replaced(body: dict[str, Any]) -> dict[str, Any]:
        server.name = "another" if server.calls > CHECK + 2 else "served-v2"
        return answer(body)

    server.calls = 0
    server.answer = replaced  # type: ignore[method-assign]
    outcome = run_here(request(tmp_path, server, "overwrite=true", "store=null"))
    assert "answered as the model 'another', before as 'served-v2'" in outcome.failed["STSB"]


def test_a_model_that_is_replaced_in_silence_leaves_no_score_and_no_vector(server: Server, tmp_path: Path) -> None:
    answer = server.answer

    def replaced(body: dict[str, Any]) -> dict[str, Any]:
        server.salt = "another" if server.calls > CHECK + 2 else ""
        return answer(body)

    server.answer = replaced  # type: ignore[method-assign]
    asked = request(tmp_path, server, "tasks=[STSB,T2Retrieval]")
    outcome = run_here(asked)
    assert set(outcome.failed) == {"STSB", "T2Retrieval"}
    assert "answers with another model than before the run" in outcome.failed["STSB"]
    server.salt, server.answer = "", answer  # type: ignore[method-assign]
    again = run_here(asked)
    assert (again.failed, again.cost.encoding.found) == ({}, 0)
    alone = request(tmp_path / "alone", server, "tasks=[STSB,T2Retrieval]")
    scores = [read_run(run_here(words).folder, BENCHMARK).records["STSB"].metrics for words in (asked, alone)]
    assert scores[0] == scores[1]


def test_a_model_that_is_replaced_before_an_error_leaves_no_vector(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_text, "PART", 32)  # a request
    answer = server.answer

    def replaced(body: dict[str, Any]) -> dict[str, Any]:
        server.salt = "another" if server.calls >= CHECK + 2 else ""  # after the first part, which is kept
        server.faults = [(500, {})] * 20 if server.calls == CHECK + 2 else server.faults
        return answer(body)

    server.answer = replaced  # type: ignore[method-assign]
    asked = request(tmp_path, server, "tasks=[T2Retrieval]")
    assert "no answer in 6 tries" in run_here(asked).failed["T2Retrieval"]
    server.salt, server.answer, server.faults = "", answer, []  # type: ignore[method-assign]
    again = run_here(asked)
    assert (again.failed, again.cost.encoding.found) == ({}, 32)
    alone = request(tmp_path / "alone", server, "tasks=[T2Retrieval]")
    scores = [read_run(run_here(words).folder, BENCHMARK).records["T2Retrieval"].metrics for words in (asked, alone)]
    assert scores[0] == scores[1]


def test_a_run_does_not_go_on_with_another_model_without_a_store(server: Server, tmp_path: Path) -> None:
    run_here(request(tmp_path, server, "store=null"))
    longer = request(tmp_path, server, "store=null", "tasks=[STSB,Ocnli]")
    assert set(run_here(longer).computed) == {"Ocnli"}
    server.salt = "another model"
    with pytest.raises(InputError, match=r"has tasks of another model: .*overwrite=true"):
        run_here(request(tmp_path, server, "store=null", "tasks=[STSB,Ocnli,BQ]"))
    assert set(run_here([*longer, "overwrite=true"]).computed) == {"STSB", "Ocnli"}


def test_without_the_canary_a_store_is_compared_all_the_same(server: Server, tmp_path: Path) -> None:
    run_here(request(tmp_path, server, "canary=off"))
    assert run_here(request(tmp_path, server, "canary=off", "tasks=[Ocnli]")).failed == {}
    server.salt = "another model"
    with pytest.raises(InputError, match=r"256 of 256 texts of the canary have other vectors there.*another store=DIR"):
        run_here(request(tmp_path, server, "canary=off", "tasks=[BQ]"))


def test_scores_of_a_run_that_differs_in_max_len_are_taken_from_the_same_model_alone(server: Server, tmp_path: Path) -> None:
    first = read_run(run_here(request(tmp_path, server, "store=null", "max_len=512")).folder, BENCHMARK).records["STSB"].metrics
    taken = run_here(request(tmp_path, server, "store=null", "max_len=1024"))
    assert (taken.cost.encoding.forwards, read_run(taken.folder, BENCHMARK).records["STSB"].metrics) == (0, first)
    server.salt = "another model"
    for words in (["max_len=256"], ["max_len=128", "canary=off"]):
        other = run_here(request(tmp_path, server, "store=null", *words))
        assert other.cost.encoding.forwards > 0
        assert read_run(other.folder, BENCHMARK).records["STSB"].metrics != first


def test_what_was_answered_before_a_failure_is_in_the_store(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_text, "PART", 32)  # a request
    answer = server.answer

    def failing(body: dict[str, Any]) -> dict[str, Any]:
        if server.calls == CHECK + 3:  # those before the run, two of it, and the canary's texts after each
            server.faults = [(500, {})] * 20
        return answer(body)

    server.answer = failing  # type: ignore[method-assign]
    asked = request(tmp_path, server, "tasks=[T2Retrieval]")
    assert "no answer in 6 tries" in run_here(asked).failed["T2Retrieval"]
    server.faults, server.answer = [], answer  # type: ignore[method-assign]
    assert run_here(asked).cost.encoding.found >= 64


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_what_was_answered_before_a_signal_is_in_the_store(sign: signal.Signals, server: Server, tmp_path: Path) -> None:
    answer, asked, ended = server.answer, threading.Event(), threading.Event()

    def blocking(body: dict[str, Any]) -> dict[str, Any]:
        if server.calls >= CHECK + 20:  # those before the run, its first part, and some of the second
            asked.set()
            ended.wait(60)
        return answer(body)

    server.answer = blocking  # type: ignore[method-assign]
    words = request(tmp_path, server, "tasks=[Retrieval]")
    command = [sys.executable, "-m", "harness", "encode", *words, "shard=1/1", "--quiet"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell starts what it does in the background without it
    ) as process:
        try:
            assert asked.wait(120)
            process.send_signal(sign)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
            ended.set()
    assert process.returncode == (130 if sign == signal.SIGINT else -sign)
    assert "interrupted: the vectors so far are in the store" in said
    server.answer = answer  # type: ignore[method-assign]
    assert run_here(words).cost.encoding.found >= 512


@pytest.mark.parametrize("raw", ["{", "[" * 100_000, "\x00"], ids=["cut", "nested", "binary"])
def test_an_answer_that_is_no_json_is_one_error(raw: str, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "answer", lambda body: raw)
    with pytest.raises(MachineError, match="gave no answer in 6 tries"):
        embed(f"{server.url}/embeddings", "served", ["a"])


def test_a_vector_that_changes_between_calls_is_measured_stated_and_beyond_a_bound_refused(server: Server, tmp_path: Path) -> None:
    server.noise = 1e-3
    done = read_run(run_here(request(tmp_path, server)).folder, BENCHMARK)
    assert 1e-4 < done.manifest.canary["floor"] < 1e-2
    assert any("256 vectors are not pure to the bit" in note for note in done.header.notes)
    server.noise = 0.3
    with pytest.raises(CanaryError, match="is not repeatable: asked twice"):
        run_here(request(tmp_path, server, "overwrite=true"))


def test_a_vector_that_depends_on_how_many_texts_a_request_has_is_measured_and_is_no_other_model(server: Server, tmp_path: Path) -> None:
    answer = server.answer

    def by_size(body: dict[str, Any]) -> dict[str, Any]:
        server.noise, server.calls = (5e-3, 0) if len(body["input"]) < 32 else (0.0, server.calls)
        return answer(body)

    server.answer = by_size  # type: ignore[method-assign]
    outcome = run_here(request(tmp_path, server))
    assert outcome.failed == {}
    assert read_run(outcome.folder, BENCHMARK).manifest.canary["rows_differing"] == 256


def test_another_model_behind_the_same_name_is_not_served_from_the_store(server: Server, tmp_path: Path) -> None:
    run_here(request(tmp_path, server))
    server.salt = "another model"
    with pytest.raises(InputError, match="256 of 256 texts of the canary have other vectors there"):
        run_here(request(tmp_path, server, "overwrite=true"))


def test_a_run_is_scored_by_another_benchmark_from_its_store(server: Server, tmp_path: Path) -> None:
    folder = run_here(request(tmp_path, server)).folder
    again = ["benchmark=cmn_v1", f"store={tmp_path / 'store'}", f"results_dir={tmp_path / 'live'}"]
    server.salt = "another model"
    with pytest.raises(InputError, match="256 of 256 texts of the canary have other vectors there"):
        rescore(folder, rescored_spec(folder, again, tasks=["STSB"]), Silent())
    server.salt = ""
    outcome = rescore(folder, rescored_spec(folder, again, tasks=["STSB"]), Silent())
    assert (outcome.failed, outcome.cost.encoding.forwards) == ({}, 0)
    alone = run_here(request(tmp_path / "alone", server, "benchmark=cmn_v1", "store=null"))
    scores = [read_run(one.folder, load_benchmark("cmn_v1")).records["STSB"].metrics for one in (outcome, alone)]
    assert scores[0] == scores[1]
    with pytest.raises(RequestError, match="only runs of canonical encoders can be calibrated"):
        calibrate(folder)


def test_a_plan_counts_requests_and_asks_the_server_nothing(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*request(tmp_path, server), f"model.embedding_dim={DIM}"]
    (plan,) = make_plan(asked).runs
    assert server.seen == []
    assert (plan.obstacles, plan.seconds, plan.cost.flops) == ((), None, 0)
    outcome = run_here(asked)
    assert plan.cost.forwards == outcome.cost.encoding.forwards
    (again,) = make_plan([*asked, "overwrite=true"]).runs
    assert (again.left.texts, again.cost.found, again.seconds) == (0, outcome.cost.encoding.distinct, 0.0)
    assert main(["plan", *asked, "overwrite=true", "store=null", "dtype=fp32"]) == 0
    assert "requests" in capsys.readouterr().out
    (other,) = make_plan([*(word for word in asked if not word.startswith("dtype=")), "dtype=fp16"]).runs
    assert any("an endpoint gives fp32 numbers" in text for text in other.obstacles)


def test_by_mteb_2_a_note_tells_of_servers_that_normalise(server: Server, tmp_path: Path) -> None:
    told = [
        sum("most servers normalise" in note for note in make_plan(request(tmp_path, server, f"benchmark={name}")).runs[0].notes)
        for name in ("cmn_v1", "cmteb35")
    ]
    outcome = run_here(request(tmp_path, server, "benchmark=cmn_v1"))
    found = read_run(outcome.folder, load_benchmark("cmn_v1"))
    assert (told, sum("most servers normalise" in note for note in found.header.notes)) == ([1, 0], 1)
