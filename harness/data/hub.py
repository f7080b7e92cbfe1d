"""`data=hub`: the pinned revisions through huggingface_hub, into its own cache; no loading script is run.

`HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE` and `HF_HUB_OFFLINE` are read when a function is called.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.file_download import repo_folder_name

from harness.core.errors import HarnessError, InputError, MachineError
from harness.core.formatting import few, without_passwords
from harness.core.records import Provenance
from harness.core.tasks import Repository, TaskSpec
from harness.data.layout import Part, find_parts, find_ranked, is_unnumbered
from harness.data.loading import TaskFiles
from harness.data.tables import DataFile

Parts = Mapping[str, tuple[Part, ...]]

_MAIN = "main"
_TIMEOUT = 10.0
_PROBE = "C-MTEB/AFQMC"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRUE = {"1", "ON", "YES", "TRUE"}
_SHOWN = 8
_HTTP_ERROR: type[Exception] = HfHubHTTPError.__bases__[0]  # the base of whatever HTTP library this huggingface_hub uses


@dataclass(frozen=True)
class HubSettings:
    """What the environment says of the hub: the address, the cache folder, and whether the network may be used."""

    endpoint: str
    cache: Path
    offline: bool

    @property
    def address(self) -> str:
        """The endpoint as messages show it: without a user and a password."""
        return without_passwords(self.endpoint)


@dataclass(frozen=True)
class HubStatus:
    """Whether the hub answers; `detail` says how, or why not."""

    settings: HubSettings
    reachable: bool
    detail: str


class _PasswordFilter(logging.Filter):
    """Takes passwords out of what the library logs: it logs the addresses that it failed at."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_passwords(record.getMessage()), ()
        return True


def hide_passwords() -> None:
    """Let no password of `HF_ENDPOINT` stand in what the library writes to stderr."""
    for handler in logging.getLogger("huggingface_hub").handlers:
        if not any(isinstance(each, _PasswordFilter) for each in handler.filters):
            handler.addFilter(_PasswordFilter())


