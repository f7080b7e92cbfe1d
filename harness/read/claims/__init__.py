"""What a model card claims, checked against itself and against a run."""
