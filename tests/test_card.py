"""Reading a model card: hostile cards are refused, and numbers come back to the last digit."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from real_data import SEED_CARD, needs_seed_card
from runs import BENCHMARK, PUBLISHED, ROOT

from harness.core.errors import InputError, RequestError
from harness.core.files import write_json
from harness.read.cards.page import HEADER_TITLES, card_claims, read_card, read_rows, score_table, score_titles, unit_metrics

TITLES = [*HEADER_TITLES, *score_titles(BENCHMARK.tasks).values()]
CELLS = ["m", "A100", "float16", "0.65", "1792", "512", "69.07", "72.75", "58.7", "87.84", "67.99", "72.93", "62.09"]


def entry(task: str = "STSB", **changes: str) -> dict[str, object]:
    spec = BENCHMARK.task(task)
    dataset = {"type": spec.hub, "name": spec.card_name, "config": spec.config, "split": spec.split, "revision": spec.revision}
    return {"task": {"type": spec.type}, "dataset": dataset | changes, "metrics": [{"type": "cos_sim_spearman", "value": 82.5}]}


def card(*entries: object, body: str = "") -> str:
    front = yaml.safe_dump({"tags": ["mteb"], "model-index": [{"name": "m", "results": list(entries)}]}, sort_keys=False)
    return f"---\n{front}---\n{body}"


def markdown(*lines: list[str]) -> str:
    head, *rest = lines
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, [":--:"] * len(head), *rest)) + "\n"


def test_a_claim_has_task_split_revision_and_every_metric() -> None:
    message = entry("Ocnli")
    message["metrics"] = [{"type": "cos_sim_ap", "value": 85.17742765935606}, {"type": "max_f1", "value": 83}]
    found = card_claims(card(message), BENCHMARK)
    assert (found.model, found.foreign) == ("m", ())
    (claim,) = found.claims
    assert (claim.task, claim.split, claim.revision) == ("Ocnli", "validation", "66e76a618a34d6d565d5538088562851e6daa7ec")
    assert claim.metrics == {"cos_sim_ap": 85.17742765935606, "max_f1": 83.0}
    assert unit_metrics(claim, BENCHMARK.task("Ocnli")) == {"cos_sim": {"ap": 0.8517742765935605}, "max": {"f1": 0.83}}


def test_metrics_of_a_multilingual_task_stand_under_its_language() -> None:
    (claim,) = card_claims(card(entry("STS22")), BENCHMARK).claims
    assert unit_metrics(claim, BENCHMARK.task("STS22")) == {"zh": {"cos_sim": {"spearman": 0.825}}}


def test_flat_metrics_stay_flat() -> None:
    message = entry("T2Retrieval")
    message["metrics"] = [{"type": "map_at_1", "value": "27.878999999999998"}, {"type": "mrr_at_1000", "value": "5e-05"}]
    (claim,) = card_claims(card(message), BENCHMARK).claims
    assert unit_metrics(claim, BENCHMARK.task("T2Retrieval")) == {"map_at_1": 0.27879, "mrr_at_1000": 5e-07}


def test_claims_come_in_the_order_of_the_benchmark_and_others_are_named() -> None:
    text = card(
        entry("STSB"),
        entry("TNews", split="test"),
        entry("AmazonReviewsClassification", config="en", name="MTEB AmazonReviewsClassification (en)"),
        {"task": {"type": "text-generation"}, "dataset": {"type": "hellaswag"}, "metrics": "none of mteb's"},
        entry("AFQMC", config="another", revision=""),
    )
    found = card_claims(text, BENCHMARK)
    assert [(claim.task, claim.revision is None) for claim in found.claims] == [("AFQMC", True), ("STSB", False)]
    assert found.foreign == (
        "MTEB TNews (C-MTEB/TNews-classification, default, test)",
        "MTEB AmazonReviewsClassification (en) (mteb/amazon_reviews_multi, en, test)",
        " (hellaswag, , )",
    )


@pytest.mark.parametrize("text", [card(entry()).replace("\n", "\r\n"), "\ufeff" + card(entry()), card(entry()) + "---\nmore\n---\n"])
def test_front_matter_of_other_editors(text: str) -> None:
    assert [claim.task for claim in card_claims(text, BENCHMARK).claims] == ["STSB"]


def test_a_commit_of_digits_stays_text() -> None:
    assert card_claims(card(entry(revision="1" * 40)), BENCHMARK).claims[0].revision == "1" * 40


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# acge\n", "no YAML front matter"),
        ("", "no YAML front matter"),
        ("---\ntags: [mteb]\n", "no YAML front matter"),
        ("---\na: [\n---\n", "is no YAML"),
        ("---\na: &a [*b]\n---\n", "is no YAML"),
        ("---\n" + "[" * 100_000 + "\n---\n", "is no YAML"),
        ("---\n- a\n---\n", "nothing under 'model-index'; expected a list"),
        ("---\ntags: [mteb]\n---\n", "nothing under 'model-index'"),
        ("---\nmodel-index: []\n---\n", "has 0 models"),
        ("---\nmodel-index: [{name: a, results: []}, {name: b, results: []}]\n---\n", "has 2 models"),
        ("---\nmodel-index: [text]\n---\n", "expected one with a name and results"),
        ("---\nmodel-index: [{results: []}]\n---\n", "nothing under 'name'; expected text"),
        ("---\nmodel-index: [{name: a, results: {}}]\n---\n", "a dict under 'results'; expected a list"),
        ("---\nmodel-index: [{name: a, results: []}]\n---\n", "no task of cmteb35 is among the 0 entries"),
        (card("text"), "among the 1 entries of the card .entry 1, which has no dataset"),
        (card(entry(type="mteb/stsbenchmark-sts", name="MTEB STSBenchmark")), "no task of cmteb35.*MTEB STSBenchmark"),
    ],
)
def test_a_hostile_front_matter_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        card_claims(text, BENCHMARK)


@given(st.floats(min_value=-100, max_value=100, allow_subnormal=False))
def test_a_hundred_times_the_value_is_the_number_of_the_card(percent: float) -> None:
    message = entry()
    message["metrics"] = [{"type": "cos_sim_spearman", "value": repr(percent)}]
    (claim,) = card_claims(card(message), BENCHMARK).claims
    value = unit_metrics(claim, BENCHMARK.task("STSB"))["cos_sim"]["spearman"]
    neighbours = [math.nextafter(value, side) for side in (-math.inf, math.inf)]
    assert 100 * value == percent or all(100 * other != percent for other in neighbours)
    assert value == pytest.approx(percent / 100, rel=1e-15)


def test_the_rows_of_the_metric_table_whatever_the_order_of_its_columns(tmp_path: Path) -> None:
    table = markdown(TITLES[::-1], CELLS[::-1], [*CELLS[:0:-1], r"a\|b"])
    found = score_table(f"| Model Name | Language |\n|---|---|\n| m | Chinese |\n\n{table}\n| x |\n", BENCHMARK)
    assert found is not None
    assert found.refused == ()
    assert [row.header.model for row in found.rows] == ["m", "a|b"]
    header = found.rows[0].header
    assert (header.gpu, header.dtype, header.size_gb, header.dim, header.max_len) == ("A100", "float16", 0.65, 1792, 512)
    assert list(found.rows[0].scores.values()) == [69.07, 72.75, 58.7, 87.84, 67.99, 72.93, 62.09]
    assert list(found.rows[0].scores)[:2] == ["Average (35)", "Classification (9)"]
    write_json(tmp_path / "rows.json", [asdict(row) for row in found.rows])
    assert read_rows(tmp_path / "rows.json") == found.rows


def test_a_card_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"^there is no \S+README\.md: name the README\.md of a model$"):
        read_card(tmp_path / "README.md")
    (tmp_path / "README.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"README\.md can't be read as a model card"):
        read_card(tmp_path / "README.md")


def publish(card_path: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "publish_card.py"), str(card_path), "-o", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_seed_card
def test_the_committed_records_are_those_of_the_card_byte_for_byte(tmp_path: Path) -> None:
    done = publish(SEED_CARD, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "35 tasks, 6 printed rows" in done.stdout
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in PUBLISHED.glob("*.json")}
    assert len(written) == 37


@needs_seed_card
def test_every_number_of_the_card_comes_back() -> None:
    claims = card_claims(read_card(SEED_CARD), BENCHMARK)
    assert (len(claims.claims), claims.foreign) == (35, ())
    assert {claim.task: claim.revision for claim in claims.claims} == {task.name: task.revision for task in BENCHMARK.tasks}
    count = 0
    for claim in claims.claims:
        task = BENCHMARK.task(claim.task)
        metrics = unit_metrics(claim, task)
        flat = dict(flattened(metrics[task.language] if task.language else metrics))
        assert {name: 100 * value for name, value in flat.items()} == claim.metrics
        count += len(flat)
    assert count == 367


def flattened(metrics: dict[str, object], prefix: str = "") -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for name, value in metrics.items():
        found += flattened(value, f"{prefix}{name}_") if isinstance(value, dict) else [(prefix + name, value)]  # type: ignore[list-item]
    return found


@needs_seed_card
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("| 69.07 | 72.75 |", "| 69.08 | 72.75 |", "error: 0 rows of the card's table are its front matter"),
        ("type: C-MTEB/TNews-classification", "type: other/TNews", "error: the card claims 34 of 35 tasks; missing: TNews"),
        ("model-index:", "model_index:", "error: the front matter of the card has nothing under 'model-index'"),
    ],
)
def test_a_card_that_does_not_agree_with_itself_is_not_published(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = read_card(SEED_CARD)
    assert old in text
    (tmp_path / "README.md").write_text(text.replace(old, new), encoding="utf-8")
    done = publish(tmp_path / "README.md", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert not (tmp_path / "out").exists()
