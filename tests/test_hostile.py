"""Names and messages from files and servers: shown without acting on terminals, CI systems or spreadsheets; no name leaves its folder."""

from __future__ import annotations

import csv
import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cards import write_card
from fakehub import FakeHub, running
from gates import accept, gate_run
from runs import BENCHMARK, HEADER, write_run

from harness.commands import main
from harness.core.benchmarks import load_benchmark
from harness.core.errors import HarnessError, InputError, RequestError
from harness.core.formatting import csv_cell, one_line, printable, without_passwords
from harness.core.run_files import MANIFEST, read_record, read_run, write_failure
from harness.core.spec import DataSpec
from harness.data.hub import hub_status
from harness.data.local import MIRROR, read_mirror
from harness.data.sources import load_task

HOSTILE = "\x1b[31mred\x07\n::error title=x::injected ##[error]y \u202egnp\x9b0m"
FORBIDDEN = ("\x1b", "\x07", "\x9b", "\u202e", "##[")


def harmless(shown: str) -> bool:
    return not any(bad in shown for bad in FORBIDDEN) and not any(line.lstrip().startswith("::") for line in shown.splitlines())


@pytest.mark.parametrize("format", ["text", "md", "csv", "json", "latex", "html"])
def test_no_format_of_a_table_acts_on_a_terminal_or_a_ci_system(tmp_path: Path, capsys: pytest.CaptureFixture[str], format: str) -> None:  # noqa: A002
    run = write_run(tmp_path / "run", {"TNews": 0.5}, header=replace(HEADER, model=HOSTILE, gpu=HOSTILE, notes=(HOSTILE, "::error::z")))
    write_failure(run.path, "AFQMC", kind="ValueError", message=f"::error::{HOSTILE}", traceback="")
    assert main(["table", str(tmp_path), "--format", format, "--tasks"]) == 0
    shown = capsys.readouterr().out
    assert harmless(shown)
    assert "injected" in shown
    if format == "json":
        assert json.loads(shown)["rows"][0]["header"]["model"] == HOSTILE


def test_an_error_message_is_as_harmless_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", str(tmp_path / f"no\n::error::such\x1b[2J{HOSTILE}")]) == 2
    assert harmless(capsys.readouterr().err)
    assert main(["claims", str(write_card(tmp_path, f'---\nmodel-index: "{HOSTILE.encode("unicode_escape").decode()}"\n---\n'))]) in (1, 2)
    assert harmless(capsys.readouterr().err)


def test_what_a_spreadsheet_would_run_is_text_in_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    formula = '=HYPERLINK("http://x","y")'
    write_run(tmp_path / "run", {"STSB": -0.25}, header=replace(HEADER, model=formula, gpu="@SUM(1)"))
    assert main(["table", str(tmp_path), "--format", "csv"]) == 0
    row = list(csv.reader(io.StringIO(capsys.readouterr().out)))[1]
    assert row[:2] == [f"'{formula}", "'@SUM(1)"]
    assert main(["index", str(tmp_path / "run"), "-o", str(tmp_path / "index.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "index.csv").open()))
    assert {each["model"] for each in rows} == {f"'{formula}"}
    assert [float(each["score"]) for each in rows if each["task"] == "STSB"] == [-25.0]


@pytest.mark.parametrize(("text", "cell"), [("-1.5", "-1.5"), ("+0.12", "+0.12"), ("-1e-05", "-1e-05"), ("-2+3", "'-2+3"), ("a=b", "a=b")])
def test_numbers_are_no_formulas(text: str, cell: str) -> None:
    assert csv_cell(text) == cell


@pytest.mark.parametrize("model", ["../escaped", "..", "/abs/path", "a/b", "", ".hidden", "x\0y"])
def test_a_baseline_is_never_written_outside_of_its_folder(tmp_path: Path, model: str) -> None:
    run = gate_run(tmp_path / "run", header=replace(HEADER, model=model))
    victim = tmp_path / "escaped" / "run"
    shutil.copytree(run.path, victim)
    before = sorted(path for path in tmp_path.rglob("*"))
    with pytest.raises(RequestError, match="it names a folder"):
        accept(run, tmp_path / "to")
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_a_link_out_of_the_baselines_is_not_followed(tmp_path: Path) -> None:
    run = gate_run(tmp_path / "run")
    (tmp_path / "to").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "to" / "acge").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="is a link to"):
        accept(run, tmp_path / "to")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def _a_file(target: Path) -> None:
    target.write_text("mine")


def _somebodys_folder(target: Path) -> None:
    target.mkdir()
    (target / "thesis.txt").write_text("mine")


def _a_run(target: Path) -> None:
    gate_run(target)
    (target / "costs.jsonl").write_text("{}\n")


def _a_link(target: Path) -> None:
    gate_run(target.parent.parent.parent / "linked")
    target.symlink_to(target.parent.parent.parent / "linked")


@pytest.mark.parametrize("make", [_a_file, _somebodys_folder, _a_run, _a_link])
def test_what_is_no_baseline_is_not_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    run = gate_run(tmp_path / "run")
    (tmp_path / "to" / "acge").mkdir(parents=True)
    make(tmp_path / "to" / "acge" / "mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(RequestError, match="is there and is no baseline"):
        accept(run, tmp_path / "to", name="mine")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_benchmark_whose_tasks_would_be_files_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\ntasks: [../../x]\nfacts:\n  ../../x: {type: STS, hub: a/b}\n")
    with pytest.raises(RequestError, match=r"'\.\./\.\./x' can't be the name of a file"):
        load_benchmark(str(path))


def test_a_manifest_does_not_choose_a_benchmark_file_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "runs" / "run", {"TNews": 0.5})
    (tmp_path / "own.yaml").write_text("name: own\ntasks: [TNews]\n")
    content = json.loads((run.path / MANIFEST).read_text()) | {"benchmark": {"name": "../../own"}}
    (run.path / MANIFEST).write_text(json.dumps(content))
    assert main(["table", str(run.path)]) == 2
    assert "unknown benchmark '../../own'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd", "a/../../b"])
