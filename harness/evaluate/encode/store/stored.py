"""The vectors of one setting in a store: looked up by name, read, put, and compared with what an encoder makes."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from harness.core.errors import InputError, MachineError, unread
from harness.core.files import abandoned, open_regular, write_json
from harness.core.spec import Dtype
from harness.core.typed import parse
from harness.evaluate.encode.device import TORCH_DTYPE
from harness.evaluate.encode.store.index import Index
from harness.evaluate.encode.store.shards import DAMAGED, PROOF, SUFFIX, DamagedShardError, Keys, Shard, open_shard, set_aside, write_shard

SETTING = "setting.json"

_SHARD_BYTES = 64 * 2**20
_SHARDS_WAITING = 2  # in memory, where the disk is slower than the model
_SHARD_SECONDS = 60.0  # a slow device writes smaller shards rather than lose more than this


log = logging.getLogger(__name__)

Other = Callable[[torch.Tensor, npt.NDArray[np.bool_]], torch.Tensor]


class SettingReader:
    """The vectors of one setting, read: nothing is written, renamed or touched, and no prune takes it.

    `suffix`: `PROOF` for the canary's. `damaged`: the shards that are left out, as far as they were looked at, and why.
    """

    def __init__(self, folder: Path, *, dim: int, dtype: Dtype, suffix: str = SUFFIX) -> None:
        self.folder = folder
        self.damaged: dict[Path, DamagedShardError] = {}
        self._dim, self._dtype, self._suffix = dim, dtype, suffix
        self._shards: list[Shard] = []
        self._known: set[str] = set()
        self._verified: set[Path] = set()
        self._index = Index()
        self._locked = self._lock()
        self.refresh()

    @property
    def empty(self) -> bool:
        """Whether there is no vector, as far as the shards were looked at."""
        return all(shard.path in self.damaged for shard in self._shards)

    def refresh(self) -> None:
        """Takes notice of shards that were written since, by this process or others."""
        for path in sorted(self.folder.glob(f"*{self._suffix}")):
            if path.name in self._known:
                continue
            self._known.add(path.name)
            try:
                shard, keys = open_shard(path, dim=self._dim, dtype=self._dtype)
            except DamagedShardError as error:
                self._leave_out(path, error)
                continue
            self._index.add(keys, len(self._shards))
            self._shards.append(shard)

    def verify(self) -> None:
        """Reads every shard; those that are damaged are left out."""
        for number in range(len(self._shards)):
            self._opened(number)

    def contains(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Which of the keys [n, 16] have a vector; the shards that have them are read and checked, once each."""
        numbers, _ = self._index.find(keys)
        for number in np.unique(numbers[numbers >= 0]).tolist():
            if self._shards[number].path not in self._verified and self._opened(number) is None:
                numbers[numbers == number] = -1
        found: npt.NDArray[np.bool_] = numbers >= 0
        return found

    def get(self, keys: Keys) -> tuple[npt.NDArray[np.bool_], torch.Tensor]:
        """Which of the keys [n, 16] were found [n], and their vectors [found.sum(), dim] in the order of the keys; of few keys."""
        vectors = torch.empty(len(keys), self._dim, dtype=TORCH_DTYPE[self._dtype])
        found = self.fill(vectors, np.arange(len(keys)), keys)
        return found, vectors if found.all() else vectors[torch.from_numpy(found)]

    def fill(self, vectors: torch.Tensor, rows: npt.NDArray[np.int64], keys: Keys) -> npt.NDArray[np.bool_]:
        """Writes the vector of each key [n, 16] that is found into its row [n] of `vectors` [any, dim]; which were found [n].

        Shards are checked before they are read. One that is damaged is left out, and its keys are not found.
        """
        numbers, places = self._index.find(keys)
        for number in np.unique(numbers[numbers >= 0]).tolist():
            mine = np.flatnonzero(numbers == number)
            if (opened := self._opened(number)) is None:
                numbers[mine] = -1
            else:
                vectors[torch.from_numpy(rows[mine])] = opened.index_select(0, torch.from_numpy(places[mine]))
        found: npt.NDArray[np.bool_] = numbers >= 0
        return found

    def _opened(self, number: int) -> torch.Tensor | None:
        """The vectors of a shard, which is checked when it is first read; None where it is damaged, or gone: it is not found any more."""
        shard = self._shards[number]
        try:
            if shard.path not in self._verified:
                shard.verify()
                self._verified.add(shard.path)
            return shard.vectors()
        except DamagedShardError as error:
            self._leave_out(shard.path, error)
            self._index.forget(number)
            return None

    def _lock(self) -> bool:
        """Holds the folder, beside others, as long as this object lives, so that no prune takes it; False without one or without locks."""
        with contextlib.suppress(OSError):
            while True:
                handle = os.open(self.folder, os.O_RDONLY)
                close = weakref.finalize(self, os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_SH)
                if self.folder.stat().st_ino == os.fstat(handle).st_ino:
                    return True
                close()  # a prune took it, and another process made it anew
        return False

    def _leave_out(self, path: Path, error: DamagedShardError) -> None:
        self.damaged[path] = error


