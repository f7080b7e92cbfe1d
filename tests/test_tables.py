"""Tables of strings for a terminal, Markdown and CSV."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from harness.core.formatting import csv_cell, one_line
from harness.show.form import Column
from harness.show.formats import csv_table, escape_markdown, markdown_table
from harness.show.text import TERMINAL_WIDTH, paragraph, text_table

NAME = Column("Model Name", "Model", shrinks_to=8)
GPU = Column("GPU", "GPU", shrinks_to=4)
SCORE = Column("Average (35)", "Avg35", numeric=True)


def test_numbers_stand_under_each_other_at_the_point() -> None:
    rows = [["a", "69.07"], ["bb", "58.7"], ["c", "34/35"], ["d", "100.0"], ["e", "="]]
    assert text_table([NAME, SCORE], rows).splitlines() == [
        "Model   Avg35",
        "a       69.07",
        "bb      58.7",
        "c       34/35",
        "d      100.0",
        "e           =",
    ]


def test_wide_characters_take_two_columns() -> None:
    rows = [["向量模型", "1.5"], ["e\u0301t\u0301e\u0301", "2.5"], ["plain", "3.5"]]
    lines = text_table([NAME, SCORE], rows).splitlines()
    assert [cell_len(line) for line in lines] == [15, 15, 15, 15]
    assert lines[1] == "向量模型    1.5"
    assert cell_len("ｅ模e\u0301") == 5


def test_names_are_cut_to_fit_and_numbers_never() -> None:
    rows = [["m" * 90, "g" * 30, "69.07"], ["模" * 45, "A10", "1234567.89"]]
    lines = text_table([NAME, GPU, SCORE], rows).splitlines()
    assert {cell_len(line) for line in lines} == {TERMINAL_WIDTH}
    name, gpu, score = lines[1].split()
    assert (len(name), set(name), name.count("~"), gpu, score) == (TERMINAL_WIDTH - 4 - 10 - 2, {"m", "~"}, 1, "gg~g", "69.07")
    assert lines[2].endswith("模  A10  1234567.89")


@pytest.mark.parametrize("width", [40, 100])
def test_two_names_are_never_cut_to_one(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    names = [f"organisation/an-embedding-model-with-a-name-that-is-{'very-' * 12}long-{end}" for end in ("1", "11", "21", "base", "large")]
    names += [f"{start}-{'x' * 90}" for start in "ab"] + [f"{'y' * 40}{middle}{'y' * 50}" for middle in "cd"]
    lines = text_table([NAME, SCORE], [[name, "1.5"] for name in names]).splitlines()[1:]
    assert len(set(lines)) == len(names)


def test_columns_and_files_decide_how_wide_a_table_is(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [["a" * 150, "1.5"], ["b" * 20_000, "2.5"]]
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(cell_len, text_table([NAME, SCORE], rows).splitlines())) == 60
    assert max(map(cell_len, paragraph("word " * 30, indent=3).splitlines())) <= 60
    monkeypatch.delenv("COLUMNS")
    shown = text_table([NAME, SCORE], rows)
    assert "a" * 150 in shown
    assert max(map(cell_len, shown.splitlines())) == 400


def test_a_terminal_obeys_nothing_in_a_cell() -> None:
    assert one_line("a\x1b[31mb\nc\td\u202ee") == "a\N{REPLACEMENT CHARACTER}[31mb c d\N{REPLACEMENT CHARACTER}e"
    assert text_table([NAME], [["a\nb\x07"]]).splitlines() == ["Model", "a b\N{REPLACEMENT CHARACTER}"]


def test_markdown_shows_a_cell_literally() -> None:
    table = markdown_table([NAME, SCORE], [["a|b <script>alert(1)</script> [x](y) `z` *w* & \\", "1\n2"]])
    assert table.splitlines() == [
        "| Model Name | Average (35) |",
        "|:---|---:|",
        r"| a\|b &lt;script&gt;alert(1)&lt;/script&gt; \[x\](y) \`z\` \*w\* &amp; \\ | 1 2 |",
    ]


@given(st.lists(st.lists(st.text(max_size=20), min_size=2, max_size=2), max_size=5))
def test_csv_gives_back_every_cell_and_has_a_line_per_row(rows: list[list[str]]) -> None:
    table = csv_table([NAME.title, SCORE.title], rows)
    assert list(csv.reader(io.StringIO(table))) == [["Model Name", "Average (35)"], *(list(map(csv_cell, row)) for row in rows)]
    assert len(table.split("\n")) == len(rows) + 1


@given(st.lists(st.lists(st.text(max_size=120), min_size=3, max_size=3), max_size=1))
def test_no_cell_breaks_a_line_or_the_width(rows: list[list[str]]) -> None:
    cells = [[name, gpu, str(len(number))] for name, gpu, number in rows]
    lines = text_table([NAME, GPU, SCORE], cells).split("\n")
    assert len(lines) == len(rows) + 1
    assert all(cell_len(line) <= TERMINAL_WIDTH for line in lines)
    assert len(markdown_table([NAME, GPU, SCORE], rows).splitlines()) == len(rows) + 2


@pytest.mark.parametrize(("text", "lines"), [("", 1), ("a b", 1), ("word " * 30, 2), ("模型 " * 30, 2), ("x" * 150 + " y", 2)])
def test_a_paragraph_is_as_wide_as_the_terminal(text: str, lines: int) -> None:
    wrapped = paragraph(text, indent=3).split("\n")
    assert len(wrapped) == lines
    assert all(cell_len(line) <= TERMINAL_WIDTH or " " not in line.strip() for line in wrapped)
    assert all(line.startswith("   ") for line in wrapped[1:])
    assert "".join(wrapped).replace(" ", "") == text.replace(" ", "")


def test_escaped_text_has_no_markup_left() -> None:
    assert escape_markdown("<b>|`") == r"&lt;b&gt;\|\`"
