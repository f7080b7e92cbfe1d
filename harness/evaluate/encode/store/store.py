"""Vectors kept on disk under the name of what they are: computed once, found by any task, run, `max_len`, dimension or process.

    <store>/<setting>/setting.json            what decides the bits: model, weights, dtype, device, kernels (`Fingerprint.digest`)
    <store>/<setting>/<sha256>.safetensors    a shard: keys and raw vectors, full dimension, in the model's dtype
    <store>/<setting>/<sha256>.proof          the same of the canary's texts: what whoever fills or reads the setting must make, too
    <store>/<setting>/<sha256>.texts          which token ids texts have, so that none of them is tokenised again (`texts`)

Shards are only ever added, each under a temporary name and then renamed: any number of processes may read and write, and a kill loses at
most the shard that was being written. All of them have a kernel lock on the setting's folder, so that no prune takes it from them. A shard
is checked against its name before a vector of it is used; a damaged one is renamed and named in the output, and its vectors are computed
again.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import InputError
from harness.core.files import abandoned
from harness.core.spec import Dtype
from harness.evaluate.encode.store.shards import DAMAGED, PROOF, SUFFIX, TEXTS, DamagedShardError, open_shard
from harness.evaluate.encode.store.stored import (
    SETTING,
    SettingReader,
    StoredVectors,
    delete_files,
    read_about,
    refuse_other_setting,
    tell_damaged,
)
from harness.evaluate.encode.store.texts import ROW


@dataclass(frozen=True, kw_only=True)
class SettingInfo:
    """One setting's vectors. `about`: what `setting.json` says. `used`: when it was last opened, seconds since the epoch."""

    name: str
    about: Mapping[str, Any]
    vectors: int
    shards: int
    damaged: int
    bytes: int
    used: float


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What `VectorStore.prune` took away. `in_use`: settings that it left because a run has them open."""

    settings: tuple[str, ...]
    in_use: tuple[str, ...]
    leftovers: int
    bytes: int


class VectorStore:
    """A folder of vectors; each setting is opened once. Nothing is written before the first vector is there.

    `required`: whether a folder that can't be written is an error; else what can't be kept is computed again another time.
    """

    def __init__(self, path: Path, *, required: bool = True) -> None:
        self.path = path
        self._required = required
        self._opened: dict[str, StoredVectors] = {}

    def open(self, digest: str, *, dim: int, dtype: Dtype, about: Mapping[str, Any]) -> StoredVectors:
        """The vectors of the setting that `digest` names; `about` describes it to whoever looks into the store.

        Raises:
            InputError: the folder holds another setting under this name.
        """
        if digest not in self._opened:
            full = {**about, "digest": digest, "dim": dim, "dtype": dtype}
            self._opened[digest] = StoredVectors(self.path / digest[:32], dim=dim, dtype=dtype, about=full, required=self._required)
        return self._opened[digest]

    def look(self, digest: str, *, dim: int, dtype: Dtype) -> SettingReader:
        """What the setting has, for whoever only wants to know: nothing is written, renamed or touched. `dim` and `dtype`: of its
        vectors where their description is lost.

        Raises:
            InputError: the folder holds another setting under this name, or its description is damaged.
        """
        folder = self.path / digest[:32]
        with contextlib.suppress(FileNotFoundError):
            refuse_other_setting(folder, digest)
            about = read_about(folder)
            dim, dtype = int(about["dim"]), about["dtype"]
        return SettingReader(folder, dim=dim, dtype=dtype)

    def info(self) -> list[SettingInfo]:
        """What is stored, by setting, the latest used first; settings that are `undescribed` are left out."""
        return sorted(self._infos(), key=lambda setting: setting.used, reverse=True)

    def undescribed(self) -> list[str]:
        """Why a setting is in none of the other lists: its `setting.json` is damaged, or nobody may open it."""
        return [why for why in map(_damage, self._all_folders()) if why]

    def verify(self) -> list[Path]:
        """Reads every shard of any kind, and sets aside the damaged ones, which are returned; as far as settings are described."""
        damaged = []
        for info in self._infos():
            folder, about = self.path / info.name, info.about
            for path in sorted(path for suffix in (SUFFIX, PROOF, TEXTS) for path in folder.glob(f"*{suffix}")):
                dim, dtype = ROW if path.suffix == TEXTS else (int(about["dim"]), about["dtype"])
                try:
                    open_shard(path, dim=dim, dtype=dtype)[0].verify()
                except DamagedShardError as error:
                    tell_damaged(path, error)
                    damaged.append(path)
        return damaged

    def prune(self, *, model: str | None = None, unused_days: float | None = None) -> Pruned:
        """Deletes damaged shards, temporary files that a kill left, and the settings of `model` not opened for `unused_days`.

        A setting goes when it meets every condition that is given; without a condition none goes, and none that a run has open.

        Raises:
            MachineError: a file can't be deleted.
        """
        settings, in_use, leftovers, size = [], [], 0, 0
        oldest = time.time() - 86400 * (unused_days or 0)
        for info in self._infos():
            folder = self.path / info.name
            matches = (model is None or info.about.get("model") == model) and (unused_days is None or info.used < oldest)
            if matches and (model is not None or unused_days is not None):
                in_use.append(info.name)
                for free in abandoned(self.path, info.name):
                    settings.append(in_use.pop())
                    size += delete_files(sorted(filter(_own_file, free.glob("*")), key=_last_needed))
                    with contextlib.suppress(OSError):  # with a file of somebody else in it, it stays
                        free.rmdir()
                continue
            for path in itertools.chain(folder.glob(f"*{DAMAGED}"), abandoned(folder, ".*.tmp")):
                leftovers += 1
                size += delete_files([path])
        return Pruned(settings=tuple(settings), in_use=tuple(in_use), leftovers=leftovers, bytes=size)

    def _infos(self) -> Iterator[SettingInfo]:
        for folder in self._all_folders():
            if _damage(folder) is None:
                with contextlib.suppress(FileNotFoundError):  # another prune took it
                    yield _info(folder)

    def _all_folders(self) -> list[Path]:
        folders = (path for path in self.path.glob("*") if path.is_dir())
        return sorted(path for path in folders if not os.access(path, os.R_OK | os.X_OK, effective_ids=True) or (path / SETTING).exists())


_KINDS = (SUFFIX, PROOF, TEXTS, DAMAGED, ".tmp", SETTING)


def _damage(folder: Path) -> str | None:
    """Why a setting's description can't be read; empty where another prune took it."""
    try:
        read_about(folder)
    except FileNotFoundError:
        return ""
    except InputError as error:
        return str(error)
    return None


def _own_file(path: Path) -> bool:
    return path.name.endswith(_KINDS) and path.is_file()


def _last_needed(path: Path) -> int:
    """Shards go before the proofs that they are believed by, and those before what names the setting: a prune can be killed."""
    return 1 if path.name.endswith(PROOF) else 2 if path.name == SETTING else 0


def _info(folder: Path) -> SettingInfo:
    about = read_about(folder)
    shards, vectors = 0, 0
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(DamagedShardError):
            vectors += open_shard(path, dim=int(about["dim"]), dtype=about["dtype"])[0].count
            shards += 1
    files = [path for path in folder.iterdir() if path.is_file()]
    return SettingInfo(
        name=folder.name,
        about=about,
        vectors=vectors,
        shards=shards,
        damaged=sum(path.name.endswith(DAMAGED) for path in files),
        bytes=sum(path.stat().st_size for path in files),
        used=(folder / SETTING).stat().st_mtime,
    )
