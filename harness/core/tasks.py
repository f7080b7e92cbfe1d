"""Tasks: where the data is, which commit of it, which metrics, what identifies it. The facts are in `configs/tasks.yaml`, once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from harness.core.errors import InputError
from harness.core.resources import resource_dir

TaskType = Literal["Classification", "Clustering", "PairClassification", "Reranking", "Retrieval", "STS"]
TASK_TYPES: tuple[TaskType, ...] = get_args(TaskType)


SPLITS = "*"
"""Stands for a task's own splits among the tables of its type."""


@dataclass(frozen=True, kw_only=True)
class TypeFacts:
    """What all tasks of a type have in common.

    `short`: as a terminal has room for it. `unit`: what an example is. `columns`: what a table of examples has beside `index` and `digest`.
    `contribution`: the column that shows what a setting moved, None where that is no column; `measure`: what is shown of it, `key`: the
    column that names the example, `about`: what else is said of it (a format of its columns; `after`: its cos_sim under the setting).
    `similarities`: that mteb 1.1.1 measures, in its order. `random`: whether the protocol draws training texts or k-means starts, so that a
    score depends on the seed. `tables`: what a task reads, `SPLITS` for its splits.
    """

    short: str
    unit: str
    columns: tuple[str, ...]
    contribution: str | None
    measure: str
    key: str = "digest"
    about: str = ""
    similarities: tuple[str, ...] = ()
    random: bool = False
    tables: tuple[str, ...] = (SPLITS,)


_PAIRS, _SENTENCES = ("cos_sim", "manhattan", "euclidean", "dot"), ("cos_sim", "manhattan", "euclidean")
TYPES: dict[TaskType, TypeFacts] = {
    "Classification": TypeFacts(
        short="Clas",
        unit="text",
        columns=("label", "prediction_0"),
        contribution=None,
        measure="share right",
        about="label {label}",
        random=True,
        tables=("train", SPLITS),
    ),
    "Clustering": TypeFacts(
        short="Clus",
        unit="set",
        columns=("size", "v_measure"),
        contribution="v_measure",
        measure="v_measure",
        about="{size} texts",
        random=True,
    ),
    "PairClassification": TypeFacts(
        short="Pair",
        unit="pair",
        columns=("label", *_PAIRS),
        contribution=None,
        measure="cos_sim rank",
        about="label {label:g}, cos_sim {cos_sim:.3f} -> {after:.3f}",
        similarities=_PAIRS,
    ),
    "Reranking": TypeFacts(short="Rank", unit="sample", columns=("ap", "rr_at_10"), contribution="ap", measure="ap"),
    "Retrieval": TypeFacts(
        short="Retr",
        unit="query",
        columns=("query", "ndcg_at_10", "ap_at_10", "rr_at_10", "recall_at_10"),
        contribution="ndcg_at_10",
        measure="ndcg_at_10",
        key="query",
        tables=("corpus", "queries", "qrels"),
    ),
    "STS": TypeFacts(
        short="STS",
        unit="pair",
        columns=("gold", *_SENTENCES),
        contribution=None,
        measure="cos_sim rank",
        about="gold {gold:g}, cos_sim {cos_sim:.3f} -> {after:.3f}",
        similarities=_SENTENCES,
    ),
}
SHORT_TYPES: dict[str, str] = {"Average": "Avg", "Types": "Types", **{name: facts.short for name, facts in TYPES.items()}}
"""Averages and types as a terminal has room for them."""


