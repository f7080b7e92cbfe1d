"""What a run needs to know before anything is loaded: its tasks, its prompts, and what of it is done. A run that is done ends here.

Nothing here imports torch, so that a finished run is answered in a second.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from pathlib import Path

from harness.core.benchmarks import Benchmark, load_benchmark
from harness.core.config import resolve_run
from harness.core.costs import Cost
from harness.core.errors import InputError
from harness.core.fingerprint import cpu_device
from harness.core.prompts import PromptTable
from harness.core.run_files import CANARY, read_manifest
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.evaluate.agenda import Agenda, made_here, named_apart
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.encode.model.own import OwnSettings
from harness.evaluate.prompting import run_prompts

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Where Linux, its subsystem in Windows, and ROCm have GPUs."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run came to: names of tasks; `failed` maps a task to its error, `again` one that had a record to why that did not count."""

    folder: Path
    computed: tuple[str, ...]
    reused: tuple[str, ...]
    again: dict[str, str]
    failed: dict[str, str]
    cost: Cost


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run before its first text. `own`: what the model's files say; `prompts`: those of the run."""

    spec: RunSpec
    benchmark: Benchmark
    own: OwnSettings
    prompts: PromptTable
    agenda: Agenda
    selected: Sequence[TaskSpec]

    @property
    def done(self) -> list[TaskSpec]:
        """The tasks whose records count."""
        return [task for task in self.selected if task.name in self.agenda.done]

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: a record for every task, a manifest, and the canary's vectors where it is checked."""
        return not self.agenda.todo and (not self.agenda.done or _is_whole(self.spec))

    def outcome(self, failed: Mapping[str, str] | None = None, cost: Cost | None = None) -> Outcome:
        """What the run came to; without arguments, of one that was finished before."""
        failed = dict(failed or {})
        return Outcome(
            folder=self.spec.folder,
            computed=tuple(task.name for task in self.agenda.todo if task.name not in failed),
            reused=tuple(task.name for task in self.done),
            again=self.agenda.again,
            failed=failed,
            cost=cost or Cost(),
        )


def prepare(spec: RunSpec) -> Prepared:
    """Look at what there is of a run.

    Raises:
        RequestError: unknown tasks, or prompts that the run says nothing of.
        InputError: the model is not there, or a file of it is damaged.
    """
    benchmark = load_benchmark(spec.benchmark)
    selected = benchmark.select(spec.tasks)
    own = ENCODERS.get(spec.model.kind).own_settings(spec.model)
    prompts = run_prompts(spec, own)
    made_with = cache(partial(made_here, spec))
    spec = named_apart(spec, made_with)
    agenda = Agenda(spec, selected, made_with=made_with)
    return Prepared(spec=spec, benchmark=benchmark, own=own, prompts=prompts, agenda=agenda, selected=selected)


def finished_run(overrides: Sequence[str]) -> Prepared | None:
    """The run that the overrides ask for, where it can be seen without torch that it is finished; None where torch must look.

    That is where the machine may have a GPU, or a kind of encoder needs torch to know its model.

    Raises:
        HarnessError: as `resolve_run` and `prepare` do: another device than `gpu=` expects, a model's folder that is none, ...
    """
    if any(Path(path).exists() for path in _GPU_FILES) and not metadata.version("torch").endswith("+cpu"):
        return None
    device = cpu_device()
    spec = resolve_run(overrides, device_name=device.label, device_memory_gib=device.memory_gib)
    if spec.shard or not (spec.folder.is_dir() or spec.model.path):
        return None
    return prepared if (prepared := prepare(spec)).finished else None


def _is_whole(spec: RunSpec) -> bool:
    with contextlib.suppress(InputError):
        read_manifest(spec.folder)
        return not (spec.canary and ENCODERS.get(spec.model.kind).sketched) or (spec.folder / CANARY).is_file()
    return False
