"""Scores: the adapter around the encoder, the task objects of mteb and C_MTEB, the search, the seeds."""
