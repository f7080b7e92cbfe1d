"""A document as LaTeX (`\\usepackage{booktabs,graphicx}`), for pdfTeX, or XeLaTeX where texts are Chinese; all of the data is escaped."""

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby, repeat

from rich.cells import cell_len

from harness.core.formatting import one_line
from harness.show.form import Block, Column, Document, Grid, Heading, Sentences
from harness.show.text import briefly

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",  # \textquotedbl is unknown to fonts of the encoding OT1
    "`": r"\textasciigrave{}",
    "-": "{-}",  # or two of them make a dash
    "[": "{[}",  # or it begins an option of the line end or the bullet before it,
    "*": "{*}",  # or belongs to the line end
    "\u200b": r"\allowbreak{}",
    "−": "$-$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",  # which pdfTeX has in formulas alone
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


_LONG_WORD = re.compile(r"\S{20,}")
_BREAKS = re.compile(r"[/_.=:,-](?=.)|[a-z](?=[A-Z])|[0-9a-f]{4}(?=[0-9a-f])|[\u3000-\u9fff\uff00-\uffef](?=.)")
"""Where a line may end within a long word: a path, a name, a hash, a Chinese text."""

_WIDEST = 115
"""Characters of a row that fit the page, with the gaps: where there are more, columns of text are broken into lines."""

_NARROWEST = 14
_TALLEST = 45
"""Lines of a table; the others go into a second one."""


def render_latex(document: Document) -> str:
    """The document as sections, lists and tables."""
    return "\n\n".join(_block(block) for block in document.wide())


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return rf"\section*{{{escape_latex(text)}}}"
        case Sentences(texts, "plain" | "verbatim"):
            return "\n\n".join(rf"{{\sloppy {escape_latex(text)}\par}}" for text in texts)
        case Sentences(texts, style):
            kind = "enumerate" if style == "numbered" else "itemize"
            return "\n".join([rf"\begin{{{kind}}}\sloppy", *(rf"\item {escape_latex(line)}" for line in texts), rf"\end{{{kind}}}"])
        case Grid(columns, rows):
            cells = briefly(columns, rows)
            widths = [max(map(cell_len, each)) for each in zip((column.short for column in columns), *cells, strict=True)]
            most = _text_width(columns, widths)
            kinds = [
                "r" if each.numeric else f"p{{{most / 2}em}}" if wide > most else "l" for each, wide in zip(columns, widths, strict=True)
            ]
            lines = [[escape_latex(cell) for cell in row] for row in cells]
            heights = [max(1 if cell_len(cell) <= most else 1 + 4 * cell_len(cell) // (3 * most) for cell in row) for row in cells]
            return booktabs("".join(kinds), [escape_latex(column.short) for column in columns], lines, heights=heights)


def _text_width(columns: Sequence[Column], widths: Sequence[int]) -> int:
    """The characters that the widest columns of text may have, so that the row fits the page."""
    for most in range(max(widths), _NARROWEST, -1):
        if (
            sum(width if column.numeric else min(width, most) for column, width in zip(columns, widths, strict=True)) + len(widths)
            <= _WIDEST
        ):
            return most
    return _NARROWEST


def escape_latex(text: str) -> str:
    """The text as LaTeX that prints it literally, on one line."""
    line = _LONG_WORD.sub(lambda word: _BREAKS.sub("\\g<0>\u200b", word[0]), one_line(text))
    return "".join(_ESCAPES.get(character, character) for character in line)


def booktabs(
    columns: str,
    head: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    caption: str = "",
    notes: Iterable[str] = (),
    heights: Iterable[int] = repeat(1),
) -> str:
    """Lines as a `table*` in the style of booktabs, or as several where they are more than a page has; all texts are LaTeX already.

    A table that is wider than the page is made smaller. `heights`: of each line.
    """
    pages = [
        [line for _, line in page] for _, page in groupby(zip(accumulate(heights), lines, strict=False), lambda each: each[0] // _TALLEST)
    ]
    below = [r"\par\smallskip\raggedright\footnotesize", *(rf"{note}.\par" for note in notes)]
    return "\n\n".join(
        "\n".join(
            [
                r"\begin{table*}",
                r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",  # the leaderboard is as wide as a page of two columns
                *([rf"\caption{{{caption}}}"] if caption else []),
                rf"\sbox0{{\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
                r"\toprule",
                " & ".join(head) + r" \\",
                r"\midrule",
                *(" & ".join(line) + r" \\" for line in page),
                r"\bottomrule",
                r"\end{tabular}}",
                r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi",
                *(below if page is pages[-1] else []),
                r"\end{table*}",
            ]
        )
        for page in pages
    )
