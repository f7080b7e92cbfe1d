"""A task's examples as a table, and its file: `<run>/per_example/<Task>.parquet`. Columns: docs/explain.md.

No text of the data is kept, which belongs to the owners of the data: an example is told by its place in the data (`index`) and by the first
16 hexadecimal digits of a SHA-256 over its texts (`digest`), so that two runs can be seen to have scored the same ones.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harness.core.errors import InputError, unread
from harness.core.files import atomic_write
from harness.core.run_files import EXAMPLES
from harness.core.tasks import TaskSpec

SCHEMA = "1"
_SAME = ("index", "digest", "query", "label", "split", "gold", "size")
"""The columns that come from the data and not from the model."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Columns of equal length, one entry per unit that may be drawn again: a text, a set, a pair, a sample, a query.

    Floats are unrounded; NaN in a Retrieval column means that the metric does not count the query.
    """

    columns: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.columns["index"])

    def __getitem__(self, column: str) -> NDArray[Any]:
        return self.columns[column]


def make_examples(index: Iterable[int], texts: Iterable[Iterable[str]], columns: Mapping[str, Iterable[Any]]) -> Examples:
    """A table of these columns; `texts` are those that each example consists of, `index` its place in the data."""
    table = {"index": np.fromiter(index, dtype=np.int64), "digest": np.array([text_digest(each) for each in texts], dtype=np.str_)}
    return Examples({**table, **{name: np.asarray(values) for name, values in columns.items()}})


def units(task: TaskSpec, examples: Examples) -> int:
    """How many units a resample of the task draws: texts, sets, pairs, samples or queries by its type.

    Raises:
        InputError: the table is not of the task's type.
    """
    missing = [name for name in ("index", "digest", *task.kind.columns) if name not in examples.columns]
    lengths = {len(column) for column in examples.columns.values()}
    if missing or len(lengths) != 1 or 0 in lengths:
        found = f"no column {', '.join(missing)}" if missing else f"columns of {sorted(lengths)} rows"
        raise InputError(f"the examples of {task.name} have {found}, expected those of a {task.type} task: run the task again")
    return len(examples)


def same_examples(one: Examples, other: Examples) -> bool:
    """Whether both are of the same examples in the same order: the same texts, queries, labels and gold scores."""
    return all(
        (name in one.columns) == (name in other.columns) and (name not in one.columns or np.array_equal(one[name], other[name]))
        for name in _SAME
    )


def examples_path(folder: Path, task: TaskSpec) -> Path:
    """Where a run folder keeps the task's examples."""
    return folder / EXAMPLES / f"{task.name}.parquet"


def write_examples(folder: Path, task: TaskSpec, examples: Examples) -> Path:
    """Write the task's examples, whole or not at all; equal examples make equal bytes. The path that was written.

    Raises:
        InputError: the examples are not of the task's type.
        MachineError: the folder can't be written.
    """
    units(task, examples)
    table = pa.table({name: pa.array(column) for name, column in examples.columns.items()})
    table = table.replace_schema_metadata({"harness.schema": SCHEMA, "harness.task": task.name})
    path = examples_path(folder, task)
    with atomic_write(path) as stream:
        pq.write_table(table, stream, compression="zstd")
    return path


def read_examples(folder: Path, task: TaskSpec) -> Examples:
    """The task's examples in a run folder.

    Raises:
        InputError: there are none, or the file is damaged, of another task, or of a newer schema.
    """
    path = examples_path(folder, task)
    if not path.is_file():
        raise InputError(
            f"{folder} keeps no examples of {task.name} ({EXAMPLES}/{path.name}): run the task again, this harness writes them"
        )
    try:
        with pq.ParquetFile(path) as file:  # `read_table` imports pandas
            table = file.read()
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        columns = {name: np.asarray(table[name].to_pylist()) for name in table.column_names}
    except (OSError, pa.ArrowException, ValueError) as error:
        why = unread(path, error) or f"{path} can't be read as Parquet ({error}): delete it and run the task again"
        raise InputError(why) from error
    found, schema = metadata.get("harness.task"), metadata.get("harness.schema")
    if found != task.name:
        raise InputError(f"{path} has the examples of {found!r}, expected {task.name}: delete it and run the task again")
    if schema != SCHEMA:
        raise InputError(f"{path} has schema {schema!r}, this harness reads {SCHEMA}: run the task again, or use the harness that wrote it")
    examples = Examples(columns)
    try:
        units(task, examples)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return examples


def text_digest(texts: Iterable[str]) -> str:
    """What an example is told by: the first 16 hexadecimal digits of a SHA-256 over its texts."""
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:16]