class SettingKeeper(SettingReader):
    """The same for whoever writes there: a damaged shard is set aside, named in the output, and found again when it was written anew."""

    def _leave_out(self, path: Path, error: DamagedShardError) -> None:
        tell_damaged(path, error)
        if not path.exists():
            self._known.discard(path.name)  # the same rows, written anew, have the same name
            self._verified.discard(path)


class StoredVectors(SettingKeeper):
    """The vectors of one setting: get what is there, put what is not. For one thread; other processes may write the same folder."""

    def __init__(self, folder: Path, *, dim: int, dtype: Dtype, about: Mapping[str, Any], required: bool = True) -> None:
        self._required = required
        self._given_up = False
        self._about = about
        self._pending: list[tuple[Keys, torch.Tensor]] = []
        self._pending_bytes = 0
        self._pending_since = 0.0
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._writes: list[Future[Path]] = []
        self._proof: tuple[Keys, torch.Tensor] | None = None
        setting = folder / SETTING
        with contextlib.suppress(FileNotFoundError):  # nobody has filled it
            refuse_other_setting(folder, about["digest"])
            with contextlib.suppress(OSError):  # of another user, or on a disk that is read alone
                os.utime(setting)  # `info` and `prune` go by when a setting was last used
            with contextlib.suppress(MachineError):
                for path in abandoned(folder, ".*.tmp"):
                    delete_files([path])
        super().__init__(folder, dim=dim, dtype=dtype)
        if self._shards and not setting.is_file():
            with contextlib.suppress(MachineError):
                self._describe()

    def __enter__(self) -> StoredVectors:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """What was put is on disk after the block, also where it ends in an error or an interruption; raises as `flush` does."""
        with contextlib.suppress(MachineError) if kind else contextlib.nullcontext():
            self.flush()

    def put(self, keys: Keys, vectors: torch.Tensor) -> None:
        """Keeps vectors [n, dim] under keys [n, 16]; on disk when a shard is full or a minute old, and after `flush`.

        Raises:
            MachineError: an earlier shard of a store that is required could not be written.
        """
        if self._given_up:
            return
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending.append((keys, vectors))
        self._pending_bytes += vectors.nbytes
        with self._or_give_up():
            self._collect(at_most=_SHARDS_WAITING)
            if self._pending_bytes >= _SHARD_BYTES or time.monotonic() - self._pending_since > _SHARD_SECONDS:
                self._write()

    def prove(self, keys: Keys, vectors: torch.Tensor, *, other: Other | None = None) -> None:
        """Compare the canary's vectors [n, dim] with those that everyone made who filled this setting, and keep those of new keys.

        `other`: which of the kept vectors are not of the model that makes these, given them and the rows [n] that have one; those of
        other bits, unless it says otherwise.

        Raises:
            InputError: some are, or there are vectors here and nothing that they were proven by.
        """
        remedy = f"name another store=DIR, or delete these vectors: {self.folder}"
        proofs = SettingReader(self.folder, dim=self._dim, dtype=self._dtype, suffix=PROOF)
        proofs.verify()
        for path, why in proofs.damaged.items():
            if proofs.empty:
                raise InputError(unread(path, why.__cause__) or f"the vector store's proof {path} is damaged ({why}): {remedy}") from why
            tell_damaged(path, why)  # the others prove the store
        if self._shards and proofs.empty:  # of other batch shapes, which have other keys, none is known and all may be well
            raise InputError(f"the vector store has vectors of this setting and none of the canary's to prove them by: {remedy}")
        known, kept = proofs.get(keys)
        bits = (kept.view(torch.uint8) != vectors[torch.from_numpy(known)].view(torch.uint8)).any(dim=1)
        others = int((other(kept, known) if other else bits).sum())
        if others:
            raise InputError(
                f"the vector store was filled by a model, code or files that make other vectors: {others} of {known.sum()} texts of the "
                f"canary have other {'vectors' if other else 'bits'} there than here. If this installation is right, {remedy}"
            )
        if not known.all():
            fresh = np.flatnonzero(~known)
            fresh = fresh[np.unique(keys[fresh], axis=0, return_index=True)[1]]
            with self._or_give_up():
                self._describe()
                write_shard(self.folder, keys[fresh], vectors[torch.from_numpy(fresh)], self._dtype, suffix=PROOF)
        first = np.unique(keys, axis=0, return_index=True)[1]
        self._proof = keys[first], vectors[torch.from_numpy(first)]

    def flush(self) -> None:
        """Everything put so far is on disk when this returns, and found by `get`.

        Raises:
            MachineError: the folder of a store that is required can't be written.
        """
        with self._or_give_up():
            if self._pending:
                self._write()
            self._collect(at_most=0)
        self.refresh()

    def write_beside(self, keys: Keys, rows: torch.Tensor, *, suffix: str) -> None:
        """Keeps rows [n, any] of fp32 under keys [n, 16] in a shard of another kind, at once; not where the folder can't be written: a
        store that has every vector may be on a disk that is full or read alone."""
        if not self._given_up:
            with contextlib.suppress(MachineError):
                self._describe()
                write_shard(self.folder, keys, rows, "fp32", suffix=suffix)

    @contextlib.contextmanager
    def _or_give_up(self) -> Iterator[None]:
        """A store that can't be written and is not required keeps nothing from then on: a full disk costs the store, not the scores."""
        try:
            yield
        except MachineError as error:
            if self._required:
                raise
            self._given_up = True
            self._pending.clear()
            self._writes.clear()
            self._pending_bytes = 0
            log.warning("%s. The run goes on without the store, its vectors are not kept", error)

    def _write(self) -> None:
        keys = np.concatenate([keys for keys, _ in self._pending])
        vectors = torch.cat([vectors for _, vectors in self._pending])
        self._pending.clear()
        self._pending_bytes = 0
        self._describe()
        self._writes.append(self._writer.submit(write_shard, self.folder, keys, vectors, self._dtype))

    def _describe(self) -> None:
        described = (self.folder / SETTING).is_file()
        if not described or not self._locked:  # the folder is new, also where somebody deleted the one that was held
            with contextlib.suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
            self._locked = self._lock()
        if not described:
            write_json(self.folder / SETTING, self._about)
            if self._proof:  # a prune took it, and what this run writes next must be believed
                write_shard(self.folder, *self._proof, self._dtype, suffix=PROOF)

    def _collect(self, *, at_most: int) -> None:
        """Waits until no more than so many shards are being written, and raises what went wrong with the others."""
        while len(self._writes) > at_most or (self._writes and self._writes[0].done()):
            self._writes.pop(0).result()


