"""A model card: the scores that its front matter claims, and the rows of its metric table. All values are the card's own, 0 to 100."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.core.benchmarks import DEFAULT, Benchmark
from harness.core.errors import InputError
from harness.core.files import write_json
from harness.core.records import RowHeader
from harness.core.tasks import TASK_TYPES, TaskSpec
from harness.core.typed import convert, parse

ROWS = "rows.json"
HEADER_TITLES = ("Model Name", "GPU", "tensor-type", "Model Size (GB)", "Dimension", "Sequence Length")

# What other cards call the same columns, in lower case.
_HEADER_WORDS = {
    "model": ("model name", "model"),
    "gpu": ("gpu", "device"),
    "dtype": ("tensor-type", "dtype", "precision", "data type"),
    "size_gb": ("model size (gb)",),
    "dim": ("dimension", "dimensions", "dim", "embedding dimension", "embedding dimensions"),
    "max_len": ("sequence length", "max length", "max_len", "max sequence length", "max tokens"),
}

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_CELL_BORDER = re.compile(r"(?<!\\)\|")
_NOTHING = ("", "~", "null", "None")
_LARGEST = 16 << 20  # bytes; the largest cards of the hub, with the results of hundreds of tasks, have a few
_SIMILARITIES = ("cos_sim", "dot", "euclidean", "manhattan", "max")  # mteb 1.1.1 nests these, mteb_meta.py joins them with "_"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One task of the front matter. `metrics`: every metric under its flat name (`cos_sim_spearman`), 0 to 100."""

    task: str
    split: str
    revision: str | None
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class CardClaims:
    """What a front matter says of a benchmark. `foreign`: its entries that are no task (or not the split) of that benchmark."""

    model: str
    claims: tuple[Claim, ...]
    foreign: tuple[str, ...]


@dataclass(frozen=True)
class PrintedRow:
    """A row of a metric table: what was run, and the printed averages under the titles of their columns, 0 to 100."""

    header: RowHeader
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Table:
    """A Markdown table. `line`: that of its heading; the rows follow the line of dashes under it. Cells are without emphasis marks."""

    line: int
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def column(self, field: str) -> int | None:
        """Where a field of `RowHeader` stands (`max_len` under `Sequence Length`); None where the table has no such column."""
        words = _HEADER_WORDS[field]
        return next((index for index, title in enumerate(self.head) if title.lower() in words), None)


@dataclass(frozen=True)
class ScoreTable:
    """A table of averages as far as it can be read. `lines`: where each row stands in the card; `refused`: why others don't parse."""

    rows: tuple[PrintedRow, ...]
    lines: tuple[int, ...]
    refused: tuple[str, ...]


def score_titles(tasks: Sequence[TaskSpec]) -> dict[str, str]:
    """The score columns of the card's table for these tasks, in its order: `Average` and every type, with its title (`STS (8)`)."""
    counts = {kind: sum(task.type == kind for task in tasks) for kind in TASK_TYPES}
    titles: dict[str, str] = {kind: f"{re.sub('(?<=[a-z])(?=[A-Z])', ' ', kind)} ({count})" for kind, count in counts.items() if count}
    return {"Average": f"Average ({len(tasks)})", **titles}


