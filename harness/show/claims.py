"""Claims, checks and grades of a model card."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from harness.core.formatting import amount, grouped
from harness.core.tasks import SHORT_TYPES
from harness.read.claims.findings import VERDICTS
from harness.read.claims.grading import COMPARED, GRADES, Comparison, Graded
from harness.read.claims.report import ClaimsReport
from harness.read.leaderboard import printed
from harness.show.form import Block, Column, Document, Sentences, grid, number_columns, table_columns

_LISTED_AT_MOST = 20  # metrics that are not reproduced; JSON has all of them


def claims_document(report: ClaimsReport) -> Document:
    """The claims, the checks, what they found, and the grades against a run where there is one."""
    return Document(blocks=lambda: _blocks(report), data=lambda: _values(report))


def _blocks(report: ClaimsReport) -> Iterator[Block]:
    sheet, front = report.sheet, report.averages.front
    row = f"; the front matter is {front.label} under {report.averages.convention}" if front else ""
    rows = f", {amount(len(sheet.rows), 'printed row')}" if sheet.rows else ""
    yield Sentences((f"{sheet.path}: {sheet.model}, {amount(len(sheet.claims), 'task')}, {amount(sheet.numbers, 'number')}{rows}{row}",))
    yield from _rows_part(report)
    columns = table_columns("Check", "Verdict", *number_columns("Held"), Column("Condition", shrinks_to=30))
    yield from _part("", columns, [[c.name, c.verdict, f"{c.held}/{c.of}" if c.of else "", c.about] for c in report.checks])
    findings = [(check.name, finding) for check in report.checks for finding in check.findings]
    findings.sort(key=lambda each: VERDICTS.index(each[1].verdict))
    lines = [f"{n}. {name} {each.verdict} ({each.where}): {each.text}" for n, (name, each) in enumerate(findings, start=1)]
    yield from _part(below=[*lines, *(f"note: {note}" for note in sheet.notes)])
    if report.comparison:
        yield from _comparison_parts(report.comparison)


def _part(
    head: str = "", columns: Sequence[Column] = (), lines: Sequence[Sequence[str]] = (), below: Sequence[str] = ()
) -> Iterator[Block]:
    """A sentence, a table and sentences under it; the ones that are empty left out."""
    if head:
        yield Sentences((head,))
    if lines:
        yield grid(columns, lines, tight=bool(head))
    if below:
        yield Sentences(tuple(below), "notes", tight=bool(head or lines))


def _rows_part(report: ClaimsReport) -> Iterator[Block]:
    found, conventions = report.averages, list(report.averages.computed)
    titles = list(found.computed[conventions[0]])
    columns = [
        *table_columns("Row", Column("GPU", shrinks_to=8), Column("tensor-type", "Type"), Column("Sequence Length", "Len", numeric=True)),
        *(Column(title, _short(title), numeric=True) for title in titles),
        *number_columns(*conventions),
    ]
    lines = []
    for match in found.matches:
        header, own = match.row.header, "*" if match is found.front else ""
        setting = [header.gpu or header.model, header.dtype, str(header.max_len or "")]
        fits = (match.fits[name] for name in conventions)
        marks = ["=" if fit.equal else f"{fit.points:+.2f}" if fit.compared else "-" for fit in fits]
        lines.append([f"{match.number}{own}", *setting, *(printed(match.row.scores[title]) for title in titles), *marks])
    for name in conventions:
        values = [printed(value) or "-" for value in found.computed[name].values()]
        lines.append(["front", name, "", "", *values, *[""] * len(conventions)])
    legend = "* is the front matter. The last columns: = equal to it under that convention, else the largest difference in points"
    return _part("", columns, lines, [legend] if found.matches else [])


def _short(title: str) -> str:
    word, _, count = title.partition(" ")
    return SHORT_TYPES.get(word, word) + "".join(c for c in count if c.isdigit())


def _comparison_parts(comparison: Comparison) -> Iterator[Block]:

    head = f"Against {comparison.path}: {comparison.header.text}. Convention {comparison.convention}: {comparison.about}"
    floor = "" if comparison.calibrated else "No noise floor is known (--noise FILE), so only equal printed digits pass as reproduced"
    settings = [f"differs: {field.name}, {field.claimed} claimed, {field.found} found" for field in comparison.recipe if field.differs]
    settings += [f"not stated by the {who}: {', '.join(fields)}" for who, fields in _unknown(comparison).items()]
    copied = "The run is self-reported, too, so equal numbers may be copies and show no reproduction" if comparison.self_reported else ""
    summary = [_summary("main metrics", comparison, main=True), _summary("other metrics", comparison, main=False)]
    yield from _part(head, below=[*summary, *(line for line in (copied, floor, _other_row(comparison)) if line), *settings])
    for target in dict.fromkeys(cell.of for cell in comparison.averages):
        own = [[cell.metric, *_values_of(cell)] for cell in comparison.averages if cell.of == target]
        yield from _part(f"Averages of {target}", _graded_columns("Average"), own)
    yield from _task_part(comparison)
    yield from _others_part(comparison)


def _other_row(comparison: Comparison) -> str:
    """What a reader must know where the run has the setting of another printed row than the front matter's."""
    others = list(dict.fromkeys(cell.of for cell in comparison.averages))[1:]
    if not others:
        return ""
    return f"The run has the dtype and length of {' and '.join(others)}, known by averages alone: tasks are compared with the front matter"


