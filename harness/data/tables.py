"""Files into typed columns: Parquet and Arrow by pyarrow, JSON lines by msgspec, CSV by the standard library.

A wrong cell is named by file, line and column.
"""

import codecs
import csv
import gzip
import io
import json
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal, cast

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from harness.core.errors import InputError
from harness.core.files import is_lfs_pointer
from harness.core.formatting import few
from harness.core.typed import parse
from harness.data.layout import Part
from harness.data.types import Table

Kind = Literal["text", "id", "label", "number", "grade", "texts", "labels"]
"""What a cell must be. `label`: integer or text, one of the two in the whole column; `grade`: integer; `texts`, `labels`: lists."""

_EXPECTED: dict[Kind, str] = {
    "text": "text",
    "id": "text (an identifier)",
    "label": "an integer or text, the same in every row",
    "number": "a finite number",
    "grade": "an integer",
    "texts": "a list of texts",
    "labels": "a list of integers or of texts",
}
_TYPES: dict[Kind, tuple[frozenset[type], ...]] = {
    "text": (frozenset({str}),),
    "id": (frozenset({str}),),
    "label": (frozenset({int}), frozenset({str})),
    "number": (frozenset({int, float}),),
    "grade": (frozenset({int}),),
    "texts": (frozenset({str}),),
    "labels": (frozenset({int}), frozenset({str})),
}
_ALIASES = {"id": "_id", "qid": "query-id", "pid": "corpus-id", "pids": "corpus-ids"}
"""What BEIR and mteb 2 call columns of C-MTEB, where a file has these."""

_LISTS: frozenset[Kind] = frozenset({"texts", "labels"})
_SHOWN = 60
_LARGEST = sys.float_info.max
_DELIMITED = "quote a cell that has a separator, a quote or a line break. From GBK: iconv -f GB18030 -t UTF-8 OLD > NEW"
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_NO_JSON = "NaN and half a surrogate pair are no JSON"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError)
_ARROW_DAMAGED = (pyarrow.ArrowException, OSError, UnicodeDecodeError)  # the last: names of columns


@dataclass(frozen=True)
class Schema:
    """The columns of a table. `optional` ones may be absent; with `parallel`, the lists of a row have equal length."""

    columns: Mapping[str, Kind]
    optional: frozenset[str] = frozenset()
    parallel: bool = False


@dataclass(frozen=True)
class DataFile:
    """A part of a table on this disk. `origin` is what messages and records call it; `sha256` what its bytes must hash to, where known."""

    part: Part
    path: Path
    origin: str
    sha256: str | None = None


@dataclass(frozen=True)
class _Rows:
    """What one file gave: cells by column, and the line (or row) number that each row has in the file."""

    columns: dict[str, list[Any]]
    numbers: Sequence[int]
    unit: Literal["line", "row"]


def read_table(files: Sequence[DataFile], schema: Schema) -> Table:
    """The table that the files hold, its columns as plain lists of the schema's kinds, rows in the order of the files.

    Raises:
        InputError: a file is missing, truncated, not what its name says, empty, lacks a column, or has a cell of another type; the
            message has file, line (or row) and column, what was found and what is expected.
    """
    tables = [_read_file(file, schema) for file in files]
    if len(tables) == 1:
        return tables[0]
    present = [name for name in schema.columns if any(name in table.columns for table in tables)]
    for table in tables:
        if lost := [name for name in present if name not in table.columns]:
            raise InputError(f"{table.origin}: column {lost[0]!r} is missing, and other parts of the table have it")
    columns = {name: [cell for table in tables for cell in table.columns[name]] for name in present}
    return Table(columns, " + ".join(table.origin for table in tables))


def _read_file(file: DataFile, schema: Schema) -> Table:
    _check_is_content(file)
    rows = _READERS.get(file.part.suffix.removesuffix(".gz"), _read_jsonl)(file, schema)
    if not rows.numbers:
        value = f" with {file.part.only[0]} {file.part.only[1]!r}" if file.part.only else ""
        raise InputError(f"{file.origin}: no row{value}, expected at least one")
    for name, cells in rows.columns.items():
        _check_cells(file, rows, name, cells, schema.columns[name])
    if schema.parallel:
        _check_parallel(file, rows)
    return Table(rows.columns, file.origin)


