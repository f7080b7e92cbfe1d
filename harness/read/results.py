"""Result files of mteb, versions 1 and 2, as a run: one folder of them is one model at one revision.

mteb 1.1 writes `{mteb_dataset_name, dataset_revision, mteb_version, SPLIT: {metrics}}` with nested metrics; mteb 2, the later mteb 1
and the public results repository `{task_name, dataset_revision, mteb_version, scores: {SPLIT: [{hf_subset, metrics}]}}` with flat
ones. Both come out as `records.TaskRecord`: the benchmark's split and subset, the metric names of mteb 1.1.1, 0 to 1. Nothing is
averaged over splits, subsets or revisions. `main_score` is not used: in mteb 2 it is another metric for pairs (best accuracy) and
rerankings. No scale is guessed: what is not from 0 to 1, as mteb writes it, is refused.

Who made a score stays in `TaskRecord.made.origin`: `trust` is `self-reported` (taken from a model card, by its authors or by the
results repository: no mteb version), `re-run by others` or `ours` (the file has our own part, which says no other).
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError
from harness.core.files import open_regular
from harness.core.formatting import amount, counted, few
from harness.core.mteb2_names import STAND_INS, mteb1_metric
from harness.core.records import (
    Made,
    Manifest,
    Origin,
    OtherDefinition,
    Provenance,
    RowHeader,
    Run,
    TaskRecord,
    Trust,
    beyond_scale,
    nested_metrics,
)
from harness.core.run_files import MANIFEST
from harness.core.tasks import TaskSpec
from harness.core.typed import convert, leaves, refuse_long_numbers

Form = Literal["mteb 1", "mteb 2"]

META = "model_meta.json"
SELF_REPORTED = "external"  # how the results repository calls the revision of results that it took from a model card
_REVISION = re.compile(rf"[0-9a-f]{{40}}|{SELF_REPORTED}|no_revision_available")
# The results repository writes the word None, mteb 2 the sentence.
_NO_REVISION = ("", "None", "null", "dataset revision not available")
_NAME = re.compile(rb'"\s*:')  # ends every name, and may stand in a text
_LARGEST = 16 << 20  # bytes; the largest files of the results repository, of tasks in hundreds of languages, have one or two


@dataclass(frozen=True)
class _File:
    """`made`: what this harness wrote into the file beside the scores; None where there is nothing that it could have written."""

    path: Path
    raw: Mapping[str, Any]
    task: str
    form: Form
    made: Made | None

    @property
    def version(self) -> str | None:
        return str(self.raw["mteb_version"]) if self.raw.get("mteb_version") else None

    def trust(self, model_revision: str | None) -> Trust:
        if self.made is not None:
            return self.made.trust
        return "re-run by others" if self.version and model_revision != SELF_REPORTED else "self-reported"


class _Unusable(Exception):  # noqa: N818 (ends in this module: it becomes a line of `Run.broken`)
    """A file of the task holds no score that the benchmark could take; the message says why."""

    def __init__(self, message: str, other: OtherDefinition | None = None) -> None:
        super().__init__(message)
        self.other = other


class _Percent(_Unusable):
    """A file has a number that mteb's scale, 0 to 1, does not have."""


class _Foreign(Exception):  # noqa: N818
    """A file holds another language's score: it belongs to another benchmark."""


def is_revision(name: str) -> bool:
    """Whether a folder's name is a revision of a model, as the results repository names folders."""
    return _REVISION.fullmatch(name) is not None


def find_results(path: Path) -> list[Path]:
    """The folders at or below a path that hold result files of mteb, sorted; run folders (with a manifest) and what is in them are none."""
    found = []
    for folder, below, names in os.walk(path):
        if MANIFEST in names:
            below.clear()
            continue
        below[:] = [name for name in below if not name.startswith(".")]
        if any(isinstance(_open(Path(folder, name)), _File) for name in sorted(names) if name.endswith(".json")):
            found.append(Path(folder))
    return sorted(found)


