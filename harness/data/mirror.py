"""`python -m harness fetch`: a verified copy of the pinned data, for machines without network.

Each task's folder is put together under another name and renamed when it is whole, so a folder that has its own name is complete, whatever
killed the process. Downloads go through the hub's cache, which goes on where it was interrupted, file by file. Two processes that mirror
into one root take turns at publishing a task.
"""

import fcntl
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.errors import HarnessError, InputError, MachineError, RequestError
from harness.core.files import delete_abandoned, open_to_append, scratch_folder, sha256_file, write_json
from harness.core.records import Provenance
from harness.core.tasks import TaskSpec
from harness.data.hub import hub_status, locate_hub
from harness.data.layout import mirror_name
from harness.data.loading import TaskFiles, assemble_task
from harness.data.local import MIRROR, Mirror, MirrorFile, find_folder, locate_local, read_mirror
from harness.data.tables import DataFile


class _RootError(MachineError):
    """The mirror itself can't be written: no task will fare better."""


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """What became of a task. `present`: it was there, whole. `provenance`: of the data, read and checked. `error`: why it failed."""

    task: str
    status: Literal["fetched", "present", "failed"]
    provenance: Provenance | None = None
    error: str | None = None


def fetch(tasks: Iterable[TaskSpec], root: Path, *, on_task: Callable[[FetchResult], None] | None = None) -> list[FetchResult]:
    """Mirror the tasks into `root`, a folder each; what is there and whole stays. `on_task` is called after every task.

    A task that the hub can't give becomes a failed result and the others go on.

    Raises:
        RequestError: a task's folder is there and was not made by `fetch`: it is not ours to overwrite.
        MachineError: the root can't be written, or the hub is out of reach: no other task would fare better.
    """
    wanted = list(tasks)
    for task in wanted:
        _check_ours(task, root)
    results = []
    for task in wanted:
        try:
            result = _fetch_task(task, root)
        except HarnessError as error:
            if isinstance(error, _RootError) or (isinstance(error, MachineError) and not hub_status().reachable):
                raise
            result = FetchResult(task=task.name, status="failed", error=str(error))
        results.append(result)
        if on_task is not None:
            on_task(result)
    return results


def _check_ours(task: TaskSpec, root: Path) -> None:
    for name in task.names:
        folder = root / name
        if folder.exists() and not (folder / MIRROR).exists():
            found = f"{folder} is there and was not made by fetch (no {MIRROR} in it)"
            raise RequestError(f"{found}: name an empty data.root=DIR, or move it away")


def _fetch_task(task: TaskSpec, root: Path) -> FetchResult:
    present = _verified(task, root)
    if present is not None:
        delete_abandoned(root, f".{task.name}.")  # of a process that was killed when the task was in its place
        return FetchResult(task=task.name, status="present", provenance=present)
    with _publishing(root):
        pass  # a root that can't be written is an error before anything is downloaded
    files = locate_hub(task)
    provenance = assemble_task(task, files, verify="label").provenance  # nothing unreadable is mirrored
    with _publishing(root):
        if _verified(task, root) is None:  # else another process was faster
            _publish(task, files, provenance.sha256, root)
    return FetchResult(task=task.name, status="fetched", provenance=provenance)


def _verified(task: TaskSpec, root: Path) -> Provenance | None:
    """The provenance of the task's mirror, read and hashed; None when there is none, or a damaged or outdated one."""
    try:
        if read_mirror(find_folder(task, root)) is None:
            return None
        return assemble_task(task, locate_local(task, root), verify="label").provenance
    except (InputError, OSError):
        return None


def _publish(task: TaskSpec, files: TaskFiles, hashes: Mapping[str, str], root: Path) -> None:
    folder = root / task.name
    try:
        with scratch_folder(root, f".{task.name}.") as scratch:
            new = scratch / "new"
            new.mkdir()
            copied = {}
            for table, parts in files.tables.items():
                for file in parts:
                    name = mirror_name(table, file.part)
                    copied[name] = _copy(file, new / name, hashes[file.part.name])
            write_json(new / MIRROR, _mirror(task, files.provenance, copied).as_json())
            if folder.exists():  # a damaged or outdated mirror: a folder that is not empty can't be renamed over
                folder.rename(scratch / "old")
            new.rename(folder)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _copy(file: DataFile, target: Path, sha256: str) -> MirrorFile:
    if not target.exists():  # an archive holds several tables
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file.path, target)
    found = sha256_file(target)
    if found != sha256:
        raise MachineError(f"the copy of {file.origin} has sha256 {found}, expected {sha256}: this disk or memory loses data")
    return MirrorFile(sha256=sha256, size=target.stat().st_size, origin=file.origin)


def _mirror(task: TaskSpec, origin: Provenance, copied: dict[str, MirrorFile]) -> Mirror:
    if origin.repository is None or origin.revision is None:
        raise InputError(f"{task.name}: a mirror is made of files whose repository and commit are known")
    return Mirror(
        task=task.name,
        repository=origin.repository,
        revision=origin.revision,
        pinned_revision=task.revision,
        qrels_repository=task.qrels.hub if task.qrels else None,
        qrels_revision=origin.qrels_revision,
        substituted=origin.substituted,
        notes=origin.notes,
        files=copied,
    )


@contextmanager
def _publishing(root: Path) -> Iterator[None]:
    """Alone at publishing into the root; the kernel ends the lock of a killed process."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open_to_append(root / ".lock")
    except OSError as error:
        raise _not_writable(root, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _not_writable(path: Path, error: OSError) -> MachineError:
    return _RootError(f"can't write {path}: {error.strerror or error}. Free disk space, correct its permissions, or name another data.root")