def hub_settings() -> HubSettings:
    """The hub as the environment of this moment has it."""
    hide_passwords()
    environment = os.environ
    home = environment.get("HF_HOME")
    cache = environment.get("HF_HUB_CACHE") or (str(Path(home) / "hub") if home else constants.HF_HUB_CACHE)
    offline = environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
    return HubSettings(
        endpoint=(environment.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/"),
        cache=Path(os.path.expandvars(cache)).expanduser().resolve(),
        offline=offline.upper() in _TRUE or constants.HF_HUB_OFFLINE,
    )


def hub_status() -> HubStatus:
    """Whether the hub answers within 3 seconds; never raises for a hub that doesn't."""
    settings = hub_settings()
    if settings.offline:
        return HubStatus(settings, False, "offline mode (HF_HUB_OFFLINE)")
    try:
        HfApi(endpoint=settings.endpoint).dataset_info(_PROBE, timeout=3.0)
    except RepositoryNotFoundError:
        return HubStatus(settings, True, f"answers, but does not know {_PROBE}")
    except (_HTTP_ERROR, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return HubStatus(settings, False, _reason(error))
    return HubStatus(settings, True, "answers")


def resolve_commit(repository: str, revision: str | None, settings: HubSettings) -> str:
    """The commit that a branch, tag or (None) the default branch points at; in offline mode, the one that the cache has for it.

    Raises:
        InputError: the hub has no such repository or revision.
        MachineError: the hub does not answer, or offline mode is on and the cache does not know.
    """
    if not settings.offline:
        return _list_repository(repository, revision or _MAIN, settings)[0]
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    reference = cache_folder(repository, settings) / "refs" / (revision or _MAIN)
    if not reference.is_file():
        raise _offline(f"which commit {repository} is at", settings)
    return reference.read_text(encoding="utf-8").strip()


def locate_hub(task: TaskSpec) -> TaskFiles:
    """The task's files in the cache, downloaded where they are not there yet, always at a known commit.

    The pinned revision is read where it holds the tables in files that can be read, else the task's substitute, and the record says so.
    A pinned commit never changes, so files of it that the cache has are used without asking the hub, but where their names do not say how
    many there are (`0000.parquet`): then the hub is asked for its list, and the record says so where it can't be.

    Raises:
        InputError: the hub has no such repository or revision, or no readable file in it.
        MachineError: the hub can't be reached or broke off, or offline mode is on and the cache lacks a file.
    """
    return _locate(task, hub_settings())


def locate_cached(task: TaskSpec) -> TaskFiles:
    """The task's files where the cache has all of them; the hub is not asked. Raises as `locate_hub` does in offline mode."""
    return _locate(task, replace(hub_settings(), offline=True))


def _locate(task: TaskSpec, settings: HubSettings) -> TaskFiles:
    splits = {table: table for table in task.tables if table != "qrels"}
    read = Repository(task.hub, task.revision)
    notes: tuple[str, ...] = ()
    parts, names, unsure = _find(task, task.hub, task.revision, splits, settings)
    if parts is None and task.substitute is not None:
        read = task.substitute
        notes = (f"read {read.hub}@{read.revision} in place of {task.hub}@{task.revision}, which has no file that can be read",)
        parts, names, unsure = _find(task, read.hub, _pinned(read), splits, settings)
    if parts is None:
        raise _unreadable(task, splits.values(), f"{read.hub}@{read.revision}", names, settings)
    commit = _pinned(read)
    tables = {table: _download(read.hub, commit, commit, found, settings) for table, found in parts.items()}
    qrels_commit = None
    if task.qrels is not None:
        qrels_commit, tables["qrels"], more = _locate_qrels(task, task.qrels, settings)
        unsure += more
    return TaskFiles(
        tables=tables,
        provenance=Provenance(
            source="hub",
            repository=read.hub,
            revision=commit,
            qrels_revision=qrels_commit,
            substituted=bool(notes),
            notes=notes + unsure,
        ),
        remedy=f"If the file is damaged, delete {cache_folder(read.hub, settings)} and run again",
        again=None if settings.offline else lambda path: _fetch_again(task, path, settings),
    )


def _fetch_again(task: TaskSpec, damaged: Path, settings: HubSettings) -> TaskFiles:
    """The task's files, one of them downloaded anew: its bytes are deleted before, and the link to them stays: the commit has it."""
    try:
        (damaged.parent / damaged.readlink()).unlink(missing_ok=True)
    except OSError as error:
        raise MachineError(f"{damaged} is damaged and can't be deleted ({error.strerror or error}): delete it and run again") from error
    return _locate(task, settings)


def _locate_qrels(task: TaskSpec, qrels: Repository, settings: HubSettings) -> tuple[str, tuple[DataFile, ...], tuple[str, ...]]:
    """The commit of the judgements, their files, and the note of `_find`. Asked for by branch where nobody pinned a commit, so that the
    cache remembers which.
    """
    commit = qrels.revision or resolve_commit(qrels.hub, None, settings)
    parts, names, unsure = _find(task, qrels.hub, commit, {"qrels": task.split}, settings)
    if parts is None:
        raise _unreadable(task, [task.split], f"{qrels.hub}@{commit}", names, settings)
    return commit, _download(qrels.hub, qrels.revision or _MAIN, commit, parts["qrels"], settings), unsure


def _unreadable(task: TaskSpec, splits: Iterable[str], place: str, names: Sequence[str], settings: HubSettings) -> HarnessError:
    """The error for a repository of the task in which no file of a split can be read; `names`: the files that it has."""
    if settings.offline:
        return _offline(f"{place} ({task.name})", settings)
    return InputError(
        f"{task.name}: no readable file for {', '.join(splits)} in {place} (found {few(names, _SHOWN) or 'nothing'}); loading scripts are "
        "never run. Put the tables into a folder as JSON lines or Parquet: data=local data.root=DIR"
    )


def _pinned(repository: Repository) -> str:
    if repository.revision is None or not _COMMIT.fullmatch(repository.revision):
        raise InputError(f"{repository.hub} has no pinned revision (found {repository.revision}): name a commit in the benchmark table")
    return repository.revision


def _find(
    task: TaskSpec, repository: str, commit: str, splits: Mapping[str, str], settings: HubSettings
) -> tuple[Parts | None, list[str], tuple[str, ...]]:
    """The parts of the tables, first among what the cache has; None when the commit does not have them all. The names looked at. And a note
    where nothing says whether the files that the cache has are all."""
    snapshot = cache_folder(repository, settings) / "snapshots" / commit
    held = (path for path in snapshot.rglob("*") if path.is_file() or path.is_symlink()) if snapshot.is_dir() else ()
    cached = sorted(path.relative_to(snapshot).as_posix() for path in held)
    place = f"{repository}@{commit[:8]}"
    try:
        parts = _parts(task, splits, cached, place)
    except InputError:  # the cache has some shards of a table
        parts = dict.fromkeys(splits, ())
    whole = all(parts.values())
    unnumbered = [part.name for table in parts.values() for part in table if is_unnumbered(part)]
    if whole and not unnumbered:
        return parts, cached, ()
    if not settings.offline:
        try:
            _, names = _list_repository(repository, commit, settings)
        except HarnessError:  # out of reach, or gone from the hub since
            if not whole:
                raise
        else:
            parts = _parts(task, splits, names, place)
            return (parts if all(parts.values()) else None), names, ()
    unsure = f"{place}: the hub could not be asked whether {few(unnumbered)} are all files, and no figures of the task are known"
    return (parts if whole else None), cached, () if task.statistics else (unsure,)


def _parts(task: TaskSpec, splits: Mapping[str, str], names: list[str], place: str) -> Parts:
    """The parts of the tables; the judgements of a Retrieval may lie in a folder of their own beside its other tables."""
    if ranked := find_ranked(task, names, place=place):
        return ranked
    parts = {table: find_parts(task, split, names, place=place) for table, split in splits.items()}
    if "qrels" in parts:
        parts["qrels"] = parts["qrels"] or find_parts(task, "qrels", names, place=place)
    return parts


def _list_repository(repository: str, revision: str, settings: HubSettings) -> tuple[str, list[str]]:
    """The commit of a revision and the names of its files, from the hub."""
    api = HfApi(endpoint=settings.endpoint)
    with _hub_errors(repository, revision, settings):
        info = api.dataset_info(repository, revision=revision, timeout=_TIMEOUT)
        names = [sibling.rfilename for sibling in info.siblings or ()]
        if info.sha is None or not _COMMIT.fullmatch(info.sha) or not all(isinstance(name, str) for name in names):
            raise ValueError("the answer names no commit, or a file name is not text")
        return info.sha, sorted(names)


def _download(repository: str, revision: str, commit: str, parts: Sequence[Part], settings: HubSettings) -> tuple[DataFile, ...]:
    """The last part first: where a download breaks off, the cache lacks the first one, and is never taken for the whole table."""
    return tuple(reversed([_download_part(repository, revision, commit, part, settings) for part in reversed(parts)]))


def _download_part(repository: str, revision: str, commit: str, part: Part, settings: HubSettings) -> DataFile:
    with _hub_errors(repository, revision, settings):
        found = hf_hub_download(
            repository,
            part.name,
            repo_type="dataset",
            revision=revision,
            cache_dir=settings.cache,
            endpoint=settings.endpoint,
            local_files_only=settings.offline,
        )
    path = Path(found)
    expected = cache_folder(repository, settings) / "snapshots" / commit / part.name
    if path != expected:
        raise MachineError(f"{repository} moved away from commit {commit} while it was read: run again")
    return DataFile(part, path, f"{repository}@{commit[:8]}/{part.name}", _stated_sha256(path))


def _stated_sha256(path: Path) -> str | None:
    """What the hub said of the bytes: the cache links to `blobs/<sha256>` for large files (which may be a link into a store of its own)."""
    blob = path.readlink().name if path.is_symlink() else ""
    return blob if _SHA256.fullmatch(blob) else None


def cache_folder(repository: str, settings: HubSettings) -> Path:
    """Where the hub's cache has the snapshots of a data repository."""
    return settings.cache / repo_folder_name(repo_id=repository, repo_type="dataset")


@contextmanager
def _hub_errors(repository: str, revision: str, settings: HubSettings) -> Iterator[None]:
    """The library's errors as the kinds of errors of this package."""
    at = f"{repository}@{revision}"
    try:
        yield
    except RevisionNotFoundError as error:
        raise InputError(f"the hub at {settings.address} has {repository}, but no revision {revision} of it. {_ways_out()}") from error
    except RepositoryNotFoundError as error:
        found = f"no repository {repository} (or you have no access: set HF_TOKEN)"
        raise InputError(f"the hub at {settings.address} has {found}. {_ways_out()}") from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        if settings.offline or isinstance(error, OfflineModeIsEnabled):
            raise _offline(at, settings) from error
        raise MachineError(f"can't get {at} from {settings.address} ({_reason(error.__cause__ or error)}). {_ways_out()}") from error
    except EntryNotFoundError as error:
        raise InputError(f"the hub at {settings.address} has no such file in {at} ({_reason(error)}). {_ways_out()}") from error
    except (_HTTP_ERROR, OSError, XetDownloadError, RuntimeError) as error:
        raise MachineError(f"can't get {at} from {settings.address} ({_reason(error)}). {_ways_out()}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MachineError(f"{settings.address} does not answer as a hub does ({_reason(error)}). {_ways_out()}") from error


def _offline(what: str, settings: HubSettings) -> MachineError:
    return MachineError(
        f"offline mode is on (HF_HUB_OFFLINE) and the cache {settings.cache} does not have {what}. Unset HF_HUB_OFFLINE, or name the cache "
        f"that has it (HF_HOME). {_ways_out()}"
    )


def _ways_out() -> str:
    return (
        "Ways out: run again (what was downloaded is kept), HF_ENDPOINT=URL for another hub, or fetch where there is network "
        "(python -m harness fetch data.root=DIR) and read that here with data=local data.root=DIR"
    )


def _reason(error: BaseException) -> str:
    text = without_passwords(" ".join(str(error).split()).split(" For more information")[0])
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
