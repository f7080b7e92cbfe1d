"""What others published, as runs: folders of mteb's result files, and model cards.

Who made a score stays in `TaskRecord.made.origin`: `trust` is `self-reported` (taken from a model card, by its authors or by the
results repository: no mteb version), `re-run by others` or `ours` (the file has our own part, which says no other).
"""

from harness.read.imports.cards import card_records, named_claims, read_card_run
from harness.read.imports.files import META, SELF_REPORTED, find_imports, is_revision, read_import

__all__ = [
    "META",
    "SELF_REPORTED",
    "card_records",
    "find_imports",
    "is_revision",
    "named_claims",
    "read_card_run",
    "read_import",
]
