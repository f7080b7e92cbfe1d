"""`data=local`: a folder with one folder per task, made by hand or by `python -m harness fetch`; `data=sample` reads the same form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from harness.core.errors import InputError
from harness.core.files import is_inside, sha256_file
from harness.core.formatting import few, shell_command
from harness.core.records import Provenance
from harness.core.tasks import TaskSpec
from harness.core.typed import read_typed
from harness.data.layout import LOCAL_FORMATS, Part, find_parts, find_ranked
from harness.data.loading import CHECKSUMS, TaskFiles, read_checksums
from harness.data.tables import DataFile

MIRROR = "mirror.json"
"""What `fetch` leaves in each task's folder; a folder without it is taken as it is, of unknown origin."""

_SCHEMA = 1


@dataclass(frozen=True)
class MirrorFile:
    """A file of a mirror. `origin`: where its bytes came from, `repository@commit/path`; `size` in bytes."""

    sha256: str
    size: int
    origin: str


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """Where the files of a mirrored task came from, as `Provenance` has it; `files` by name."""

    task: str
    repository: str
    revision: str
    pinned_revision: str
    qrels_repository: str | None
    qrels_revision: str | None
    substituted: bool
    notes: tuple[str, ...]
    files: Mapping[str, MirrorFile]

    def as_json(self) -> dict[str, Any]:
        """The content of `mirror.json`."""
        files = {name: vars(file) for name, file in self.files.items()}
        return {"schema": _SCHEMA, **vars(self), "notes": list(self.notes), "files": files}


def locate_local(task: TaskSpec, root: Path, *, source: str = "local", keep_checksums: bool = False) -> TaskFiles:
    """The task's files below `root`. `keep_checksums`: whether a folder that `fetch` did not make is to keep them when it is first used.

    Raises:
        InputError: the folder or a table is missing, two folders or two files claim to be the same thing, or the folder is a mirror of
            another revision than the one that is pinned.
    """
    folder = find_folder(task, root)
    fetch = _fetch(task, root)
    mirror = read_mirror(folder)
    first_used = read_checksums(folder) if mirror is None else {}
    changed = f" (if it was changed on purpose, delete {folder / CHECKSUMS})" if first_used else ""
    remedy = f"Correct the file{changed}, or fetch the pinned data: {fetch}" if mirror is None else f"Fetch it again: {fetch}"
    if mirror is not None and mirror.pinned_revision != task.revision:
        raise InputError(f"{folder} mirrors {mirror.repository}@{mirror.pinned_revision}, the benchmark pins {task.revision}. {remedy}")
    names = _names(folder) if mirror is None else list(mirror.files)
    ranked = find_ranked(task, names, place=str(folder), formats=LOCAL_FORMATS)
    tables = {table: _files(folder, parts, mirror, first_used) for table, parts in (ranked or {}).items()}
    sibling = folder.with_name(f"{folder.name}-qrels")
    for table in () if ranked else task.tables:
        places = [(folder, names, table)]
        if table == "qrels":  # they are mteb 2's default config, and the hub may keep them in a repository of their own
            places += [(folder, names, task.split), (sibling, _names(sibling), task.split)]
        found = {place / each[0].name: (place, each) for place, there, split in places if (each := _find(task, split, there, place))}
        if len(found) > 1:
            raise InputError(f"{task.name} has table {table!r} in {' and in '.join(map(str, found))}: keep one of them")
        if not found:
            raise InputError(
                f"{task.name}: no file of table {table!r} in {folder} (found {few(_files_below(folder)) or 'no file'}), expected one of "
                f"{', '.join(table + suffix for suffix in LOCAL_FORMATS)} there or in data/{_also(task, table, folder)}. {remedy}"
            )
        [(place, parts)] = found.values()
        tables[table] = _files(place, parts, mirror, first_used)
    if mirror is None:
        kept = folder if keep_checksums else None
        return TaskFiles(tables=tables, provenance=Provenance(source=source), remedy=remedy, keeps_checksums=kept)
    provenance = Provenance(
        source=source,
        repository=mirror.repository,
        revision=mirror.revision,
        qrels_revision=mirror.qrels_revision,
        substituted=mirror.substituted,
        notes=mirror.notes,
    )
    return TaskFiles(tables=tables, provenance=provenance, remedy=remedy)


