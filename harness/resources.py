"""Where the files that ship with the package are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_BUNDLED = _PACKAGE / "_bundled"  # pyproject.toml copies configs/ and the committed results there when it builds a wheel


def resource_dir(name: str) -> Path:
    """The folder `name` (`configs`, `results/published`, `results/expected`) as the wheel or the checkout has it."""
    bundled = _BUNDLED / name
    return bundled if bundled.is_dir() else _PACKAGE.parent / name


def lock_file() -> Path:
    """The exact versions that everything is tested with."""
    bundled = _BUNDLED / "requirements.lock"
    return bundled if bundled.is_file() else _PACKAGE.parent / "requirements.lock"


SAMPLE_DIR = _PACKAGE / "sample"
"""The embedded sample: `data/<Task>/...` and `model/`, written by `scripts/make_sample.py`."""
