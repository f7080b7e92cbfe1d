"""Tab completion, asked for as a user does: a key pressed in a real bash."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.commands.settings import complete_setting

ROOT = Path(__file__).resolve().parent.parent
ACTIVATE = Path(sys.executable).with_name("activate-global-python-argcomplete")
SECONDS = 60  # until it is a failure; a loaded machine takes some


class Bash:
    """An interactive bash on a terminal of its own, with the line of the README typed into it."""

    def __init__(self, activate: str) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:  # in the new process
            os.chdir(ROOT)
            os.environ |= {"PS1": "> ", "TERM": "dumb", "COLUMNS": "200", "PATH": f"{ACTIVATE.parent}:{os.environ['PATH']}"}
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        self.type(f"bind 'set show-all-if-ambiguous on'; bind 'set page-completions off'; {activate}; echo rea''dy\n", until="ready")

    def type(self, text: str, *, until: str) -> str:
        """Type the text; what the terminal shows until the words (a regular expression) are there."""
        os.write(self.terminal, text.encode())
        shown, end = "", time.monotonic() + SECONDS
        while not re.search(until, shown):
            assert time.monotonic() < end, f"not shown within {SECONDS} s: {until}; shown was {shown!r}"
            if select.select([self.terminal], [], [], 0.1)[0]:
                shown += os.read(self.terminal, 1 << 16).decode(errors="replace")
        return shown

    def close(self) -> None:
        """End it."""
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module")
def bash() -> Iterator[Bash]:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    line = next(re.finditer(r'^eval "\$\(.*$', (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE))[0]
    opened = Bash(line.replace(".venv/bin/", ""))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("report --ca", r"--calibration +--card"), ("run dty", r"run dtype="), ("run --quiet dtype=", r"bf16 +fp16 +fp32")],
)
def test_bash_completes_commands_keys_and_choices(bash: Bash, typed: str, offered: str) -> None:
    bash.type(f"\x15python -m harness {typed}\t", until=offered)  # control-U first: an empty line


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("gpu.mis", "gpu.mismatch="),
        ("gpu.mismatch=", "gpu.mismatch=warn"),
        ("gpu=", "gpu=h100"),
        ("model=", "model=acge"),
        ("model=bge", "model=bge-large-zh-v1.5"),
        ("data=", "data=local"),
        ("benchmark=", "benchmark=cmn_v1"),
        ("tasks=[STSB,", "tasks=[STSB,AFQMC"),
        ("tasks=T", "tasks=TNews"),
        ("overwrite=", "overwrite=true"),
        ("scoring.search=", "scoring.search=reference"),
    ],
)
def test_every_kind_of_setting_is_completed(typed: str, offered: str) -> None:
    assert offered in complete_setting(typed)


def test_a_text_and_an_unknown_key_are_left_to_the_shell() -> None:
    assert complete_setting("model.path=./mo") == complete_setting("nothing=") == []
