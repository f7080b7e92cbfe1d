"""The report as one HTML file: markup by Jinja with everything from data escaped, style and script inside, no address of another file.

The policy in its head lets the browser run this very script and this very style (by their SHA-256) and load nothing at all.
"""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness.read.claims.findings import VERDICTS
from harness.read.claims.grading import GRADES, Graded
from harness.read.leaderboard import printed, rounded
from harness.show.form import Document
from harness.show.leaderboard import board
from harness.show.report.charts import STAGES, cost_bars, curve_panel, quality_chart, quality_sets, signed_points
from harness.show.report.entries import Entry, best_first
from harness.show.report.heat import LABELS, STEPS, step
from harness.show.report.report import Report
from harness.show.report.words import LANGUAGES, PAGE, Words, words

_BREAKS = re.compile("(?<=[-_/.])|(?<=[a-z])(?=[A-Z])")
"""Where names may break: after separators, and before the second word of TaskName."""
_TAGS = {"en": "en", "zh": "zh-Hans"}
_STEP_CLASSES = (*(f"down{n}" for n in range(5, 0, -1)), "zero", *(f"up{n}" for n in range(1, 6)))


def report_document(report: Report, *, output: Path, language: str = "en", tasks: bool = False) -> Document:
    """The leaderboard of the report, with `tasks` every task; as HTML the page, which holds everything.

    `output`: the file of the page, for the links in it are relative to its folder. `language`: in which of its two languages it opens.
    """
    leaderboard = board([entry.row for entry in report.entries], tasks=tasks)
    return replace(leaderboard, own={**leaderboard.own, "html": lambda: _page(report, output, language)})


def _page(report: Report, output: Path, language: str) -> str:
    spoken: dict[str, Words] = {each: words(each) for each in LANGUAGES}
    loader = FileSystemLoader(PAGE)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    filters: dict[str, Callable[..., object]] = {
        "score": lambda value: f"{rounded(value):.2f}" if printed(value) else "",  # always two decimals, so that columns line up
        "signed": lambda value: "" if value is None else signed_points(value),
        "gap": _gap,
        "step": lambda points: _STEP_CLASSES[step(points or 0.0) + 5],
        "seconds": "{:,.1f}".format,
        "count": "{:,}".format,
        "breakable": lambda name: Markup("<wbr>").join(_BREAKS.split(str(name))),
        "best_first": best_first,
    }
    environment.filters |= filters
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    return environment.get_template("report.html.jinja").render(
        report=report,
        t=_translator(spoken),
        in_both=_in_both,
        spoken=spoken,
        language=language,
        href=_linker(output),
        state_counts=_state_counts,
        partly_other=_partly_other,
        steps=STEPS,
        curve_panel=curve_panel,
        cost_bars=cost_bars(report.costs) if report.costs else "",
        stages=STAGES,
        moved={found.entry.number: found.tasks for found in report.moved if report.heat and found.base is report.heat.reference},
        quality={on: quality_chart(report.costs, on) for on in quality_sets(report.costs)},
        heat_labels=tuple(zip(_STEP_CLASSES, LABELS, strict=True)),
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

    @cache
    def fixed(key: str) -> Markup:
        return translated(key, {})

    def translate(key: str, **values: object) -> Markup:
        return translated(key, values) if values else fixed(key)

    def translated(key: str, values: Mapping[str, object]) -> Markup:
        return _in_both({language: Markup(own[key]).format(**values) for language, own in spoken.items()})  # noqa: S704 (our own words)

    return translate


def _in_both(texts: Mapping[str, str]) -> Markup:
    """A text in both languages, one of which the style hides."""
    return Markup("").join(Markup('<span lang="{}">{}</span>').format(_TAGS[language], text) for language, text in texts.items())


def _linker(output: Path) -> Callable[[Path], Markup]:
    """`href(path)`: the attribute of a link from the page to a file."""
    folder = output.resolve().parent

    @cache
    def seen_from(place: Path) -> str:
        return os.path.relpath(place.resolve(), folder)

    @cache
    def href(path: Path) -> Markup:
        relative = f"{seen_from(path.parent)}/{path.name}".removeprefix("./") if path.name and not path.is_symlink() else seen_from(path)
        return Markup('href="{}"').format(quote(relative))

    return href


def _state_counts(entry: Entry) -> list[tuple[str, int]]:
    """How many tasks have no score, by why."""
    states = [task.state for task in entry.row.tasks]
    return [(state, states.count(state)) for state in ("failed", "broken", "missing") if state in states]


def _partly_other(entry: Entry) -> set[str]:
    """The averages (`Cell.key`) with tasks that are not on the benchmark's data, in a row that is not marked as a whole."""
    other = {task.type for task in entry.row.tasks if task.identity == "not C-MTEB"}
    every = {task.identity for task in entry.row.tasks if task.identity is not None}
    return {"Average", *other} if other and len(every) > 1 else set()


def _gap(cell: Graded) -> str:
    """Found minus claimed, both as printed: the two numbers beside it make exactly this one."""
    return "" if cell.claimed is None or cell.found is None else signed_points(rounded(rounded(cell.found) - rounded(cell.claimed)))
