"""Claims, checks and grades of a model card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from harness.core.words import SHORT_TYPES
from harness.read.claims.averages import Averages, Fit
from harness.read.claims.findings import VERDICTS, Check
from harness.read.claims.grading import COMPARED, GRADES, Comparison, Graded
from harness.read.claims.report import ClaimsReport
from harness.read.claims.sheet import Sheet
from harness.read.leaderboard import printed
from harness.show.form import Block, Column, Document, Grid, Sentences, write_document

_LISTED_AT_MOST = 20  # metrics that are not reproduced; JSON has all of them


def render_claims(report: ClaimsReport, format: str) -> str:  # noqa: A002 (the option's name)
    """The report in that format, without a newline at the end.

    Raises:
        RequestError: an unknown format.
    """
    return write_document(Document(blocks=lambda: _blocks(report), data=lambda: _json(report)), format)


def _blocks(report: ClaimsReport) -> Iterator[Block]:
    yield from _part(_title(report.sheet, report.averages))
    yield from _rows_part(report)
    yield from _checks_part(report.checks)
    yield from _findings_part(report)
    if report.comparison:
        yield from _comparison_parts(report.comparison)


def _part(
    head: str = "", columns: Sequence[Column] = (), lines: Sequence[Sequence[str]] = (), below: Sequence[str] = ()
) -> Iterator[Block]:
    """A sentence, a table and sentences under it; the ones that are empty left out."""
    if head:
        yield Sentences((head,))
    if lines:
        yield Grid(tuple(columns), tuple(map(tuple, lines)), tight=bool(head))
    if below:
        yield Sentences(tuple(below), "notes", tight=bool(head or lines))


def _title(sheet: Sheet, found: Averages) -> str:
    front = f"; the front matter is {found.front.label} under {found.convention}" if found.front else ""
    rows = f", {len(sheet.rows)} printed rows" if sheet.rows else ""
    return f"{sheet.path}: {sheet.model}, {len(sheet.claims)} tasks, {sheet.numbers} numbers{rows}{front}"


def _rows_part(report: ClaimsReport) -> Iterator[Block]:
    found, conventions = report.averages, list(report.averages.computed)
    titles = list(found.computed[conventions[0]])
    columns = [
        Column(title="Row", short="Row"),
        Column(title="GPU", short="GPU", shrinks_to=8),
        Column(title="tensor-type", short="Type"),
        Column(title="Sequence Length", short="Len", numeric=True),
        *(Column(title=title, short=_short(title), numeric=True) for title in titles),
        *(Column(title=name, short=name, numeric=True) for name in conventions),
    ]
    lines = []
    for match in found.matches:
        header, own = match.row.header, "*" if match is found.front else ""
        setting = [header.gpu or header.model, header.dtype, str(header.max_len or "")]
        fits = [_fit(match.fits[name]) for name in conventions]
        lines.append([f"{match.number}{own}", *setting, *(printed(match.row.scores[title]) for title in titles), *fits])
    for name in conventions:
        values = [printed(value) or "-" for value in found.computed[name].values()]
        lines.append(["front", name, "", "", *values, *[""] * len(conventions)])
    legend = "* is the front matter. The last columns: = equal to it under that convention, else the largest difference in points"
    return _part("", columns, lines, [legend] if found.matches else [])


def _fit(fit: Fit) -> str:
    return "=" if fit.equal else f"{fit.points:+.2f}" if fit.compared else "-"


def _short(title: str) -> str:
    word, _, count = title.partition(" ")
    return SHORT_TYPES.get(word, word) + "".join(c for c in count if c.isdigit())


def _checks_part(checks: Sequence[Check]) -> Iterator[Block]:
    columns = [
        Column(title="Check", short="Check"),
        Column(title="Verdict", short="Verdict"),
        Column(title="Held", short="Held", numeric=True),
        Column(title="What must be so", short="What must be so", shrinks_to=30),
    ]
    return _part("", columns, [[c.name, c.verdict, f"{c.held}/{c.of}" if c.of else "", c.about] for c in checks])


def _findings_part(report: ClaimsReport) -> Iterator[Block]:
    findings = [(check.name, finding) for check in report.checks for finding in check.findings]
    findings.sort(key=lambda each: VERDICTS.index(each[1].verdict))
    lines = [f"{n}. {name} {each.verdict} ({each.where}): {each.text}" for n, (name, each) in enumerate(findings, start=1)]
    return _part(below=[*lines, *(f"note: {note}" for note in report.sheet.notes)])


def _comparison_parts(comparison: Comparison) -> Iterator[Block]:
    header = comparison.header
    setting = " ".join(str(each) for each in (header.model, header.gpu, header.dtype, header.max_len, header.dim) if each)
    head = f"Against {comparison.path}: {setting}. Convention {comparison.convention}: {comparison.about}"
    floor = "" if comparison.calibrated else "No noise floor is known (--noise FILE), so only equal printed digits pass as reproduced"
    settings = [f"differs: {field.name}, {field.claimed} claimed, {field.found} found" for field in comparison.recipe if field.differs]
    settings += [f"not told by the {who}: {', '.join(fields)}" for who, fields in _untold(comparison).items() if fields]
    copied = "The run is self-reported, too: equal numbers may be copies, they show no reproduction" if comparison.self_reported else ""
    summary = [_summary("main metrics", comparison, main=True), _summary("other metrics", comparison, main=False)]
    yield from _part(head, below=[*summary, *(line for line in (copied, floor, _other_row(comparison)) if line), *settings])
    yield from _average_parts(comparison.averages)
    yield from _task_part(comparison)
    yield from _others_part(comparison)


def _other_row(comparison: Comparison) -> str:
    """What a reader must know where the run has the setting of another printed row than the front matter's."""
    others = list(dict.fromkeys(cell.of for cell in comparison.averages))[1:]
    if not others:
        return ""
    return f"The run's dtype and length are those of {' and '.join(others)}, of which only averages are known; tasks are the front matter's"


