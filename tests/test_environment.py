"""Versions, lock and source revision, as manifests state them."""

from __future__ import annotations

from importlib import metadata

import pytest

from harness.core import environment


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
    told = environment.source_revision()
    assert told["version"] == metadata.version("cmteb-harness")
    if told["commit"] is not None:
        assert len(told["commit"]) == 40
        assert isinstance(told["dirty"], bool)
