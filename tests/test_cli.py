"""The command line as a user sees it: what is printed to which stream, exit codes, one clear error each."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands import _parser, main
from harness.core.formatting import of_task
from harness.core.schema import RunConfig, schema_keys

PUBLISHED = Path(__file__).resolve().parent.parent / "results" / "published"
FORMATS = ("text", "md", "markdown", "csv", "json", "latex", "html")


def harness(*arguments: str, cwd: Path | None = None, limit_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m harness` in a process of its own, in any working directory; files longer than `limit_bytes` can't be written."""
    code = "import runpy, sys; sys.argv[0] = 'harness'; runpy.run_module('harness', run_name='__main__', alter_sys=True)"
    if limit_bytes is not None:
        code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit_bytes}, {limit_bytes})); {code}"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), ([], 2)])
def test_help_lists_every_command(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == code
    message = "".join(capsys.readouterr())
    for command in ("run", "sweep", "tasks", "table", "fetch", "lock", "doctor", "reproduce"):
        assert f"\n    {command}" in message


def test_tasks_prints_the_pinned_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tasks"]) == 0
    message = capsys.readouterr().out
    assert "cmteb35: C-MTEB, 35 tasks" in message
    assert "C-MTEB/AFQMC" in message
    assert "b44c3b01" in message
    assert main(["tasks", "--format", "json"]) == 0
    tasks = json.loads(capsys.readouterr().out)["tasks"]
    assert len(tasks) == 35
    assert tasks[0]["statistics"]


def test_the_published_table_is_the_cards_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(PUBLISHED), "--format", "csv"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert "69.07,72.75,58.7,87.84,67.99,72.93,62.09" in row


def test_headings_are_bold_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["table", str(PUBLISHED)]) == 0
    assert capsys.readouterr().out.startswith("\x1b[1mModel")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "model=acg", "dtyp=fp16"], ["did you mean acge", "did you mean dtype"]),
        (["run", "gpu=a100"], ["gpu=auto", "gpu.mismatch=warn"]),
        (["run", "model=sample", "data=sample", "tasks=[TNew]"], ["did you mean TNews"]),
        (["sweep", "dtype=fp16,fp8"], ["fp8"]),
        (["sweep", "gpu=auto,a1000"], ["did you mean a100"]),
        (["table", "nowhere"], ["no run at nowhere"]),
        (["table", str(PUBLISHED), "--convention", "mean"], ["unknown convention"]),
        (["fetch"], ["data.root=DIR"]),
        (["lock"], ["lock needs a model"]),
        (["reproduce", "dtyp=fp16"], ["did you mean dtype"]),
        (["run", "model="], ["model=./DIR"]),
        (["run", "model=sample", "data=sample", "experiment=card"], ["python -m harness sweep"]),
        (["claims", "--model", "acge", "results.path=."], ["--against RUN, without --model"]),
        (["probe", str(PUBLISHED)], ["name a run of this harness"]),
        (["calibrate", str(PUBLISHED / "acge_text_embedding")], ["has no manifest of this harness"]),
        (["calibrate", str(PUBLISHED.parent / "baselines")], ["name one of ", "cpu_fp32_len512"]),
        (["index", str(PUBLISHED), "-o", "."], ["it is a folder, name a file"]),
    ],
)
def test_a_bad_request_is_one_error_on_stderr_with_the_way_out(
    arguments: list[str], message: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments)
    captured = capsys.readouterr()
    assert code in (1, 2)
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    for part in message:
        assert part in captured.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("rn model=sample", "harness: error: argument COMMAND: unknown command 'rn': did you mean run?"),
        ("baseline acept RUN", "harness baseline: error: argument ACTION: unknown action 'acept': did you mean accept?"),
        ("table RUN --format jsn", "harness table: error: argument --format: unknown format 'jsn': did you mean json?"),
        ("run model=sample --quite", "harness run: error: unknown option '--quite': did you mean --quiet"),
        ("check RUN RUN --jnit=FILE", "harness check: error: unknown option '--jnit': did you mean --junit"),
        (
            "check RUN RUN dim=64 --format json",
            "harness: error: unrecognized arguments: dim=64. `python -m harness check --help` has what it takes",
        ),
        ("run --model sample", "Known: -h, --help, --quiet, --format, --baselines. A setting is KEY=VALUE, without dashes"),
    ],
)
def test_a_mistyped_word_is_answered_with_what_it_may_mean(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *("plan", "run", "sweep", "encode", "score RUN", "table PATH", "report PATH", "claims CARD", "explain RUN OTHER", "calibrate RUN"),
        *("check BASELINE RUN", "probe BASELINE", "baseline list", "models", "tasks", "doctor", "store info"),
    ],
)
def test_every_command_that_shows_a_table_writes_the_same_formats(words: str) -> None:
    usual = "html" if words.startswith("report") else "text"
    asked = [_parser().parse_known_args([*words.split(), *form])[0].format for form in ([], *(["--format", name] for name in FORMATS))]
    assert asked == [usual, "text", "md", "md", "csv", "json", "latex", "html"]