def _untold(comparison: Comparison) -> dict[str, list[str]]:
    """Who does not tell which setting, with what the other one says."""
    untold: dict[str, list[str]] = {"card": [], "run": [], "card or the run": []}
    for field in comparison.recipe:
        if field.differs:
            continue
        who = "card or the run" if field.claimed == field.found else "card" if field.claimed is None else "run"
        told = field.claimed or field.found
        untold[who].append(f"{field.name} ({told})" if told else field.name)
    return untold


def _summary(what: str, comparison: Comparison, *, main: bool) -> str:
    counts = comparison.counts(main=main)
    exact = sum(cell.exact for cell in comparison.cells if cell.main == main and cell.grade in COMPARED)
    told = ", ".join(f"{counts[each]} {each}" for each in GRADES if counts[each]) or "none"
    return f"{what}: {told}" + (f" ({exact} equal in all digits)" if exact else "")


def _graded_columns(first: str) -> list[Column]:
    return [
        Column(title=first, short=first, shrinks_to=12),
        *(Column(title=title, short=title, numeric=True) for title in ("Claimed", "Found", "Diff")),
        Column(title="Grade", short="Grade"),
    ]


def _values(cell: Graded) -> list[str]:
    points = cell.points
    shown = "" if points is None else f"{float(printed(cell.found)) - float(printed(cell.claimed)):+.2f}"
    return [printed(cell.claimed), printed(cell.found), shown, cell.grade]


def _average_parts(cells: Sequence[Graded]) -> Iterator[Block]:
    for target in dict.fromkeys(cell.of for cell in cells):
        own = [cell for cell in cells if cell.of == target]
        yield from _part(f"Averages of {target}", _graded_columns("Average"), [[cell.metric, *_values(cell)] for cell in own])


def _task_part(comparison: Comparison) -> Iterator[Block]:
    """A line per task that the run has. The last column: how many of the other metrics passed."""
    base = _graded_columns("Task")
    columns = [base[0], Column(title="Metric", short="Metric"), *base[1:], Column(title="Other metrics", short="Others", numeric=True)]
    lines = []
    for cell in comparison.cells:
        if cell.main and (cell.found is not None or cell.grade != "not comparable"):
            others = [other for other in comparison.cells if other.of == cell.of and not other.main]
            passed = sum(other.grade in ("reproduced", "within noise") for other in others)
            lines.append([cell.of, cell.metric, *_values(cell), f"{passed}/{len(others)}" if others else ""])
    reasons: dict[str, list[str]] = {}
    for cell in comparison.cells:
        if cell.main and cell.why:
            reasons.setdefault(f"{cell.grade}: {cell.why}", []).append(cell.of)
    below = [f"{reason} ({', '.join(tasks) if len(tasks) <= 4 else f'{len(tasks)} tasks'})" for reason, tasks in reasons.items()]
    below += [f"not claimed: {', '.join(comparison.unclaimed)}"] if comparison.unclaimed else []
    return _part("", columns, lines, below)


def _others_part(comparison: Comparison) -> Iterator[Block]:
    cells = [cell for cell in comparison.cells if not cell.main and cell.grade in ("not reproduced", "definition differs")]
    if not cells:
        return _part()
    base = _graded_columns("Task")
    columns = [base[0], Column(title="Other metric", short="Other metric"), *base[1:]]
    cells.sort(key=lambda cell: -abs(cell.points or 0))
    rest = len(cells) - _LISTED_AT_MOST
    below = [f"and {rest} other metrics with smaller differences (--format json lists all)"] if rest > 0 else []
    below += list(dict.fromkeys(cell.why for cell in cells if cell.why))
    return _part("", columns, [[cell.of, cell.metric, *_values(cell)] for cell in cells[:_LISTED_AT_MOST]], below)


def _json(report: ClaimsReport) -> dict[str, Any]:
    sheet, found = report.sheet, report.averages
    return {
        "path": str(sheet.path),
        "model": sheet.model,
        "tasks": len(sheet.claims),
        "numbers": sheet.numbers,
        "front_matter_row": found.front.number if found.front else None,
        "convention": found.convention,
        "averages": {name: dict(values) for name, values in found.computed.items()},
        "rows": [
            {
                "number": match.number,
                "place": match.place,
                "header": asdict(match.row.header),
                "scores": dict(match.row.scores),
                "fits": {name: {**asdict(fit), "equal": fit.equal} for name, fit in match.fits.items()},
            }
            for match in found.matches
        ],
        "checks": [{**asdict(check), "verdict": check.verdict} for check in report.checks],
        "notes": list(sheet.notes),
        "against": _json_comparison(report.comparison) if report.comparison else None,
        "exit_code": report.exit_code,
    }


def _json_comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "path": str(comparison.path),
        "header": asdict(comparison.header),
        "convention": comparison.convention,
        "calibrated": comparison.calibrated,
        "self_reported": comparison.self_reported,
        "recipe": [{**asdict(field), "differs": field.differs} for field in comparison.recipe],
        "summary": {kind: dict(comparison.counts(main=main)) for kind, main in (("main", True), ("others", False))},
        "averages": [_json_graded(cell) for cell in comparison.averages],
        "cells": [_json_graded(cell) for cell in comparison.cells],
        "unclaimed": list(comparison.unclaimed),
    }


def _json_graded(cell: Graded) -> dict[str, Any]:
    return {**asdict(cell), "points": cell.points, "exact": cell.exact}
