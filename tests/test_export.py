"""A run in a model card: the numbers of the run, no wrong names, and no other byte of the card changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from cards import front_matter, index_entry, index_results
from fakehub import FakeHub, running
from huggingface_hub import ModelCard, constants
from huggingface_hub.repocard_data import eval_results_to_model_index
from hypothesis import given
from hypothesis import strategies as st
from real_data import SEED_CARD, needs_seed_card
from runs import BENCHMARK, HEADER, PUBLISHED, manifest_of, write_run, write_task

from harness.commands import main
from harness.core.errors import InputError
from harness.core.run_files import read_run, write_manifest
from harness.read.cards.page import card_claims
from harness.show.export.model_index import index_entries, index_yaml, merge_entries
from harness.show.export.selection import select_scores

NOT_CMTEB = {"data": {"verdict": "not C-MTEB", "source": "sample", "substituted": False}}


@needs_seed_card
def test_the_published_records_give_the_model_index_of_their_card_to_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    front = SEED_CARD.read_text(encoding="utf-8").split("---\n")[1]
    assert main(["export", "model-index", str(PUBLISHED)]) == 0
    printed = capsys.readouterr().out
    assert printed == f"---\n{front[front.index('model-index:') :]}---\n"
    assert len(index_results(printed)) == 35


@needs_seed_card
def test_merged_into_their_own_card_nothing_changes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tmp_path / "README.md"
    card.write_bytes(SEED_CARD.read_bytes())
    assert main(["export", "model-index", str(PUBLISHED), "--into", str(card)]) == 0
    assert "35 entries replaced, 0 added, 0 others kept under the model acge_text_embedding" in capsys.readouterr().out
    assert card.read_bytes() == SEED_CARD.read_bytes()


@needs_seed_card
def test_one_other_score_is_one_other_line() -> None:
    run = read_run(PUBLISHED, BENCHMARK)
    tnews = run.records["TNews"]
    run.records["TNews"] = replace(tnews, metrics={**tnews.metrics, "accuracy": 0.25})
    text = SEED_CARD.read_text(encoding="utf-8")
    merged = merge_entries(text, "acge_text_embedding", index_entries(select_scores(run, BENCHMARK, other_data=False)))
    pairs = zip(text.splitlines(keepends=True), merged.text.splitlines(keepends=True), strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [("      value: 53.687\n", "      value: 25.0\n")]


def test_the_front_matter_of_a_run_worked_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = BENCHMARK.task("STS22")
    metrics = {"zh": {"manhattan": {"spearman": 0.1}, "cos_sim": {"spearman": 0.605, "pearson": -(2**-20)}, "unknown": 3}}
    write_manifest(tmp_path, manifest_of(HEADER, {"model": {"repository": "aspire/acge_text_embedding"}}))
    write_task(tmp_path, task, metrics, dataset_revision="f" * 40)
    assert main(["export", "model-index", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[:11] == [
        "---",
        "model-index:",
        "- name: acge_text_embedding",
        "  results:",
        "  - task:",
        "      type: STS",
        "    dataset:",
        "      type: mteb/sts22-crosslingual-sts",
        "      name: MTEB STS22 (zh)",
        "      config: zh",
        "      split: test",
    ]
    (found,) = index_results(out)
    assert found["dataset"]["revision"] == "f" * 40 != task.revision
    assert found["metrics"] == [
        {"type": "cos_sim_pearson", "value": -9.5367431640625e-05},
        {"type": "cos_sim_spearman", "value": 60.5},
        {"type": "manhattan_spearman", "value": 10.0},
    ]
    assert "note: partial: 1 of 35 tasks have a score; missing: 34 of the 35 tasks" in err


@given(st.floats(min_value=-1, max_value=1, allow_nan=False))
def test_every_float_comes_back_from_the_yaml(value: float) -> None:
    percent = 100 * value
    found = yaml.safe_load(index_yaml("m", [index_entry(value=percent)]))["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert (type(found), found) == (float, percent)


@pytest.mark.parametrize("name", ["a: b", "- x", "汉字", "\u0085", "\u2028", "yes", "1.0", "#1", ""])
def test_a_model_of_any_name_comes_back(name: str) -> None:
    assert yaml.safe_load(index_yaml(name, [index_entry()]))["model-index"][0]["name"] == name


def test_scores_on_other_data_are_refused_and_labelled_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", {"STSB": 0.9, "TNews": 0.5}, harness=NOT_CMTEB)
    assert main(["export", "model-index", str(tmp_path / "run")]) == 2
    out, err = capsys.readouterr()
    assert (out, "has no score on C-MTEB's data (2 on other data)" in err, "--other-data" in err) == ("", True, True)
    assert main(["export", "model-index", str(tmp_path / "run"), "--other-data"]) == 0
    out, err = capsys.readouterr()
    assert [each["dataset"] for each in index_results(out)] == [
        {"type": "not-C-MTEB/STSB", "name": "MTEB STSB, not C-MTEB data (sample)", "config": "default", "split": "test"},
        {"type": "not-C-MTEB/TNews", "name": "MTEB TNews, not C-MTEB data (sample)", "config": "default", "split": "validation"},
    ]
    assert "note: not C-MTEB: TNews, STSB: exported under names that say so" in err
    with pytest.raises(InputError, match="no task of cmteb35 is among the 2 entries"):
        card_claims(out, BENCHMARK)  # no reader takes them for C-MTEB scores, nor does this harness


def test_a_labelled_entry_never_takes_the_place_of_a_real_one(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"STSB": 0.9}, harness=NOT_CMTEB)
    text = f"---\n{index_yaml('m', [index_entry()])}---\n"
    merged = merge_entries(text, "m", index_entries(select_scores(run, BENCHMARK, other_data=True)))
    assert (merged.replaced, merged.kept) == ((), ("MTEB STSB",))
    assert index_results(merged.text)[0] == index_entry()


def test_of_a_mixed_run_the_benchmarks_scores_are_exported_and_the_others_named(tmp_path: Path) -> None:
    write_run(tmp_path, {"STSB": 0.9}, harness={"data": {"verdict": "unverified", "substituted": True}})
    write_task(tmp_path, BENCHMARK.task("TNews"), {"accuracy": 0.5}, NOT_CMTEB)
    found = select_scores(read_run(tmp_path, BENCHMARK), BENCHMARK, other_data=False)
    assert [each.task.name for each in found.tasks] == ["STSB"]
    message = "\n".join(found.notes)
    assert "not C-MTEB: TNews: left out" in message
    assert "the data was not compared with the benchmark's known figures: STSB" in message
    assert "another revision of the data was read than the pinned one, and is exported as such: STSB" in message


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running(FakeHub()) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        yield hub


def test_huggingface_hub_reads_every_number_and_its_validation_passes(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "model-index", str(PUBLISHED)]) == 0
    text = capsys.readouterr().out
    card = ModelCard(text)
    assert (card.data.model_name, len(card.data.eval_results)) == ("acge_text_embedding", 367)
    by_name = {(each.dataset_name, each.metric_type): each.metric_value for each in card.data.eval_results}
    assert by_name["MTEB STSB", "cos_sim_spearman"] == 82.72654634579749
    again = eval_results_to_model_index(card.data.model_name, card.data.eval_results)
    assert again == front_matter(text)["model-index"]
    card.validate()
    assert hub.requests == [("POST", "/api/validate-yaml")]
    assert front_matter(hub.cards[0])["model-index"] == again


def test_the_validation_of_this_test_does_refuse_cards(hub: FakeHub) -> None:
    card = ModelCard("---\nmodel-index:\n- name: m\n  results: []\n---\n")
    card.data.eval_results = None
    card.data["model-index"] = [
        {"name": "m", "results": [{"task": {"type": "STS"}, "dataset": {"name": "x"}, "metrics": [{"type": "f1"}]}]}
    ]
    with pytest.raises(ValueError, match=r'"dataset.type" is required\n"metrics.value" is required'):
        card.validate()


def test_every_metric_of_the_published_run_is_exported() -> None:
    entries = index_entries(select_scores(read_run(PUBLISHED, BENCHMARK), BENCHMARK, other_data=False))
    names: Mapping[str, list[str]] = {each["dataset"]["name"]: [metric["type"] for metric in each["metrics"]] for each in entries}
    assert sum(map(len, names.values())) == 367
    assert names["MTEB Waimai"] == ["accuracy", "ap", "f1"]
    assert names["MTEB CMedQAv1"] == ["map", "mrr"]
    assert (names["MTEB Ocnli"][0], names["MTEB Ocnli"][-1], len(names["MTEB Ocnli"])) == ("cos_sim_accuracy", "max_f1", 23)
