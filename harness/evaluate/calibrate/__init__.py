"""Noise floors of a run, measured from its stored vectors: rounding, seeds, sampling (docs/drift.md)."""
