"""A run in the formats of the ecosystem: the model-index of a model card, and a folder of mteb 2's results."""
