"""Entries put into a model card: no other byte changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from cards import front_matter, index_entry, index_results
from huggingface_hub import ModelCard
from hypothesis import given
from hypothesis import strategies as st
from runs import BY_HAND, PUBLISHED, write_run

from harness.commands import main
from harness.core.errors import HarnessError, InputError, RequestError
from harness.show.export.model_index import merge_entries, merge_into

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
    "one model of nearly that name": (card(INDEX.replace("m\n", "org/M\n") + OLD), card(INDEX.replace("m\n", "org/M\n") + OURS)),
    "nearly that repository": (card(INDEX + OLD.replace("C-MTEB/STSB", "mteb/STSB-test")), card(INDEX + OURS)),
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("case", CASES)
def test_the_card_with_the_entry_as_written_by_hand(case: str, mark: str, newline: str) -> None:
    before, after = (mark + text.replace("\n", newline) for text in CASES[case])
    if not before.strip("\ufeff"):
        after = after.replace("\r\n", "\n")  # a file without a line end has none to follow
    merged = merge_entries(before, "m", [index_entry()])
    assert merged.text == after
    assert merge_entries(merged.text, "m", [index_entry()]).text == after


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
    merged = merge_entries(before, "m", [index_entry()])
    kept = [each for each in index_results(before) or [] if "dataset" not in each or each["dataset"]["type"] != "C-MTEB/STSB"]
    assert sorted(index_results(merged.text), key=str) == sorted([index_entry(), *kept], key=str)
    assert {key: value for key, value in front_matter(merged.text).items() if key != "model-index"} == {
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
    merged = merge_entries(before, "m", [index_entry()])
    assert merged.text.endswith(f"---{newline}{body}")
    assert merged.text.startswith(f"---{newline}{head.replace(chr(10), newline)}model-index:")
    outside = [line for piece in [*above, *below, *(each for each in inside if each != OLD)] for line in piece.splitlines()]
    lines = merged.text.removesuffix(body).splitlines()
    assert all(lines.count(line) >= outside.count(line) for line in outside)
    assert len(lines) == len(outside) + 2 + 3 + len(OURS.splitlines())
    was, found = front_matter(before), front_matter(merged.text)
    others = [
        each for each in (was["model-index"] or [{"results": []}])[0]["results"] or [] if each["dataset"].get("type") != "C-MTEB/STSB"
    ]
    assert [each for each in found.pop("model-index")[0]["results"] if each != index_entry()] == others
    was.pop("model-index")
    assert found == was


@pytest.mark.parametrize(
    ("text", "error", "message"),
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
        (card(INDEX.replace("m\n", "n\n") + OLD), RequestError, "the card is of the model 'n', the scores are of 'm': .* --name 'n'"),
        (card("model-index: [{name: a, results: []}, {name: b, results: []}]\n"), RequestError, r"2 models \(a, b\), not one 'm'"),
        (card(f"{INDEX}{OLD.replace('type: STS', 'type: &t STS')}z: *t\n"), InputError, "an anchor, an alias"),
        (card(f"z: &r\n- {{a: 1}}\n{INDEX.rstrip()} *r\n"), InputError, "an anchor, an alias"),
        (card("z: &r [*r]\n" + INDEX + OLD), InputError, "an anchor, an alias"),
        (card("model-index:\n- name: m\n  results: &r\n  - *r\n"), InputError, "nested without end"),
        (card(FRONT + "...\n"), InputError, "without changing other parts"),
        (card("[" * 1000 + "\n"), InputError, "is no YAML"),
    ],
)
def test_a_card_that_can_not_be_changed_at_one_place_is_refused(text: str, error: type[HarnessError], message: str) -> None:
    with pytest.raises(error, match=message):
        merge_entries(text, "m", [index_entry()])


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"\x89PNG\r\n\x1a\n", 1, "can't be read as a model card"),
        (b"---\nmodel-index: {}\n---\n", 1, "README.md: the model-index of the card is no list of models"),
        (None, 2, "no card at"),
    ],
)
def test_a_refused_card_stays_as_it_is(
    tmp_path: Path, content: bytes | None, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    if content is not None:
        path.write_bytes(content)
    assert main(["export", "model-index", str(PUBLISHED), "--into", str(path)]) == code
    assert message in capsys.readouterr().err
    assert (path.read_bytes() if path.exists() else None) == content
    assert [each.name for each in tmp_path.iterdir()] == ([] if content is None else ["README.md"])


def test_a_card_behind_a_link_is_changed_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "real.md").write_text(BODY, encoding="utf-8")
    (tmp_path / "README.md").symlink_to("real.md")
    merge_into(tmp_path / "README.md", "m", [index_entry()])
    assert (tmp_path / "README.md").is_symlink()
    assert index_results((tmp_path / "real.md").read_text(encoding="utf-8")) == [index_entry()]


@pytest.mark.parametrize(("content", "seen"), [("\ufeff---\na: b\n---\n", False), ("---\na: b\n---\n", True), ("", True)])
def test_a_front_matter_that_the_hub_does_not_see_is_reported(
    tmp_path: Path, content: str, seen: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "README.md"
    path.write_bytes(content.encode())
    assert main(["export", "model-index", str(PUBLISHED), "--into", str(path)]) == 0
    assert ("the hub does not read this front matter" in capsys.readouterr().out) is not seen
    assert (ModelCard(path.read_bytes().decode()).data.eval_results is not None) is seen


def test_a_run_is_merged_and_the_table_reads_it_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", BY_HAND)
    path = tmp_path / "README.md"
    path.write_text(card(FRONT), encoding="utf-8")
    for _ in range(2):
        assert main(["export", "model-index", str(tmp_path / "run"), "--into", str(path), "--name", "mine"]) == 0
    assert "35 entries replaced, 0 added, 0 others kept under the model mine" in capsys.readouterr().out
    assert main(["table", str(path), "--against", str(tmp_path / "run"), "--format", "json"]) == 0
    assert '"verdict": "differs"' not in (message := capsys.readouterr().out)
    assert message.count('"verdict": "="') == 7
