"""What plans look at on this machine: models, task data, the store. Each is read once, however many runs of a sweep need it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from harness.core.errors import HarnessError, RequestError, described
from harness.core.prompts import PromptTable, TaskPrompts
from harness.core.registry import RegistryModel, registry
from harness.core.spec import ModelSpec, RunSpec
from harness.core.tasks import TaskSpec
from harness.data.hub import HubStatus, hub_status
from harness.data.sources import SOURCES, load_task
from harness.data.types import LoadedTask
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.encode.model.own import OwnSettings
from harness.evaluate.encode.planned import Outline
from harness.evaluate.encode.store.store import VectorStore
from harness.evaluate.encode.work import Architecture
from harness.evaluate.plan.counting import Shelf
from harness.evaluate.plan.rates import runs_like
from harness.evaluate.plan.texts import TaskTexts, counted_texts, modelled_texts, texts_by_characters
from harness.evaluate.prompting import run_prompts
from harness.evaluate.score.scorer import run_scorer


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model for a run. `outline`: None where its files are not here. `problem`: why, or why the run is refused for its dtype.

    `architecture`: None where its sizes are not known. `digest`: names its vectors; `store_known` is False where it is only a stand-in,
    because the run's device is not here and no run on such a device recorded it. `digest_of`: the folder of the run that did.
    `prompts`: None where the model that has them is not here, or where the run is refused for them: `prompt_problem` says why.
    """

    outline: Outline | None
    problem: str | None
    parameters: int | None
    architecture: Architecture | None
    positions: int
    embedding_dim: int | None
    digest: str
    store_known: bool
    digest_of: str | None = None
    prompts: PromptTable | None = None
    prompt_problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskInput:
    """A task's data: its distinct texts, or why they can't be had."""

    loaded: LoadedTask | None
    texts: Sequence[str]
    problem: str | None


