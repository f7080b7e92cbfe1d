"""Every claimed number against that of a run: reproduced, or why not, and in which settings the two differ."""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from harness.core.benchmarks import Benchmark
from harness.core.calibration import Calibration
from harness.core.formatting import amount, bare_name, stated
from harness.core.records import RowHeader, Run, TaskRecord, flat_metrics
from harness.core.tasks import TaskSpec, TaskType
from harness.read.cards.entries import Claim
from harness.read.cards.page import score_titles
from harness.read.claims.averages import Averages
from harness.read.claims.numbers import named_version, resolution
from harness.read.claims.sheet import Sheet
from harness.read.leaderboard import Cell, Row, TaskScore, leaderboard_row, rounded

Grade = Literal["reproduced", "within noise", "definition differs", "not reproduced", "not comparable"]
GRADES: tuple[Grade, ...] = get_args(Grade)
COMPARED: tuple[Grade, ...] = ("reproduced", "within noise", "not reproduced")
"""The grades of numbers that mean the same on both sides."""

_BY_LENGTH, _BY_LENGTH_TOO = ("Classification", "Clustering"), ("dot_", "euclidean_", "manhattan_")
"""Types, and metrics of other types, that the length of a vector moves."""
_NOT_METRICS = ("main_score", "evaluation_time")  # main_score: mteb 1 and 2 mean different metrics by it


@dataclass(frozen=True, kw_only=True)
class Graded:
    """One cell. `of`: the task, or the printed row for an average; `metric`: flat name, or the column's title. Values and `points`
    (found minus claimed, unrounded) are 0 to 100. `tolerance`: None where no noise floor is known. `differs`: the fields of the recipe
    in which claim and run are known to differ.
    """

    of: str
    metric: str
    main: bool
    claimed: float | None
    found: float | None
    grade: Grade
    why: str = ""
    tolerance: float | None = None
    differs: tuple[str, ...] = ()

    @property
    def points(self) -> float | None:
        """Found minus claimed; None unless both are there."""
        return None if self.claimed is None or self.found is None else self.found - self.claimed

    @property
    def exact(self) -> bool:
        """Whether the two agree as far as a double can hold a percentage."""
        return self.points is not None and abs(self.points) < 1e-9


@dataclass(frozen=True)
class RecipeField:
    """A setting in which claim and run differ, or that one of them does not state (`None`)."""

    name: str
    claimed: str | None
    found: str | None

    @property
    def differs(self) -> bool:
        """Whether both are stated (and then they differ)."""
        return self.claimed is not None and self.found is not None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run against the claims. `calibrated`: whether noise floors were given; `unclaimed`: tasks that the card says nothing of;
    `self_reported`: the run's numbers are claims, too, perhaps the same ones.
    """

    path: Path
    header: RowHeader
    convention: str
    about: str
    recipe: tuple[RecipeField, ...]
    averages: tuple[Graded, ...]
    cells: tuple[Graded, ...]
    unclaimed: tuple[str, ...]
    calibrated: bool
    self_reported: bool

    @property
    def exit_code(self) -> int:
        """3 when a number is not reproduced, 1 when there was not one to compare, else 0."""
        grades = {cell.grade for cell in (*self.averages, *self.cells)}
        if "not reproduced" in grades:
            return 3
        return 0 if grades & set(COMPARED) else 1

    def counts(self, *, main: bool) -> Counter[str]:
        """How many of the tasks' main (other) metrics have which grade."""
        return Counter(cell.grade for cell in self.cells if cell.main == main)