def test_a_mirror_reads_no_file_outside_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / MIRROR).write_text(
        json.dumps(
            {
                "schema": 1,
                "task": "AFQMC",
                "repository": "C-MTEB/AFQMC",
                "revision": "r",
                "pinned_revision": "r",
                "qrels_repository": None,
                "qrels_revision": None,
                "substituted": False,
                "notes": [],
                "files": {name: {"sha256": "0" * 64, "size": 1, "origin": ""}},
            }
        )
    )
    with pytest.raises(InputError, match="outside of its folder"):
        read_mirror(tmp_path)


@pytest.mark.parametrize(
    ("task", "metric", "value"),
    [
        ("TNews", "accuracy", 1.5),
        ("TNews", "accuracy", -0.1),
        ("TNews", "f1", 62.5),
        ("STSB", "cos_sim.spearman", -1.01),
        ("Cmnli", "cos_sim.ap", 2),
    ],
)
def test_a_score_that_no_scorer_gives_is_refused_on_reading(tmp_path: Path, task: str, metric: str, value: float) -> None:
    path = write_run(tmp_path, {task: 0.5}).path / f"{task}.json"
    content = json.loads(path.read_text())
    *groups, last = metric.split(".")
    inner = content[BENCHMARK.task(task).split]
    for group in groups:
        inner = inner[group]
    inner[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"{metric.replace('.', '_')} is {value}.*expected (0|-1) to 1"):
        read_record(path, BENCHMARK.task(task))


@pytest.mark.parametrize("value", [1.0 + 1e-12, 1.0, 0.0, -0.0])
def test_the_ends_of_the_range_are_scores(tmp_path: Path, value: float) -> None:
    assert read_run(write_run(tmp_path, {"TNews": value}).path, BENCHMARK).records["TNews"].main_score(BENCHMARK.task("TNews")) == value


@pytest.fixture
def locked_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    fake = FakeHub()
    with running(fake):
        monkeypatch.setenv("HF_ENDPOINT", fake.endpoint.replace("://", "://reader:s3cr%3Dt@"))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        yield fake


@pytest.mark.parametrize("status", [404, 500, 403])
def test_the_password_of_the_hub_is_in_no_message(
    locked_hub: FakeHub, status: int, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    locked_hub.status["api"] = status
    with pytest.raises(HarnessError) as caught:
        load_task(BENCHMARK.task("AFQMC"), DataSpec(source="hub"))
    logging.getLogger("huggingface_hub").warning(
        "thrown while requesting GET %s", locked_hub.endpoint.replace("://", "://reader:s3cr%3Dt@")
    )
    told = capfd.readouterr()
    everything = [str(caught.value), hub_status().detail, told.out, told.err, caplog.text]
    assert not any("s3cr" in text for text in everything)
    assert "***@127.0.0.1" in str(caught.value)
    assert "thrown while requesting GET http://***@127.0.0.1" in caplog.text


def test_doctor_and_errors_show_no_password(locked_hub: FakeHub, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(["doctor", "data=hub"])
    told = capfd.readouterr()
    assert "s3cr" not in told.out + told.err
    assert "***@127.0.0.1" in told.out
    address = locked_hub.endpoint.replace("://", "://reader:s3cr@t@")
    path = write_failure(tmp_path, "TNews", kind="ValueError", message=f"at {address}", traceback=f"File x\n  {address}/api")
    assert "s3cr" not in path.read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://a:b@host/x@y", "https://***@host/x@y"),
        ("see https://host/a@b", "see https://host/a@b"),
        ("C-MTEB/X@main", "C-MTEB/X@main"),
    ],
)
def test_only_the_user_and_the_password_go(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


def test_lines_stay_lines() -> None:
    assert printable("a\n ::b\r\n\tc") == "a\n : :b \n c"
    assert one_line("a::b") == "a::b"
