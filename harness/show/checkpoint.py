"""The report of the gate for checkpoints."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from harness.core.formatting import amount
from harness.read.drift.checkpoint import Loss, LossReport
from harness.read.leaderboard import printed
from harness.show.drift import setting_values, signed
from harness.show.form import Block, Document, Sentences, grid, number_columns, table_columns

_COLUMNS = table_columns("Task", "Metric", *number_columns("Baseline", "Candidate", "Difference"), "95 % interval", "Verdict")


def checkpoint_document(report: LossReport) -> Document:
    """The report; the verdict stands in its last line."""
    return Document(blocks=lambda: _blocks(report), data=lambda: _values(report))


def _blocks(report: LossReport) -> Iterator[Block]:
    yield Sentences(
        (f"Baseline   {report.baseline.path}", f"Candidate  {report.candidate.path}", f"Rule       {_rule(report)}"), "verbatim"
    )
    if report.tasks:
        yield grid(_COLUMNS, (_row(loss) for loss in report.tasks))
    yield Sentences(tuple(_notes(report)), "notes")
    yield Sentences((conclusion(report),))


def _rule(report: LossReport) -> str:
    size = f"more than {report.limit:g} points" if report.limit else "at all"
    return f"a task fails where it lost {size}" + (
        ", and more than chance explains (Holm, 5 % over all tasks)" if report.significant else ""
    )


def _row(loss: Loss) -> list[str]:
    effect = loss.effect
    interval = f"{signed(effect.interval[0])} to {signed(effect.interval[1])}" if effect.interval and effect.error else ""
    return [effect.of, effect.metric, printed(effect.before), printed(effect.after), signed(effect.difference), interval, loss.verdict]


def _notes(report: LossReport) -> Iterator[str]:
    if report.average is not None:
        before, after = printed(report.average.before), printed(report.average.after)
        yield f"Average of these tasks: {before} -> {after} ({signed(report.average.difference)})"
    bare = [loss.effect.of for loss in report.tasks if loss.effect.verdict == "no interval"]
    if bare:
        yield f"no interval, because a side has no examples (per_example/ of the run's own folder): {', '.join(bare)}"
    blind = max((loss.effect.unseen or 0.0 for loss in report.tasks), default=0.0)
    if report.significant and blind:
        yield f"on the task with the fewest examples 8 of 10 losses of {blind:.2f} points are found, and fewer of smaller ones"
    for name, why in report.left_out.items():
        yield f"not compared: {name}: {why}"
    for each in report.unlike:
        yield f"unlike: {each}"
    if report.unlike:
        yield "these settings decide what a score means, so nothing is compared"


def conclusion(report: LossReport) -> str:
    """The outcome in a sentence: `WORSE: 2 of 35 tasks: TNews, STSB`."""
    if report.worse or report.missing:
        parts = (
            [f"{len(report.worse)} of {amount(len(report.tasks), 'task')}: {', '.join(loss.effect.of for loss in report.worse)}"]
            if report.worse
            else []
        )
        parts += [f"without a score: {', '.join(report.missing)}"] if report.missing else []
        return f"WORSE: {'; '.join(parts)}"
    if report.exit_code:
        return "NOT COMPARABLE: see above"
    better = sum(loss.verdict == "better" for loss in report.tasks)
    return f"NOT WORSE: {amount(len(report.tasks), 'task')}, {better} better by more than chance"


def _values(report: LossReport) -> dict[str, Any]:
    return {
        "baseline": str(report.baseline.path),
        "candidate": str(report.candidate.path),
        "worse_than": report.limit,
        "significant": report.significant,
        "exit_code": report.exit_code,
        "conclusion": conclusion(report),
        "tasks": [
            {**asdict(loss.effect), "difference": loss.effect.difference, "interval": loss.effect.interval, "verdict": loss.verdict}
            for loss in report.tasks
        ],
        "missing": list(report.missing),
        "left_out": dict(report.left_out),
        "unlike": list(map(setting_values, report.unlike)),
    }