def _unknown(comparison: Comparison) -> dict[str, list[str]]:
    """Who does not tell which setting, with what the other one says."""
    unknown: dict[str, list[str]] = {}
    for field in comparison.recipe:
        if not field.differs:
            who = "card or the run" if field.claimed == field.found else "card" if field.claimed is None else "run"
            value = field.claimed or field.found
            unknown.setdefault(who, []).append(f"{field.name} ({value})" if value else field.name)
    return {who: unknown[who] for who in ("card", "run", "card or the run") if who in unknown}


def _summary(what: str, comparison: Comparison, *, main: bool) -> str:
    counts = comparison.counts(main=main)
    exact = sum(cell.exact for cell in comparison.cells if cell.main == main and cell.grade in COMPARED)
    listing = ", ".join(f"{counts[each]} {each}" for each in GRADES if counts[each]) or "none"
    return f"{what}: {listing}" + (f" ({exact} equal in all digits)" if exact else "")


def _graded_columns(first: str, *second: str) -> tuple[Column, ...]:
    return table_columns(Column(first, shrinks_to=12), *second, *number_columns("Claimed", "Found", "Diff"), "Grade")


def _values_of(cell: Graded) -> list[str]:
    shown = "" if cell.points is None else f"{float(printed(cell.found)) - float(printed(cell.claimed)):+.2f}"
    return [printed(cell.claimed), printed(cell.found), shown, cell.grade]


def _task_part(comparison: Comparison) -> Iterator[Block]:
    """A line per task that the run has. The last column: how many of the other metrics passed."""
    columns = [*_graded_columns("Task", "Metric"), Column("Other metrics", "Others", numeric=True)]
    lines = []
    for cell in comparison.cells:
        if cell.main and (cell.found is not None or cell.grade != "not comparable"):
            others = [other for other in comparison.cells if other.of == cell.of and not other.main]
            passed = sum(other.grade in ("reproduced", "within noise") for other in others)
            lines.append([cell.of, cell.metric, *_values_of(cell), f"{passed}/{len(others)}" if others else ""])
    reasons = grouped((f"{cell.grade}: {cell.why}", cell.of) for cell in comparison.cells if cell.main and cell.why)
    below = [f"{reason} ({', '.join(tasks) if len(tasks) <= 4 else f'{len(tasks)} tasks'})" for reason, tasks in reasons.items()]
    below += [f"not claimed: {', '.join(comparison.unclaimed)}"] if comparison.unclaimed else []
    return _part("", columns, lines, below)


def _others_part(comparison: Comparison) -> Iterator[Block]:
    cells = [cell for cell in comparison.cells if not cell.main and cell.grade in ("not reproduced", "definition differs")]
    cells.sort(key=lambda cell: -abs(cell.points or 0))
    rest = len(cells) - _LISTED_AT_MOST
    below = [f"and {rest} other metrics with smaller differences (--format json lists all)"] if rest > 0 else []
    below += list(dict.fromkeys(cell.why for cell in cells if cell.why))
    return _part(
        "", _graded_columns("Task", "Other metric"), [[cell.of, cell.metric, *_values_of(cell)] for cell in cells[:_LISTED_AT_MOST]], below
    )


def _values(report: ClaimsReport) -> dict[str, Any]:
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
        "against": _plain_comparison(report.comparison) if report.comparison else None,
        "exit_code": report.exit_code,
    }


def _plain_comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "path": str(comparison.path),
        "header": asdict(comparison.header),
        **{name: getattr(comparison, name) for name in ("convention", "calibrated", "self_reported")},
        "recipe": [{**asdict(field), "differs": field.differs} for field in comparison.recipe],
        "summary": {kind: dict(comparison.counts(main=main)) for kind, main in (("main", True), ("others", False))},
        **{
            name: [{**asdict(cell), "points": cell.points, "exact": cell.exact} for cell in getattr(comparison, name)]
            for name in ("averages", "cells")
        },
        "unclaimed": list(comparison.unclaimed),
    }
