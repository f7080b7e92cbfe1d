"""`python -m harness sweep`: the product of several values per key, by Hydra's own multirun and any launcher it has."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import joblib
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from joblib.parallel import LokyBackend
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harness.core.config import check_overrides, compose_config, expand_sweep, hydra_on_configs, offer_models
from harness.core.errors import HarnessError, RequestError
from harness.core.files import scratch_folder, write_json
from harness.core.overrides import as_typed
from harness.core.processes import end_with
from harness.evaluate.encode.pool import EncoderPool
from harness.evaluate.here import resolve_here
from harness.evaluate.parts import encode_part
from harness.evaluate.plan.needs import needs_resolver
from harness.evaluate.progress import Progress, Silent
from harness.evaluate.runner import execute
from harness.evaluate.slurm import Ended, SlurmQueue, check_slurm, ended, refusal

_JOBS = ".jobs"  # below results_dir
_OUTCOME = "outcome.json"

_OF_RAY = ("init.log_to_driver=false", "remote.num_gpus=${needs:gpus}", "remote.max_retries=3")
"""What a job of Ray asks for where the request says nothing else: the GPUs of the plan; started again where its process or machine dies."""

View: TypeAlias = "Callable[[str], AbstractContextManager[Progress]]"


def no_view(_: str) -> AbstractContextManager[Progress]:
    """Show nothing."""
    return nullcontext(Silent())


@dataclass(frozen=True, kw_only=True)
class Job:
    """What became of one point of the sweep. `folder`: of its run, None when it could not begin; `failed`: task -> error; `parts`: errors
    of the jobs that were to encode a part of its texts, so that the run did.
    """

    overrides: tuple[str, ...]
    folder: Path | None
    failed: dict[str, str]
    error: str | None
    parts: tuple[str, ...] = ()


def sweep(overrides: Sequence[str], *, view: View = no_view, shards: int = 1) -> list[Job]:
    """Run every point of the product that `overrides` span (`dtype=fp16,bf16 max_len=512,1024`), one after the other or as
    `hydra/launcher=` says; a job that fails does not stop the others. In the order of the product. `view`: shows a job, under its title;
    a function of a module, as the processes of a launcher call it, too.
    `shards`: of each point, so many jobs encode a part each, and one more scores.

    Raises:
        RequestError: wrong overrides, all of them in one message.
        MachineError: no jobs can be submitted here.
    """
    overrides = as_typed(overrides)
    check_overrides(overrides, sweep=True)
    if shards < 1 or (shards > 1 and any(text.startswith("shard=") for text in overrides)):
        raise RequestError(f"--shards {shards}: give the number of parts, 1 or more, and no shard= beside it")
    launcher = _launcher_of(overrides)
    if launcher == "joblib":  # its processes would go on with their jobs when this one is killed
        joblib.register_parallel_backend("loky", functools.partial(LokyBackend, initializer=end_with, initargs=(os.getpid(),)))
    if launcher == "ray":
        overrides = [*(f"++hydra.launcher.ray.{setting}" for setting in _OF_RAY), *overrides]
    if launcher == "slurm":
        check_slurm()
    if launcher == "ray" and importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None:
        raise RequestError(
            "hydra/launcher=ray needs an extra, in an environment of its own: pip install 'cmteb-harness[ray]' (docs/cluster.md)"
        )
    with needs_resolver(overrides, shards=shards) as needs, _place(overrides, launcher) as place:
        try:
            if shards == 1:
                return _multirun(overrides, view, place)
            if launcher == "slurm":
                return _in_parts_by_slurm(overrides, shards, place, view)
            numbers = ",".join(f"{number}/{shards}" for number in range(1, shards + 1))
            parts = _multirun([*overrides, f"shard={numbers}"], view, place / "parts")
            return [_with_parts(job, parts) for job in _multirun(overrides, view, place / "runs")]
        except (HydraException, OmegaConfBaseException) as error:
            raise needs.error or RequestError(str(error)) from error


def run_point(overrides: Sequence[str], view: View = no_view, encoders: EncoderPool | None = None) -> Job:
    """Run one point here, or encode the part of it that `shard=` names; whatever it dies of is its error."""
    failed: dict[str, str] = {}
    folder, error = None, None
    try:
        spec, device = resolve_here(overrides)
        with view(" ".join(overrides)) as progress:
            if spec.shard:
                failed = encode_part(spec, device, progress, encoders=encoders).failed
            else:
                done = execute(spec, device, progress, encoders=encoders)
                folder, failed = done.folder.absolute(), done.failed
    except HarnessError as caught:
        error = str(caught)
    except Exception:  # noqa: BLE001  the job boundary: the others go on
        error = traceback.format_exc()
    return Job(overrides=tuple(overrides), folder=folder, failed=failed, error=error)


class _Jobs:
    """Runs the jobs that a launcher gives to one process; they share the weights that are loaded there.

    What becomes of a job goes to a file, for the process that asked.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._encoders = EncoderPool()

    def __reduce__(self) -> tuple[Callable[[View], _Jobs], tuple[View]]:
        return _jobs_of_this_process, (self._view,)

    def __call__(self, _: DictConfig) -> None:
        settings = HydraConfig.get()
        job = run_point(list(settings.overrides.task), self._view, self._encoders)
        folder = None if job.folder is None else str(job.folder)
        write_json(Path(settings.runtime.output_dir) / _OUTCOME, {**asdict(job), "folder": folder})


