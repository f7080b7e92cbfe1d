"""Before anything costs: what of a run or a sweep is done, what is stored, what must run, how long it takes and what is missing."""

from __future__ import annotations

from harness.plan.planning import make_plan
from harness.plan.rendering import plan_json, plan_text

__all__ = ["make_plan", "plan_json", "plan_text"]
