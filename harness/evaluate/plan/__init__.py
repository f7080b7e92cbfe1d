"""Before anything costs: what of a run or a sweep is done, what is stored, what must run, how long it takes and what is missing."""
