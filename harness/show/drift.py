"""A drift report, its shorter form for the summary of a CI step, and the report of `probe`, which is a line of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.core.formatting import all_named, amount, grouped
from harness.core.records import Run
from harness.read.differences import SettingDifference
from harness.read.drift.check import LAYERS, VERDICTS, DriftReport, MetricDrift, TaskDrift
from harness.read.drift.vectors import VectorDrift
from harness.read.leaderboard import printed
from harness.show.form import Block, Column, Document, Grid, Sentences, grid, number_columns, table_columns
from harness.show.formats import escape_markdown, markdown_block

_COLUMNS = table_columns("", "Task", "Metric", *number_columns("Baseline", "Candidate", "Difference", "Tolerance"))
_OTHERS = Column("Other metrics", "Others")
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")
_LEGEND = "= identical, ~ within tolerance, + - drifted up, down, ! missing or not comparable; points (0-100)"


def drift_document(report: DriftReport) -> Document:
    """The report; the verdict stands in its last line."""
    return Document(blocks=lambda: _blocks(report), data=lambda: _values(report))


def _blocks(report: DriftReport) -> Iterator[Block]:
    tolerance = f"{report.calibration} ({report.kernels})" if report.calibration else "none: no calibration, only identical scores pass"
    runs = (f"Baseline   {_run_line(report.baseline)}", f"Candidate  {_run_line(report.candidate)}", f"Tolerance  {tolerance}")
    yield Sentences(runs, "verbatim")
    yield _task_grid(report.tasks)
    yield Sentences((_LEGEND,), "verbatim")
    if others := _drifted_others(report):
        yield Sentences(("Other metrics that drifted:",))
        yield grid(_COLUMNS, others, tight=True)
    yield Sentences(tuple(_below(report)))
    yield Sentences((conclusion(report),))


def drift_markdown(report: DriftReport) -> str:
    """The report as GitHub's Markdown: the verdict first, the tasks that moved, all tasks folded away."""
    moved = [task for task in report.tasks if task.verdict != "identical" or task.failing]
    others = _drifted_others(report)
    blocks: list[Block] = [_task_grid(moved)] if moved else []
    blocks += [Sentences(("Other metrics that drifted",)), grid(_COLUMNS, others)] if others else []
    blocks.append(Sentences(tuple(_below(report)), "list"))
    parts = [f"### Score drift: {escape_markdown(conclusion(report))}", *map(markdown_block, blocks)]
    parts += [f"<details><summary>All {len(report.tasks)} tasks</summary>", markdown_block(_task_grid(report.tasks)), "</details>"]
    runs = f"Baseline {escape_markdown(_run_line(report.baseline))}, candidate {escape_markdown(_run_line(report.candidate))}. "
    return "\n\n".join([*parts, f"{runs}\n{_LEGEND}\n".replace("~", "\\~").replace("+", "\\+")])


def _task_grid(tasks: Sequence[TaskDrift]) -> Grid:
    return grid((*_COLUMNS, _OTHERS), ((*_cells(task.task, task.main), _others(task)) for task in tasks))


def _values(report: DriftReport) -> dict[str, Any]:
    return {
        "baseline": _plain_run(report.baseline),
        "candidate": _plain_run(report.candidate),
        "calibration": str(report.calibration) if report.calibration else None,
        "kernels": report.kernels,
        **{name: getattr(report, name) for name in ("allow_unlike", "main_only", "exit_code")},
        "conclusion": conclusion(report),
        "counts": {verdict: report.counts[verdict] for verdict in VERDICTS},
        **{name: [setting_values(each) for each in getattr(report, name)] for name in ("unlike", "environment")},
        "vectors": vector_values(report.vectors) if report.vectors else None,
        "notes": list(report.notes),
        "averages": {before.key: {"baseline": before.value, "candidate": after.value} for before, after in report.averages},
        "tasks": [
            {
                **{name: getattr(task, name) for name in ("task", "type", "verdict", "layer")},
                "metrics": [_plain_metric(cell) for cell in (task.main, *task.others)],
            }
            for task in report.tasks
        ],
    }


def _plain_run(run: Run) -> dict[str, Any]:
    return {"path": str(run.path), "run": run.manifest.run, "model": run.header.model, **run.header.setting}


def setting_values(setting: SettingDifference) -> dict[str, Any]:
    """A setting that differs, as plain values."""
    return {"kind": setting.kind, "key": setting.key, "baseline": setting.a, "candidate": setting.b}


def _plain_metric(cell: MetricDrift) -> dict[str, Any]:
    values = {**asdict(cell), "difference": cell.points}
    return {name: values[name] for name in ("metric", "main", "baseline", "candidate", "difference", "tolerance", "verdict", "why")}


def conclusion(report: DriftReport) -> str:
    """The outcome in a sentence, with the layer that was not compared: `NO DRIFT: 35 tasks, 33 identical, 2 within noise`."""
    counts = ", ".join(f"{report.counts[verdict]} {verdict}" for verdict in VERDICTS if report.counts[verdict])
    word = {0: "NO DRIFT", 2: "NOT COMPARABLE", 3: "DRIFT"}[report.exit_code]
    others = [task for task in report.tasks if task.failing and task.verdict not in ("drifted", "missing")]
    remark = "; the canary's vectors drifted" if report.vectors and report.vectors.drifted else ""
    remark += f"; in {len(others)} of them other metrics drifted" if others else ""
    if others and report.main_only:
        remark += " (not counted: --main-only)"
    remark += "; the canary's vectors were not compared" if report.vectors is None and report.exit_code != 2 else ""
    return f"{word}: {amount(len(report.tasks), 'task')}, {counts}{remark}"


