"""The read side: tables, claims, gate and explanations, as pure functions of the typed files in `results/`. It never runs a model."""
