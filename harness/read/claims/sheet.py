"""What is claimed, from a model card or from a folder of results: the numbers of the tasks, the printed rows, the text around them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.formatting import few
from harness.core.records import Manifest, RowHeader, Run, flat_metrics
from harness.core.tasks import TaskSpec
from harness.read.cards.claimed import card_records, named_claims
from harness.read.cards.entries import Claim
from harness.read.cards.markdown import Document, parse_document
from harness.read.cards.page import ROWS, PrintedRow, read_card, rows_beside, score_table
from harness.read.runs import one_run


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """The claims of one model. `run`: the same as records, which hold them for the leaderboard's averages and for comparing.

    `places`: where each printed row stands (`line 1100`). `notes`: what could not be read. `document`: None for a folder.
    """

    path: Path
    model: str
    claims: tuple[Claim, ...]
    run: Run
    rows: tuple[PrintedRow, ...]
    places: tuple[str, ...]
    notes: tuple[str, ...]
    document: Document | None

    @property
    def numbers(self) -> int:
        """How many metrics are claimed."""
        return sum(len(claim.metrics) for claim in self.claims)

    def by_task(self, benchmark: Benchmark, *types: str) -> Iterator[tuple[TaskSpec, Claim]]:
        """The claimed tasks of some types (all, where none is named), in the benchmark's order."""
        claims = {claim.task: claim for claim in self.claims}
        for task in benchmark.tasks:
            if task.name in claims and (not types or task.type in types):
                yield task, claims[task.name]


def read_sheet(path: Path, benchmark: Benchmark) -> Sheet:
    """The claims of a card, or of a folder of results (a run, published records, mteb's result files).

    Raises:
        InputError: the card's front matter or the folder's records can't be read.
        RequestError: a folder without a run, or with several.
    """
    return _folder_sheet(path, benchmark) if path.is_dir() else _card_sheet(path, benchmark)


def _card_sheet(path: Path, benchmark: Benchmark) -> Sheet:
    text = read_card(path)
    found, table = named_claims(path, text, benchmark), score_table(text, benchmark)
    foreign = few(found.foreign, 3, "; ")
    notes = [f"{len(found.foreign)} entries of the front matter are no task, or another split, of {benchmark.name}: {foreign}"]
    records = card_records(found, benchmark)
    return Sheet(
        path=path,
        model=found.model,
        claims=found.claims,
        run=Run(path, Manifest(header=RowHeader.unknown(found.model)), records, broken=dict(found.broken)),
        rows=table.rows if table else (),
        places=tuple(f"line {line}" for line in table.lines) if table else (),
        notes=(*(notes if found.foreign else []), *found.notes, *found.broken.values(), *(table.refused if table else ())),
        document=parse_document(text),
    )


def _folder_sheet(path: Path, benchmark: Benchmark) -> Sheet:
    run = one_run(path, benchmark)
    claims = []
    for task, record in ((task, run.records[task.name]) for task in benchmark.tasks if task.name in run.records):
        percents = {name: 100 * value for name, value in flat_metrics(record.metrics, task).items()}
        claims.append(Claim(task=task.name, split=task.split, revision=record.dataset_revision, metrics=percents))
    rows = rows_beside(run.path, benchmark)
    trusts = sorted({record.made.origin.trust for record in run.records.values() if record.made.origin})
    return Sheet(
        path=run.path,
        model=run.header.model,
        claims=tuple(claims),
        run=run,
        rows=rows,
        places=(ROWS,) * len(rows),
        notes=(*([f"imported: {' and '.join(trusts)}"] if trusts else []), *run.header.notes, *run.broken.values()),
        document=None,
    )
