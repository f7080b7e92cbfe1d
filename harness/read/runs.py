"""The runs at or below a path: our own folders, result files of mteb, model cards."""

from collections.abc import Callable, Iterable
from pathlib import Path

from harness.core.benchmarks import Benchmark
from harness.core.errors import InputError, RequestError
from harness.core.formatting import few
from harness.core.records import Manifest, RowHeader, Run
from harness.core.run_files import MANIFEST, find_runs, read_run
from harness.read.cards.claimed import read_card_run
from harness.read.merging import merge_runs
from harness.read.results import find_results, read_results


def load_runs(paths: Iterable[Path], benchmark: Benchmark, *, merge: str | None = None) -> list[Run]:
    """The runs at or below the paths, each once, in the order of the paths; a folder of mteb's own result files is one, too, and so is
    a model card (a file that ends in .md).

    A run whose manifest is damaged stays in the list, without a score, as long as another run can be read. `merge`: how the folders of
    one model's revisions become one run (`read.merging`); None leaves each one a run.

    Raises:
        RequestError: a path that is neither a folder nor a card, or has no run in it, or `merge` names no revision.
        InputError: no run can be read.
    """
    runs: dict[Path, Run] = {}
    errors: dict[Path, InputError] = {}
    for path in paths:
        readers = _readers(path)
        if not readers:
            what = f"no {MANIFEST} and no result file of mteb in it" if path.is_dir() else "no folder, and no model card named .md"
            raise RequestError(f"no run at {path} ({what}): name a folder of results, such as results/published")
        for folder, read in sorted(readers.items(), key=lambda each: each[0]):
            key = folder.resolve()
            if key in runs:
                continue
            try:
                runs[key] = read(folder, benchmark)
            except InputError as error:
                errors[key] = error
                runs[key] = Run(folder, Manifest(header=RowHeader.unknown(folder.name)), {}, broken={MANIFEST: str(error)})
    if errors and len(errors) == len(runs):
        raise InputError("\n".join(map(str, errors.values())))
    found = list(runs.values())
    return merge_runs(found, merge, benchmark) if merge is not None else found


def one_run(path: Path, benchmark: Benchmark, *, merge: str | None = None) -> Run:
    """The run whose folder the path is, else the one run below it.

    Raises:
        RequestError: there is none, or several.
        InputError: its manifest is damaged.
    """
    runs = load_runs([path], benchmark, merge=merge)
    own = [run for run in runs if run.path == path]
    if len(runs) > 1 and not own:
        raise RequestError(f"{path} holds {len(runs)} runs ({few([str(run.path) for run in runs])}): name one of them")
    return (own or runs)[0]


def _readers(path: Path) -> dict[Path, Callable[[Path, Benchmark], Run]]:
    """What is to be read at or below a path, and how."""
    if path.is_dir():
        return {**dict.fromkeys(find_results(path), read_results), **dict.fromkeys(find_runs(path), read_run)}
    return {path: read_card_run} if path.is_file() and path.suffix.lower() == ".md" else {}
