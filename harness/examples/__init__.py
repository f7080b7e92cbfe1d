"""Per-example values: what each query, pair, text or set contributed to a task's metrics, kept beside the record, folded into metrics."""

from __future__ import annotations

from harness.examples.folds import example_values, fold, folds, refuse_foreign
from harness.examples.table import Examples, examples_path, read_examples, same_examples, units, write_examples

__all__ = [
    "Examples",
    "example_values",
    "examples_path",
    "fold",
    "folds",
    "read_examples",
    "refuse_foreign",
    "same_examples",
    "units",
    "write_examples",
]
