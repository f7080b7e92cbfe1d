"""Commands of the harness in processes that are killed at a chosen point of what they do to files.

`Commands` starts this file as a process, which imports the harness once and forks another process for each command: a start takes
milliseconds, not seconds.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any

EVENTS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.utime", "fcntl.flock", "socket.connect", "subprocess.Popen"}
"""What Python tells of before it happens, beside files that are opened for writing: https://docs.python.org/3/library/audit_events.html"""


@dataclass(frozen=True)
class Ended:
    """How a command ended. `code`: as of `Popen.returncode`; `events`: how many it had, None where it was killed; `orphans`: processes of
    it that did not end with it.
    """

    code: int
    events: int | None
    orphans: list[str]
    output: str


class Commands:
    """Runs commands of the harness, one after the other. `environment` is that of all of them, and `temporary` their TMPDIR."""

    def __init__(self, environment: Mapping[str, str], temporary: Path) -> None:
        self._temporary = temporary
        command = [sys.executable, str(Path(__file__))]
        variables = os.environ | dict(environment) | {"TMPDIR": str(temporary)}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables)

    def __enter__(self) -> Commands:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate()

    def run(self, words: Sequence[str], *, kill_at: int | None = None, delay: float = 0.0) -> Ended:
        """Run the command; it is killed `delay` seconds after the event of that number, if it gets there."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"words": list(words), "kill_at": kill_at, "delay": delay}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))


def play(words: Sequence[str], kill_at: int | None, delay: float, events: int) -> int:
    """The command, in this process. `events`: a pipe for how many there were."""
    from harness.commands import main

    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if not writing and event not in EVENTS:
            return
        count += 1
        if count == kill_at:
            if delay:
                threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
            else:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.dont_write_bytecode = True
    sys.addaudithook(watch)
    code = main(list(words))
    os.write(events, str(count).encode())
    return code


def orphans(session: int, seconds: float = 20.0) -> list[str]:
    """The command lines of the session's processes that are there after so many seconds; they are ended."""
    deadline = time.monotonic() + seconds
    while left := [int(path.name) for path in Path("/proc").glob("[0-9]*") if of_session(path, session)]:
        if time.monotonic() > deadline:
            lines = [Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ") for pid in left]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            return lines
        time.sleep(0.02)
    return []


def of_session(process: Path, session: int) -> bool:
    try:
        state, _, _, mine = (process / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:4]
    except OSError:
        return False
    return int(mine) == session and state != "Z"


def serve() -> int:
    """Commands of standard input, each in a process of its own, until it closes."""
    import C_MTEB  # noqa: F401
    import torch

    import harness.commands.stages
    import harness.evaluate.calibrate.measure
    import harness.evaluate.sweep
    import harness.read.drift.baselines
    import harness.show.calibration
    import harness.show.drift  # noqa: F401  what commands import when they need it
    from harness.core.benchmarks import load_benchmark
    from harness.core.code import ENCODING, SCORING, code_digest
    from harness.core.config import compose_config
    from harness.core.environment import lock_differences
    from harness.evaluate.score.reference import fresh_task

    torch.cuda.traceback = SimpleNamespace(format_stack=list)  # type: ignore[attr-defined]  see conftest.py
    compose_config(["model=sample", "data=sample", "gpu=cpu"])  # Hydra looks for its plugins
    fresh_task(load_benchmark().tasks[0])  # mteb makes one of each of its tasks
    code_digest(ENCODING), code_digest(SCORING), lock_differences()
    gc.freeze()  # a process that ends would look through all of it
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        request = json.loads(line)
        theirs, ours = os.pipe()
        output = os.memfd_create("output")
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.dup2(output, 1)
            os.dup2(output, 2)
            return play(**request, events=ours)
        os.close(ours)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(theirs, "rb") as pipe, os.fdopen(output, "rb") as file:
            counted = pipe.read()
            file.seek(0)
            told = file.read().decode(errors="replace")
        code = os.waitstatus_to_exitcode(status)
        ended = {"code": code, "events": int(counted) if counted else None, "orphans": orphans(pid), "output": told[-4000:]}
        answers.write(json.dumps(ended) + "\n")
        answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(serve())
