"""What the process from which scoring processes are forked does besides: it takes the folder of its socket with it.

multiprocessing removes that folder when the process that asks ends by itself; one that is killed can't.
"""

import atexit
import shutil
from multiprocessing.forkserver import _forkserver
from pathlib import Path


def _remove_socket() -> None:
    if address := _forkserver._forkserver_address:  # type: ignore[attr-defined]  # it has no public name
        shutil.rmtree(Path(address).parent, ignore_errors=True)


atexit.register(_remove_socket)
