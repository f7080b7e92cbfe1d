"""The text that commands print on stdout when they have done something: a run, a sweep, a mirror, a look at the store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.text import Text

from harness.core.benchmarks import Benchmark, load_benchmark
from harness.core.costs import Cost, Counters
from harness.core.files import FOLDER_NAME
from harness.core.records import MANIFEST, Run, benchmark_of, read_run
from harness.core.resources import resource_dir
from harness.core.spec import RunSpec
from harness.core.words import few, printable
from harness.data.mirror import FetchResult
from harness.evaluate.encode.store import Pruned, SettingInfo
from harness.evaluate.parts import EncodedPart
from harness.evaluate.runner import Outcome
from harness.evaluate.sweep import Job
from harness.show.leaderboard import table

_HEADINGS = ("Model ", "Task ")


def show(text: str, console: Console | None = None) -> None:
    """Print a summary on stdout; on a terminal the headings of its tables are bold, what failed is red and what is missing dim.

    `NO_COLOR` leaves the bold type.
    """
    console, text = console or Console(highlight=False), printable(text)
    if not console.is_terminal:
        print(text, file=console.file)
        return
    for line in text.splitlines():
        console.print(Text(line, style=_style(line)), soft_wrap=True, highlight=False)


def _style(line: str) -> str:
    if "FAILED" in line or "failed: " in line:
        return "red"
    return "bold" if line.startswith(_HEADINGS) else "dim" if line.endswith("missing") else ""


def outcome_summary(spec: RunSpec, outcome: Outcome) -> str:
    """The run's row beside the published one where there is one, its failures, and where its files are."""
    benchmark = load_benchmark(spec.benchmark)
    run = read_run(outcome.folder, benchmark)
    published = published_run(run.header.model, benchmark)
    lines = [table([run], benchmark, tasks=True, against=published)]
    lines += ["", *_computed_again(outcome)] if outcome.again else []
    counts = f"{len(outcome.computed)} computed, {len(outcome.reused)} found done, {len(outcome.failed)} failed"
    return "\n".join([*lines, "", *([cost_line(outcome.cost)] if outcome.computed else []), f"{counts}; records in {outcome.folder}"])


def part_summary(part: EncodedPart) -> str:
    """What encoding a part of a run has cost, and where its vectors are."""
    tasks = f"{len(part.tasks)} tasks, {len(part.failed)} failed" if part.tasks or part.failed else "every task has its record"
    return f"{encoding_line(part.cost)}\npart {part.shard} of the texts of {tasks}; vectors in {part.store}"


def _computed_again(outcome: Outcome) -> list[str]:
    """A line per reason for which finished tasks did not count as done."""
    reasons: dict[str, list[str]] = {}
    for task, reason in outcome.again.items():
        reasons.setdefault(reason, []).append(task)
    return [f"computed again, because their records were made with {reason}: {few(tasks, 3)}" for reason, tasks in reasons.items()]


def cost_line(cost: Cost) -> str:
    """The counters of a run in a sentence."""
    return f"{encoding_line(cost.encoding)}, {cost.scoring_seconds:.1f} s scoring, {cost.waiting_seconds:.1f} s of them waited for"


def encoding_line(encoding: Counters) -> str:
    """What encoding has cost."""
    share = f", {encoding.tokens / encoding.real_tokens:.3f} tokens through the model per distinct real one" if encoding.real_tokens else ""
    return (
        f"{encoding.texts:,} texts, {encoding.distinct:,} distinct, {encoding.found:,} found in the store, "
        f"{encoding.forwards:,} forward passes{share}; "
        f"{encoding.tokenize_seconds:.1f} s tokenising, {encoding.encode_seconds:.1f} s encoding"
    )


def sweep_summary(jobs: Sequence[Job]) -> str:
    """A row for every job that has a run, beside the published ones; the jobs that could not begin, and why."""
    folders = [job.folder for job in jobs if job.folder and (job.folder / MANIFEST).is_file()]
    benchmark = benchmark_of(folders)
    runs = {folder: read_run(folder, benchmark) for folder in folders}
    lines = []
    if runs:
        published = published_run(next(iter(runs.values())).header.model, benchmark)
        lines.append(table(list(runs.values()), benchmark, against=published))
    lines += [f"FAILED {' '.join(job.overrides)}: {job.error}" for job in jobs if job.error]
    lines += [f"note: {' '.join(job.overrides)}: {part}; the run has encoded it itself" for job in jobs for part in job.parts]
    failed = sum(bool(job.error or job.failed) for job in jobs)
    return "\n".join([*lines, "", f"{len(jobs)} jobs, {failed} of them with failures, {len(runs)} runs"])


def store_summary(settings: Sequence[SettingInfo], damaged: Sequence[Path], *, verified: bool) -> str:
    """A line per setting that has vectors, and what reading them all has found where that was done."""
    lines = [
        f"{item.name[:12]}  {item.about.get('model', '?')} {item.about.get('dtype', '?')}: "
        f"{item.vectors:,} vectors in {item.shards} shards, "
        f"{item.bytes / 1e6:,.1f} MB, last used {datetime.fromtimestamp(item.used, tz=UTC):%Y-%m-%d}"
        + (f", {item.damaged} damaged shards set aside" if item.damaged else "")
        for item in settings
    ]
    lines += [f"damaged, set aside, computed again when it is needed: {path}" for path in damaged]
    total = sum(item.bytes for item in settings)
    text = f"{len(settings)} settings, {sum(item.vectors for item in settings):,} vectors, {total / 1e6:,.1f} MB"
    return "\n".join([*lines, text + (", every shard read: " + (f"{len(damaged)} damaged" if damaged else "sound") if verified else "")])


def pruned_summary(pruned: Pruned) -> str:
    """What was deleted."""
    return f"{len(pruned.settings)} settings and {pruned.leftovers} leftover files deleted, {pruned.bytes / 1e6:,.1f} MB freed"


def published_run(model: str, benchmark: Benchmark) -> Run | None:
    """What the model's authors published, where `results/published/` has it."""
    folder = resource_dir("results/published") / model
    return read_run(folder, benchmark) if FOLDER_NAME.fullmatch(model) and (folder / MANIFEST).is_file() else None


def fetch_line(result: FetchResult) -> str:
    """What became of a task that was mirrored, in a line."""
    if result.provenance is None:
        return f"{result.task:<30} FAILED: {result.error}"
    text = f"{result.provenance.repository}@{(result.provenance.revision or '')[:8]}"
    substituted = " in place of the pinned revision" if result.provenance.substituted else ""
    return f"{result.task:<30} {result.status:<8} {text}{substituted}: {result.provenance.verdict}"
