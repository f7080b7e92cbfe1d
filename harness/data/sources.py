"""The seam of data sources: where a task's data comes from. All give the same typed data with its provenance and verdict.

A source is one object, registered under the name that `data.source=` takes (docs/extending.md): `SOURCES.register("mine", MySource())`.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.core.errors import InputError, RequestError
from harness.core.formatting import amount
from harness.core.plugins import Seam
from harness.core.records import Provenance
from harness.core.resources import SAMPLE_DIR, data_root
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.loading import assemble_task
from harness.data.local import find_folder, has_changed, locate_local
from harness.data.types import LoadedTask


class Source(Protocol):
    """Loads tasks. A class that derives from this one need only have `load`.

    `harness.data.loading.label_task` compares data from anywhere with the known figures, and gives it its verdict.
    """

    @abstractmethod
    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        """The task's data, checked as `data.verify` says; `present`: only what is on this machine, for a plan.

        Raises:
            RequestError: `data` asks for what the source can't give.
            InputError: data is missing, damaged, or (`data.verify=error`) not that of the benchmark.
            MachineError: data can't be reached.
        """
        ...

    def has_changed(self, task: TaskSpec, data: DataSpec, loaded: Provenance, *, since: float) -> bool:
        """Whether `load` would give other data than it gave before, of the provenance `loaded`, for a record that was written at `since`
        (seconds since 1970). Such a record is made again. Asked for every task of a finished run, so it has to be fast.
        """
        return False

    def problem(self, tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
        """Why some of the tasks can't be loaded here, with the way out; nothing is downloaded to find out."""
        return None

    @property
    def downloads(self) -> Path | None:
        """The folder to which `load` downloads what is not here; None where it downloads nothing."""
        return None


class Hub(Source):
    """The hub's repositories. What they have at a commit never changes; a finished run does not ask where a branch is by now.

    `harness.data.hub` is imported where it is used: a finished run is answered without huggingface_hub.
    """

    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        """As `Source.load`."""
        from harness.data.hub import locate_cached, locate_hub

        return assemble_task(task, (locate_cached if present else locate_hub)(task), verify=data.verify)

    def problem(self, tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
        """As `Source.problem`."""
        from harness.data.hub import cache_folder, hub_settings, hub_status

        settings = hub_settings()
        absent = [task for task in tasks if not cache_folder(task.hub, settings).is_dir()]
        if not absent or (status := hub_status()).reachable:
            return None
        here = f"{len(absent)} of {amount(len(tasks), 'task')} are not in the cache {settings.cache}"
        return f"data: {here}, and the hub can't be reached ({status.detail}). Give a folder that `fetch` made: data=local data.root=DIR"

    @property
    def downloads(self) -> Path:
        """The hub's cache."""
        from harness.data.hub import hub_settings

        return hub_settings().cache


@dataclass(frozen=True)
class Folders(Source):
    """Folders of tasks in the layout of the hub, below the folder that `root` gives. `keeps_checksums`: as of `locate_local`."""

    name: str
    root: Callable[[DataSpec], Path]
    keeps_checksums: bool

    def load(self, task: TaskSpec, data: DataSpec, *, present: bool) -> LoadedTask:
        """As `Source.load`."""
        files = locate_local(task, self.root(data), source=self.name, keep_checksums=self.keeps_checksums and not present)
        return assemble_task(task, files, verify=data.verify)

    def has_changed(self, task: TaskSpec, data: DataSpec, loaded: Provenance, *, since: float) -> bool:
        """Whether a file was edited, or came with another version of the package, and has other bytes."""
        return has_changed(task, self.root(data), loaded.sha256, since=since)

    def problem(self, tasks: Sequence[TaskSpec], data: DataSpec) -> str | None:
        """As `Source.problem`."""
        try:
            root = self.root(data)
        except RequestError as error:
            return str(error)
        absent = []
        for task in tasks:
            try:
                find_folder(task, root)
            except InputError:
                absent.append(task.name)
        return f"data: {root} has no folder for {len(absent)} of {amount(len(tasks), 'task')}: {', '.join(absent)}" if absent else None


def _sample_root(data: DataSpec) -> Path:
    if not (root := SAMPLE_DIR / "data").is_dir():
        raise RequestError(f"{root} is missing: install the package again")
    return root


HUB = Hub()
LOCAL = Folders("local", lambda data: data_root(data.root), keeps_checksums=True)
SAMPLE = Folders("sample", _sample_root, keeps_checksums=False)

SOURCES: Seam[Source] = Seam("sources", {name: f"harness.data.sources:{name.upper()}" for name in ("hub", "local", "sample")})
"""The sources of `data.source=`."""


def load_task(task: TaskSpec, data: DataSpec, *, present: bool = False) -> LoadedTask:
    """The task's data from the source that `data` names; raises as `Source.load` does."""
    return SOURCES.get(data.source).load(task, data, present=present)