def grade(sheet: Sheet, averages: Averages, run: Run, benchmark: Benchmark, noise: Calibration | None) -> Comparison:
    """Every claimed number that the run could have, graded; `noise`: the run's calibration, of which the rounding counts.

    A number is reproduced when it is equal as the leaderboard prints it, to two decimals. Data that is not that of the claim makes a
    task not comparable; a metric that is computed in another way makes its difference one of definition.
    """
    row = leaderboard_row(run, averages.convention, benchmark)
    scores = {task.task: task for task in row.tasks}
    recipe = tuple(_recipe(sheet, averages, run, scores, benchmark))
    shared = tuple(field.name for field in recipe if field.differs and not field.name.startswith("data "))
    cells = []
    for task, claim in sheet.by_task(benchmark):
        differs = (*shared, *_data_fields(claim, run.records.get(task.name), scores[task.name]))
        claimed_record = sheet.run.records[task.name]
        graded = _task_cells(task, claim, claimed_record, run, scores[task.name], noise, raw=_raw(run) or _raw(sheet.run))
        cells += [replace(cell, differs=differs if cell.found is not None else ()) for cell in graded]
    claimed = {claim.task for claim in sheet.claims}
    return Comparison(
        path=run.path,
        header=run.header,
        convention=averages.convention,
        about=benchmark.convention(averages.convention).about,
        recipe=recipe,
        averages=tuple(_averages(averages, row, cells, benchmark)),
        cells=tuple(cells),
        unclaimed=tuple(task.name for task in benchmark.tasks if task.name not in claimed and task.name not in sheet.run.broken),
        calibrated=noise is not None,
        self_reported=row.identity == "self-reported",
    )


def _task_cells(
    task: TaskSpec, claim: Claim, claimed: TaskRecord, run: Run, score: TaskScore, noise: Calibration | None, *, raw: bool
) -> Iterator[Graded]:
    main, record = task.flat_main, run.records.get(task.name)
    if record is None:
        yield _absent(task, claim, run, score, main)
        return
    found = {name: 100 * value for name, value in flat_metrics(record.metrics, task).items()}
    blocked = _other_data(claim, record, score)
    for name in (main, *sorted((claim.metrics.keys() & found.keys()) - {main, *_NOT_METRICS})):
        ours, theirs = found[name], claim.metrics.get(name)
        floor = noise.tolerance(task.name, name) if noise else None
        unlike = [_definition(task, name, each, metrics) for each, metrics in ((claimed, claim.metrics), (record, found))]
        if raw and (task.type in _BY_LENGTH or name.startswith(_BY_LENGTH_TOO)) and _normalised_once(claimed, record):
            unlike = ["vectors as the model gives them (mteb 2)" if _newer(each) else "vectors of length 1" for each in (claimed, record)]
        verdict, why = _verdict(theirs, ours, floor, unlike) if not blocked else ("not comparable", blocked)
        yield Graded(of=task.name, metric=name, main=name == main, claimed=theirs, found=ours, grade=verdict, why=why, tolerance=floor)


def _verdict(claimed: float | None, found: float, floor: float | None, definitions: list[str]) -> tuple[Grade, str]:
    if claimed is None:
        return "not comparable", "the card has no number"
    if rounded(claimed) == rounded(found):
        return "reproduced", ""
    if definitions[0] != definitions[1]:
        return "definition differs", f"claimed: {definitions[0]}; found: {definitions[1]}"
    if floor is not None and abs(found - claimed) <= floor:
        return "within noise", ""
    return "not reproduced", ""


def _absent(task: TaskSpec, claim: Claim, run: Run, score: TaskScore, main: str) -> Graded:
    other = run.other_definitions.get(task.name)
    return Graded(
        of=task.name,
        metric=main,
        main=True,
        claimed=claim.metrics.get(main),
        found=None,
        grade="definition differs" if other else "not comparable",
        why=f"the run has {other.metric} {100 * other.value:.2f} instead" if other else score.message or f"no record ({score.state})",
    )


def _other_data(claim: Claim, record: TaskRecord, score: TaskScore) -> str:
    """Why the run's data is not that of the claim; empty where nothing says so. Data that was verified is the same under any revision."""
    if score.identity == "not C-MTEB":
        return "the run's data is not C-MTEB's"
    if _other_revision(claim, record) and score.identity != "verified":
        return f"revision {str(claim.revision)[:8]} is claimed, {str(record.dataset_revision)[:8]} was read"
    return ""


