"""Noise floors of a run, measured from its stored vectors: rounding, seeds, sampling (docs/drift.md)."""

from __future__ import annotations

from harness.calibrate.measure import PARTS, Calibrated, Part, calibrate, check_parts
from harness.calibrate.summary import calibrated_summary

__all__ = ["PARTS", "Calibrated", "Part", "calibrate", "calibrated_summary", "check_parts"]