def failure_line(task: TaskDrift) -> str:
    """What is wrong with a task, in a line: each failing metric with both numbers."""
    if task.verdict == "not comparable":
        return f"not comparable: {task.main.why}"
    lines = [f"{cell.metric} {_metric_line(cell)}" for cell in task.failing]
    return "; ".join([*([LAYERS[task.layer]] if task.layer else []), *lines])


def signed(value: float | None) -> str:
    """A difference in points: two decimals, or as many as its first two digits take; nothing for none."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{value:+.2f}" if abs(value) >= 0.1 else f"{value:+.1e}" if abs(value) < 1e-4 else f"{value:+.4f}"


def _metric_line(cell: MetricDrift) -> str:
    if cell.verdict == "missing":
        return f"{printed(cell.baseline)} -> missing: {cell.why}"
    tolerance = "no tolerance is known" if cell.tolerance is None else f"tolerance {_size(cell.tolerance)}"
    return f"{printed(cell.baseline)} -> {printed(cell.candidate)} ({signed(cell.points)}, {tolerance})"


def _cells(task: str, cell: MetricDrift) -> list[str]:
    tolerance = "none" if cell.tolerance is None else _size(cell.tolerance)
    return [_marker(cell), task, cell.metric, printed(cell.baseline), printed(cell.candidate), signed(cell.points), tolerance]


def _marker(cell: MetricDrift) -> str:
    if cell.verdict == "drifted":
        return "+" if (cell.points or 0) > 0 else "-"
    return {"identical": "=", "within noise": "~"}.get(cell.verdict, "!")


def _others(task: TaskDrift) -> str:
    """How the other metrics fare: those that drifted, else that all are identical or some are within noise."""
    if not task.others or task.verdict in ("missing", "not comparable"):
        return ""
    wrong = sum(cell.verdict in ("drifted", "missing") for cell in task.others)
    if wrong:
        return f"! {wrong} of {len(task.others)}"
    return "=" if all(cell.verdict == "identical" for cell in task.others) else "~"


def _drifted_others(report: DriftReport) -> list[list[str]]:
    return [_cells(task.task, cell) for task in report.tasks for cell in task.failing if not cell.main and task.verdict != "missing"]


def _below(report: DriftReport) -> Iterator[str]:
    """The averages, why tasks have their verdict, the settings that differ, the notes."""
    averages = [f"{before.key} {printed(before.value)} -> {printed(after.value)}" for before, after in report.averages]
    if averages:
        yield f"averages: {', '.join(averages)}"
    if report.vectors:
        yield f"canary: {vector_line(report.vectors)}"
    reasons = ((task, why) for task in report.tasks for why in (LAYERS[task.layer] if task.layer else "", task.main.why) if why)
    for reason, names in grouped((f"{task.verdict}: {why}", task.task) for task, why in reasons).items():
        yield f"{reason} ({all_named(names, len(report.tasks))})"
    for each in report.unlike:
        yield f"unlike: {each}"
    if report.unlike:
        remedy = (
            "compared all the same (--allow-unlike)"
            if report.allow_unlike
            else "so they are not compared; add --allow-unlike to compare them all the same"
        )
        yield f"these settings decide what a score means, {remedy}"
    for each in report.environment:
        yield f"differs ({each.kind}): {_HASH.sub(lambda digest: digest[0][:12], str(each))}"
    if not report.environment and not report.unlike:
        yield "environment: no setting differs"
    yield from (f"note: {note}" for note in report.notes)


def _run_line(run: Run) -> str:
    return f"{run.path}: {run.header.text}"


def _size(value: float) -> str:
    return signed(value).removeprefix("+")


def probe_document(baseline: Path, found: VectorDrift, *, texts: int, seconds: float) -> Document:
    """The report of a probe; the verdict stands in its last line."""
    lines = (
        f"Baseline   {baseline}",
        f"Canary     {texts} texts, encoded here in {seconds:.1f} s, the loading of the model included",
        f"{'DRIFT' if found.drifted else 'NO DRIFT'}: {vector_line(found)}",
    )
    values = {"baseline": str(baseline), "texts": texts, "seconds": seconds, **vector_values(found)}
    return Document(blocks=lambda: iter([Sentences(lines, "verbatim")]), data=lambda: values)


def vector_line(found: VectorDrift) -> str:
    """The verdict on the vectors, with the numbers behind it."""
    if found.drifted:
        return f"drifted ({found.level}): {found.why}"
    if found.limit is None:
        return f"identical to the bit ({found.level})"
    return (
        f"within rounding ({found.level}): {found.distance.rms:.1e} of the vectors' length apart, at most {found.limit.rms:.1e} expected; "
        f"the farthest text {found.distance.farthest:.1e}, at most {found.limit.farthest:.1e}"
    )


def vector_values(found: VectorDrift) -> dict[str, Any]:
    """The same as plain values."""
    return {"drifted": found.drifted, **asdict(found)}
