"""Writing to stdout and stderr, and what to do where that fails."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from harness.core.errors import MachineError


@contextlib.contextmanager
def writing(stream: TextIO | None = None) -> Iterator[TextIO]:
    """The stream (stdout unless another is given), to be written in the block; it is flushed at its end.

    Raises:
        MachineError: the stream can't take what was written, for want of space or of the characters. A reader that has gone is left a
            BrokenPipeError.
    """
    stream = stream or sys.stdout
    name = "stderr" if stream is sys.stderr else "stdout"
    try:
        yield stream
        stream.flush()
    except BrokenPipeError:
        raise
    except UnicodeEncodeError as error:
        character = error.object[error.start]
        raise MachineError(
            f"{name} can't take {character!r}: its encoding is {error.encoding}. Set PYTHONIOENCODING=utf-8, or a locale of UTF-8"
        ) from error
    except OSError as error:
        forget(stream)
        raise MachineError(f"can't write to {name} ({error.strerror or error}): write it to another place, or make room there") from error


def open_closed() -> None:
    """Let a standard stream that was closed before the start (`>&-`) go nowhere. Its number would be that of the next file that is opened,
    and what a library prints would end in that file.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115  until the process ends


def forget(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere, so that Python does not try to write it once more when it ends."""
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
