"""Every kind of file that is read, damaged in every way: one clear error that names it, and the other files are still read."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from gates import calibration_of, gate_run
from runs import BENCHMARK, HEADER
from test_imports import folder_of, mteb2
from test_reproduce import sample_run

from harness.commands import main
from harness.core.baselines import LOG, LogEntry
from harness.core.calibration import read_calibration, write_calibration
from harness.core.costs import COSTS, Cost, CostLine, append_cost, read_costs
from harness.core.errors import InputError
from harness.core.files import write_json
from harness.core.run_files import read_run
from harness.data.local import Mirror, MirrorFile, read_mirror
from harness.read import selfcheck
from harness.read.cards.page import PrintedRow, read_rows
from harness.read.drift.baselines import list_baselines
from harness.read.results import META, read_results

MARK = "@@"
DIGITS = "1" + "0" * 400
WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda valid: valid[: len(valid) * 2 // 3],
    "cut before its last byte": lambda valid: valid.rstrip()[:-1],
    "empty": lambda _: b"",
    "a list": lambda _: b"[1, 2]",
    "a text": lambda _: b'"x"',
    "null": lambda _: b"null",
    "another object": lambda _: b'{"hello": 1}',
    "lists, 100,000 deep": lambda _: b"[" * 100_000 + b"]" * 100_000,
    "objects, 100,000 deep": lambda _: b'{"header":' * 100_000 + b"1" + b"}" * 100_000,
    "binary": lambda _: random.Random(0).randbytes(4096),
    "zeros": lambda valid: b"\0" * len(valid),
    "UTF-16": lambda valid: valid.decode().encode("utf-16"),
}
VALUES = {
    "10**400": DIGITS,
    "1e400": "1e400",
    "NaN": "NaN",
    "Infinity": "Infinity",
    "-Infinity": "-Infinity",
    "a text": '"5"',
    "true": "true",
}
NO_OBJECT = {"a list": "[1]", "a text": '"x"', "a number": "1"}


def put(valid: bytes, path: tuple[str | int, ...], text: str) -> bytes:
    """The JSON with the value at a path replaced by a text, which need not be JSON."""
    raw = json.loads(valid)
    inner = raw
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = MARK
    return json.dumps(raw).replace(json.dumps(MARK), text).encode()


@dataclass(frozen=True)
class Kind:
    """A file of a folder that `make` fills; `read` raises or returns the message that names it. `number`, `inner`: places in it."""

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], str]
    number: tuple[str | int, ...]
    inner: tuple[str | int, ...] | None = None


def raised(read: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        read()
    return str(caught.value)


def broken_record(folder: Path) -> str:
    run = read_run(folder, BENCHMARK)
    assert (list(run.broken), len(run.records)) == (["STSB"], 34)
    return run.broken["STSB"]


def broken_import(folder: Path) -> str:
    run = read_results(folder, BENCHMARK)
    assert ("AFQMC" in run.records, "STSB" in run.records) == (True, False)
    return run.broken.get("STSB", "STSB.json is no result file")


def make_import(folder: Path) -> None:
    folder_of(folder, mteb2("AFQMC", {"cosine_spearman": 0.4}))
    (folder / "STSB.json").write_text(json.dumps(mteb2("STSB", {"cosine_spearman": 0.4})), encoding="utf-8")


def make_log(folder: Path) -> None:
    entry = LogEntry(date="d", who=None, baseline="a/b", why="w", run="r", tasks=1, calibrated=False, scores="s", replaces=None)
    (folder / LOG).write_text(json.dumps(vars(entry)), encoding="utf-8")


def make_mirror(folder: Path) -> None:
    mirror = Mirror(
        task="AFQMC",
        repository="C-MTEB/AFQMC",
        revision="r",
        pinned_revision="r",
        qrels_repository=None,
        qrels_revision=None,
        substituted=False,
        notes=(),
        files={"test.jsonl": MirrorFile(sha256="s", size=5, origin="o")},
    )
    (folder / "mirror.json").write_text(json.dumps(mirror.as_json()), encoding="utf-8")


def make_calibration(folder: Path) -> None:
    write_calibration(folder / "calibration.json", calibration_of(gate_run(folder / "run")))


KINDS = {
    "manifest": Kind(
        "manifest.json", gate_run, lambda folder: raised(lambda: read_run(folder, BENCHMARK)), ("header", "size_gb"), ("header",)
    ),
    "record": Kind("STSB.json", gate_run, broken_record, ("test", "cos_sim", "spearman"), ("test", "cos_sim")),
    "calibration": Kind(
        "calibration.json",
        make_calibration,
        lambda folder: raised(lambda: read_calibration(folder / "calibration.json", BENCHMARK)),
        ("tasks", "STSB", "cos_sim_spearman", "score"),
        ("tasks", "STSB"),
    ),
    "log of baselines": Kind(LOG, make_log, lambda folder: raised(lambda: list_baselines(folder)), ("tasks",)),
    "printed rows": Kind(
        "rows.json",
        lambda folder: write_json(folder / "rows.json", [asdict(PrintedRow(HEADER, {"Average (35)": 60.0}))]),
        lambda folder: raised(lambda: read_rows(folder / "rows.json")),
        (0, "scores", "Average (35)"),
        (0, "header"),
    ),
    "results of others": Kind("STSB.json", make_import, broken_import, ("scores", "test", 0, "cosine_spearman"), ("scores", "test", 0)),
    "mirror": Kind(
        "mirror.json", make_mirror, lambda folder: raised(lambda: read_mirror(folder)), ("files", "test.jsonl", "size"), ("files",)
    ),
}
CASES = [
    *((kind, what) for kind in KINDS for what in WHOLE if (kind, what) != ("log of baselines", "empty")),  # an empty log has no entry
    *((kind, f"{what} for a number") for kind in KINDS for what in VALUES),
    *((kind, f"{what} for an object") for kind in KINDS if KINDS[kind].inner for what in NO_OBJECT),
]


def damaged(valid: bytes, kind: Kind, what: str) -> bytes:
    if what in WHOLE:
        return WHOLE[what](valid)
    if what.endswith(" for a number"):
        return put(valid, kind.number, VALUES[what.removesuffix(" for a number")])
    assert kind.inner is not None
    return put(valid, kind.inner, NO_OBJECT[what.removesuffix(" for an object")])


@pytest.mark.parametrize(("kind", "what"), CASES)
def test_a_damaged_file_is_one_error_that_names_it(tmp_path: Path, kind: str, what: str) -> None:
    case = KINDS[kind]
    case.make(tmp_path)
    file = tmp_path / case.file
    file.write_bytes(damaged(file.read_bytes(), case, what))
    message = case.read(tmp_path)
    assert case.file in message
    assert len(message) < 1000
    assert "Traceback" not in message


@pytest.mark.parametrize("what", [*(each for each in WHOLE if each not in ("another object", "truncated")), *VALUES])
def test_damaged_expected_scores_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    run, valid = sample_run(), selfcheck.expected_file().read_bytes()
    file = tmp_path / "sample.json"
    file.write_bytes(
        WHOLE[what](valid) if what in WHOLE else put(valid, ("float16_len512_dim1792", "STSB", "cos_sim.pearson"), VALUES[what])
    )
    monkeypatch.setattr(selfcheck, "expected_file", lambda: file)
    assert "sample.json" in raised(lambda: selfcheck.deviations(run, BENCHMARK))


@pytest.mark.parametrize("name", ["manifest", "record", "calibration", "mirror"])
def test_a_file_of_a_newer_schema_says_so(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    kind.make(tmp_path)
    file = tmp_path / kind.file
    file.write_bytes(put(file.read_bytes(), ("harness", "schema") if name == "record" else ("schema",), "99"))
    assert re.search(rf"{kind.file} was written by a newer harness \(schema 99, this one reads \d\): upgrade", kind.read(tmp_path))


@pytest.mark.parametrize("what", [*(each for each in WHOLE if each not in ("another object", "truncated")), *VALUES])
def test_damaged_tolerances_are_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    run, valid = sample_run(), selfcheck.tolerances_file().read_bytes()
    file = tmp_path / "tolerances.json"
    file.write_bytes(WHOLE[what](valid) if what in WHOLE else put(valid, ("float16", "STSB", "cos_sim.pearson"), VALUES[what]))
    monkeypatch.setattr(selfcheck, "tolerances_file", lambda: file)
    assert "tolerances.json" in raised(lambda: selfcheck.deviations(run, BENCHMARK))


@pytest.mark.parametrize("what", [*WHOLE, *(f"{each} for a number" for each in VALUES if each != "true")])
def test_a_damaged_line_of_costs_is_skipped_and_counted(tmp_path: Path, what: str) -> None:
    good = CostLine(run=Cost(scoring_seconds=1.0))
    append_cost(tmp_path, good)
    valid = (tmp_path / COSTS).read_bytes()
    case = Kind(COSTS, lambda _: None, str, ("run", "scoring_seconds"))
    bad = damaged(valid, case, what).replace(b"\n", b" ").replace(b"\r", b" ")
    (tmp_path / COSTS).write_bytes(bad + b"\n" + valid)
    lines, skipped = read_costs(tmp_path)
    assert lines[-1] == good
    assert len(lines) + skipped == len((tmp_path / COSTS).read_bytes().splitlines())
    assert what == "another object" or len(lines) == 1  # keys of a newer harness are no damage


@pytest.mark.parametrize("what", [*WHOLE, *VALUES])
def test_a_damaged_meta_file_hides_no_result(tmp_path: Path, what: str) -> None:
    make_import(tmp_path)
    valid = json.dumps({"name": "a/b", "embed_dim": 5}).encode()
    (tmp_path / META).write_bytes(WHOLE[what](valid) if what in WHOLE else put(valid, ("embed_dim",), VALUES[what]))
    run = read_results(tmp_path, BENCHMARK)
    assert set(run.records) == {"AFQMC", "STSB"}
    if what in WHOLE and what != "another object":
        assert any(META in note for note in run.header.notes)


@pytest.mark.parametrize("what", [*WHOLE, *(f"{each} for a number" for each in VALUES)])
def test_commands_over_damaged_folders_end_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    """A good run beside one with a damaged manifest, one with a damaged record, one with damaged costs, and results of others."""
    results = tmp_path / "results"
    good = gate_run(results / "good")
    write_calibration(results / "good" / "calibration.json", calibration_of(good))
    for name, kind in (("manifest", "manifest"), ("record", "record"), ("others", "results of others")):
        (results / name).mkdir()
        KINDS[kind].make(results / name)
        file = results / name / KINDS[kind].file
        file.write_bytes(damaged(file.read_bytes(), KINDS[kind], what))
    (gate_run(results / "costs").path / COSTS).write_bytes(WHOLE.get(what, WHOLE["binary"])(b'{"run": {"scoring_seconds": 1.0}}\n'))
    bad = tmp_path / "calibration.json"
    bad.write_bytes(damaged((results / "good" / "calibration.json").read_bytes(), KINDS["calibration"], what))

    def output(*arguments: str) -> tuple[int, str]:
        code: Any = main(list(arguments))
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err + captured.out
        return code, captured.out + captured.err

    code, table = output("table", str(results))
    assert code == 0
    assert "45.88" in table
    assert output("index", str(results), "-o", str(tmp_path / "index.csv"))[0] == 0
    assert "STSB.json" in (tmp_path / "index.csv").read_text(encoding="utf-8")
    assert output("report", str(results), "-o", str(tmp_path / "report.html"))[0] == 0
    for name, file in (("manifest", "manifest.json"), ("record", "STSB.json")):
        code, message = output("check", str(results / "good"), str(results / name))
        assert code == 1
        assert file in message
    code, message = output("check", str(results / "good"), str(results / "costs"), "--calibration", str(bad))
    assert code == 1
    assert "calibration.json" in message
