"""Benchmarks: which tasks in which order, by which metrics, scorer and conventions. `configs/benchmarks/*.yaml`, or a file of your own."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from harness.core.errors import InputError, RequestError, unknown
from harness.core.files import FOLDER_NAME
from harness.core.formatting import amount, quoted, shortened
from harness.core.resources import config_names, resource_dir
from harness.core.tasks import TASK_TYPES, TaskSpec, known_tasks, parsed_facts, task_spec, tasks_file

DEFAULT = "cmteb35"
"""The benchmark of a run that names none, and of model cards and result files of others, which never do."""

MTEB_VERSIONS = {"mteb1": "1.1.1", "mteb2": "2.26.24"}
"""By the rules of which version of mteb the built-in scorers score."""

_RANKED = {"mteb1": ("map", "mrr"), "mteb2": ("map_at_1000", "mrr_at_10")}
"""The metrics of Reranking that are a mean over its examples, by scorer."""

_KEYS: tuple[str, ...] = ("name", "title", "scorer", "digest", "tasks", "main", "metrics", "splits", "facts", "repositories")
_KEYS += ("adding_order", "convention", "conventions")


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How the scores of tasks become a row.

    `rounds`: scores are rounded before they are averaged, else only when printed. `metrics`: the score of a type where it is not the
    benchmark's main metric. `without`: tasks that are left out. `reported`: of results in mteb 2's form, whatever metric stands there as
    `main_score` is taken, the mean over the splits that mteb 2 reads. `type_mean`: the mean of the types' means stands beside the average.
    `about`, and in Chinese `about_zh` (empty where nobody wrote it): the convention in words, where `{PairClassification}` is the metric of
    that type.
    """

    about: str
    about_zh: str = ""
    rounds: bool = False
    metrics: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    reported: bool = False
    type_mean: bool = False


@dataclass(frozen=True)
class Benchmark:
    """A named list of tasks, in the order of the leaderboard. `digest`: what records carry, a SHA-256 over the facts of the tasks.

    `title`: in words, for people. `usual`: the convention of a table that names none. `adding_order`: the order in which scores are added
    up, which decides the last digit of some averages. `path`: the file of a benchmark that does not come with the package.
    """

    name: str
    title: str
    tasks: tuple[TaskSpec, ...]
    digest: str
    scorer: str = "mteb1"
    usual: str = "cmteb"
    conventions: Mapping[str, Convention] = field(default_factory=dict)
    adding_order: tuple[str, ...] = ()
    path: Path | None = None

    def convention(self, name: str) -> Convention:
        """The convention of that name.

        Raises:
            RequestError: there is none.
        """
        if name not in self.conventions:
            raise RequestError(unknown("convention", name, self.conventions))
        return self.conventions[name]

    def select(self, wanted: Iterable[str]) -> tuple[TaskSpec, ...]:
        """The tasks that `wanted` names (tasks, aliases or types, any case, hyphens or none), in the benchmark's order; all when empty.

        Raises:
            RequestError: names that are neither a task nor a type, all of them in one message.
        """
        keys = list(wanted)
        if not keys:
            return self.tasks
        if strange := [key for key in keys if not isinstance(key, str)]:
            raise RequestError(f"tasks: {quoted(strange[0])} is no name of a task or of a type of tasks")
        by_key: dict[str, set[str]] = {}
        for task in self.tasks:
            for key in (*task.names, task.type):
                by_key.setdefault(_bare(key), set()).add(task.name)
        wrong = [key for key in keys if _bare(key) not in by_key]
        if wrong:
            known = [*TASK_TYPES, *(task.name for task in self.tasks)]
            raise RequestError("\n".join(unknown("task or task type", key, known) for key in wrong))
        names = set().union(*(by_key[_bare(key)] for key in keys))
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


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def is_file_name(benchmark: str) -> bool:
    """Whether `benchmark=` was given a file, not a name."""
    return benchmark.endswith((".yaml", ".yml"))


def benchmark_name(benchmark: str) -> str:
    """The name of the benchmark that `benchmark=` was given by name or by file: a file bears the name of its benchmark."""
    return Path(benchmark).stem if is_file_name(benchmark) else benchmark


