"""What others published of a model, from a local copy of the public results repository; and how a run differs from what they ran."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import RequestError
from harness.core.formatting import amount, few, stated
from harness.core.records import Run
from harness.core.registry import RegistryModel, registry, unknown_model
from harness.read.claims.grading import RecipeField
from harness.read.results import find_results
from harness.read.runs import one_run

_MAKERS = "those of its makers"


@dataclass(frozen=True)
class Published:
    """The folders of a model's results by revision, the pinned one first, and what the registry knows of the model."""

    folders: Mapping[str, Path]
    model: RegistryModel

    def best(self, benchmark: Benchmark) -> tuple[Path, tuple[str, ...]]:
        """The first folder if it has a task of the benchmark, else the one with most of them; and what to say of that choice."""
        counts = {name: len(one_run(folder, benchmark).records) for name, folder in self.folders.items()}
        first = next(iter(counts))
        chosen = first if counts[first] else max(counts, key=lambda name: counts[name])
        others = [f"{name} ({amount(counts[name], 'task')})" for name in counts if name != chosen]
        said = f"results at {chosen} ({amount(counts[chosen], 'task')}); --model {self.model.name}@REVISION takes others: {few(others)}"
        return self.folders[chosen], (said,) if others else ()


def published_results(results: Path, name: str) -> Published:
    """The results of a model of the registry below `results`, those at the revision that mteb 2 pins first. `name`: `ORGANIZATION/MODEL`,
    or its last part; with `@REVISION` another revision alone (`external`: what the makers reported).

    Raises:
        RequestError: an unknown model, or no results of it, or none at the revision.
    """
    wanted, _, revision = name.partition("@")
    model = registry().find(wanted)
    if model is None:
        raise RequestError(unknown_model(wanted, []))
    own = model.name.replace("/", "__")
    folders = {folder.name: folder for folder in find_results(results) if folder.parent.name == own}
    if not folders:
        raise RequestError(f"{results} has no results of {model.name}: expected a folder {own}/REVISION below results.path=DIR")
    if revision and revision not in folders:
        raise RequestError(f"{results} has {model.name} at {few(sorted(folders))}, not at {revision}: name one of these")
    order = [revision] if revision else sorted(folders, key=lambda each: (each != model.revision, each))
    return Published({each: folders[each] for each in order}, model)


def published_recipe(published: Published, run: Run) -> Iterator[RecipeField]:
    """In what the run differs from how mteb 2 runs the model: prompts, length, revision, which no result file states."""
    model, spec = published.model, run.manifest.spec
    theirs = _MAKERS if model.instructed or model.prompts else "none"
    ours = None
    if spec is not None:
        source = spec.prompts.source
        ours = _MAKERS if source == "model" else "of a file" if source == "file" else "none"
        ours = f"query instruction {spec.model.query_instruction!r}" if ours == "none" and spec.model.query_instruction else ours
    pairs = {
        "prompts": (theirs, ours),
        "max_len": (stated(model.max_len or model.max_tokens), stated(run.header.max_len)),
        "model revision": (model.revision, _revision(run)),
    }
    return (RecipeField(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1])


def _revision(run: Run) -> str | None:
    """The revision of the model that was run, as the manifest states it; of imported results that of the records, where it is one."""
    if run.manifest.model and run.manifest.model.commit:
        return run.manifest.model.commit
    stated = {record.made.origin.model_revision for record in run.records.values() if record.made.origin}
    return stated.pop() if len(stated) == 1 else None
