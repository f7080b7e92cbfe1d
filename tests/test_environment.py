"""Versions, lock and source revision, as manifests state them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from harness.core import environment

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_installed_packages_are_the_locked_ones() -> None:
    assert environment.lock_differences() == {}


def test_a_package_that_differs_from_the_lock_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    locked = environment.locked_versions() | {"scikit-learn": "1.9.1", "not-there": "1.0"}
    monkeypatch.setattr(environment, "locked_versions", lambda: locked)
    assert environment.lock_differences() == {"scikit-learn": ("1.8.0", "1.9.1"), "not-there": (None, "1.0")}


def test_every_record_carries_the_versions_that_can_move_a_score() -> None:
    versions = environment.scoring_versions()
    assert versions["mteb"] == "1.1.1"
    assert versions["torch"] == metadata.version("torch")


def test_the_source_revision_is_the_checkouts() -> None:
    revision = environment.source_revision()
    assert revision["version"] == PROJECT["version"]
    if revision["commit"] is not None:
        assert len(revision["commit"]) == 40
        assert isinstance(revision["dirty"], bool)


def test_a_source_tree_that_is_not_installed_has_its_own_version(tmp_path: Path) -> None:
    """-S: without site-packages, as in a tree that pip does not know."""
    shutil.copytree(ROOT / "harness" / "core", tmp_path / "harness" / "core")
    (tmp_path / "harness" / "__init__.py").touch()
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "cmteb-harness"\nversion = "7.8.9"\n', encoding="utf-8")
    code = "from harness.core.environment import source_revision; print(source_revision())"
    assert python(code, tmp_path, "-S") == "{'version': '7.8.9', 'commit': None, 'dirty': None}"


def test_of_two_versions_on_the_path_the_imported_one_counts(tmp_path: Path) -> None:
    info = tmp_path / "scikit_learn-1.9.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 1.9.1\n", encoding="utf-8")
    code = "from harness.core import environment as e; print(e.scoring_versions()['scikit-learn'], e.lock_differences()['scikit-learn'])"
    assert python(code, f"{tmp_path}{os.pathsep}{ROOT}") == "1.9.1 ('1.9.1', '1.8.0')"


def python(code: str, path: Path | str, *options: str) -> str:
    """What a Python process prints that has `path` first on its path."""
    command = [sys.executable, "-P", *options, "-c", code]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(path)}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_pins_of_scoring_packages_are_the_same_everywhere() -> None:
    locked = environment.locked_versions()
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8").replace("**", "")
    for package, pin in environment.SCORING_PINS.items():
        assert f"{package}=={pin}" in PROJECT["dependencies"]
        assert locked[package.lower().replace("_", "-")] == pin
        assert f"{package} {pin}" in page
