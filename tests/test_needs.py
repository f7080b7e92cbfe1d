"""What a job asks a cluster for, derived from the plan of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from omegaconf import OmegaConf

from harness.core.config import hydra_on_configs
from harness.core.errors import RequestError
from harness.evaluate.plan.needs import needs_of, needs_resolver
from harness.evaluate.plan.planning import make_plan


@pytest.fixture
def on_a_login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides of a machine without model, data and GPU; everything is modelled."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return ["dtype=fp16", "max_len=512", "tasks=[CMedQAv1]", f"results_dir={tmp_path}", f"store={tmp_path / 'store'}"]


def settings(overrides: list[str], *launcher: str) -> dict[str, Any]:
    with needs_resolver(overrides, shards=1), hydra_on_configs():
        config = compose("config", ["hydra/launcher=slurm", "hydra.launcher.submitit_folder=x", *launcher], return_hydra_config=True)
        found: dict[str, Any] = OmegaConf.to_container(config.hydra.launcher, resolve=True)  # type: ignore[assignment]
        return found


def test_a_job_on_a_gpu_is_planned_where_there_is_none(on_a_login_node: list[str]) -> None:
    found = settings([*on_a_login_node, "gpu=a100"])
    assert {key: found[key] for key in ("constraint", "gpus_per_node", "cpus_per_task")} == {
        "constraint": "a100",
        "gpus_per_node": 1,
        "cpus_per_task": 8,
    }
    seconds = make_plan([*on_a_login_node, "gpu=a100"]).runs[0].seconds
    assert seconds
    assert found["timeout_min"] == -(-seconds * 1.5 // 60) + 45
    assert 9 < found["mem_gb"] < 20
    assert found["additional_parameters"] == {"requeue": True}


def test_a_part_takes_its_share_of_the_time(on_a_login_node: list[str]) -> None:
    plan = make_plan([*on_a_login_node, "gpu=a10"])
    whole, part = needs_of(plan), needs_of(plan, shards=16)
    assert part.seconds == pytest.approx(whole.seconds / 16)  # type: ignore[operator]
    assert part.memory_gb == whole.memory_gb


def test_a_time_that_is_not_known_must_be_given(on_a_login_node: list[str]) -> None:
    """And only the time: the rest is known, and nothing is planned of what was given."""
    cpu = [*on_a_login_node, "gpu=cpu"]
    needs = needs_of(make_plan(cpu))
    assert (needs.constraint, needs.gpus) == (None, None)
    with pytest.raises(RequestError, match=r"hydra\.launcher\.timeout_min=MINUTES"):
        _ = needs.minutes
    assert settings(cpu, "hydra.launcher.timeout_min=30")["timeout_min"] == 30


def test_jobs_of_a_sweep_ask_for_one_kind_of_node(on_a_login_node: list[str]) -> None:
    with pytest.raises(RequestError, match=r"gpu=a10,a100.*a sweep for each gpu="):
        needs_of(make_plan([*on_a_login_node, "gpu=a10,a100"]))


def test_a_job_with_several_devices_asks_for_them(on_a_login_node: list[str]) -> None:
    one, four = (needs_of(make_plan([*on_a_login_node, "gpu=a100", devices])) for devices in ("devices=null", "devices=[0,1,2,3]"))
    assert (four.gpus, four.cores) == (4, 32)
    assert four.seconds == pytest.approx(one.seconds / 4)  # type: ignore[operator]
