"""mteb 1.1.1 and C_MTEB 1.1.1, imported once, on demand, at the versions that define the scores, and without their noise.

Importing them takes seconds and changes `AbsTaskReranking.evaluate` (C_MTEB scores Reranking in tensors of the encoder's dtype), so
nothing imports them before a task is scored.
"""

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from typing import Any

from harness.core.environment import SCORING_PINS, version_of
from harness.core.errors import MachineError, RequestError
from harness.core.tasks import TaskSpec
from harness.evaluate.score.deferred import deferred_imports


def check_scoring_packages() -> None:
    """Compare what is installed with `SCORING_PINS`.

    Raises:
        MachineError: a version differs or a package is missing; all of them in one message.
    """
    wrong = []
    for package, pin in SCORING_PINS.items():
        try:
            found = version_of(package)
        except PackageNotFoundError:
            found = "none"
        if found != pin:
            wrong.append(f"{package}: found {found}, expected {pin}")
    if wrong:
        pins = " ".join(f"{package}=={pin}" for package, pin in SCORING_PINS.items())
        raise MachineError(f"scores are defined by exact versions. {'; '.join(wrong)}. Run: pip install {pins}")


def fresh_task(task: TaskSpec) -> Any:
    """A new task object of mteb, as `MTEB(tasks=[name], task_langs=["zh", "zh-CN"])` of the card's script has it; all generators are at 42.

    mteb and C_MTEB both register the 31 C-MTEB tasks; the first of the two is the one whose result the card's script keeps.

    Raises:
        MachineError: the installed packages are not the pinned ones.
        RequestError: mteb does not know the task.
    """
    known = _task_classes()
    if task.name not in known:
        raise RequestError(f"{task.name} is no Chinese task of mteb {SCORING_PINS['mteb']}, by which this benchmark is scored: take it out")
    return known[task.name]()


@cache
def _task_classes() -> dict[str, Callable[[], Any]]:
    """Makers of task objects by the task's name: `MTEB(...)` makes one of each of its 174 tasks, too slow for every task of a run."""
    every = load_reference()(tasks=[], task_langs=["zh", "zh-CN"])
    makers: dict[str, Callable[[], Any]] = {}
    for made in every.tasks_cls:
        makers.setdefault(made.description["name"], partial(made.__class__, langs=every._task_langs))
    return makers


@contextlib.contextmanager
def quiet_reference() -> Iterator[None]:
    """Keep what mteb, BEIR and scikit-learn say as a matter of course from the user; every other warning passes.

    Hidden are: `LogisticRegression(n_jobs=...)` of scikit-learn >= 1.8, its ConvergenceWarning (the protocol stops at 100 iterations,
    converged or not), and scipy's warning of constant input (that becomes an InputError). BEIR's `logging.info` installs a handler
    on the root logger where there is none; it is taken away again. With RANK set (torchrun, SLURM) mteb would search by another class.
    """
    from scipy.stats import ConstantInputWarning
    from sklearn.exceptions import ConvergenceWarning

    root, rank = logging.getLogger(), os.environ.pop("RANK", None)
    handlers = list(root.handlers)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*n_jobs.*", category=FutureWarning, module="sklearn")
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", ConstantInputWarning)
            yield
    finally:
        if rank is not None:
            os.environ["RANK"] = rank
        for handler in root.handlers[:]:
            if handler not in handlers:
                root.removeHandler(handler)


@cache
def load_reference() -> Any:
    """The class `mteb.MTEB`, with C_MTEB's tasks registered and without its progress bar; imported once, which takes seconds."""
    check_scoring_packages()
    with warnings.catch_warnings(), deferred_imports("sentence_transformers", "sentence_transformers.models", "datasets"):
        warnings.simplefilter("ignore", DeprecationWarning)  # mteb imports sentence_transformers.models
        import C_MTEB.tasks  # noqa: F401 registers its tasks and replaces the evaluation of Reranking
        from mteb import MTEB
    clustering = sys.modules["mteb.abstasks.AbsTaskClustering"]
    clustering.tqdm = SimpleNamespace(tqdm=lambda sets, **_: sets)  # type: ignore[attr-defined] # its progress bar can't be switched off
    return MTEB
