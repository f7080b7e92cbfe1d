"""The write side: from a run's settings to its records. It never reads a table, a claim or a gate."""
