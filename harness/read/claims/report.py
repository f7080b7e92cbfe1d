"""The claims of a card, or of what others published of a model in a local copy of the public results repository: checked, and compared with
a run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.calibration import run_calibration
from harness.core.errors import RequestError
from harness.core.formatting import amount, few, stated
from harness.core.records import Run
from harness.core.registry import RegistryModel, registry, unknown_model
from harness.core.run_files import benchmark_of
from harness.read.claims.averages import Averages, average_checks, averages
from harness.read.claims.findings import Check
from harness.read.claims.grading import Comparison, RecipeField, grade
from harness.read.claims.numbers import number_checks, provenance_checks
from harness.read.claims.sheet import Sheet, read_sheet
from harness.read.claims.statements import statement_checks
from harness.read.results import find_results
from harness.read.runs import one_run

_MAKERS = "those of its makers"


@dataclass(frozen=True)
class Published:
    """The folders of a model's results by revision, the pinned one first, and what the registry knows of the model."""

    folders: Mapping[str, Path]
    model: RegistryModel

    def best(self, benchmark: Benchmark) -> tuple[Path, tuple[str, ...]]:
        """The first folder if it has a task of the benchmark, else the one with most of them; and what to say of that choice."""
        counts = {name: len(one_run(folder, benchmark).records) for name, folder in self.folders.items()}
        first = next(iter(counts))
        chosen = first if counts[first] else max(counts, key=lambda name: counts[name])
        others = [f"{name} ({amount(counts[name], 'task')})" for name in counts if name != chosen]
        said = f"results at {chosen} ({amount(counts[chosen], 'task')}); --model {self.model.name}@REVISION takes others: {few(others)}"
        return self.folders[chosen], (said,) if others else ()


def published_results(results: Path, name: str) -> Published:
    """The results of a model of the registry below `results`, those at the revision that mteb 2 pins first. `name`: `ORGANIZATION/MODEL`,
    or its last part; with `@REVISION` another revision alone (`external`: what the makers reported).

    Raises:
        RequestError: an unknown model, or no results of it, or none at the revision.
    """
    wanted, _, revision = name.partition("@")
    model = registry().find(wanted)
    if model is None:
        raise RequestError(unknown_model(wanted, [], way_out="Any other: claims RESULTS_OF_THE_MODEL --against RUN, without --model"))
    own = model.name.replace("/", "__")
    folders = {folder.name: folder for folder in find_results(results) if folder.parent.name == own}
    if not folders:
        raise RequestError(f"{results} has no results of {model.name}: expected a folder {own}/REVISION below results.path=DIR")
    if revision and revision not in folders:
        raise RequestError(f"{results} has {model.name} at {few(sorted(folders))}, not at {revision}: name one of these")
    order = [revision] if revision else sorted(folders, key=lambda each: (each != model.revision, each))
    return Published({each: folders[each] for each in order}, model)


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


def published_recipe(published: Published, run: Run) -> Iterator[RecipeField]:
    """In what the run differs from how mteb 2 runs the model: prompts, length, revision, which no result file states."""
    model, spec = published.model, run.manifest.spec
    theirs = _MAKERS if model.instructed or model.prompts else "none"
    ours = None
    if spec is not None:
        source = spec.prompts.source
        ours = _MAKERS if source == "model" else "of a file" if source == "file" else "none"
        ours = f"query instruction {spec.model.query_instruction!r}" if ours == "none" and spec.model.query_instruction else ours
    pairs = {
        "prompts": (theirs, ours),
        "max_len": (stated(model.max_len or model.max_tokens), stated(run.header.max_len)),
        "model revision": (model.revision, _revision(run)),
    }
    return (RecipeField(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1])


def _revision(run: Run) -> str | None:
    """The revision of the model that was run, as the manifest states it; of imported results that of the records, where it is one."""
    if run.manifest.model and run.manifest.model.commit:
        return run.manifest.model.commit
    stated = {record.made.origin.model_revision for record in run.records.values() if record.made.origin}
    return stated.pop() if len(stated) == 1 else None