def _other_revision(claim: Claim, record: TaskRecord) -> bool:
    """Whether both state the revision of the data, and not the same."""
    return record.dataset_revision is not None and claim.revision not in (None, record.dataset_revision)


def _data_fields(claim: Claim, record: TaskRecord | None, score: TaskScore) -> Iterator[str]:
    if record is not None and _other_revision(claim, record):
        yield "data revision"
    if record is not None and score.identity != "verified":
        yield "data identity"


def _definition(task: TaskSpec, name: str, record: TaskRecord, percents: Mapping[str, float]) -> str:
    """How a metric was computed, where versions differ in that (docs/protocol.md, section on mteb 2)."""
    own = _DEFINITIONS.get(task.type)
    return (own and own(name, record, percents)) or "as in mteb 1.1"


def _raw(run: Run) -> bool:
    """Whether the run's vectors are known not to be of length 1 until scoring makes them so: it has no Normalize, or is cut after it."""
    model, spec = run.manifest.model, run.manifest.spec
    if model is None or spec is None or not model.modules or spec.model.kind == "endpoint":
        return False
    return "Normalize" not in model.modules or spec.dim is not None


def _normalised_once(one: TaskRecord, other: TaskRecord) -> bool:
    """Whether one score is of mteb 2, which takes vectors as they are, and the other of this harness's mteb 1.1, which normalises them."""
    return _newer(one) != _newer(other) and next(each for each in (one, other) if not _newer(each)).made.trust == "ours"


def _newer(record: TaskRecord) -> bool:
    return (record.mteb_version or "").startswith("2")


def _retrieval_definition(name: str, record: TaskRecord, percents: Mapping[str, float]) -> str | None:
    if not name.startswith("mrr_at_"):
        return None
    if _newer(record):
        return "mrr with mteb 2's order of tied scores"
    rounded_to_five = name in percents and resolution(percents, name) > 1e-4
    return "mrr of beir, five digits, as in mteb 1.1" if rounded_to_five else "mrr of a later mteb 1, unrounded"


def _reranking_definition(name: str, record: TaskRecord, _: Mapping[str, float]) -> str | None:
    if name not in ("map", "mrr"):
        return None
    return "trec_eval's, tied scores against the model (mteb 2)" if _newer(record) else "mteb 1's, tied scores as sorted"


def _pair_definition(name: str, record: TaskRecord, _: Mapping[str, float]) -> str | None:
    if not name.startswith("max_"):
        return None
    return "the largest of five similarities (mteb 2)" if _newer(record) else "the largest of four similarities"


def _clustering_definition(_: str, record: TaskRecord, __: Mapping[str, float]) -> str | None:
    learn = record.made.versions.get("scikit-learn", "")
    match = re.match(r"(\d+)\.(\d+)", learn)
    if match is None or (int(match[1]), int(match[2])) < (1, 9):
        return None
    return f"k-means of scikit-learn {learn}, which starts in another way than versions up to 1.8"


_DEFINITIONS: Mapping[TaskType, Callable[[str, TaskRecord, Mapping[str, float]], str | None]] = {
    "Clustering": _clustering_definition,
    "PairClassification": _pair_definition,
    "Reranking": _reranking_definition,
    "Retrieval": _retrieval_definition,
}


def _averages(averages: Averages, row: Row, cells: list[Graded], benchmark: Benchmark) -> Iterator[Graded]:
    """The run's averages against those of the front matter and against the printed rows of its own dtype and length."""
    titles = score_titles(benchmark.tasks)
    mains = {cell.of: cell for cell in cells if cell.main}
    front = averages.front
    targets = {f"front matter, {front.label}" if front else "front matter": averages.computed[averages.convention]}
    for match in averages.matches:
        header = match.row.header
        alike = (header.dtype, header.max_len) == (row.header.dtype, row.header.max_len) and header.max_len is not None
        if alike and match is not front:
            targets[match.label] = dict(match.row.scores)
    for label, values in targets.items():
        for cell in (each for each in row.cells if each.key in titles):
            members = [task.name for task in benchmark.tasks if cell.key in ("Average", task.type)]
            unlike = [name for name in members if name not in mains or mains[name].grade in ("not comparable", "definition differs")]
            known = [floor for name in members if name in mains and (floor := mains[name].tolerance) is not None]
            tolerance = math.fsum(known) / len(members) if len(known) == len(members) else None
            yield _average(label, values[titles[cell.key]], cell, unlike, tolerance)


