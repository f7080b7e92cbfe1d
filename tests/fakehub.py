"""A hub on loopback: it answers what huggingface_hub requests, with faults on request. Repositories, commits and bytes are known."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow
import pyarrow.parquet
import yaml

Files = Mapping[str, bytes]


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(columns: Mapping[str, list[Any]]) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(columns)), sink)
    return sink.getvalue()


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def commit_of(name: str) -> str:
    """A commit id for a test: 40 hexadecimal digits."""
    return hashlib.sha1(name.encode()).hexdigest()


@dataclass
class FakeHub:
    """`repositories`: name -> commit -> path -> bytes. `main`: name -> commit. `cards`: those that were asked to be validated.

    Faults: `broken[path] = n` closes the connection after n bytes, once (and answers `status_after_break` from then on, where set);
    `status[path]` answers with that status instead (`api`: listings);
    `answer` is sent instead of every listing; the body of `stall_path` stops halfway (`stalling` is set then) until `release` is set.
    """

    repositories: dict[str, dict[str, Files]] = field(default_factory=dict)
    main: dict[str, str] = field(default_factory=dict)
    broken: dict[str, int] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    status_after_break: int | None = None
    answer: bytes | None = None
    stall_path: str | None = None
    stalling: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str]] = field(default_factory=list)
    cards: list[str] = field(default_factory=list)
    endpoint: str = ""

    def add(self, repository: str, commit: str, files: Files, *, main: bool = True) -> None:
        self.repositories.setdefault(repository, {})[commit] = files
        if main:
            self.main[repository] = commit

    def downloads(self) -> list[str]:
        """The paths whose bytes were asked for, in order."""
        return [path for method, path in self.requests if method == "GET" and "/resolve/" in path]


def card_problems(card: str) -> list[str]:
    """What the hub's documentation of model cards asks of a model-index, and this card lacks. The real hub may ask for more."""
    front = yaml.safe_load(card.split("---")[1])
    problems = []
    for model in front.get("model-index", []):
        problems += [] if isinstance(model.get("name"), str) else ['"model-index[].name" is required']
        for result in model["results"]:
            required = {"task": ("type",), "dataset": ("type", "name")}
            problems += [
                f'"{part}.{key}" is required' for part, keys in required.items() for key in keys if not result.get(part, {}).get(key)
            ]
            metrics = result.get("metrics") or [{}]
            problems += [f'"metrics.{key}" is required' for metric in metrics for key in ("type", "value") if metric.get(key) is None]
    return problems


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        hub.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hub.requests.append((self.command, self.path))
            if self.path != "/api/validate-yaml":
                self._error(404, "EntryNotFound")
                return
            card = json.loads(body)["content"]
            hub.cards.append(card)
            problems = card_problems(card)
            self._send(400 if problems else 200, {"Content-Type": "text/plain"}, "\n".join(problems).encode())

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.requests.append((self.command, path))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "datasets"]:
                self._list("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
            elif parts[0] == "datasets" and parts[3] == "resolve":
                self._file("/".join(parts[1:3]), parts[4], "/".join(parts[5:]))
            else:
                self._error(404, "RepoNotFound")

        def _commit(self, repository: str, revision: str) -> str | None:
            if repository not in hub.repositories:
                self._error(404, "RepoNotFound")
                return None
            commit = hub.main.get(repository, "") if revision == "main" else revision
            if commit not in hub.repositories[repository]:
                self._error(404, "RevisionNotFound")
                return None
            return commit

        def _list(self, repository: str, revision: str) -> None:
            if "api" in hub.status:
                self._error(hub.status["api"], "")
                return
            commit = self._commit(repository, revision)
            if commit is None:
                return
            siblings = [{"rfilename": path} for path in hub.repositories[repository][commit]]
            body = json.dumps(
                {"id": repository, "sha": commit, "siblings": siblings, "tags": [], "private": False, "downloads": 0}
            ).encode()
            self._send(200, {"Content-Type": "application/json"}, body if hub.answer is None else hub.answer)

        def _file(self, repository: str, revision: str, name: str) -> None:
            commit = self._commit(repository, revision)
            if commit is None:
                return
            if name in hub.status and self.command == "GET":
                self._error(hub.status[name], "")
                return
            content = hub.repositories[repository][commit].get(name)
            if content is None:
                self._error(404, "EntryNotFound")
                return
            headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"', "Accept-Ranges": "bytes"}
            start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if self.headers["Range"] else 0
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206 if start else 200, headers, content[start:], name=name)

        def _error(self, status: int, code: str) -> None:
            self._send(status, {"X-Error-Code": code}, b"")

        def _send(self, status: int, headers: Mapping[str, str], body: bytes, *, name: str = "") -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if name in hub.broken:
                self.wfile.write(body[: hub.broken.pop(name)])
                self.wfile.flush()
                if hub.status_after_break:
                    hub.status[name] = hub.status_after_break
                self.close_connection = True
                return
            if name and name == hub.stall_path and not hub.release.is_set():
                half = len(body) // 2
                self.wfile.write(body[:half])
                self.wfile.flush()
                hub.stalling.set()
                hub.release.wait()
                body = body[half:]
            try:
                self.wfile.write(body)
            except OSError:  # the client was killed
                self.close_connection = True

    return Handler