def read_results(folder: Path, benchmark: Benchmark) -> Run:
    """The result files of a folder as a run.

    A damaged file, one without the benchmark's split or with its main metric missing or NaN is named under `broken`, never counted.
    So are all files beside one in percent: 0.8 may be 0.8 percent then. Files of other tasks or languages are named in a note.

    Raises:
        InputError: `folder` holds no result file.
    """
    opened = {path: _open(path) for path in sorted(folder.glob("*.json")) if path.name != META}
    files = [file for file in opened.values() if isinstance(file, _File)]
    damaged = {path.stem: file for path, file in opened.items() if isinstance(file, str)}
    if not files:
        raise InputError(f"{folder} holds no result file of mteb: name the folder that holds <Task>.json files")
    records: dict[str, TaskRecord] = {}
    names = {alias: task.name for task in benchmark.tasks for alias in task.names}
    broken = {names[stem]: message for stem, message in damaged.items() if stem in names}
    foreign = [f"{stem} (can't be read)" for stem in damaged if stem not in names]
    others: dict[str, OtherDefinition] = {}
    reported: dict[str, dict[str, float]] = {}
    percent: list[str] = []
    meta = _meta(folder)
    revision = _model_revision(folder, meta)
    groups: dict[str | None, list[_File]] = {}
    for file in files:
        groups.setdefault(names.get(file.task), []).append(file)
    for name, group in groups.items():
        if name is None:
            foreign += [file.task for file in group]
        elif len(group) > 1:
            broken[name] = f"{folder} has {name} in several files ({', '.join(file.path.name for file in group)}): keep one of them"
        else:
            reported[name] = _main_scores(group[0], benchmark.task(name))
            try:
                records[name] = _record(group[0], benchmark.task(name), revision)
            except _Foreign as other:
                foreign.append(f"{group[0].task} ({other})")
            except _Unusable as error:
                broken[name] = f"{group[0].path}: {error}"
                percent += [group[0].path.name] if isinstance(error, _Percent) else []
                others |= {name: error.other} if error.other else {}
    if percent:
        remedy = f"divide the numbers of {few(percent, 3)} by 100 where they are percentages"
        broken |= dict.fromkeys(records, f"{folder} has percentages, so this task's numbers may be some, too: {remedy}")
        records.clear()
        reported.clear()
    exported = _exported(files)
    notes = _notes(folder, meta, files, records, revision=revision, foreign=foreign, exported=exported is not None)
    place = folder.resolve()
    name = meta.get("name") if isinstance(meta.get("name"), str) else (place.parent if is_revision(place.name) else place).name
    header = replace(exported or RowHeader.unknown(""), model=str(name).replace("__", "/"), notes=tuple(notes))
    return Run(folder, Manifest(header=header), records, broken=broken, other_definitions=others, reported=reported)


def _open(path: Path) -> _File | str | None:
    """The result file at a path; why it is damaged; None where it is another kind of JSON."""
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            return f"{path} has {size / 1e6:.0f} MB, more than any result file of mteb: fetch it again"
        raw = _json(path)
    except (OSError, ValueError, RecursionError) as error:
        return f"{path} can't be read as JSON ({error}): fetch it again"
    if not isinstance(raw, dict) or "error" in raw:  # a failure of ours has the task's name, too
        return None
    for key, form in (("task_name", "mteb 2"), ("mteb_dataset_name", "mteb 1")):
        if isinstance(raw.get(key), str) and (form == "mteb 1" or isinstance(raw.get("scores"), dict)):
            return _File(path, raw, raw[key], form, _made(raw.get("harness")))  # type: ignore[arg-type]
    return None


def _made(part: object) -> Made | None:
    with contextlib.suppress(ValueError):
        return convert({key: value for key, value in part.items() if key != "schema"}, Made) if isinstance(part, dict) else None
    return None


def _json(path: Path) -> Any:
    """The JSON of a file, with the NaN that mteb writes, and no name twice in an object.

    msgspec is four times as fast, but takes no NaN, and of a name that is there twice the last: then Python's parser has the say.
    """
    with open_regular(path) as stream:
        data = stream.read()
    refuse_long_numbers(data)
    with contextlib.suppress(msgspec.MsgspecError, RecursionError):
        raw = msgspec.json.decode(data)
        if _count_names(raw) == len(_NAME.findall(data)):
            return raw
    return json.loads(data.decode(), object_pairs_hook=_no_duplicates)