def _check_is_content(file: DataFile) -> None:
    with _no_damage(file, lambda: "at its beginning"):
        if is_lfs_pointer(file.path):
            raise InputError(f"{file.origin}: a Git LFS pointer, expected the file itself. In the clone it lies in, run: git lfs pull")


def _read_jsonl(file: DataFile, schema: Schema) -> _Rows:
    columns: dict[str, list[Any]] = {}
    appenders: list[tuple[str, Callable[[Any], None]]] = []
    absent: set[str] = set()
    only = file.part.only
    numbers: list[int] = []
    line = 0
    with _open_lines(file) as stream, _no_damage(file, lambda: f"after line {line}"):
        unit, found = _objects(file, stream)
        for line, row in found:
            if not columns:
                called = _present(file, schema, row, f", {unit} {line}")
                columns = {name: [] for name in called}
                appenders = [(called[name], cells.append) for name, cells in columns.items()]
                absent = {*schema.optional, *(only[:1] if only and file.part.member is None else ())} - row.keys()
                only = None if only and only[0] in absent else only
            if not absent.isdisjoint(row):
                late = min(absent & row.keys())
                raise InputError(f"{file.origin}, {unit} {line}: column {late!r} is missing in the rows before: give it in all or in none")
            try:
                if only and row[only[0]] != only[1]:
                    continue
                for key, append in appenders:
                    append(row[key])
            except KeyError as error:
                raise _missing_column(file, [str(error.args[0])], row, f", {unit} {line}") from error
            numbers.append(line)
    return _Rows(columns, numbers, unit)


def _objects(file: DataFile, stream: IO[bytes]) -> tuple[Literal["line", "row"], Iterator[tuple[int, dict[str, Any]]]]:
    """The objects of JSON lines, or of a `.json` file that is one array of them, each with its number."""
    first = stream.readline().removeprefix(codecs.BOM_UTF8)
    if file.part.suffix in (".json", ".json.gz") and first.lstrip().startswith(b"["):
        return "row", _array(file, first + stream.read())
    lines = enumerate(chain([first] if first else [], stream), 1)
    return "line", ((line, _parse_line(file, line, raw)) for line, raw in lines if not raw.isspace())


