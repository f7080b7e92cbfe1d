"""Writing files so that a reader never sees half of one, whatever kills the writer."""

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO, Any

from harness.core.errors import MachineError

FOLDER_NAME = re.compile(r"\w[\w.+-]*")
"""What a name must be, in full, to become the name of a file or folder: no path, and nothing hidden."""


def is_inside(name: str) -> bool:
    """Whether a relative path that a file states stays in the folder of that file."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the name `path` only when the block ends well; flushed to the disk before it does. What killed writers of this file
    left is deleted.

    Raises:
        MachineError: the folder can't be made or written, or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in abandoned(path.parent, f".{glob.escape(path.name)}.*.tmp"):
            left.unlink()
        handle, temporary = _held(lambda: tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
    except OSError as error:
        raise _not_writable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            usual_mode(Path(temporary), 0o666)  # mkstemp makes files for the owner alone
            Path(temporary).replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _not_writable(path, error) from error
        raise


@contextlib.contextmanager
def scratch_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder of this process for the time of the block; those that killed processes left are deleted.

    Raises:
        OSError: the folder can't be made.
    """
    delete_abandoned(parent, prefix)

    def make() -> tuple[int, str]:
        made = tempfile.mkdtemp(prefix=prefix, dir=parent)
        return os.open(made, os.O_RDONLY), made

    handle, made = _held(make)
    try:
        yield Path(made)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(handle)


def delete_abandoned(parent: Path, prefix: str) -> None:
    """Delete the folders that `scratch_folder` made with this prefix in processes that were killed."""
    for left in abandoned_folders(parent, prefix):
        shutil.rmtree(left, ignore_errors=True)


def abandoned_folders(parent: Path, prefix: str) -> Iterator[Path]:
    """Those that `scratch_folder` made with this prefix, and no longer one, in processes that were killed."""
    return abandoned(parent, f"{glob.escape(prefix)}{'?' * 8}")


def abandoned(folder: Path, pattern: str) -> Iterator[Path]:
    """Temporary files and folders whose writer has ended: the kernel ends its lock with it. Where a file system has no locks, those that
    are an hour old. Nobody else has such a path while it is looked at.
    """
    for path in folder.glob(pattern):
        try:
            handle = os.open(path, (os.O_RDONLY if path.is_dir() else os.O_RDWR) | os.O_NOFOLLOW)
        except OSError:  # another process was faster, or it is somebody else's
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
        except BlockingIOError:
            continue
        except OSError:
            if time.time() - os.fstat(handle).st_mtime > _NO_WRITER:
                yield path
        finally:
            os.close(handle)


_NO_WRITER = 3600.0  # seconds


def _held(make: Callable[[], tuple[int, str]]) -> tuple[int, str]:
    """What `make` made, locked until it is closed; made again where another process took it for abandoned before it was locked."""
    while True:
        handle, made = make()
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if Path(made).exists():
            return handle, made
        os.close(handle)


def usual_mode(path: Path, mode: int) -> None:
    """Give a file or folder the mode, less what the user's umask takes away."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON with sorted keys, atomically. NaN and infinities are refused (ValueError): no score is one."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    with atomic_write(path) as stream:
        stream.write(text.encode() + b"\n")


def open_regular(path: Path) -> BufferedReader:
    """The file, opened to read its bytes.

    Raises:
        OSError: it can't be opened, or is none: a reader of a named pipe would wait for a writer, one of a device never end.
    """
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115  pathlib has no opener
    _refuse_other_kinds(stream, path)
    return stream


def open_to_append(path: Path) -> IO[bytes]:
    """The file, made where there is none, opened to write at its end; raises OSError as `open_regular` does."""
    both = os.O_RDWR | os.O_NONBLOCK  # a pipe that nobody reads could not be opened to write alone
    stream = open(path, "ab", opener=lambda name, flags: os.open(name, flags & ~os.O_WRONLY | both, 0o666))  # noqa: SIM115
    _refuse_other_kinds(stream, path)
    return stream


def _refuse_other_kinds(stream: IO[bytes], path: Path) -> None:
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise OSError(errno.EINVAL, "it is no file, but a named pipe or a device", str(path))


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal; raises OSError as `open_regular` does."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_lfs_pointer(path: Path) -> bool:
    """Whether Git LFS left a pointer where the file belongs, as in a clone without it; raises OSError as `open_regular` does."""
    with open_regular(path) as stream:
        return stream.read(len(_LFS_POINTER)) == _LFS_POINTER


_LFS_POINTER = b"version https://git-lfs"


def _not_writable(path: Path, error: OSError) -> MachineError:
    if path.is_dir():
        return MachineError(f"can't write {path}: it is a folder, name a file")
    return MachineError(f"can't write {path}: {error.strerror or error}. Free disk space, correct its permissions, or name another folder")
