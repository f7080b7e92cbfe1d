"""A model card -> published records: one JSON per claimed task, the manifest, the printed rows.

python scripts/publish_card.py CARD -o results/published/acge_text_embedding
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path

from harness.core.benchmarks import Benchmark, load_benchmark
from harness.core.errors import HarnessError, InputError
from harness.core.files import sha256_file, write_json
from harness.core.records import BenchmarkName, Made, Manifest, Run, TaskRecord
from harness.core.run_files import write_manifest, write_record
from harness.read.cards.entries import Claim
from harness.read.cards.page import ROWS, PrintedRow, card_claims, read_card, score_table, unit_metrics
from harness.read.leaderboard import leaderboard_row

SOURCE = "self-reported: front matter of the model card"
NOTE = "self-reported: the front matter of the model card, not run by this harness"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("card", type=Path, help="the README.md of the model")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write")
    options = parser.parse_args(arguments)
    try:
        publish(options.card, options.output, load_benchmark())
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def publish(card: Path, folder: Path, benchmark: Benchmark) -> None:
    text = read_card(card)
    claims, table = card_claims(text, benchmark), score_table(text, benchmark)
    if table is None or table.refused:
        raise InputError("\n".join(table.refused) if table else "the card has no table of averages")
    rows = table.rows
    records = {claim.task: record(claim, benchmark) for claim in claims.claims}
    header = claimed_row(records, rows, folder, benchmark).header
    for each in records.values():
        write_record(folder, each)
    write_json(folder / ROWS, [asdict(row) for row in rows])
    source = {"what": SOURCE, "model": claims.model, "sha256": sha256_file(card)}
    write_manifest(folder, Manifest(header=replace(header, notes=(NOTE,)), benchmark=BenchmarkName(name=benchmark.name), source=source))
    print(f"{folder}: {len(records)} tasks, {len(rows)} printed rows; the front matter is the row {header}")
    for entry in claims.foreign:
        print(f"left out, no task of {benchmark.name}: {entry}")


def record(claim: Claim, benchmark: Benchmark) -> TaskRecord:
    task = benchmark.task(claim.task)
    made = TaskRecord(
        task=claim.task,
        split=claim.split,
        metrics=unit_metrics(claim, task),
        dataset_revision=claim.revision,
        evaluation_time=None,
        mteb_version=None,  # the card does not state it
        made=Made(source=SOURCE),
    )
    made.main_score(task)
    return made


def claimed_row(records: dict[str, TaskRecord], rows: tuple[PrintedRow, ...], folder: Path, benchmark: Benchmark) -> PrintedRow:
    """The one printed row whose seven numbers the front matter gives under C_MTEB's convention; no row or several rows is an InputError."""
    missing = [task.name for task in benchmark.tasks if task.name not in records]
    if missing:
        raise InputError(f"the card claims {len(records)} of {len(benchmark.tasks)} tasks; missing: {', '.join(missing)}")
    ours = leaderboard_row(Run(folder, Manifest(header=rows[0].header), records), "cmteb", benchmark)
    values = {cell.title: cell.value for cell in ours.cells}
    equal = [row for row in rows if values == row.scores]
    if len(equal) != 1:
        raise InputError(f"{len(equal)} rows of the card's table are its front matter ({values}); expected one")
    return equal[0]


if __name__ == "__main__":
    sys.exit(main())