def _average(label: str, claimed: float | None, cell: Cell, unlike: list[str], tolerance: float | None) -> Graded:
    """An average moves at most by the mean of what its tasks may move; both sides are rounded to two decimals when printed, a tie either
    way.
    """
    found = None if cell.value is None else rounded(cell.value)
    verdict: Grade = "not reproduced"
    if unlike or claimed is None or found is None:
        verdict = "not comparable"
    elif claimed == found or (cell.mean is not None and abs(claimed - cell.mean) <= 0.005 + 1e-9):
        verdict = "reproduced"
    elif tolerance is not None and abs(found - claimed) <= tolerance + 0.01 + 1e-9:
        verdict = "within noise"
    why = f"{len(unlike)} of its tasks are not comparable" if unlike else "a hole" if verdict == "not comparable" else ""
    return Graded(of=label, metric=cell.title, main=True, claimed=claimed, found=found, grade=verdict, why=why, tolerance=tolerance)


def _recipe(sheet: Sheet, averages: Averages, run: Run, scores: Mapping[str, TaskScore], benchmark: Benchmark) -> Iterator[RecipeField]:
    claimed = averages.front.row.header if averages.front else sheet.run.header
    found = run.header
    hub = run.manifest.spec.model.hub if run.manifest.spec else None
    for name in ("model", "gpu", "dtype", "max_len", "dim"):
        theirs, ours = (stated(getattr(header, name)) for header in (claimed, found))
        same = theirs == ours
        if name == "model":  # what the run calls it, or the hub repository it came from
            same = bare_name(claimed.model) in {bare_name(each) for each in (found.model, hub) if each is not None}
        elif name == "gpu":
            same = bool(_chips(claimed.gpu) & _chips(found.gpu))
        if not same or theirs is None or ours is None:
            yield RecipeField(name, theirs, ours)
    versions = sorted({record.mteb_version for record in run.records.values() if record.mteb_version})
    version = named_version(sheet)
    if versions != [version]:
        yield RecipeField("mteb", version, ", ".join(versions) or None)
    pairs = [
        (claim.revision, run.records[task.name].dataset_revision) for task, claim in sheet.by_task(benchmark) if task.name in run.records
    ]
    count = sum(None not in pair and pair[0] != pair[1] for pair in pairs)
    if count:
        yield RecipeField("data revision", "the card's", f"differ for {amount(count, 'task')}")
    if count := sum(theirs is None and ours is not None for theirs, ours in pairs):
        yield RecipeField("data revision", None, f"stated for {amount(count, 'task')}")
    if count := sum(ours is None and theirs is not None for theirs, ours in pairs):
        yield RecipeField("data revision", f"stated for {amount(count, 'task')}", None)
    identities = Counter(score.identity for score in scores.values())
    if count := identities["not C-MTEB"]:
        yield RecipeField("data identity", "C-MTEB", f"not C-MTEB for {amount(count, 'task')}")
    if count := identities["unverified"]:
        yield RecipeField("data identity", f"unverified for {amount(count, 'task')}", None)


def _chips(gpu: str) -> set[str]:
    """The names of chips in a device's name: A100 in `NVIDIA TESLA A100` and in `NVIDIA A100-SXM4-80GB`."""
    return set(re.findall(r"\b[A-Z]{0,3}\d{1,4}[A-Z]?\b", gpu.upper())) or {gpu.upper()}
