"""The tasks of a benchmark as a table: where the data is, which commit of it, which metrics, what identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args

import yaml

from harness.core.errors import InputError, RequestError, unknown
from harness.core.resources import resource_dir

TaskType = Literal["Classification", "Clustering", "PairClassification", "Reranking", "Retrieval", "STS"]
TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)


@dataclass(frozen=True)
class Repository:
    """A data set repository of the hub at a commit; `revision=None` means that nobody pinned one."""

    hub: str
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task: a row of `configs/benchmark/*.yaml`.

    `statistics` maps a table (`train`, the split; `corpus`, `queries`, `qrels` for Retrieval) to known figures per column.
    `language` is the key under which mteb 1.1.1 nests the metrics of its multilingual tasks.
    `substitute` is a converted revision to read where `revision` holds no readable file.
    `mteb2_name` and `mteb2_hub` are what mteb 2 calls the task and the repository it reads, which for some tasks is a copy.
    """

    name: str
    type: TaskType
    hub: str
    revision: str
    config: str
    split: str
    language: str | None
    qrels: Repository | None
    substitute: Repository | None
    mteb2_name: str
    mteb2_hub: str
    statistics_of: str | None
    statistics: Mapping[str, Mapping[str, Any]]
    columns: tuple[str, ...]
    qrels_columns: tuple[str, ...]
    main: str
    metrics: tuple[str, ...]
    n_experiments: int | None
    samples_per_label: int | None

    @property
    def card_name(self) -> str:
        """The name in a model card's front matter: `MTEB STS22 (zh)`."""
        return f"MTEB {self.name}" + (f" ({self.language})" if self.language else "")

    @property
    def names(self) -> tuple[str, ...]:
        """The card's name first, then what mteb 2 calls the task where that differs (`CMedQAv2-reranking`)."""
        return (self.name,) if self.mteb2_name == self.name else (self.name, self.mteb2_name)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables the task reads; each is a split of the hub repository (`qrels`: of its qrels repository)."""
        if self.type == "Classification":
            return ("train", self.split)
        if self.type == "Retrieval":
            return ("corpus", "queries", "qrels")
        return (self.split,)

    def table_columns(self, table: str) -> tuple[str, ...]:
        """The columns that the table must have."""
        return self.qrels_columns if table == "qrels" else self.columns


@dataclass(frozen=True)
class Benchmark:
    """A named list of tasks, in the order of the leaderboard (by type, then by name)."""

    name: str
    tasks: tuple[TaskSpec, ...]
    digest: str

    def select(self, wanted: Iterable[str]) -> tuple[TaskSpec, ...]:
        """The tasks that `wanted` names (tasks, aliases or types, any case), in the benchmark's order; all when empty.

        Raises:
            RequestError: names that are neither a task nor a type, all of them in one message.
        """
        keys = list(wanted)
        if not keys:
            return self.tasks
        by_key: dict[str, set[str]] = {}
        for task in self.tasks:
            for key in (*task.names, task.type):
                by_key.setdefault(key.lower(), set()).add(task.name)
        wrong = [key for key in keys if key.lower() not in by_key]
        if wrong:
            known = [*TASK_TYPES, *(task.name for task in self.tasks)]
            raise RequestError("\n".join(unknown("task or task type", key, known) for key in wrong))
        names = set().union(*(by_key[key.lower()] for key in keys))
        return tuple(task for task in self.tasks if task.name in names)

    def task(self, name: str) -> TaskSpec:
        """The task of that name or alias.

        Raises:
            RequestError: no task is called so.
        """
        for task in self.tasks:
            if name in task.names:
                return task
        raise RequestError(unknown("task", name, (task.name for task in self.tasks)))


def known_benchmarks() -> list[str]:
    """The names that `load_benchmark` takes."""
    return sorted(path.stem for path in (resource_dir("configs") / "benchmark").glob("*.yaml"))


@cache
def load_benchmark(name: str = "cmteb35") -> Benchmark:
    """The benchmark of `configs/benchmark/<name>.yaml`; its digest is the SHA-256 of that file.

    Raises:
        RequestError: there is no such benchmark.
        InputError: the file is not a benchmark table.
    """
    path = resource_dir("configs") / "benchmark" / f"{name}.yaml"
    if not path.is_file():
        raise RequestError(unknown("benchmark", name, known_benchmarks()))
    raw = path.read_bytes()
    try:
        table = yaml.safe_load(raw)
        tasks = tuple(_task_spec(task, row, table["types"][row["type"]]) for task, row in table["tasks"].items())
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a benchmark table: {error!r}. Restore it from version control.") from error
    return Benchmark(name=table["name"], tasks=tasks, digest=hashlib.sha256(raw).hexdigest())


def _task_spec(name: str, row: dict[str, Any], kind: dict[str, Any]) -> TaskSpec:
    qrels, substitute = row.get("qrels"), row.get("substitute")
    return TaskSpec(
        name=name,
        type=row["type"],
        hub=row["hub"],
        revision=row["revision"],
        config=row["config"],
        split=row["split"],
        language=row.get("language"),
        qrels=Repository(**qrels) if qrels else None,
        substitute=Repository(**substitute) if substitute else None,
        mteb2_name=row["mteb2"]["name"],
        mteb2_hub=row["mteb2"]["hub"],
        statistics_of=row.get("statistics_of"),
        statistics=row["statistics"],
        columns=tuple(kind["columns"]),
        qrels_columns=tuple(kind.get("qrels_columns", ())),
        main=kind["main"],
        metrics=tuple(kind["metrics"]),
        n_experiments=row.get("n_experiments"),
        samples_per_label=row.get("samples_per_label"),
    )
