"""The claims of a card, checked, and compared with a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.calibration import run_calibration
from harness.core.errors import RequestError
from harness.core.run_files import benchmark_of
from harness.read.claims.averages import Averages, average_checks, averages
from harness.read.claims.findings import Check
from harness.read.claims.grading import Comparison, grade
from harness.read.claims.numbers import number_checks
from harness.read.claims.provenance import provenance_checks
from harness.read.claims.published import Published, published_recipe
from harness.read.claims.sheet import Sheet, read_sheet
from harness.read.claims.statements import statement_checks
from harness.read.runs import one_run


@dataclass(frozen=True)
class ClaimsReport:
    """The claims of a card, what the checks say of them, and how a run compares (None: none was named)."""

    sheet: Sheet
    averages: Averages
    checks: tuple[Check, ...]
    comparison: Comparison | None

    @property
    def exit_code(self) -> int:
        """0 for a card alone; see `Comparison.exit_code`."""
        return self.comparison.exit_code if self.comparison else 0


def claims_report(
    card: Path | Published, *, against: Path | None = None, noise: Path | None = None, benchmark: str | None = None
) -> ClaimsReport:
    """The card (or folder of results, or what is published of a model) read, checked, and graded against a run.

    Raises:
        InputError: the card, the run or the calibration can't be read.
        RequestError: an unknown benchmark, no run or several at a path, or a calibration that is not that of the run.
    """
    if noise is not None and against is None:
        raise RequestError("--noise needs --against RUN: it says how far that run may be from the card")
    path = next(iter(card.folders.values())) if isinstance(card, Published) else card
    table = benchmark_of([against or path], benchmark)
    path, notes = card.best(table) if isinstance(card, Published) else (card, ())
    sheet = read_sheet(path, table)
    sheet = replace(sheet, notes=(*notes, *sheet.notes))
    found = averages(sheet, table)
    comparison = None
    if against is not None:
        run = one_run(against, table)
        comparison = grade(sheet, found, run, table, run_calibration(run, table, noise) if noise else None)
        if isinstance(card, Published):
            first = tuple(published_recipe(card, run))
            rest = (each for each in comparison.recipe if each.name not in {field.name for field in first})
            comparison = replace(comparison, recipe=(*first, *rest))
    numbers = (*average_checks(found, table), *number_checks(sheet, table), *provenance_checks(sheet, table))
    return ClaimsReport(sheet, found, (*numbers, *statement_checks(sheet, found, table)), comparison)