def read_card(path: Path) -> str:
    """The text of a card.

    Raises:
        InputError: there is no such file, or it is no UTF-8 text, or far larger than a card.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} has {path.stat().st_size / 1e6:.0f} MB, more than any model card: name the README.md of a model")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as a model card ({error}): name the README.md of a model") from error


def card_claims(text: str, benchmark: Benchmark) -> CardClaims:
    """The claims of a card's front matter (`model-index`), in the benchmark's order.

    An entry belongs to a task when repository and split are the task's and so is the config or the name. The copy that mteb 2 reads
    instead of a repository stands for it, unless the card has the task from the repository itself, too.

    Raises:
        InputError: no front matter, damaged YAML, no `model-index` of one model, no task of the benchmark, a task claimed twice, or
            a metric that is no number from -100 to 100.
    """
    index = _model_index(text)
    name = _get(index, "name", str, "the model-index")
    claims: dict[str, Claim] = {}
    foreign: list[str] = []
    entries = _get(index, "results", list, f"model {name!r}")
    datasets = [_get(entry, "dataset", dict, f"entry {position} of the model-index") for position, entry in enumerate(entries, start=1)]
    matches = [_matching_task(dataset, benchmark) for dataset in datasets]
    pinned = {task.name for task, dataset in zip(matches, datasets, strict=True) if task and task.hub == dataset.get("type")}
    for position, (entry, dataset, task) in enumerate(zip(entries, datasets, matches, strict=True), start=1):
        where = f"entry {position} of the model-index"
        if task is None or (task.name in pinned and task.hub != dataset.get("type")):
            foreign.append("{} ({}, {}, {})".format(*(dataset.get(key, "") for key in ("name", "type", "config", "split"))))
            continue
        if task.name in claims:
            raise InputError(f"the card claims {task.name} twice (again in {where}): remove one of the two")
        claims[task.name] = Claim(
            task=task.name,
            split=task.split,
            revision=None if dataset.get("revision", "") in _NOTHING else _get(dataset, "revision", str, where),
            metrics=_metrics(_get(entry, "metrics", list, where), f"{where} ({task.name})"),
        )
    if not claims:
        raise InputError(
            f"no task of {benchmark.name} is among the {len(foreign)} entries of the card ({'; '.join(foreign[:3]) or 'none'}): "
            "name the card of a model that was evaluated on this benchmark"
        )
    return CardClaims(name, tuple(claims[task.name] for task in benchmark.tasks if task.name in claims), tuple(foreign))


def _matching_task(dataset: Mapping[str, Any], benchmark: Benchmark) -> TaskSpec | None:
    """The task that the `dataset` of an entry names; None where it is another task, another split or another language."""
    for task in benchmark.tasks:
        same_data = dataset.get("type") in (task.hub, task.mteb2_hub) and task.split == dataset.get("split")
        if same_data and (task.config == dataset.get("config") or task.card_name == dataset.get("name")):
            return task
    return None


def unit_metrics(claim: Claim, task: TaskSpec) -> dict[str, Any]:
    """The claim's metrics as mteb 1.1.1 nests them in a result, 0 to 1, so that 100 times a value gives the card's number back
    wherever a double exists that does.
    """
    nested = nested_metrics({name: _hundredth(percent) for name, percent in claim.metrics.items()})
    return {task.language: nested} if task.language else nested


def nested_metrics(flat: Mapping[str, float]) -> dict[str, Any]:
    """Metrics of flat names (`cos_sim_spearman`) as mteb 1.1.1 nests them."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        similarity = next((s for s in _SIMILARITIES if name.startswith(f"{s}_")), None)
        target = nested.setdefault(similarity, {}) if similarity else nested
        target[name.removeprefix(f"{similarity}_")] = value
    return nested


def card_rows(text: str, benchmark: Benchmark) -> tuple[PrintedRow, ...]:
    """The rows of the card's metric table: the first Markdown table with an `Average (...)` column.

    Raises:
        InputError: there is no such table, it has other columns than acge's card (in whatever order), or a cell does not parse.
    """
    titles = tuple(score_titles(benchmark.tasks).values())
    lines = iter([(number, _cells(line)) for number, line in enumerate(text.splitlines(), start=1)])
    head = next((cells for _, cells in lines if any(cell.startswith("Average (") for cell in cells)), None)
    if head is None:
        raise InputError(f"the card has no metric table: expected a Markdown table with the columns {', '.join(HEADER_TITLES + titles)}")
    if sorted(head) != sorted(HEADER_TITLES + titles):
        raise InputError(
            f"the metric table of the card has the columns {', '.join(head)}; expected {', '.join(HEADER_TITLES + titles)}. "
            f"Missing: {_listed(set(HEADER_TITLES + titles) - set(head))}. Unexpected: {_listed(set(head) - set(HEADER_TITLES + titles))}"
        )
    next(lines, None)  # the line of dashes
    rows = tuple(_printed_row(head, cells, titles, number) for number, cells in itertools.takewhile(lambda line: line[1], lines))
    if not rows:
        raise InputError("the metric table of the card has no rows")
    return rows


