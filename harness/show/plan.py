"""What a run or a sweep will cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from harness.core.words import duration
from harness.evaluate.plan.values import Amount, Plan, RunPlan, TaskPlan
from harness.show.form import Block, Column, Document, Grid, Sentences

_UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_APPROXIMATE = ("modelled", "characters")
_LEGEND = (
    "texts and tokens: of the distinct texts, after cutting. stored: sequences found in the store, or put there before. left: what must "
    "run, each sequence in the first task that has it. ~ estimated. filling: dummy rows of batches that are not full."
)


def plan_document(plan: Plan) -> Document:
    """The tasks of a run, or the runs of a sweep; below, the totals, what can't be done here, and what to know of the figures."""
    return Document(
        blocks=lambda: _run_blocks(plan.runs[0]) if len(plan.runs) == 1 else _sweep_blocks(plan),
        data=lambda: plan_json(plan),
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """Plain values: FLOP, bytes and seconds as numbers, null where unknown."""
    return {
        "flops": plan.flops,
        "alone_flops": plan.alone_flops,
        "seconds": _sum_seconds(plan.runs),
        "vector_bytes": sum(run.vector_bytes for run in plan.runs),
        "runs": [_run_json(run) for run in plan.runs],
    }


def _run_json(run: RunPlan) -> dict[str, Any]:
    counters = {key: value for key, value in asdict(run.cost).items() if not key.endswith("_seconds")}
    return {
        "overrides": list(run.overrides),
        "folder": str(run.spec.folder),
        "model": run.spec.model.name,
        "gpu": run.spec.gpu.name,
        "dtype": run.spec.dtype,
        "max_len": run.spec.max_len,
        "dim": run.spec.dim,
        "counters": counters,
        "flops": run.cost.flops,
        "alone_flops": run.alone_flops,
        "seconds": run.seconds,
        "rate": asdict(run.rate),
        "vector_bytes": run.vector_bytes,
        "data_bytes": run.data_bytes,
        "obstacles": list(run.obstacles),
        "notes": list(run.notes),
        "tasks": [asdict(task) for task in run.tasks],
    }


def _run_blocks(run: RunPlan) -> list[Block]:
    spec = run.spec
    dim = "all dimensions" if spec.dim is None else f"dim {spec.dim}"
    head = f"{spec.model.name} on {spec.gpu.name}, {spec.dtype}, max_len {spec.max_len}, {dim}: {spec.folder}"
    tokens, flops = _unit(max(_tokens(run), default=0)), _unit(run.cost.flops)
    titles = ("task", "state", "texts", f"{tokens[1]}tokens", "stored", "left", f"{tokens[1]}tokens", f"{flops[1]}FLOP", "time")
    columns = [Column(title=title, short=title, numeric=place > 1) for place, title in enumerate(titles)]
    lines = [_task_line(run, task, tokens[0], flops[0]) for task in run.tasks]
    whole = run.left
    if run.fill_flops:
        lines.append(["filling", "", "", "", "", "", "", _scaled(run.fill_flops, flops[0]), _time(run, run.fill_flops)])
    total = [
        *(f"{len(run.tasks)} task{'s' if len(run.tasks) > 1 else ''}", ""),
        *(_texts(sum(task.texts for task in run.tasks), run.tasks), _scaled(sum(task.tokens for task in run.tasks), tokens[0])),
        *(f"{sum(task.stored for task in run.tasks):,}", _texts(whole.texts, run.tasks), _scaled(whole.tokens, tokens[0])),
        *(_scaled(run.cost.flops, flops[0]), duration(run.seconds)),
    ]
    return [Sentences((head,)), _grid(columns, [*lines, total]), _below([run], _summary(run))]


def _sweep_blocks(plan: Plan) -> list[Block]:
    tokens, flops = _unit(max(run.left.tokens for run in plan.runs)), _unit(plan.alone_flops)
    titles = ("run", "done", "shared", "open", "no data", "left", f"{tokens[1]}tokens", f"{flops[1]}FLOP", "alone", "time")
    columns = [Column(title=title, short=title, numeric=place > 0, shrinks_to=None if place else 20) for place, title in enumerate(titles)]
    lines = []
    for run, name in zip(plan.runs, _varying(plan.runs), strict=True):
        states = [task.state for task in run.tasks]
        lines.append(
            [
                *(name, *(str(states.count(state)) for state in ("done", "shared", "open", "no data"))),
                *(_texts(run.left.texts, run.tasks), _scaled(run.left.tokens, tokens[0])),
                *(_scaled(run.cost.flops, flops[0]), _scaled(run.alone_flops, flops[0]), duration(run.seconds)),
            ]
        )
    left = sum((run.left for run in plan.runs), Amount())
    lines.append(
        [
            *(f"{len(plan.runs)} runs", "", "", "", ""),
            *(_texts(left.texts, [task for run in plan.runs for task in run.tasks]), _scaled(left.tokens, tokens[0])),
            *(_scaled(plan.flops, flops[0]), _scaled(plan.alone_flops, flops[0]), duration(_sum_seconds(plan.runs))),
        ]
    )
    return [_grid(columns, lines), _below(plan.runs, _sweep_summary(plan))]


def _task_line(run: RunPlan, task: TaskPlan, tokens: float, flops: float) -> list[str]:
    if task.basis == "unknown":
        return [task.task, task.state, *(["unknown"] * 7 if task.state == "open" else [""] * 7)]
    known = [task.task, task.state, _texts(task.texts, [task]), _scaled(task.tokens, tokens)]
    if task.state != "open":
        return [*known, "", "", "", "", ""]
    left = task.left
    return [
        *known,
        *(f"{task.stored:,}", _texts(left.texts, [task]), _scaled(left.tokens, tokens)),
        *(_scaled(left.flops, flops), _time(run, left.flops)),
    ]


def _summary(run: RunPlan) -> list[str]:
    states = [task.state for task in run.tasks]
    told = [f"{states.count(state)} {state}" for state in ("done", "shared", "open", "no data") if state in states]
    if not run.left.texts and not run.unknown:
        return [f"{', '.join(told)}: nothing is left to encode" + ("" if "open" in states else ", nor to score")]
    seconds = run.seconds
    hours = "unknown" if seconds is None else f"{seconds / 3600:.2f}"
    work = f"{run.cost.forwards:,} forward passes, {_short(run.cost.tokens)}tokens through the model, {_short(run.cost.flops)}FLOP"
    return [
        f"{', '.join(told)}. Left: {work}, {run.spec.gpu.name} hours: {hours}",
        f"Rate: {run.rate.told}",
        f"Disk: {_short(run.vector_bytes)}B of vectors" + (f", {_short(run.data_bytes)}B of data at most" if run.data_bytes else ""),
    ]


def _sweep_summary(plan: Plan) -> list[str]:
    if not any(run.left.texts or run.unknown for run in plan.runs):
        return ["nothing is left to encode"]
    seconds = _sum_seconds(plan.runs)
    hours = "unknown" if seconds is None else f"{seconds / 3600:.2f}"
    ratio = f"; each run by itself {_short(plan.alone_flops)}FLOP, {plan.alone_flops / plan.flops:.2f} times as much" if plan.flops else ""
    rates = dict.fromkeys(f"{run.spec.gpu.name} {run.spec.dtype}: {run.rate.told}" for run in plan.runs)
    return [
        f"Together {_short(plan.flops)}FLOP{ratio}. Hours: {hours}",
        *(f"Rate of {rate}" for rate in rates),
        f"Disk: {_short(sum(run.vector_bytes for run in plan.runs))}B of vectors"
        + (f", {_short(data)}B of data at most" if (data := max(run.data_bytes for run in plan.runs)) else ""),
    ]


def _below(runs: Sequence[RunPlan], summary: Sequence[str]) -> Sentences:
    """The totals, then every obstacle and every note once."""
    obstacles = dict.fromkeys(text for run in runs for text in run.obstacles)
    notes = dict.fromkeys(text for run in runs for text in run.notes)
    lines = [*summary, *(f"Can't run here: {text}" for text in obstacles), *(f"Note: {text}" for text in notes), _LEGEND]
    return Sentences(tuple(lines))


def _grid(columns: Sequence[Column], lines: Iterable[Sequence[str]]) -> Grid:
    return Grid(tuple(columns), tuple(map(tuple, lines)))


def _varying(runs: Sequence[RunPlan]) -> list[str]:
    """What each run is called: its overrides but for those that all have."""
    common = set.intersection(*(set(run.overrides) for run in runs))
    return [" ".join(text for text in run.overrides if text not in common) or "as asked" for run in runs]


def _tokens(run: RunPlan) -> Iterable[int]:
    return (sum(task.tokens for task in run.tasks), run.left.tokens)


def _texts(number: int, tasks: Iterable[TaskPlan]) -> str:
    """The number, marked where it is an estimate."""
    return ("~" if number and any(task.basis in _APPROXIMATE for task in tasks) else "") + f"{number:,}"


def _time(run: RunPlan, flops: int) -> str:
    if not flops:
        return "0 s"
    return duration(flops / run.rate.flops_per_second if run.rate.flops_per_second else None)


def _sum_seconds(runs: Iterable[RunPlan]) -> float | None:
    seconds = [run.seconds for run in runs]
    return None if None in seconds else sum(value for value in seconds if value is not None)


def _unit(value: float) -> tuple[float, str]:
    return next((unit for unit in _UNITS if value >= unit[0]), _UNITS[-1])


def _scaled(value: float, unit: float) -> str:
    return f"{value / unit:,.2f}" if unit > 1 else f"{value:,.0f}"


def _short(value: float) -> str:
    """`1.52 P`, to be followed by what it is of."""
    unit, name = _unit(value)
    scaled = value / unit
    return f"{scaled:,.0f} {name}" if scaled >= 100 else f"{scaled:.3g} {name}"
