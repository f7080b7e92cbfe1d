"""Hydra's part: command-line overrides -> typed configuration -> frozen `RunSpec`, with all errors in one message."""

import copy
import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.core.benchmarks import is_file_name, load_benchmark
from harness.core.errors import MachineError, RequestError, unknown
from harness.core.files import FOLDER_NAME
from harness.core.overrides import as_typed, is_model, model_file
from harness.core.prompts import Prompts, name_problems
from harness.core.registry import registry, unknown_model
from harness.core.resources import config_names, data_root, resource_dir
from harness.core.schema import RunConfig, from_plain, schema_keys
from harness.core.shard import Shard
from harness.core.spec import MOST_BATCH_TOKENS, GpuSpec, ModelSpec, RunSpec

GROUPS = ("model", "gpu", "data", "row", "experiment")


def resolve_run(overrides: Sequence[str], *, device_name: str, device_memory_gib: float) -> RunSpec:
    """The run that `overrides` (Hydra's `key=value`) ask for on a device of this name and memory.

    Raises:
        RequestError: whatever is wrong with the overrides and the values, all of it in one message.
        MachineError: `gpu=` expects another device, and `gpu.mismatch` is `stop`.
    """
    spec = resolve_request(overrides, device_name=device_name, device_memory_gib=device_memory_gib)
    _check_device(spec.gpu, device_name, device_memory_gib)
    return spec


def resolve_request(overrides: Sequence[str], *, device_name: str = "", device_memory_gib: float = 0.0) -> RunSpec:
    """The run that `overrides` ask for, whatever device is here: `resolve_run` without its last check. `gpu=auto` takes the one here.

    Without a device it looks at a request before anything heavy is imported.

    Raises:
        RequestError: as `resolve_run` does.
    """
    given, overrides = overrides, as_typed(overrides)
    wrong: dict[str, list[str]] = {}
    try:
        asked = compose_config(overrides)
    except RequestError:
        found = {text: _override_problems(text, sweep=False) or _compose_problem(text) for text in overrides}
        wrong = {text: problems for text, problems in found.items() if problems}
        asked = compose_config([text for text in overrides if text not in wrong])
    sound = [text for text in overrides if text not in wrong]
    problems = [problem for text in wrong for problem in wrong[text]]
    if asked.gpu.name == "auto" and (known := _known_gpu(device_name, device_memory_gib)):
        asked = compose_config([*(text for text in sound if not text.startswith("gpu=")), f"gpu={known}"])
    tasks: tuple[str, ...] = ()
    try:
        own = load_benchmark(asked.benchmark)
        problems += name_problems(asked.prompts, own.tasks)
        tasks = tuple(task.name for task in own.select(asked.tasks))
    except RequestError as error:
        problems.append(str(error))
    if not any(text.partition("=")[0] in GROUPS for text in wrong):  # a model or data that was not understood would be blamed twice
        problems += _value_problems(asked)
    if problems:
        raise RequestError("\n".join(f"{model_file(given, problem)}{problem}" for problem in problems))
    gpu, data = asked.gpu, asked.data
    if gpu.name == "auto":  # a GPU that no file knows goes by its own name
        gpu = replace(gpu, name=re.sub(r"[^a-z0-9]+", "-", device_name.lower()).strip("-"))
    if data.reads_root:
        data = replace(data, root=str(data_root(data.root).resolve()))
    benchmark = str(Path(asked.benchmark).expanduser().resolve()) if is_file_name(asked.benchmark) else asked.benchmark
    return replace(asked, benchmark=benchmark, gpu=gpu, data=data, tasks=tasks)


