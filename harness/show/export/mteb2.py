"""A run as mteb 2 keeps results: `results/<model>/<revision>/<Task>.json`, a TaskResult each, and `model_meta.json` beside them.

A field has the name that mteb 2.26.24 gives it, and the value of the record, with the `mteb_version` by whose rules it was computed. Where
mteb 1.1.1 computes a metric in another way (docs/protocol.md) the file keeps the name of the definition it has: a reranking has `map`, not
`map_at_1000`. What mteb 2 has no field for stands under `harness`, which its loader passes over and `harness.read.results` reads back.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.core.errors import InputError, RequestError
from harness.core.files import open_regular, write_json
from harness.core.fingerprint import Fingerprint
from harness.core.formatting import amount
from harness.core.mteb2_names import MAIN_SCORES, mteb2_metric
from harness.core.records import flat_metrics
from harness.core.run_files import made_json
from harness.core.tasks import TaskSpec, TaskType
from harness.core.typed import parse
from harness.read.results import META, SELF_REPORTED
from harness.show.export.selection import OTHER_DATA, Exported, Selection

NO_REVISION = "no_revision_available"  # as mteb writes it
NO_ORGANIZATION = "no_organization_available"
_NO_DATA_REVISION = "dataset revision not available"  # as mteb 2 writes it when it converts results of mteb 1
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")

_NEAREST: dict[TaskType, str] = {"Reranking": "map"}
"""The metric that stands in for the main score of mteb 2 in a record without it. A run by mteb 2's rules has the main score itself."""
_DIFFERS = {
    "Reranking": "mteb 2 has map_at_1000 here: rounded to 5 digits, ties in another order, lists cut after 1000. map is the nearest metric "
    "of mteb 1.1.1, and what mteb wrote here before map_at_1000"
}
# The language codes of mteb 2.26.24's metadata, by which it selects: its Massive tasks call zh-CN cmo-Hans.
_LANGUAGES = {"zh-CN": ["cmo-Hans"]}
_UNKNOWN = (
    *("loader", "release_date", "languages", "memory_usage_mb", "license", "open_weights"),
    *("public_training_code", "public_training_data", "training_datasets"),
)
"""Fields of mteb 2's ModelMeta that no run tells."""
_READ_SIMILARITIES = ("cosine", "dot")
"""The names of similarities that its ModelMeta takes from a file."""


@dataclass(frozen=True)
class Written:
    """The folder of the model's revision, the tasks in it by mteb 2's names, and what was left out and why.

    `nearest`: the tasks whose main score is not quite the metric that mteb 2 has there. `partial`: those without all splits of mteb 2.
    """

    folder: Path
    tasks: tuple[str, ...]
    nearest: tuple[str, ...]
    left_out: tuple[str, ...]
    partial: tuple[str, ...] = ()


def write_results(selection: Selection, folder: Path, *, name: str | None = None) -> Written:
    """Write the scores below `folder`, which may hold other models: `mteb.ResultCache(folder)` reads it.

    `name`: `organization/model`; None takes the run's repository. A model with scores on other data gets a name that says so.

    Raises:
        RequestError: the name is no model's, or the place has results of another run.
        InputError: no task has the metric that mteb 2 calls its main score.
    """
    meta = _meta(selection, name)
    place = folder / "results" / _folder_name(meta["name"], "--name") / _folder_name(meta["revision"], "the revision")
    header = {key: value for key, value in asdict(selection.run.header).items() if key != "notes"}
    run = {"run": selection.run.manifest.run, **header}
    results: dict[str, dict[str, Any]] = {}
    left_out: list[str] = []
    for each in selection.tasks:
        result = _result(each, run)
        if result is None:
            left_out.append(f"{each.task.name} (no {_main(each.task, {})})")
        else:
            results[each.task.mteb2_name] = result
    if not results:
        raise InputError(f"{selection.run.path} has no main score that mteb 2 knows: {', '.join(left_out)}")
    _refuse_other_run(place, run)
    write_json(place / META, meta)
    for task, result in results.items():
        write_json(place / f"{task}.json", result)
    nearest = tuple(name for name, result in results.items() if "main_score" in result["harness"])
    partial = tuple(each.task.mteb2_name for each in selection.tasks if each.task.mteb2_name in results and missing_splits(each))
    return Written(place, tuple(results), nearest, tuple(left_out), partial)


def written_lines(written: Written) -> list[str]:
    """What was written, for a terminal."""
    reader = f"mteb.ResultCache({str(written.folder.parents[2])!r}).load_results()"
    lines = [f"{written.folder}: {amount(len(written.tasks), 'task')}, read by {reader}"]
    if written.folder.parent.name.startswith(NO_ORGANIZATION):
        lines.append("mteb 2 wants a model's name with its organization: name it with --name ORGANIZATION/MODEL")
    if written.nearest:
        lines.append(f"main_score is map, not mteb 2's map_at_1000 (docs/exchange.md): {', '.join(written.nearest)}")
    if written.partial:
        lines.append(
            f"not all splits: {', '.join(written.partial)}: mteb 2 averages validation and test, and gives no score where another "
            "result has both. A run with benchmark=cmn_v1 has them (python -m harness score RUN benchmark=cmn_v1)"
        )
    if written.left_out:
        lines.append(f"left out: {', '.join(written.left_out)}")
    return lines


