"""The seam of data sources: where a task's data comes from. All give the same typed data with its provenance and verdict.

A source is one object, registered under the name that `data.source=` takes (docs/extending.md): `SOURCES.register("mine", MySource())`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.core.errors import InputError, RequestError
from harness.core.formatting import amount
from harness.core.plugins import Seam
from harness.core.resources import SAMPLE_DIR, data_root
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.hub import cache_folder, hub_settings, hub_status, locate_cached, locate_hub
from harness.data.loading import TaskFiles, assemble_task
from harness.data.local import find_folder, locate_local
from harness.data.types import LoadedTask


class Source(Protocol):
    """Loads tasks. A class that derives from this one need only have `load`.

    `harness.data.loading.label_task` compares data from anywhere with the known figures, and gives it its verdict.
    """

    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        """The task's data, checked as `data.verify` says; `present`: only what is on this machine, for a plan.

        Raises:
            RequestError: `data` asks for what the source can't give.
            InputError: data is missing, damaged, or (`data.verify=error`) not that of the benchmark.
            MachineError: data can't be reached.
        """
        ...

    def problem(self, tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
        """Why some of the tasks can't be loaded here, with the way out; nothing is downloaded to find out."""
        return None

    @property
    def downloads(self) -> Path | None:
        """The folder to which `load` downloads what is not here; None where it downloads nothing."""
        return None


@dataclass(frozen=True)
class Files(Source):
    """A source of files in the layout of the hub. `missing`: what `problem` says; `cache`: where what is not here is downloaded to."""

    locate: Callable[[TaskSpec, DataSpec], TaskFiles]
    locate_present: Callable[[TaskSpec, DataSpec], TaskFiles]
    missing: Callable[[Sequence[TaskSpec], DataSpec], str | None]
    cache: Callable[[], Path] | None = None

    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        """The task's data; raises as `Source.load` does."""
        return assemble_task(task, (self.locate_present if present else self.locate)(task, data), verify=data.verify)

    def problem(self, tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
        """As `Source.problem`."""
        return self.missing(tasks, data)

    @property
    def downloads(self) -> Path | None:
        """The hub's cache, of the hub."""
        return self.cache() if self.cache else None


def _local(task: TaskSpec, data: DataSpec) -> TaskFiles:
    return locate_local(task, data_root(data.root), keep_checksums=True)


def _local_present(task: TaskSpec, data: DataSpec) -> TaskFiles:
    return locate_local(task, data_root(data.root))


def _sample(task: TaskSpec, data: DataSpec) -> TaskFiles:
    return locate_local(task, SAMPLE_DIR / "data", source="sample")


def _not_cached(tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
    settings = hub_settings()
    absent = [task for task in tasks if not cache_folder(task.hub, settings).is_dir()]
    if not absent or (status := hub_status()).reachable:
        return None
    here = f"{len(absent)} of {amount(len(tasks), 'task')} are not in the cache {settings.cache}"
    return f"data: {here}, and the hub can't be reached ({status.detail})"


def _no_folders(tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
    try:
        root = data_root(data.root)
    except RequestError as error:
        return str(error)
    absent = []
    for task in tasks:
        try:
            find_folder(task, root)
        except InputError:
            absent.append(task.name)
    return f"data: {root} has no folder for {len(absent)} of {amount(len(tasks), 'task')}: {', '.join(absent)}" if absent else None


def _no_sample(tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
    return None if (SAMPLE_DIR / "data").is_dir() else f"{SAMPLE_DIR / 'data'} is missing: install the package again"


HUB = Files(lambda task, data: locate_hub(task), lambda task, data: locate_cached(task), _not_cached, lambda: hub_settings().cache)
LOCAL = Files(_local, _local_present, _no_folders)
SAMPLE = Files(_sample, _sample, _no_sample)

SOURCES: Seam[Source] = Seam("sources", {name: f"harness.data.sources:{name.upper()}" for name in ("hub", "local", "sample")})
"""The sources of `data.source=`."""


def load_task(task: TaskSpec, data: DataSpec, *, present: bool = False) -> LoadedTask:
    """The task's data from the source that `data` names; raises as `Source.load` does."""
    return SOURCES.get(data.source).load(task, data, present=present)
