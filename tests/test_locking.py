"""`harness lock` writes what a model is into its config, and a locked config refuses another model."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from tiny_models import build_model

from harness.core import config, resources
from harness.core.errors import InputError, RequestError
from harness.evaluate.encode.model import lock as model_lock
from harness.evaluate.encode.model.loading import load_model
from harness.evaluate.encode.model.locate import find_model, hash_weights


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `configs/`, used in the place of the real one."""
    copied = tmp_path / "configs"
    shutil.copytree(resources.resource_dir("configs"), copied)

    def resource_dir(name: str) -> Path:
        return copied if name == "configs" else resources.resource_dir(name)

    for module in (config, model_lock):
        monkeypatch.setattr(module, "resource_dir", resource_dir)
    return copied


def test_lock_writes_the_hash_and_keeps_the_rest(configs: Path, tmp_path: Path) -> None:
    folder = build_model(tmp_path / "tiny")
    before = (configs / "model" / "acge.yaml").read_text(encoding="utf-8")
    message = model_lock.lock_model(["model=acge", f"model.path={folder}"])
    after = (configs / "model" / "acge.yaml").read_text(encoding="utf-8")
    digest = hash_weights(folder).digest
    assert digest in message
    assert after == before.replace("weights_sha256: null", f"weights_sha256: {digest}")
    assert model_lock.lock_model(["model=acge", f"model.path={folder}"]) == message


def test_another_model_under_a_locked_config_is_refused(configs: Path, tmp_path: Path) -> None:
    model_lock.lock_model(["model=sample", f"model.path={build_model(tmp_path / 'one')}"])
    other = build_model(tmp_path / "other", seed=1)
    with pytest.raises(RequestError, match="Set it to null"):
        model_lock.lock_model(["model=sample", f"model.path={other}"])
    digest = yaml.safe_load((configs / "model" / "sample.yaml").read_text(encoding="utf-8"))["weights_sha256"]
    spec = config.compose_config(["model=folder", f"model.path={other}", f"model.weights_sha256={digest}"]).model
    with pytest.raises(InputError, match="weights"):
        load_model(find_model(spec), spec, dtype="fp32", device=torch.device("cpu"))


def test_lock_needs_a_model_that_is_known() -> None:
    with pytest.raises(RequestError, match="acge"):
        model_lock.lock_model([])
    with pytest.raises(RequestError, match="did you mean acge"):
        model_lock.lock_model(["model=acgee"])