def _count_names(raw: Any) -> int:
    values, count = [raw], 0
    for value in values:  # it grows on the way
        if type(value) is dict:
            count += len(value)
            values += value.values()
        elif type(value) is list:
            values += value
    return count


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"one of the names {', '.join(sorted(found)[:4])} is there twice")
    return found


def _record(file: _File, task: TaskSpec, model_revision: str | None) -> TaskRecord:
    scores = _split_scores(file, task)
    flat = _canonical(scores, task)
    main_score = _finite(scores.get("main_score")) or 0.0
    if wrong := [f"{name} {value}" for name, value in beyond_scale(flat | {"main_score": main_score}).items()]:
        raise _Percent(f"{', '.join(wrong[:3])} is not in the scale of mteb, 0 to 1: divide by 100 if these are percentages")
    main = task.flat_main
    if not math.isfinite(flat.get(main, math.nan)):
        raise _no_main(task, main, flat)
    metrics: dict[str, Any] = nested_metrics({name: value for name, value in flat.items() if math.isfinite(value)})
    found, trust, made = file.raw.get("dataset_revision"), file.trust(model_revision), file.made or Made()
    revision = found if isinstance(found, str) and found not in _NO_REVISION else None
    reported = f"self-reported: {file.form} result file without an mteb version" if trust == "self-reported" else ""
    timed = file.raw if file.form == "mteb 2" else file.raw.get(task.split, {})
    return TaskRecord(
        task=task.name,
        split=task.split,
        metrics={task.language: metrics} if task.language else metrics,
        dataset_revision=revision,
        evaluation_time=_finite(timed.get("evaluation_time")),
        mteb_version=file.version,
        made=replace(
            made,
            origin=Origin(trust=trust, form=file.form, file=file.path.name, model_revision=model_revision),
            source=made.source or reported,
            data=made.data or (Provenance(substituted=True) if revision not in (None, task.revision) else None),
        ),
    )


def _main_scores(file: _File, task: TaskSpec) -> dict[str, float]:
    """What stands under `main_score` for every split that has the task's subset once; nothing for files in mteb 1's form."""
    found: dict[str, float] = {}
    for split, entries in (file.raw["scores"] if file.form == "mteb 2" else {}).items():
        subsets = [
            entry for entry in entries if isinstance(entry, dict) and entry.get("hf_subset") in (task.language or "default", task.config)
        ]
        value = _finite(subsets[0].get("main_score")) if isinstance(entries, list) and len(subsets) == 1 else None
        if value is not None and abs(value) <= 1:
            found[split] = value
    return found


def _split_scores(file: _File, task: TaskSpec) -> Mapping[str, Any]:
    """The metrics of the benchmark's split and subset."""
    splits = file.raw["scores"] if file.form == "mteb 2" else {key: value for key, value in file.raw.items() if isinstance(value, dict)}
    if len(task.splits) > 1 and file.form == "mteb 2":
        parts = {split: _canonical(_split_scores(file, replace(task, split=split)), task) for split in task.splits}
        return {
            name: sum(part[name] for part in parts.values()) / len(parts) for name in set.intersection(*map(set, parts.values()))
        } | parts
    found = splits.get(task.split)
    if not found:
        there = ", ".join(sorted(set(splits) - {"harness"})) or "none"
        raise _Unusable(f"the benchmark reads the split {task.split}, the file has {there}: not the same score")
    if file.form == "mteb 1":
        if not isinstance(found, dict):
            raise _Unusable(f"split {task.split} is a {type(found).__name__}, expected metrics by name")
        return _language_scores(found, task)
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise _Unusable(f"split {task.split} is no list of subsets, as mteb 2 writes it")
    wanted = task.language or "default"
    entries = [entry for entry in found if entry.get("hf_subset") in (wanted, task.config)]
    if not entries:
        raise _Foreign(", ".join(str(entry.get("hf_subset")) for entry in found[:3]))
    if len(entries) > 1:
        raise _Unusable(f"split {task.split} has the subset {wanted} {len(entries)} times: keep one of them")
    return dict(entries[0])


def _language_scores(found: Mapping[str, Any], task: TaskSpec) -> Mapping[str, Any]:
    if task.language is None:
        return found
    if isinstance(found.get(task.language), dict):
        return dict(found[task.language])
    languages = [key for key, value in found.items() if isinstance(value, dict) and key not in ("cos_sim", "euclidean", "manhattan")]
    if languages:
        raise _Foreign(", ".join(languages[:3]))
    return found


