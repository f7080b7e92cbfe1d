"""The kinds of errors, by who can fix them; each has the exit code of the command line.

HarnessError            1  the base: a run that could not finish
├── RequestError        2  the request is wrong: unknown name, impossible value, a run that is already going on
├── InputError          1  the inputs are not the pinned ones: data, weights or result files missing, damaged, foreign
├── MachineError        1  the machine can't do what was asked: device, memory, disk, hub out of reach
├── EncodingError       1  the model returned vectors with NaN or infinities, so no score is computed
├── CanaryError         1  before a run: the model does not encode the canary's texts as it should
└── DriftError          3  scores are not the expected ones

Every message says what was found, what was expected, and the setting or command that fixes it.
"""

import difflib
from collections.abc import Iterable
from pathlib import Path


class HarnessError(Exception):
    """Base class; `exit_code` is what `python -m harness` returns for it."""

    exit_code = 1


class RequestError(HarnessError):
    """The request is wrong, whatever machine it runs on."""

    exit_code = 2


class InputError(HarnessError):
    """Data, weights or result files are missing, damaged, or not the ones that are pinned."""


class MachineError(HarnessError):
    """This machine can't do what was asked."""


class EncodingError(HarnessError):
    """The model returned a vector with NaN or infinities, so no score is computed."""


class CanaryError(HarnessError):
    """The model, as loaded on this machine, does not encode as it should; no text of the benchmark was encoded."""


class DriftError(HarnessError):
    """Scores differ from the expected ones."""

    exit_code = 3


def described(error: BaseException) -> str:
    """An error in a line: its message, after the name of its type where it is none of ours."""
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


def unread(path: Path, error: BaseException | None) -> str:
    """The message for a file that is there and that the system does not give, for want of permissions or of a sound disk; empty for any
    other error. Such a file may be sound, so nobody is told to delete it.
    """
    if not isinstance(error, OSError) or not error.errno or isinstance(error, (FileNotFoundError, IsADirectoryError)):
        return ""
    return f"{path} can't be read ({error.strerror}): correct its permissions, or restore it"


_FEW = 12  # names that are listed beside the close ones
_LONGEST = 200  # characters of an unknown name


def unknown(kind: str, found: str, known: Iterable[str], *, listed_by: str = "") -> str:
    """The message for a name that is not among the `known` ones, closest first: `unknown task 'X': did you mean ...`.

    The known ones are listed where nothing is close, or where they are few; `listed_by`: a command that lists them, where they are many.
    """
    choices = list(known)
    close = difflib.get_close_matches(found, choices, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else ""
    listing = f"Known: {', '.join(choices)}" if not close or len(choices) <= _FEW else ""
    listing = f"`{listed_by}` lists what is known" if listed_by and not close else listing
    return f"unknown {kind} {found[:_LONGEST]!r}: {' '.join(filter(None, (hint, listing)))}"
