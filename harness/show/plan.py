"""What a run or a sweep will cost."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from harness.core.formatting import amount, duration, scaled, unit_of
from harness.evaluate.plan.values import Amount, Plan, RunPlan, TaskPlan
from harness.show.form import Block, Column, Document, Sentences, grid, number_columns, table_columns

_STATES = ("done", "shared", "open", "no data")
_APPROXIMATE = ("modelled", "characters")
_LEGEND = (
    "texts and tokens: of the distinct texts, after cutting. stored: sequences found in the store, or put there before. left: what must "
    "run, each sequence in the first task that has it. ~ estimated. filling: dummy rows of batches that are not full."
)


def plan_document(plan: Plan) -> Document:
    """The tasks of a run, or the runs of a sweep; below, the totals, what can't be done here, and what to know of the figures.

    Its data has FLOP, bytes and seconds as numbers, null where unknown.
    """
    return Document(
        blocks=lambda: _run_blocks(plan.runs[0]) if len(plan.runs) == 1 else _sweep_blocks(plan),
        data=lambda: {
            "flops": plan.flops,
            "alone_flops": plan.alone_flops,
            "seconds": _sum_seconds(plan.runs),
            "vector_bytes": sum(run.vector_bytes for run in plan.runs),
            "runs": [_run_values(run) for run in plan.runs],
        },
    )


def _run_values(run: RunPlan) -> dict[str, Any]:
    spec = run.spec
    return {
        "overrides": list(run.overrides),
        "folder": str(spec.folder),
        "model": spec.model.name,
        "gpu": spec.gpu.name,
        **{name: getattr(spec, name) for name in ("dtype", "max_len", "dim")},
        "counters": {key: value for key, value in asdict(run.cost).items() if not key.endswith("_seconds")},
        "flops": run.cost.flops,
        "alone_flops": run.alone_flops,
        "seconds": run.seconds,
        "rate": asdict(run.rate),
        **{name: getattr(run, name) for name in ("vector_bytes", "data_bytes")},
        **{name: list(getattr(run, name)) for name in ("obstacles", "notes")},
        "tasks": [asdict(task) for task in run.tasks],
    }


def _run_blocks(run: RunPlan) -> list[Block]:
    spec = run.spec
    dim = "all dimensions" if spec.dim is None else f"dim {spec.dim}"
    head = f"{spec.model.name} on {spec.gpu.name}, {spec.dtype}, max_len {spec.max_len}, {dim}: {spec.folder}"
    whole, texts, done = run.left, sum(task.texts for task in run.tasks), sum(task.tokens for task in run.tasks)
    tokens, flops = unit_of(max(done, whole.tokens)), unit_of(run.cost.flops)
    columns = table_columns("task", "state")
    columns += number_columns("texts", f"{tokens[1]}tokens", "stored", "left", f"{tokens[1]}tokens", f"{flops[1]}FLOP", "time")
    lines = [_task_line(run, task, tokens[0], flops[0]) for task in run.tasks]
    if run.fill_flops:
        lines.append(["filling", *[""] * 6, _in_unit(run.fill_flops, flops[0]), _time(run, run.fill_flops)])
    total = [
        *(amount(len(run.tasks), "task"), "", _texts(texts, run.tasks), _in_unit(done, tokens[0])),
        *(f"{sum(task.stored for task in run.tasks):,}", _texts(whole.texts, run.tasks), _in_unit(whole.tokens, tokens[0])),
        *(_flops(run, run.cost.flops, flops[0]), duration(run.seconds)),
    ]
    return [Sentences((head,)), grid(columns, [*lines, total]), _below([run], _summary(run))]


def _sweep_blocks(plan: Plan) -> list[Block]:
    tokens, flops = unit_of(max(run.left.tokens for run in plan.runs)), unit_of(plan.alone_flops)
    columns = [Column("run", shrinks_to=20), *number_columns(*_STATES, "left")]
    columns += number_columns(f"{tokens[1]}tokens", f"{flops[1]}FLOP", "alone", "time")
    common = set.intersection(*(set(run.overrides) for run in plan.runs))

    def line(name: str, counts: Iterable[str], runs: Sequence[RunPlan]) -> list[str]:
        left, both = sum((run.left for run in runs), Amount()), Plan(runs=tuple(runs))
        texts = _texts(left.texts, [task for run in runs for task in run.tasks])
        work = (_in_unit(left.tokens, tokens[0]), _in_unit(both.flops, flops[0]), _in_unit(both.alone_flops, flops[0]))
        return [name, *counts, texts, *work, duration(_sum_seconds(runs))]

    lines = []
    for run in plan.runs:
        name = " ".join(text for text in run.overrides if text not in common) or "as asked"
        lines.append(line(name, (str(sum(task.state == state for task in run.tasks)) for state in _STATES), [run]))
    lines.append(line(amount(len(plan.runs), "run"), [""] * len(_STATES), plan.runs))
    return [grid(columns, lines), _below(plan.runs, _sweep_summary(plan))]


def _task_line(run: RunPlan, task: TaskPlan, tokens: float, flops: float) -> list[str]:
    if task.basis == "unknown":
        return [task.task, task.state, *["unknown" if task.state == "open" else ""] * 7]
    known = [task.task, task.state, _texts(task.texts, [task]), _in_unit(task.tokens, tokens)]
    if task.state != "open":
        return [*known, *[""] * 5]
    left = task.left
    work = (_in_unit(left.tokens, tokens), _flops(run, left.flops, flops), _time(run, left.flops))
    return [*known, f"{task.stored:,}", _texts(left.texts, [task]), *work]


def _summary(run: RunPlan) -> list[str]:
    states: list[str] = [task.state for task in run.tasks]
    counts = ", ".join(f"{states.count(state)} {state}" for state in _STATES if state in states)
    if not run.left.texts and not run.unknown:
        return [f"{counts}: nothing is left to encode" + ("" if "open" in states else ", nor to score")]
    calls = "requests" if run.spec.model.kind == "endpoint" else "forward passes"
    flops = "FLOP unknown" if _is_unknown(run) else f"{scaled(run.cost.flops)}FLOP"
    work = f"{run.cost.forwards:,} {calls}, {scaled(run.cost.tokens)}tokens through the model, {flops}"
    left = f"{counts}. Left: {work}, {run.spec.gpu.name} hours: {_hours(run.seconds)}"
    return [left, *_side_by_side([run]), f"Rate: {run.rate.about}", _disk([run])]


def _side_by_side(runs: Sequence[RunPlan]) -> list[str]:
    """Hours on several GPUs: batches are shared out one by one, so that encoding divides; the figures have nothing else in them."""
    seconds = _sum_seconds(runs)
    if not seconds or any(run.spec.gpu.name == "cpu" for run in runs):
        return []
    counts = (2, 4, 8)
    hours = ", ".join(_hours(seconds / count) for count in counts)
    return [f"Hours on {', '.join(map(str, counts))} GPUs (devices=all), encoding alone: {hours}"]


def _sweep_summary(plan: Plan) -> list[str]:
    if not any(run.left.texts or run.unknown for run in plan.runs):
        return ["nothing is left to encode"]
    ratio = f"; each run by itself {scaled(plan.alone_flops)}FLOP, {plan.alone_flops / plan.flops:.2f} times as much" if plan.flops else ""
    rates = dict.fromkeys(f"Rate of {run.spec.gpu.name} {run.spec.dtype}: {run.rate.about}" for run in plan.runs)
    return [
        f"Together {scaled(plan.flops)}FLOP{ratio}. Hours: {_hours(_sum_seconds(plan.runs))}",
        *_side_by_side(plan.runs),
        *rates,
        _disk(plan.runs),
    ]


def _hours(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{seconds / 3600:.2f}"


def _disk(runs: Sequence[RunPlan]) -> str:
    data = max(run.data_bytes for run in runs)
    return f"Disk: {scaled(sum(run.vector_bytes for run in runs))}B of vectors" + (f", {scaled(data)}B of data at most" if data else "")


def _below(runs: Sequence[RunPlan], summary: Sequence[str]) -> Sentences:
    """The totals, then every obstacle and every note once."""
    obstacles = dict.fromkeys(text for run in runs for text in run.obstacles)
    notes = dict.fromkeys(text for run in runs for text in run.notes)
    lines = [*summary, *(f"Can't run here: {text}" for text in obstacles), *(f"Note: {text}" for text in notes), _LEGEND]
    return Sentences(tuple(lines))


def _texts(number: int, tasks: Iterable[TaskPlan]) -> str:
    """The number, marked where it is an estimate."""
    return ("~" if number and any(task.basis in _APPROXIMATE for task in tasks) else "") + f"{number:,}"


def _is_unknown(run: RunPlan) -> bool:
    """Whether something is left, and nobody knows its FLOP."""
    return bool(run.left.texts) and not run.cost.flops


def _flops(run: RunPlan, flops: int, unit: float) -> str:
    return "?" if _is_unknown(run) else _in_unit(flops, unit)


def _time(run: RunPlan, flops: int) -> str:
    if not flops and not _is_unknown(run):
        return "0 s"
    return duration(flops / run.rate.flops_per_second if run.rate.flops_per_second else None)


def _sum_seconds(runs: Iterable[RunPlan]) -> float | None:
    seconds = [run.seconds for run in runs]
    return None if None in seconds else sum(value for value in seconds if value is not None)


def _in_unit(value: float, unit: float) -> str:
    return f"{value / unit:,.2f}" if unit > 1 else f"{value:,.0f}"