def _canonical(scores: Mapping[str, Any], task: TaskSpec) -> dict[str, float]:
    """The scalar metrics under their flat names of mteb 1.1.1; NaN stays NaN. Lists (`scores_per_experiment`) are no metric of the task."""
    flat: dict[str, float] = {}
    for written, value in leaves(scores, "_"):
        name = mteb1_metric(written)
        if isinstance(value, str) and name in task.flat_metrics:
            raise _Unusable(f"{name} is the text {value!r}: expected a number, without quotes")
        if not isinstance(value, (int, float)) or isinstance(value, bool) or name in ("evaluation_time", "main_score"):
            continue
        known = flat.get(name)
        if known is not None and known != value and not (math.isnan(known) and math.isnan(value)):
            raise _Unusable(f"{name} is there under its old and its new name with two values ({known}, {value}): not one result")
        flat[name] = float(value)
    return flat


def _no_main(task: TaskSpec, main: str, flat: Mapping[str, float]) -> _Unusable:
    if main in flat:
        return _Unusable(f"{main} of split {task.split} is {flat[main]}: not a score")
    other = STAND_INS.get(task.type)
    if other and math.isfinite(flat.get(other, math.nan)):
        return _Unusable(
            f"has {other}, not {main}: another definition, which the benchmark does not average",
            OtherDefinition(metric=other, value=flat[other]),
        )
    there = ", ".join(sorted(name for name in flat if not name.lower().startswith("nauc"))[:6]) or "no number"
    return _Unusable(f"has no {main} in split {task.split} (there are: {there})")


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None


def _meta(folder: Path) -> Mapping[str, Any]:
    """What the folder's meta file states; nothing where there is none or it is damaged, which the notes say."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        raw = _json(folder / META)
        return raw if isinstance(raw, dict) else {}
    return {}


def _model_revision(folder: Path, meta: Mapping[str, Any]) -> str | None:
    revision, name = meta.get("revision"), folder.resolve().name
    if isinstance(revision, str) and revision not in _NO_REVISION:
        return revision
    return name if is_revision(name) else None


def _exported(files: Sequence[_File]) -> RowHeader | None:
    """The setting of the run that `harness.show.export` wrote the files from; None unless all of them state the same."""
    parts = [file.made.exported if file.made else None for file in files]
    if parts[0] is None or any(part != parts[0] for part in parts):
        return None
    with contextlib.suppress(ValueError):
        return convert({key: value for key, value in parts[0].items() if key != "run"}, RowHeader)
    return None


def _notes(
    folder: Path,
    meta: Mapping[str, Any],
    files: Sequence[_File],
    records: Mapping[str, TaskRecord],
    *,
    revision: str | None,
    foreign: Sequence[str],
    exported: bool,
) -> Iterator[str]:
    """The files of others say neither GPU nor dtype, and the meta file's limits are the model's, not the run's."""
    trusts = " and ".join(sorted({file.trust(revision) for file in files}))
    versions = sorted({file.version for file in files if file.version})
    made = f" with mteb {', '.join(versions)}" if versions else ""
    yield f"imported result files, {trusts}{made}{'' if exported else '; GPU, dtype, length and dimension are not stated'}"
    keys = (("embed_dim", "dimensions"), ("max_tokens", "tokens"))
    limits = [f"{number:.0f} {what}" for key, what in keys if (number := _finite(meta.get(key))) is not None]
    if limits and not exported:
        yield f"{META} gives the model's own limits ({', '.join(limits)}), not what was run"
    if not meta and (folder / META).exists():
        yield f"{META} can't be read as a JSON object"
    if revision not in (None, SELF_REPORTED):
        yield f"model revision {revision}"
    silent = sum(record.dataset_revision is None for record in records.values())
    if silent:
        yield f"the revision of the data is not stated for {silent} of {amount(len(records), 'task')}"
    if foreign:
        yield f"no task of the benchmark, or of another language: {counted(foreign)}"
    if isinstance(meta.get("experiment_kwargs"), dict):
        yield f"run as an experiment of its own: {meta['experiment_kwargs']}"
