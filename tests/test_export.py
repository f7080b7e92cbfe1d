"""A run in a model card: the numbers of the run, nothing under a wrong name, and not a byte of the card that is not ours to change."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakehub import FakeHub, running
from huggingface_hub import ModelCard, constants
from huggingface_hub.repocard_data import eval_results_to_model_index
from hypothesis import given
from hypothesis import strategies as st
from runs import BENCHMARK, BY_HAND, HEADER, PUBLISHED, ROOT, VERIFIED, write_run

from harness.card import card_claims
from harness.cli import main
from harness.errors import HarnessError, InputError, RequestError
from harness.export.front_matter import merge_entries
from harness.export.model_index import Entry, index_entries, index_yaml
from harness.export.readme import merge_into
from harness.export.selection import select_scores
from harness.records import TaskRecord, read_run, write_manifest, write_record

SEED_CARD = Path(os.environ.get("SEED_CARD", ROOT / ".." / "shared" / "seed" / "acge_text_embedding_model_card.md"))
needs_seed_card = pytest.mark.skipif(not SEED_CARD.is_file(), reason="the seed card is not here: name it with SEED_CARD=FILE")
NOT_CMTEB = {"data": {"verdict": "not C-MTEB", "source": "sample", "substituted": False}}


def entry(task: str = "STSB", value: float = 82.5) -> Entry:
    spec = BENCHMARK.task(task)
    dataset = {"type": spec.hub, "name": spec.card_name, "config": spec.config, "split": spec.split, "revision": spec.revision}
    return {"task": {"type": spec.type}, "dataset": dataset, "metrics": [{"type": spec.main.replace(".", "_"), "value": value}]}


def loaded(text: str) -> dict[str, Any]:
    """The front matter as any YAML parser has it."""
    return yaml.safe_load(re.split(r"^---[ \t]*\r?$", text.lstrip("\ufeff"), maxsplit=2, flags=re.MULTILINE)[1])  # type: ignore[no-any-return]


def results(text: str, model: int = 0) -> list[Any]:
    return loaded(text)["model-index"][model]["results"]  # type: ignore[no-any-return]


# The export itself.


@needs_seed_card
def test_the_published_records_give_the_model_index_of_their_card_to_the_byte(capsys: pytest.CaptureFixture[str]) -> None:
    front = SEED_CARD.read_text(encoding="utf-8").split("---\n")[1]
    assert main(["export", "model-index", str(PUBLISHED)]) == 0
    printed = capsys.readouterr().out
    assert printed == f"---\n{front[front.index('model-index:') :]}---\n"
    assert len(results(printed)) == 35


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
    merged = merge_entries(text, "x", index_entries(select_scores(run, BENCHMARK, other_data=False)))
    pairs = zip(text.splitlines(keepends=True), merged.text.splitlines(keepends=True), strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [("      value: 53.687\n", "      value: 25.0\n")]


def test_the_front_matter_of_a_run_worked_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = BENCHMARK.task("STS22")
    metrics = {"zh": {"manhattan": {"spearman": 0.1}, "cos_sim": {"spearman": 0.605, "pearson": -(2**-20)}, "unknown": 3}}
    write_manifest(tmp_path, HEADER, {"model": {"repository": "aspire/acge_text_embedding"}})
    write_record(
        tmp_path, TaskRecord(task="STS22", split="test", metrics=metrics, dataset_revision="f" * 40, evaluation_time=1, harness=VERIFIED)
    )
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
    (found,) = results(out)
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
    found = yaml.safe_load(index_yaml("m", [entry(value=percent)]))["model-index"][0]["results"][0]["metrics"][0]["value"]
    assert (type(found), found) == (float, percent)


@pytest.mark.parametrize("name", ["a: b", "- x", "汉字", "\u0085", "\u2028", "yes", "1.0", "#1", ""])
def test_a_model_of_any_name_comes_back(name: str) -> None:
    assert yaml.safe_load(index_yaml(name, [entry()]))["model-index"][0]["name"] == name


def test_scores_on_other_data_are_refused_and_labelled_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", {"STSB": 0.9, "TNews": 0.5}, harness=NOT_CMTEB)
    assert main(["export", "model-index", str(tmp_path / "run")]) == 2
    out, err = capsys.readouterr()
    assert (out, "has no score on C-MTEB's data (2 on other data)" in err, "--other-data" in err) == ("", True, True)
    assert main(["export", "model-index", str(tmp_path / "run"), "--other-data"]) == 0
    out, err = capsys.readouterr()
    assert [each["dataset"] for each in results(out)] == [
        {"type": "not-C-MTEB/STSB", "name": "MTEB STSB, not C-MTEB data (sample)", "config": "default", "split": "test"},
        {"type": "not-C-MTEB/TNews", "name": "MTEB TNews, not C-MTEB data (sample)", "config": "default", "split": "validation"},
    ]
    assert "note: not C-MTEB: TNews, STSB: exported under names that say so" in err
    with pytest.raises(InputError, match="no task of cmteb35 is among the 2 entries"):
        card_claims(out, BENCHMARK)  # nobody's reader takes them for C-MTEB scores, ours neither


def test_a_labelled_entry_never_takes_the_place_of_a_real_one(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"STSB": 0.9}, harness=NOT_CMTEB)
    text = f"---\n{index_yaml('m', [entry()])}---\n"
    merged = merge_entries(text, "m", index_entries(select_scores(run, BENCHMARK, other_data=True)))
    assert (merged.replaced, merged.kept) == ((), ("MTEB STSB",))
    assert results(merged.text)[0] == entry()


def test_of_a_mixed_run_the_benchmarks_scores_are_exported_and_the_others_told(tmp_path: Path) -> None:
    write_run(tmp_path, {"STSB": 0.9}, harness={"data": {"verdict": "unverified", "substituted": True}})
    task = BENCHMARK.task("TNews")
    record = TaskRecord(
        task="TNews", split=task.split, metrics={"accuracy": 0.5}, dataset_revision=None, evaluation_time=1, harness=NOT_CMTEB
    )
    write_record(tmp_path, record)
    found = select_scores(read_run(tmp_path, BENCHMARK), BENCHMARK, other_data=False)
    assert [each.task.name for each in found.tasks] == ["STSB"]
    told = "\n".join(found.notes)
    assert "not C-MTEB: TNews: left out" in told
    assert "nobody compared the data with the benchmark's known figures: STSB" in told
    assert "another revision of the data was read than the pinned one, and is exported as such: STSB" in told


# What huggingface_hub and the hub make of it.


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
    assert again == loaded(text)["model-index"]
    card.validate()
    assert hub.requests == [("POST", "/api/validate-yaml")]
    assert loaded(hub.cards[0])["model-index"] == again


def test_the_validation_of_this_test_does_refuse_cards(hub: FakeHub) -> None:
    card = ModelCard("---\nmodel-index:\n- name: m\n  results: []\n---\n")
    card.data.eval_results = None
    card.data["model-index"] = [
        {"name": "m", "results": [{"task": {"type": "STS"}, "dataset": {"name": "x"}, "metrics": [{"type": "f1"}]}]}
    ]
    with pytest.raises(ValueError, match=r'"dataset.type" is required\n"metrics.value" is required'):
        card.validate()


# Merging: what is not ours stays to the byte.

OTHER = """  - task:
      type: STS
      name: "quoted"   # a comment
    dataset: {type: mteb/stsbenchmark-sts, name: MTEB STSBenchmark, config: default, split: test}
    metrics:
      - {type: cos_sim_spearman, value: 1e-05}
