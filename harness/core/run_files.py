"""The files of a run's folder, written whole and read with suspicion.

A run folder holds `manifest.json`, `spec.yaml`, `<Task>.json` for every finished task and `errors/<Task>.json` for every task that
failed and has not succeeded since. `<Task>.json` is what mteb 1.1.1 writes (`mteb_version`, `mteb_dataset_name`, `dataset_revision`,
split -> metrics with `evaluation_time`) plus the key `harness`. Keys that this version does not know stay in a file that is written again.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core.benchmarks import DEFAULT, Benchmark, load_benchmark
from harness.core.errors import InputError, RequestError
from harness.core.files import FOLDER_NAME, write_json
from harness.core.formatting import few, shell_command, without_passwords
from harness.core.records import ROUNDING, SCHEMA, BenchmarkName, Made, Manifest, Run, TaskRecord, beyond_scale, flat_metrics
from harness.core.resources import config_names
from harness.core.tasks import TaskSpec
from harness.core.typed import convert, merged, plain, read_object, read_typed

MANIFEST = "manifest.json"
EXAMPLES = "per_example"
"""The folder of a run's examples (`core.examples`)."""
CANARY = "canary.json"
"""The canary's vectors, in small (`sketch`), beside the records of the run that encoded the canary."""


def write_record(folder: Path, record: TaskRecord) -> Path:
    """Write `<Task>.json` and forget the task's earlier failure; the path that was written."""
    path = folder / f"{record.task}.json"
    write_json(
        path,
        {
            "mteb_version": record.mteb_version,
            "mteb_dataset_name": record.task,
            "dataset_revision": record.dataset_revision,
            record.split: {**record.metrics, "evaluation_time": record.evaluation_time},
            "harness": made_json(record.made),
        },
    )
    (folder / "errors" / f"{record.task}.json").unlink(missing_ok=True)
    return path


def made_json(made: Made) -> dict[str, Any]:
    """The key `harness` of a record; what is not stated is left out."""
    return {"schema": SCHEMA, **{key: value for key, value in plain(made).items() if value not in (None, "", {})}}


def write_failure(folder: Path, task: str, *, kind: str, message: str, traceback: str) -> Path:
    """Write `errors/<Task>.json`; the path that was written."""
    path = folder / "errors" / f"{task}.json"
    write_json(
        path,
        {
            "mteb_dataset_name": task,
            "error": kind,
            "message": without_passwords(message),
            "traceback": without_passwords(traceback),
        },
    )
    return path


def read_record(path: Path, task: TaskSpec) -> TaskRecord:
    """The record in the file, with a finite main score.

    Raises:
        InputError: the file is truncated, of another task, of a newer schema, or lacks the split or the main score.
    """
    remedy = "delete it and run the task again"
    raw = read_object(path, what=f"record of {task.name}", remedy=remedy)
    if raw.get("mteb_dataset_name") not in task.names:
        raise InputError(f"{path} is no record of {task.name} (mteb_dataset_name: {raw.get('mteb_dataset_name')!r:.80}): {remedy}")
    ours = raw.get("harness") or {}
    if not isinstance(ours, dict) or not isinstance(ours.get("schema", SCHEMA), int):
        raise InputError(f"{path} has something foreign under 'harness' ({ours!r:.80}): {remedy}")
    if ours.get("schema", SCHEMA) > SCHEMA:
        raise InputError(f"{path} was written by a newer harness (schema {ours['schema']}, this one reads {SCHEMA}): upgrade")
    scores = raw.get(task.split)
    if not isinstance(scores, dict):
        raise InputError(f"{path} has no split {task.split!r}: {remedy}")
    try:
        record = convert(
            {
                "task": task.name,
                "split": task.split,
                "metrics": {key: value for key, value in scores.items() if key != "evaluation_time"},
                "dataset_revision": raw.get("dataset_revision"),
                "evaluation_time": scores.get("evaluation_time"),
                "mteb_version": raw.get("mteb_version"),
            },
            TaskRecord,
        )
        made = convert({key: value for key, value in ours.items() if key != "schema"}, Made)
        _check_metrics(record, task)
    except (ValueError, InputError) as error:
        raise InputError(f"{path} is no record of {task.name} ({error}): {remedy}") from error
    return replace(record, made=made)