def has_changed(task: TaskSpec, root: Path, known: Mapping[str, str], *, since: float) -> bool:
    """Whether a file of the task has another SHA-256 than `known` has under its name. Only files that were written, moved or linked after
    `since` (seconds since 1970) are hashed, or whose folder below `root` was. Data that is not there has not changed."""
    try:
        files = [file for parts in locate_local(task, root).tables.values() for file in parts]
        return any(_written(file.path, root) > since and sha256_file(file.path) != known.get(file.part.name) for file in files)
    except (InputError, OSError):
        return False


def _written(path: Path, root: Path) -> float:
    """When the file, a folder on the way to it, or a link in the place of one of them was last written."""
    return max(each.lstat().st_ctime for each in (path.resolve(), path, *takewhile(lambda folder: folder != root, path.parents)))


def _find(task: TaskSpec, split: str, names: list[str], place: Path) -> tuple[Part, ...]:
    return find_parts(task, split, names, place=str(place), formats=LOCAL_FORMATS)


def _files(place: Path, parts: Sequence[Part], mirror: Mirror | None, first_used: Mapping[str, str]) -> tuple[DataFile, ...]:
    known = {name: file.sha256 for name, file in mirror.files.items()} if mirror else _below(place, first_used)
    return tuple(DataFile(part, place / part.name, str(place / part.name), known.get(part.name)) for part in parts)


def _also(task: TaskSpec, table: str, folder: Path) -> str:
    """Where else the judgements of a retrieval may lie."""
    return f", or {table}/{task.split}.tsv, or a folder {folder.name}-qrels beside it with {task.split}.parquet" if table == "qrels" else ""


def _below(place: Path, checksums: Mapping[str, str]) -> dict[str, str]:
    """The checksums of the files below a folder, by their paths from there."""
    start = f"{place.name}/"
    return {name.removeprefix(start): sha256 for name, sha256 in checksums.items() if name.startswith(start)}


def _fetch(task: TaskSpec, root: Path) -> str:
    return shell_command("fetch", f"data.root={root}", f"tasks={task.name}")


def find_folder(task: TaskSpec, root: Path) -> Path:
    """The folder of the task below `root`: its name on the card, the one that mteb 2 uses, or that of its repository on the hub, which may
    lie in a folder of its owner.

    Raises:
        InputError: there is none, or there are both.
    """
    names = dict.fromkeys([*task.names, task.hub.rpartition("/")[2], task.hub])
    folders = [root / name for name in names if (root / name).is_dir()]
    if len(folders) > 1:
        raise InputError(f"{task.name} has two folders, {folders[0]} and {folders[1]}: keep one of them")
    if not folders:
        present = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        places = [*(root / name for name in present), root.parent]
        near = next((place for place in places if any((place / name).is_dir() for name in names)), None)
        way_out = f"{near} has it: data.root={near}" if near else f"Fetch it: {_fetch(task, root)}"
        raise InputError(f"{task.name}: no folder {' or '.join(names)} in {root} (found {', '.join(present) or 'no folder'}). {way_out}")
    return folders[0]


def read_mirror(folder: Path) -> Mirror | None:
    """What `fetch` wrote into the folder; None where it did not make the folder.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / MIRROR
    if not path.exists():
        return None
    remedy = f"delete the folder {folder} and fetch the task again"
    found = read_typed(path, Mirror, what="mirror manifest", remedy=remedy, schema=_SCHEMA)
    if outside := [name for name in found.files if not is_inside(name)]:
        raise InputError(f"{path} names files outside of its folder ({few(outside)}): {remedy}")
    return found


def _names(folder: Path) -> list[str]:
    """The files that can hold a table."""
    return [name for name in _files_below(folder) if name.endswith((*LOCAL_FORMATS, ".tar.gz")) and Path(name).name != CHECKSUMS]


def _files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
