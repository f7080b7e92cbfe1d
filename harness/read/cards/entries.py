"""The entries of a card's `model-index`: which task each one is of, and which of its metrics are scores. Values are 0 to 100.

Nothing here is raised: what is wrong with an entry concerns its task alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.core.benchmarks import Benchmark
from harness.core.formatting import bare_name, few
from harness.core.mteb2_names import STAND_INS, mteb1_metric
from harness.core.records import OtherDefinition
from harness.core.tasks import TaskSpec, known_tasks

EXACT, COPY, NEAR = range(3)
"""How well an entry names the task's repository: by its name, by that of the copy mteb 2 reads, nearly."""

_OWNERS = ("c-mteb", "mteb")
_NOTHING = ("", "~", "null", "None")


@dataclass(frozen=True)
class Match:
    """The task that an entry is of, the repository that it names, and how well that fits."""

    task: TaskSpec
    repository: str
    rank: int


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is claimed of one task. `metrics`: every metric under its flat name (`cos_sim_spearman`), 0 to 100. `copies`: how many equal
    entries of a card state it.

    `problem`: why there is no main metric, else empty (and no metric at all where entries contradict each other); `other`: the metric
    that stands in its place. `left_out`: metrics that are no score.
    """

    task: str
    split: str
    revision: str | None
    metrics: Mapping[str, float]
    copies: int = 1
    problem: str = ""
    other: OtherDefinition | None = None
    left_out: tuple[str, ...] = ()
    from_main_score: bool = False


@dataclass(frozen=True)
class _Metrics:
    values: Mapping[str, float]
    wrong: Mapping[str, str]


def match_entry(entry: Any, benchmark: Benchmark) -> Match | None:
    """The task that an entry names; None where it is another task, another split or another language."""
    dataset = entry.get("dataset") if isinstance(entry, dict) else None
    if not isinstance(dataset, dict):
        return None
    repository, kind = str(dataset.get("type")), entry.get("task")
    for task in benchmark.tasks:
        if dataset.get("split") != task.split:
            continue
        same_name = dataset.get("name") in (task.card_name, f"MTEB {task.mteb2_name}")
        if repository in (task.hub, task.mteb2_hub, first_hub(task)) and (task.config == dataset.get("config") or same_name):
            return Match(task, repository, EXACT if repository == task.hub else COPY)
        if same_name and isinstance(kind, dict) and kind.get("type") == task.type and near_repository(repository, task.hub):
            return Match(task, repository, NEAR)
    return None


def first_hub(task: TaskSpec) -> str:
    """The repository of `configs/tasks.yaml`, where a benchmark reads a copy."""
    row = known_tasks()["tasks"].get(task.name, {})
    return str(row.get("hub", task.hub))


def near_repository(one: str, other: str) -> bool:
    """Whether two repositories differ only in how their names end, or in case. Their owner is one, or not named, or each is one of the two
    that hold the benchmark's data."""
    owners = {name.rpartition("/")[0].lower() for name in (one, other)} - {""}
    names = sorted((bare_name(one), bare_name(other)), key=len)
    return (len(owners) == 1 or owners <= set(_OWNERS)) and bool(names[0]) and names[1].startswith(names[0])


def entry_label(entry: Any, position: int) -> str:
    """An entry in words: its data set's name, repository, config and split."""
    dataset = entry.get("dataset") if isinstance(entry, dict) else None
    if not isinstance(dataset, dict):
        return f"entry {position}, which has no dataset"
    return "{} ({}, {}, {})".format(*(dataset.get(key, "") for key in ("name", "type", "config", "split")))


def task_claim(task: TaskSpec, entries: Sequence[tuple[int, Any]]) -> Claim:
    """What the entries (each with its position in the model-index, from 1) state of the task. Equal ones are one."""
    read = [(position, _metrics(entry.get("metrics"))) for position, entry in entries]
    revisions = [_revision(entry["dataset"].get("revision")) for _, entry in entries]
    values, wrong = dict(read[0][1].values), {name: text for _, each in read for name, text in each.wrong.items()}
    where = "entry " + " and ".join(str(position) for position, _ in entries[:3])
    problem = _conflict(task, read) or ("revisions" if len({each for each in revisions if each}) > 1 else "")
    for _, each in read[1:]:
        values |= each.values
    main, claims = task.flat_main, f"{where} of the model-index ({task.name})"
    other, from_main_score = None, False
    if problem:
        problem, values = f"the card claims {task.name} {len(entries)} times with different {problem} ({where}): remove all but one", {}
    elif main not in values and main in wrong:
        problem = f"{main} in {claims} is {wrong[main]}; expected one number from -100 to 100"
    elif main not in values and "main_score" in values:
        alone = STAND_INS.get(task.type)
        if alone in (None, main):
            values[main], from_main_score = values["main_score"], True
        else:
            other = OtherDefinition(metric=alone, value=values["main_score"] / 100)
            problem = f"{claims} has main_score alone, which is {alone} to mteb 2, not {main}: the definition differs"
    elif main not in values:
        problem = f"{claims} has no {main} (there are: {few(sorted(values), 6) or 'no number'})"
    return Claim(
        task=task.name,
        split=task.split,
        revision=next((each for each in revisions if each), None),
        metrics=values,
        copies=len(entries),
        problem=problem,
        other=other,
        left_out=tuple(f"{name} {text}" for name, text in wrong.items() if name != main or not problem),
        from_main_score=from_main_score,
    )


def usable_score(text: object) -> float | None:
    """The number in a text where it can be a score in percent, or a correlation, which may be negative; else None."""
    try:
        value = float(text) if isinstance(text, str) else math.nan
    except ValueError:
        return None
    return value if -100 <= value <= 100 else None


def _metrics(entries: Any) -> _Metrics:
    """The scores of an entry, and what stands in the place of others. Thresholds and `nauc_*` are no scores, and are passed over."""
    values: dict[str, float] = {}
    wrong: dict[str, str] = {}
    for entry in entries if isinstance(entries, list) else ():
        written = entry.get("type") if isinstance(entry, dict) else None
        if not isinstance(written, str) or written.endswith("_threshold") or written.startswith("nauc"):
            continue
        name = mteb1_metric(written)  # a card that was merged may have both names
        value = usable_score(entry.get("value"))
        if value is None:
            wrong.setdefault(name, f"{entry.get('value')!r:.60}")
        elif values.setdefault(name, value) != value:
            wrong[name] = f"given as {values[name]} and as {value}"
    conflicts = [name for name, text in wrong.items() if text.startswith("given as")]
    return _Metrics({name: value for name, value in values.items() if name not in conflicts}, wrong)


def _conflict(task: TaskSpec, read: Sequence[tuple[int, _Metrics]]) -> str:
    """Which metric several entries of a task state differently; empty where they agree in all that they share."""
    (_, first), *others = read
    for _, other in others:
        shared = first.values.keys() & other.values.keys()
        differing = sorted(name for name in shared if first.values[name] != other.values[name])
        if differing or not shared:
            main = task.flat_main
            name = main if main in differing else differing[0] if differing else "metrics"
            return f"{name}s" if name == "metric" else name
    return ""


def _revision(found: object) -> str | None:
    return found if isinstance(found, str) and found not in _NOTHING else None