@functools.cache
def _jobs_of_this_process(view: View) -> _Jobs:
    return _Jobs(view)


def _multirun(overrides: Sequence[str], view: View, place: Path) -> list[Job]:
    """The jobs by Hydra's launcher, in the order of the product."""
    plain = [f"hydra.sweep.dir={place}", "hydra.job.chdir=false", "hydra/hydra_logging=none", "hydra/job_logging=none"]
    lost = None
    offer_models(overrides)
    with hydra_on_configs() as state:
        assert state.hydra is not None
        try:
            state.hydra.multirun("config", _Jobs(view), [*plain, *overrides], with_log_configuration=False)
        except (HydraException, OmegaConfBaseException, HarnessError):
            raise
        except Exception as error:  # a launcher raises what it likes when one of its jobs is killed
            if refused := refusal(error):
                raise refused from error
            lost = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return [_read_job(place / str(number) / _OUTCOME, point, lost) for number, point in enumerate(expand_sweep(overrides))]


def _in_parts_by_slurm(overrides: Sequence[str], shards: int, place: Path, view: View) -> list[Job]:
    """All jobs of all points are in the queue before the first one is waited for."""
    with hydra_on_configs():
        config = compose("config", [text for text in overrides if text.startswith("hydra")], return_hydra_config=True)
        config.hydra.launcher.submitit_folder = str(place)
        settings: Any = OmegaConf.to_container(config.hydra.launcher, resolve=True)
    queue = SlurmQueue(settings, place)
    run = functools.partial(run_point, view=view)
    submitted = [(point, *queue.submit_after_parts(run, point, shards)) for point in expand_sweep(overrides)]
    jobs = []
    for point, part_jobs, score_job in submitted:
        parts = [_of_cluster([*point, f"shard={number}/{shards}"], ended(job)) for number, job in enumerate(part_jobs, start=1)]
        jobs.append(_with_parts(_of_cluster(point, ended(score_job)), parts))
    return jobs


def _of_cluster(overrides: Sequence[str], ended_as: Ended) -> Job:
    if isinstance(ended_as.value, Job):
        return ended_as.value
    return Job(overrides=tuple(overrides), folder=None, failed={}, error=ended_as.error)


def _with_parts(job: Job, parts: Sequence[Job]) -> Job:
    mine = [part for part in parts if set(job.overrides) <= set(part.overrides)]
    return replace(job, parts=tuple(f"{part.overrides[-1]}: {part.error or part.failed}" for part in mine if part.error or part.failed))


def _launcher_of(overrides: Sequence[str]) -> str | None:
    named = [text.partition("=")[2] for text in overrides if text.startswith("hydra/launcher=")]
    return named[-1] if named else None


@contextmanager
def _place(overrides: Sequence[str], launcher: str | None) -> Iterator[Path]:
    """A folder for what jobs leave behind: on this machine and only for now, or where all machines see it and people find the logs."""
    if launcher in (None, "basic", "joblib"):
        with scratch_folder(Path(tempfile.gettempdir()), "harness-sweep-") as scratch:
            yield scratch
        return
    jobs = compose_config(expand_sweep(overrides)[0]).results_dir.absolute() / _JOBS
    jobs.mkdir(parents=True, exist_ok=True)
    yield Path(tempfile.mkdtemp(prefix=time.strftime("%Y%m%d-%H%M%S-"), dir=jobs))


def _read_job(path: Path, overrides: Sequence[str], lost: str | None) -> Job:
    if not path.is_file():
        error = f"no result ({lost}): the job was killed, or still runs. Logs: {path.parent.parent}. The same command goes on from there"
        return Job(overrides=tuple(overrides), folder=None, failed={}, error=error)
    values = json.loads(path.read_text(encoding="utf-8"))
    return Job(
        overrides=tuple(values["overrides"]),
        folder=Path(values["folder"]) if values["folder"] else None,
        failed=values["failed"],
        error=values["error"],
    )
