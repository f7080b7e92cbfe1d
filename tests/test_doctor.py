"""What doctor finds on this machine, and what it prints about inputs that are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.core.config import resolve_run
from harness.core.errors import RequestError
from harness.evaluate.doctor import diagnose, missing_inputs
from harness.show.doctor import doctor_document
from harness.show.form import write_document

CPU = {"device_name": "CPU (any)", "device_memory_gib": 16.0}


@pytest.fixture(autouse=True)
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing listens at port 9 of loopback, and the cache is empty."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_sound_installation_is_healthy_and_the_plan_is_shown() -> None:
    diagnosis = diagnose([])
    report = write_document(doctor_document(diagnosis), "text")
    assert diagnosis.healthy
    for part in ("python", "device", "packages", "hub", "model acge", "data sample", "free for results", "1. rebuilds", "3. "):
        assert part in report
    assert "the hub can't be reached" in report


def test_the_sample_is_never_missing() -> None:
    assert missing_inputs(resolve_run(["model=sample", "data=sample"], **CPU)) == []


def test_an_empty_cache_without_a_hub_is_reported_for_model_and_data() -> None:
    model, data = missing_inputs(resolve_run(["model=acge", "data=hub"], **CPU))
    assert "aspire/acge_text_embedding" in model
    assert "35 of 35 tasks" in data


def test_folders_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "AFQMC").mkdir()
    (tmp_path / "AFQMC" / "validation.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "score": 1}\n', encoding="utf-8")
    overrides = ["model=sample", "data=local", f"data.root={tmp_path}", "tasks=[AFQMC,TNews]"]
    (message,) = missing_inputs(resolve_run(overrides, **CPU))
    assert "1 of 2 tasks: TNews" in message


def test_a_missing_model_folder_is_reported(tmp_path: Path) -> None:
    message = missing_inputs(resolve_run(["model=folder", f"model.path={tmp_path / 'gone'}", "data=sample"], **CPU))
    assert "is missing" in message[0]


def test_each_kind_of_model_says_what_it_needs(tmp_path: Path) -> None:
    def problems(*overrides: str) -> list[str]:
        return missing_inputs(resolve_run(["model=folder", "model.name=mine", "data=sample", *overrides], **CPU))

    assert "http://127.0.0.1:9/v1 does not answer" in problems("model.kind=endpoint", "model.url=http://127.0.0.1:9/v1")[0]
    with pytest.raises(RequestError, match=r"needs its address; give model\.url="):
        problems("model.kind=endpoint")
    reranker = tmp_path / "reranker"
    reranker.mkdir()
    (reranker / "config.json").write_text("{}")
    assert problems("model.kind=reranker", f"model.path={reranker}") == []
    assert "has no modules.json" in problems(f"model.path={reranker}")[0]
