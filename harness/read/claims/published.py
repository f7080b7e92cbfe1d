"""What others published of a model, from a local copy of the public results repository; and how a run differs from what they ran."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import RequestError
from harness.core.records import Run
from harness.core.registry import RegistryModel, registry, unknown_model
from harness.core.words import few, stated
from harness.read.claims.grading import RecipeField
from harness.read.imports import find_imports

_MAKERS = "those of its makers"


@dataclass(frozen=True)
class Published:
    """The folder of a model's results at one revision, and what the registry knows of the model."""

    folder: Path
    model: RegistryModel


def published_results(results: Path, name: str) -> Published:
    """The results of a model of the registry below `results`, at the revision that mteb 2 pins. `name`: `ORGANIZATION/MODEL`, or its last
    part; with `@REVISION` another revision (`external`: what the makers reported).

    Raises:
        RequestError: an unknown model, no results of it, or several revisions of which none is the pinned one.
    """
    wanted, _, revision = name.partition("@")
    model = registry().find(wanted)
    if model is None:
        raise RequestError(unknown_model(wanted, []))
    own = model.name.replace("/", "__")
    folders = {folder.name: folder for folder in find_imports(results) if folder.parent.name == own}
    if not folders:
        raise RequestError(f"{results} has no results of {model.name}: expected a folder {own}/REVISION below results.path=DIR")
    chosen = revision or (model.revision if model.revision in folders else next(iter(folders)) if len(folders) == 1 else None)
    if chosen not in folders:
        raise RequestError(
            f"{results} has {model.name} at {few(sorted(folders))}, not at {chosen or model.revision or 'a pinned revision'}: "
            f"name one with --model {model.name}@REVISION"
        )
    return Published(folders[chosen], model)


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
        "model revision": (model.revision, run.manifest.model.commit if run.manifest.model else None),
    }
    return (RecipeField(name, *pair) for name, pair in pairs.items() if pair[0] != pair[1])
