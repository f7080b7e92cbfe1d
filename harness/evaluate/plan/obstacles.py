"""What stands in the way of a planned run on this machine, and what else a reader of its figures must know."""

import shutil
from pathlib import Path

from harness.core import environment
from harness.core.benchmarks import load_benchmark
from harness.core.errors import RequestError
from harness.core.fingerprint import DeviceInfo, Fingerprint
from harness.core.formatting import amount
from harness.core.records import Manifest, RowHeader
from harness.data.sources import SOURCES
from harness.evaluate.agenda import Agenda
from harness.evaluate.plan.counting import Shelf
from harness.evaluate.plan.inputs import Inputs, Model
from harness.evaluate.plan.values import RunPlan
from harness.evaluate.prompting import prompt_notes, unused_settings
from harness.evaluate.score.scorer import refuse_similarity

_FEW = 3
_ENDPOINT = "endpoint"  # the kind of which nothing but the request is known
_SPARE = 1.05  # free disk for every byte that is planned


def obstacles_of(run: RunPlan, agenda: Agenda, model: Model, inputs: Inputs, device: DeviceInfo | None) -> tuple[str, ...]:
    """Why the run can't be made here, a sentence each; `device`: None where it is planned for another one than this machine's."""
    spec = run.spec
    problems = [_model_obstacle(run, model, inputs), model.prompt_problem, _similarity_obstacle(run, model)]
    if spec.max_len > model.positions:
        carries = f"{spec.model.name} carries {model.positions} tokens"
        problems.append(f"max_len={spec.max_len}: {carries}; the figures are for max_len={model.positions}")
    if spec.dim is not None and model.embedding_dim is not None and spec.dim > model.embedding_dim:
        problems.append(f"dim={spec.dim}: {spec.model.name} has {model.embedding_dim} dimensions; give at most that, or dim=null")
    memory = device.memory_gib if device else spec.gpu.min_memory_gib
    if memory and (run.weight_bytes or 0) > memory * 2**30:
        weights = f"the weights of {spec.model.name} take {(run.weight_bytes or 0) / 2**30:.1f} GiB in {spec.dtype}"
        problems.append(f"memory: {weights}, {spec.gpu.name} has {memory:.0f}: use a smaller dtype, or another gpu=")
    if model.architecture is None and spec.model.kind != _ENDPOINT:
        sizes = "model.layers, model.hidden_size, model.intermediate_size"
        problems.append(f"the sizes of {spec.model.name} are not known, so neither are its FLOP and times: set {sizes}")
    source = SOURCES.get(spec.data.source)
    absent = {*(task.task for task in run.tasks if task.basis == "modelled"), *run.unknown}
    if absent and source.downloads is not None:
        problems.append(inputs.data_problem([task for task in load_benchmark(spec.benchmark).tasks if task.name in absent], spec))
    problems += _data_obstacles(run)
    problems.append(_origin_obstacle(agenda, model, device))
    if spec.store is not None:
        problems.append(_disk_obstacle(spec.store, run.vector_bytes, "vectors"))
    if source.downloads is not None:
        problems.append(_disk_obstacle(source.downloads, run.data_bytes, "data"))
    return tuple(dict.fromkeys(problem for problem in problems if problem))


def notes_of(run: RunPlan, model: Model, device: str, shelf: Shelf, *, here: bool) -> tuple[str, ...]:
    """What else to know, a sentence each."""
    spec = run.spec
    notes = [] if here else [f"gpu={spec.gpu.name} is not here (this is {device}): planned for it, to run there"]
    if model.prompts is not None:
        notes += prompt_notes(spec, model.prompts)
    elif model.outline is None:
        notes.append("the model is not here, so its prompts are not known: the figures are without them")
    if model.outline is None and model.architecture is not None and spec.model.layers is None:
        notes.append("the model is not here: its FLOP are 2 per parameter and token by the registry's counts, without attention's products")
    if model.outline is not None:
        notes += unused_settings(spec, model.outline.own)
    modelled = sum(task.basis == "modelled" for task in run.tasks)
    if modelled:
        notes.append(
            f"{modelled} of {amount(len(run.tasks), 'task')} are not on this machine: their texts and tokens are modelled from the "
            "benchmark's statistics, and what tasks share is counted in each"
        )
    if run.unknown:
        notes.append(f"size unknown, and in no total, as neither data nor statistics are on this machine: {', '.join(run.unknown)}")
    if spec.model.kind == _ENDPOINT:
        notes.append("a plan does not ask the server: tokens are estimated from characters, FLOP and time are not known")
    elif any(task.basis == "characters" for task in run.tasks):
        notes.append("the tokenizer is not here: tokens are estimated from characters")
    if spec.store is None:
        notes.append("store=null: nothing is kept for other runs")
    elif not model.store_known and spec.store.is_dir():
        notes.append(f"{spec.store} was not read: the names of vectors depend on the model's weights on {spec.gpu.name}")
    elif model.digest_of is not None:
        notes.append(f"{spec.store} was read under the setting of {model.digest_of}, which ran on {spec.gpu.name}")
    if shelf.on_disk is not None and shelf.on_disk.damaged:
        notes.append(f"{len(shelf.on_disk.damaged)} damaged files in the store: their vectors are computed again")
    if model.outline is None and any(task.state == "done" for task in run.tasks):
        notes.append("the weights are not here: finished records were not compared with them")
    return tuple(notes)


def _model_obstacle(run: RunPlan, model: Model, inputs: Inputs) -> str | None:
    spec = run.spec.model
    if model.problem is None:
        return None
    if spec.hub is None or spec.path or spec.package:
        return model.problem
    return None if inputs.hub.reachable else f"{model.problem}, and the hub can't be reached ({inputs.hub.detail})"


def _similarity_obstacle(run: RunPlan, model: Model) -> str | None:
    if model.outline is None:
        return None
    try:
        refuse_similarity(run.spec, load_benchmark(run.spec.benchmark).select(run.spec.tasks), model.outline.own.similarity)
    except RequestError as error:
        return str(error)
    return None


def _data_obstacles(run: RunPlan) -> list[str]:
    """Every task's own words where they are few; else their names, and the words of the first."""
    without = [task for task in run.tasks if task.state == "no data"]
    if len(without) <= _FEW:
        return [task.problem or "" for task in without]
    names = ", ".join(task.task for task in without)
    counted = f"data: {len(without)} of {amount(len(run.tasks), 'task')} can't be read, and a run would fail for them"
    return [f"{counted}: {names}. Of the first: {without[0].problem}"]


def _origin_obstacle(agenda: Agenda, model: Model, device: DeviceInfo | None) -> str | None:
    """Records of other weights, packages or devices in the run's folder, to which a run adds nothing."""
    if model.outline is None:
        return None
    would_be = Manifest(
        header=RowHeader.unknown(agenda.spec.model.name),
        model=Fingerprint(weights_digest=model.outline.weights_digest),
        versions=environment.scoring_versions(),
        device=device,
    )
    try:
        agenda.refuse_other_origin(would_be)
    except RequestError as error:
        return str(error)
    return None


def _disk_obstacle(folder: Path, wanted: int, what: str) -> str | None:
    place = folder.expanduser().absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return f"{what} take {wanted / 1e9:.1f} GB, {free / 1e9:.1f} GB are free at {place}" if wanted * _SPARE > free else None