def test_a_wrong_name_is_a_bad_request_and_another_device_a_failure() -> None:
    assert main(["run", "model=acg"]) == 2
    assert main(["run", "gpu=a100"]) == 1
    assert main(["run", "gpu=cpu", "model=./nowhere", "data=sample"]) == 2
    assert [main([name, "nowhere", *rest]) for name, *rest in (["table"], ["score", "benchmark=cmn_v1"], ["calibrate"], ["probe"])] == [
        2
    ] * 4


def test_the_command_works_from_any_directory(tmp_path: Path) -> None:
    done = harness("tasks", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_closes_the_pipe_is_no_error() -> None:
    pipe = f"{sys.executable} -m harness tasks --format json | head -1"
    done = subprocess.run(pipe, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout == "{\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments", [["tasks", "--format", "json"], ["models"], ["table", str(PUBLISHED), "--format", "csv"], ["--version"]]
)
def test_a_full_disk_behind_stdout_is_one_error(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "harness", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "error: can't write to stdout (No space left on device): write it to another place, or make room there\n"
    assert done.returncode == 1


def test_streams_that_the_caller_closed_take_nothing_and_fail_nothing() -> None:
    command = f"{sys.executable} -m harness"
    assert subprocess.run(f"{command} tasks >&- 2>&- <&-", shell=True, check=False).returncode == 0
    done = subprocess.run(f"{command} lock 2>&-", shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")


def test_where_stderr_is_full_too_the_exit_code_says_it() -> None:
    with Path("/dev/full").open("w") as full:
        done = [
            subprocess.run([sys.executable, "-m", "harness", name], stdout=full, stderr=full, check=False) for name in ("tasks", "lock")
        ]
    assert [each.returncode for each in done] == [1, 2]


@pytest.mark.parametrize("words", [["table"], ["check", "."], ["probe"], ["claims"], ["store", "info", "--path"]])
def test_a_place_that_the_system_refuses_is_one_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    name = "x" * 300
    assert main([*words, name]) == 1
    assert re.fullmatch(rf"error: \S*{name}\S*: File name too long\. Correct its name .*free disk space\n", capsys.readouterr().err)


def test_a_working_directory_that_was_deleted_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["plan", "model=sample", "data=sample"]) == 1
    assert capsys.readouterr().err == "error: the working directory was deleted: change to one that is there (cd DIR)\n"


def test_a_character_that_stdout_can_not_take_is_one_error(tmp_path: Path) -> None:
    shutil.copytree(PUBLISHED, tmp_path / "结果")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    command = [sys.executable, "-m", "harness", "table", str(tmp_path / "结果"), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: stdout can't take '\\u7ed3': its encoding is latin-1. Set PYTHONIOENCODING=utf-8, or a locale of UTF-8\n"


def test_the_help_of_a_run_has_every_key_and_choice(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    keys = {".".join(key.split(".")[:2]) for key in schema_keys(RunConfig)}  # gpu.tflops stands for gpu.tflops.fp32
    assert [key for key in keys if not re.search(rf"\b{re.escape(key)}\b", text)] == []
    for choice in ("acge", "folder", "h200", "local", "bf16_1024", "card", "python -m harness run gpu=a100"):
        assert choice in text


def test_the_version_names_what_defines_scores(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert not caught.value.code
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("cmteb-harness ")
    assert "mteb 1.1.1" in lines


def test_a_tasks_name_stands_before_its_message_once() -> None:
    assert of_task("STSB", "STSB: no file") == of_task("STSB", "no file") == "STSB: no file"
    assert of_task("STSB", "STSB: no file", " failed:") == "STSB failed: no file"


@pytest.mark.parametrize(("given", "lost"), [(["store=null"], True), ([], False)])
def test_an_interrupted_run_says_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], lost: bool
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.core.config.resolve_request", interrupt)
    assert main(["run", "model=sample", "data=sample", *given]) == 130
    output = capsys.readouterr().err
    assert "every finished task is kept" in output
    assert ("their texts are encoded again" in output) == lost


@pytest.mark.parametrize("command", ["calibrate", "score"])
def test_settings_are_not_required(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command])
    assert capsys.readouterr().err.endswith("error: the following arguments are required: RUN\n")


def test_a_remedy_can_be_pasted_into_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = f"data.root={tmp_path / '我的 data (1)'}"
    assert main(["run", "model=sample", "data=local", missing]) == 2
    remedy = capsys.readouterr().err.split("`")[1]
    assert shlex.split(remedy) == ["python", "-m", "harness", "fetch", missing]


@pytest.mark.parametrize("command", ["run", "plan", "fetch"])
def test_help_fits_a_terminal_of_any_width(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert not caught.value.code
    assert "model.path" in capsys.readouterr().out
