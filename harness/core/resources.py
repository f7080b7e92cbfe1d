"""Where the files that ship with the package are: beside the package in a checkout, inside it in a wheel."""

import os
from pathlib import Path

from harness.core.errors import RequestError
from harness.core.formatting import shell_command

DATA_ENVIRONMENT = "CMTEB_DATA"
"""Where `data.root` comes from when it is not given."""

_PACKAGE = Path(__file__).resolve().parent.parent
_BUNDLED = _PACKAGE / "_bundled"  # pyproject.toml copies configs/ and the committed results there when it builds a wheel


def resource_dir(name: str) -> Path:
    """The folder `name` (`configs`, `results/published`, `results/expected`) as the wheel or the checkout has it."""
    bundled = _BUNDLED / name
    return bundled if bundled.is_dir() else _PACKAGE.parent / name


def config_names(group: str) -> list[str]:
    """The names that `<group>=` takes, from the files of `configs/<group>/`."""
    return sorted(path.stem for path in (resource_dir("configs") / group).glob("*.yaml"))


def lock_file() -> Path:
    """The exact versions that everything is tested with."""
    bundled = _BUNDLED / "requirements.lock"
    return bundled if bundled.is_file() else _PACKAGE.parent / "requirements.lock"


SAMPLE_DIR = _PACKAGE / "sample"
"""The embedded sample: `data/<Task>/...` and `model/`, written by `scripts/make_sample.py`."""


def data_root(root: str | None) -> Path:
    """The folder that `data.root` or the environment names.

    Raises:
        RequestError: neither names one, or it is no folder.
    """
    named = root or os.environ.get(DATA_ENVIRONMENT)
    if not named:
        raise RequestError(f"data=local needs a folder: give data.root=DIR, or set the environment variable {DATA_ENVIRONMENT}")
    path = Path(named).expanduser()
    if not path.is_dir():
        where = "data.root" if root else DATA_ENVIRONMENT
        raise RequestError(
            f"{where}={named}: no such folder. Make one with `{shell_command('fetch', f'data.root={named}')}`, or name another"
        )
    return path