"""
OURS = """  - task:
      type: STS
    dataset:
      type: C-MTEB/STSB
      name: MTEB STSB
      config: default
      split: test
      revision: 0cde68302b3541bb8b3c340dc0644b0b745b3dc0
    metrics:
    - type: cos_sim_spearman
      value: 82.5
"""
OLD = OURS.replace("82.5", "11.1 # old").replace("revision: 0cde68302b3541bb8b3c340dc0644b0b745b3dc0", "revision: null")
INDEX = "model-index:\n- name: m\n  results:\n"
FRONT = "tags:   [mteb,\n  x]\nlicense: mit # a comment\n"
BODY = "# m\n\n| a | b |\n---\ntext"


def card(front: str, body: str = BODY) -> str:
    return f"---\n{front}---\n{body}"


def shifted(text: str, prefix: str, where: str = "^") -> str:
    """The text with something put before every line that begins so."""
    return re.sub(where, prefix, text.rstrip("\n"), flags=re.MULTILINE) + "\n"


CASES = {
    "no front matter": (BODY, f"---\n{INDEX}{OURS}---\n{BODY}"),
    "an empty file": ("", f"---\n{INDEX}{OURS}---\n"),
    "empty front matter": (card(""), card(INDEX + OURS)),
    "only a comment": (card("# c\n"), card(f"# c\n{INDEX}{OURS}")),
    "no model-index": (card(FRONT), card(FRONT + INDEX + OURS)),
    "the last value is a block": (card("a: |\n  x\n\n"), card(f"a: |\n  x\n\n{INDEX}{OURS}")),
    "keys are indented": (card("  a: b\n"), card("  a: b\n" + shifted((INDEX + OURS), "  "))),
    "model-index is null": (card(f"model-index:\n{FRONT}"), card(INDEX + OURS + FRONT)),
    "model-index is ~": (card(f"model-index: ~\n{FRONT}"), card(INDEX + OURS + FRONT)),
    "model-index is []": (card(f"a: b\nmodel-index: []\n# c\n{FRONT}"), card(f"a: b\n{INDEX}{OURS}# c\n{FRONT}")),
    "results are null": (card("model-index:\n- name: m\n  results:\n"), card(INDEX + OURS)),
    "results are []": (card("model-index:\n- name: m\n  results: []\nz: 1\n"), card(INDEX.replace("s:\n", "s: \n") + OURS + "z: 1\n")),
    "other entries": (card(INDEX + OTHER + FRONT), card(INDEX + OTHER + OURS + FRONT)),
    "a comment at the end": (card(f"{INDEX}{OTHER}  # end\n\n{FRONT}"), card(f"{INDEX}{OTHER}{OURS}  # end\n\n{FRONT}")),
    "ours in the middle": (
        card(f"{FRONT}{INDEX}{OTHER}  # c\n{OLD}\n  # d\n{OTHER.replace('mteb/sts', 'other/')}"),
        card(f"{FRONT}{INDEX}{OTHER}  # c\n{OURS}\n  # d\n{OTHER.replace('mteb/sts', 'other/')}"),
    ),
    "ours by its name alone": (card(INDEX + OLD.replace("config: default", "config: x")), card(INDEX + OURS)),
    "results before the name": (
        card("model-index:\n- results:\n" + OLD + "  name: m\n"),
        card("model-index:\n- results:\n" + OURS + "  name: m\n"),
    ),
    "deeper dashes": (
        card("model-index:\n  - name: m\n    results:\n" + shifted(OLD, "    ")),
        card("model-index:\n  - name: m\n    results:\n" + shifted(OURS, "    ")),
    ),
    "a dash far from its entry": (
        card(INDEX + shifted(OLD, "     ", "^  (?=  )").replace("  - task", "  -    task")),
        card(INDEX + shifted(OURS, "     ", "^  (?=  )").replace("  - task", "  -    task")),
    ),
    "ours in braces": (
        card(
            f"{INDEX}  - {{task: {{type: STS}}, dataset: {{type: C-MTEB/STSB, config: default, split: test}}, metrics: []}} # old\n{OTHER}"
        ),
        card(INDEX + OURS + OTHER),
    ),
    "two models": (
        card(f"model-index:\n- name: other\n  results:\n{OLD}- name: m\n  results:\n{OLD}"),
        card(f"model-index:\n- name: other\n  results:\n{OLD}- name: m\n  results:\n{OURS}"),
    ),
    "one model of another name": (card(INDEX.replace("m\n", "n\n") + OLD), card(INDEX.replace("m\n", "n\n") + OURS)),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("case", CASES)
def test_the_card_with_the_entry_as_written_by_hand(case: str, mark: str, newline: str) -> None:
    before, after = (mark + text.replace("\n", newline) for text in CASES[case])
    if not before.strip("\ufeff"):
        after = after.replace("\r\n", "\n")  # a file without a line end has none to follow
    merged = merge_entries(before, "m", [entry()])
    assert merged.text == after
    assert merge_entries(merged.text, "m", [entry()]).text == after


FLOW = {
    "a list in brackets": "model-index: [{name: m, results: [{dataset: {type: a, split: b}, metrics: []}]}] # c\n",
    "an empty list in brackets": "model-index: [{name: m, results: []}] # c\n",
    "nothing in brackets": 'model-index: [{results: , "name": "m"}] # c\n',
    "ours in brackets": (
        "model-index: [{name: m, results: [{dataset: {type: C-MTEB/STSB, config: default, split: test}, metrics: [1]}, {a: 1}]}] # c\n"
    ),
    "results alone in brackets": "model-index:\n- name: m\n  results: [{a: 1}, # c\n    {b: 2}]\n",
}


@pytest.mark.parametrize("case", FLOW)
def test_entries_go_into_brackets_too(case: str) -> None:
    before = card(FRONT + FLOW[case])
    merged = merge_entries(before, "m", [entry()])
    kept = [each for each in results(before) or [] if "dataset" not in each or each["dataset"]["type"] != "C-MTEB/STSB"]
    assert sorted(results(merged.text), key=str) == sorted([entry(), *kept], key=str)
    assert {key: value for key, value in loaded(merged.text).items() if key != "model-index"} == {
        "tags": ["mteb", "x"],
        "license": "mit",
    }
    assert ("# c" in merged.text, merged.text.endswith(BODY)) == (True, True)


PIECES = [
    "tags: [a, b] # c\n",
    "# comment\n",
    "\n",
    "text: |\n  - x\n\n  # no comment\n",
    "quoted: 'it''s'\n",
    "deep:\n- a: 1\n  b: [1,\n    2]\n",
]
ENTRIES = [OTHER, OTHER.replace("mteb/sts", "x/"), "  # between\n", "\n", "  - dataset: {}\n", OLD]


@given(
    above=st.lists(st.sampled_from(PIECES), unique=True),
    below=st.lists(st.sampled_from(PIECES), unique=True),
    inside=st.lists(st.sampled_from(ENTRIES), unique=True),
    newline=st.sampled_from(["\n", "\r\n"]),
    body=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_of_any_card_only_the_entry_changes(
    above: Sequence[str], below: Sequence[str], inside: Sequence[str], newline: str, body: str
) -> None:
    below = [piece for piece in below if piece not in above]
    head, foot = "".join(above), "".join(below)
    index = f"{INDEX}{''.join(inside)}" if inside else "model-index: []\n"
    before = card(head + index + foot, "").replace("\n", newline) + body
    merged = merge_entries(before, "m", [entry()])
    assert merged.text.endswith(f"---{newline}{body}")
    assert merged.text.startswith(f"---{newline}{head.replace(chr(10), newline)}model-index:")
    outside = [line for piece in [*above, *below, *(each for each in inside if each != OLD)] for line in piece.splitlines()]
    lines = merged.text.removesuffix(body).splitlines()
    assert all(lines.count(line) >= outside.count(line) for line in outside)
    assert len(lines) == len(outside) + 2 + 3 + len(OURS.splitlines())
    was, found = loaded(before), loaded(merged.text)
    others = [
        each for each in (was["model-index"] or [{"results": []}])[0]["results"] or [] if each["dataset"].get("type") != "C-MTEB/STSB"
    ]
    assert [each for each in found.pop("model-index")[0]["results"] if each != entry()] == others
    was.pop("model-index")
    assert found == was


@pytest.mark.parametrize(
    ("text", "error", "told"),
    [
        ("---\ntags: [a]\n", InputError, "has no end"),
        ("\n\n---\r", InputError, "has no end"),
        (card("a: [\n"), InputError, "is no YAML"),
        (card("a: 1\na\t: 2\n\tb: 3\n"), InputError, "is no YAML"),
        (card("- a\n"), InputError, "no mapping in block style"),
        (card("{a: b}\n"), InputError, "no mapping in block style"),
        (card("model-index: []\nmodel-index: []\n"), InputError, "'model-index' 2 times"),
        (card("model-index: {}\n"), InputError, "no list of models"),
        (card("model-index: [text]\n"), InputError, "no list of models"),
        (card("model-index: [{name: m}]\n"), InputError, "no list of results"),
        (card("model-index: [{name: m, results: text}]\n"), InputError, "no list of results"),
        (card(INDEX + OLD + OLD), InputError, "has MTEB STSB 2 times: remove all but one"),
        (card("model-index: [{name: a, results: []}, {name: b, results: []}]\n"), RequestError, r"2 models \(a, b\), not one 'm'"),
        (card(f"{INDEX}{OLD.replace('type: STS', 'type: &t STS')}z: *t\n"), InputError, "an anchor, an alias"),
        (card(f"z: &r\n- {{a: 1}}\n{INDEX.rstrip()} *r\n"), InputError, "an anchor, an alias"),
        (card("z: &r [*r]\n" + INDEX + OLD), InputError, "an anchor, an alias"),
        (card("model-index:\n- name: m\n  results: &r\n  - *r\n"), InputError, "no end of nesting"),
        (card(FRONT + "...\n"), InputError, "without changing other parts"),
        (card("[" * 1000 + "\n"), InputError, "is no YAML"),
    ],
)
def test_a_card_that_can_not_be_changed_at_one_place_is_refused(text: str, error: type[HarnessError], told: str) -> None:
    with pytest.raises(error, match=told):
        merge_entries(text, "m", [entry()])


@pytest.mark.parametrize(
    ("content", "code", "told"),
    [
        (b"\x89PNG\r\n\x1a\n", 1, "can't be read as a model card"),
        (b"---\nmodel-index: {}\n---\n", 1, "README.md: the model-index of the card is no list of models"),
        (None, 2, "no card at"),
    ],
)
def test_a_refused_card_stays_as_it_is(
    tmp_path: Path, content: bytes | None, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    if content is not None:
        path.write_bytes(content)
    assert main(["export", "model-index", str(PUBLISHED), "--into", str(path)]) == code
    assert told in capsys.readouterr().err
    assert (path.read_bytes() if path.exists() else None) == content
    assert [each.name for each in tmp_path.iterdir()] == ([] if content is None else ["README.md"])


def test_a_card_behind_a_link_is_changed_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "real.md").write_text(BODY, encoding="utf-8")
    (tmp_path / "README.md").symlink_to("real.md")
    merge_into(tmp_path / "README.md", "m", [entry()])
    assert (tmp_path / "README.md").is_symlink()
    assert results((tmp_path / "real.md").read_text(encoding="utf-8")) == [entry()]


@pytest.mark.parametrize(("content", "seen"), [("\ufeff---\na: b\n---\n", False), ("---\na: b\n---\n", True), ("", True)])
def test_a_front_matter_that_the_hub_does_not_see_is_told(
    tmp_path: Path, content: str, seen: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content.encode())
    assert main(["export", "model-index", str(PUBLISHED), "--into", str(path)]) == 0
    assert ("the hub does not see this front matter" in capsys.readouterr().out) is not seen
    assert (ModelCard(path.read_bytes().decode()).data.eval_results is not None) is seen


def test_a_run_is_merged_and_the_table_reads_it_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", BY_HAND)
    path = tmp_path / "README.md"
    path.write_text(card(FRONT), encoding="utf-8")
    for _ in range(2):
        assert main(["export", "model-index", str(tmp_path / "run"), "--into", str(path), "--name", "mine"]) == 0
    assert "35 entries replaced, 0 added, 0 others kept under the model mine" in capsys.readouterr().out
    assert main(["table", str(path), "--against", str(tmp_path / "run"), "--format", "json"]) == 0
    assert '"verdict": "differs"' not in (told := capsys.readouterr().out)
    assert told.count('"verdict": "="') == 7


def test_every_metric_of_the_published_run_is_exported() -> None:
    entries = index_entries(select_scores(read_run(PUBLISHED, BENCHMARK), BENCHMARK, other_data=False))
    names: Mapping[str, list[str]] = {each["dataset"]["name"]: [metric["type"] for metric in each["metrics"]] for each in entries}
    assert sum(map(len, names.values())) == 367
    assert names["MTEB Waimai"] == ["accuracy", "ap", "f1"]
    assert names["MTEB CMedQAv1"] == ["map", "mrr"]
    assert (names["MTEB Ocnli"][0], names["MTEB Ocnli"][-1], len(names["MTEB Ocnli"])) == ("cos_sim_accuracy", "max_f1", 23)