def expand_sweep(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of the sweep, in the order in which Hydra's own sweeper runs them; one job where no key has several values.

    Values of the wrong kind are found when a job is composed, or by `check_overrides`.

    Raises:
        RequestError: overrides that do not parse, or name no key, choice or value, all of them in one message.
    """
    overrides = as_typed(overrides)
    if any(_override_problems(text, sweep=True) for text in overrides):
        check_overrides(overrides, sweep=True)
    plain = [text for text in overrides if not _of_hydra(text)]
    try:
        with hydra_on_configs() as hydra:
            loader = hydra.config_loader()
            config = loader.load_configuration("config", overrides=plain, run_mode=RunMode.MULTIRUN, from_shell=False)
            axes = [f"{key}={value}" for key, value in (config.hydra.sweeper.params or {}).items()]  # of `experiment=card`: its rows
            parsed = OverridesParser.create(config_loader=loader).parse_overrides([*axes, *plain])
            points = list(itertools.product(*{override.get_key_element(): _points(override) for override in parsed}.values()))
            empty = [override.input_line for override in parsed if not _points(override)]
    except (HydraException, OmegaConfBaseException) as error:
        check_overrides(overrides, sweep=True)  # names the override
        raise RequestError(_first_line(error)) from error
    if empty:
        raise RequestError("\n".join(f"{text}: no value is in it; a glob is over the choices of model, data or gpu" for text in empty))
    return [list(point) for point in points]


def check_overrides(overrides: Sequence[str], *, sweep: bool) -> None:
    """Look at every override by itself.

    Raises:
        RequestError: those that do not parse, name no key or choice, give several values where only a `sweep` takes them, or (in a
            sweep, whose jobs are composed one by one) a value of the wrong kind.
    """
    found = {text: _override_problems(text, sweep=sweep) for text in as_typed(overrides)}
    if sweep:  # what a launcher takes depends on which launcher
        sound = {text: _single_values(text) for text, wrong in found.items() if not wrong and not _of_hydra(text)}
        if _wrong_together([values for values in sound.values() if values]):
            found |= {text: [problem for single in values for problem in _compose_problem(single)] for text, values in sound.items()}
    problems = [problem for wrong in found.values() for problem in wrong]
    if problems:
        raise RequestError("\n".join(problems))


def compose_config(overrides: Sequence[str]) -> RunSpec:
    """Hydra's composition of `configs/config.yaml` with the overrides: the run as it is asked for, tasks and device not looked up yet.

    Raises:
        RequestError: every override that does not parse, names no key or choice, or has a value of the wrong kind.
    """
    overrides = as_typed(overrides)
    check_overrides(overrides, sweep=False)
    try:
        return _compose(overrides)
    except (HydraException, OmegaConfBaseException) as error:
        alone = [problem for text in overrides for problem in _compose_problem(text)]
        raise RequestError("\n".join(alone or [_first_line(error)])) from error


def device_matches(gpu: GpuSpec, device_name: str, device_memory_gib: float) -> bool:
    """Whether the device is the one that `gpu` expects."""
    return bool(re.search(gpu.pattern, device_name)) and device_memory_gib >= gpu.min_memory_gib


@contextmanager
def hydra_on_configs() -> Iterator[GlobalHydra]:
    """Hydra, set up on `configs/` and its schema."""
    ConfigStore.instance().store(name="run_schema", node=RunConfig)
    logging.getLogger("hydra").setLevel(logging.ERROR)
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None  # a job of a sweep composes while Hydra runs the sweep
    try:
        with initialize_config_dir(str(resource_dir("configs").resolve()), version_base="1.3"):
            yield state
    finally:
        GlobalHydra.instance().hydra = outer  # Hydra has put a copy of it in its place


def _compose(overrides: Sequence[str]) -> RunSpec:
    config = _set_values(overrides)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise RequestError("\n".join(f"{key} has no value: add {key}=VALUE" for key in missing))
    values: Any = OmegaConf.to_container(config, enum_to_str=True)
    asked = from_plain(RunSpec, values)
    listed = registry().find(asked.model.hub) if asked.model.hub else None
    if asked.prompts.source == "model" and listed is not None and listed.name == asked.model.hub:
        asked = replace(asked, prompts=Prompts(source="model", table=registry().table(listed)))
    if not asked.model.path:
        return replace(asked, model=replace(asked.model, name=asked.model.name or (asked.model.hub or "").rpartition("/")[2]))
    path = Path(asked.model.path).expanduser().resolve()  # a folder without a name goes by its own
    return replace(asked, model=replace(asked.model, path=str(path), name=asked.model.name or path.name))


def _set_values(overrides: Sequence[str]) -> DictConfig:
    """What Hydra's `compose` makes of the overrides. It composes the choices of groups once, in 0.1 s, and values are set on a copy."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    state = tuple((path, path.stat().st_mtime_ns) for path in sorted(resource_dir("configs").rglob("*.yaml")))
    plain = all(each.type is OverrideType.CHANGE for each in parsed)  # else the order counts: of `dim=7 ++dim=3` the last one
    values = [each for each in parsed if plain and _is_value(each)]
    try:
        config = copy.deepcopy(_composed(tuple(str(each.input_line) for each in parsed if each not in values), state))
        for each in values:
            OmegaConf.update(config, each.key_or_group, each.value(), merge=True)  # as Hydra does
    except (HydraException, OmegaConfBaseException):
        return _composed.__wrapped__(tuple(overrides), state)  # what is wrong, in Hydra's words
    return config


def _is_value(override: Override) -> bool:
    special = override.package is not None or override.is_sweep_override() or _of_hydra(override.key_or_group)
    return override.key_or_group not in GROUPS and not special


@lru_cache
def _composed(overrides: tuple[str, ...], _state: object) -> DictConfig:
    with hydra_on_configs():
        return compose("config", overrides=list(overrides))


def _compose_problem(text: str) -> list[str]:
    try:
        _compose(as_typed([text]))
    except RequestError:
        return []  # a mandatory value that another override gives
    except (HydraException, OmegaConfBaseException) as error:
        return [f"{text}: {_first_line(error)}"]
    return []


def _wrong_together(axes: Sequence[Sequence[str]]) -> bool:
    """Whether a value is of the wrong kind: as many compositions as the longest axis has values, not one per value."""
    try:
        for number in range(max(map(len, axes), default=0)):
            with suppress(RequestError):  # a mandatory value that a job gives
                _compose(as_typed([values[min(number, len(values) - 1)] for values in axes]))
    except (HydraException, OmegaConfBaseException):
        return True
    return False


def _first_line(error: BaseException) -> str:
    # Hydra's own message only repeats the override; the one below it names the value and the choices
    told = error.__cause__ or error
    return str(told).strip().splitlines()[0] if str(told).strip() else repr(told)


def _override_problems(text: str, *, sweep: bool) -> list[str]:
    try:
        override: Override = OverridesParser.create().parse_override(text)
    except HydraException:
        key, equals, value = text.partition("=")
        if equals and "," in value and not set(value) & set("[](){}'\""):
            return [_comma_problem(text, key, value)]
        return [f"{text!r} is not KEY=VALUE: for example dtype=fp16, tasks=[TNews,STS] or model.path=DIR"]
    key = override.key_or_group
    if override.is_delete():
        return [f"{text}: a key can't be taken away; give it another value ({key}=VALUE)"]
    if key == "tasks" and isinstance(override.value(), str):
        return [f"{text}: tasks is a list: tasks=[{override.value()}]"]
    if key == "results_dir" and not override.value():
        return ["results_dir is empty: give results_dir=DIR"]
    if override.is_sweep_override() and not sweep:
        return [f"{text}: one run takes one value of {key}; `python -m harness sweep` takes several"]
    if key.startswith("hydra") and sweep:
        return []
    if override.is_sweep_override() and not override.is_discrete_sweep():
        return [f"{text}: give choices or a range, not an interval"]
    if key == "benchmark" and sweep:
        return [problem for choice in _choices(override) for problem in _benchmark_problems(choice)]
    if key in GROUPS:
        known = config_names(key)
        if key == "model":
            return [unknown_model(choice, known) for choice in _choices(override) if not is_model(choice)]
        wrong = [choice for choice in _choices(override) if choice not in known]
        if key == "data":
            return [f"{unknown(key, choice, known)}. A folder of your own: data=local data.root={choice}" for choice in wrong]
        return [unknown(key, choice, known) for choice in wrong]
    keys = [*GROUPS, *schema_keys(RunConfig)]
    return [] if key in keys else [unknown("key", key, keys, listed_by="python -m harness run --help")]


def _comma_problem(text: str, key: str, value: str) -> str:
    """What is wrong with `dim=64,` and with `model=./a b,c`, where no list and no quote explains the comma."""
    given = [part.strip() for part in value.split(",")]
    if not all(given):
        return f"{text}: nothing stands beside a comma: {key}={','.join(filter(None, given)) or 'VALUE'}"
    remedy = f"model=folder model.path=\"'{value}'\"" if key == "model" else f"{key}=\"'{value}'\""
    return f"{text}: a comma parts the values of a sweep. For one value with a comma in it: {remedy}"


def _benchmark_problems(name: str) -> list[str]:
    try:
        load_benchmark(name)
    except RequestError as error:
        return [str(error)]
    return []


def _points(override: Override) -> list[str]:
    """The values of one axis of a sweep, as Hydra's own sweeper takes them: a plain override has one."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _choices(override: Override) -> list[str]:
    """The values that it names; none of a range or glob, whose values are numbers and known choices."""
    if override.value_type in (ValueType.SIMPLE_CHOICE_SWEEP, ValueType.CHOICE_SWEEP):
        return [str(value) for value in override.sweep_string_iterator()]
    return [] if override.is_sweep_override() else [str(override.value())]


def offer_models(overrides: Sequence[str]) -> None:
    """Make the models that a sweep names choices of Hydra's group, whatever kind of name it is: each job looks its own up by itself."""
    named = (OverridesParser.create().parse_override(text) for text in overrides if text.startswith("model="))
    for choice in {choice for override in named for choice in _choices(override)} - set(config_names("model")):
        group, _, name = f"model/{choice}".rpartition("/")
        ConfigStore.instance().store(group=group, name=name, node={"name": name}, package="model")


def _of_hydra(text: str) -> bool:
    return text.lstrip("+").startswith("hydra")


def _single_values(text: str) -> list[str]:
    """`dtype=fp16,bf16` as `dtype=fp16` and `dtype=bf16`."""
    override = OverridesParser.create().parse_override(text)
    return [f"{override.get_key_element()}={value}" for value in _choices(override)] if override.is_sweep_override() else [text]


def _value_problems(config: RunSpec) -> list[str]:
    problems = []
    if config.max_len < 3:
        problems.append(f"max_len={config.max_len}: a text needs at least 3 tokens, [CLS] and [SEP] included")
    if config.dim is not None and config.dim < 1:
        problems.append(f"dim={config.dim}: give a positive number of dimensions, or dim=null for all")
    problems += _place_problems(config)
    try:
        re.compile(config.gpu.pattern)
    except re.error as error:
        problems.append(f"gpu.pattern={config.gpu.pattern!r} is no regular expression ({error})")
    if not 1 <= config.gpu.encoding.batch_tokens <= MOST_BATCH_TOKENS:
        problems.append(f"gpu.batch_tokens={config.gpu.encoding.batch_tokens}: give a number of tokens from 1 to {MOST_BATCH_TOKENS}")
    if config.workers is not None and config.workers < 0:
        problems.append(f"workers={config.workers}: give a number of processes, 0 to score in this one, or null for what suits the device")
    if config.shard:
        try:
            Shard.parse(config.shard)
        except RequestError as error:
            problems.append(str(error))
    model = config.model
    placed = model.path or model.package or model.hub or model.url
    if not placed and model.kind == "endpoint":
        problems.append("model.url: a served model needs its address; give model.url=http://HOST:PORT/v1")
    elif not placed:
        problems.append("model.path: the model has no source; give model=./DIR, or a name that `python -m harness models` lists")
    if not model.url and (stray := [key for key in ("served_as", "dimensions", "request") if getattr(model, key) is not None]):
        problems.append(f"model.{stray[0]} is for a served model, and model.url does not name one: leave it out, or give model.url=URL")
    if model.url and model.kind == ModelSpec.kind:
        problems.append(f"model.url is the address of a served model, and model.kind={model.kind} runs one here: add model.kind=endpoint")
    if model.query_instruction and config.prompts.source in ("model", "file"):
        problems.append("model.query_instruction goes before nothing beside prompts=: put it into a file's query, or leave one of both out")
    if (model.name or placed) and not FOLDER_NAME.fullmatch(model.name):
        problems.append(f"model.name={model.name!r}: it names a results folder, so only letters, digits and . _ + - are possible")
    return problems


def _place_problems(config: RunSpec) -> list[str]:
    """Folders that the request names and that can't be what it wants of them."""
    problems = []
    if config.store and config.store.exists() and not config.store.is_dir():
        problems.append(f"store={config.store} is a file: name a folder, or store=null to keep no vectors")
    if config.data.reads_root:
        try:
            data_root(config.data.root)
        except RequestError as error:
            problems.append(str(error))
    elif config.data.root is not None:
        problems.append(f"data.root={config.data.root} has no meaning with data={config.data.source}: leave it out, or say data=local")
    return problems


def _known_gpu(device_name: str, device_memory_gib: float) -> str | None:
    """The first file of `configs/gpu/` that the device's name and memory match; a slice of a GPU is not that GPU."""
    for choice in config_names("gpu"):
        values = yaml.safe_load((resource_dir("configs") / "gpu" / f"{choice}.yaml").read_text(encoding="utf-8"))
        if choice != "auto" and re.search(values["pattern"], device_name) and device_memory_gib >= values["min_memory_gib"]:
            return choice
    return None


def _check_device(gpu: GpuSpec, device_name: str, device_memory_gib: float) -> None:
    if gpu.mismatch == "stop" and not device_matches(gpu, device_name, device_memory_gib):
        wanted = gpu.pattern.replace(r"\b", "")
        raise MachineError(
            f"gpu={gpu.name} expects a device named {wanted!r} with at least {gpu.min_memory_gib:g} GiB; found "
            f"{device_name} with {device_memory_gib:.0f} GiB. Run on such a device, take what is here with gpu=auto, or add "
            f"gpu.mismatch=warn to run here all the same and have every record and the table say so"
        )
