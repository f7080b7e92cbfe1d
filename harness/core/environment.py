"""What a run ran on and with: packages, source revision, platform. Reads the machine, changes nothing."""

import platform
import re
import subprocess
import tomllib
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.core.resources import lock_file

_NAME = "cmteb-harness"

SCORING_PINS = {
    "mteb": "1.1.1",
    "C_MTEB": "1.1.1",
    "beir": "2.2.0",
    "pytrec-eval-terrier": "0.5.11",
    "scikit-learn": "1.8.0",  # 1.9.1 moves clustering by 0.3 to 0.7 points
}
"""The packages whose code defines a score (docs/protocol.md). Another version of one is another protocol, and a run refuses it."""

SCORING_PACKAGES = (*SCORING_PINS, "numpy", "scipy", "torch", "sentence-transformers", "transformers", "tokenizers")
"""The packages whose version can move a score; every record carries them."""


def scoring_versions() -> dict[str, str]:
    """Package -> installed version, for those that can move a score."""
    return {name: version_of(name) for name in SCORING_PACKAGES}


@cache  # a process goes on with what it has imported, and every record of a run asks
def version_of(package: str) -> str:
    """The installed version.

    Raises:
        PackageNotFoundError: there is none.
    """
    return metadata.version(package)


def locked_versions() -> dict[str, str]:
    """Package -> version of the lock file, names normalised as PEP 503 does."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", lock_file().read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {_normalised(name): version for name, version in pins}


def lock_differences() -> dict[str, tuple[str | None, str]]:
    """Package -> (installed version or None, locked version) where they differ; local labels such as `+cpu` do not count."""
    locked = locked_versions()
    found: dict[str, str | None] = dict.fromkeys(sorted(locked))
    for name in found:
        with suppress(metadata.PackageNotFoundError):
            found[name] = version_of(name)
    return {name: (here, locked[name]) for name, here in found.items() if (here or "").split("+")[0] != locked[name]}


def source_revision() -> dict[str, Any]:
    """The harness's version, and the git commit and whether files differ from it where it runs from a checkout."""
    package = Path(__file__).resolve().parent.parent
    state: dict[str, Any] = {"version": _version(package.parent), "commit": None, "dirty": None}
    if not (package.parent / ".git").exists():
        return state
    commit = _git(package, "rev-parse", "HEAD")
    if commit is not None:
        state |= {"commit": commit, "dirty": bool(_git(package, "status", "--porcelain", "--untracked-files=no"))}
    return state


def machine() -> dict[str, Any]:
    """Operating system, architecture and Python."""
    return {"platform": platform.platform(), "machine": platform.machine(), "python": platform.python_version()}


def git_user() -> str | None:
    """Who git says is at work in this folder; None where it does not know."""
    return _git(Path.cwd(), "config", "user.name") or None


def _version(tree: Path) -> str:
    """The version in the `pyproject.toml` of a source tree, installed or not; that of the installed package where there is no tree."""
    try:
        project = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8")).get("project", {})
    except FileNotFoundError:
        project = {}
    return str(project["version"]) if project.get("name") == _NAME else metadata.version(_NAME)


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True)  # noqa: S603, S607
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