def _array(file: DataFile, content: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        rows = parse(content)
    except ValueError as error:
        raise InputError(f"{file.origin}: not an array of JSON objects in UTF-8 ({error}); {_NO_JSON}") from error
    for number, row in enumerate(rows, 1):
        if type(row) is not dict:
            raise InputError(f"{file.origin}, row {number}: found {_shown(row)}, expected a JSON object")
        yield number, row


def _parse_line(file: DataFile, line: int, raw: bytes) -> dict[str, Any]:
    try:
        row = parse(raw)
    except ValueError as error:
        raise InputError(f"{file.origin}, line {line}: not a line of JSON in UTF-8 ({error}); {_NO_JSON}") from error
    if type(row) is not dict:
        raise InputError(f"{file.origin}, line {line}: found {_shown(row)}, expected a JSON object, one a line")
    return row


def _read_parquet(file: DataFile, schema: Schema) -> _Rows:
    with _no_damage(file, lambda: "Parquet", _ARROW_DAMAGED), pyarrow.parquet.ParquetFile(file.path) as parquet:
        return _arrow_rows(file, schema, parquet.schema_arrow.names, lambda columns: parquet.read(columns=columns))


def _read_arrow(file: DataFile, schema: Schema) -> _Rows:
    """What `datasets` writes with `save_to_disk`: Arrow's stream format."""
    with _no_damage(file, lambda: "Arrow", _ARROW_DAMAGED), pyarrow.memory_map(str(file.path)) as stream:
        table = pyarrow.ipc.open_stream(stream).read_all()
        table.validate(full=True)  # offsets beyond the buffers would end the process
        end = stream.tell()
        stream.seek(max(0, stream.size() - len(_END_OF_STREAM)))
        if end < stream.size() or stream.read() != _END_OF_STREAM:  # pyarrow reads as far as it gets
            raise pyarrow.ArrowInvalid(f"the stream ends at byte {end} of {stream.size()}, or without its mark")
        return _arrow_rows(file, schema, table.column_names, table.select)


def _arrow_rows(file: DataFile, schema: Schema, names: Sequence[str], read: Callable[[list[str]], Any]) -> _Rows:
    present = _present(file, schema, names, "")
    only = _only(file, names)
    table = read(list({*present.values(), *(only[:1] if only else ())}))
    numbers: Sequence[int] = range(1, table.num_rows + 1)
    try:
        columns = {ours: table.column(theirs).to_pylist() for ours, theirs in present.items()}
        values = table.column(only[0]).to_pylist() if only else []
    except UnicodeDecodeError as error:
        raise InputError(f"{file.origin}: a text is not in UTF-8 ({error})") from error
    if only:
        keep = [index for index, value in enumerate(values) if value == only[1]]
        columns = {name: [cells[index] for index in keep] for name, cells in columns.items()}
        numbers = [index + 1 for index in keep]
    return _Rows(columns, numbers, "row")


def _read_delimited(file: DataFile, schema: Schema) -> _Rows:
    """CSV with a header, or the same with tabs. Cells are text there, so numbers are read by what the column must be."""
    numbers: list[int] = []
    with (
        _open_lines(file) as raw,
        _no_damage(file, lambda: f"after line {numbers[-1] if numbers else 1}"),
        io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream,
    ):
        rows = csv.reader(stream, delimiter="\t" if ".tsv" in file.part.suffix else ",", strict=True)
        try:
            header = next(rows, [])
            present, only = _present(file, schema, header, ", line 1"), _only(file, header)
            if lists := [name for name in present if schema.columns[name] in _LISTS]:
                raise InputError(f"{file.origin}: column {lists[0]!r} holds lists: give JSON lines or Parquet")
            columns: dict[str, list[Any]] = {name: [] for name in present}
            places = [(columns[ours].append, header.index(theirs)) for ours, theirs in present.items()]
            for row in rows:
                if row and len(row) != len(header):
                    raise csv.Error(f"line {rows.line_num} has {len(row)} cells, the header {len(header)}")
                if row and (only is None or row[header.index(only[0])] == only[1]):
                    for append, place in places:
                        append(row[place])
                    numbers.append(rows.line_num)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{file.origin}: not a table in UTF-8 ({error}, after line {numbers[-1] if numbers else 1}): {_DELIMITED}"
            ) from error
    return _Rows({name: _numbers(cells, schema.columns[name]) for name, cells in columns.items()}, numbers, "line")


def _numbers(cells: list[Any], kind: Kind) -> list[Any]:
    """The cells as numbers where the kind asks for them; one that is none stays as it is, for `_check_cells` to name. Labels are numbers
    where all are, and no two of them are one number (`1` and `01`)."""
    convert = {"number": float, "grade": int, "label": int}.get(kind)
    read = cells if convert is None else [_number(cell, convert) for cell in cells]
    return cells if kind == "label" and (any(type(cell) is str for cell in read) or len(set(read)) < len(set(cells))) else read


def _number(cell: Any, convert: Callable[[Any], Any]) -> Any:
    try:
        return cell if "_" in cell else convert(cell)  # Python's own `1_000`
    except (TypeError, ValueError):
        return cell


_READERS: Mapping[str, Callable[[DataFile, Schema], _Rows]] = {
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
}
"""By what the name ends in; everything else is JSON lines."""


def _only(file: DataFile, found: Sequence[str]) -> tuple[str, str] | None:
    """The column and the value by which the rows of this table are told, where the file has the column."""
    return file.part.only if file.part.only and file.part.only[0] in found else None


