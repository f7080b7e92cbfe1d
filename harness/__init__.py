"""A C-MTEB reproduction harness: `python -m harness` is its face, docs/architecture.md its plan."""