@dataclass(frozen=True)
class Repository:
    """A data set repository of the hub at a commit; `revision=None` means that nobody pinned one."""

    hub: str
    revision: str | None


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """One task: a row of `configs/tasks.yaml`, or of a benchmark of its own.

    `statistics` maps a table (`train`, the split; `corpus`, `queries`, `qrels` for Retrieval) to known figures per column.
    `language` is the key under which mteb 1.1.1 nests the metrics of its multilingual tasks.
    `substitute` is a converted revision to read where `revision` holds no readable file.
    `mteb2_name` and `mteb2_hub` are what mteb 2 calls the task and the repository it reads, which for some tasks is a copy; `mteb2_splits`
    are the splits over which it averages.
    """

    name: str
    type: TaskType
    hub: str
    revision: str = "main"
    config: str = "default"
    split: str
    language: str | None = None
    qrels: Repository | None
    substitute: Repository | None
    mteb2_name: str
    mteb2_hub: str
    mteb2_splits: tuple[str, ...]
    statistics_of: str | None = None
    statistics: Mapping[str, Mapping[str, Any]]
    columns: tuple[str, ...]
    qrels_columns: tuple[str, ...]
    main: str
    metrics: tuple[str, ...]
    n_experiments: int | None = None
    samples_per_label: int | None = None

    @property
    def kind(self) -> TypeFacts:
        """What the task has in common with all of its type."""
        return TYPES[self.type]

    @cached_property
    def flat_main(self) -> str:
        """The main metric's flat name: `cos_sim_spearman`."""
        return flat_name(self.main)

    @cached_property
    def flat_metrics(self) -> tuple[str, ...]:
        """The flat names of the metrics that the benchmark names."""
        return tuple(flat_name(metric) for metric in self.metrics)

    @property
    def card_name(self) -> str:
        """The name in a model card's front matter: `MTEB STS22 (zh)`."""
        return f"MTEB {self.name}" + (f" ({self.language})" if self.language else "")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The card's name first, then what mteb 2 calls the task where that differs (`CMedQAv2-reranking`)."""
        return (self.name,) if self.mteb2_name == self.name else (self.name, self.mteb2_name)

    @property
    def splits(self) -> tuple[str, ...]:
        """The evaluated splits, over which the scores are averaged: one, but for `split: validation+test` of a Classification task."""
        return tuple(self.split.split("+"))

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables the task reads; each is a split of the hub repository (`qrels`: of its qrels repository)."""
        return tuple(name for table in self.kind.tables for name in (self.splits if table == SPLITS else (table,)))

    def table_columns(self, table: str) -> tuple[str, ...]:
        """The columns that the table must have."""
        return self.qrels_columns if table == "qrels" else self.columns


def flat_name(metric: str) -> str:
    """The flat name of a dotted metric: `cos_sim_spearman` of `cos_sim.spearman`."""
    return metric.replace(".", "_")


def known_tasks() -> Mapping[str, Any]:
    """`configs/tasks.yaml`: the facts of every task, of every type, and the usual conventions; parsed once for equal bytes.

    Raises:
        InputError: the file can't be read, or is no mapping.
    """
    path = tasks_file()
    try:
        return parsed_facts(path.read_bytes())
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} can't be read as facts of tasks ({' '.join(str(error).split())}): correct it") from error


def tasks_file() -> Path:
    """The file of `known_tasks`."""
    return resource_dir("configs") / "tasks.yaml"


def task_spec(name: str, row: Mapping[str, Any], kind: Mapping[str, Any], *, split: str | None = None) -> TaskSpec:
    """The task of a row of facts and of those of its type. A row need only have `type` and `hub`; the rest has defaults.

    Raises:
        KeyError, TypeError, ValueError: a fact is missing, or is none.
    """
    known = {item.name for item in fields(TaskSpec)} | {"mteb2"}
    if strange := sorted(set(row) - known):
        raise TypeError(f"{name} has unknown facts: {', '.join(strange)}")
    qrels, substitute, mteb2 = row.get("qrels"), row.get("substitute"), row.get("mteb2", {})
    own_split = row.get("split", "test")
    if "+" in (split or own_split) and row["type"] != "Classification":
        raise ValueError(f"{name} has the splits {split or own_split}: only a Classification has more than one")
    as_stated = ("revision", "config", "language", "statistics_of", "n_experiments", "samples_per_label")
    return TaskSpec(
        name=name,
        type=row["type"],
        hub=row["hub"],
        split=split or own_split,
        qrels=Repository(**qrels) if qrels else None,
        substitute=Repository(**substitute) if substitute else None,
        mteb2_name=mteb2.get("name", name),
        mteb2_hub=mteb2.get("hub", row["hub"]),
        mteb2_splits=tuple(mteb2.get("splits", [split or own_split])),
        statistics=row.get("statistics", {}) if split in (None, own_split) else {},  # those of another split
        columns=tuple(kind["columns"]),
        qrels_columns=tuple(kind.get("qrels_columns", ())),
        main=kind["main"],
        metrics=tuple(kind["metrics"]),
        **{key: row[key] for key in as_stated if key in row},
    )


@cache
def parsed_facts(raw: bytes) -> Mapping[str, Any]:
    """The mapping in a YAML text.

    Raises:
        ValueError, TypeError, RecursionError: it is none.
    """
    import yaml  # not at the top: the command line's help needs the types, and no YAML

    try:
        found = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise TypeError(f"found {type(found).__name__}, expected a mapping")
    return found