def _present(file: DataFile, schema: Schema, found: Mapping[str, Any] | Sequence[str], where: str) -> dict[str, str]:
    """The schema's columns that the file has, and what it calls them.

    Raises:
        InputError: one that is not optional is missing, or one is there twice.
    """
    names = {name: file.part.columns.get(name, name) for name in schema.columns}
    names |= {name: alias for name, alias in _ALIASES.items() if name in names and names[name] not in found and alias in found}
    missing = [theirs for ours, theirs in names.items() if theirs not in found and ours not in schema.optional]
    if missing:
        raise _missing_column(file, missing, found, where)
    present = {ours: theirs for ours, theirs in names.items() if theirs in found}
    if twice := [theirs for theirs in present.values() if list(found).count(theirs) > 1]:
        raise InputError(f"{file.origin}{where}: column {twice[0]!r} is there twice: leave one")
    return present


def _missing_column(file: DataFile, missing: list[str], found: Mapping[str, Any] | Sequence[str], where: str) -> InputError:
    names, there = ", ".join(map(repr, missing)), few([repr(name)[:_SHOWN] for name in found], 12)
    return InputError(f"{file.origin}{where}: column {names} is missing (found {there or 'none'})")


def _check_cells(file: DataFile, rows: _Rows, name: str, cells: list[Any], kind: Kind) -> None:
    first = next(chain.from_iterable(cell for cell in cells if type(cell) is list) if kind in _LISTS else iter(cells), None)
    reference = next((types for types in _TYPES[kind] if type(first) in types), _TYPES[kind][0])
    index = next((index for index, cell in enumerate(cells) if not _fits(cell, kind, reference)), None)
    if index is None:
        return
    where = f"{file.origin}, {rows.unit} {rows.numbers[index]}, column {file.part.columns.get(name, name)!r}"
    raise InputError(f"{where}: found {_wrong_item(cells[index], kind, reference)}, expected {_EXPECTED[kind]}")


def _fits(cell: Any, kind: Kind, types: frozenset[type]) -> bool:
    if kind in _LISTS:
        return type(cell) is list and types.issuperset(map(type, cell))
    return type(cell) in types and (kind != "number" or abs(cell) <= _LARGEST)  # no NaN, no infinity, no integer that no float holds


def _wrong_item(cell: Any, kind: Kind, types: frozenset[type]) -> str:
    if kind in _LISTS and type(cell) is list:
        position = next(position for position, item in enumerate(cell) if type(item) not in types)
        return f"{_shown(cell[position])} as item {position + 1} of the list"
    return _shown(cell)


def _check_parallel(file: DataFile, rows: _Rows) -> None:
    names = list(rows.columns)
    for index, lists in enumerate(zip(*rows.columns.values(), strict=True)):
        lengths = [len(cells) for cells in lists]
        if len(set(lengths)) > 1:
            found = ", ".join(f"{length} {name}" for name, length in zip(names, lengths, strict=True))
            where = f"{file.origin}, {rows.unit} {rows.numbers[index]}"
            raise InputError(f"{where}: lists of unequal length ({found}), expected one label for each text")


def _shown(value: Any) -> str:
    """The value as JSON, cut: `null`, `3.5`, `"..."`."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


@contextmanager
def _no_damage(file: DataFile, where: Callable[[], str], damaged: tuple[type[Exception], ...] = _DAMAGED) -> Iterator[None]:
    try:
        yield
    except damaged as error:
        raise InputError(f"{file.origin}: truncated or damaged {where()} ({error})") from error
    except OSError as error:
        raise InputError(f"{file.origin}: can't be read ({error.strerror or error})") from error


@contextmanager
def _open_lines(file: DataFile) -> Iterator[IO[bytes]]:
    """The file's lines as bytes, whatever they are wrapped in."""
    with _no_damage(file, lambda: "at its beginning"):
        if file.part.suffix.endswith(".zst"):
            with pyarrow.input_stream(str(file.path), compression="zstd") as packed, io.BufferedReader(packed) as unpacked:
                yield cast(IO[bytes], unpacked)
            return
        if file.part.member is None:
            with file.path.open("rb") as raw:
                yield cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if file.part.suffix.endswith(".gz") else raw
            return
        with tarfile.open(file.path, "r:gz") as archive:
            member = next((entry for entry in archive if entry.name.removeprefix("./") == file.part.member), None)
            lines = archive.extractfile(member) if member is not None else None
            if lines is None:
                raise InputError(f"{file.origin}: the archive has no file {file.part.member}")
            with lines:
                yield lines
