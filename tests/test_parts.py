"""`encode shard=I/N`: parts of a run's vectors in a shared store, and a run that then needs no model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from records import run_here, same_records

from harness.commands import main
from harness.core.costs import read_costs
from harness.core.errors import RequestError
from harness.core.shard import Shard
from harness.evaluate.here import resolve_here
from harness.evaluate.parts import EncodedPart, encode_part
from harness.evaluate.progress import Silent
from harness.show.form import write_document
from harness.show.summaries import part_document

SAMPLE = ["model=sample", "data=sample", "gpu=cpu", "tasks=[AFQMC,STSB]", "max_len=32", "canary=off"]


def encode(tmp_path: Path, *overrides: str) -> EncodedPart:
    spec, device = resolve_here([*SAMPLE, f"store={tmp_path / 'store'}", f"results_dir={tmp_path / 'results'}", *overrides], "cpu")
    return encode_part(spec, device, Silent())


def run(tmp_path: Path, *overrides: str) -> tuple[Path, int]:
    outcome = run_here([*SAMPLE, f"results_dir={tmp_path / 'results'}", *overrides])
    return outcome.folder, outcome.cost.encoding.forwards


def test_every_text_is_in_one_part_whatever_else_there_is() -> None:
    texts = [f"文本{number}" for number in range(400)] + ["", "\ud800"]
    parts = [{text for text in texts if Shard(number, 7).has(text)} for number in range(1, 8)]
    assert set().union(*parts) == set(texts)
    assert sum(map(len, parts)) == len(texts)
    assert min(map(len, parts)) > 30


def test_the_part_of_a_text_is_the_same_for_all_time() -> None:
    """Other parts of the same run may be encoded by another version, so the rule is fixed: worked out by `hashlib` by hand."""
    assert [number for number in range(1, 17) if Shard(number, 16).has("今天天气")] == [6]


@pytest.mark.parametrize("wrong", ["0/4", "5/4", "4", "1/0", "a/b", "1/2/3", "-1/4"])
def test_a_part_that_does_not_exist_is_refused(wrong: str) -> None:
    with pytest.raises(RequestError, match="shard=3/16"):
        resolve_here([*SAMPLE, f"shard={wrong}"], "cpu")


def test_after_its_parts_a_run_needs_no_forward_pass_and_has_the_same_records(tmp_path: Path) -> None:
    parts = [encode(tmp_path, f"shard={number}/3") for number in (3, 1, 2)]
    assert all(part.cost.forwards > 0 and not part.failed for part in parts)
    assert encode(tmp_path, "shard=2/3").cost.forwards == 0
    stored, forwards = run(tmp_path, f"store={tmp_path / 'store'}")
    assert forwards == 0
    plain, forwards = run(tmp_path / "plain", "store=null")
    assert forwards > 0
    same_records(stored, plain)
    assert sum(part.cost.distinct for part in parts) == read_costs(plain)[0][-1].run.encoding.distinct  # type: ignore[union-attr]


def test_a_part_that_was_lost_is_what_the_run_encodes(tmp_path: Path) -> None:
    encode(tmp_path, "shard=1/2")
    folder, forwards = run(tmp_path, f"store={tmp_path / 'store'}")
    whole = run(tmp_path / "plain", "store=null")
    assert 0 < forwards < whole[1]
    same_records(folder, whole[0])


def test_finished_tasks_are_not_encoded(tmp_path: Path) -> None:
    run(tmp_path, "store=null")
    part = encode(tmp_path, "shard=1/2")
    assert (part.tasks, part.cost.texts) == ((), 0)
    assert write_document(part_document(part), "text").strip() == "part 1/2: nothing was encoded, because every task has its record already"


def test_a_task_that_cannot_be_read_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data" / "STSB"
    data.mkdir(parents=True)
    rows = [f'{{"sentence1": "一", "sentence2": "二{number}", "score": {number}}}' for number in range(4)]
    (data / "test.jsonl").write_text("\n".join(rows), encoding="utf-8")
    local = ["data=local", f"data.root={data.parent}", "data.verify=label", "tasks=[STSB,JDReview]", f"store={tmp_path / 's'}"]
    given = [text for text in SAMPLE if not text.startswith(("data", "tasks"))]
    assert main(["encode", *given, *local, "--quiet"]) == 1
    printed = capsys.readouterr()
    assert "part 1/1 of the texts of 1 task, 1 failed" in printed.out
    assert "error: JDReview: " in printed.err
    assert main(["encode", *given, *local, "--quiet", "--format", "json"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert (shown["store"], shown["tasks"], list(shown["failed"])) == (str(tmp_path / "s"), ["STSB"], ["JDReview"])
    assert (shown["shard"], shown["cost"]["found"]) == ({"number": 1, "of": 1}, shown["cost"]["distinct"])


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="store=DIR"):
        encode(tmp_path, "store=null")
    with pytest.raises(RequestError, match="python -m harness encode"):
        run(tmp_path, "shard=1/2")
