"""What of a run is done, what other runs have, and in which windows the rest is encoded: `plan` prices it, `runner` works it off."""

import contextlib
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from harness.core import environment
from harness.core.benchmarks import load_benchmark
from harness.core.calibration import CALIBRATION
from harness.core.code import ENCODING, SCORING, plugin_digest
from harness.core.errors import InputError, RequestError
from harness.core.examples import Examples, read_examples
from harness.core.folds import refuse_foreign
from harness.core.records import CodeDigests, Made, Manifest, ModelName, TaskRecord
from harness.core.run_files import CANARY, MANIFEST, manifests_below, read_manifest, read_record
from harness.core.spec import RunSpec
from harness.core.tasks import TaskSpec
from harness.core.typed import plain
from harness.data.sources import SOURCES
from harness.data.types import LoadedTask
from harness.evaluate.encode.encoder import ENCODERS
from harness.evaluate.score.scorer import SCORERS, scorer_name

T = TypeVar("T")

LARGEST_WINDOW = 8 * 2**30
"""Bytes of raw vectors that are kept in memory at most; C-MTEB has 6.4 GB of acge's in half precision."""


@dataclass(frozen=True, kw_only=True)
class SharedScores:
    """A task's scores in the folder of a run that differs in `max_len` alone."""

    record: TaskRecord
    examples: Examples
    folder: Path


@dataclass(frozen=True, kw_only=True)
class MadeWith:
    """What a record must have been made with to count as done, beside the run's settings, packages and benchmark.

    `model`, None where it is not here: then records of any weights and files count.
    """

    model: ModelName | None
    code: CodeDigests

    def refuses(self, made: Made) -> str:
        """Why a record is not of this making; empty where it is."""
        if self.model is not None:
            own = made.model or ModelName()
            if own.weights_digest != self.model.weights_digest:
                return "other weights"
            if own.files_digest != self.model.files_digest:
                return "other files of the tokenizer or of the modules"
        code = made.code or CodeDigests()
        if code.encoding != self.code.encoding:
            return "other code of harness/evaluate/encode"
        return "" if code.scoring == self.code.scoring else "other code of harness/evaluate/score or harness/data"


def code_of(spec: RunSpec) -> CodeDigests:
    """The code that makes the run's vectors and scores; that of an encoder, a scorer, a source from outside of the package among it."""
    return CodeDigests(
        encoding=plugin_digest(ENCODING, (ENCODERS, spec.model.kind)),
        scoring=plugin_digest(SCORING, (SCORERS, scorer_name(spec)), (SOURCES, spec.data.source)),
    )


def made_here(spec: RunSpec) -> MadeWith:
    """What records of the run are made with on this machine; raises as the kind of its encoder does where the model is missing."""
    kind = ENCODERS.get(spec.model.kind)
    model = ModelName(weights_digest=kind.weights_digest(spec.model), files_digest=kind.files_digest(spec.model))
    return MadeWith(model=model, code=code_of(spec))


def named_apart(spec: RunSpec, made_with: Callable[[], MadeWith]) -> RunSpec:
    """The run; of a model's folder whose name has results of other weights, under that name and the digest of its own: the checkpoints of
    two trainings are often both called `checkpoint-500`. Under `overwrite=true`, or where the request gives a name, it stays.
    """
    model = spec.model
    if spec.overwrite or model.path is None or model.name != Path(model.path).name:
        return spec
    known = {folder: manifest.weights for folder, manifest in manifests_below(spec.results_dir / model.name) if manifest.weights}
    here = made_with().model if known else None
    if here is None or here.weights_digest in ([known[spec.folder]] if spec.folder in known else known.values()):
        return spec
    return replace(spec, model=replace(model, name=f"{model.name}-{here.weights_digest[:8]}"))


@dataclass(frozen=True, kw_only=True)
class ForeseenRun:
    """A run that a plan has made before this one. `digest`: of its vectors. `longest`: per task that it cuts no text of, its longest."""

    spec: RunSpec
    digest: str
    longest: Mapping[str, int]