def refuse_other_setting(folder: Path, digest: str) -> None:
    """Raise InputError where the folder's setting has another digest, FileNotFoundError where it has none."""
    if read_about(folder)["digest"] != digest:
        raise InputError(f"{folder} is of another setting: name another store=DIR")


def read_about(folder: Path) -> dict[str, Any]:
    """What `setting.json` says; raises InputError where it can't be read, FileNotFoundError where there is none."""
    path = folder / SETTING
    try:
        with open_regular(path) as stream:
            about = parse(stream.read())
        if about["dtype"] not in TORCH_DTYPE or int(about["dim"]) < 1 or not isinstance(about["digest"], str):
            raise ValueError("it has no digest, dim and dtype")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "delete this file alone. A run writes it again and finds every vector"
        raise InputError(unread(path, error) or f"{path} is damaged ({error}): {remedy}") from error
    return dict(about)


def tell_damaged(path: Path, error: DamagedShardError) -> None:
    """Set a damaged shard aside, and say so. One that can't be read here may be sound, and serve others: it is left where it is."""
    closed = isinstance(error.__cause__, OSError)
    aside = "left out" if closed or not set_aside(path) else f"renamed to {path.name}{DAMAGED}"
    what = "unreadable" if closed else "damaged"
    log.warning("%s shard of the vector store, %s; what was in it is computed again: %s (%s)", what, aside, path, error)


def delete_files(paths: list[Path]) -> int:
    """Bytes freed."""
    size = 0
    for path in paths:
        try:
            freed = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            raise MachineError(f"can't delete {path}: {error.strerror}. Correct the permissions of the store") from error
        size += freed
    return size
