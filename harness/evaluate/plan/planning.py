"""From overrides to a plan: what is done, what is stored, what must run, and what stands in the way. Reads, and writes nothing."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from harness.core.benchmarks import load_benchmark
from harness.core.config import check_overrides, device_matches, expand_sweep, resolve_request
from harness.core.dtypes import DTYPES
from harness.core.errors import HarnessError, InputError, RequestError
from harness.core.fingerprint import DeviceInfo
from harness.core.formatting import scaled
from harness.core.records import ModelName, TaskRecord
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.data.sources import SOURCES
from harness.evaluate.agenda import LARGEST_WINDOW, Agenda, ForeseenRun, MadeWith, code_of, named_apart, window_bytes
from harness.evaluate.encode.device import describe_device, find_device
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.encode.work import Architecture
from harness.evaluate.lengths import modelled_bytes
from harness.evaluate.plan.counting import Shelf, tally
from harness.evaluate.plan.inputs import Inputs, Model
from harness.evaluate.plan.obstacles import notes_of, obstacles_of
from harness.evaluate.plan.rates import encoding_rate
from harness.evaluate.plan.texts import TaskTexts
from harness.evaluate.plan.values import Plan, RunPlan, State, TaskPlan
from harness.evaluate.score.scorer import RERANKER_KIND, run_scorer


def make_plan(overrides: Sequence[str], *, on_step: Callable[[str], None] = lambda _: None) -> Plan:
    """The plan of the run, or of the runs of the sweep, that the overrides ask for; `on_step` gets what is being looked at.

    Another device than the one that `gpu=` names is no error: to plan for it is the point.

    Raises:
        RequestError: wrong overrides, all of them in one message, or tasks that can't be scored.
    """
    device = find_device()
    info = describe_device(device)
    jobs = _resolve_jobs(overrides, info)
    planner = _Planner(info, Inputs(device, on_step))
    return Plan(runs=tuple(planner.plan_run(job, spec) for job, spec in jobs))


def mismatch_lines(overrides: Sequence[str]) -> list[str]:
    """What the batches of another `gpu=` cost on this device (`gpu.mismatch=warn`), of each run that has something left to encode.

    Raises:
        RequestError: as `make_plan` does.
    """
    if not any(text.startswith("gpu.mismatch=") for text in overrides):  # a run on another device is refused then
        return []
    device = describe_device(find_device())
    if all(device_matches(spec.gpu, device.label, device.memory_gib) for _, spec in _resolve_jobs(overrides, device)):
        return []
    return [
        f"gpu={run.spec.gpu.name} is not here (this is {device.label}, gpu.mismatch=warn): its batches put "
        f"{run.cost.tokens / run.left.tokens:.1f} times as many tokens through the model as the texts have "
        f"({scaled(run.cost.tokens).rstrip()} for {scaled(run.left.tokens).rstrip()}); gpu=auto takes the batches of this device"
        for run in make_plan(overrides).runs
        if run.left.tokens and not device_matches(run.spec.gpu, device.label, device.memory_gib)
    ]


def _resolve_jobs(overrides: Sequence[str], device: DeviceInfo) -> list[tuple[list[str], RunSpec]]:
    jobs: list[tuple[list[str], RunSpec]] = []
    problems: list[str] = []
    for job in expand_sweep(overrides):
        try:
            jobs.append((job, resolve_request(job, device_name=device.label, device_memory_gib=device.memory_gib)))
        except RequestError as error:
            problems += str(error).splitlines()
    if problems:
        check_overrides(overrides, sweep=True)  # tells every value of the wrong kind, of whatever job
        raise RequestError("\n".join(dict.fromkeys(problems)))
    return jobs


class _Planner:
    """Plans runs one after the other, each in the world that those before it leave behind."""

    def __init__(self, info: DeviceInfo, inputs: Inputs) -> None:
        self._info = info
        self._inputs = inputs
        self._foreseen: list[ForeseenRun] = []

    def plan_run(self, overrides: Sequence[str], spec: RunSpec) -> RunPlan:
        """The plan of one run."""
        here = device_matches(spec.gpu, self._info.label, self._info.memory_gib)
        model = self._inputs.model(spec, here=here)
        outline = model.outline
        if spec.dim == model.embedding_dim:
            spec = replace(spec, dim=None)
        selected = load_benchmark(spec.benchmark).select(spec.tasks)
        if spec.model.kind == RERANKER_KIND:
            run_scorer(spec).refuse_unknown(selected)
        own = ModelName(weights_digest=outline.weights_digest, files_digest=outline.files_digest) if outline else None
        made_with = MadeWith(model=own, code=code_of(spec))
        spec = named_apart(spec, lambda: made_with)
        agenda = Agenda(spec, selected, made_with=lambda: made_with, foreseen=tuple(self._foreseen))
        cost_of = partial(
            ENCODERS.get(spec.model.kind).cost, model.architecture or Architecture(), encoding=spec.gpu.encoding, positions=model.positions
        )
        looked = {task.name: self._look(agenda, task, model) for task in selected}
        plans = {name: plan for name, (plan, _) in looked.items()}
        texts = {name: found for name, (_, found) in looked.items() if found is not None}
        left = {name: found for name, found in texts.items() if plans[name].state == "open"}
        store_problem, shelf = self._shelf(spec, model)
        number_bytes = DTYPES[spec.dtype].bytes
        limit = window_bytes() if here else LARGEST_WINDOW
        count = partial(tally, cost_of=cost_of, vector_bytes=(model.embedding_dim or 1) * number_bytes, limit=limit)
        alone = None if shelf.untouched and len(left) == len(texts) else count(texts.values(), shelf=shelf.apart())[1]
        tasks, together = count(left.values(), shelf=shelf)
        for name, (stored, to_run) in zip(left, tasks, strict=True):
            plans[name] = replace(plans[name], stored=stored, left=to_run)
        uncut = {name: int(found.counts.max(initial=0)) for name, found in texts.items() if not found.cut.any()}
        self._foreseen.append(ForeseenRun(spec=spec, digest=model.digest, longest=uncut))
        kept = sum(plan.left.texts for plan in plans.values()) if spec.store is not None else 0
        downloads = SOURCES.get(spec.data.source).downloads is not None
        fetched = [task for task in selected if downloads and plans[task.name].basis == "modelled"]
        run = RunPlan(
            overrides=tuple(overrides),
            spec=spec,
            tasks=tuple(plans.values()),
            cost=together,
            alone_flops=(alone or together).flops,
            parameters=model.parameters,
            rate=encoding_rate(spec),
            vector_bytes=kept * (16 + (model.embedding_dim or 0) * number_bytes),
            data_bytes=sum(modelled_bytes(task) for task in fetched),
            obstacles=(),
            notes=(),
        )
        obstacles = obstacles_of(run, agenda, model, self._inputs, self._info if here else None)
        notes = notes_of(run, model, self._info.label, shelf, here=here)
        return replace(run, obstacles=(*obstacles, *store_problem), notes=notes)

    def _look(self, agenda: Agenda, task: TaskSpec, model: Model) -> tuple[TaskPlan, TaskTexts | None]:
        """The plan of a task, without what is left of it; and its texts, if no finished record has its scores."""
        if task.name in agenda.done:
            return _of_record(task, agenda.done[task.name], "done"), None
        spec = agenda.spec
        found = self._inputs.task(task, spec, model)
        if found.loaded and (shared := agenda.shared(task, found.loaded, model.digest)):
            return _of_record(task, shared.record, "shared"), None
        problem = found.problem if SOURCES.get(spec.data.source).downloads is None else None  # what is not here would be fetched
        try:
            texts = self._inputs.texts(task, replace(spec, max_len=min(spec.max_len, model.positions)), model)
        except InputError as error:
            problem = str(error)
        if problem is not None:
            return TaskPlan(task=task.name, type=task.type, state="no data", basis="unknown", problem=problem), None
        plan = TaskPlan(
            task=task.name,
            type=task.type,
            state="shared" if agenda.will_be_shared(task, model.digest) else "open",
            basis=texts.basis,
            texts=len(texts),
            tokens=int(texts.counts.sum()),
        )
        return plan, texts

    def _shelf(self, spec: RunSpec, model: Model) -> tuple[tuple[str, ...], Shelf]:
        try:
            return (), self._inputs.shelf(spec, model)
        except HarnessError as error:
            return (str(error),), Shelf(None, keeps=True)


def _of_record(task: TaskSpec, record: TaskRecord, state: State) -> TaskPlan:
    encoding = record.made.encoding
    texts, tokens = (encoding.texts, encoding.tokens) if encoding else (0, 0)
    return TaskPlan(task=task.name, type=task.type, state=state, basis="record", texts=texts, tokens=tokens)
