"""Texts to vectors: load a model, tokenise, run canonical batches, keep the vectors."""