class Agenda:
    """The agenda of a run of some tasks.

    `done`: the records of tasks that need no work: of this very run, these packages, this model and this code, with the examples they were
    made of (what can't be explained later is computed again). `todo`: the other tasks. `again`: those of them that have a record, and why
    it does not count. `made_with` is called only where there is a record.
    """

    def __init__(
        self, spec: RunSpec, tasks: Sequence[TaskSpec], *, made_with: Callable[[], MadeWith], foreseen: Sequence[ForeseenRun] = ()
    ) -> None:
        self.spec = spec
        self.done: dict[str, TaskRecord] = {}
        self.again: dict[str, str] = {}
        self._made_with = cache(made_with)
        for name, record in ({} if spec.overwrite else _records(spec, tasks)).items():
            reason = "other settings" if record.made.run != spec.digest else self._refuses(record.made) or _other_data(spec, record)
            if reason:
                self.again[name] = reason
            else:
                self.done[name] = record
        self.todo = [task for task in tasks if task.name not in self.done]
        self._foreseen = foreseen
        self._siblings: dict[str, list[Path]] = {}

    def _refuses(self, made: Made) -> str:
        """Why a record of these settings, or of ones that come to the same vectors, does not count; empty where it does."""
        if made.benchmark is None or made.benchmark.digest != load_benchmark(self.spec.benchmark).digest:
            return "other facts of the benchmark"
        if made.versions != environment.scoring_versions():
            return "other versions of packages"
        return self._made_with().refuses(made)

    def shared(self, task: TaskSpec, loaded: LoadedTask, digest: str) -> SharedScores | None:
        """The scores of the first run beside this one that has the same vectors for the task: it differs in `max_len` alone, and neither
        cuts a text. `digest`: `Fingerprint.digest` of this run."""
        if digest not in self._siblings:
            self._siblings[digest] = _runs_of_other_lengths(self.spec, digest)
        for folder in self._siblings[digest]:
            try:
                record, examples = _read_scores(folder, task)
            except InputError:
                continue
            made = record.made
            uncut = made.encoding is not None and made.encoding.cut == 0 and made.encoding.longest <= self.spec.max_len
            if uncut and made.data == loaded.provenance and not self._refuses(made):
                return SharedScores(record=record, examples=examples, folder=folder)
        return None

    def will_be_shared(self, task: TaskSpec, digest: str) -> bool:
        """Whether a run of the plan will have left such scores by then."""
        same = (run for run in self._foreseen if run.digest == digest and run.spec.equal_but(self.spec, "max_len"))
        return any(run.longest.get(task.name, math.inf) <= self.spec.max_len for run in same)

    def refuse_other_origin(self, manifest: Manifest) -> None:
        """Records in one folder are of one origin, and those of other weights or of another device are not replaced unasked. What
        `manifest`, of this run, does not state is not compared.

        Raises:
            RequestError: the folder holds records of another origin that would stay, or records of other weights or of another device.
        """
        folder = self.spec.folder
        if self.spec.overwrite or not self.todo or not (folder / MANIFEST).is_file():
            return
        todo = {task.name for task in self.todo}
        names = {path.stem for path in folder.glob("*.json") if path.name not in (MANIFEST, CALIBRATION, CANARY)}
        try:
            before = read_manifest(folder)
        except InputError:
            return  # a damaged manifest is written anew; every record states its own run, weights and versions
        changed = [
            f"{key}.{name}: {theirs.get(name)} there, {value} here"
            for key in ("model", "versions", "device")
            for theirs in [_stated(before, key)]
            for name, value in _stated(manifest, key).items()
            if theirs.get(name) != value and not isinstance(value, dict) and (names - todo or name in _OWNERS[key])
        ]
        if changed and names:
            raise RequestError(
                f"{folder} holds records of another origin:\n  " + "\n  ".join(changed) + "\n"
                "Add overwrite=true to compute them again, or name another results_dir=DIR (another model.name= for other weights)"
            )


_OWNERS: Mapping[str, tuple[str, ...]] = {"model": ("weights_digest",), "versions": (), "device": ("kind", "name")}
"""Whose the records of a folder are; whatever else differs is a reason to compute them again."""


def _stated(manifest: Manifest, key: str) -> Mapping[str, Any]:
    part = getattr(manifest, key)
    stated = part if isinstance(part, Mapping) else plain(part) if part is not None else {}
    return {name: value for name, value in stated.items() if value}


def windows(items: Iterable[T], *, size: Callable[[T], int], limit: int) -> Iterator[list[T]]:
    """The items in groups that are encoded together: gathered until their sizes, bytes of raw vectors, come to the limit or more."""
    window: list[T] = []
    for item in items:
        window.append(item)
        if sum(map(size, window)) >= limit:
            yield window
            window = []
    if window:
        yield window


def window_bytes() -> int:
    """Bytes of raw vectors that a run on this machine keeps in memory at once. No bit of a vector depends on it."""
    return min(LARGEST_WINDOW, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)


def _other_data(spec: RunSpec, record: TaskRecord) -> str:
    """That the task's data changed since, which would otherwise leave the score of other data; empty where it did not."""
    if record.made.data is None:
        return ""
    task, written = load_benchmark(spec.benchmark).task(record.task), (spec.folder / f"{record.task}.json").stat().st_mtime
    return "other data" if SOURCES.get(spec.data.source).has_changed(task, spec.data, record.made.data, since=written) else ""


def _records(spec: RunSpec, tasks: Sequence[TaskSpec]) -> dict[str, TaskRecord]:
    """The readable records of the run's folder, but for tasks that failed since."""
    found = {}
    for task in (task for task in tasks if not (spec.folder / "errors" / f"{task.name}.json").is_file()):
        with contextlib.suppress(InputError):
            found[task.name], _ = _read_scores(spec.folder, task)
    return found


def _read_scores(folder: Path, task: TaskSpec) -> tuple[TaskRecord, Examples]:
    """A task's record and its examples.

    Raises:
        InputError: one of them is missing or damaged, or they are of two computations.
    """
    record, examples = read_record(folder / f"{task.name}.json", task), read_examples(folder, task)
    refuse_foreign(task, examples, record.main_score(task), where=folder)
    return record, examples


def _runs_of_other_lengths(spec: RunSpec, digest: str) -> list[Path]:
    """Run folders beside this one, of the same vectors and the same spec but for `max_len`."""
    found = []
    for folder, manifest in manifests_below(spec.folder.parent):
        same_vectors = manifest.model is not None and manifest.model.digest == digest
        if folder != spec.folder and same_vectors and manifest.spec is not None and spec.equal_but(manifest.spec, "max_len"):
            found.append(folder)
    return found
