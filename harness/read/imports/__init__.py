"""What others published, as runs: folders of mteb's result files, and model cards.

Who made a score stays in `TaskRecord.harness["origin"]`: `trust` is `self-reported` (taken from a model card, by its authors or by the
results repository: no mteb version), `re-run by others` or `ours` (the file has our own part, which says no other).
"""

from harness.read.imports.cards import card_records, read_card_run
from harness.read.imports.files import META, SELF_REPORTED, OtherDefinition, find_imports, other_definition, read_import
from harness.read.imports.trust import Trust, origin, trust_of

__all__ = [
    "META",
    "SELF_REPORTED",
    "OtherDefinition",
    "Trust",
    "card_records",
    "find_imports",
    "origin",
    "other_definition",
    "read_card_run",
    "read_import",
    "trust_of",
]
