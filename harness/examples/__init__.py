"""Per-example values: what each query, pair, text or set contributed to a task's metrics, kept beside the record, folded into metrics."""

from __future__ import annotations

from harness.examples.folds import fold, folds
from harness.examples.table import Examples, examples_path, read_examples, same_examples, units, write_examples

__all__ = ["Examples", "examples_path", "fold", "folds", "read_examples", "same_examples", "units", "write_examples"]