def _check_metrics(record: TaskRecord, task: TaskSpec) -> None:
    """Raise InputError where the main metric is missing, ValueError for a metric that no scorer gives: 0 to 1, correlations -1 to 1."""
    flat = flat_metrics(record.metrics, task)
    if task.flat_main not in flat:
        record.main_score(task)
    for name in flat.keys() & {task.flat_main, *task.flat_metrics, *beyond_scale(flat)}:
        least = -1 if name.endswith(("spearman", "pearson")) else 0
        if not least - ROUNDING <= flat[name] <= 1 + ROUNDING:
            raise ValueError(f"{name} is {flat[name]}, expected {least} to 1")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`; what is not stated is left out."""
    values = {key: value for key, value in plain(manifest).items() if value is not None}
    if manifest.benchmark and manifest.benchmark.digest is None:
        values["benchmark"].pop("digest", None)
    own = {"spec": manifest.spec.identity()} if manifest.spec else {}
    write_json(folder / MANIFEST, merged(values | own, manifest.extra))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run folder.

    Raises:
        RequestError: there is no such folder.
        InputError: it has no manifest, or a damaged one.
    """
    remedy = "the same command writes it again, and computes no task"
    if not folder.exists():
        raise RequestError(f"there is no {folder}: name a run folder")
    try:
        has_manifest = (folder / MANIFEST).exists()
    except OSError as error:
        raise InputError(f"{folder} can't be read ({error.strerror}): correct its permissions, or name the other runs") from error
    if not has_manifest:
        below = few([str(found) for found in find_runs(folder)])
        name = f"name one of {below}" if below else f"name one. Where a run has lost it, {remedy}"
        raise InputError(f"{folder} has no {MANIFEST}, so it is no run folder: {name}")
    return read_typed(folder / MANIFEST, Manifest, what="manifest of a run", remedy=remedy, schema=SCHEMA)


def read_run(folder: Path, benchmark: Benchmark) -> Run:
    """All records of a run folder; a damaged one is named under `broken`, never counted.

    Raises:
        RequestError: there is no such folder.
        InputError: the folder has no usable manifest.
    """
    manifest = read_manifest(folder)
    run = Run(folder, manifest, {})
    there, errors = _files_in(folder), _files_in(folder / "errors")
    for task in benchmark.tasks:
        name = f"{task.name}.json"
        if name in errors:  # beside a record, too: that is of an earlier attempt, under other code or data
            run.failed[task.name] = _failure_message(errors[name])
        elif path := there.get(name):
            try:
                run.records[task.name] = _of_this_run(read_record(path, task), manifest, path)
            except InputError as error:
                run.broken[task.name] = _of_another(manifest, benchmark, path) or str(error)
    return run


def _of_another(manifest: Manifest, benchmark: Benchmark, path: Path) -> str | None:
    """Why a sound record of a run of another benchmark can't be read under this one; None where the run is of this one."""
    own = manifest.benchmark
    if own is None or own.name == benchmark.name:
        return None
    again = shell_command("score", path.parent, f"benchmark={benchmark.name}")
    return f"{path} is of a run of {own.name} and does not have the numbers that {benchmark.name} needs. Score the run by it: {again}"


def _files_in(folder: Path) -> dict[str, Path]:
    """The files of a folder by their names: one look at it for all tasks; none where there is no such folder."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        # of a link that leads to itself `entry.is_file` raises
        return {each.name: folder / each.name for each in entries if (Path(each).is_file() if each.is_symlink() else each.is_file())}
    return {}


def benchmark_of(paths: Iterable[Path], named: str | None = None) -> Benchmark:
    """The benchmark to read the paths under: the one that is `named`, else the one that the manifests at or below them name.

    A run of a benchmark that does not come with the package has its file beside the records. Model cards and result files of others name no
    benchmark: they are read under `DEFAULT`.

    Raises:
        RequestError: the runs are of several benchmarks, or of one that is not here or whose file is none.
    """
    if named is not None:
        return load_benchmark(named)
    found: dict[BenchmarkName, Path] = {}
    for path in paths:
        for folder in find_runs(path) or ([path] if path.exists() else []):  # what is nowhere is for the reader to say
            with contextlib.suppress(InputError):
                found.setdefault(benchmark_in(read_manifest(folder)) if folder.is_dir() else BenchmarkName(name=DEFAULT), folder)
    if len(found) > 1:
        runs = ", ".join(f"{own.name} ({folder}{f', digest {own.digest[:8]}' if own.digest else ''})" for own, folder in found.items())
        raise RequestError(f"the runs are of several benchmarks: {runs}. Name the runs of one of them, or say --benchmark NAME")
    return next((load_benchmark(benchmark_word(own.name, folder)) for own, folder in found.items()), load_benchmark())


def benchmark_in(manifest: Manifest) -> BenchmarkName:
    """The benchmark that a run was scored by, equal for two runs of the same: one that comes with the package goes by its name alone."""
    own = manifest.benchmark or BenchmarkName(name=DEFAULT)
    return BenchmarkName(name=own.name) if own.name in config_names("benchmarks") else own


def benchmark_word(name: str, folder: Path) -> str:
    """What `load_benchmark` takes for the benchmark that the manifest in a folder names: the file beside the records where there is one."""
    own = folder / f"{name}.yaml"
    return str(own) if FOLDER_NAME.fullmatch(name) and own.is_file() and name not in config_names("benchmarks") else name


def find_runs(path: Path) -> list[Path]:
    """The folders at or below a path, sorted, that have a manifest, or that can't be opened: for the reader to say, not to leave out."""
    found: list[Path] = []

    def closed(error: OSError) -> None:
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            found.append(Path(error.filename))

    for folder, _, names in os.walk(path, onerror=closed):
        if MANIFEST in names:
            found.append(Path(folder))
    return sorted(found)


def manifests_below(path: Path) -> Iterator[tuple[Path, Manifest]]:
    """The run folders at or below a path with their manifests, sorted; those with a damaged manifest are left out."""
    for folder in find_runs(path):
        with contextlib.suppress(InputError):
            yield folder, read_manifest(folder)


def _of_this_run(record: TaskRecord, manifest: Manifest, path: Path) -> TaskRecord:
    """The record, unless it states another run or other weights than the manifest beside it."""
    if record.made.run not in ("", manifest.run):
        makers = f"the run {record.made.run:.8}, the manifest beside it is of {manifest.run!s:.8}"
        raise InputError(f"{path} was made by {makers}: run the task again")
    own = record.made.model.weights_digest if record.made.model else ""
    if own and manifest.weights not in (None, own):
        raise InputError(f"{path} was made with other weights than the run's manifest says: run the task again")
    return record


def _failure_message(path: Path) -> str:
    try:
        return str(read_object(path, what="failure", remedy="")["message"])
    except (InputError, KeyError):
        return f"failed; {path} is damaged too"
