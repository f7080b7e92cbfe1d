"""Writing files so that a reader never sees half of one, whatever kills the writer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
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
    """A file that takes the name `path` only when the block ends well; flushed to the disk before it does.

    Raises:
        MachineError: the folder can't be made or written, or the disk is full; nothing is left behind.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
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


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _not_writable(path: Path, error: OSError) -> MachineError:
    return MachineError(f"can't write {path}: {error.strerror or error}. Free the disk, mend its permissions, or name another folder.")