def load_benchmark(benchmark: str = DEFAULT) -> Benchmark:
    """The benchmark of that name, or of that file (`my/own.yaml`).

    Raises:
        RequestError: there is no such benchmark or file, or the file is no benchmark.
        InputError: a file of the package is damaged.
    """
    own = Path(benchmark).expanduser() if is_file_name(benchmark) else None
    path = own or resource_dir("configs") / "benchmarks" / f"{benchmark}.yaml"
    if not path.is_file():
        hint = f"no such file: {path}" if own else unknown("benchmark", benchmark, config_names("benchmarks"))
        raise RequestError(f"{hint}; a benchmark of your own is a file: benchmark=DIR/NAME.yaml")
    known_tasks()
    try:
        found = _benchmark(path.read_bytes(), tasks_file().read_bytes(), own)
        if own and found.name in config_names("benchmarks") and found.digest != load_benchmark(found.name).digest:
            raise ValueError(f"{found.name} comes with the package, with other tasks or facts: give your benchmark another name")
        return found
    except (KeyError, OSError, RecursionError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else shortened(" ".join(str(error).split()), 1000)
        raise (RequestError if own else InputError)(
            f"{path} is no benchmark ({what}): docs/extending.md shows what it must have"
        ) from error


def facts_digest(tasks: Iterable[TaskSpec], scorer: str) -> str:
    """SHA-256 over the facts that decide a score, whatever file, order of keys or comments they come from."""
    return hashlib.sha256(json.dumps([scorer, [asdict(task) for task in tasks]], sort_keys=True).encode()).hexdigest()


def _as_mteb2_reads(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The facts of a task in the repository that mteb 2 reads, at its commit, judgements among them; where that is a copy."""
    copy = row.get("mteb2", {})
    if "revision" not in copy:
        return row
    there = {"hub": copy["hub"], "revision": copy["revision"]}
    return {**row, **there, **({"qrels": there} if "qrels" in row else {})}


def _convention(rule: Mapping[str, Any], mains: Mapping[str, str]) -> Convention:
    """The convention of a file. `mains`: the benchmark's main metric of every type."""
    found = Convention(**{**rule, "without": frozenset(rule.get("without", ()))})
    about, about_zh = found.about, found.about_zh
    for kind, metric in {**mains, **found.metrics}.items():
        if not isinstance(metric, str):
            raise ValueError(f"{kind} has the metric {metric!r:.60}: give its name")
        about, about_zh = (text.replace(f"{{{kind}}}", metric.replace(".", " ")) for text in (about, about_zh))
    return replace(found, about=about, about_zh=about_zh)


@cache  # every command asks several times
def _benchmark(own: bytes, all_tasks: bytes, path: Path | None) -> Benchmark:
    table, known = parsed_facts(own), parsed_facts(all_tasks)
    if strange := sorted(set(table) - set(_KEYS)):
        raise ValueError(f"unknown keys: {', '.join(strange)}; known: {', '.join(_KEYS)}")
    if path is not None and table["name"] != path.stem:
        raise ValueError(f"its name is {table['name']!r}: call the file {table['name']}.yaml")
    if wrong := [str(name) for name in (table["name"], *table["tasks"]) if not FOLDER_NAME.fullmatch(str(name))]:
        raise ValueError(f"{', '.join(map(repr, wrong))} can't be the name of a file: use letters, digits and . _ + -")
    names = [str(name) for name in table["tasks"]]
    if not names:
        raise ValueError("tasks is empty: name one or more")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"tasks has {', '.join(twice)} more than once: an average would count it as often")
    facts = {**known["tasks"], **table.get("facts", {})}
    if wrong := [unknown("task", name, facts) for name in table["tasks"] if name not in facts]:
        raise ValueError("; ".join(wrong) + "; facts of a task of your own stand under facts:")
    mains, metrics, splits = (table.get(key, {}) for key in ("main", "metrics", "splits"))
    for key, given, names in (("main", mains, known["types"]), ("metrics", metrics, known["types"]), ("splits", splits, table["tasks"])):
        if wrong := [unknown("task" if key == "splits" else "task type", name, names) for name in given if name not in names]:
            raise ValueError(f"{key}: {'; '.join(wrong)}")
    if table.get("repositories", "mteb2") != "mteb2":
        raise ValueError(f"repositories: {table['repositories']!r}: the only other ones that are known are those of mteb2")
    scorer = table.get("scorer", "mteb1")
    tasks = []
    for name in table["tasks"]:
        row = facts[name]
        if table.get("repositories") == "mteb2":
            row = _as_mteb2_reads(row)
        if row["type"] not in known["types"]:
            raise ValueError(unknown("task type", row["type"], known["types"]))
        kind = known["types"][row["type"]]
        kind = {**kind, "main": mains.get(row["type"], kind["main"]), "metrics": metrics.get(row["type"], kind["metrics"])}
        if kind["main"] not in kind["metrics"]:
            gives = ", ".join(kind["metrics"])
            raise ValueError(
                f"main: {row['type']}: {kind['main']!r} is none of its metrics: {gives}; name those of another scorer in metrics:"
            )
        folded = _RANKED.get(scorer)
        if row["type"] == "Reranking" and folded and kind["main"] not in folded:
            raise ValueError(f"main: Reranking: scorer {scorer} can average {' and '.join(folded)}, not {kind['main']!r}")
        tasks.append(task_spec(name, row, kind, split=splits.get(name)))
    digest, recorded = facts_digest(tasks, scorer), table.get("digest", {})
    usual_mains = {kind: mains.get(kind, facts["main"]) for kind, facts in known["types"].items()}
    rules = {**known["conventions"], **table.get("conventions", {})}
    return Benchmark(
        name=table["name"],
        tasks=tuple(tasks),
        digest=recorded["recorded_as"] if digest == recorded.get("facts") else digest,
        title=table.get("title", amount(len(tasks), "task")),
        scorer=scorer,
        usual=table.get("convention", "cmteb"),
        conventions={name: _convention(rule, usual_mains) for name, rule in rules.items()},
        adding_order=tuple(table.get("adding_order", ())),
        path=path,
    )
