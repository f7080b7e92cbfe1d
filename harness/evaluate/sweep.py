"""`python -m harness sweep`: the product of several values per key, by Hydra's own multirun and any launcher it has."""

from __future__ import annotations

import functools
import json
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig

from harness.core.config import check_overrides, hydra_on_configs
from harness.core.errors import HarnessError, RequestError
from harness.core.files import write_json
from harness.core.overrides import as_typed
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.evaluation import Progress
from harness.evaluate.here import resolve_here
from harness.evaluate.progress import Silent
from harness.evaluate.runner import execute

_OUTCOME = "outcome.json"

View: TypeAlias = "Callable[[str], AbstractContextManager[Progress]]"


def _no_view(_: str) -> AbstractContextManager[Progress]:
    return nullcontext(Silent())


@dataclass(frozen=True, kw_only=True)
class Job:
    """What became of one point of the sweep. `folder`: of its run, None when it could not begin; `failed`: task -> error."""

    overrides: tuple[str, ...]
    folder: Path | None
    failed: dict[str, str]
    error: str | None


def sweep(overrides: Sequence[str], *, view: View = _no_view) -> list[Job]:
    """Run every point of the product that `overrides` span (`dtype=fp16,bf16 max_len=512,1024`), one after the other or as
    `hydra/launcher=` says; a job that fails does not stop the others. In the order of the product. `view`: shows a job, under its title.

    Raises:
        RequestError: wrong overrides, all of them in one message.
    """
    overrides = as_typed(overrides)
    check_overrides(overrides, sweep=True)
    with tempfile.TemporaryDirectory(prefix="harness-sweep-") as scratch:
        plain = [f"hydra.sweep.dir={scratch}", "hydra.job.chdir=false", "hydra/hydra_logging=none", "hydra/job_logging=none"]
        try:
            with hydra_on_configs() as state:
                assert state.hydra is not None
                state.hydra.multirun("config", _Jobs(view), [*plain, *overrides], with_log_configuration=False)
        except HydraException as error:
            raise RequestError(str(error)) from error
        outcomes = sorted(Path(scratch).rglob(_OUTCOME), key=lambda path: int(path.parent.name))
        return [_read_job(path) for path in outcomes]


class _Jobs:
    """Runs the jobs that a launcher gives to one process; they share the weights that are loaded there.

    What becomes of a job goes to a file, for the process that asked. In the processes of a launcher nothing is shown: several views would
    write over each other.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._encoders = EncoderPool()

    def __reduce__(self) -> tuple[Callable[[], _Jobs], tuple[()]]:
        return _jobs_of_this_process, ()

    def __call__(self, _: DictConfig) -> None:
        settings = HydraConfig.get()
        overrides = list(settings.overrides.task)
        outcome: dict[str, object] = {"overrides": overrides, "folder": None, "failed": {}, "error": None}
        try:
            spec, device = resolve_here(overrides)
            with self._view(" ".join(overrides)) as progress:
                done = execute(spec, device, progress, encoders=self._encoders)
            outcome |= {"folder": str(done.folder.absolute()), "failed": done.failed}
        except HarnessError as error:
            outcome["error"] = str(error)
        except Exception:  # noqa: BLE001  the job boundary: the others go on
            outcome["error"] = traceback.format_exc()
        write_json(Path(settings.runtime.output_dir) / _OUTCOME, outcome)


@functools.cache
def _jobs_of_this_process() -> _Jobs:
    return _Jobs(_no_view)


def _read_job(path: Path) -> Job:
    values = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        overrides=tuple(values["overrides"]),
        folder=Path(values["folder"]) if values["folder"] else None,
        failed=values["failed"],
        error=values["error"],
    )
