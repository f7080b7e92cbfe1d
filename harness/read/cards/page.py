"""A model card: the scores that its front matter claims, and the rows of its metric table. All values are the card's own, 0 to 100."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.core.benchmarks import DEFAULT, Benchmark
from harness.core.dtypes import card_dtype
from harness.core.errors import InputError, RequestError
from harness.core.files import open_regular
from harness.core.formatting import few, named
from harness.core.records import OtherDefinition, RowHeader, nested_metrics
from harness.core.tasks import TASK_TYPES, TaskSpec
from harness.core.typed import convert, parse
from harness.read.cards.entries import NEAR, Claim, Match, entry_label, match_entry, task_claim, usable_score
from harness.read.cards.headings import Headings, average_tables, without_marks
from harness.read.cards.markdown import Table, markdown_tables

ROWS = "rows.json"
HEADER_TITLES = ("Model Name", "GPU", "tensor-type", "Model Size (GB)", "Dimension", "Sequence Length")

# What other cards call the same columns, in lower case.
_HEADER_WORDS = {
    "model": ("model name", "model", "models", "模型", "模型名称", "模型名"),
    "gpu": ("gpu", "device", "显卡"),
    "dtype": ("tensor-type", "dtype", "precision", "data type"),
    "size_gb": ("model size (gb)",),
    "dim": ("dimension", "dimensions", "dim", "embedding dimension", "embedding dimensions", "维度", "向量维度"),
    "max_len": ("sequence length", "max length", "max_len", "max sequence length", "max tokens", "序列长度", "最大长度", "长度"),
}

_FRONT_MATTER = re.compile(r"\A\ufeff?(?:[ \t]*\r?\n)*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_DECIMAL = r"[0-9]{1,9}(\.[0-9]+)?"
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_NESTED = 200
_LARGEST = 16 << 20  # bytes; the largest cards of the hub, with the results of hundreds of tasks, have a few


@dataclass(frozen=True)
class CardClaims:
    """What a front matter says of a benchmark. `claims`: of the tasks that have a number. `foreign`: its entries that are no task (or not
    the split) of that benchmark.

    `broken`: tasks that it claims without a usable main metric, and why; `other_definitions`: those of them that have another metric in
    its place. `notes`: what else was passed over, or read as what it was not called.
    """

    model: str
    claims: tuple[Claim, ...]
    foreign: tuple[str, ...]
    broken: Mapping[str, str] = field(default_factory=dict)
    other_definitions: Mapping[str, OtherDefinition] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PrintedRow:
    """A row of a metric table: what was run, and the printed averages under the titles of their columns, 0 to 100."""

    header: RowHeader
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ScoreTable:
    """The averages that a card prints, as far as they can be read. `lines`: where each row stands in the card.

    `refused`: the rows and tables that look like averages and can't be read, and why.
    """

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
        RequestError: there is no such file.
        InputError: it is no UTF-8 text, or far larger than a card.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} has {path.stat().st_size / 1e6:.0f} MB, more than any model card: name the README.md of a model")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise RequestError(f"there is no {path}: name the README.md of a model") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as a model card ({error}): name the README.md of a model, in UTF-8") from error


def card_claims(text: str, benchmark: Benchmark) -> CardClaims:
    """The claims of a card's front matter (`model-index`), in the benchmark's order.

    An entry belongs to a task when repository and split are the task's and so is the config or the name. The copy that mteb 2 reads
    instead of a repository stands for it, unless the card has the task from the repository itself, too; so does a repository whose name is
    nearly that one. A task that is claimed twice with equal numbers is claimed once. What is wrong with an entry concerns its task alone.

    Raises:
        InputError: no front matter, damaged YAML, no `model-index` of one model, or no task of the benchmark.
    """
    index = _model_index(text)
    name = _get(index, "name", str, "the model-index")
    entries = _get(index, "results", list, f"model {name!r}")
    matches = [match_entry(entry, benchmark) for entry in entries]
    best = {match.task.name: match.rank for match in sorted((each for each in matches if each), key=lambda each: -each.rank)}
    chosen: dict[str, list[tuple[int, Match]]] = {}
    foreign: list[str] = []
    for position, (entry, match) in enumerate(zip(entries, matches, strict=True), start=1):
        if match is None or match.rank > best[match.task.name]:
            foreign.append(entry_label(entry, position))
        else:
            chosen.setdefault(match.task.name, []).append((position, match))
    if not chosen:
        raise InputError(
            f"no task of {benchmark.name} is among the {len(foreign)} entries of the card ({'; '.join(foreign[:3]) or 'none'}): "
            "name the card of a model that was evaluated on this benchmark"
        )
    found = [task_claim(task, [(at, entries[at - 1]) for at, _ in chosen[task.name]]) for task in benchmark.tasks if task.name in chosen]
    near = [f"{match.task.name} ({match.repository})" for each in chosen.values() for _, match in each[:1] if match.rank == NEAR]
    return CardClaims(
        name,
        tuple(each for each in found if each.metrics),
        tuple(foreign),
        broken={each.task: each.problem for each in found if each.problem},
        other_definitions={each.task: each.other for each in found if each.other},
        notes=tuple(_claim_notes(found, near)),
    )


def _claim_notes(found: Sequence[Claim], near: Sequence[str]) -> Iterator[str]:
    if near:
        yield f"the repository has another name; name, split and type are the task's: {', '.join(near)}"
    copies = [f"{each.task} ({each.copies} entries)" for each in found if each.copies > 1 and not each.problem]
    if copies:
        yield f"equal copies were counted once: {', '.join(copies)}"
    main = [each.task for each in found if each.from_main_score]
    if main:
        yield f"main_score stands for the main metric, which is the same for these tasks: {named(main, len(found), most=4)}"
    left = [f"{each.task} {text}" for each in found for text in each.left_out]
    if left:
        yield f"metrics that are no score were left out: {few(left)}" + (f" ({len(left)} in all)" if len(left) > 4 else "")


def unit_metrics(claim: Claim, task: TaskSpec) -> dict[str, Any]:
    """The claim's metrics as mteb 1.1.1 nests them in a result, 0 to 1, so that 100 times a value gives the card's number back
    wherever a double exists that does.
    """
    nested = nested_metrics({name: _hundredth(percent) for name, percent in claim.metrics.items()})
    return {task.language: nested} if task.language else nested


def column(table: Table, field: str) -> int | None:
    """Where a field of `RowHeader` stands in a table (`max_len` under `Sequence Length`); None where it has no such column.

    Models stand in the first column where no heading says so and its cells are no numbers.
    """
    place = next((index for index, title in enumerate(table.head) if title.lower() in _HEADER_WORDS[field]), None)
    named = field == "model" and place is None and any(usable_score(row[0]) is None for row in table.rows if row)
    return 0 if named and not any(table.head[0].lower() in words for words in _HEADER_WORDS.values()) else place


def score_table(text: str, benchmark: Benchmark) -> ScoreTable | None:
    """The averages that a card prints: the first table with a column for each, best one that says how many tasks it averages.

    Columns are known by the words that cards use (`cards.headings`), in any order. A field that has no column, or no number, is ""
    or None in the header of a row; a row without all of its scores is refused. None where no table looks like averages.
    """
    tables = average_tables(markdown_tables(text), benchmark.tasks)
    refused = [f"the table in line {table.line} looks like averages: {found}" for table, found in tables if isinstance(found, str)]
    readable = [(table, found) for table, found in tables if isinstance(found, Headings)]
    if not readable:
        return ScoreTable((), (), tuple(refused)) if refused else None
    table, headings = next((each for each in readable if each[1].counted), readable[0])
    others = [other for other, _ in readable if other is not table]
    refused += [f"the table in line {other.line} has averages, too: those in line {table.line} are read" for other in others]
    rows, lines = [], []
    for index in range(len(table.rows)):
        try:
            rows.append(_printed_row(table, index, {title: headings.places[key] for key, title in score_titles(benchmark.tasks).items()}))
            lines.append(table.lines[index])
        except InputError as error:
            refused.append(str(error))
    if rows and all(0 <= value <= 1 for row in rows for value in row.scores.values()):
        rows = [PrintedRow(row.header, {title: round(100 * value, 6) for title, value in row.scores.items()}) for row in rows]
        refused.append(f"the averages in line {table.line} are between 0 and 1: read times 100")
    return ScoreTable(tuple(rows), tuple(lines), tuple(refused))


def read_rows(path: Path) -> tuple[PrintedRow, ...]:
    """The rows that `scripts/publish_card.py` wrote.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        with open_regular(path) as stream:
            raw = parse(stream.read())
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
        front = _load_strings(match[1])
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"the front matter of the card is no YAML ({' '.join(str(error).split())}): correct it") from error
    models = _get(front, "model-index", list, "the front matter of the card")
    if len(models) != 1 or not isinstance(models[0], dict):
        raise InputError(f"the model-index of the card has {len(models)} models; expected one with a name and results")
    return dict(models[0])


