"""From overrides to a plan: what is done, what is stored, what must run, and what stands in the way. Reads, and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.core.benchmarks import load_benchmark
from harness.core.config import check_overrides, device_matches, expand_sweep, resolve_request
from harness.core.errors import HarnessError, InputError, RequestError
from harness.core.fingerprint import DeviceInfo
from harness.core.records import TaskRecord
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.evaluate.agenda import LARGEST_WINDOW, of_weights, runs_of_other_lengths, shared_scores, valid_records, window_bytes
from harness.evaluate.encode.device import TORCH_DTYPE, describe_device, find_device
from harness.evaluate.encode.shapes import ShapeLadder
from harness.evaluate.encode.work import Architecture
from harness.evaluate.lengths import modelled_bytes
from harness.evaluate.plan.counting import Shelf, Tally, tally
from harness.evaluate.plan.inputs import Inputs, Model
from harness.evaluate.plan.obstacles import notes_of, obstacles_of
from harness.evaluate.plan.rates import encoding_rate
from harness.evaluate.plan.texts import TaskTexts
from harness.evaluate.plan.values import Plan, RunPlan, State, TaskPlan

_UNKNOWN = Architecture(layers=0, hidden=0, intermediate=0)


def make_plan(overrides: Sequence[str], *, on_step: Callable[[str], None] = lambda _: None) -> Plan:
    """The plan of the run, or of the runs of the sweep, that the overrides ask for; `on_step` is told what is being looked at.

    Another device than the one that `gpu=` names is no error: to plan for it is the point.

    Raises:
        RequestError: wrong overrides, all of them in one message.
    """
    device = find_device()
    info = describe_device(device)
    jobs: list[tuple[list[str], RunSpec]] = []
    problems: list[str] = []
    for job in expand_sweep(overrides):
        try:
            jobs.append((job, resolve_request(job, device_name=info.label, device_memory_gib=info.memory_gib)))
        except RequestError as error:
            problems += str(error).splitlines()
    if problems:
        swept = [text for text in overrides if not text.startswith("benchmark=")]
        check_overrides(swept, sweep=True)  # tells every value of the wrong kind, of whatever job
        raise RequestError("\n".join(dict.fromkeys(problems)))
    planner = _Planner(info, Inputs(device, on_step))
    return Plan(runs=tuple(planner.plan_run(job, spec) for job, spec in jobs))


@dataclass(frozen=True, kw_only=True)
class _Past:
    """An earlier run of the plan, for those that differ from it in `max_len` alone: the longest text of each task that it does not cut."""

    settings: Mapping[str, Any]
    digest: str
    uncut: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Open:
    """A task without a record that the run could take; `shared`: an earlier run of the plan will have one."""

    task: TaskSpec
    texts: TaskTexts
    shared: bool


class _Planner:
    """Plans runs one after the other, each in the world that those before it leave behind."""

    def __init__(self, info: DeviceInfo, inputs: Inputs) -> None:
        self._info = info
        self._inputs = inputs
        self._past: list[_Past] = []

    def plan_run(self, overrides: Sequence[str], spec: RunSpec) -> RunPlan:
        """The plan of one run."""
        here = device_matches(spec.gpu, self._info.label, self._info.memory_gib)
        model = self._inputs.model(spec, here=here)
        selected = load_benchmark(spec.benchmark).select(spec.tasks)
        plans, opened = self._look(spec, model, selected)
        store_problem, shelf = self._shelf(spec, model)
        todo = [item for item in opened if not item.shared]
        first = shelf.untouched and len(todo) == len(opened)
        alone = None if first else self._tally(spec, model, opened, shelf.apart(), here=here)
        together = self._tally(spec, model, todo, shelf, here=here)
        for item, count in zip(todo, together.tasks, strict=True):
            plans[item.task.name] = replace(plans[item.task.name], stored=count.stored, left=count.left)
        self._past.append(_past(spec, model, opened))
        left = sum(plan.left.texts for plan in plans.values()) if spec.store is not None else 0
        fetched = [task for task in selected if spec.data.source == "hub" and plans[task.name].basis == "modelled"]
        run = RunPlan(
            overrides=tuple(overrides),
            spec=spec,
            tasks=tuple(plans[task.name] for task in selected),
            cost=together.cost,
            alone_flops=(alone or together).cost.flops,
            rate=encoding_rate(spec),
            vector_bytes=left * (16 + (model.embedding_dim or 0) * TORCH_DTYPE[spec.dtype].itemsize),
            data_bytes=sum(modelled_bytes(task) for task in fetched),
            obstacles=(),
            notes=(),
        )
        obstacles = obstacles_of(run, model, self._inputs, self._info if here else None)
        notes = notes_of(run, model, self._info.label, shelf, here=here)
        return replace(run, obstacles=(*obstacles, *store_problem), notes=notes)

    def _look(self, spec: RunSpec, model: Model, tasks: Sequence[TaskSpec]) -> tuple[dict[str, TaskPlan], list[_Open]]:
        """The plan of each task, without what is left of it, and those that are open."""
        plans = {task.name: _of_record(task, record, "done") for task, record in _finished(spec, model, tasks)}
        siblings = runs_of_other_lengths(spec, model.digest)
        max_len = min(spec.max_len, model.positions)
        ladder = ShapeLadder(spec.gpu.encoding, model.positions)
        opened: list[_Open] = []
        for task in tasks:
            if task.name in plans:
                continue
            found = self._inputs.task(task, spec)
            record = shared_scores(spec, task, found.loaded, siblings) if found.loaded else None
            if record is not None:
                plans[task.name] = _of_record(task, record[0], "shared")
                continue
            problem = found.problem
            try:
                texts = self._inputs.texts(task, replace(spec, max_len=max_len), model, ladder)
            except InputError as error:
                problem = str(error)
            if problem is not None and spec.data.source != "hub":
                plans[task.name] = TaskPlan(task=task.name, type=task.type, state="no data", basis="unknown", problem=problem)
                continue
            shared = any(past.uncut.get(task.name, spec.max_len + 1) <= spec.max_len for past in self._past_of(spec, model))
            plans[task.name] = TaskPlan(
                task=task.name,
                type=task.type,
                state="shared" if shared else "open",
                basis=texts.basis,
                texts=len(texts),
                tokens=int(texts.counts.sum()),
            )
            opened.append(_Open(task=task, texts=texts, shared=shared))
        return plans, opened

    def _shelf(self, spec: RunSpec, model: Model) -> tuple[tuple[str, ...], Shelf]:
        try:
            return (), self._inputs.shelf(spec, model)
        except HarnessError as error:
            return (str(error),), Shelf(None, keeps=True)

    def _tally(self, spec: RunSpec, model: Model, opened: Sequence[_Open], shelf: Shelf, *, here: bool) -> Tally:
        vector_bytes = (model.embedding_dim or 1) * TORCH_DTYPE[spec.dtype].itemsize
        return tally(
            [item.texts for item in opened],
            ladder=ShapeLadder(spec.gpu.encoding, model.positions),
            architecture=model.architecture or _UNKNOWN,
            shelf=shelf,
            window_texts=-(-(window_bytes() if here else LARGEST_WINDOW) // vector_bytes),
        )

    def _past_of(self, spec: RunSpec, model: Model) -> list[_Past]:
        return [past for past in self._past if past.digest == model.digest and past.settings == _settings(spec)]


def _finished(spec: RunSpec, model: Model, tasks: Sequence[TaskSpec]) -> list[tuple[TaskSpec, TaskRecord]]:
    """The tasks with a valid record; where the weights are not here to be compared, those of any weights."""
    records = [] if spec.overwrite else valid_records(spec, tasks, load_benchmark(spec.benchmark).digest)
    if model.outline is None:
        return records
    own = {task.name for task in of_weights(records, model.outline.weights.digest)}
    return [(task, record) for task, record in records if task.name in own]


def _of_record(task: TaskSpec, record: TaskRecord, state: State) -> TaskPlan:
    encoding = record.made.encoding
    texts, tokens = (encoding.texts, encoding.tokens) if encoding else (0, 0)
    return TaskPlan(task=task.name, type=task.type, state=state, basis="record", texts=texts, tokens=tokens)


def _past(spec: RunSpec, model: Model, opened: Sequence[_Open]) -> _Past:
    uncut = {item.task.name: int(item.texts.counts.max(initial=0)) for item in opened if not item.texts.cut.any()}
    return _Past(settings=_settings(spec), digest=model.digest, uncut=uncut)


def _settings(spec: RunSpec) -> dict[str, Any]:
    return {key: value for key, value in spec.identity().items() if key != "max_len"}
