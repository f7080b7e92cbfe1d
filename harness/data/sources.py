"""The seam of data sources: where a task's data comes from. All give the same typed data with its provenance and verdict.

A source is one object, registered under the name that `data.source=` takes (docs/extending.md): `SOURCES.register("mine", MySource())`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from harness.core.errors import RequestError
from harness.core.plugins import Seam
from harness.core.resources import SAMPLE_DIR, data_root
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.hub import locate_cached, locate_hub
from harness.data.loading import TaskFiles, assemble_task
from harness.data.local import locate_local
from harness.data.types import LoadedTask


class Source(Protocol):
    """Loads tasks. `harness.data.loading.label_task` compares data from anywhere with the known figures, and gives it its verdict."""

    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        """The task's data, checked as `data.verify` says; `present`: only what is on this machine, for a plan.

        Raises:
            RequestError: `data` asks for what the source can't give.
            InputError: data is missing, damaged, or (`data.verify=error`) not that of the benchmark.
            MachineError: data can't be reached.
        """
        ...


@dataclass(frozen=True)
class Files:
    """A source of files in the layout of the hub. `root`: whether `data.root` says where they are."""

    locate: Callable[[TaskSpec, DataSpec], TaskFiles]
    locate_present: Callable[[TaskSpec, DataSpec], TaskFiles]
    root: bool = False

    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        """The task's data; raises as `Source.load` does."""
        if data.root is not None and not self.root:
            raise RequestError(f"data.root={data.root} has no meaning with data={data.source}: leave it out, or say data=local")
        return assemble_task(task, (self.locate_present if present else self.locate)(task, data), verify=data.verify)


def _local(task: TaskSpec, data: DataSpec) -> TaskFiles:
    return locate_local(task, data_root(data.root), keep_checksums=True)


def _local_present(task: TaskSpec, data: DataSpec) -> TaskFiles:
    return locate_local(task, data_root(data.root))


def _sample(task: TaskSpec, data: DataSpec) -> TaskFiles:
    return locate_local(task, SAMPLE_DIR / "data", source="sample")


HUB = Files(lambda task, data: locate_hub(task), lambda task, data: locate_cached(task))
LOCAL = Files(_local, _local_present, root=True)
SAMPLE = Files(_sample, _sample)

SOURCES: Seam[Source] = Seam("sources", {name: f"harness.data.sources:{name.upper()}" for name in ("hub", "local", "sample")})
"""The sources of `data.source=`."""


def load_task(task: TaskSpec, data: DataSpec, *, present: bool = False) -> LoadedTask:
    """The task's data from the source that `data` names; raises as `Source.load` does."""
    return SOURCES.get(data.source).load(task, data, present=present)
