"""The model-index of a model card, as mteb 1's `mteb_meta.py` wrote the one of acge's card: names, order, percent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from harness.core.records import Run, flat_metrics
from harness.show.export.selection import OTHER_DATA, Exported, Selection

Entry = Mapping[str, Any]
"""One element of `results`: `task`, `dataset` and `metrics`, as YAML has them."""

_NEVER_FOLDED = 1 << 20
_LINE_ENDS = "\x85\u2028\u2029"  # PyYAML writes them as they are, and reads them as line ends


def card_model_name(run: Run) -> str:
    """How a card would call the run's model: the last part of its repository, else the name that the run has."""
    loaded, asked = run.manifest.model, run.manifest.spec.model if run.manifest.spec else None
    repository = (loaded.repository if loaded else None) or (asked.hub if asked else None)
    return (repository or run.header.model).rpartition("/")[2]


def index_entries(selection: Selection) -> tuple[Entry, ...]:
    """An entry per task, sorted by the task's name, its metrics sorted by theirs; values 0 to 100.

    The metrics are the benchmark's (no thresholds, no standard errors), those that the record has. A score on other data has neither the
    repository nor the revision of the benchmark, and its name says so.
    """
    return tuple(_entry(each) for each in selection.tasks)


def index_yaml(name: str, entries: Sequence[Entry]) -> str:
    """The `model-index` of one model as YAML in block style, with a newline at the end."""
    return dump({"model-index": [{"name": name, "results": [dict(entry) for entry in entries]}]})


def dump(value: Any, *, flow: bool = False) -> str:
    """YAML on unfolded lines, in the order of the keys; floats come back to the last bit from any YAML 1.1 parser."""

    def dumped(*, unicode: bool) -> str:
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=unicode, width=_NEVER_FOLDED, default_flow_style=flow)

    text = dumped(unicode=True)
    return text if set(text).isdisjoint(_LINE_ENDS) else dumped(unicode=False)


def _entry(each: Exported) -> Entry:
    task, record = each.task, each.record
    flat = flat_metrics(record.metrics, task)
    names = sorted(task.flat_metrics)
    dataset = {"type": task.hub, "name": task.card_name, "config": task.config, "split": task.split}
    if not each.on_benchmark:
        dataset["type"] = f"{OTHER_DATA.replace(' ', '-')}/{task.name}"
        dataset["name"] += f", {OTHER_DATA} data ({each.source})"
    elif record.dataset_revision:
        dataset["revision"] = record.dataset_revision
    metrics = [{"type": name, "value": 100 * flat[name]} for name in names if name in flat]
    return {"task": {"type": task.type}, "dataset": dataset, "metrics": metrics}
