"""A run in parts on a SLURM cluster: an array of jobs that encode, and a job that scores once they have ended.

Whole runs go through Hydra's submitit launcher (`configs/hydra/launcher/slurm.yaml`). It knows no dependent jobs, so parts are handed to
submitit here, with the settings of the same file.
"""

import contextlib
import importlib.util
import io
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import MachineError, RequestError
from harness.core.formatting import shortened

_POLL_SECONDS = 2.0
_NFS_TRIES = 5
_OF_ALL_CLUSTERS = ("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name", "stderr_to_stdout")


@dataclass(frozen=True)
class ClusterJob:
    """A function and its argument, as submitit wants them. A job that runs out of time is queued again: runs go on where they were."""

    function: Callable[[list[str]], Any]
    overrides: list[str]

    def __call__(self) -> Any:
        """What the function gives back."""
        return self.function(self.overrides)

    def checkpoint(self) -> Any:
        """The job, for another try."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a job ended: with what its function gave back, or with an error."""

    value: Any = None
    error: str | None = None


class SlurmQueue:
    """Submits jobs with the settings of `hydra.launcher`; logs and answers of jobs go to `folder`, which all nodes must see."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        import submitit

        self._executor = submitit.AutoExecutor(folder=folder / "%j", cluster="slurm", slurm_max_num_timeout=settings["max_num_timeout"])
        left_out = ("_target_", "submitit_folder", "max_num_timeout")
        given = {key: value for key, value in settings.items() if key not in left_out and value is not None}
        self._additional = dict(given.get("additional_parameters", {}))
        self._executor.update_parameters(**{key if key in _OF_ALL_CLUSTERS else f"slurm_{key}": value for key, value in given.items()})

    def submit_after_parts(self, run: Callable[[list[str]], Any], overrides: list[str], shards: int) -> tuple[list[Any], Any]:
        """An array of jobs that encode one part each, and the job that scores when all of them have ended, in whatever way: it encodes
        what is missing. Does not wait.

        Raises:
            MachineError: SLURM refuses a job.
        """
        encoding = [ClusterJob(run, [*overrides, f"shard={number}/{shards}"]) for number in range(1, shards + 1)]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit prints what sbatch says, and raises it
                self._executor.update_parameters(slurm_additional_parameters=self._additional)
                with self._executor.batch():
                    parts = [self._executor.submit(job) for job in encoding]
                array = parts[0].job_id.partition("_")[0]
                self._executor.update_parameters(slurm_additional_parameters={**self._additional, "dependency": f"afterany:{array}"})
                return parts, self._executor.submit(ClusterJob(run, overrides))
        except Exception as error:
            if refused := refusal(error):
                raise refused from error
            raise


def refusal(error: BaseException) -> MachineError | None:
    """The error to raise where a job was refused by `sbatch`, with its own words; None where it was something else that went wrong."""
    cause: BaseException | None = error
    while cause is not None and not (isinstance(cause, subprocess.CalledProcessError) and "sbatch" in str(cause.cmd)):
        cause = cause.__cause__ or cause.__context__
    if not isinstance(cause, subprocess.CalledProcessError):
        return None
    words = " ".join((cause.stderr or cause.output or f"exit code {cause.returncode}").split())
    return MachineError(
        f"sbatch refuses a job: {shortened(words)}. Jobs that it accepted before go on (squeue shows them); what a job asks for is set "
        "with hydra.launcher.KEY=VALUE (docs/cluster.md)"
    )


def ended(job: Any) -> Ended:
    """Waits for a job of submitit. Whether it still runs is asked of `squeue`, as many clusters keep no accounting for `sacct`."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    while not job.paths.result_pickle.exists() and _is_queued(job.job_id):
        time.sleep(_POLL_SECONDS)
    try:
        if _appears(job.paths.result_pickle):
            return Ended(value=job.results()[0])
        error = "it was killed, or its node died"
    except (FailedJobError, UncompletedJobError) as failed:
        error = str(failed).strip().splitlines()[-1]
    return Ended(error=f"job {job.job_id} ended without an answer ({error}); its log: {job.paths.stdout}")


def check_slurm() -> None:
    """Whether jobs can be submitted here.

    Raises:
        RequestError: the extra is not installed.
        MachineError: this is no machine of a SLURM cluster.
    """
    if importlib.util.find_spec("submitit") is None or importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        raise RequestError("hydra/launcher=slurm needs an extra: pip install 'cmteb-harness[slurm]'")
    missing = [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]
    if missing:
        raise MachineError(f"hydra/launcher=slurm: there is no {' and no '.join(missing)} here. Run this on a login node of the cluster")


def _is_queued(job_id: str) -> bool:
    """Whether SLURM has the job waiting, running, or ending."""
    asked = subprocess.run(["squeue", "--noheader", "--format=%i", f"--jobs={job_id}"], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return bool(asked.stdout.strip())


def _appears(path: Path) -> bool:
    """Whether a file that another machine has written shows up here; NFS may take some seconds."""
    for _ in range(_NFS_TRIES):
        if path.exists():
            return True
        time.sleep(_POLL_SECONDS)
    return False
