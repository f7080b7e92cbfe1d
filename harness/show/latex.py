"""A document as LaTeX (`\\usepackage{booktabs}`), for pdfTeX, or XeLaTeX where texts are Chinese; all of the data is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.core.formatting import one_line
from harness.show.form import Block, Document, Grid, Heading, Sentences

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
    "−": "$-$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",  # which pdfTeX has in formulas alone
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


_PROSE = 60
"""Characters of a cell from which on its column is broken into lines."""


def render_latex(document: Document) -> str:
    """The document as sections, lists and tables."""
    return "\n\n".join(_block(block) for block in document.wide())


def _block(block: Block) -> str:
    match block:
        case Heading(text):
            return rf"\section*{{{escape_latex(text)}}}"
        case Sentences(texts, "plain" | "verbatim"):
            return "\n\n".join(map(escape_latex, texts))
        case Sentences(texts, style):
            kind = "enumerate" if style == "numbered" else "itemize"
            return "\n".join([rf"\begin{{{kind}}}", *(rf"\item {escape_latex(line)}" for line in texts), rf"\end{{{kind}}}"])
        case Grid(columns, rows):
            head = [escape_latex(column.title) for column in columns]
            lines = [[escape_latex(cell) for cell in row] for row in rows]
            widest = [max(map(len, cells)) for cells in zip(head, *lines, strict=True)]
            kinds = ("r" if column.numeric else "p{20em}" if wide > _PROSE else "l" for column, wide in zip(columns, widest, strict=True))
            return booktabs("".join(kinds), head, lines)


def escape_latex(text: str) -> str:
    """The text as LaTeX that prints it literally, on one line."""
    return "".join(_ESCAPES.get(character, character) for character in one_line(text))


def booktabs(columns: str, head: Sequence[str], lines: Sequence[Sequence[str]], *, caption: str = "", notes: Iterable[str] = ()) -> str:
    """A `table*` in the style of booktabs; all texts are LaTeX already."""
    below = [r"\par\smallskip\raggedright\footnotesize", *(rf"{note}.\par" for note in notes)]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",  # the leaderboard is as wide as a page of two columns
            *([rf"\caption{{{caption}}}"] if caption else []),
            rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *(" & ".join(line) + r" \\" for line in lines),
            r"\bottomrule",
            r"\end{tabular}",
            *below,
            r"\end{table*}",
        ]
    )