def markdown_tables(text: str) -> tuple[Table, ...]:
    """The tables of a text, outside of code blocks."""
    lines = [_cells(line) for line in _without_code(text)]
    tables = []
    for index, (head, dashes) in enumerate(itertools.pairwise(lines)):
        if head and dashes and all(re.fullmatch(":?-+:?", cell) for cell in dashes):
            rows = itertools.takewhile(bool, lines[index + 2 :])
            tables.append(Table(index + 1, _plain(head), tuple(_plain(row) for row in rows)))
    return tuple(tables)


def score_table(text: str, benchmark: Benchmark) -> ScoreTable | None:
    """The first table with every score column of the benchmark, whatever else it has or lacks; None where there is none.

    A field that has no column, or no number, is "" or None in the header of a row; a row without all of its scores is refused.
    """
    titles = score_titles(benchmark.tasks).values()
    table = next((table for table in markdown_tables(text) if set(titles) <= set(table.head)), None)
    if table is None:
        return None
    rows, lines, refused = [], [], []
    for number, cells in enumerate(table.rows, start=table.line + 2):
        try:
            if len(cells) != len(table.head):
                raise InputError(f"line {number} of the card has {len(cells)} cells; expected {len(table.head)}")
            row = dict(zip(table.head, cells, strict=True))
            scores = {title: _score(row[title], f"{title} in line {number} of the card") for title in titles}
        except InputError as error:
            refused.append(str(error))
        else:
            rows.append(PrintedRow(_loose_header(table, cells), scores))
            lines.append(number)
    return ScoreTable(tuple(rows), tuple(lines), tuple(refused))


def write_rows(path: Path, rows: Iterable[PrintedRow]) -> None:
    """Write the rows as `read_rows` takes them."""
    write_json(path, [asdict(row) for row in rows])