def split_metrics(each: Exported) -> dict[str, dict[str, float]]:
    """The record's metrics by split, under mteb 2's names, main score first; empty where it lacks the metric that mteb 2 has there."""
    task, record = each.task, each.record
    one: Any = record.metrics
    by_split = {split: one.get(split, {}) for split in task.splits} if len(task.splits) > 1 else {task.split: one}  # a card has the mean
    found = {}
    for split, metrics in by_split.items():
        flat = {mteb2_metric(name): value for name, value in flat_metrics(metrics, task).items() if name != "main_score"}
        main = _main(task, flat)
        if main not in flat:
            return {}
        found[split] = {"main_score": flat[main], **flat}
    return found


def missing_splits(each: Exported) -> list[str]:
    """The splits that mteb 2 averages over and the record does not have."""
    return [split for split in each.task.mteb2_splits if split not in each.task.splits]


def nearest_metric(each: Exported) -> str | None:
    """What stands in for mteb 2's main metric, which the record lacks; None where it has it."""
    return None if MAIN_SCORES[each.task.type] in each.record.metrics else _NEAREST.get(each.task.type)


def _main(task: TaskSpec, metrics: Mapping[str, Any]) -> str:
    main = MAIN_SCORES[task.type]
    return main if main in metrics else _NEAREST.get(task.type, main)


def _result(each: Exported, run: Mapping[str, Any]) -> dict[str, Any] | None:
    task, record = each.task, each.record
    scores = split_metrics(each)
    if not scores:
        return None
    subset, languages = task.language or task.config, _LANGUAGES.get(task.language or "", ["cmn-Hans"])
    revision = record.dataset_revision or _NO_DATA_REVISION
    harness: dict[str, Any] = {**made_json(record.made), "exported": run}
    if nearest := nearest_metric(each):
        harness["main_score"] = {"metric": nearest, "differs": _DIFFERS[task.type]}
    return {
        "dataset_revision": revision if each.on_benchmark else f"{OTHER_DATA}: {each.source} data",
        "task_name": task.mteb2_name,
        "mteb_version": record.mteb_version,
        "scores": {split: [{"hf_subset": subset, "languages": languages, **metrics}] for split, metrics in scores.items()},
        "evaluation_time": record.evaluation_time,
        "kg_co2_emissions": None,
        "harness": harness,
    }


def _meta(selection: Selection, name: str | None) -> dict[str, Any]:
    """The fields of mteb 2's ModelMeta; null where the run does not tell."""
    run = selection.run
    model, spec = run.manifest.model or Fingerprint(), run.manifest.spec
    found = name or model.repository or run.header.model
    full = found if "/" in found else f"{NO_ORGANIZATION}/{found}"
    if not all(each.on_benchmark for each in selection.tasks):
        full += f"-{OTHER_DATA.replace(' ', '-')}"
    ours, similarity = run.manifest.model is not None, (run.manifest.own_settings or {}).get("similarity")
    return {
        **dict.fromkeys(_UNKNOWN),
        "name": full,
        "revision": _revision(selection),
        "n_parameters": model.stored_parameters or model.parameters or None,
        "max_tokens": model.max_positions or None,
        "embed_dim": run.header.dim,
        "framework": ["Sentence Transformers", "PyTorch"] if ours else [],
        "similarity_fn_name": similarity if similarity in _READ_SIMILARITIES else None,
        "use_instructions": spec.model.query_instruction is not None or spec.prompts.identity() is not None if spec else None,
    }


def _revision(selection: Selection) -> str:
    """The commit of the weights; for scores that were taken from a card, what the results repository calls them."""
    if all(each.record.made.trust == "self-reported" for each in selection.tasks):
        return SELF_REPORTED
    commit = selection.run.manifest.model.commit if selection.run.manifest.model else None
    origins = (each.record.made.origin for each in selection.tasks)
    return commit or next((origin.model_revision for origin in origins if origin and origin.model_revision), NO_REVISION)


def _folder_name(name: str, what: str) -> str:
    """The name as mteb 2 makes a folder of it."""
    folder = name.replace("/", "__").replace(" ", "_")
    if not _FILE_NAME.fullmatch(folder):
        raise RequestError(f"{what} {name!r} can't be the name of a folder: give the model as --name ORGANIZATION/MODEL")
    return folder


def _refuse_other_run(place: Path, run: Mapping[str, Any]) -> None:
    for path in sorted(place.glob("*.json")):
        if path.name == META:
            continue
        try:
            with open_regular(path) as stream:
                found = parse(stream.read())["harness"]["exported"]
        except (OSError, ValueError, KeyError, TypeError):
            found = None
        if found != run:
            raise RequestError(
                f"{path} is not of this run: mteb 2 keeps one run per model and revision, so name another folder with -o DIR"
            )
