"""A SLURM cluster of one node, this machine, on the loopback interface: started in seconds, as root, apart from any other cluster."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
KillWait=1
JobRequeue=1
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} Features=cpu
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None if one can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} here: apt-get install slurmctld slurmd slurm-client munge"
    return None if os.geteuid() == 0 else "SLURM's daemons are started as root"


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which `sbatch` and the others speak to the cluster; it ends with the block, its jobs too."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    host, cores = socket.gethostname(), os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 - 512
    path = folder / "slurm.conf"
    path.write_text(CONFIGURATION.format(host=host, folder=folder, ports=free_ports(), cores=cores, memory=memory), encoding="utf-8")
    environment = {**os.environ, "SLURM_CONF": str(path)}
    munge = ["--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.sock"]
    munge += [f"--{name}={folder}/munge.{name}" for name in ("pid-file", "log-file", "seed-file")]
    daemons = [["munged", *munge], ["slurmctld", "-D"], ["slurmd", "-D"]]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in daemons:
            with (folder / f"{command[0]}.out").open("wb") as output:
                started.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            wait_until(lambda: (folder / "munge.sock").exists(), "munged has no socket")
        wait_until(lambda: "idle" in ask("sinfo", "--noheader", environment=environment), "the node does not come up", seconds=60)
        yield environment
        ask("scancel", "--user=root", environment=environment)
        wait_until(lambda: not ask("squeue", "--noheader", environment=environment).strip(), "jobs do not end", seconds=60)
    finally:
        for daemon in reversed(started):
            daemon.terminate()
            daemon.wait(30)


def ask(*command: str, environment: dict[str, str]) -> str:
    """What a command prints."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def wait_until(condition: object, problem: str, *, seconds: float = 30.0) -> None:
    """Wait for something that another process does."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, problem
        time.sleep(0.05)


def free_ports() -> list[int]:
    """Two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (one, other)]