def _load_strings(text: str) -> Any:
    """The YAML value with every scalar a string: 1e-05 is no number to YAML 1.1, and a commit of digits would be one.

    libyaml is nine times as fast as Python, and dies of deep nesting: what may be nested goes to the parser that raises.
    """
    opened = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        opened += 1 if bracket in "[{" else -1
        deepest = max(deepest, opened)
    indented = max(map(len, re.findall(r"^[ \-?:]*", text, re.MULTILINE)), default=0)
    fast = deepest < _NESTED and indented < _NESTED and hasattr(yaml, "CBaseLoader")
    return yaml.load(text, Loader=yaml.CBaseLoader if fast else yaml.BaseLoader)  # noqa: S506 (builds strings, lists and dicts only)


def _get(mapping: Any, key: str, kind: type, where: str) -> Any:
    value = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(value, kind):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        kinds: dict[type, str] = {str: "text", list: "a list", dict: "a mapping"}
        expected = kinds[kind]
        raise InputError(f"{where} has {found} under {key!r}; expected {expected}, as mteb writes it")
    return value


def _score(text: str, where: str) -> float:
    value = usable_score(text)
    if value is None:
        raise InputError(f"{where} is {text!r}; expected a number from -100 to 100")
    return value


def _hundredth(percent: float) -> float:
    """The number nearest to percent/100 whose hundredfold is `percent` again; the shortest to write where several are."""
    near = percent / 100
    below, above = math.nextafter(near, -math.inf), math.nextafter(near, math.inf)
    exact = [value for value in (near, below, above) if 100 * value == percent]
    return min(exact, key=lambda value: len(repr(value)), default=near)


def _printed_row(table: Table, index: int, places: Mapping[str, int]) -> PrintedRow:
    """`places`: where the average of each title stands."""
    cells, where = table.rows[index], f"line {table.lines[index]} of the card"
    if len(cells) != len(table.head):
        raise InputError(f"{where} has {len(cells)} cells; expected {len(table.head)}, as the table's heading has")
    scores = {title: _score(without_marks(cells[place]), f"{title} in {where}") for title, place in places.items()}
    texts = {
        field: "" if (place := column(table, field)) is None else _LINK.sub(r"\1", cells[place]).strip("*`_ ") for field in _HEADER_WORDS
    }
    numbers = {field: texts[field].replace(",", "") for field in ("size_gb", "dim", "max_len")}
    known = {field: float(text) for field, text in numbers.items() if re.fullmatch(_DECIMAL, text)}
    header = RowHeader(
        model=texts["model"],
        gpu=texts["gpu"],
        dtype=card_dtype(texts["dtype"]),
        size_gb=known.get("size_gb"),
        dim=int(known["dim"]) if "dim" in known else None,
        max_len=int(known["max_len"]) if "max_len" in known else None,
    )
    return PrintedRow(header, scores)