def read_rows(path: Path) -> tuple[PrintedRow, ...]:
    """The rows that `write_rows` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        raw = parse(path.read_bytes())
        if not isinstance(raw, list):
            raise ValueError(f"found {type(raw).__name__}, expected a list")
        return tuple(convert(row, PrintedRow) for row in raw)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} does not hold the rows of a card ({error}): write it again with scripts/publish_card.py") from error


def rows_beside(folder: Path, benchmark: Benchmark) -> tuple[PrintedRow, ...]:
    """The rows of a card's table that are kept beside its records; none where there are none, or where they are those of another benchmark.

    Raises:
        InputError: the file is damaged, or has other columns than the benchmark of model cards.
    """
    path, titles = folder / ROWS, list(score_titles(benchmark.tasks).values())
    rows = read_rows(path) if path.is_file() else ()
    if all(set(row.scores) == set(titles) for row in rows):
        return rows
    if benchmark.name != DEFAULT:
        return ()
    raise InputError(f"{path} has other columns than {', '.join(titles)}: write it again with scripts/publish_card.py")


def _model_index(text: str) -> dict[str, Any]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise InputError("the card has no YAML front matter: expected it between a first line '---' and another one")
    try:
        # The base loader leaves every scalar a string: 1e-05 is no number to YAML 1.1, and a commit of digits would be one.
        front = yaml.load(match[1], Loader=yaml.BaseLoader)  # noqa: S506 (builds strings, lists and dicts only)
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"the front matter of the card is no YAML ({' '.join(str(error).split())}): mend it") from error
    models = _get(front, "model-index", list, "the front matter of the card")
    if len(models) != 1 or not isinstance(models[0], dict):
        raise InputError(f"the model-index of the card has {len(models)} models; expected one with a name and results")
    return dict(models[0])


def _get(mapping: Any, key: str, kind: type, where: str) -> Any:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(value, kind):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        kinds: dict[type, str] = {str: "text", list: "a list", dict: "a mapping"}
        expected = kinds[kind]
        raise InputError(f"{where} has {found} under {key!r}; expected {expected}, as mteb writes it")
    return value


def _metrics(entries: list[Any], where: str) -> dict[str, float]:
    metrics: dict[str, float] = {}
    seen: set[str] = set()
    for entry in entries:
        written = _get(entry, "type", str, where)
        name = re.sub("^cosine_", "cos_sim_", written)  # mteb 1.12 and later; a card that was merged may have both
        value = _score(_get(entry, "value", str, f"{written} in {where}"), f"{written} in {where}")
        if written in seen or metrics.get(name, value) != value:
            raise InputError(f"{where} has {name} twice: remove one of the two")
        seen.add(written)
        metrics[name] = value
    return metrics


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where} is {text!r}; expected a number")
    return value


def _score(text: str, where: str) -> float:
    value = _number(text, where)
    if not -100 <= value <= 100:  # a percentage, or a correlation, which may be negative
        raise InputError(f"{where} is {text!r}; expected a number from -100 to 100")
    return value


def _hundredth(percent: float) -> float:
    """The number nearest to percent/100 whose hundredfold is `percent` again; the shortest to write where several are."""
    near = percent / 100
    below, above = math.nextafter(near, -math.inf), math.nextafter(near, math.inf)
    exact = [value for value in (near, below, above) if 100 * value == percent]
    return min(exact, key=lambda value: len(repr(value)), default=near)


def _without_code(text: str) -> list[str]:
    """The lines of the text, those of code blocks empty."""
    lines, fence = [], ""
    for line in text.splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
            lines.append("")
        else:
            lines.append("" if fence else line)
    return lines


def _plain(cells: Iterable[str]) -> tuple[str, ...]:
    return tuple(cell.strip("*`_ ") for cell in cells)


def _loose_header(table: Table, cells: Sequence[str]) -> RowHeader:
    def told(field: str) -> str:
        index = table.column(field)
        return "" if index is None else cells[index]

    def number(field: str) -> float | None:
        text = told(field).replace(",", "")
        return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) else None

    dim, max_len = number("dim"), number("max_len")
    return RowHeader(
        model=told("model"),
        gpu=told("gpu"),
        dtype=told("dtype"),
        size_gb=number("size_gb"),
        dim=None if dim is None else int(dim),
        max_len=None if max_len is None else int(max_len),
    )


def _cells(line: str) -> list[str]:
    """The cells of a line of a Markdown table; empty where the line is none."""
    line = line.strip()
    if len(line) < 2 or not (line.startswith("|") and line.endswith("|")):
        return []
    return [cell.strip().replace("\\|", "|") for cell in _CELL_BORDER.split(line[1:-1])]


def _printed_row(head: list[str], cells: list[str], titles: tuple[str, ...], number: int) -> PrintedRow:
    if len(cells) != len(head):
        raise InputError(f"line {number} of the card has {len(cells)} cells; expected {len(head)}, as the table's heading has")
    row = dict(zip(head, cells, strict=True))
    header = RowHeader(
        model=row["Model Name"],
        gpu=row["GPU"],
        dtype=row["tensor-type"],
        size_gb=_number(row["Model Size (GB)"], f"Model Size (GB) in line {number} of the card"),
        dim=_count(row, "Dimension", number),
        max_len=_count(row, "Sequence Length", number),
    )
    return PrintedRow(header, {title: _score(row[title], f"{title} in line {number} of the card") for title in titles})


def _count(row: Mapping[str, str], title: str, number: int) -> int:
    if not (row[title].isascii() and row[title].isdigit()):
        raise InputError(f"{title} in line {number} of the card is {row[title]!r}; expected a whole number")
    return int(row[title])


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
