"""Data of the tasks: one loader per source, all giving the same typed data with its provenance and verdict."""

from __future__ import annotations

from collections.abc import Callable

from harness.core.errors import RequestError
from harness.core.resources import SAMPLE_DIR, data_root
from harness.core.spec import DataSpec
from harness.core.tasks import TaskSpec
from harness.data.hub import locate_cached, locate_hub
from harness.data.loading import TaskFiles, assemble_task
from harness.data.local import locate_local
from harness.data.types import LoadedTask

__all__ = ["load_present_task", "load_task"]


def load_task(task: TaskSpec, data: DataSpec) -> LoadedTask:
    """The task's data from the source that `data` names, checked against the known figures as `data.verify` says.

    Raises:
        RequestError: `data.root` is missing where it is needed, given where it has no meaning, or no folder.
        InputError: data is missing, damaged, ambiguous, or (`data.verify=error`) not that of C-MTEB.
        MachineError: the hub is out of reach and the cache does not have the data.
    """
    return assemble_task(task, _locate(task, data, locate_hub), verify=data.verify)


def load_present_task(task: TaskSpec, data: DataSpec) -> LoadedTask:
    """What `load_task` gives where it need not ask the hub; raises as that does, and a MachineError where the cache lacks a file."""
    return assemble_task(task, _locate(task, data, locate_cached), verify=data.verify)


def _locate(task: TaskSpec, data: DataSpec, from_hub: Callable[[TaskSpec], TaskFiles]) -> TaskFiles:
    if data.source == "local":
        return locate_local(task, data_root(data.root))
    if data.root is not None:
        raise RequestError(f"data.root={data.root} has no meaning with data={data.source}: leave it out, or say data=local")
    if data.source == "sample":
        return locate_local(task, SAMPLE_DIR / "data", source="sample")
    return from_hub(task)