class Inputs:
    """Reads models, data and stores for the runs of a plan."""

    def __init__(self, device: torch.device, on_step: Callable[[str], None]) -> None:
        self._device = device
        self._on_step = on_step
        self._outlines: dict[ModelSpec, Outline | HarnessError] = {}
        self._data: dict[tuple[Any, ...], TaskInput] = {}
        self._texts: dict[tuple[Any, ...], TaskTexts] = {}
        self._shelves: dict[tuple[Any, ...], Shelf] = {}
        self._problems: dict[tuple[Any, ...], str | None] = {}

    @cached_property
    def hub(self) -> HubStatus:
        """Whether the hub answers; asked once, and only where it matters."""
        return hub_status()

    def data_problem(self, tasks: Sequence[TaskSpec], spec: RunSpec) -> str | None:
        """Why tasks whose data is not here can't be downloaded; asked once for the same tasks, since a hub may take long to not answer."""
        key = (spec.data, spec.benchmark, *(task.name for task in tasks))
        if key not in self._problems:
            self._problems[key] = SOURCES.get(spec.data.source).problem(tasks, spec.data)
        return self._problems[key]

    def model(self, spec: RunSpec, *, here: bool) -> Model:
        """The run's model; `here`: whether its device is this one."""
        found = self._outline(spec.model)
        if isinstance(found, HarnessError):
            listed = registry().find(spec.model.hub) if spec.model.hub else None
            return Model(
                outline=None,
                problem=str(found),
                parameters=spec.model.parameters or (listed.parameters if listed else None),
                architecture=_configured_architecture(spec.model) or (_listed_architecture(listed) if listed else None),
                positions=spec.model.max_positions or (listed.max_tokens if listed else None) or spec.max_len,
                embedding_dim=spec.model.embedding_dim or (listed.dims[0] if listed and listed.dims else None),
                digest=f"{spec.model} {spec.dtype} {spec.gpu}",
                store_known=False,
                prompts=None if spec.prompts.source == "model" and spec.prompts.table is None else run_prompts(spec, OwnSettings()),
            )
        digest, of = f"{found.weights_digest} {spec.dtype} {spec.gpu}", None
        if here:
            digest = found.digest(dtype=spec.dtype, encoding=spec.gpu.encoding, device=self._device)
        elif (elsewhere := _digest_elsewhere(spec, found)) is not None:
            digest, of = elsewhere
        try:
            prompts, prompt_problem = run_prompts(spec, found.own), None
        except RequestError as error:
            prompts, prompt_problem = None, str(error)
        return Model(
            outline=found,
            problem=found.refuses(spec.dtype),
            parameters=found.stored_parameters,
            architecture=found.architecture,
            positions=found.max_positions or spec.max_len,
            embedding_dim=found.embedding_dim,
            digest=digest,
            store_known=here or of is not None,
            digest_of=of,
            prompts=prompts,
            prompt_problem=prompt_problem,
        )

    def shelf(self, spec: RunSpec, model: Model) -> Shelf:
        """The store as the run finds it, with what earlier runs of the plan put there.

        Raises:
            InputError: the store's folder of this setting is damaged.
        """
        if spec.store is None:
            return Shelf(None, keeps=False)
        key = (spec.store, model.digest)
        if key not in self._shelves:
            on_disk = None
            if model.store_known and model.embedding_dim is not None and spec.store.is_dir():
                on_disk = VectorStore(spec.store).look(model.digest, dim=model.embedding_dim, dtype=spec.dtype)
            self._shelves[key] = Shelf(on_disk, keeps=True)
        return self._shelves[key]

    def task(self, task: TaskSpec, spec: RunSpec, model: Model) -> TaskInput:
        """The task's data, as far as it is on this machine."""
        prompts = _prompts(model, task)
        key = (task.name, spec.benchmark, spec.data, prompts)
        if key not in self._data:
            self._on_step(f"reading {task.name}")
            try:
                loaded = load_task(task, spec.data, present=True)
                texts = run_scorer(spec).texts(task, loaded.data, prompts)
                self._data[key] = TaskInput(loaded=loaded, texts=texts, problem=None)
            except Exception as error:  # noqa: BLE001  the task boundary: a run would go on with the other tasks
                problem = described(error)
                self._data[key] = TaskInput(loaded=None, texts=(), problem=problem)
        return self._data[key]

    def texts(self, task: TaskSpec, spec: RunSpec, model: Model) -> TaskTexts:
        """The task's distinct texts under the run's `max_len`; modelled where its data is not here.

        Raises:
            InputError: a text can't be tokenised.
            RequestError: `max_len` has no room for a token.
        """
        key = (task.name, spec.benchmark, spec.data, _prompts(model, task), model.digest, spec.gpu.encoding, spec.max_len)
        if key not in self._texts:
            self._texts[key] = self._make_texts(task, spec, model)
        return self._texts[key]

    def _make_texts(self, task: TaskSpec, spec: RunSpec, model: Model) -> TaskTexts:
        found = self.task(task, spec, model)
        if found.loaded is None:
            return modelled_texts(task, spec.max_len)
        self._on_step(f"tokenising {task.name}")
        if model.outline is None:
            return texts_by_characters(found.texts, spec.max_len)
        counted = model.outline.count(found.texts, max_len=spec.max_len, encoding=spec.gpu.encoding, digest=model.digest)
        return counted_texts(found.texts, counted)

    def _outline(self, spec: ModelSpec) -> Outline | HarnessError:
        if spec not in self._outlines:
            self._on_step(f"reading {spec.name}")
            try:
                self._outlines[spec] = ENCODERS.get(spec.kind).outline(spec)
            except HarnessError as error:
                self._outlines[spec] = error
        return self._outlines[spec]


def _prompts(model: Model, task: TaskSpec) -> TaskPrompts:
    return model.prompts.of(task) if model.prompts else TaskPrompts()


def _configured_architecture(model: ModelSpec) -> Architecture | None:
    """The sizes in the model's file of `configs/model/`; a vector wider than the hidden states has come through a Dense layer."""
    if model.layers is None or model.hidden_size is None or model.intermediate_size is None:
        return None
    wide = model.embedding_dim not in (None, model.hidden_size)
    dense = ((model.hidden_size, model.embedding_dim or 0),) if wide else ()
    return Architecture.of_bert(model.layers, model.hidden_size, model.intermediate_size, dense)


def _listed_architecture(model: RegistryModel) -> Architecture | None:
    """What the registry's counts of parameters let expect, attention's two products apart."""
    if model.parameters is None:
        return None
    return Architecture(weights=model.parameters - (model.embedding_parameters or 0))


def _digest_elsewhere(spec: RunSpec, outline: Outline) -> tuple[str, str] | None:
    """The digest that names the vectors on a device that is not here, and the folder of the run of these weights there that recorded it.
    The packages there may have changed since."""
    for folder, manifest in runs_like(spec):
        model = manifest.model
        if model is not None and model.weights_digest == outline.weights_digest and model.digest:
            return model.digest, folder.name
    return None
