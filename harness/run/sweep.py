"""`python -m harness sweep`: the product of several values per key, by Hydra's own multirun and any launcher it has."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from harness.core.config import check_overrides, resolve_run
from harness.core.errors import HarnessError, RequestError
from harness.core.resources import resource_dir
from harness.core.schema import RunConfig
from harness.run.encode.device import describe_device, find_device
from harness.run.progress import show_progress
from harness.run.runner import EncoderPool, device_label, execute

_OUTCOME = "outcome.json"
_POOL = EncoderPool()  # of this process: jobs of one dtype share the loaded weights


@dataclass(frozen=True, kw_only=True)
class Job:
    """What became of one point of the sweep. `folder`: of its run, None when it could not begin; `failed`: task -> error."""

    overrides: tuple[str, ...]
    folder: Path | None
    failed: dict[str, str]
    error: str | None


def sweep(overrides: Sequence[str], *, quiet: bool) -> list[Job]:
    """Run every point of the product that `overrides` span (`dtype=fp16,bf16 max_len=512,1024`), one after the other or as
    `hydra/launcher=` says; a job that fails does not stop the others. In the order of the product.

    Raises:
        RequestError: wrong overrides, all of them in one message.
    """
    check_overrides(overrides, sweep=True)
    ConfigStore.instance().store(name="run_schema", node=RunConfig)
    with tempfile.TemporaryDirectory(prefix="harness-sweep-") as scratch:
        plain = [f"hydra.sweep.dir={scratch}", "hydra.job.chdir=false", "hydra/hydra_logging=none", "hydra/job_logging=none"]
        arguments = [sys.argv[0], "--multirun", "--config-dir", str(resource_dir("configs").resolve()), *plain, *overrides]
        before, sys.argv = sys.argv, arguments
        _show["quiet"] = quiet
        try:
            _main()
        except HydraException as error:
            raise RequestError(str(error)) from error
        finally:
            sys.argv = before
        outcomes = sorted(Path(scratch).rglob(_OUTCOME), key=lambda path: int(path.parent.name))
        return [_read_job(path) for path in outcomes]


_show = {"quiet": True}  # as a launcher's own processes leave it: several views would write over each other


@hydra.main(version_base="1.3", config_path=None, config_name="config")
def _main(_: DictConfig) -> None:
    """One job, in whatever process the launcher gives it; what becomes of it goes to a file, for the process that asked."""
    settings = HydraConfig.get()
    overrides = list(settings.overrides.task)
    outcome: dict[str, object] = {"overrides": overrides, "folder": None, "failed": {}, "error": None}
    try:
        device = find_device()
        info = describe_device(device)
        spec = resolve_run(overrides, device_name=device_label(info), device_memory_gib=info.memory_gib)
        with show_progress(quiet=_show["quiet"], title=" ".join(overrides)) as progress:
            done = execute(spec, device, progress, encoders=_POOL)
        outcome |= {"folder": str(done.folder.absolute()), "failed": done.failed}
    except HarnessError as error:
        outcome["error"] = str(error)
    except Exception:  # noqa: BLE001  the job boundary: the others go on
        outcome["error"] = traceback.format_exc()
    (Path(settings.runtime.output_dir) / _OUTCOME).write_text(json.dumps(outcome), encoding="utf-8")


def _read_job(path: Path) -> Job:
    values = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        overrides=tuple(values["overrides"]),
        folder=Path(values["folder"]) if values["folder"] else None,
        failed=values["failed"],
        error=values["error"],
    )
