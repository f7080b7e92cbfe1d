"""Real evaluation data and the seed card, as the environment names them. Tests that need what it does not name are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _named(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value and Path(value).exists() else None


DATA = _named("CMTEB_DATA")
"""The folder of real data, one sub-folder per task."""

SEED_CARD = _named("SEED_CARD")
"""The model card of `acge_text_embedding`."""

OTHERS = DATA.parent / "published" if DATA and (DATA.parent / "published").is_dir() else None
"""Results that others published, in a folder `published` beside the data."""

needs_data = pytest.mark.skipif(DATA is None, reason="no real evaluation data: set CMTEB_DATA=DIR")
needs_others = pytest.mark.skipif(OTHERS is None, reason="no results of others: set CMTEB_DATA=DIR, with a folder `published` beside DIR")
needs_seed_card = pytest.mark.skipif(SEED_CARD is None, reason="no seed card: set SEED_CARD=FILE")
