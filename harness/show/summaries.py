"""What commands show when they have done something: a part of a run, a sweep, a mirror, a look at the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.formatting import amount
from harness.core.run_files import MANIFEST, benchmark_of, read_run
from harness.read.earlier_scores import published_run
from harness.read.leaderboard import leaderboard_row
from harness.show.form import Document, Sentences, grid, number_columns, table_columns
from harness.show.leaderboard import beside_published, board
from harness.show.outcome import cost_blocks

if TYPE_CHECKING:  # their modules import torch, which takes seconds
    from harness.data.mirror import FetchResult
    from harness.evaluate.encode.store.store import Pruned, SettingInfo
    from harness.evaluate.parts import EncodedPart
    from harness.evaluate.sweep import Job


def part_document(part: EncodedPart) -> Document:
    """What encoding a part of a run has cost, and where its vectors are."""
    values = asdict(part) | {"store": str(part.store)}
    if not (part.tasks or part.failed):
        nothing = Sentences((f"part {part.shard}: nothing was encoded, because every task has its record already",), "verbatim")
        return Document(blocks=lambda: [nothing], data=lambda: values)
    tasks = f"{amount(len(part.tasks), 'task')}, {len(part.failed)} failed"
    place = Sentences((f"part {part.shard} of the texts of {tasks}; vectors in {part.store}",), "verbatim")
    return Document(blocks=lambda: [*cost_blocks(part.cost), place], data=lambda: values)


def sweep_document(jobs: Sequence[Job]) -> Document:
    """A row for every job that has a run, beside the published ones; the jobs that could not begin, and why."""
    done = [job.folder for job in jobs if job.folder and (job.folder / MANIFEST).is_file()]
    folders = [folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder for folder in done]
    benchmark = benchmark_of(folders)
    runs = [read_run(folder, benchmark) for folder in dict.fromkeys(folders)]
    published = published_run(runs[0].header.model, benchmark) if runs else None
    rows = [beside_published(leaderboard_row(run, None, benchmark, among=runs), published, benchmark) for run in runs]
    lines = [f"FAILED {' '.join(job.overrides)}: {job.error}" for job in jobs if job.error]
    lines += [f"note: {' '.join(job.overrides)}: {part}; the run has encoded it itself" for job in jobs for part in job.parts]
    failed = sum(bool(job.error or job.failed) for job in jobs)
    counts = f"{amount(len(jobs), 'job')}, {failed} of them with failures, {amount(len(runs), 'run')}"
    return Document(
        blocks=lambda: [*(board(rows).blocks() if rows else ()), Sentences(tuple(lines), "verbatim"), Sentences((counts,))],
        data=lambda: {
            **(board(rows).data() if rows else {}),
            "jobs": [asdict(job) | {"folder": job.folder and str(job.folder)} for job in jobs],
        },
    )


def store_document(settings: Sequence[SettingInfo], damaged: Sequence[Path], *, verified: bool) -> Document:
    """A row per setting that has vectors, and what reading them all has found where that was done."""
    vectors, size = sum(each.vectors for each in settings), sum(each.bytes for each in settings)
    total = f"{amount(len(settings), 'setting')}, {vectors:,} vectors, {_megabytes(size)} MB"
    if verified:
        total += ", every shard read: " + (
            f"{broken} damaged" if (broken := max(len(damaged), sum(each.damaged for each in settings))) else "sound"
        )
    columns = table_columns("Setting", "Model", "Type", "Last used", *number_columns("Vectors", "Shards", "MB", "Damaged shards"))
    rows = [
        (
            *(each.name[:12], str(each.about.get("model", "?")), str(each.about.get("dtype", "?"))),
            f"{datetime.fromtimestamp(each.used, tz=UTC):%Y-%m-%d}",
            *(f"{each.vectors:,}", f"{each.shards:,}", _megabytes(each.bytes), str(each.damaged or "")),
        )
        for each in settings
    ]
    bad = tuple(f"damaged, set aside, computed again when it is needed: {path}" for path in damaged)
    return Document(
        blocks=lambda: [*([grid(columns, rows)] if rows else ()), Sentences(bad, "list"), Sentences((total,))],
        data=lambda: {"settings": [asdict(each) for each in settings], "verified": verified, "damaged": list(map(str, damaged))},
    )


def pruned_document(pruned: Pruned) -> Document:
    """What was deleted."""
    deleted = f"{amount(len(pruned.settings), 'setting')} and {amount(pruned.leftovers, 'leftover file')}"
    in_use = f"; {amount(len(pruned.in_use), 'setting')} left, which a run has open" if pruned.in_use else ""
    text = f"{deleted} deleted, {_megabytes(pruned.bytes)} MB freed{in_use}"
    return Document(blocks=lambda: [Sentences((text,))], data=lambda: asdict(pruned))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def fetch_line(result: FetchResult) -> str:
    """What became of a task that was mirrored, in a line."""
    if result.provenance is None:
        return f"{result.task:<30} FAILED: {(result.error or '').removeprefix(f'{result.task}: ')}"
    text = f"{result.provenance.repository}@{(result.provenance.revision or '')[:8]}"
    substituted = " in place of the pinned revision" if result.provenance.substituted else ""
    return f"{result.task:<30} {result.status:<8} {text}{substituted}: {result.provenance.verdict}"
