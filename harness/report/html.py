"""The report as one HTML file: markup by Jinja with everything from data escaped, style and script inside, no address of another file.

The policy in its head lets the browser run this very script and this very style (by their SHA-256) and load nothing at all.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.claims.findings import VERDICTS
from harness.claims.grading import GRADES, Graded
from harness.leaderboard import Cell, printed, rounded
from harness.report.charts import Chart, cost_chart, curve_chart
from harness.report.heat import STEPS, step
from harness.report.model import CurveSet, Entry, Report
from harness.report.words import LANGUAGES, PAGE, Words, words


def render_html(report: Report, *, output: Path, language: str = "en") -> str:
    """The page, to be written to `output`: links to the files that numbers were read from are relative to its folder.

    `language`: in which of its two languages it opens.
    """
    spoken: dict[str, Words] = {each: words(each) for each in LANGUAGES}
    loader = FileSystemLoader(PAGE)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"score": _score, "signed": _signed, "gap": _gap, "step": _step_class, "seconds": _seconds, "count": _count}
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html.jinja").render(
        report=report,
        t=_translator(spoken),
        spoken=spoken,
        language=language,
        href=_linker(output),
        state_counts=_state_counts,
        cell_identity=_cell_identity,
        curve_svgs=lambda curves: _curves(curves, report, spoken),
        cost_svgs={each: cost_chart(report.costs, spoken[each], inline=True).inline() for each in LANGUAGES} if report.costs else {},
        steps=STEPS,
        grades=GRADES,
        verdicts=VERDICTS,
        style=Markup(style),  # noqa: S704 (our own files, whole)
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
        raw=Markup,
    )


def _policy(style: str, script: str) -> str:
    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; img-src data:; base-uri 'none'; form-action 'none'"


def _translator(spoken: Mapping[str, Words]) -> Callable[..., Markup]:
    """`t(key, name=value)`: the words in both languages, one of which the style hides; values are escaped."""

    def translate(key: str, **values: object) -> Markup:
        spans = []
        for language, own in spoken.items():
            text = Markup(own[key]).format(**values)  # noqa: S704 (our own words)
            spans.append(Markup('<span lang="{}">{}</span>').format(_TAGS[language], text))
        return Markup("").join(spans)

    return translate


_TAGS = {"en": "en", "zh": "zh-Hans"}


def _linker(output: Path) -> Callable[[Path], Markup]:
    """`href(path)`: the attributes of a link from the page to a file, which tell its path when pointed at."""
    folder = output.resolve().parent

    def href(path: Path) -> Markup:
        relative = os.path.relpath(path.resolve(), folder)
        return Markup('href="{}" title="{}"').format(quote(relative), relative)

    return href


def _curves(curves: CurveSet, report: Report, spoken: Mapping[str, Words]) -> list[tuple[str, dict[str, str]]]:
    """Per average of the table: its key and the panel in each language."""
    keys = [cell.key for cell in report.entries[0].row.cells]
    drawn: dict[str, Chart] = {
        each: curve_chart(curves, {key: spoken[each][f"type.{key}"] for key in keys}, spoken[each], inline=True) for each in LANGUAGES
    }
    svgs = {each: chart.inline() for each, chart in drawn.items()}
    return [(key, {each: svgs[each][index] for each in LANGUAGES}) for index, key in enumerate(keys)]


def _state_counts(entry: Entry) -> list[tuple[str, int]]:
    """How many tasks have no score, by why."""
    states = [task.state for task in entry.row.tasks]
    return [(state, states.count(state)) for state in ("failed", "broken", "missing") if state in states]


def _cell_identity(entry: Entry, cell: Cell) -> str:
    """Whether an average has tasks that are not the benchmark's, in a row that is not marked as a whole."""
    own = {task.identity for task in entry.row.tasks if cell.key in ("Average", task.type) and task.identity is not None}
    every = {task.identity for task in entry.row.tasks if task.identity is not None}
    return "not C-MTEB" if "not C-MTEB" in own and every != {"not C-MTEB"} else ""


def _score(value: float | None) -> str:
    """Two decimals always, so that columns line up; nothing for a hole."""
    return f"{rounded(value):.2f}" if value is not None and printed(value) else ""


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") if value else "0.00"


def _gap(cell: Graded) -> str:
    """Found minus claimed, both as printed: the two numbers beside it make exactly this one."""
    if cell.claimed is None or cell.found is None:
        return ""
    return _signed(rounded(rounded(cell.found) - rounded(cell.claimed)))


def _step_class(points: float | None) -> str:
    size = step(points or 0.0)
    return f"{'up' if size > 0 else 'down'}{abs(size)}" if size else "zero"


def _seconds(value: float) -> str:
    return f"{value:,.1f}"


def _count(value: Any) -> str:
    return f"{value:,}"
