"""Every output format writes every document, and a format from outside of the package is one more choice of `--format`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from harness.commands import main
from harness.core.errors import RequestError
from harness.core.resources import resource_dir
from harness.show.form import REPORTERS, Column, Document, Grid, Heading, Sentences, format_names, write_document

PUBLISHED = str(resource_dir("results/published") / "acge_text_embedding")
NASTY = r"<b>|50% of $x_1$ & #2|</b>"
DOCUMENT = Document(
    blocks=lambda: [
        Heading("A & B"),
        Sentences(("first", NASTY), "list"),
        Sentences((), "notes"),
        Grid((Column("Name", "N"), Column("Score", "S", numeric=True)), ((NASTY, "1.5"),)),
        Sentences(("for a terminal",), width="narrow", tight=True),
        Sentences(("for the rest",), width="wide"),
    ],
    data=lambda: {"scores": [1.5]},
)


def slack(document: Document) -> str:
    """A format of somebody else: the tables alone, in a block of code."""
    rows = [row for block in document.blocks() if isinstance(block, Grid) for row in block.rows]
    return "\n".join(["```", *("; ".join(row) for row in rows), "```"])


@pytest.fixture
def slack_format() -> Iterator[None]:
    REPORTERS.register("slack", slack)
    yield
    REPORTERS.unregister("slack")


@pytest.mark.usefixtures("slack_format")
def test_a_format_from_outside_of_the_package_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", PUBLISHED, "--format", "slack"]) == 0
    first, row, last = capsys.readouterr().out.splitlines()
    assert (first, last) == ("```", "```")
    assert "acge_text_embedding" in row
    assert "69.07" in row
    assert main(["report", PUBLISHED, "--format", "slack"]) == 0
    assert row in capsys.readouterr().out.splitlines()


def test_the_help_names_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["table", "--help"])
    assert "{text,md,csv,json,latex,html}" in capsys.readouterr().out


def test_text_has_no_empty_line_before_a_tight_block_and_no_wide_block() -> None:
    assert write_document(DOCUMENT, "text").splitlines()[-2:] == [f"{NASTY}  1.5", "for a terminal"]


def test_markdown_csv_and_json() -> None:
    markdown = write_document(DOCUMENT, "md")
    assert markdown.startswith("## A &amp; B\n\n* first\n* ")
    assert markdown.endswith("for the rest")
    assert "for a terminal" not in markdown
    assert write_document(DOCUMENT, "csv") == f"Name,Score\n{NASTY},1.5"
    assert json.loads(write_document(DOCUMENT, "json")) == {"scores": [1.5]}


def test_latex_and_html_escape_the_data() -> None:
    latex = write_document(DOCUMENT, "latex")
    assert r"\section*{A \& B}" in latex
    assert r"50\% of \$x\_1\$ \& \#2" in latex
    page = write_document(DOCUMENT, "html")
    assert "<h2>A &amp; B</h2>" in page
    assert "<b>" not in page


@pytest.mark.parametrize("command", [["table", PUBLISHED], ["explain", PUBLISHED], ["tasks"], ["claims", PUBLISHED]])
@pytest.mark.parametrize("name", format_names())
def test_every_command_writes_every_format(command: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--format", name]) == 0
    assert capsys.readouterr().out.strip()


def test_an_unknown_format_is_told_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match=r"unknown format 'htm': did you mean html"):
        write_document(DOCUMENT, "htm")
